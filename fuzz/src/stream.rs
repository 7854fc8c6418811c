//! pgoutput messages in any order, and what happens to the tables they are for: copies that begin, end and fail, lost connections,
//! what is taken meanwhile. A row is folded as the coordinator gets it.

use crate::Target;
use crate::memory::Bound;
use crate::upstream::{self, Input};
use std::iter::empty;
use weir::connector::RowError;
use weir::connector::postgres::decode::decode;
use weir::connector::postgres::feed::{Attempt, Feed};
use weir::connector::postgres::log::Log;
use weir::connector::postgres::lsn::Lsn;
use weir::connector::postgres::rows::Line;
use weir::connector::segment::Op;
use weir_storage::Limits;

/// Builders of a table's columns begin with room for a thousand values each, and every few changes may be in a log of their own.
pub const TARGET: Target = Target { name: "stream", bound: Bound { constant: 8 << 20, factor: 16 << 10 }, seeds, run };

/// A step is a letter and what belongs to it; other letters mean nothing.
fn run(bytes: &[u8]) {
    let mut world = World { feed: upstream::feed(), attempts: vec![Attempt { table: upstream::COPIED, number: 1 }] };
    let mut input = Input(bytes);
    while let Some(step) = input.byte() {
        world.step(step, &mut input);
    }
    world.take();
    world.take();
}

struct World {
    feed: Feed,
    /// Copies that were asked for.
    attempts: Vec<Attempt>,
}

impl World {
    fn step(&mut self, step: u8, input: &mut Input) {
        match step {
            b'w' => {
                let applied = decode(input.text()).map(|message| self.feed.apply(message));
                if !matches!(applied, Ok(Ok(()))) {
                    self.abandon();
                }
            }
            b'k' => self.feed.keepalive(Lsn(input.long())),
            b't' => self.take(),
            b'a' => self.abandon(),
            b'b' => {
                let attempt = self.attempt(input);
                self.feed.copy_begins(attempt, Lsn(input.long()), 10);
            }
            b'r' => {
                let attempt = self.attempt(input);
                self.copy(attempt, input.text());
            }
            b'e' => drop(self.feed.copy_ends(self.attempt(input))),
            b'f' => {
                let attempt = self.attempt(input);
                self.attempts.extend(self.feed.copy_fails(attempt));
            }
            b'n' => {
                let table = upstream::table(input.small());
                self.attempts.extend(self.feed.resnapshot(table));
            }
            b'x' => {
                let cause = RowError { sqlstate: "55000".into(), message: "stop".into(), expression: "t".into() };
                self.feed.stop(upstream::table(input.small()), cause);
            }
            b'u' => {
                let subscription = self.feed.unsubscribe(upstream::table(input.small()));
                if let Some(subscription) = subscription {
                    self.attempts.extend(self.feed.subscribe(subscription).expect("it was subscribed before"));
                }
            }
            _ => {}
        }
    }

    fn attempt(&self, input: &mut Input) -> Attempt {
        self.attempts[input.small() % self.attempts.len()]
    }

    fn abandon(&mut self) {
        self.attempts.extend(self.feed.abandon());
    }

    /// As the reader of a copy does.
    fn copy(&mut self, attempt: Attempt, lines: &[u8]) {
        let Some((_, table_schema)) = self.feed.subscription(attempt) else { return };
        let (mut log, mut line) = (Log::new(table_schema.clone(), Limits::default()), Line::default());
        for text in lines.split_inclusive(|&c| c == b'\n') {
            if !line.read(text) || line.values(text).len() != table_schema.kinds.len() {
                return;
            }
            let values = line.values(text).enumerate().map(|(column, value)| (column as u16, value));
            if log.push(Op::Insert, empty(), values).is_err() {
                return;
            }
        }
        log.commit();
        let bytes = log.committed().bytes;
        for rows in log.take() {
            self.feed.copy_rows(attempt, rows, bytes);
        }
    }

    fn take(&mut self) {
        let before = self.feed.place().lsn;
        let waiting = self.feed.waiting();
        let Some(taken) = self.feed.take() else {
            assert!(!waiting.moved && waiting.rows == 0, "something waits and is not given");
            return;
        };
        assert!(taken.place.lsn >= before, "a position goes back");
        taken.fold(1, |table| panic!("what is read of {table} cannot be folded")).expect("all of it is in memory");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let wrapped = |message: Vec<u8>| upstream::step(b'w', &message);
    let stream: Vec<u8> = upstream::transactions().into_iter().flat_map(wrapped).collect();
    let attempt = |step: u8| vec![step, 0];
    let begins = [attempt(b'b'), 0x120u64.to_be_bytes().to_vec()].concat();
    let rows = [attempt(b'r'), upstream::sized(b"a\t2024-01-01 00:00:00\t1\nb\t2024-01-02 00:00:00\t\\N\n")].concat();
    let copy = [begins, rows, attempt(b'e')].concat();
    let again = [vec![b'n', 0], vec![b'b', 1], 0x150u64.to_be_bytes().to_vec(), vec![b'e', 1]].concat();
    vec![
        stream.clone(),
        [&stream[..], b"t"].concat(),
        [&copy[..], &stream, b"tat", &stream].concat(),
        [&stream[..], &copy, b"t", &stream, b"f\0t"].concat(),
        [&stream[..], b"t", &again, &stream, b"tt"].concat(),
        [&stream[..stream.len() / 2], b"at", &stream, b"x\x01", &stream, b"tu\x01", &stream, b"t"].concat(),
    ]
}
