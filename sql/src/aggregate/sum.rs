//! sum, with Postgres' result types: exact, also of floats, and an error (22003) where the result cannot be held.

use super::definition::{Definition, Finished, Function, Groups, bigint, unknown};
use crate::function::interval_sum::IntervalSum;
use crate::numeric::{self, Numbers, Numeric};
use crate::total::{Exact, Keep, Wide, Written};
use crate::types::{Type, is_numeric};
use crate::{Error, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int64Array,
    IntervalMonthDayNanoArray, new_null_array,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use std::sync::Arc;

pub const ALL: &[Function] = &[SUM];

pub const SUM: Function = Function(&Definition {
    name: "sum",
    aliases: &[],
    result,
    keeps: &[Keep::Count, Keep::Sum],
    counts: true,
    nullable: true,
    finish,
});

/// sum(int2|int4) is bigint, sum(int8) numeric without fraction, sum of exact decimals keeps their scale.
fn result(argument: Option<&Type>) -> Result<Type> {
    Ok(match argument {
        Some(Type::Int2 | Type::Int4) => Type::Int8,
        Some(Type::Int8) => Type::Numeric(Some((38, 0))),
        Some(Type::Numeric(Some((..=38, scale)))) => Type::Numeric(Some((38, *scale))),
        Some(Type::Numeric(Some((_, scale)))) => Type::Numeric(Some((76, *scale))),
        Some(kind @ (Type::Numeric(None) | Type::Float4 | Type::Float8 | Type::Interval)) => kind.clone(),
        _ => return Err(unknown("sum", argument)),
    })
}

fn finish(groups: &Groups) -> Result<Finished> {
    let sums = &groups.kept[1];
    Ok(match (groups.argument, groups.output) {
        (DataType::Float32 | DataType::Float64, Type::Float4) => {
            groups.column::<f32, Float32Array>(|row, _| float(sums, row, |sum| f64::from(sum as f32)).map(|s| s as f32))
        }
        (DataType::Float32 | DataType::Float64, _) => {
            groups.column::<f64, Float64Array>(|row, _| float(sums, row, |sum| sum))
        }
        (_, Type::Int8) => {
            let sums = sums.as_primitive::<Decimal128Type>();
            groups.column::<i64, Int64Array>(|row, _| bigint(sums.value(row)))
        }
        (DataType::Interval(_), _) => groups.column::<_, IntervalMonthDayNanoArray>(|row, _| {
            IntervalSum::decode(sums.as_binary::<i32>().value(row))?.value()
        }),
        (DataType::Int64 | DataType::Decimal128(..), Type::Numeric(Some((precision @ ..=38, _)))) => {
            // The result has the scale of what was added up.
            let sums = sums.as_primitive::<Decimal256Type>();
            let limit = 10u128.pow((*precision).into());
            let mut failures = vec![];
            let narrow = |row: usize, _| {
                let sum: i256 = sums.value(row);
                let fits = sum.to_i128().filter(|sum| sum.unsigned_abs() < limit);
                fits.ok_or_else(|| Error::new("22003", "numeric field overflow"))
            };
            let values: Decimal128Array = groups.each(narrow, &mut failures).into_iter().collect();
            Finished { values: Arc::new(values.with_data_type(groups.output.arrow())), failures }
        }
        _ => numbers(groups, |sum, _| Ok(sum))?,
    })
}

/// What `value` makes of an exact sum of floats; infinite only if a value is.
pub fn float(sums: &ArrayRef, row: usize, value: impl Fn(f64) -> f64) -> Result<f64> {
    let sum = Exact::decode(sums.as_binary::<i32>().value(row))?;
    let value = value(sum.value());
    match value.is_infinite() && !sum.has_infinity() {
        true => Err(Error::new("22003", "value out of range: overflow")),
        false => Ok(value),
    }
}

/// What `value` makes of the sums and counts of exact numbers.
pub fn numbers(groups: &Groups, value: impl Fn(Numeric, i128) -> Result<Numeric>) -> Result<Finished> {
    let sums = &groups.kept[1];
    let wide;
    let numbers = match groups.argument {
        kind if is_numeric(kind) => None,
        DataType::Decimal256(precision, scale) => {
            let sum = |bytes: Option<&[u8]>| Wide::decode(bytes.unwrap_or_default()).map(|sum| sum.value());
            let sums: Vec<Option<i256>> = sums.as_binary::<i32>().iter().map(sum).collect::<Result<_>>()?;
            wide = Decimal256Array::from(sums).with_data_type(DataType::Decimal256(*precision, *scale));
            Some(Numbers::of(&wide)?)
        }
        _ => Some(Numbers::of(sums)?),
    };
    let of = |row: usize, count: i128| {
        let sum = match &numbers {
            Some(Numbers::Decimal256(sums, _)) if sums.is_null(row) => return Err(numeric::overflow()),
            Some(numbers) => numbers.get(row)?,
            None => numeric::Sum::decode(sums.as_binary::<i32>().value(row))?.value()?,
        };
        value(sum, count)
    };
    let mut failures = vec![];
    let values = numeric::build(groups.each(of, &mut failures).into_iter().map(Ok))?;
    let kind = groups.output.arrow();
    if is_numeric(&kind) {
        return Ok(Finished { values: Arc::new(values), failures });
    }
    if let Ok(values) = numeric::to_column(&values, &kind) {
        return Ok(Finished { values, failures });
    }
    let mut rows: Vec<ArrayRef> = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        rows.push(numeric::to_column(&values.slice(row, 1), &kind).unwrap_or_else(|error| {
            failures.push((row, error));
            new_null_array(&kind, 1)
        }));
    }
    let rows: Vec<&dyn Array> = rows.iter().map(|row| row.as_ref()).collect();
    Ok(Finished { values: arrow::compute::concat(&rows)?, failures })
}
