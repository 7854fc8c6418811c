//! Values as Postgres' output functions print them.

use super::calendar::{Day, MICROS_PER_SECOND, split};
use super::long::Texts;
use super::temporal::{infinite_date, infinite_timestamp};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::numeric::Numeric;
use crate::types::NUMERIC_WIDTH;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use std::fmt::Write;

/// A column as text; moments in the wall clock of `zone`.
pub fn column(array: &ArrayRef, zone: Zone) -> Result<StringArray> {
    let mut out = Texts::default();
    let mut text = String::new();
    let print = printer(array.as_ref(), zone)?;
    for row in 0..array.len() {
        if array.is_null(row) {
            out.null();
            continue;
        }
        text.clear();
        print(row, &mut text)?;
        out.add(Some(&text))?;
    }
    Ok(out.strings())
}

type Print<'a> = Box<dyn Fn(usize, &mut String) -> Result<()> + 'a>;

/// Prints one row that is not null, onto the end of a string.
pub fn printer<'a>(array: &'a dyn Array, zone: Zone) -> Result<Print<'a>> {
    macro_rules! each {
        ($array:expr, $print:expr) => {{
            let array = $array;
            Box::new(move |row, out: &mut String| {
                #[allow(clippy::redundant_closure_call)]
                ($print)(array.value(row), out);
                Ok(())
            })
        }};
    }
    macro_rules! plain {
        ($kind:ty) => {
            each!(array.as_primitive::<$kind>(), |value, out: &mut String| {
                let _ = write!(out, "{value}");
            })
        };
    }
    Ok(match array.data_type() {
        DataType::Boolean => {
            each!(array.as_boolean(), |value, out: &mut String| out.push_str(if value { "true" } else { "false" }))
        }
        DataType::Int16 => plain!(Int16Type),
        DataType::Int32 => plain!(Int32Type),
        DataType::Int64 => plain!(Int64Type),
        DataType::Float32 => each!(array.as_primitive::<Float32Type>(), float4),
        DataType::Float64 => each!(array.as_primitive::<Float64Type>(), float8),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            each!(array.as_primitive::<Decimal128Type>(), |value, out: &mut String| out
                .push_str(&Decimal128Type::format_decimal(value, precision, scale)))
        }
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            each!(array.as_primitive::<Decimal256Type>(), |value, out: &mut String| out
                .push_str(&Decimal256Type::format_decimal(value, precision, scale)))
        }
        DataType::FixedSizeBinary(NUMERIC_WIDTH) => {
            let array = array.as_fixed_size_binary();
            Box::new(move |row, out| {
                let _ = write!(out, "{}", Numeric::decode(array.value(row))?);
                Ok(())
            })
        }
        DataType::Utf8 => each!(array.as_string::<i32>(), |value, out: &mut String| out.push_str(value)),
        DataType::Utf8View => each!(array.as_string_view(), |value, out: &mut String| out.push_str(value)),
        DataType::LargeUtf8 => each!(array.as_string::<i64>(), |value, out: &mut String| out.push_str(value)),
        DataType::Binary => each!(array.as_binary::<i32>(), bytea),
        DataType::Date32 => each!(array.as_primitive::<Date32Type>(), date),
        DataType::Time64(_) => each!(array.as_primitive::<Time64MicrosecondType>(), time),
        DataType::Timestamp(_, None) => each!(array.as_primitive::<TimestampMicrosecondType>(), timestamp),
        DataType::Timestamp(_, Some(_)) => {
            each!(array.as_primitive::<TimestampMicrosecondType>(), |value, out: &mut String| timestamptz(
                value, zone, out
            ))
        }
        DataType::Interval(_) => each!(array.as_primitive::<IntervalMonthDayNanoType>(), interval),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            Box::new(move |row, out| list(&lists.value(row), zone, out))
        }
        other => return Err(Error::unsupported(format!("printing {other}"))),
    })
}

/// `1.5`, `1e+20`, `1e-07`: the fewest digits that read back the same.
pub fn float8(value: f64, out: &mut String) {
    float(value, format!("{value:e}"), 15, out);
}

pub fn float4(value: f32, out: &mut String) {
    float(value as f64, format!("{value:e}"), 6, out);
}

fn float(value: f64, shortest: String, plain_digits: i32, out: &mut String) {
    if !value.is_finite() {
        out.push_str(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
        return;
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..plain_digits).contains(&exponent) {
        let _ = write!(out, "{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        return;
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if mantissa.starts_with('-') {
        out.push('-');
    }
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
    } else if digits.len() as i32 <= exponent + 1 {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', exponent as usize + 1 - digits.len()));
    } else {
        let (whole, fraction) = digits.split_at(exponent as usize + 1);
        let _ = write!(out, "{whole}.{fraction}");
    }
}

pub fn bytea(bytes: &[u8], out: &mut String) {
    out.push_str("\\x");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

pub fn date(date: i32, out: &mut String) {
    if infinite_date(date) {
        out.push_str(if date > 0 { "infinity" } else { "-infinity" });
        return;
    }
    let day = Day::of(date as i64);
    ymd(day, out);
    era(day, out);
}

fn ymd(day: Day, out: &mut String) {
    let year = if day.year > 0 { day.year } else { 1 - day.year };
    let _ = write!(out, "{year:04}-{:02}-{:02}", day.month, day.day);
}

fn era(day: Day, out: &mut String) {
    if day.year <= 0 {
        out.push_str(" BC");
    }
}

/// Microseconds of the day.
pub fn time(micros: i64, out: &mut String) {
    let seconds = micros / MICROS_PER_SECOND;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(micros % MICROS_PER_SECOND, out);
}

fn fraction(micros: i64, out: &mut String) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

pub fn timestamp(at: i64, out: &mut String) {
    if infinite_timestamp(at) {
        out.push_str(if at > 0 { "infinity" } else { "-infinity" });
        return;
    }
    let (days, micros) = split(at);
    let day = Day::of(days);
    ymd(day, out);
    out.push(' ');
    time(micros, out);
    era(day, out);
}

pub fn timestamptz(at: i64, zone: Zone, out: &mut String) {
    if infinite_timestamp(at) {
        return timestamp(at, out);
    }
    let offset = zone.offset(at);
    let (days, micros) = split(at.saturating_add(offset * MICROS_PER_SECOND));
    let day = Day::of(days);
    ymd(day, out);
    out.push(' ');
    time(micros, out);
    let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let _ = write!(out, "{sign}{:02}", offset / 3600);
    if offset % 3600 != 0 {
        let _ = write!(out, ":{:02}", offset / 60 % 60);
    }
    if offset % 60 != 0 {
        let _ = write!(out, ":{:02}", offset % 60);
    }
    era(day, out);
}

/// IntervalStyle postgres: `1 year 2 mons -3 days +04:05:06.7`.
pub fn interval(value: IntervalMonthDayNano, out: &mut String) {
    let micros = value.nanoseconds / 1000;
    let start = out.len();
    let mut negative = false;
    for (amount, unit) in [(value.months / 12, "year"), (value.months % 12, "mon"), (value.days, "day")] {
        if amount != 0 {
            let space = if out.len() > start { " " } else { "" };
            let plus = if negative && amount > 0 { "+" } else { "" };
            let _ = write!(out, "{space}{plus}{amount} {unit}{}", if amount == 1 { "" } else { "s" });
            negative = amount < 0;
        }
    }
    if micros == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.push(' ');
    }
    match micros {
        ..0 => out.push('-'),
        _ if negative => out.push('+'),
        _ => {}
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / MICROS_PER_SECOND as u64;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction((micros % MICROS_PER_SECOND as u64) as i64, out);
}

/// `{1,NULL,"a b"}`
fn list(values: &ArrayRef, zone: Zone, out: &mut String) -> Result<()> {
    let print = printer(values.as_ref(), zone)?;
    let boolean = values.data_type() == &DataType::Boolean;
    out.push('{');
    for row in 0..values.len() {
        if row > 0 {
            out.push(',');
        }
        if values.is_null(row) {
            out.push_str("NULL");
            continue;
        }
        let start = out.len();
        print(row, out)?;
        if boolean {
            out.truncate(start + 1);
        } else if needs_quotes(&out[start..]) {
            let quoted = out[start..].replace('\\', "\\\\").replace('"', "\\\"");
            out.truncate(start);
            let _ = write!(out, "\"{quoted}\"");
        }
    }
    out.push('}');
    Ok(())
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case("null")
        || text.contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        print(&mut out);
        out
    }

    #[test]
    fn floats_have_the_fewest_digits_that_read_back_the_same() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123456789012345.6, "123456789012345.6"),
            (1e20, "1e+20"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-7, "1e-07"),
            (1.5e300, "1.5e+300"),
            (-2.5, "-2.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(printed(|out| float8(value, out)), expected);
        }
        assert_eq!(printed(|out| float4(0.1, out)), "0.1");
        assert_eq!(printed(|out| float4(1e6, out)), "1e+06");
        assert_eq!(printed(|out| float4(123456.0, out)), "123456");
    }

    #[test]
    fn moments_are_printed_in_the_zone() {
        assert_eq!(printed(|out| timestamp(1_704_112_496_789_000, out)), "2024-01-01 12:34:56.789");
        assert_eq!(printed(|out| timestamptz(0, Zone::UTC, out)), "1970-01-01 00:00:00+00");
        let kolkata = Zone::parse("Asia/Kolkata").unwrap();
        assert_eq!(printed(|out| timestamptz(0, kolkata, out)), "1970-01-01 05:30:00+05:30");
        assert_eq!(printed(|out| date(-800_000, out)), "0222-09-04 BC");
        assert_eq!(printed(|out| timestamp(i64::MAX, out)), "infinity");
    }

    #[test]
    fn intervals_are_printed_in_postgres_style() {
        let shown = |months, days, micros: i64| {
            printed(|out| interval(IntervalMonthDayNano::new(months, days, micros * 1000), out))
        };
        assert_eq!(shown(14, 3, 14_706_700_000), "1 year 2 mons 3 days 04:05:06.7");
        assert_eq!(shown(0, 0, 0), "00:00:00");
        assert_eq!(shown(-1, 2, -3_600_000_000), "-1 mons +2 days -01:00:00");
        assert_eq!(shown(0, 1, 0), "1 day");
        assert_eq!(shown(0, -1, 1_000_000), "-1 days +00:00:01");
        assert_eq!(shown(-14, 0, 0), "-1 years -2 mons");
    }
}
