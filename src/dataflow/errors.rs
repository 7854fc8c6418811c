//! The error Z-set that stands beside every relation's rows (design idea 2, I12).

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, LazyLock};

/// Columns of every error Z-set: operator, expression, sqlstate, message, key (the input row's key as text-free bytes: a hash
/// that tells rows apart without showing values).
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let key = Field::new("key", DataType::FixedSizeBinary(16), false);
    Arc::new(Schema::new(vec![text("operator"), text("expression"), text("sqlstate"), text("message"), key]))
});
