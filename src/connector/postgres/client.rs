//! A thin blocking client: start-up, simple queries, COPY OUT, and the replication stream in large reads.
//!
//! Blocking, on threads of its own: Postgres sends its log row by row, and whoever wakes per row slows it down; a thread
//! that reads what has gathered every millisecond does not. One client for control queries, copies and the stream, so that
//! all of them pin the same settings and so see the same text for the same value.

use super::error::{Response, Result, UpstreamError};
use super::lsn::Lsn;
use super::options::Options;
use bytes::BytesMut;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::escape::escape_identifier;
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A healthy server accepts within moments, also across continents.
const CONNECT: Duration = Duration::from_secs(10);
/// Catalog queries and start-up answer within moments; a server that takes longer is taken for dead.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// A read takes what the kernel has gathered, up to this: with less, system calls would weigh.
const READ: usize = 256 * 1024;
/// Postgres' own limit of a message is 1 GiB; a length beyond it is no message.
const MESSAGE_LIMIT: usize = 1 << 30;
/// Before the login is over nothing that a server has to say is long; who says it is not known yet.
const LOGIN_LIMIT: usize = 64 << 10;

/// Settings that the text of values depends on. Roles and databases may have others as their default, so they are pinned
/// on every connection.
const SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "iso_8601"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("standard_conforming_strings", "on"),
    ("search_path", ""),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Queries and COPY.
    Sql,
    /// Replication commands beside SQL.
    Replication,
}

pub struct Client {
    stream: Box<dyn Link>,
    buffer: Buffer,
}

/// What a client talks over: a socket, or a script in its place.
pub trait Link: Read + Write + Send {
    /// How long a read may wait.
    fn set_timeout(&self, limit: Duration) -> io::Result<()>;
    fn socket(&self) -> io::Result<TcpStream>;
}

impl Link for TcpStream {
    fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn socket(&self) -> io::Result<TcpStream> {
        self.try_clone()
    }
}

/// A row of a simple query.
pub type Row = Vec<Option<String>>;

/// What a COPY or a stream gives next.
pub enum Frame<'a> {
    Data(&'a [u8]),
    /// The server ended it.
    End,
}

impl Client {
    pub fn connect(options: &Options, purpose: Purpose) -> Result<Self> {
        let stream = open(&options.host, options.port)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Self::start(Box::new(stream), options, purpose)
    }

    /// Begins a session over `stream`.
    pub fn start(stream: Box<dyn Link>, options: &Options, purpose: Purpose) -> Result<Self> {
        stream.set_timeout(TIMEOUT)?;
        let mut client = Self { stream, buffer: Buffer::new() };
        client.start_up(options, purpose)?;
        Ok(client)
    }

    /// The socket, for writing from elsewhere and for shutting down.
    pub fn socket(&self) -> Result<TcpStream> {
        Ok(self.stream.socket()?)
    }

    /// How long a read may wait; then it fails with [`UpstreamError::timed_out`].
    pub fn set_timeout(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_timeout(limit)?)
    }

    /// Runs one statement or command; the rows of its answer as text.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.send(|out| frontend::query(sql, out))?;
        let (mut rows, mut failure) = (vec![], None);
        loop {
            let (tag, body) = self.message()?;
            match tag {
                b'D' => rows.push(row(body)?),
                b'E' => failure = Some(UpstreamError::Server(response(body))),
                b'Z' => return failure.map_or(Ok(rows), Err),
                b'G' | b'H' | b'W' => return Err(UpstreamError::Protocol("a copy nobody asked for".into())),
                _ => {}
            }
        }
    }

    /// The one row of a query that has exactly one.
    pub fn query_one(&mut self, sql: &str) -> Result<Row> {
        let rows = self.query(sql)?;
        rows.into_iter().next().ok_or_else(|| UpstreamError::Protocol(format!("no row for: {sql}")))
    }

    /// Starts `COPY … TO STDOUT`; then [`Client::frame`] and [`Client::fill`], until the end; then [`Client::finish`].
    pub fn copy_out(&mut self, sql: &str) -> Result<()> {
        self.send(|out| frontend::query(sql, out))?;
        self.expect(b'H')
    }

    /// Reads what follows the end of a COPY.
    pub fn finish(&mut self) -> Result<()> {
        loop {
            match self.message()? {
                (b'E', body) => return Err(UpstreamError::Server(response(body))),
                (b'Z', _) => return Ok(()),
                _ => {}
            }
        }
    }

    pub fn start_replication(&mut self, slot: &str, publication: &str, from: Lsn) -> Result<()> {
        // The list is a string literal of quoted identifiers: both quotings apply, one inside the other.
        let publications = escape_identifier(publication).replace('\'', "''");
        let slot = escape_identifier(slot);
        let command = format!(
            "START_REPLICATION SLOT {slot} LOGICAL {from} (proto_version '1', publication_names '{publications}')"
        );
        self.send(|out| frontend::query(&command, out))?;
        self.expect(b'W')
    }

    /// The next whole frame of a COPY or a stream that has been read, if there is one.
    #[inline]
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>> {
        loop {
            let Some((tag, range)) = self.buffer.next()? else { return Ok(None) };
            match tag {
                b'd' => return Ok(Some(Frame::Data(&self.buffer.bytes[range]))),
                b'c' | b'C' => return Ok(Some(Frame::End)),
                b'E' => return Err(UpstreamError::Server(response(&self.buffer.bytes[range]))),
                _ => {}
            }
        }
    }

    /// One read of the socket, as large as the kernel can serve; the number of bytes.
    pub fn fill(&mut self) -> Result<usize> {
        self.buffer.fill(&mut self.stream)
    }

    fn expect(&mut self, expected: u8) -> Result<()> {
        let mut failure = None;
        loop {
            match self.message()? {
                (tag, _) if tag == expected => return Ok(()),
                (b'E', body) => failure = Some(UpstreamError::Server(response(body))),
                (b'Z', _) => return Err(failure.unwrap_or_else(|| UpstreamError::Protocol("no copy began".into()))),
                _ => {}
            }
        }
    }

    fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<()> {
        let mut out = BytesMut::new();
        write(&mut out)?;
        Ok(self.stream.write_all(&out)?)
    }

    /// The next message, waiting for it.
    fn message(&mut self) -> Result<(u8, &[u8])> {
        loop {
            if let Some((tag, range)) = self.buffer.next()? {
                return Ok((tag, &self.buffer.bytes[range]));
            }
            self.buffer.fill(&mut self.stream)?;
        }
    }

    fn start_up(&mut self, options: &Options, purpose: Purpose) -> Result<()> {
        let mut parameters = vec![
            ("user", options.user.as_str()),
            ("database", options.database.as_str()),
            ("application_name", options.application.as_str()),
        ];
        parameters.extend(SETTINGS);
        if purpose == Purpose::Replication {
            parameters.push(("replication", "database"));
        }
        self.send(|out| frontend::startup_message(parameters, out))?;
        self.authenticate(options)?;
        let mut version = 0;
        loop {
            match self.message()? {
                (b'E', body) => return Err(UpstreamError::Server(response(body))),
                (b'S', body) => version = major_version(body).unwrap_or(version),
                (b'Z', _) => break,
                _ => {}
            }
        }
        self.buffer.limit = MESSAGE_LIMIT;
        // Unknown to older servers, which would refuse the connection for them.
        for (since, setting) in [(14, "idle_session_timeout"), (17, "transaction_timeout")] {
            if version >= since {
                self.query(&format!("SET {setting} = 0"))?;
            }
        }
        Ok(())
    }

    fn authenticate(&mut self, options: &Options) -> Result<()> {
        let mut scram = None;
        loop {
            let (tag, body) = self.message()?;
            if tag == b'E' {
                return Err(UpstreamError::Server(response(body)));
            }
            let Some((kind, data)) = body.split_first_chunk().filter(|_| tag == b'R') else {
                return Err(UpstreamError::Protocol("no authentication request; is this a Postgres server?".into()));
            };
            let data = data.to_vec();
            match i32::from_be_bytes(*kind) {
                0 => return Ok(()),
                3 => self.send(|out| frontend::password_message(options.password.as_bytes(), out))?,
                5 => {
                    let salt = data.try_into().map_err(|_| UpstreamError::Protocol("md5 salt".into()))?;
                    let hash = md5_hash(options.user.as_bytes(), options.password.as_bytes(), salt);
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?
                }
                10 if data.split(|&c| c == 0).any(|m| m == sasl::SCRAM_SHA_256.as_bytes()) => {
                    let binding = sasl::ChannelBinding::unsupported();
                    let dialogue = scram.insert(sasl::ScramSha256::new(options.password.as_bytes(), binding));
                    let first = dialogue.message().to_vec();
                    self.send(|out| frontend::sasl_initial_response(sasl::SCRAM_SHA_256, &first, out))?
                }
                11 => {
                    let dialogue = scram.as_mut().ok_or_else(|| UpstreamError::Protocol("SASL out of order".into()))?;
                    dialogue.update(&data)?;
                    let next = dialogue.message().to_vec();
                    self.send(|out| frontend::sasl_response(&next, out))?
                }
                12 => {
                    let dialogue = scram.as_mut().ok_or_else(|| UpstreamError::Protocol("SASL out of order".into()))?;
                    dialogue.finish(&data)?
                }
                other => {
                    return Err(UpstreamError::Protocol(format!("authentication method {other} is not supported")));
                }
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Tells the server to end the session now instead of at its next write.
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        let _ = self.stream.write_all(&out);
    }
}

/// Names are looked up anew at each connection: a failover may have moved them.
fn open(host: &str, port: u16) -> Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("host \"{host}\" has no address"));
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                let keepalive = TcpKeepalive::new()
                    .with_time(Duration::from_secs(30))
                    .with_interval(Duration::from_secs(10))
                    .with_retries(3);
                socket.set_tcp_keepalive(&keepalive)?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// Bytes that have been read and are not yet used up.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// A message that is longer is none.
    limit: usize,
}

impl Buffer {
    /// For the login.
    fn new() -> Self {
        Self { bytes: vec![0; READ], start: 0, end: 0, limit: LOGIN_LIMIT }
    }

    /// Takes the next whole message: its type and where its body stands.
    #[inline]
    fn next(&mut self) -> Result<Option<(u8, std::ops::Range<usize>)>> {
        let waiting = &self.bytes[self.start..self.end];
        let Some((&[tag, a, b, c, d], _)) = waiting.split_first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=self.limit).contains(&len) {
            return Err(UpstreamError::Protocol(format!("a message of {len} bytes; is this a Postgres server?")));
        }
        if waiting.len() < len + 1 {
            return Ok(None);
        }
        let body = self.start + 5..self.start + 1 + len;
        self.start = body.end;
        Ok(Some((tag, body)))
    }

    fn fill(&mut self, from: &mut impl Read) -> Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // A large message makes the buffer grow as it comes, not as it claims to be.
        if self.end > self.bytes.len() / 2 {
            self.bytes.resize(self.bytes.len() * 2, 0);
        } else if self.end < READ / 2 && self.bytes.len() > 16 * READ {
            self.bytes.truncate(READ);
            self.bytes.shrink_to_fit();
        }
        loop {
            match from.read(&mut self.bytes[self.end..]) {
                Ok(0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Postgres closed the connection").into());
                }
                Ok(n) => {
                    self.end += n;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn row(body: &[u8]) -> Result<Row> {
    let short = || UpstreamError::Protocol("a short row".into());
    let (count, mut rest) = body.split_first_chunk().ok_or_else(short)?;
    let mut row = vec![];
    for _ in 0..u16::from_be_bytes(*count) {
        let (len, after) = rest.split_first_chunk().ok_or_else(short)?;
        rest = after;
        row.push(match i32::from_be_bytes(*len) {
            -1 => None,
            len => {
                let len = usize::try_from(len).map_err(|_| short())?;
                let (text, after) = rest.split_at_checked(len).ok_or_else(short)?;
                rest = after;
                Some(String::from_utf8_lossy(text).into_owned())
            }
        });
    }
    Ok(row)
}

fn response(body: &[u8]) -> Response {
    let mut response = Response::default();
    for field in body.split(|&c| c == 0) {
        let Some((kind, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => response.sqlstate = text,
            b'M' => response.message = text,
            b'D' => response.detail = Some(text),
            b'H' => response.hint = Some(text),
            _ => {}
        }
    }
    response
}

/// Of a ParameterStatus `server_version`: `15.18 (Debian …)` is 15.
fn major_version(body: &[u8]) -> Option<u32> {
    let mut parts = body.split(|&c| c == 0);
    if parts.next()? != b"server_version" {
        return None;
    }
    let digits: Vec<u8> = parts.next()?.iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_arrive() {
        let sent = [b"d\0\0\0\x07abc".to_vec(), b"Z\0\0\0\x05I".to_vec()].concat();
        let mut buffer = Buffer::new();
        let mut got = vec![];
        for byte in &sent {
            buffer.fill(&mut &[*byte][..]).unwrap();
            while let Some((tag, range)) = buffer.next().unwrap() {
                got.push((tag, buffer.bytes[range].to_vec()));
            }
        }
        assert_eq!(got, [(b'd', b"abc".to_vec()), (b'Z', b"I".to_vec())]);
    }

    #[test]
    fn a_message_larger_than_the_buffer_grows_it_as_it_comes() {
        let body = vec![7u8; 3 * READ];
        let mut sent = vec![b'd'];
        sent.extend((body.len() as u32 + 4).to_be_bytes());
        sent.extend(&body);
        let (mut buffer, mut from) = (Buffer { limit: MESSAGE_LIMIT, ..Buffer::new() }, &sent[..]);
        let range = loop {
            if let Some((_, range)) = buffer.next().unwrap() {
                break range;
            }
            buffer.fill(&mut from).unwrap();
        };
        assert_eq!(buffer.bytes[range], body);
    }

    #[test]
    fn a_claimed_length_beyond_all_bounds_is_refused() {
        for (limit, claims) in [(MESSAGE_LIMIT, b"d\xff\xff\xff\xff"), (LOGIN_LIMIT, b"R\x00\x01\x00\x01")] {
            let mut buffer = Buffer { limit, ..Buffer::new() };
            buffer.fill(&mut &claims[..]).unwrap();
            assert!(buffer.next().is_err());
        }
    }

    /// Says that a gigabyte comes, and continues sending it.
    struct Boaster(std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl Read for Boaster {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let sent = self.0.fetch_add(buffer.len(), std::sync::atomic::Ordering::Relaxed);
            buffer.fill(0);
            if sent == 0 {
                buffer[..5].copy_from_slice(b"R\x3f\xff\xff\xff");
            }
            Ok(buffer.len())
        }
    }

    impl Write for Boaster {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Link for Boaster {
        fn set_timeout(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn socket(&self) -> io::Result<TcpStream> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn a_gigabyte_before_the_login_is_refused_when_it_is_announced() {
        let option = |(name, value): (&str, &str)| (name.to_string(), value.to_string());
        let options = [("hostname", "h"), ("username", "u"), ("database.name", "d")].map(option).into();
        let (name, details) = ("s".into(), serde_json::Value::Null);
        let source = crate::connector::Definition { id: 1, name, options, details, identity: Default::default() };
        let options = Options::parse(&source).expect("options");
        let sent = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
        let failure = Client::start(Box::new(Boaster(sent.clone())), &options, Purpose::Sql).err().expect("refused");
        assert!(
            matches!(&failure, UpstreamError::Protocol(why) if why.contains("is this a Postgres server?")),
            "{failure}"
        );
        assert!(sent.load(std::sync::atomic::Ordering::Relaxed) <= READ);
    }

    #[test]
    fn the_server_s_error_keeps_its_parts() {
        let got = response(b"SERROR\0C55006\0Mslot is active\0Hwait\0\0");
        assert_eq!(
            (got.sqlstate.as_str(), got.message.as_str(), got.hint.as_deref()),
            ("55006", "slot is active", Some("wait"))
        );
    }
}
