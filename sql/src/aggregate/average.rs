//! avg: the exact sum divided by the count.

use super::definition::{Definition, Finished, Function, Groups, unknown};
use super::sum::{float, numbers};
use crate::Result;
use crate::function::interval_sum::IntervalSum;
use crate::numeric::Numeric;
use crate::total::Keep;
use crate::types::Type;
use arrow::array::{AsArray, Float64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::DataType;

pub const ALL: &[Function] = &[AVG];

pub const AVG: Function = Function(&Definition {
    name: "avg",
    aliases: &[],
    result,
    keeps: &[Keep::Count, Keep::Sum],
    counts: true,
    nullable: true,
    finish,
});

/// avg of exact numbers is unconstrained numeric, of floats double precision, of intervals interval.
fn result(argument: Option<&Type>) -> Result<Type> {
    Ok(match argument {
        Some(Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_)) => Type::Numeric(None),
        Some(Type::Float4 | Type::Float8) => Type::Float8,
        Some(Type::Interval) => Type::Interval,
        _ => return Err(unknown("avg", argument)),
    })
}

fn finish(groups: &Groups) -> Result<Finished> {
    let sums = &groups.kept[1];
    Ok(match groups.argument {
        DataType::Float32 | DataType::Float64 => {
            groups.column::<f64, Float64Array>(|row, count| float(sums, row, |sum| sum / count as f64))
        }
        DataType::Interval(_) => groups.column::<_, IntervalMonthDayNanoArray>(|row, count| {
            IntervalSum::decode(sums.as_binary::<i32>().value(row))?.average(count)
        }),
        _ => numbers(groups, |sum, count| sum.div(&Numeric::new(count, 0)?))?,
    })
}
