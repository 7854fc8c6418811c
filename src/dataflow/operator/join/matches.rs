//! How many matches each row of one side has: state that only a join with a residual condition needs, since without one all rows
//! of a key have a match or none has.

use crate::dataflow::operator::counts::COUNT;
use crate::dataflow::operator::group::Stored;
use crate::dataflow::operator::step::{batch, internal, take};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, Schema, SchemaRef};
use hashbrown::HashMap;
use std::sync::Arc;
use weir_sql::Result;
use weir_storage::arrangement::{Arrangement, Kind, Spec};
use weir_storage::key::{Keys, row_hashes};
use weir_storage::{Delta, Epoch};

const HASH_WIDTH: i32 = 16;

/// The side's key, by which the entry is placed, and by row hash: how often the row is there, and the weight of the rows that
/// match it.
pub(super) fn spec(side: &SchemaRef, key: &[usize]) -> Spec {
    let mut fields: Vec<FieldRef> = key.iter().map(|&column| side.fields()[column].clone()).collect();
    fields.push(Arc::new(Field::new("row", DataType::FixedSizeBinary(HASH_WIDTH), false)));
    fields.push(Arc::new(Field::new("weight", DataType::Int64, false)));
    fields.push(Arc::new(Field::new("matches", COUNT, false)));
    Spec { kind: Kind::Keyed, schema: Arc::new(Schema::new(fields)), key: vec![key.len()] }
}

/// A row's entry; the default is that of a row that is not there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub weight: i64,
    pub matches: i128,
}

/// The entries of the rows with `hashes` and join `keys`, replaced by what `update` makes of each; gives them as they were before.
pub(super) fn update(
    arrangement: &Arrangement,
    epoch: Epoch,
    keys: Vec<ArrayRef>,
    hashes: &[u128],
    update: impl Fn(usize, Entry) -> Entry,
) -> Result<Vec<Entry>> {
    let spec = arrangement.spec();
    let row = spec.key[0];
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect();
    let rows: ArrayRef = Arc::new(FixedSizeBinaryArray::new(HASH_WIDTH, Buffer::from_vec(bytes), None));
    let found = Keys::encode(&[spec.schema.fields()[row].clone()], std::slice::from_ref(&rows)).map_err(internal)?;
    let stored = Stored::read(arrangement, &found)?;
    let weights = stored.rows.column(row + 1).as_primitive::<Int64Type>();
    let matches = stored.rows.column(row + 2).as_primitive::<Decimal128Type>();
    let entry = |at: &Option<u32>| {
        at.map_or(Entry::default(), |at| Entry {
            weight: weights.value(at as usize),
            matches: matches.value(at as usize),
        })
    };
    let before: Vec<Entry> = stored.at.iter().map(entry).collect();
    let after: Vec<Entry> = before.iter().enumerate().map(|(row, &entry)| update(row, entry)).collect();
    let changed: Vec<u32> =
        (0..hashes.len() as u32).filter(|&row| before[row as usize] != after[row as usize]).collect();
    let closed: Vec<u32> = changed.iter().filter_map(|&row| stored.at[row as usize]).collect();
    arrangement.apply(epoch, &Delta::uniform(take(&stored.rows, &closed)?, -1)).map_err(internal)?;
    let opened: Vec<u32> = changed.into_iter().filter(|&row| after[row as usize].weight != 0).collect();
    let mut columns = keys;
    columns.push(rows);
    columns.push(Arc::new(Int64Array::from_iter_values(after.iter().map(|entry| entry.weight))));
    let matches = Decimal128Array::from_iter_values(after.iter().map(|entry| entry.matches));
    columns.push(Arc::new(matches.with_data_type(COUNT)));
    let opened = take(&batch(&spec.schema, columns, hashes.len())?, &opened)?;
    arrangement.apply(epoch, &Delta::uniform(opened, 1)).map_err(internal)?;
    Ok(before)
}

/// Rows with their hashes and changes.
type Hashed = (RecordBatch, Vec<u128>, Vec<i128>);

/// Rows of the other side that a slice's rows match, each once, with the change of their matches.
#[derive(Default)]
pub(super) struct Touched {
    index: HashMap<u128, usize>,
    hashes: Vec<u128>,
    changes: Vec<i128>,
    batches: Vec<RecordBatch>,
    /// Batch and row.
    first: Vec<(usize, usize)>,
}

impl Touched {
    /// `rows[i]` gains `weights[i]` matches.
    pub fn add(&mut self, rows: &RecordBatch, weights: &[i64]) -> Result<()> {
        let known = self.hashes.len();
        for (row, hash) in row_hashes(rows).map_err(internal)?.into_iter().enumerate() {
            let entry = *self.index.entry(hash).or_insert_with(|| {
                self.hashes.push(hash);
                self.changes.push(0);
                self.first.push((self.batches.len(), row));
                self.hashes.len() - 1
            });
            self.changes[entry] += i128::from(weights[row]);
        }
        if self.hashes.len() > known {
            self.batches.push(rows.clone());
        }
        Ok(())
    }

    /// The next rows, `limit` at most, with their hashes and changes; `None` when there are no more.
    pub fn next(&mut self, limit: usize) -> Result<Option<Hashed>> {
        let from = self.hashes.len().saturating_sub(limit);
        if from == self.hashes.len() {
            return Ok(None);
        }
        let mut first = self.first.split_off(from);
        // Rows come in order of their batches: those of the last rows are the last batches.
        let low = first[0].0;
        first.iter_mut().for_each(|(batch, _)| *batch -= low);
        let batches: Vec<&RecordBatch> = self.batches[low..].iter().collect();
        let rows = arrow::compute::interleave_record_batch(&batches, &first).map_err(internal)?;
        self.batches.truncate(low + 1);
        Ok(Some((rows, self.hashes.split_off(from), self.changes.split_off(from))))
    }
}
