//! date_trunc, age, make_date and AT TIME ZONE.
//!
//! What reads the wall clock of a timestamptz takes the zone as a last argument; the analyzer adds the session's where it is not
//! written ([`reads_clock`]).

use super::calendar::{Day, MICROS_PER_DAY, MICROS_PER_SECOND, split};
use super::definition::{Call, Definition, Resolved, is_text, undefined};
use super::part::Part;
use super::temporal::{infinite_date, infinite_timestamp, timestamp_range};
use super::wall::{wall, zone_of};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoArray, PrimitiveArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    function("date_trunc", truncated_type, truncate),
    function("age", age_type, age),
    function("make_date", make_date_type, make_date),
    function("timezone", timezone_type, timezone),
];

const fn function(
    name: &'static str,
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: true, fallible: true }
}

/// Whether a function's value for arguments of these types depends on the session's zone, which is to be added to them.
pub fn reads_clock(name: &str, given: &[Option<Type>]) -> bool {
    let has = |wanted: &Type| given.iter().flatten().any(|kind| kind == wanted);
    match (name, given.len()) {
        ("date_trunc", 2) => has(&Type::Timestamptz) || has(&Type::Date),
        ("extract" | "date_part" | "to_char" | "age", 2) => has(&Type::Timestamptz),
        _ => false,
    }
}

/// The values of the rows where all `columns` have one.
fn each<T: ArrowPrimitiveType>(
    rows: usize,
    columns: &[&dyn Array],
    f: impl Fn(usize) -> Result<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let value = |row| match columns.iter().all(|column| column.is_valid(row)) {
        true => f(row).map(Some),
        false => Ok(None),
    };
    (0..rows).map(value).collect()
}

fn truncated_type(given: &[Option<Type>]) -> Result<Resolved> {
    let (field, moment) = match given {
        [field, moment] => (field, moment),
        [field, moment @ Some(Type::Timestamptz | Type::Date), zone] if is_text(zone) => (field, moment),
        _ => return Err(undefined("date_trunc", given)),
    };
    let kind = match moment {
        Some(Type::Timestamp) => Type::Timestamp,
        Some(Type::Timestamptz | Type::Date) | None => Type::Timestamptz,
        Some(Type::Interval) => Type::Interval,
        _ => return Err(undefined("date_trunc", given)),
    };
    if !is_text(field) {
        return Err(undefined("date_trunc", given));
    }
    let mut arguments = vec![Type::Text, kind.clone()];
    arguments.extend(given.get(2).map(|_| Type::Text));
    Ok(Resolved { arguments, result: kind })
}

fn truncate(call: &Call) -> Result<ArrayRef> {
    let (fields, values) = (call.column(0)?, call.column(1)?);
    let names = fields.as_string::<i32>();
    let part = |row| {
        let name = names.value(row);
        Part::parse(name).ok_or_else(|| Error::new("22023", format!("unit \"{name}\" not recognized")))
    };
    if let DataType::Interval(_) = values.data_type() {
        let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
        let truncated = each::<IntervalMonthDayNanoType>(call.rows, &[&fields, &values], |row| {
            truncated_interval(part(row)?, intervals.value(row))
        });
        return Ok(Arc::new(truncated?));
    }
    let zone = zone_of(call, 2)?;
    let moments = values.as_primitive::<TimestampMicrosecondType>();
    let truncated: TimestampMicrosecondArray = each(call.rows, &[&fields, &values], |row| {
        let part = part(row)?;
        let local = wall(moments, zone, row);
        if infinite_timestamp(local) {
            return Ok(local);
        }
        let local = truncated(part, local)?;
        Ok(zone.map_or(local, |zone| zone.moment(local)))
    })?;
    Ok(Arc::new(truncated.with_data_type(call.result.arrow())))
}

fn truncated(part: Part, at: i64) -> Result<i64> {
    let (days, micros) = split(at);
    if let Some(unit) = micros_of(part) {
        let time = (days.checked_mul(MICROS_PER_DAY)).and_then(|start| start.checked_add(micros / unit * unit));
        return time.ok_or_else(|| timestamp_range().into());
    }
    let day = Day::of(days);
    let first = |year, month| Day { year, month, day: 1 }.number();
    // Years 1 to 100 are the first century; before it comes the one that ends with year 0, which is 1 BC.
    let century = |length: i64| (day.year - 1).div_euclid(length) * length + 1;
    let days = match part {
        Part::Day => days,
        Part::Week => days - (days + 3).rem_euclid(7),
        Part::Month => first(day.year, day.month),
        Part::Quarter => first(day.year, (day.month - 1) / 3 * 3 + 1),
        Part::Year => first(day.year, 1),
        Part::Decade => first(day.year.div_euclid(10) * 10, 1),
        Part::Century => first(century(100), 1),
        Part::Millennium => first(century(1000), 1),
        _ => return Err(part.unsupported("timestamp without time zone")),
    };
    days.checked_mul(MICROS_PER_DAY).ok_or_else(|| timestamp_range().into())
}

/// The length of units of an hour and less.
fn micros_of(part: Part) -> Option<i64> {
    Some(match part {
        Part::Microseconds => 1,
        Part::Milliseconds => 1000,
        Part::Second => MICROS_PER_SECOND,
        Part::Minute => 60 * MICROS_PER_SECOND,
        Part::Hour => 3600 * MICROS_PER_SECOND,
        _ => return None,
    })
}

fn truncated_interval(part: Part, value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    if let Some(unit) = micros_of(part) {
        let unit = unit * 1000;
        return Ok(IntervalMonthDayNano { nanoseconds: value.nanoseconds / unit * unit, ..value });
    }
    let months = |unit: i32| IntervalMonthDayNano::new(value.months / unit * unit, 0, 0);
    Ok(match part {
        Part::Day => IntervalMonthDayNano::new(value.months, value.days, 0),
        Part::Month => months(1),
        Part::Quarter => months(3),
        Part::Year => months(12),
        Part::Decade => months(120),
        Part::Century => months(1200),
        Part::Millennium => months(12_000),
        _ => return Err(part.unsupported("interval")),
    })
}

fn age_type(given: &[Option<Type>]) -> Result<Resolved> {
    let (moments, zone) = match given {
        [_, _] => (given, None),
        [_, _, zone] if is_text(zone) => (&given[..2], Some(Type::Text)),
        _ => return Err(undefined("age", given)),
    };
    let known = |kind: &Option<Type>| matches!(kind, None | Some(Type::Date | Type::Timestamp | Type::Timestamptz));
    if !moments.iter().all(known) {
        return Err(undefined("age", given));
    }
    let kind = if moments.contains(&Some(Type::Timestamptz)) { Type::Timestamptz } else { Type::Timestamp };
    let arguments = vec![kind.clone(), kind].into_iter().chain(zone).collect();
    Ok(Resolved { arguments, result: Type::Interval })
}

fn age(call: &Call) -> Result<ArrayRef> {
    let (later, earlier) = (call.column(0)?, call.column(1)?);
    let zone = zone_of(call, 2)?;
    let (a, b) = (later.as_primitive::<TimestampMicrosecondType>(), earlier.as_primitive::<TimestampMicrosecondType>());
    let ages: IntervalMonthDayNanoArray = each(call.rows, &[&later, &earlier], |row| {
        let (a, b) = (wall(a, zone, row), wall(b, zone, row));
        if infinite_timestamp(a) || infinite_timestamp(b) {
            return Err(Error::new("22008", "timestamp out of range"));
        }
        Ok(if a < b { since(b, a, -1) } else { since(a, b, 1) })
    })?;
    Ok(Arc::new(ages))
}

/// Years, months, days and time from `earlier` to `later`; a month that is not full lends the days of the earlier one's.
fn since(later: i64, earlier: i64, sign: i64) -> IntervalMonthDayNano {
    let ((late_days, late_time), (early_days, early_time)) = (split(later), split(earlier));
    let (late, early) = (Day::of(late_days), Day::of(early_days));
    let mut months = (late.year - early.year) * 12 + i64::from(late.month) - i64::from(early.month);
    let mut days = i64::from(late.day) - i64::from(early.day);
    let mut time = late_time - early_time;
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        days += i64::from(super::calendar::month_length(early.year, early.month));
        months -= 1;
    }
    IntervalMonthDayNano::new((sign * months) as i32, (sign * days) as i32, sign * time * 1000)
}

fn make_date_type(given: &[Option<Type>]) -> Result<Resolved> {
    // While a query is planned, integer literals are still bigint.
    let whole = |kind: &Option<Type>| matches!(kind, None | Some(Type::Int2 | Type::Int4 | Type::Int8));
    match given {
        [_, _, _] if given.iter().all(whole) => Ok(Resolved { arguments: vec![Type::Int4; 3], result: Type::Date }),
        _ => Err(undefined("make_date", given)),
    }
}

fn make_date(call: &Call) -> Result<ArrayRef> {
    let parts = [call.column(0)?, call.column(1)?, call.column(2)?];
    let [years, months, days] = [0, 1, 2].map(|index: usize| parts[index].as_primitive::<Int32Type>());
    let dates: Date32Array = each(call.rows, &[years, months, days], |row| {
        let (year, month, day) = (i64::from(years.value(row)), months.value(row), days.value(row));
        let out_of_range = || Error::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"));
        // Years below zero are BC; there is no year 0.
        let (month, day) = (u32::try_from(month), u32::try_from(day));
        let (Ok(month), Ok(day)) = (month, day) else { return Err(out_of_range()) };
        let date = Day { year: if year < 0 { year + 1 } else { year }, month, day };
        if year == 0 || !date.exists() {
            return Err(out_of_range());
        }
        i32::try_from(date.number()).ok().filter(|&date| !infinite_date(date)).ok_or_else(out_of_range)
    })?;
    Ok(Arc::new(dates))
}

/// `moment AT TIME ZONE zone` is timezone(zone, moment).
fn timezone_type(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [zone, moment] if is_text(zone) => {
            let (moment, result) = match moment {
                Some(Type::Timestamp) => (Type::Timestamp, Type::Timestamptz),
                Some(Type::Timestamptz | Type::Date) | None => (Type::Timestamptz, Type::Timestamp),
                _ => return Err(undefined("timezone", given)),
            };
            Ok(Resolved { arguments: vec![Type::Text, moment], result })
        }
        _ => Err(undefined("timezone", given)),
    }
}

fn timezone(call: &Call) -> Result<ArrayRef> {
    let (names, moments) = (call.column(0)?, call.column(1)?);
    let zones = names.as_string::<i32>();
    let values = moments.as_primitive::<TimestampMicrosecondType>();
    let constant = zone_of(call, 0).ok().flatten();
    let moved: TimestampMicrosecondArray = each(call.rows, &[&names, &moments], |row| {
        let at = values.value(row);
        let zone = match constant {
            Some(zone) => zone,
            None => Zone::parse(zones.value(row))?,
        };
        Ok(match call.result {
            _ if infinite_timestamp(at) => at,
            Type::Timestamp => zone.local(at),
            _ => zone.moment(at),
        })
    })?;
    Ok(Arc::new(moved.with_data_type(call.result.arrow())))
}
