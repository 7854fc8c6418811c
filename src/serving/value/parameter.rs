//! Parameters of a Bind message: bytes of a declared type to values or, for text formats that only the engine reads, to a cast.

use super::{EPOCH_DAYS, EPOCH_MICROS, binary};
use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{FieldRef, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Cast, Expr};
use std::sync::Arc;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

/// The expression a placeholder stands for.
pub fn expression(kind: &Type, format: i16, bytes: Option<&[u8]>, number: usize) -> Result<Expr> {
    let Some(bytes) = bytes else {
        let null = ScalarValue::try_from(&kind.arrow()).map_err(|e| Error::internal(e.to_string()))?;
        return Ok(cast(null, kind));
    };
    let malformed = |code: &'static str, format: &str| {
        Error::new(code, format!("invalid {format} representation of type {kind} in bind parameter {number}"))
    };
    if format == 0 {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\" in a parameter"))?;
        return Ok(simple(kind, text).unwrap_or_else(|| cast(ScalarValue::from(text), kind)));
    }
    match from_binary(kind, bytes).ok_or_else(|| malformed("22P03", "binary"))? {
        Read::Value(value) => Ok(cast(value, kind)),
        Read::Text(text) => Ok(cast(ScalarValue::Utf8(Some(text)), kind)),
    }
}

fn cast(value: ScalarValue, kind: &Type) -> Expr {
    let field = kind.field("", true);
    let literal = value.data_type();
    let value = Expr::Literal(value, None);
    if literal == *field.data_type() && field.metadata().is_empty() {
        return value;
    }
    Expr::Cast(Cast::new_from_field(Box::new(value), FieldRef::new(field)))
}

/// Text that needs no knowledge of Postgres' input functions; anything unusual is left to them.
fn simple(kind: &Type, text: &str) -> Option<Expr> {
    let value = match kind {
        Type::Text => ScalarValue::from(text),
        Type::Int2 => ScalarValue::Int16(Some(text.parse().ok()?)),
        Type::Int4 => ScalarValue::Int32(Some(text.parse().ok()?)),
        Type::Int8 => ScalarValue::Int64(Some(text.parse().ok()?)),
        Type::Bool if matches!(text, "t" | "true" | "f" | "false") => ScalarValue::Boolean(Some(text.starts_with('t'))),
        _ => return None,
    };
    Some(Expr::Literal(value, None))
}

enum Read {
    Value(ScalarValue),
    /// For types whose values are made from text.
    Text(String),
}

fn from_binary(kind: &Type, bytes: &[u8]) -> Option<Read> {
    use ScalarValue as S;
    let text = || std::str::from_utf8(bytes).ok().map(str::to_string);
    Some(Read::Value(match kind {
        Type::Bool => S::Boolean(Some(*bytes.first().filter(|_| bytes.len() == 1)? != 0)),
        Type::Int2 => S::Int16(Some(i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::Int4 => S::Int32(Some(i32::from_be_bytes(bytes.try_into().ok()?))),
        // An oid has four bytes.
        Type::Int8 if bytes.len() == 4 => S::Int64(Some(u32::from_be_bytes(bytes.try_into().ok()?) as i64)),
        Type::Int8 => S::Int64(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::Float4 => S::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?))),
        Type::Float8 => S::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::Text => S::Utf8(Some(text()?)),
        Type::Varchar(_) | Type::Char(_) | Type::Json => return Some(Read::Text(text()?)),
        Type::Jsonb => {
            let (version, rest) = bytes.split_first()?;
            let text = std::str::from_utf8(rest).ok().filter(|_| *version == 1)?;
            return Some(Read::Text(text.into()));
        }
        Type::Numeric(_) => return Some(Read::Text(binary::numeric_text(bytes)?)),
        Type::Uuid => {
            let hex = format!("{:032x}", u128::from_be_bytes(bytes.try_into().ok()?));
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            return Some(Read::Text(parts.join("-")));
        }
        Type::Bytea => S::Binary(Some(bytes.to_vec())),
        Type::Date => S::Date32(Some(match i32::from_be_bytes(bytes.try_into().ok()?) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => days.checked_add(EPOCH_DAYS)?,
        })),
        Type::Time => S::Time64Microsecond(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::Timestamp => S::TimestampMicrosecond(Some(micros(bytes)?), None),
        Type::Timestamptz => S::TimestampMicrosecond(Some(micros(bytes)?), Some("UTC".into())),
        Type::Interval => {
            let (time, rest) = bytes.split_at_checked(8)?;
            let (days, months) = rest.split_at_checked(4)?;
            let nanos = i64::from_be_bytes(time.try_into().ok()?).checked_mul(1000)?;
            let (days, months) =
                (i32::from_be_bytes(days.try_into().ok()?), i32::from_be_bytes(months.try_into().ok()?));
            S::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))
        }
        Type::Array(element) => return list(element, bytes),
    }))
}

fn micros(bytes: &[u8]) -> Option<i64> {
    match i64::from_be_bytes(bytes.try_into().ok()?) {
        infinite @ (i64::MAX | i64::MIN) => Some(infinite),
        micros => micros.checked_add(EPOCH_MICROS),
    }
}

/// One dimension. Elements that are made from text make the array one of texts, cast as a whole.
fn list(element: &Type, mut bytes: &[u8]) -> Option<Read> {
    let mut word = || {
        let (head, rest) = bytes.split_at_checked(4)?;
        bytes = rest;
        Some((i32::from_be_bytes(head.try_into().ok()?), rest))
    };
    let (dimensions, _) = word()?;
    word()?;
    word()?;
    let mut values = vec![];
    if dimensions == 1 {
        let (count, _) = word()?;
        let (_, mut rest) = word()?;
        for _ in 0..count {
            let (head, tail) = rest.split_at_checked(4)?;
            rest = tail;
            let length = i32::from_be_bytes(head.try_into().ok()?);
            if length < 0 {
                values.push(None);
                continue;
            }
            let (value, tail) = rest.split_at_checked(length as usize)?;
            rest = tail;
            values.push(Some(from_binary(element, value)?));
        }
    } else if dimensions != 0 {
        return None;
    }
    let texts = values.iter().flatten().any(|value| matches!(value, Read::Text(_)));
    let kind = if texts { arrow::datatypes::DataType::Utf8 } else { element.arrow() };
    let scalars: Option<Vec<ScalarValue>> = values
        .into_iter()
        .map(|value| match value {
            None => ScalarValue::try_from(&kind).ok(),
            Some(Read::Value(value)) => Some(value),
            Some(Read::Text(text)) => Some(ScalarValue::Utf8(Some(text))),
        })
        .collect();
    let scalars = scalars?;
    let array: ArrayRef =
        if scalars.is_empty() { new_empty_array(&kind) } else { ScalarValue::iter_to_array(scalars).ok()? };
    let list = datafusion::common::utils::SingleRowListArrayBuilder::new(array).build_list_array();
    Some(Read::Value(ScalarValue::List(Arc::new(list))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(kind: Type, format: i16, bytes: &[u8]) -> ScalarValue {
        match expression(&kind, format, Some(bytes), 1).expect("a parameter") {
            Expr::Literal(value, _) => value,
            other => panic!("not a literal: {other}"),
        }
    }

    #[test]
    fn plain_values_are_read_in_both_formats() {
        assert_eq!(literal(Type::Int4, 0, b"-7"), ScalarValue::Int32(Some(-7)));
        assert_eq!(literal(Type::Int4, 1, &(-7i32).to_be_bytes()), ScalarValue::Int32(Some(-7)));
        assert_eq!(literal(Type::Bool, 1, &[1]), ScalarValue::Boolean(Some(true)));
        assert_eq!(literal(Type::Date, 1, &0i32.to_be_bytes()), ScalarValue::Date32(Some(EPOCH_DAYS)));
    }

    #[test]
    fn what_the_engine_must_read_becomes_a_cast() {
        let expr = expression(&Type::Numeric(None), 0, Some(b"1.50"), 1).expect("a parameter");
        assert!(matches!(expr, Expr::Cast(_)), "{expr}");
        let expr = expression(&Type::Uuid, 1, Some(&[0xab; 16]), 1).expect("a parameter");
        assert!(expr.to_string().contains("abababab-abab-abab-abab-abababababab"), "{expr}");
    }

    #[test]
    fn an_array_of_integers_is_read_with_its_nulls() {
        let mut bytes = vec![];
        for word in [1, 1, 23, 2, 1, 4, 42, -1] {
            bytes.extend_from_slice(&i32::to_be_bytes(word));
        }
        let ScalarValue::List(list) = literal(Type::Array(Box::new(Type::Int4)), 1, &bytes) else { panic!("a list") };
        assert_eq!(format!("{:?}", arrow::array::Array::len(&list.value(0))), "2");
    }

    #[test]
    fn a_value_of_the_wrong_length_is_refused() {
        let error = expression(&Type::Int8, 1, Some(&[1, 2]), 3).expect_err("too short");
        assert_eq!(error.sqlstate, "22P03");
        assert!(error.message.contains("parameter 3"));
    }
}
