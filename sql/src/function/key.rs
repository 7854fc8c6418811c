//! `key(x)`: a value of the same type whose bytes are equal exactly when Postgres calls the values equal, and which sorts as
//! Postgres sorts. Comparisons, joins, groups and sorts of such types go through it.

use super::{Call, Definition, Resolved, undefined};
use crate::error::{Error, Result};
use crate::numeric;
use crate::types::Type;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] =
    &[Definition { name: "key", aliases: &[], resolve, call, strict: true, fallible: false }];

/// Whether values of this type are compared by their key.
pub fn needed(kind: &Type) -> bool {
    matches!(kind, Type::Numeric(None) | Type::Interval)
}

fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [Some(kind)] if needed(kind) => Ok(Resolved { arguments: vec![kind.clone()], result: kind.clone() }),
        _ => Err(undefined("key", given)),
    }
}

fn call(call: &Call) -> Result<ArrayRef> {
    let array = call.column(0)?;
    match call.result {
        Type::Numeric(None) => Ok(Arc::new(numeric::key(array.as_fixed_size_binary())?)),
        Type::Interval => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            Ok(Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(justified)))
        }
        other => Err(Error::internal(format!("key of {other}"))),
    }
}

/// A month is 30 days and a day 24 hours: all in months, days and time of one sign and below their next unit.
fn justified(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    const DAY: i128 = 86_400_000_000_000;
    let days = interval.months as i128 * 30 + interval.days as i128;
    let total = days * DAY + interval.nanoseconds as i128;
    // Floored, so that the parts compare in this order also below zero.
    let (days, nanoseconds) = (total.div_euclid(DAY), total.rem_euclid(DAY));
    IntervalMonthDayNano::new(days.div_euclid(30) as i32, days.rem_euclid(30) as i32, nanoseconds as i64)
}
