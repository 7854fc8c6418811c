//! Literals: numbers have a type at once, texts become what they stand for.

use super::kind::held;
use super::parameter::MOST;
use super::{Binder, position};
use crate::bound::{Bound, Expr, Kind, Unbound, not_yet};
use crate::error::Error;
use crate::function::cast;
use crate::function::print::printer;
use crate::function::zone::Zone;
use crate::types::Type;
use arrow::array::{ArrayRef, StringArray};
use datafusion::sql::sqlparser::ast::{self, DateTimeField, Interval, UnaryOperator, Value, ValueWithSpan};
use std::sync::Arc;

impl Binder<'_> {
    /// A literal or a parameter.
    pub(super) fn literal(&mut self, written: &ValueWithSpan) -> Bound<Expr> {
        let ValueWithSpan { value, span } = written;
        match value {
            Value::Number(digits, false) => number(digits, false),
            Value::Boolean(truth) => Ok(constant(if *truth { "true" } else { "false" }, &Type::Bool)),
            Value::Null => Ok(Expr::Constant { value: None, kind: Kind::UNKNOWN }),
            Value::Placeholder(name) => self.parameter(name, position::at(*span)),
            value => match text(value) {
                Some(text) => Ok(self.unknown(text, position::at(*span))),
                None => not_yet("this form of literal"),
            },
        }
    }

    /// A text without a type of its own.
    pub(super) fn unknown(&mut self, text: &str, position: Option<usize>) -> Expr {
        let text: Arc<str> = text.into();
        self.literals.keep(&text, position);
        Expr::Constant { value: Some(text), kind: Kind::UNKNOWN }
    }

    fn parameter(&mut self, name: &str, position: Option<usize>) -> Bound<Expr> {
        let Some(Ok(number)) = name.strip_prefix('$').map(str::parse::<usize>) else {
            return not_yet(format!("parameter {name}"));
        };
        match number {
            0 => {
                let error = Error::new("42P02", "there is no parameter $0");
                Err(Unbound::Wrong(position::placed(error, position)))
            }
            1..=MOST => {
                let kind = self.parameters.write(number, position);
                let kind = if kind == Kind::UNKNOWN { kind } else { held(kind)? };
                Ok(Expr::Parameter { number, kind })
            }
            _ => not_yet(format!("parameter {name}")),
        }
    }
}

/// The text of a literal in quotes of any kind.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) | Value::UnicodeStringLiteral(text) => {
            Some(text)
        }
        Value::DollarQuotedString(quoted) => Some(&quoted.value),
        _ => None,
    }
}

/// Digits, and whether signs before them make it negative, if `expr` is a number literal with or without signs.
pub fn signed(expr: &ast::Expr) -> Option<(&str, bool)> {
    let (mut expr, mut negative, mut any) = (expr, false, false);
    loop {
        expr = match expr {
            ast::Expr::Nested(inner) => inner,
            ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                (negative, any) = (!negative, true);
                inner
            }
            ast::Expr::Value(ValueWithSpan { value: Value::Number(digits, false), .. }) if any => {
                return Some((digits, negative));
            }
            _ => return None,
        };
    }
}

/// integer if it is one, else bigint, else numeric.
pub fn number(digits: &str, negative: bool) -> Bound<Expr> {
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let signed = if negative { format!("-{digits}") } else { digits };
    match signed.parse::<i64>() {
        Ok(value) => {
            let kind = if i32::try_from(value).is_ok() { Type::Int4 } else { Type::Int8 };
            Ok(constant(&value.to_string(), &kind))
        }
        Err(_) => match read(&signed, &Type::Numeric(None), Zone::UTC) {
            Ok(value) => Ok(constant(&value, &Type::Numeric(None))),
            Err(_) => not_yet("a number of so many digits"),
        },
    }
}

pub fn constant(value: &str, kind: &Type) -> Expr {
    Expr::Constant { value: Some(value.into()), kind: Kind::of(kind) }
}

/// What `INTERVAL '1 day'` and `INTERVAL '1' DAY` say as one text: `1 day`.
pub fn amount(written: &Interval) -> Bound<String> {
    let Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } = written;
    let plain = leading_precision.is_none() && last_field.is_none() && fractional_seconds_precision.is_none();
    let text = match value.as_ref() {
        ast::Expr::Value(value) if plain => text(&value.value),
        _ => None,
    };
    let Some(text) = text else { return not_yet("this form of INTERVAL") };
    // A number counts what the field says; anything else would be cut off below it.
    let is_whole = text.parse::<i32>().is_ok();
    match leading_field {
        None => Ok(text.to_string()),
        Some(
            field @ (DateTimeField::Year
            | DateTimeField::Month
            | DateTimeField::Day
            | DateTimeField::Hour
            | DateTimeField::Minute
            | DateTimeField::Second),
        ) if is_whole => Ok(format!("{text} {field}")),
        Some(field) => not_yet(format!("INTERVAL … {field}")),
    }
}

/// `text` as a value of `kind`, without length or precision, in the form in which it is printed, moments in UTC. Errors: 22P02 and 22003
/// where PostgreSQL has them for certain, else NotYet: it reads forms that are not read here, some by the clock.
pub fn read(text: &str, kind: &Type, zone: Zone) -> Bound<Arc<str>> {
    if kind.is_text() {
        return Ok(text.into());
    }
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let value = match cast::column(&array, &Type::Text, &kind.loose(), zone) {
        Ok(value) => value,
        Err(error) if is_certain(text, kind, &error) => return Err(Unbound::Wrong(error)),
        Err(_) => return not_yet(format!("this text as {kind}")),
    };
    let mut printed = String::new();
    printer(value.as_ref(), Zone::UTC)?(0, &mut printed)?;
    Ok(printed.into())
}

/// Whether PostgreSQL cannot read it either.
fn is_certain(text: &str, kind: &Type, error: &Error) -> bool {
    let word = text.trim().trim_start_matches(['+', '-']).to_ascii_lowercase();
    let is_decimal = !["0x", "0o", "0b", "nan"].iter().any(|begin| word.starts_with(begin)) && !word.contains('_');
    match kind {
        Type::Bool | Type::Uuid => true,
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => is_decimal,
        // It holds longer ones.
        Type::Numeric(_) => is_decimal && error.sqlstate == "22P02",
        _ => false,
    }
}
