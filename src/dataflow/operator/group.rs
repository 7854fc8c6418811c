//! Keys of one epoch as dense numbers, so that what is kept per key is a plain vector.

use super::step::{batch, internal};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::ops::Range;
use weir_sql::Result;
use weir_sql::types::TYPE_KEY;
use weir_storage::arrangement::Arrangement;
use weir_storage::key::Keys;

/// Groups in order of first appearance. The first row of a group stands for it: rows of one key need not be equal.
pub(super) struct Groups {
    /// Of the key columns only.
    schema: SchemaRef,
    /// Hash of the key, number.
    table: HashTable<(u64, u32)>,
    batches: Vec<(RecordBatch, Keys)>,
    /// Batch and row of each group's first row.
    first: Vec<(usize, usize)>,
}

impl Groups {
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, table: HashTable::new(), batches: vec![], first: vec![] }
    }

    pub fn len(&self) -> usize {
        self.first.len()
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.batches.clear();
        self.first.clear();
    }

    /// The group of each of `rows`, which hold the key columns only.
    pub fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let keys = keys(rows)?;
        let here = self.batches.len();
        let before = self.first.len();
        let mut numbers = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            let (hash, key) = (keys.hash(row), keys.get(row));
            let same = |&(other, number): &(u64, u32)| {
                let (batch, first) = self.first[number as usize];
                let theirs = if batch == here { &keys } else { &self.batches[batch].1 };
                other == hash && theirs.get(first) == key
            };
            let number = match self.table.entry(hash, same, |entry| entry.0) {
                Entry::Occupied(entry) => entry.get().1,
                Entry::Vacant(entry) => {
                    let number = self.first.len() as u32;
                    entry.insert((hash, number));
                    self.first.push((here, row));
                    number
                }
            };
            numbers.push(number);
        }
        if self.first.len() > before {
            self.batches.push((rows.clone(), keys));
        }
        Ok(numbers)
    }

    /// The first rows of the groups in `range`.
    pub fn rows(&self, range: Range<usize>) -> Result<RecordBatch> {
        let len = range.len();
        // Groups come in order of their batches, so those of a range lie in few of them.
        let low = self.first.get(range.start).map_or(0, |first| first.0);
        let high = self.first[..range.end].last().map_or(low, |last| last.0 + 1);
        let indices: Vec<(usize, usize)> = self.first[range].iter().map(|&(batch, row)| (batch - low, row)).collect();
        let pick = |column: usize| {
            let arrays: Vec<&dyn Array> =
                self.batches[low..high].iter().map(|(rows, _)| rows.column(column).as_ref()).collect();
            arrow::compute::interleave(&arrays, &indices).map_err(internal)
        };
        let columns = (0..self.schema.fields().len()).map(pick).collect::<Result<Vec<_>>>()?;
        batch(&self.schema, columns, len)
    }
}

/// The keys of rows that hold key columns only.
pub(super) fn keys(rows: &RecordBatch) -> Result<Keys> {
    let columns: Vec<usize> = (0..rows.num_columns()).collect();
    Keys::of(rows, &columns).map_err(internal)
}

/// The rows that are the first of their key.
pub(super) fn firsts(keys: &Keys) -> Vec<u32> {
    let mut seen: HashTable<u32> = HashTable::with_capacity(keys.len());
    let mut is_first = |&row: &u32| {
        let (hash, key) = (keys.hash(row as usize), keys.get(row as usize));
        let same = |&other: &u32| keys.hash(other as usize) == hash && keys.get(other as usize) == key;
        match seen.entry(hash, same, |&other| keys.hash(other as usize)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(row);
                true
            }
        }
    };
    (0..keys.len() as u32).filter(|row| is_first(row)).collect()
}

/// What a keyed arrangement holds for some keys.
pub(super) struct Stored {
    pub rows: RecordBatch,
    /// For each key the row in `rows`.
    pub at: Vec<Option<u32>>,
}

impl Stored {
    pub fn read(arrangement: &Arrangement, keys: &Keys) -> Result<Self> {
        let snapshot = arrangement.latest();
        let (matches, rest) = snapshot.probe(keys, 0, usize::MAX);
        assert!(rest.is_none(), "a probe without a limit looks at every key");
        let mut at = vec![None; keys.len()];
        for (found, &probe) in matches.probes.iter().enumerate() {
            at[probe as usize] = Some(found as u32);
        }
        Ok(Self { rows: snapshot.gather(&matches, None).map_err(internal)?, at })
    }

    /// `column` of the stored rows where there is one, else of `fresh`.
    pub fn or(&self, column: usize, fresh: &ArrayRef) -> Result<ArrayRef> {
        let stored = self.rows.column(column);
        let field = self.rows.schema_ref().field(column).clone();
        if stored.is_empty() || is_exact(field.data_type()) && !field.metadata().contains_key(TYPE_KEY) {
            return Ok(fresh.clone());
        }
        let choice = |(key, at): (usize, &Option<u32>)| at.map_or((1, key), |row| (0, row as usize));
        let choices: Vec<(usize, usize)> = self.at.iter().enumerate().map(choice).collect();
        arrow::compute::interleave(&[stored, fresh], &choices).map_err(internal)
    }
}

/// Whether values with equal keys are the same bits.
fn is_exact(kind: &DataType) -> bool {
    use DataType::*;
    matches!(kind, Boolean | Int16 | Int32 | Int64 | Decimal128(..) | Decimal256(..) | Utf8 | Binary | Date32)
        || matches!(kind, Time64(_) | Timestamp(..))
}
