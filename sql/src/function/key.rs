//! `key(x)`: a value of the same type whose bytes are equal exactly when Postgres calls the values equal, and which sorts as
//! Postgres sorts. Comparisons, joins, groups and sorts of such types go through it.

use super::{Call, Definition, Resolved, undefined};
use crate::error::Result;
use crate::numeric;
use crate::total::is_numeric;
use crate::types::Type;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] =
    &[Definition { name: "key", aliases: &[], resolve, call, strict: true, fallible: false }];

/// Whether values of this type are compared by their key.
pub fn needed(kind: &Type) -> bool {
    matches!(kind, Type::Numeric(None) | Type::Interval | Type::Float4 | Type::Float8)
}

fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [Some(kind)] if needed(kind) => Ok(Resolved { arguments: vec![kind.clone()], result: kind.clone() }),
        _ => Err(undefined("key", given)),
    }
}

fn call(call: &Call) -> Result<ArrayRef> {
    canonical(&call.column(0)?)
}

/// The keys of `values`; values that need none as they are.
pub fn canonical(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        kind if is_numeric(kind) => Arc::new(numeric::key(values.as_fixed_size_binary())?),
        DataType::Interval(_) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(justified))
        }
        // There is one zero, and one NaN. Adding 0 turns -0 into 0.
        DataType::Float32 => {
            let floats = values.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }))
        }
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x + 0.0 }))
        }
        _ => values.clone(),
    })
}

/// A month is 30 days and a day 24 hours: all in months, days and time of one sign and below their next unit.
pub fn justified(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    const DAY: i128 = 86_400_000_000_000;
    let days = interval.months as i128 * 30 + interval.days as i128;
    let total = days * DAY + interval.nanoseconds as i128;
    // Floored, so that the parts compare in this order also below zero.
    let (days, nanoseconds) = (total.div_euclid(DAY), total.rem_euclid(DAY));
    IntervalMonthDayNano::new(days.div_euclid(30) as i32, days.rem_euclid(30) as i32, nanoseconds as i64)
}
