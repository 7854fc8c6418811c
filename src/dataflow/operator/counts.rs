//! How often each row is there, by key equality: the state of Distinct, Threshold and aggregates over distinct values.
//!
//! Counts may be negative between a minuend and its subtrahend (EXCEPT), so they are a column and not the weight of a row. Of rows
//! that are equal but not the same (numeric 1.0 and 1.00) the first stands for all, as long as any is there.

use super::group::{Groups, Stored, keys};
use super::step::{batch, internal, take};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};
use std::sync::Arc;
use weir_sql::Result;
use weir_storage::arrangement::{Arrangement, Kind, Spec};
use weir_storage::{Delta, Epoch};

pub(super) struct Counts {
    arrangement: Arrangement,
    epoch: Epoch,
    groups: Groups,
    /// What the epoch adds to each group.
    deltas: Vec<i64>,
    /// Groups written.
    settled: usize,
}

/// Some of an epoch's rows, each once, with their counts before and after it.
pub(super) struct Changed {
    pub rows: RecordBatch,
    pub before: Vec<i64>,
    pub after: Vec<i64>,
}

impl Counts {
    pub fn spec(columns: &Fields) -> Spec {
        let mut fields = columns.to_vec();
        fields.push(Arc::new(Field::new("count", DataType::Int64, false)));
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
        for (&number, weight) in numbers.iter().zip(weights) {
            self.deltas[number as usize] += weight;
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
        let counts = stored.rows.column(fresh.num_columns()).as_primitive::<Int64Type>();
        let before: Vec<i64> = stored.at.iter().map(|at| at.map_or(0, |row| counts.value(row as usize))).collect();
        let after: Vec<i64> = before.iter().zip(&self.deltas[range]).map(|(before, delta)| before + delta).collect();
        self.write(&stored, &rows, &before, &after)?;
        Ok(Some(Changed { rows, before, after }))
    }

    fn write(&self, stored: &Stored, rows: &RecordBatch, before: &[i64], after: &[i64]) -> Result<()> {
        let changed = |&row: &u32| before[row as usize] != after[row as usize];
        let all = 0..before.len() as u32;
        let closed: Vec<u32> = all.clone().filter(changed).filter_map(|row| stored.at[row as usize]).collect();
        if !closed.is_empty() {
            let closed = take(&stored.rows, &closed)?;
            self.arrangement.apply(self.epoch, &Delta::uniform(closed, -1)).map_err(internal)?;
        }
        let opened: Vec<u32> = all.filter(changed).filter(|&row| after[row as usize] != 0).collect();
        if !opened.is_empty() {
            let counts: Int64Array = opened.iter().map(|&row| after[row as usize]).collect();
            let mut columns = take(rows, &opened)?.columns().to_vec();
            columns.push(Arc::new(counts));
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
    /// The rows with the change of what `weight` makes of a count, without those that do not change.
    pub fn delta(&self, weight: impl Fn(i64) -> i64) -> Result<Delta> {
        let weights: Vec<i64> =
            self.before.iter().zip(&self.after).map(|(&before, &after)| weight(after) - weight(before)).collect();
        let kept: Vec<u32> = (0..weights.len() as u32).filter(|&row| weights[row as usize] != 0).collect();
        if kept.len() == weights.len() {
            return Ok(Delta::new(self.rows.clone(), weights));
        }
        let weights: Vec<i64> = weights.into_iter().filter(|&weight| weight != 0).collect();
        Ok(Delta::new(take(&self.rows, &kept)?, weights))
    }
}
