//! The two directions of a client's connection: messages in, messages out. Messages are encoded by pgwire, rows by [`super::value`]
//! straight into the outgoing buffer.

use super::decode::{self, Bad, Opening};
use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::response::{ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use weir_sql::{Error, room};

/// What a client may have sent ahead while its statement runs; then it has to wait. Large enough for a driver's pipeline.
const MAX_PREFETCH: usize = 1 << 20;
/// Messages beyond so many bytes have to have room in memory.
const LONG: usize = 1 << 20;
/// Room that is made for what a client sends: until it has logged in it has little to say.
const LOGIN_ROOM: usize = 512;
const ROOM: usize = 8192;
/// Buffered rows are written to the socket from this size on.
const FULL: usize = 64 << 10;
/// Postgres' own messages are shorter; libpq refuses packets of errors beyond 30,000 bytes.
const LONGEST_TEXT: usize = 8000;

/// Why a connection ends.
#[derive(Debug)]
pub enum End {
    /// Nobody is there to be told.
    Gone(io::Error),
    /// What came is no message, so nobody knows where the next one begins.
    Lost(Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Gone(error)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Gone(error) => error.fmt(f),
            End::Lost(error) => f.write_str(&error.message),
        }
    }
}

pub struct Incoming {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    room: usize,
    skipped: Option<Skipped>,
}

/// A message that there is no room for, while the rest of it comes.
struct Skipped {
    left: usize,
    bad: Bad,
}

impl Incoming {
    pub fn new(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self { reader: Box::new(reader), buffer: BytesMut::new(), room: LOGIN_ROOM, skipped: None }
    }

    /// From now on larger messages are expected.
    pub fn logged_in(&mut self) {
        self.room = ROOM;
    }

    /// The next packet of a client that has not said which protocol it speaks; `None` when it has closed the connection.
    pub async fn opening(&mut self) -> Result<Option<Opening>, End> {
        self.next(decode::opening).await
    }

    /// A client's answer to a request for its password.
    pub async fn password(&mut self) -> Result<Option<Bytes>, End> {
        self.next(decode::password).await
    }

    /// The next message; `None` when the client has closed the connection. One that there is no room for is passed over and refused. Safe
    /// to cancel.
    pub async fn message(&mut self) -> Result<Option<Result<PgWireFrontendMessage, Bad>>, End> {
        loop {
            if let Some(Skipped { left, .. }) = &mut self.skipped {
                let came = self.buffer.len().min(*left);
                self.buffer.advance(came);
                *left -= came;
            } else if let Some(message) = decode::message(&mut self.buffer).map_err(End::Lost)? {
                return Ok(Some(message));
            } else if let Some(length) = decode::length(&self.buffer).filter(|length| *length > LONG) {
                // What has yet to come is going to be there as it came and as text.
                let wanted = length - self.buffer.len();
                if let Err(error) = room::check_left(wanted * 2) {
                    self.skipped = Some(Skipped { left: length, bad: decode::refused(&self.buffer, error) });
                    continue;
                }
            }
            if let Some(Skipped { bad, .. }) = self.skipped.take_if(|skipped| skipped.left == 0) {
                return Ok(Some(Err(bad)));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(self.room);
        self.reader.read_buf(&mut self.buffer).await
    }

    async fn next<T>(
        &mut self,
        decode: impl Fn(&mut BytesMut) -> weir_sql::Result<Option<T>>,
    ) -> Result<Option<T>, End> {
        loop {
            if let Some(message) = decode(&mut self.buffer).map_err(End::Lost)? {
                return Ok(Some(message));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends when the client closes the connection; what it sends meanwhile is kept for later.
    pub async fn closed(&mut self) {
        while self.buffer.len() < MAX_PREFETCH {
            match self.read().await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }
}

pub struct Outgoing {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    buffer: BytesMut,
}

impl Outgoing {
    pub fn new(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { writer: Box::new(writer), buffer: BytesMut::new() }
    }

    /// Where rows are encoded; whole messages only.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    pub fn send(&mut self, message: PgWireBackendMessage) {
        let start = self.buffer.len();
        if let Err(error) = message.encode(&mut self.buffer) {
            // Only a message that is too large fails to encode; what is left of it would break the framing.
            self.buffer.truncate(start);
            let error = Error::new("54000", format!("message to the client is too large: {error}"));
            let _ = PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(&error, "ERROR")))
                .encode(&mut self.buffer);
        }
    }

    pub fn error(&mut self, error: &Error) {
        self.send(PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(error, "ERROR"))));
    }

    /// An error after which the connection ends.
    pub fn fatal(&mut self, error: &Error) {
        self.send(PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(error, "FATAL"))));
    }

    pub fn notice(&mut self, severity: &str, sqlstate: &'static str, message: &str) {
        let notice = Error::new(sqlstate, message);
        self.send(PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields(&notice, severity))));
    }

    pub fn parameter(&mut self, name: &str, value: &str) {
        self.send(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.into(), value.into())));
    }

    pub fn ready(&mut self, status: TransactionStatus) {
        self.send(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)));
    }

    /// Writes what is buffered if it is much. Safe to cancel: what is left stays buffered.
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.buffer.len() >= FULL { self.flush().await } else { Ok(()) }
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        while self.buffer.has_remaining() {
            if self.writer.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.writer.flush().await
    }
}

fn fields(error: &Error, severity: &str) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', error.sqlstate.to_string()),
        (b'M', shortened(&error.message)),
    ];
    fields.extend(error.detail.as_ref().map(|text| (b'D', shortened(text))));
    fields.extend(error.hint.as_ref().map(|text| (b'H', shortened(text))));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    fields
}

/// Without NUL bytes, which end a field.
fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let text = text[..end].replace('\0', "");
    if text.is_empty() { "(no message)".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = "é".repeat(LONGEST_TEXT);
        let cut = shortened(&long);
        assert!(cut.len() <= LONGEST_TEXT);
        assert!(cut.chars().all(|c| c == 'é'));
    }

    #[test]
    fn an_error_carries_its_detail_hint_and_position() {
        let error = Error::new("42601", "bad").detail("d").hint("h").at(7);
        let kinds: Vec<u8> = fields(&error, "ERROR").iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, b"SVCMDHP");
    }
}
