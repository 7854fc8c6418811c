//! pgoutput, protocol version 1 in text: bytes to messages, without copying.
//!
//! Total: any bytes give a message or [`Malformed`], nothing panics, nothing is allocated but by [`Relation`] and
//! [`Message::Truncate`], whose sizes the message's own length bounds. An unknown message is an error, never skipped: it
//! could have been a row.

use super::lsn::Lsn;

/// Not a message of this protocol: what was being read when it went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed replication message: {0}")]
pub struct Malformed(pub &'static str);

type Result<T> = std::result::Result<T, Malformed>;

#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    Begin {
        /// Start of the commit record: the transaction's place in commit order.
        commit: Lsn,
    },
    Commit {
        commit: Lsn,
        /// End of the commit record: where to resume after this transaction.
        end: Lsn,
        /// Microseconds since 2000-01-01 UTC.
        at: i64,
    },
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Origin, type and logical messages: nothing we act on.
    Other,
}

/// The row before the change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Old<'a> {
    /// The replica identity's columns; the others are sent as NULL and mean nothing.
    Key(Tuple<'a>),
    /// REPLICA IDENTITY FULL: all columns.
    Full(Tuple<'a>),
}

impl<'a> Old<'a> {
    pub fn tuple(self) -> Tuple<'a> {
        match self {
            Old::Key(tuple) | Old::Full(tuple) => tuple,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub id: u32,
    pub schema: String,
    pub name: String,
    pub identity: Identity,
    pub columns: Vec<Column>,
}

/// What Postgres sends of a row's old image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    Nothing,
    Full,
    /// The columns of a chosen unique index.
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Part of the replica identity.
    pub key: bool,
    pub name: String,
    pub kind: u32,
    pub modifier: i32,
}

/// The columns of one row image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuple<'a> {
    len: u16,
    /// Walked through once: holds exactly `len` values.
    bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    /// Stored out of line and not changed, so not sent.
    Unchanged,
    Text(&'a [u8]),
}

impl<'a> Tuple<'a> {
    pub fn width(self) -> usize {
        self.len.into()
    }

    pub fn values(self) -> Values<'a> {
        Values { bytes: self.bytes }
    }
}

pub struct Values<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let (tag, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(match tag {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            _ => {
                let (len, rest) = rest.split_first_chunk().expect("the tuple was walked through");
                let (text, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
                self.bytes = rest;
                Value::Text(text)
            }
        })
    }
}

/// One message; all of `bytes` belongs to it.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>> {
    let mut reader = Reader { bytes };
    let message = match reader.byte("message type")? {
        b'I' => Message::Insert { relation: reader.int("relation")?, new: reader.new_tuple()? },
        b'U' => reader.update()?,
        b'D' => reader.delete()?,
        b'B' => {
            let commit = reader.lsn("commit position")?;
            reader.skip(12, "commit time and transaction")?;
            Message::Begin { commit }
        }
        b'C' => {
            reader.skip(1, "flags")?;
            Message::Commit {
                commit: reader.lsn("commit position")?,
                end: reader.lsn("end position")?,
                at: reader.long("commit time")? as i64,
            }
        }
        b'R' => Message::Relation(reader.relation()?),
        b'T' => reader.truncate()?,
        b'O' | b'Y' | b'M' => return Ok(Message::Other),
        _ => return Err(Malformed("unknown message type")),
    };
    if reader.bytes.is_empty() { Ok(message) } else { Err(Malformed("bytes after the message")) }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(Malformed(what))?;
        self.bytes = rest;
        Ok(*head)
    }

    fn skip(&mut self, len: usize, what: &'static str) -> Result<()> {
        self.bytes = self.bytes.get(len..).ok_or(Malformed(what))?;
        Ok(())
    }

    fn byte(&mut self, what: &'static str) -> Result<u8> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    fn short(&mut self, what: &'static str) -> Result<u16> {
        self.array(what).map(u16::from_be_bytes)
    }

    fn int(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn long(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_be_bytes)
    }

    fn lsn(&mut self, what: &'static str) -> Result<Lsn> {
        self.long(what).map(Lsn)
    }

    fn text(&mut self, what: &'static str) -> Result<String> {
        let len = self.bytes.iter().position(|&c| c == 0).ok_or(Malformed(what))?;
        let text = std::str::from_utf8(&self.bytes[..len]).map_err(|_| Malformed(what))?.to_string();
        self.bytes = &self.bytes[len + 1..];
        Ok(text)
    }

    fn tuple(&mut self) -> Result<Tuple<'a>> {
        let len = self.short("number of columns")?;
        let start = self.bytes;
        for _ in 0..len {
            match self.byte("column tag")? {
                b'n' | b'u' => {}
                b't' => {
                    let len = self.int("column length")?;
                    self.skip(len as usize, "column text")?;
                }
                _ => return Err(Malformed("column tag")),
            }
        }
        Ok(Tuple { len, bytes: &start[..start.len() - self.bytes.len()] })
    }

    fn new_tuple(&mut self) -> Result<Tuple<'a>> {
        match self.byte("new row")? {
            b'N' => self.tuple(),
            _ => Err(Malformed("new row")),
        }
    }

    fn update(&mut self) -> Result<Message<'a>> {
        let relation = self.int("relation")?;
        let (old, new) = match self.byte("row tag")? {
            b'N' => (None, self.tuple()?),
            b'K' => (Some(Old::Key(self.tuple()?)), self.new_tuple()?),
            b'O' => (Some(Old::Full(self.tuple()?)), self.new_tuple()?),
            _ => return Err(Malformed("row tag")),
        };
        Ok(Message::Update { relation, old, new })
    }

    fn delete(&mut self) -> Result<Message<'a>> {
        let relation = self.int("relation")?;
        let old = match self.byte("row tag")? {
            b'K' => Old::Key(self.tuple()?),
            b'O' => Old::Full(self.tuple()?),
            _ => return Err(Malformed("row tag")),
        };
        Ok(Message::Delete { relation, old })
    }

    fn relation(&mut self) -> Result<Relation> {
        let id = self.int("relation")?;
        let schema = self.text("schema name")?;
        let name = self.text("table name")?;
        let identity = match self.byte("replica identity")? {
            b'd' => Identity::Default,
            b'n' => Identity::Nothing,
            b'f' => Identity::Full,
            b'i' => Identity::Index,
            _ => return Err(Malformed("replica identity")),
        };
        let columns = (0..self.short("number of columns")?)
            .map(|_| {
                Ok(Column {
                    key: self.byte("column flags")? & 1 != 0,
                    name: self.text("column name")?,
                    kind: self.int("column type")?,
                    modifier: self.int("type modifier")? as i32,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Relation { id, schema, name, identity, columns })
    }

    fn truncate(&mut self) -> Result<Message<'a>> {
        let len = self.int("number of relations")?;
        self.skip(1, "truncate options")?;
        if self.bytes.len() as u64 != u64::from(len) * 4 {
            return Err(Malformed("truncated relations"));
        }
        let relations = (0..len).map(|_| self.int("relation")).collect::<Result<_>>()?;
        Ok(Message::Truncate { relations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tuple(values: &[Value]) -> Vec<u8> {
        let mut out = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            match value {
                Value::Null => out.push(b'n'),
                Value::Unchanged => out.push(b'u'),
                Value::Text(text) => {
                    out.push(b't');
                    out.extend((text.len() as u32).to_be_bytes());
                    out.extend(*text);
                }
            }
        }
        out
    }

    #[test]
    fn an_update_carries_its_old_key_and_its_new_row() {
        let (key, row) = ([Value::Text(b"1"), Value::Null], [Value::Text(b"2"), Value::Unchanged]);
        let bytes = [b"U\0\0\0\x07K".to_vec(), tuple(&key), b"N".to_vec(), tuple(&row)].concat();
        let Ok(Message::Update { relation: 7, old: Some(Old::Key(old)), new }) = decode(&bytes) else {
            panic!("{:?}", decode(&bytes));
        };
        assert_eq!((old.values().collect::<Vec<_>>(), old.width()), (key.to_vec(), 2));
        assert_eq!(new.values().collect::<Vec<_>>(), row);
    }

    #[test]
    fn each_proper_prefix_of_a_message_is_malformed() {
        let row = [Value::Text(b"abc"), Value::Null];
        let relation = b"R\0\0\0\x01public\0t\0f\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff".to_vec();
        let insert = [b"I\0\0\0\x01N".to_vec(), tuple(&row)].concat();
        let truncate = b"T\0\0\0\x02\0\0\0\0\x01\0\0\0\x02".to_vec();
        for whole in [relation, insert, truncate] {
            assert!(decode(&whole).is_ok(), "{whole:?}");
            for len in 0..whole.len() {
                assert!(decode(&whole[..len]).is_err(), "{len} of {whole:?}");
            }
            assert!(decode(&[&whole[..], b"x"].concat()).is_err());
        }
    }

    #[test]
    fn a_length_beyond_the_message_allocates_nothing_and_fails() {
        assert!(decode(b"T\xff\xff\xff\xff\0").is_err());
        assert!(decode(b"I\0\0\0\x01N\xff\xfft\xff\xff\xff\xff").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(tag in "[BCRTIUDOYMx]", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let message = [tag.as_bytes(), &bytes].concat();
            if let Ok(Message::Insert { new, .. }) = decode(&message) {
                prop_assert_eq!(new.values().count(), new.width());
            }
        }
    }
}
