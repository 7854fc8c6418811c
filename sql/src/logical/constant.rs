//! Constants: the text that PostgreSQL prints for a value, as a literal.

use super::value::{Value, held};
use crate::bound::{Bound, Kind, not_yet};
use crate::function::cast;
use crate::function::zone::Zone;
use crate::types::Type;
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::i256;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use std::sync::Arc;

/// Digits of a decimal, at most.
const DIGITS: usize = 76;

/// A literal without a type is text: nobody asked for anything else.
pub fn constant(value: Option<&str>, kind: Kind) -> Bound<Value> {
    let kind = if kind == Kind::UNKNOWN { Type::Text } else { held(kind)? };
    let Some(text) = value else { return Value::null(kind) };
    let kind = match kind {
        Type::Numeric(None) => Type::Numeric(decimal(text)),
        kind => kind,
    };
    if let Type::Numeric(Some((precision @ 39.., scale))) = kind {
        let digits = i256::from_string(&text.replace('.', ""));
        return Ok(Value::new(Expr::Literal(ScalarValue::Decimal256(digits, precision, scale), None), kind));
    }
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    match cast::column(&array, &Type::Text, &kind, Zone::UTC) {
        Ok(array) => Value::constant(&array, kind),
        // It is a value of PostgreSQL's.
        Err(_) => not_yet(format!("such a value of type {kind}")),
    }
}

/// Precision and scale of a number that is written out; `None` if it has more digits than a decimal, or is no number at all.
fn decimal(text: &str) -> Option<(u8, i8)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_written_out = [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let precision = (whole.trim_start_matches('0').len() + fraction.len()).max(1);
    (is_written_out && !digits.is_empty() && precision <= DIGITS).then_some((precision as u8, fraction.len() as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_wide_as_they_are_written() {
        for (text, expected) in [
            ("1", Some((1, 0))),
            ("0", Some((1, 0))),
            ("-12.50", Some((4, 2))),
            ("0.05", Some((2, 2))),
            ("NaN", None),
            ("-Infinity", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
        assert_eq!(decimal(&"9".repeat(76)), Some((76, 0)));
        assert_eq!(decimal(&"9".repeat(77)), None);
    }
}
