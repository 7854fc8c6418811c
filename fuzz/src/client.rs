//! What a server sends to the blocking client: start-up, answers to queries, a COPY, the stream.
//!
//! The first byte says what the client does once it is connected, the second how many bytes a read brings.

use crate::Target;
use crate::memory::Bound;
use crate::upstream;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use weir::connector::postgres::client::{Client, Frame, Link, Purpose};
use weir::connector::postgres::error::Result;
use weir::connector::postgres::lsn::Lsn;
use weir::connector::postgres::options::Options;
use weir::connector::postgres::rows::Line;
use weir::connector::postgres::{control, stream};

/// A read's buffer is a quarter of a megabyte; a value of a row is a string of its own. A table's columns as in the stream.
pub const TARGET: Target = Target { name: "client", bound: Bound { constant: 8 << 20, factor: 1 << 10 }, seeds, run };

fn run(bytes: &[u8]) {
    let Some((&[what, piece], sent)) = bytes.split_first_chunk() else { return };
    // Authenticated, and ready for a query. Only the first of them has to log in by what the input says.
    let welcome: &[u8] = if what == 0 { b"" } else { b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I" };
    let script = Script { sent: [welcome, sent].concat(), at: 0, piece: usize::from(piece) + 1 };
    let options = Options {
        host: "upstream".into(),
        port: 5432,
        user: "u".into(),
        password: "p".into(),
        database: "d".into(),
        schema: "public".into(),
        slot: "s".into(),
        publication: "p".into(),
        create_publication: true,
        application: "weir".into(),
        predecessor: None,
    };
    let Ok(mut client) = Client::start(Box::new(script), &options, Purpose::Replication) else { return };
    let failure = match what {
        0 | 1 => follow(&mut client),
        2 => ask(&mut client),
        _ => copy(&mut client),
    };
    if let Err(failure) = failure {
        failure.verdict("s");
    }
}

fn follow(client: &mut Client) -> Result<()> {
    client.start_replication("s", "p", Lsn(0x100))?;
    let mut feed = upstream::feed();
    loop {
        client.fill()?;
        stream::drain(client, &mut feed)?;
    }
}

/// Each question there is, until an answer is none.
fn ask(client: &mut Client) -> Result<()> {
    control::identify(client)?;
    control::server(client)?;
    control::sender_timeout(client)?;
    control::slot(client, "s")?;
    control::retained(client, "s")?;
    control::create_slot(client, "s", "LOGICAL pgoutput")?;
    control::running(client)?;
    control::publication(client, "p")?;
    control::membership(client, "p", 1)?;
    control::relation(client, "public", "t")?;
    control::attributes(client, 1)?;
    control::key(client, 1, true)?;
    Ok(())
}

fn copy(client: &mut Client) -> Result<()> {
    client.copy_out("COPY t TO STDOUT")?;
    let mut line = Line::default();
    loop {
        while let Some(frame) = client.frame()? {
            let Frame::Data(data) = frame else { return client.finish() };
            if line.read(data) {
                line.values(data).for_each(drop);
            }
        }
        client.fill()?;
    }
}

/// A connection on which everything has been said.
struct Script {
    sent: Vec<u8>,
    at: usize,
    piece: usize,
}

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.piece.min(into.len()).min(self.sent.len() - self.at);
        into[..length].copy_from_slice(&self.sent[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link for Script {
    fn set_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn socket(&self) -> io::Result<TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let ready = message(b'Z', b"I");
    let row = |texts: &[&str]| {
        let values = texts.iter().flat_map(|text| [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat());
        message(b'D', &[&(texts.len() as u16).to_be_bytes()[..], &values.collect::<Vec<_>>()].concat())
    };
    let answer = |texts: &[&str]| [row(texts), message(b'C', b"SELECT 1\0"), ready.clone()].concat();
    let data = |text: &[u8]| message(b'd', text);
    let logged = |message: Vec<u8>| data(&[b"w", &[0; 24][..], &message].concat());
    let keepalive = data(&[b"k", &0x200u64.to_be_bytes()[..], &[0; 8], &[1]].concat());
    let stream: Vec<u8> = upstream::transactions().into_iter().flat_map(logged).collect();
    let stream = [message(b'W', b"\0\0\0"), stream, keepalive, message(b'c', b"")].concat();
    let error = message(b'E', b"SERROR\0C55006\0Mslot is active\0Dd\0Hh\0\0");
    let trusted = message(b'R', &0u32.to_be_bytes());
    let version = message(b'S', b"server_version\x0013.18 (Debian)\0");
    let login = |request: Vec<u8>| [request, trusted.clone(), version.clone(), ready.clone(), stream.clone()].concat();
    let scram = [10u32.to_be_bytes().to_vec(), b"SCRAM-SHA-256\0\0".to_vec()].concat();
    let begun = [11u32.to_be_bytes().to_vec(), b"r=abc,s=c2FsdA==,i=1".to_vec()].concat();
    let over = [12u32.to_be_bytes().to_vec(), b"v=c2FsdA==".to_vec()].concat();
    let answers = [
        answer(&["7312345678901234567", "1", "0/16B3748"]),
        answer(&["150008", "logical", "f", "9", "10", "9", "10", "u", "t", "f", "t", ""]),
        answer(&["60000"]),
        answer(&["pgoutput", "d", "t", "f", "7", "weir", "0/16B3748", "reserved"]),
        answer(&["1024", "reserved", "4096"]),
        answer(&["s", "0/16B3748", "00000003-1", "pgoutput"]),
        answer(&["process 1"]),
        answer(&["t", "t", "t", "t", "t", "t"]),
        answer(&["x", "[\"a\",\"b\"]"]),
        answer(&["16384", "r", "p", "d", "t", "f", "t", "f"]),
        answer(&["1", "id", "23", "-1", "t", "f"]),
        answer(&["1"]),
    ]
    .concat();
    let copied = [data(b"1\ta\\tb\t\\N\n"), data(b"2\t\t\n"), message(b'c', b""), message(b'C', b"COPY 2\0")].concat();
    let copied = [message(b'H', b"\0\0\0"), copied, ready.clone()].concat();
    [
        (0, login(vec![])),
        (0, login(message(b'R', &3u32.to_be_bytes()))),
        (0, login(message(b'R', b"\0\0\0\x05salt"))),
        (0, [message(b'R', &scram), message(b'R', &begun), message(b'R', &over)].concat()),
        (1, stream),
        (1, [error.clone(), ready.clone()].concat()),
        (2, answers),
        (2, [error, ready].concat()),
        (3, copied),
    ]
    .into_iter()
    .map(|(what, sent)| [vec![what, 255], sent].concat())
    .collect()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}
