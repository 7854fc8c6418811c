//! Changes that wait to be taken: in memory, or in the spill folder what cannot be taken yet.
//!
//! A [`Stored`] is a segment, or a part of one, wherever that is: somebody may write it to a file meanwhile, and it reads the same. A
//! [`Backlog`] is a list of them, in order, from which changes are taken at the beginning. What is in files is bounded by the disk alone: a
//! transaction that has not committed upstream, what the stream says of a table while it is copied, and a copy that is made of a
//! table which is read meanwhile.

use super::segment::{Op, Rejected, Segment};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt8Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Schema, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempPath;
use weir_storage::{Error, Result};

/// Some changes in order; clones share them.
#[derive(Clone)]
pub struct Stored {
    slot: Arc<Slot>,
    /// Of the slot's.
    changes: Range<usize>,
}

/// A segment.
struct Slot {
    changes: usize,
    bytes: usize,
    place: Mutex<Place>,
}

#[derive(Clone)]
enum Place {
    Here(Arc<Segment>),
    /// Bytes of a file, which goes with the last segment in it.
    There(Arc<TempPath>, Range<u64>),
}

impl Stored {
    /// In memory. `bytes`: about what it takes there.
    pub fn new(segment: Segment, bytes: usize) -> Self {
        let changes = segment.ops.len();
        let place = Mutex::new(Place::Here(Arc::new(segment)));
        Self { slot: Arc::new(Slot { changes, bytes, place }), changes: 0..changes }
    }

    /// Changes.
    pub fn count(&self) -> usize {
        self.changes.len()
    }

    /// About what they take in memory.
    pub fn bytes(&self) -> usize {
        self.slot.bytes / self.slot.changes.max(1) * self.changes.len()
    }

    pub fn is_here(&self) -> bool {
        matches!(*self.slot.place(), Place::Here(_))
    }

    /// The first `changes`, and the rest.
    pub fn split(&self, changes: usize) -> (Self, Self) {
        let at = self.changes.start + changes;
        let part = |changes| Self { slot: self.slot.clone(), changes };
        (part(self.changes.start..at), part(at..self.changes.end))
    }

    /// From wherever it is. `Error::Retry`: the file cannot be read, and what was in it has to be asked for again.
    pub fn read(self) -> Result<Segment> {
        let place = self.slot.place().clone();
        let Self { slot, changes } = self;
        let is_whole = changes.len() == slot.changes;
        drop(slot);
        let segment = match place {
            Place::Here(segment) => segment,
            Place::There(file, bytes) => Arc::new(fetch(&file, bytes).map_err(|error| lost(&error))?),
        };
        Ok(if is_whole { Arc::unwrap_or_clone(segment) } else { segment.part(changes) })
    }
}

impl Slot {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().expect("nobody panics holding a place")
    }
}

/// Writes those of `all` that are in memory to a file in `folder`. Whoever reads them meanwhile need not wait.
pub fn spill(folder: &Path, all: &[Stored]) -> io::Result<()> {
    let here = |stored: &Stored| match &*stored.slot.place() {
        Place::Here(segment) => Some(segment.clone()),
        Place::There(..) => None,
    };
    let (mut file, path) = tempfile::Builder::new().prefix("changes-").tempfile_in(folder)?.into_parts();
    let (mut written, mut end) = (vec![], 0);
    for stored in all {
        let Some(segment) = here(stored) else { continue };
        let bytes = encode(&segment).map_err(io::Error::other)?;
        file.write_all(&bytes)?;
        let begin = end;
        end += bytes.len() as u64;
        written.push((stored, begin..end));
    }
    let path = Arc::new(path);
    for (stored, bytes) in written {
        *stored.slot.place() = Place::There(path.clone(), bytes);
    }
    Ok(())
}

fn lost(error: &dyn std::fmt::Display) -> Error {
    Error::Retry(format!("changes that waited in the spill folder cannot be read: {error}"))
}

fn fetch(file: &Path, bytes: Range<u64>) -> std::result::Result<Segment, ArrowError> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(bytes.start))?;
    let mut read = vec![0; (bytes.end - bytes.start) as usize];
    file.read_exact(&mut read)?;
    decode(read)
}

/// What is not in columns.
#[derive(Serialize, Deserialize)]
struct Beside {
    failed: Vec<Rejected>,
    /// Columns some of whose values were not sent: their bits follow the rows' columns.
    unknown: Vec<bool>,
}

/// Lengths (u64, little-endian) and then: [`Beside`] as JSON; rows, old keys and operations as streams of Arrow's IPC.
fn encode(segment: &Segment) -> std::result::Result<Vec<u8>, ArrowError> {
    let beside =
        Beside { failed: segment.failed.clone(), unknown: segment.unknown.iter().map(Option::is_some).collect() };
    let bits = segment.unknown.iter().flatten().map(|bits| Arc::new(BooleanArray::new(bits.clone(), None)) as ArrayRef);
    let ops = UInt8Array::from_iter_values(segment.ops.iter().map(|op| *op as u8));
    let ops = RecordBatch::try_from_iter([("op", Arc::new(ops) as ArrayRef)])?;
    let parts = [
        serde_json::to_vec(&beside).map_err(|error| ArrowError::ExternalError(error.into()))?,
        stream(&with(&segment.rows, bits.collect())?)?,
        stream(&segment.olds)?,
        stream(&ops)?,
    ];
    let lengths = parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes());
    let mut bytes: Vec<u8> = lengths.collect();
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Ok(bytes)
}

/// `rows` with more columns.
fn with(rows: &RecordBatch, bits: Vec<ArrayRef>) -> std::result::Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let more = bits.iter().map(|bits| Arc::new(Field::new("unknown", bits.data_type().clone(), false)));
    let fields: Vec<_> = schema.fields().iter().cloned().chain(more).collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let columns = rows.columns().iter().cloned().chain(bits).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}

fn stream(rows: &RecordBatch) -> std::result::Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(vec![], &rows.schema())?;
    writer.write(rows)?;
    writer.into_inner()
}

fn decode(bytes: Vec<u8>) -> std::result::Result<Segment, ArrowError> {
    let short = || ArrowError::IpcError("it is shorter than it was".into());
    let mut rest = bytes.get(32..).ok_or_else(short)?;
    let mut parts = vec![];
    for length in bytes[..32].chunks(8) {
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
        let (part, after) = rest.split_at_checked(length).ok_or_else(short)?;
        parts.push(part);
        rest = after;
    }
    let only = |part: &[u8]| StreamReader::try_new(Cursor::new(part), None)?.next().unwrap_or_else(|| Err(short()));
    let Beside { failed, unknown } =
        serde_json::from_slice(parts[0]).map_err(|error| ArrowError::ExternalError(error.into()))?;
    let (all, olds, ops) = (only(parts[1])?, only(parts[2])?, only(parts[3])?);
    let columns: Vec<usize> = (0..unknown.len()).collect();
    // In a buffer of their own: they are kept where the rows are released.
    let own = |bits: &BooleanBuffer| BooleanBuffer::collect_bool(bits.len(), |i| bits.value(i));
    let mut bits = all.columns()[unknown.len()..].iter().map(|bits| own(bits.as_boolean().values()));
    let unknown = unknown.into_iter().map(|has| if has { bits.next() } else { None }).collect();
    let op = |op: &u8| OPS.get(usize::from(*op)).copied().ok_or_else(short);
    let ops = ops.column(0).as_primitive::<UInt8Type>().values().iter().map(op).collect::<Result<_, _>>()?;
    Ok(Segment { ops, rows: all.project(&columns)?, olds, unknown, failed })
}

/// By their numbers.
const OPS: [Op; 6] = [Op::Insert, Op::Upsert, Op::Move, Op::Delete, Op::Truncate, Op::Retract];

/// What waits, in order.
#[derive(Default)]
pub struct Backlog {
    stored: VecDeque<Stored>,
    changes: usize,
    /// So many at the beginning are in files.
    there: usize,
}

impl Backlog {
    pub fn push(&mut self, stored: Stored) {
        self.changes += stored.count();
        self.stored.push_back(stored);
    }

    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Removes and returns the first `changes`: there are as many.
    pub fn take(&mut self, changes: usize) -> Vec<Stored> {
        let (mut taken, mut missing) = (vec![], changes);
        while missing > 0 {
            let first = self.stored.pop_front().expect("there are as many changes");
            self.there = self.there.saturating_sub(1);
            let (head, tail) = first.split(missing.min(first.count()));
            missing -= head.count();
            if tail.count() > 0 {
                self.stored.push_front(tail);
            }
            taken.push(head);
        }
        self.changes -= changes;
        taken
    }

    pub fn take_all(&mut self) -> Vec<Stored> {
        self.take(self.changes)
    }

    /// What is in memory.
    pub fn here(&mut self) -> impl Iterator<Item = &Stored> {
        while self.stored.get(self.there).is_some_and(|stored| !stored.is_here()) {
            self.there += 1;
        }
        self.stored.range(self.there..)
    }

    /// Bytes in memory.
    pub fn bytes_here(&mut self) -> usize {
        self.here().map(|stored| stored.slot.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::RowError;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::DataType;

    /// Of a table with a number and a text, `n` inserts from `from` on: every third text was not sent, the first one cannot be held.
    fn segment(from: i32, n: i32) -> Segment {
        let numbers = Int32Array::from_iter_values(from..from + n);
        let texts = StringArray::from_iter((0..n).map(|i| (i % 3 > 0).then(|| format!("text {i}"))));
        let fields = vec![Field::new("n", DataType::Int32, false), Field::new("t", DataType::Utf8, true)];
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(texts)]);
        let cause = RowError { sqlstate: "22003".into(), message: "too large".into(), expression: "t".into() };
        Segment {
            ops: vec![Op::Upsert; n as usize],
            rows: rows.expect("rows"),
            olds: RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]))),
            unknown: vec![None, Some(BooleanBuffer::collect_bool(n as usize, |i| i % 3 == 0))],
            failed: vec![Rejected { row: 0, column: 1, cause }],
        }
    }

    fn same(one: &Segment, other: &Segment) {
        assert_eq!((&one.ops, &one.rows, &one.olds), (&other.ops, &other.rows, &other.olds));
        assert_eq!((&one.unknown, &one.failed), (&other.unknown, &other.failed));
    }

    #[test]
    fn what_is_in_a_file_is_read_as_it_was_and_the_file_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let all: Vec<Stored> = (0..3).map(|n| Stored::new(segment(n, 10 * n + 1), 100)).collect();
        let (head, tail) = all[2].split(7);
        spill(folder.path(), &all[1..]).expect("a file");
        spill(folder.path(), &all[..2]).expect("a file for what was here");
        assert!(all.iter().all(|stored| !stored.is_here()) && !head.is_here());
        let files = || std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files(), 2);
        same(&head.read().expect("read"), &segment(2, 21).part(0..7));
        same(&tail.read().expect("read"), &segment(2, 21).part(7..21));
        for (n, stored) in (0..).zip(all) {
            same(&stored.read().expect("read"), &segment(n, 10 * n + 1));
        }
        assert_eq!(files(), 0);
    }

    #[test]
    fn what_has_no_columns_and_every_operation_are_kept() {
        let empty = Arc::new(Schema::empty());
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(4));
        let rows = RecordBatch::try_new_with_options(empty.clone(), vec![], &options).expect("rows");
        let segment =
            Segment { ops: OPS.to_vec(), rows, olds: RecordBatch::new_empty(empty), unknown: vec![], failed: vec![] };
        assert!((0..).zip(OPS).all(|(number, op)| op as u8 == number));
        same(&decode(encode(&segment).expect("bytes")).expect("read"), &segment);
    }

    #[test]
    fn a_file_that_is_gone_or_cut_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let stored = Stored::new(segment(0, 9), 100);
        spill(folder.path(), std::slice::from_ref(&stored)).expect("a file");
        let file = std::fs::read_dir(folder.path()).expect("a folder").flatten().next().expect("a file").path();
        let bytes = std::fs::read(&file).expect("its bytes");
        std::fs::write(&file, &bytes[..bytes.len() - 9]).expect("cut");
        assert!(stored.clone().read().is_err());
        std::fs::remove_file(&file).expect("gone");
        let error = stored.read().expect_err("gone").to_string();
        assert!(error.contains("spill folder"), "{error}");
        assert!(decode(vec![1; 31]).is_err() && decode(vec![255; 64]).is_err());
    }

    #[test]
    fn changes_are_taken_in_order_from_wherever_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut backlog = Backlog::default();
        (0..4).for_each(|n| backlog.push(Stored::new(segment(10 * n, 10), 100)));
        let first: Vec<Stored> = backlog.here().take(2).cloned().collect();
        spill(folder.path(), &first).expect("a file");
        assert_eq!((backlog.bytes_here(), backlog.changes()), (200, 40));
        let numbers = |stored: Vec<Stored>| -> Vec<i32> {
            let rows = stored.into_iter().map(|stored| stored.read().expect("read").rows);
            let column =
                |rows: RecordBatch| rows.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
            rows.flat_map(column).collect()
        };
        assert_eq!(numbers(backlog.take(15)), (0..15).collect::<Vec<_>>());
        assert_eq!((backlog.bytes_here(), backlog.changes()), (200, 25));
        assert_eq!(numbers(backlog.take(10)), (15..25).collect::<Vec<_>>());
        backlog.push(Stored::new(segment(40, 3), 30));
        assert_eq!(backlog.bytes_here(), 230, "the part that is left is counted as the whole");
        assert_eq!(numbers(backlog.take_all()), (25..43).collect::<Vec<_>>());
        assert_eq!((backlog.bytes_here(), backlog.changes()), (0, 0));
    }
}
