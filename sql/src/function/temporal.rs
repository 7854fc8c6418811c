//! Arithmetic on dates, times, timestamps and intervals as Postgres does it; infinite dates and timestamps stay infinite.
//!
//! Months and days of an interval are added on the calendar in UTC.

use super::calendar::{Day, MICROS_PER_DAY, split};
use super::definition::Resolved;
use super::operands::Operands;
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::try_unary;
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use std::sync::Arc;

/// What an untyped literal becomes beside `known`.
pub fn partner(operator: char, known: &Type) -> Option<Type> {
    match (operator, known) {
        ('+', Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz) => Some(Type::Interval),
        ('*' | '/', Type::Interval) => Some(Type::Float8),
        _ => None,
    }
}

pub fn resolve(operator: char, left: &Type, right: &Type) -> Option<Resolved> {
    use Type::{Date, Float8, Int2, Int4, Int8, Interval, Time, Timestamp, Timestamptz};
    let (arguments, result) = match (operator, left, right) {
        ('+', Date, Int2 | Int4 | Int8) | ('-', Date, Int2 | Int4 | Int8) => ([Date, Int4], Date),
        ('+', Int2 | Int4 | Int8, Date) => ([Int4, Date], Date),
        ('-', Date, Date) => ([Date, Date], Int4),
        ('+' | '-', Date, Interval) => ([Timestamp, Interval], Timestamp),
        ('+', Interval, Date) => ([Interval, Timestamp], Timestamp),
        ('+', Date, Time) => ([Timestamp, Time], Timestamp),
        ('+', Time, Date) => ([Time, Timestamp], Timestamp),
        ('-', Date, Time) => ([Timestamp, Time], Timestamp),
        ('+' | '-', Timestamp | Timestamptz, Time) => ([left.clone(), Time], left.clone()),
        ('+', Time, Timestamp | Timestamptz) => ([Time, right.clone()], right.clone()),
        ('-', Date | Timestamp, Date | Timestamp) => ([Timestamp, Timestamp], Interval),
        ('-', Timestamptz, Date | Timestamp | Timestamptz) | ('-', Date | Timestamp, Timestamptz) => {
            ([Timestamptz, Timestamptz], Interval)
        }
        ('+' | '-', Timestamp | Timestamptz | Time, Interval) => ([left.clone(), Interval], left.clone()),
        ('+', Interval, Timestamp | Timestamptz | Time) => ([Interval, right.clone()], right.clone()),
        ('-', Time, Time) => ([Time, Time], Interval),
        ('+' | '-', Interval, Interval) => ([Interval, Interval], Interval),
        ('*' | '/', Interval, number) if number.is_number() => ([Interval, Float8], Interval),
        ('*', number, Interval) if number.is_number() => ([Float8, Interval], Interval),
        _ => return None,
    };
    Some(Resolved { arguments: arguments.into(), result })
}

pub(super) fn evaluate(operator: char, operands: &Operands, result: &Type) -> Result<ArrayRef> {
    let sign = if operator == '-' { -1 } else { 1 };
    let swapped;
    // Addition and multiplication commute: the interval or number goes to the right.
    let operands = match (operands.left.data_type(), operands.right.data_type()) {
        (DataType::Interval(_), DataType::Timestamp(..) | DataType::Time64(_))
        | (DataType::Int32, DataType::Date32)
        | (DataType::Time64(_), DataType::Timestamp(..))
        | (DataType::Float64, DataType::Interval(_)) => {
            swapped = Operands {
                left: operands.right.clone(),
                right: operands.left.clone(),
                left_constant: operands.right_constant,
                right_constant: operands.left_constant,
                rows: operands.rows,
            };
            &swapped
        }
        _ => operands,
    };
    let (left, right) = (&operands.left, &operands.right);
    Ok(match (left.data_type(), right.data_type(), result) {
        (DataType::Date32, DataType::Int32, _) => Arc::new(operands.pairs::<Date32Type, Int32Type, Date32Type>(
            left.as_primitive(),
            right.as_primitive(),
            |date, days| add_days(date, sign * days as i64),
        )?),
        (DataType::Date32, DataType::Date32, _) => Arc::new(operands.pairs::<Date32Type, Date32Type, Int32Type>(
            left.as_primitive(),
            right.as_primitive(),
            |a, b| if infinite_date(a) || infinite_date(b) { Err(infinite("dates")) } else { Ok(a.wrapping_sub(b)) },
        )?),
        (DataType::Timestamp(..), DataType::Interval(_), _) => {
            let array = operands
                .pairs::<TimestampMicrosecondType, IntervalMonthDayNanoType, TimestampMicrosecondType>(
                    left.as_primitive(),
                    right.as_primitive(),
                    |at, interval| add_interval(at, interval, sign),
                )?;
            Arc::new(array.with_data_type(result.arrow()))
        }
        (DataType::Timestamp(..), DataType::Time64(_), _) => {
            let array = operands.pairs::<TimestampMicrosecondType, Time64MicrosecondType, TimestampMicrosecondType>(
                left.as_primitive(),
                right.as_primitive(),
                |at, time| match infinite_timestamp(at) {
                    true => Ok(at),
                    false => at.checked_add(sign * time).ok_or_else(timestamp_range),
                },
            )?;
            Arc::new(array.with_data_type(result.arrow()))
        }
        (DataType::Timestamp(..), DataType::Timestamp(..), _) => {
            Arc::new(operands.pairs::<TimestampMicrosecondType, TimestampMicrosecondType, IntervalMonthDayNanoType>(
                left.as_primitive(),
                right.as_primitive(),
                difference,
            )?)
        }
        (DataType::Time64(_), DataType::Interval(_), _) => {
            Arc::new(operands.pairs::<Time64MicrosecondType, IntervalMonthDayNanoType, Time64MicrosecondType>(
                left.as_primitive(),
                right.as_primitive(),
                |time, interval| {
                    let micros = sign as i128 * (interval.nanoseconds / 1000) as i128;
                    Ok((time as i128 + micros).rem_euclid(MICROS_PER_DAY as i128) as i64)
                },
            )?)
        }
        (DataType::Time64(_), DataType::Time64(_), _) => {
            Arc::new(operands.pairs::<Time64MicrosecondType, Time64MicrosecondType, IntervalMonthDayNanoType>(
                left.as_primitive(),
                right.as_primitive(),
                |a, b| Ok(IntervalMonthDayNano::new(0, 0, (a - b) * 1000)),
            )?)
        }
        (DataType::Interval(_), DataType::Interval(_), _) => {
            Arc::new(operands.pairs::<IntervalMonthDayNanoType, IntervalMonthDayNanoType, IntervalMonthDayNanoType>(
                left.as_primitive(),
                right.as_primitive(),
                |a, b| combine(a, b, sign),
            )?)
        }
        (DataType::Interval(_), DataType::Float64, _) => {
            let factors: &PrimitiveArray<Float64Type> = right.as_primitive();
            Arc::new(operands.pairs::<IntervalMonthDayNanoType, Float64Type, IntervalMonthDayNanoType>(
                left.as_primitive(),
                factors,
                |interval, factor| match operator {
                    '/' if factor == 0.0 => Err(ArrowError::DivideByZero),
                    '/' => scale(interval, |part| part / factor),
                    _ => scale(interval, |part| part * factor),
                },
            )?)
        }
        (left, right, _) => return Err(Error::internal(format!("{left} {operator} {right}"))),
    })
}

pub fn negate(array: &ArrayRef) -> Result<ArrayRef> {
    let zero = IntervalMonthDayNano::ZERO;
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    Ok(Arc::new(try_unary::<_, _, IntervalMonthDayNanoType>(intervals, |interval| combine(zero, interval, -1))?))
}

pub fn infinite_date(date: i32) -> bool {
    date == i32::MAX || date == i32::MIN
}

pub fn infinite_timestamp(at: i64) -> bool {
    at == i64::MAX || at == i64::MIN
}

pub fn timestamp_range() -> ArrowError {
    Error::new("22008", "timestamp out of range").into()
}

/// Months, then days, then time, each carried on the calendar.
pub fn add_interval(at: i64, interval: IntervalMonthDayNano, sign: i64) -> Result<i64, ArrowError> {
    if infinite_timestamp(at) {
        return Ok(at);
    }
    let (mut days, micros) = split(at);
    if interval.months != 0 {
        days = Day::of(days).plus_months(sign * interval.months as i64).number();
    }
    days += sign * interval.days as i64;
    let time = sign as i128 * (interval.nanoseconds / 1000) as i128;
    let total = days as i128 * MICROS_PER_DAY as i128 + micros as i128 + time;
    i64::try_from(total).ok().filter(|&at| !infinite_timestamp(at)).ok_or_else(timestamp_range)
}

fn add_days(date: i32, days: i64) -> Result<i32, ArrowError> {
    if infinite_date(date) {
        return Ok(date);
    }
    let range = || Error::new("22008", "date out of range").into();
    i32::try_from(date as i64 + days).ok().filter(|&date| !infinite_date(date)).ok_or_else(range)
}

fn difference(a: i64, b: i64) -> Result<IntervalMonthDayNano, ArrowError> {
    if infinite_timestamp(a) || infinite_timestamp(b) {
        return Err(infinite("timestamps"));
    }
    let micros = a as i128 - b as i128;
    let days = i32::try_from(micros / MICROS_PER_DAY as i128).map_err(|_| interval_range())?;
    Ok(IntervalMonthDayNano::new(0, days, (micros % MICROS_PER_DAY as i128) as i64 * 1000))
}

fn combine(a: IntervalMonthDayNano, b: IntervalMonthDayNano, sign: i64) -> Result<IntervalMonthDayNano, ArrowError> {
    let part = |a: i64, b: i64| b.checked_mul(sign).and_then(|b| a.checked_add(b)).ok_or_else(interval_range);
    let narrow = |value: i64| i32::try_from(value).map_err(|_| interval_range());
    Ok(IntervalMonthDayNano::new(
        narrow(part(a.months as i64, b.months as i64)?)?,
        narrow(part(a.days as i64, b.days as i64)?)?,
        part(a.nanoseconds, b.nanoseconds)?,
    ))
}

/// Fractions of months become days of 30 to the month, fractions of days become time.
pub fn scale(interval: IntervalMonthDayNano, f: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano, ArrowError> {
    let whole = |value: f64| match value.is_finite() && value.abs() < i32::MAX as f64 {
        true => Ok(value.trunc()),
        false => Err(interval_range()),
    };
    let micros_rounded = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let (months, days) = (f(interval.months as f64), f(interval.days as f64));
    let (whole_months, mut whole_days) = (whole(months)?, whole(days)?);
    let month_days = micros_rounded((months - whole_months) * 30.0);
    let mut seconds = micros_rounded((days - whole_days + month_days - month_days.trunc()) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        whole_days += (seconds / 86_400.0).trunc();
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    let micros = (f((interval.nanoseconds / 1000) as f64) + seconds * 1e6).round_ties_even();
    if !micros.is_finite() || micros.abs() > (i64::MAX / 1000) as f64 {
        return Err(interval_range());
    }
    let days = whole(whole_days + month_days.trunc())? as i32;
    Ok(IntervalMonthDayNano::new(whole_months as i32, days, micros as i64 * 1000))
}

fn infinite(what: &str) -> ArrowError {
    Error::new("22008", format!("cannot subtract infinite {what}")).into()
}

pub fn interval_range() -> ArrowError {
    Error::new("22008", "interval out of range").into()
}
