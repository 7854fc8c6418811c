//! What the tests of arrangements share: small rows of a key (nullable number, text) and a value.

mod definition;
mod promises;

use super::*;
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use std::collections::BTreeMap;

/// Key (nullable number, text) and value.
type Row = (Option<i64>, String, i64);
type Rows = BTreeMap<Row, i64>;

fn schema() -> SchemaRef {
    let fields = [("k", DataType::Int64, true), ("t", DataType::Utf8, false), ("v", DataType::Int64, false)];
    Arc::new(Schema::new(fields.map(|(name, kind, nullable)| Field::new(name, kind, nullable)).to_vec()))
}

fn new(kind: Kind) -> Arrangement {
    within(usual(), kind)
}

/// As in the product, but that few rows are worth being sorted.
fn usual() -> Limits {
    Limits { sorted_rows: 64, ..Limits::default() }
}

fn within(limits: Limits, kind: Kind) -> Arrangement {
    Arrangement::new(Spec { kind, schema: schema(), key: vec![0, 1] }, limits)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let k = Int64Array::from_iter(rows.iter().map(|r| r.0));
    let t = StringArray::from_iter_values(rows.iter().map(|r| &r.1));
    let v = Int64Array::from_iter_values(rows.iter().map(|r| r.2));
    RecordBatch::try_new(schema(), vec![Arc::new(k), Arc::new(t), Arc::new(v)]).unwrap()
}

fn delta(changes: &[(Row, i64)]) -> Delta {
    let rows: Vec<Row> = changes.iter().map(|c| c.0.clone()).collect();
    Delta::new(batch(&rows), changes.iter().map(|c| c.1).collect::<Vec<_>>())
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let (k, t) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
    let v = batch.column(2).as_primitive::<Int64Type>();
    (0..batch.num_rows()).map(|i| (k.is_valid(i).then(|| k.value(i)), t.value(i).to_string(), v.value(i))).collect()
}

fn add(sum: &mut Rows, row: Row, weight: i64) {
    let total = sum.entry(row.clone()).or_default();
    *total += weight;
    if *total == 0 {
        sum.remove(&row);
    }
}

fn sum<'a>(deltas: impl IntoIterator<Item = &'a Delta>) -> Rows {
    let mut sum = Rows::new();
    for delta in deltas {
        assert!(delta.len() <= 8192 && !delta.is_empty());
        rows(delta.rows()).into_iter().zip(delta.weights()).for_each(|(row, &weight)| add(&mut sum, row, weight));
    }
    sum
}

fn e(n: u64) -> Epoch {
    Epoch::from_u64(n)
}

/// Compacts until nothing is left to do.
fn settle(arrangement: &Arrangement) {
    arrangement.compact(Epoch::NEVER);
    while arrangement.reclaim() {}
    assert_eq!(arrangement.stats().closed, 0, "with no history nothing closed is kept: {:?}", arrangement.stats());
}
