//! The error Z-set that stands beside every relation's rows (ARCHITECTURE.md, *Z-sets*; I12).

use arrow::array::{FixedSizeBinaryArray, RecordBatch, StringBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, LazyLock};
use weir_storage::Delta;

/// Columns of every error Z-set: operator, expression, sqlstate, message, key (the input row's key as text-free bytes: a hash
/// that tells rows apart without showing values).
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let key = Field::new("key", DataType::FixedSizeBinary(KEY_WIDTH), false);
    Arc::new(Schema::new(vec![text("operator"), text("expression"), text("sqlstate"), text("message"), key]))
});

const KEY_WIDTH: i32 = 16;

/// Errors of one operator, collected into a delta in [`SCHEMA`].
pub struct RowErrors {
    operator: &'static str,
    expressions: StringBuilder,
    sqlstates: StringBuilder,
    messages: StringBuilder,
    keys: Vec<u8>,
    weights: Vec<i64>,
}

impl RowErrors {
    pub fn new(operator: &'static str) -> Self {
        Self {
            operator,
            expressions: StringBuilder::new(),
            sqlstates: StringBuilder::new(),
            messages: StringBuilder::new(),
            keys: vec![],
            weights: vec![],
        }
    }

    /// `row` is the hash of the row that failed, `weight` the row's.
    pub fn push(&mut self, expression: &str, sqlstate: &str, message: &str, row: u128, weight: i64) {
        self.expressions.append_value(expression);
        self.sqlstates.append_value(sqlstate);
        self.messages.append_value(message);
        self.keys.extend_from_slice(&row.to_be_bytes());
        self.weights.push(weight);
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    pub fn finish(mut self) -> Delta {
        let mut operators = StringBuilder::new();
        self.weights.iter().for_each(|_| operators.append_value(self.operator));
        let keys = FixedSizeBinaryArray::new(KEY_WIDTH, Buffer::from_vec(self.keys), None);
        let rows = RecordBatch::try_new(
            SCHEMA.clone(),
            vec![
                Arc::new(operators.finish()),
                Arc::new(self.expressions.finish()),
                Arc::new(self.sqlstates.finish()),
                Arc::new(self.messages.finish()),
                Arc::new(keys),
            ],
        );
        Delta::new(rows.expect("as many values in every column"), self.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_row_is_a_row_with_its_weight() {
        let mut failed = RowErrors::new("map");
        assert!(failed.is_empty());
        failed.push("a / b", "22012", "division by zero", 7, -2);
        let delta = failed.finish();
        assert_eq!(delta.schema(), *SCHEMA);
        assert_eq!(delta.weights().to_vec(), vec![-2]);
    }
}
