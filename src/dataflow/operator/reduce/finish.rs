//! From a group's state to what the query shows: pure, so that the row to retract is made from the old state as the new one is.

use super::exact::Exact;
use super::input::{Keep, Layout, is_numeric};
use super::packed::Total;
use super::wide::Wide;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal256Array, Float32Array, Float64Array, Int64Array,
    IntervalMonthDayNanoArray, RecordBatch,
};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, i256};
use std::sync::Arc;
use weir_sql::function::span::Span;
use weir_sql::numeric::{self, Numbers, Numeric, Sum};
use weir_sql::plan::{Aggregate, AggregateFunction as F};
use weir_sql::types::{Column, Type};
use weir_sql::{Error, Result};

/// How one aggregate's value is made.
pub(super) struct Finish {
    function: F,
    output: Type,
    /// The argument's type; of no use to count.
    argument: DataType,
    /// The state column of what the function keeps beside a count.
    kept: usize,
    /// The state column of how many values there are.
    count: usize,
    /// As an error names it.
    pub expression: String,
}

/// The value of a group, or why it has none. NULL is a value.
type Value<T> = Result<Option<T>>;

impl Finish {
    /// `columns` are the input's.
    pub fn new(layout: &Layout, aggregate: &Aggregate, columns: &[Column]) -> Self {
        let column = |keep| layout.column(aggregate, keep);
        let (kept, count) = match aggregate.function {
            F::Count => (column(Keep::Count), column(Keep::Count)),
            F::Sum | F::Avg => (column(Keep::Sum), column(Keep::Count)),
            F::BoolAnd | F::BoolOr => (column(Keep::Trues), column(Keep::Count)),
            F::Min => (column(Keep::Min), layout.rows()),
            F::Max => (column(Keep::Max), layout.rows()),
        };
        let argument = aggregate.argument.map(|argument| layout.input.field(argument));
        Self {
            function: aggregate.function,
            output: aggregate.output.kind.clone(),
            argument: argument.map_or(DataType::Null, |field| field.data_type().clone()),
            kept,
            count,
            expression: aggregate.text(columns),
        }
    }

    /// The values of the groups in `states`; those that have none are NULL and in `failures`, by row.
    pub fn values(&self, states: &RecordBatch, failures: &mut Vec<(usize, Error)>) -> Result<ArrayRef> {
        let kept = states.column(self.kept);
        let counts = states.column(self.count).as_primitive::<Int64Type>();
        match self.function {
            F::Count | F::Min | F::Max => Ok(kept.clone()),
            F::BoolAnd | F::BoolOr => {
                let trues = kept.as_primitive::<Int64Type>();
                let truth = |row: usize| match self.function {
                    F::BoolAnd => trues.value(row) == counts.value(row),
                    _ => trues.value(row) > 0,
                };
                let values = (0..states.num_rows()).map(|row| (counts.value(row) > 0).then(|| truth(row)));
                Ok(Arc::new(values.collect::<BooleanArray>()))
            }
            F::Sum | F::Avg if matches!(self.argument, DataType::Float32 | DataType::Float64) => {
                self.floats(kept, counts, failures)
            }
            F::Sum if matches!(self.output, Type::Int8) => {
                let totals = kept.as_primitive::<Decimal128Type>();
                let value = |row: usize| i64::try_from(totals.value(row)).map(Some).map_err(|_| out_of_range("bigint"));
                Ok(Arc::new(collect(counts, value, failures).into_iter().collect::<Int64Array>()))
            }
            F::Sum | F::Avg if matches!(self.argument, DataType::Interval(_)) => {
                Ok(self.intervals(kept, counts, failures))
            }
            F::Sum | F::Avg => self.numbers(kept, counts, failures),
        }
    }

    fn floats(&self, kept: &ArrayRef, counts: &Int64Array, failures: &mut Vec<(usize, Error)>) -> Result<ArrayRef> {
        let narrow = matches!(self.output, Type::Float4);
        let value = |row: usize| {
            let sum = Exact::decode(kept.as_binary::<i32>().value(row))?;
            let mut value = sum.value();
            if self.function == F::Avg {
                value /= counts.value(row) as f64;
            }
            let fits = if narrow { (value as f32).is_finite() } else { value.is_finite() };
            let overflow = !fits && !value.is_nan() && !sum.has_infinity();
            if overflow { Err(Error::new("22003", "value out of range: overflow")) } else { Ok(Some(value)) }
        };
        let values = collect(counts, value, failures);
        Ok(match narrow {
            true => Arc::new(values.into_iter().map(|value| value.map(|v| v as f32)).collect::<Float32Array>()),
            false => Arc::new(values.into_iter().collect::<Float64Array>()),
        })
    }

    fn intervals(&self, kept: &ArrayRef, counts: &Int64Array, failures: &mut Vec<(usize, Error)>) -> ArrayRef {
        let value = |row: usize| {
            let total = Span::decode(kept.as_binary::<i32>().value(row))?;
            let value = if self.function == F::Avg { total.average(counts.value(row)) } else { total.value() };
            value.map(Some)
        };
        Arc::new(collect(counts, value, failures).into_iter().collect::<IntervalMonthDayNanoArray>())
    }

    fn numbers(&self, kept: &ArrayRef, counts: &Int64Array, failures: &mut Vec<(usize, Error)>) -> Result<ArrayRef> {
        let totals = self.totals(kept)?;
        let numbers = if totals.data_type() == &DataType::Binary { None } else { Some(Numbers::of(&totals)?) };
        let value = |row: usize| {
            let sum = match &numbers {
                Some(_) if totals.is_null(row) => return Err(Error::new("22003", "value overflows numeric format")),
                Some(numbers) => numbers.get(row)?,
                None => Sum::decode(totals.as_binary::<i32>().value(row))?.value()?,
            };
            match self.function {
                F::Avg => sum.div(&Numeric::from_i64(counts.value(row))).map(Some),
                _ => Ok(Some(sum)),
            }
        };
        let values = numeric::build(collect(counts, value, failures).into_iter().map(Ok))?;
        let kind = self.output.arrow();
        if is_numeric(&kind) {
            return Ok(Arc::new(values));
        }
        if let Ok(values) = numeric::to_column(&values, &kind) {
            return Ok(values);
        }
        let mut rows = Vec::with_capacity(values.len());
        for row in 0..values.len() {
            rows.push(numeric::to_column(&values.slice(row, 1), &kind).or_else(|error| {
                failures.push((row, error));
                Ok::<_, Error>(arrow::array::new_null_array(&kind, 1))
            })?);
        }
        let rows: Vec<&dyn Array> = rows.iter().map(|row| row.as_ref()).collect();
        arrow::compute::concat(&rows).map_err(crate::dataflow::operator::step::internal)
    }

    /// The totals as numbers, NULL where they are too long; those of numerics as they are.
    fn totals(&self, kept: &ArrayRef) -> Result<ArrayRef> {
        let DataType::Decimal256(precision, scale) = self.argument else { return Ok(kept.clone()) };
        let total = |bytes: Option<&[u8]>| Wide::decode(bytes.unwrap_or_default()).map(|total| total.value());
        let totals: Vec<Option<i256>> = kept.as_binary::<i32>().iter().map(total).collect::<Result<_>>()?;
        let totals = Decimal256Array::from(totals).with_data_type(DataType::Decimal256(precision, scale));
        Ok(Arc::new(totals))
    }
}

/// What `value` makes of every group that has values.
fn collect<T>(
    counts: &Int64Array,
    value: impl Fn(usize) -> Value<T>,
    failures: &mut Vec<(usize, Error)>,
) -> Vec<Option<T>> {
    let mut of = |row: usize| {
        if counts.value(row) <= 0 {
            return None;
        }
        value(row).unwrap_or_else(|error| {
            failures.push((row, error));
            None
        })
    };
    (0..counts.len()).map(&mut of).collect()
}

fn out_of_range(kind: &str) -> Error {
    Error::new("22003", format!("{kind} out of range"))
}
