//! An upstream database for the targets: its tables, its messages, and how steps are read from an input.

use weir::connector::Subscription;
use weir::connector::postgres::feed::Feed;
use weir::connector::postgres::lsn::{Lsn, Place};
use weir::connector::postgres::table_schema::{Attribute, Details};
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_storage::Limits;

/// With a key and the copy complete.
const LIVE: RelationId = RelationId(1);
/// The same table upstream again, without its key.
const BAG: RelationId = RelationId(2);
/// With a key of two columns, still to be copied.
pub const COPIED: RelationId = RelationId(3);

pub fn table(which: usize) -> RelationId {
    [LIVE, BAG, COPIED][which % 3]
}

/// Follows the three tables from 0/100 on.
pub fn feed() -> Feed {
    let mut feed = Feed::new(Place { system_id: "1".into(), timeline: 1, lsn: Lsn(0x100) }, Limits::default());
    let first = || vec![("id", Type::Int4, 23), ("body", Type::Text, 25), ("n", Type::Numeric(None), 1700)];
    let third =
        vec![("a", Type::Text, 25), ("b", Type::Timestamp, 1114), ("c", Type::Array(Box::new(Type::Int4)), 1007)];
    for subscription in [
        subscription(LIVE, 1, "live", first(), Some(vec![0]), true),
        subscription(BAG, 1, "live", first(), None, true),
        subscription(COPIED, 3, "copied", third, Some(vec![1, 0]), false),
    ] {
        feed.subscribe(subscription).expect("a table");
    }
    feed
}

fn subscription(
    table: RelationId,
    identity: u64,
    name: &str,
    columns: Vec<(&str, Type, u32)>,
    key: Option<Vec<usize>>,
    copied: bool,
) -> Subscription {
    let attribute =
        |(i, (_, _, kind)): (usize, &(&str, Type, u32))| Attribute { number: i as i16 + 1, kind: *kind, modifier: -1 };
    let details = Details { columns: columns.iter().enumerate().map(attribute).collect(), others: vec![] };
    let in_key = |i: usize| key.as_ref().is_some_and(|key| key.contains(&i));
    let column =
        |(i, (name, kind, _)): (usize, (&str, Type, u32))| Column { name: name.into(), kind, nullable: !in_key(i) };
    Subscription {
        table,
        schema: "public".into(),
        name: name.into(),
        identity,
        columns: columns.into_iter().enumerate().map(column).collect(),
        key: key.clone(),
        copied,
        details: serde_json::to_value(details).expect("plain JSON"),
    }
}

/// Reads an input from its front; at its end there is nothing, or zeros.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub fn small(&mut self) -> usize {
        self.byte().unwrap_or(0).into()
    }

    pub fn long(&mut self) -> u64 {
        (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte().unwrap_or(0)))
    }

    /// With its length before it, two bytes; or what there is of it.
    pub fn text(&mut self) -> &'a [u8] {
        let length = self.small() << 8 | self.small();
        let (text, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        text
    }
}

pub fn step(letter: u8, text: &[u8]) -> Vec<u8> {
    [vec![letter], sized(text)].concat()
}

pub fn sized(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

/// Messages of some transactions over the tables: each kind of message, each kind of change.
pub fn transactions() -> Vec<Vec<u8>> {
    let live = relation(1, "live", b'f', &[("id", 23), ("body", 25), ("n", 1700)]);
    let copied = relation(3, "copied", b'd', &[("a", 25), ("b", 1114), ("c", 1007)]);
    let row = |id: &str, body: &str| tuple(&[Some(id), Some(body), None]);
    let unchanged = |id: &str| [&b"\0\x03"[..], &value(Some(id)), b"u", &value(Some("1.5"))].concat();
    let insert = |id: u32, row: Vec<u8>| [b"I", &id.to_be_bytes()[..], b"N", &row].concat();
    let update = |old: Vec<u8>, new: Vec<u8>| [b"U\0\0\0\x01O", &old[..], b"N", &new].concat();
    let key = tuple(&[Some("a"), Some("2024-01-01 00:00:00"), None]);
    let moved = tuple(&[Some("b"), Some("2024-01-01 00:00:00"), Some("{1,NULL}")]);
    let mut messages = vec![];
    for (number, changes) in [
        vec![live, insert(1, row("1", "one")), insert(1, row("2", "two"))],
        vec![update(row("1", "one"), row("1", "ONE")), update(row("2", "two"), unchanged("3"))],
        vec![copied, insert(3, key.clone()), [b"U\0\0\0\x03K", &key[..], b"N", &moved].concat()],
        vec![[b"D\0\0\0\x01O", &row("1", "ONE")[..]].concat(), [b"D\0\0\0\x03K", &moved[..]].concat()],
        vec![b"T\0\0\0\x02\0\0\0\0\x01\0\0\0\x03".to_vec(), b"M\0other".to_vec(), insert(1, row("x", "not a number"))],
    ]
    .into_iter()
    .enumerate()
    {
        let commit = 0x110 + 0x20 * number as u64;
        messages.push([b"B", &commit.to_be_bytes()[..], &[0; 12]].concat());
        messages.extend(changes);
        messages.push([b"C\0", &commit.to_be_bytes()[..], &(commit + 8).to_be_bytes(), &[1; 8]].concat());
    }
    messages
}

fn relation(id: u32, name: &str, identity: u8, columns: &[(&str, u32)]) -> Vec<u8> {
    let mut out = [b"R", &id.to_be_bytes()[..], b"public\0", name.as_bytes(), &[0, identity]].concat();
    out.extend((columns.len() as u16).to_be_bytes());
    for (i, (name, kind)) in columns.iter().enumerate() {
        // The first two columns of the one, all columns of the other are its replica identity.
        out.push(u8::from(identity == b'f' || i < 2));
        out.extend([name.as_bytes(), b"\0", &kind.to_be_bytes(), &(-1i32).to_be_bytes()].concat());
    }
    out
}

fn tuple(values: &[Option<&str>]) -> Vec<u8> {
    let count = (values.len() as u16).to_be_bytes().to_vec();
    [count, values.iter().flat_map(|v| value(*v)).collect()].concat()
}

fn value(value: Option<&str>) -> Vec<u8> {
    match value {
        Some(text) => [b"t", &(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat(),
        None => b"n".to_vec(),
    }
}
