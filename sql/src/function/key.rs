//! `key(x)`: a value of the same type whose bytes are equal exactly when Postgres calls the values equal, and which sorts as
//! Postgres sorts. Comparisons, joins, groups and sorts of such types go through it.

use super::cast;
use super::definition::{Call, Definition, Resolved, undefined};
use crate::error::Result;
use crate::numeric;
use crate::types::{Type, is_numeric};
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use std::borrow::Cow;
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    Definition { name: "key", aliases: &[], resolve, call, strict: true, fallible: false },
    Definition { name: "char_key", aliases: &[], resolve: resolve_text, call: trimmed, strict: true, fallible: false },
    Definition { name: "jsonb_key", aliases: &[], resolve: resolve_text, call: plain, strict: true, fallible: false },
];

/// The function that gives the key of values of this type. Arrays have one for their order alone.
pub fn function(kind: &Type) -> &'static str {
    match kind {
        Type::Char(_) => "char_key",
        Type::Jsonb => "jsonb_key",
        Type::Array(_) => "array_key",
        _ => "key",
    }
}

/// Whether values of this type are compared by their key.
pub fn needed(kind: &Type) -> bool {
    use Type::*;
    matches!(kind, Numeric(None) | Interval | Float4 | Float8 | Jsonb | Char(0))
}

fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [Some(kind)] if needed(kind) && function(kind) == "key" => {
            Ok(Resolved { arguments: vec![kind.clone()], result: kind.clone() })
        }
        _ => Err(undefined("key", given)),
    }
}

/// Values that are held as text, whichever type DataFusion takes them for.
fn resolve_text(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [Some(kind)] if kind.arrow() == Type::Text.arrow() => {
            Ok(Resolved { arguments: vec![kind.clone()], result: kind.clone() })
        }
        _ => Err(undefined("key", given)),
    }
}

fn trimmed(call: &Call) -> Result<ArrayRef> {
    Ok(cast::trimmed(&call.column(0)?))
}

fn plain(call: &Call) -> Result<ArrayRef> {
    let texts = call.column(0)?;
    Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text.map(plain_numbers)).collect::<StringArray>()))
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

/// jsonb as it is printed, its numbers without zeros at the end of a fraction: all else has one form.
fn plain_numbers(json: &str) -> Cow<'_, str> {
    if !json.contains('.') {
        return Cow::Borrowed(json);
    }
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    // Where the fraction of a number begins.
    let mut point = None;
    for character in json.chars() {
        if let Some(start) = point.filter(|_| !character.is_ascii_digit()) {
            out.truncate(whole(&out, start));
            point = None;
        }
        match character {
            '"' if !escaped => quoted = !quoted,
            '.' if !quoted => point = Some(out.len()),
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
        out.push(character);
    }
    if let Some(start) = point {
        out.truncate(whole(&out, start));
    }
    Cow::Owned(out)
}

/// The length of a number that ends `text`, its point at `point`, without zeros behind that.
fn whole(text: &str, point: usize) -> usize {
    let digits = text[point..].trim_end_matches('0');
    point + if digits == "." { 0 } else { digits.len() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_jsonb_values_have_one_key() {
        for (json, key) in [
            ("1.50", "1.5"),
            ("10", "10"),
            (
                r#"{"a.0": [1.00, -2.50, 100], "b": "3.00 \\\" 4.0"}"#,
                r#"{"a.0": [1, -2.5, 100], "b": "3.00 \\\" 4.0"}"#,
            ),
        ] {
            assert_eq!(plain_numbers(json), key);
        }
    }
}
