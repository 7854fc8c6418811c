//! Values as tests write, compare and compute with them, and their way into and out of Arrow.

use arrow::array::*;
use arrow::datatypes::*;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use weir_sql::numeric::{self, Numeric};
use weir_sql::types::{Column, Type};
use weir_storage::Delta;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Bool(bool),
    Int(i64),
    /// As the type prints it.
    Text(String),
    Null,
}

pub type Row = Vec<Value>;

/// A Z-set in the plainest form, of weights that any sum and product fits.
pub type Rows = BTreeMap<Row, i128>;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Text(text) => f.write_str(text),
            Value::Null => f.write_str("null"),
        }
    }
}

impl Value {
    pub fn parse(text: &str, kind: &Type) -> Self {
        match kind {
            _ if text == "null" => Value::Null,
            Type::Bool => Value::Bool(text.parse().unwrap()),
            Type::Int2 | Type::Int4 | Type::Int8 => Value::Int(text.parse().unwrap()),
            Type::Numeric(None) => Value::Text(number(text).to_string()),
            Type::Numeric(Some((_, scale))) => Value::Text(number(text).round(*scale as i32).unwrap().to_string()),
            Type::Float4 => Value::Text(text.parse::<f32>().unwrap().to_string()),
            Type::Float8 => Value::Text(text.parse::<f64>().unwrap().to_string()),
            _ => Value::Text(text.to_string()),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            other => panic!("{other} is no text"),
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Value::Int(value) => *value,
            other => panic!("{other} is no integer"),
        }
    }

    /// One value for all that are equal in SQL.
    pub fn canonical(&self, kind: &Type) -> Self {
        match (self, kind) {
            (Value::Text(text), Type::Numeric(_)) if text.contains('.') => {
                Value::Text(text.trim_end_matches('0').trim_end_matches('.').to_string())
            }
            (Value::Text(text), Type::Float8 | Type::Float4) if text == "-0" => Value::Text("0".into()),
            _ => self.clone(),
        }
    }
}

pub fn number(text: &str) -> Numeric {
    text.parse().unwrap()
}

fn array(values: &[&Value], kind: &Type) -> ArrayRef {
    let texts = || values.iter().map(|value| (**value != Value::Null).then(|| value.text()));
    let ints = || values.iter().map(|value| (**value != Value::Null).then(|| value.int()));
    let numbers = || numeric::build(texts().collect::<Vec<_>>().into_iter().map(|t| Ok(t.map(number)))).unwrap();
    match kind {
        Type::Bool => {
            let truth = |value: &&Value| match value {
                Value::Bool(truth) => Some(*truth),
                _ => None,
            };
            Arc::new(values.iter().map(truth).collect::<BooleanArray>())
        }
        Type::Int2 => Arc::new(ints().map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        Type::Int4 => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        Type::Int8 => Arc::new(ints().collect::<Int64Array>()),
        Type::Float4 => Arc::new(texts().map(|t| t.map(|t| t.parse::<f32>().unwrap())).collect::<Float32Array>()),
        Type::Float8 => Arc::new(texts().map(|t| t.map(|t| t.parse::<f64>().unwrap())).collect::<Float64Array>()),
        Type::Numeric(None) => Arc::new(numbers()),
        Type::Numeric(Some(_)) => numeric::to_column(&numbers(), &kind.arrow()).unwrap(),
        Type::Text => Arc::new(texts().collect::<StringArray>()),
        other => panic!("tests have no values of {other}"),
    }
}

fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Value::Text(array.as_primitive::<Float32Type>().value(row).to_string()),
        DataType::Float64 => Value::Text(array.as_primitive::<Float64Type>().value(row).to_string()),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_string()),
        DataType::FixedSizeBinary(16) => Value::Text(format!("{:02x?}", array.as_fixed_size_binary().value(row))),
        _ => Value::Text(numeric::Numbers::of(array).unwrap().get(row).unwrap().to_string()),
    }
}

pub fn delta(rows: &[(Row, i64)], columns: &[Column]) -> Delta {
    let fields: Vec<Field> = columns.iter().map(Column::field).collect();
    let arrays = columns.iter().enumerate().map(|(index, column)| {
        let values: Vec<&Value> = rows.iter().map(|(row, _)| &row[index]).collect();
        array(&values, &column.kind)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays.collect(), &options);
    Delta::new(batch.unwrap(), rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())
}

/// Adds `delta` to `rows`.
pub fn add(rows: &mut Rows, delta: &Delta) {
    for index in 0..delta.len() {
        let row: Row = delta.rows().columns().iter().map(|column| value(column, index)).collect();
        let weight = delta.weights()[index];
        put(rows, row, weight);
    }
}

pub fn put(rows: &mut Rows, row: Row, weight: impl Into<i128>) {
    let entry = rows.entry(row.clone()).or_default();
    *entry += weight.into();
    if *entry == 0 {
        rows.remove(&row);
    }
}
