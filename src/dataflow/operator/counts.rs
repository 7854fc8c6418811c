//! How often each row is there, by key equality: the state of Distinct, Threshold and aggregates over distinct values.
//!
//! Counts may be negative between a minuend and its subtrahend (EXCEPT), and larger than a weight, so they are a column
//! and not the weight of a row. Of rows that are equal but not the same (numeric 1.0 and 1.00) the first stands for
//! all, as long as any is there.

use super::group::{Groups, Stored, keys};
use super::step::{batch, internal, take};
use super::weight;
use crate::dataflow::errors::RowErrors;
use arrow::array::{AsArray, Decimal128Array, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Schema, SchemaRef};
use std::sync::Arc;
use weir_sql::Result;
use weir_storage::arrangement::{Arrangement, Kind, Spec};
use weir_storage::{Delta, Epoch};

/// No number of rows that fits a machine is more, however often each of them is there.
pub(super) const COUNT: DataType = DataType::Decimal128(38, 0);

pub(super) struct Counts {
    arrangement: Arrangement,
    epoch: Epoch,
    groups: Groups,
    /// What the epoch adds to each group.
    deltas: Vec<i128>,
    /// Groups written.
    settled: usize,
}

/// Some of an epoch's rows, each once, with their counts before and after it.
pub(super) struct Changed {
    pub rows: RecordBatch,
    pub before: Vec<i128>,
    pub after: Vec<i128>,
}

impl Counts {
    pub fn spec(columns: &Fields) -> Spec {
        let mut fields = columns.to_vec();
        fields.push(Arc::new(Field::new("count", COUNT, false)));
        Spec { kind: Kind::Keyed, schema: Arc::new(Schema::new(fields)), key: (0..columns.len()).collect() }
    }

    pub fn new(arrangement: Arrangement) -> Self {
        let spec = arrangement.spec();
        let fields: Vec<_> = spec.key.iter().map(|&column| spec.schema.fields()[column].clone()).collect();
        let groups = Groups::new(Arc::new(Schema::new(fields)));
        Self { arrangement, epoch: Epoch::ZERO, groups, deltas: vec![], settled: 0 }
    }

    pub fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.groups.clear();
        self.deltas.clear();
        self.settled = 0;
    }

    pub fn add(&mut self, rows: &RecordBatch, weights: &[i64]) -> Result<()> {
        let numbers = self.groups.number(rows)?;
        self.deltas.resize(self.groups.len(), 0);
        for (&number, &weight) in numbers.iter().zip(weights) {
            self.deltas[number as usize] += i128::from(weight);
        }
        Ok(())
    }

    /// Writes the next `limit` rows; `None` when all are written.
    pub fn settle(&mut self, limit: usize) -> Result<Option<Changed>> {
        let range = self.settled..self.groups.len().min(self.settled + limit);
        if range.is_empty() {
            return Ok(None);
        }
        self.settled = range.end;
        let fresh = self.groups.rows(range.clone())?;
        let stored = Stored::read(&self.arrangement, &keys(&fresh)?)?;
        let columns = fresh.columns().iter().enumerate().map(|(i, column)| stored.or(i, column));
        let rows = batch(fresh.schema_ref(), columns.collect::<Result<_>>()?, fresh.num_rows())?;
        let counts = stored.rows.column(fresh.num_columns()).as_primitive::<Decimal128Type>();
        let before: Vec<i128> = stored.at.iter().map(|at| at.map_or(0, |row| counts.value(row as usize))).collect();
        let after: Vec<i128> = before.iter().zip(&self.deltas[range]).map(|(before, delta)| before + delta).collect();
        self.write(&stored, &rows, &before, &after)?;
        Ok(Some(Changed { rows, before, after }))
    }

    fn write(&self, stored: &Stored, rows: &RecordBatch, before: &[i128], after: &[i128]) -> Result<()> {
        let changed = |&row: &u32| before[row as usize] != after[row as usize];
        let all = 0..before.len() as u32;
        let closed: Vec<u32> = all.clone().filter(changed).filter_map(|row| stored.at[row as usize]).collect();
        if !closed.is_empty() {
            let closed = take(&stored.rows, &closed)?;
            self.arrangement.apply(self.epoch, &Delta::uniform(closed, -1)).map_err(internal)?;
        }
        let opened: Vec<u32> = all.filter(changed).filter(|&row| after[row as usize] != 0).collect();
        if !opened.is_empty() {
            let counts = Decimal128Array::from_iter_values(opened.iter().map(|&row| after[row as usize]));
            let mut columns = take(rows, &opened)?.columns().to_vec();
            columns.push(Arc::new(counts.with_data_type(COUNT)));
            let opened = batch(&self.schema(), columns, opened.len())?;
            self.arrangement.apply(self.epoch, &Delta::uniform(opened, 1)).map_err(internal)?;
        }
        Ok(())
    }

    fn schema(&self) -> SchemaRef {
        self.arrangement.spec().schema.clone()
    }
}

impl Changed {
    /// The rows with the change of what `count` makes of how often they are there, without those that do not change;
    /// and those that would be there too often.
    pub fn delta(&self, count: impl Fn(i128) -> i128, failed: &mut RowErrors) -> Result<Delta> {
        let changes = self.before.iter().zip(&self.after).map(|(&old, &new)| weight::change(count(old), count(new)));
        let (weights, errors): (Vec<i64>, Vec<i64>) = changes.unzip();
        weight::report(&self.rows, &errors, failed)?;
        let kept: Vec<u32> = (0..weights.len() as u32).filter(|&row| weights[row as usize] != 0).collect();
        if kept.len() == weights.len() {
            return Ok(Delta::new(self.rows.clone(), weights));
        }
        let weights: Vec<i64> = weights.into_iter().filter(|&weight| weight != 0).collect();
        Ok(Delta::new(take(&self.rows, &kept)?, weights))
    }
}
