//! What clients send: bytes to messages.
//!
//! Total: any bytes are a message, an error in one message, or the end of the connection. Nothing panics, and no length in a message
//! takes memory before the bytes that it counts have come. pgwire's own decoders promise neither: they read on beyond the end of a
//! message that says too little, and panic at the end of the buffer.

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{SecretKey, Startup};
use pgwire::messages::terminate::Terminate;
use weir_sql::{Error, Result};

/// Lengths count themselves, four bytes. The limits are Postgres' own: whoever has not logged in can make us keep little.
const OPENING: std::ops::RangeInclusive<usize> = 8..=10_000;
const LOGIN: usize = 65_535;
const SMALL: usize = 10_000;
/// Statements, their parameters, and data: what Postgres can hold in one piece.
const LARGE: usize = (1 << 30) - 2;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// A packet of a connection that has not said yet which protocol it speaks.
#[derive(Debug)]
pub enum Opening {
    Ssl,
    Gss,
    Cancel(CancelRequest),
    Startup(Startup),
}

/// A message that makes no sense, within bounds that do: the connection can go on.
#[derive(Debug)]
pub struct Bad {
    pub error: Error,
    /// It belongs to the extended protocol, so everything up to the next Sync is skipped.
    pub skips: bool,
}

/// The next packet, if it is there whole.
pub fn opening(buffer: &mut BytesMut) -> Result<Option<Opening>> {
    let Some((head, _)) = buffer.split_first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if !OPENING.contains(&length) {
        return Err(malformed("invalid length of startup packet"));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut reader = Reader(buffer.split_to(length).freeze().slice(4..));
    Ok(Some(match reader.int()? {
        SSL => Opening::Ssl,
        GSS => Opening::Gss,
        CANCEL => {
            let pid = reader.int()? as i32;
            Opening::Cancel(CancelRequest::new(pid, SecretKey::Bytes(reader.0)))
        }
        version => {
            let mut startup = Startup::new();
            (startup.protocol_number_major, startup.protocol_number_minor) = ((version >> 16) as u16, version as u16);
            loop {
                let name = reader.text()?;
                if name.is_empty() {
                    break;
                }
                startup.parameters.insert(name, reader.text()?);
            }
            reader.end()?;
            Opening::Startup(startup)
        }
    }))
}

/// The body of the next message, if it is there whole, of a client that answers a request for its password.
pub fn password(buffer: &mut BytesMut) -> Result<Option<Bytes>> {
    let limit = |tag| if tag == b'p' { Ok(LOGIN) } else { Err(malformed("expected a password message")) };
    Ok(frame(buffer, limit)?.map(|(_, body)| body))
}

/// Mechanism and data of a first answer to a request for SASL.
pub fn sasl(body: Bytes) -> Result<(String, Bytes)> {
    let mut reader = Reader(body);
    let mechanism = reader.text()?;
    let data = reader.value()?.unwrap_or_default();
    reader.end()?;
    Ok((mechanism, data))
}

/// The next message, if it is there whole. After the outer error nobody knows where a message begins.
pub fn message(buffer: &mut BytesMut) -> Result<Option<Result<Message, Bad>>> {
    let Some((tag, body)) = frame(buffer, limit)? else { return Ok(None) };
    Ok(Some(read(tag, Reader(body)).map_err(|error| Bad { error, skips: skips(tag) })))
}

/// Bytes of the message that `buffer` begins with, as it says itself.
pub fn length(buffer: &[u8]) -> Option<usize> {
    let (&[_, a, b, c, d], _) = buffer.split_first_chunk()?;
    Some(u32::from_be_bytes([a, b, c, d]) as usize + 1)
}

/// The message that `buffer` begins with, if it cannot be taken.
pub fn refused(buffer: &[u8], error: Error) -> Bad {
    Bad { error, skips: buffer.first().is_some_and(|tag| skips(*tag)) }
}

fn skips(tag: u8) -> bool {
    matches!(tag, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
}

fn limit(tag: u8) -> Result<usize> {
    match tag {
        b'Q' | b'P' | b'B' | b'd' => Ok(LARGE),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Ok(SMALL),
        _ => Err(malformed(format!("invalid frontend message type {tag}"))),
    }
}

fn frame(buffer: &mut BytesMut, limit: impl Fn(u8) -> Result<usize>) -> Result<Option<(u8, Bytes)>> {
    let Some(&tag) = buffer.first() else { return Ok(None) };
    let limit = limit(tag)?;
    let Some((&[_, a, b, c, d], _)) = buffer.split_first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..=limit).contains(&length) {
        return Err(malformed("invalid message length"));
    }
    if buffer.len() <= length {
        return Ok(None);
    }
    Ok(Some((tag, buffer.split_to(length + 1).freeze().slice(5..))))
}

fn read(tag: u8, mut reader: Reader) -> Result<Message> {
    let message = match tag {
        b'Q' => Message::Query(Query::new(reader.text()?)),
        b'P' => {
            let (name, query) = (reader.name()?, reader.text()?);
            Message::Parse(Parse::new(name, query, reader.list(Reader::int)?))
        }
        b'B' => {
            let (portal, statement) = (reader.name()?, reader.name()?);
            let (formats, values) = (reader.list(Reader::code)?, reader.list(Reader::value)?);
            Message::Bind(Bind::new(portal, statement, formats, values, reader.list(Reader::code)?))
        }
        b'D' => Message::Describe(Describe::new(reader.target()?, reader.name()?)),
        b'C' => Message::Close(Close::new(reader.target()?, reader.name()?)),
        b'E' => Message::Execute(Execute::new(reader.name()?, reader.int()? as i32)),
        b'H' => Message::Flush(Flush::new()),
        b'S' => Message::Sync(Sync::new()),
        b'X' => Message::Terminate(Terminate::new()),
        b'c' => Message::CopyDone(CopyDone::new()),
        b'd' => return Ok(Message::CopyData(CopyData::new(reader.0))),
        b'f' => Message::CopyFail(CopyFail::new(reader.text()?)),
        _ => return Err(malformed("unexpected message")),
    };
    reader.end()?;
    Ok(message)
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new("08P01", message)
}

/// Reads a message from its front.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(malformed("insufficient data left in message"));
        }
        Ok(self.0.split_to(length))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<u16> {
        Ok(self.take(2)?.get_u16())
    }

    fn int(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn code(&mut self) -> Result<i16> {
        Ok(self.short()? as i16)
    }

    /// Of a statement or a portal.
    fn target(&mut self) -> Result<u8> {
        match self.byte()? {
            target @ (b'S' | b'P') => Ok(target),
            _ => Err(malformed("neither a statement nor a portal")),
        }
    }

    /// Up to a zero byte.
    fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|&c| c == 0).ok_or_else(|| malformed("invalid string in message"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        let text = std::str::from_utf8(&text);
        Ok(text.map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\""))?.to_string())
    }

    fn name(&mut self) -> Result<Option<String>> {
        Ok(Some(self.text()?).filter(|name| !name.is_empty()))
    }

    /// Bytes after their length; NULL for a negative one.
    fn value(&mut self) -> Result<Option<Bytes>> {
        match usize::try_from(self.int()? as i32) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Items after their number; room is made as they come.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![];
        for _ in 0..self.short()? {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("invalid message format")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    fn first(bytes: &[u8]) -> Result<Option<Result<Message, Bad>>> {
        message(&mut BytesMut::from(bytes))
    }

    const BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0";

    #[test]
    fn messages_are_read_whole_and_one_after_the_other() {
        let sent = [frame(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"), frame(b'B', BIND), frame(b'S', b"")].concat();
        let mut buffer = BytesMut::new();
        let mut read = vec![];
        for byte in sent {
            buffer.extend_from_slice(&[byte]);
            read.extend(message(&mut buffer).expect("framed").map(|message| message.expect("sound")));
        }
        let [Message::Parse(parse), Message::Bind(bind), Message::Sync(_)] = &read[..] else { panic!("{read:?}") };
        assert_eq!(
            (parse.name.as_deref(), parse.query.as_str(), &parse.type_oids[..]),
            (Some("s"), "SELECT $1", &[23][..])
        );
        assert_eq!(bind.parameters, [Some(Bytes::from_static(b"ab")), None]);
        assert_eq!((&bind.parameter_format_codes[..], &bind.result_column_format_codes[..]), (&[1][..], &[0][..]));
    }

    #[test]
    fn a_body_that_is_cut_or_too_long_is_an_error_of_its_message_alone() {
        let bodies: [(u8, &[u8]); 8] = [
            (b'Q', b"SELECT 1\0"),
            (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', BIND),
            (b'D', b"Ss\0"),
            (b'C', b"Pp\0"),
            (b'E', b"p\0\0\0\0\x07"),
            (b'f', b"why\0"),
            (b'S', b""),
        ];
        for (tag, body) in bodies {
            let long = [body, b"x"].concat();
            for wrong in (0..body.len()).map(|end| &body[..end]).chain([&long[..]]) {
                let mut buffer = BytesMut::from(&[frame(tag, wrong), frame(b'S', b"")].concat()[..]);
                let bad = message(&mut buffer).expect("framed").expect("whole").expect_err("not sound");
                assert_eq!(
                    (bad.error.sqlstate, bad.skips),
                    ("08P01", tag.is_ascii_uppercase() && !b"QS".contains(&tag))
                );
                assert!(matches!(message(&mut buffer), Ok(Some(Ok(Message::Sync(_))))), "{} {wrong:?}", tag as char);
            }
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_and_not_mended() {
        let bad = first(&frame(b'Q', b"SELECT '\xff'\0")).expect("framed").expect("whole").expect_err("not UTF-8");
        assert_eq!(bad.error.sqlstate, "22021");
    }

    #[test]
    fn a_length_or_a_type_that_cannot_be_ends_the_connection() {
        for wrong in [
            &b"Q\0\0\0\x03"[..],
            b"Q\0\0\0\0",
            b"Q\xff\xff\xff\xff",
            b"Q\x3f\xff\xff\xff",
            b"S\0\0\x27\x11",
            b"?",
            b"\0",
        ] {
            assert_eq!(first(wrong).expect_err("no message").sqlstate, "08P01", "{wrong:?}");
        }
    }

    #[test]
    fn whoever_has_not_logged_in_can_only_send_little() {
        assert!(opening(&mut BytesMut::from(&b"\0\0\x27\x11"[..])).is_err());
        assert!(opening(&mut BytesMut::from(&b"\0\0\0\x07\0\0\0"[..])).is_err());
        assert!(password(&mut BytesMut::from(&b"p\0\x01\0\0"[..])).is_err());
        assert!(password(&mut BytesMut::from(&b"Q"[..])).is_err());
        assert!(matches!(password(&mut BytesMut::from(&b"p\0\0\xff\xff"[..])), Ok(None)));
    }

    #[test]
    fn an_opening_is_one_of_four() {
        let mut sent = BytesMut::from(&b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07keys"[..]);
        assert!(matches!(opening(&mut sent), Ok(Some(Opening::Ssl))));
        let Ok(Some(Opening::Cancel(cancel))) = opening(&mut sent) else { panic!("a cancel request") };
        assert_eq!((cancel.pid, cancel.secret_key.to_bytes()), (7, Bytes::from_static(b"keys")));
        sent.extend_from_slice(b"\0\0\0\x13\0\x03\0\x02user\0ann\0\0\0");
        assert!(opening(&mut sent).is_err(), "the end is not where it should be");
        let whole = b"\0\0\0\x12\0\x03\0\x02user\0ann\0\0";
        let Ok(Some(Opening::Startup(startup))) = opening(&mut BytesMut::from(&whole[..])) else { panic!("a startup") };
        assert_eq!((startup.protocol_number_minor, startup.parameters["user"].as_str()), (2, "ann"));
        for end in 8..whole.len() {
            let cut = [&(end as u32).to_be_bytes(), &whole[4..end]].concat();
            assert!(opening(&mut BytesMut::from(&cut[..])).is_err(), "{end}");
        }
    }

    #[test]
    fn a_sasl_answer_carries_its_mechanism_and_data() {
        let (mechanism, data) = sasl(Bytes::from_static(b"SCRAM\0\0\0\0\x02n,")).expect("an answer");
        assert_eq!((mechanism.as_str(), &data[..]), ("SCRAM", &b"n,"[..]));
        assert!(sasl(Bytes::from_static(b"SCRAM\0\0\0\0\x09n,")).is_err());
    }
}
