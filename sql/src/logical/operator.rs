//! Which code runs an operator of pg_operator on values as they are held.

use super::function::{ours, overloaded};
use super::value::{Value, alike, common, function, held, planned};
use crate::bound::{Bound, Kind, not_yet};
use crate::postgres::operators::Operator;
use crate::postgres::types::Oid;
use crate::session;
use crate::types::Type;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator as Theirs};

/// Operators that are functions of ours of the same name.
const SIGNS: [&str; 11] = ["+", "-", "*", "/", "%", "^", "&", "|", "#", "<<", ">>"];

/// `operands` have the operator's types; `kind` is what it gives.
pub fn apply(operator: &Operator, operands: Vec<Value>, kind: Kind, zone: &str) -> Bound<Value> {
    let unknown = || not_yet(format!("operator {}", operator.name));
    let result = held(kind)?;
    let mut operands = operands.into_iter();
    let value = match (operands.next(), operands.next()) {
        (Some(operand), None) => prefix(operator, operand)?,
        (Some(left), Some(right)) => infix(operator, left, right, &result, zone)?,
        _ => None,
    };
    match value {
        Some(value) if alike(&value.kind, &result) => Ok(value),
        _ => unknown(),
    }
}

/// `None` if nothing of ours is that operator.
fn prefix(operator: &Operator, operand: Value) -> Bound<Option<Value>> {
    if !takes(operator.right, &operand.kind) {
        return Ok(None);
    }
    let name = match operator.name {
        "+" if operand.kind.is_number() => return Ok(Some(operand)),
        "-" => match operand.known().map(ScalarValue::arithmetic_negate) {
            // What is compared with a constant should see one.
            Some(Ok(negative)) if !matches!(operand.kind, Type::Numeric(None) | Type::Interval) => {
                let array = planned(negative.to_array())?;
                return Value::constant(&array, operand.kind).map(Some);
            }
            _ => "negate",
        },
        "~" => "~",
        "@" => "abs",
        "|/" => "sqrt",
        "||/" => "cbrt",
        _ => return Ok(None),
    };
    ours(name, vec![operand])
}

fn infix(operator: &Operator, left: Value, right: Value, result: &Type, zone: &str) -> Bound<Option<Value>> {
    if let Some(op) = comparison(operator.name) {
        let (left, right) = sides(operator, left, right, zone)?;
        return Ok(Some(Value::truth(binary(left, op, right))));
    }
    match operator.name {
        "||" => concatenation(left, right, result, zone),
        "~~" | "!~~" | "~~*" | "!~~*" | "~" | "!~" | "~*" | "!~*" => Ok(matching(operator.name, left, right)),
        "^@" if left.kind.is_text() && right.kind.is_text() => overloaded("starts_with", vec![left, right], result),
        "@>" | "<@" => match (&left.kind, &right.kind) {
            (Type::Array(element), other) if alike(&left.kind, other) && !is_json(element) => {
                ours(operator.name, vec![left, right])
            }
            _ => Ok(None),
        },
        name if SIGNS.contains(&name) && declared(operator, &left, &right) => {
            let (left, right) = widened(left, right, zone)?;
            ours(name, vec![left, right])
        }
        _ => Ok(None),
    }
}

/// Decimals have a width, which what is computed of constants alone need not heed.
fn widened(left: Value, right: Value, zone: &str) -> Bound<(Value, Value)> {
    match (&left.kind, &right.kind) {
        (Type::Numeric(_), Type::Numeric(_)) if left.is_constant() && right.is_constant() => {
            let wide = Type::Numeric(None);
            Ok((left.converted(&wide, zone)?, right.converted(&wide, zone)?))
        }
        _ => Ok((left, right)),
    }
}

fn comparison(name: &str) -> Option<Theirs> {
    Some(match name {
        "=" => Theirs::Eq,
        "<>" => Theirs::NotEq,
        "<" => Theirs::Lt,
        "<=" => Theirs::LtEq,
        ">" => Theirs::Gt,
        ">=" => Theirs::GtEq,
        _ => return None,
    })
}

/// The sides of a comparison that stands by itself: numbers of one scale do not meet others there.
pub fn sides(operator: &Operator, left: Value, right: Value, zone: &str) -> Bound<(Value, Value)> {
    let (left, right) = compared(operator, left, right)?;
    match (&left.kind, &right.kind) {
        (Type::Numeric(None), Type::Numeric(Some(_))) | (Type::Numeric(Some(_)), Type::Numeric(None)) => {
            let wide = Type::Numeric(None);
            Ok((left.converted(&wide, zone)?, right.converted(&wide, zone)?))
        }
        _ => Ok((left, right)),
    }
}

/// What is compared, if what the analyzer makes of it compares as `operator` does.
fn compared(operator: &Operator, left: Value, right: Value) -> Bound<(Value, Value)> {
    let right = beside(operator, &left, right)?;
    Ok((fitted(left, &right.kind), right))
}

/// `right`, if the analyzer makes of a comparison with `left` what `operator` is.
pub fn beside(operator: &Operator, left: &Value, right: Value) -> Bound<Value> {
    let unknown = || not_yet(format!("operator {} of types {} and {}", operator.name, left.kind, right.kind));
    let Some(op) = comparison(operator.name) else { return unknown() };
    let is_ordered = !matches!(op, Theirs::Eq | Theirs::NotEq);
    let can = |kind: &Type| session::comparable(kind, is_ordered, operator.name).is_ok();
    let known = declared(operator, left, &right) && can(&left.kind) && can(&right.kind);
    match known && session::compared(&left.kind, &right.kind).is_some() {
        true => Ok(fitted(right, &left.kind)),
        false => unknown(),
    }
}

/// A constant of no length as char(n), if there is such a value: then it is compared as values are held.
fn fitted(value: Value, other: &Type) -> Value {
    match (value.known(), &value.kind, other) {
        (Some(ScalarValue::Utf8(Some(text))), Type::Char(0), Type::Char(length @ 1..)) => {
            let text = text.trim_end_matches(' ');
            match text.chars().count() <= *length as usize {
                true => Value::text(text, other.clone()),
                false => value,
            }
        }
        _ => value,
    }
}

/// Whether the operands are held as values of the operator's types, which the binder converted them to.
fn declared(operator: &Operator, left: &Value, right: &Value) -> bool {
    operator.left.is_some_and(|oid| takes(oid, &left.kind)) && takes(operator.right, &right.kind)
}

fn takes(oid: Oid, kind: &Type) -> bool {
    match (Kind::from(oid).held(), oid.entry()) {
        (Some(wanted), _) => alike(&wanted, kind),
        (None, Some(entry)) => entry.name == "anyarray" && matches!(kind, Type::Array(_)),
        (None, None) => false,
    }
}

/// LIKE and regular expressions.
fn matching(name: &str, left: Value, right: Value) -> Option<Value> {
    if !left.kind.is_text() || !right.kind.is_text() {
        return None;
    }
    let like = |negated, insensitive| {
        let (left, right) = (Box::new(left.expr.clone()), Box::new(right.expr.clone()));
        Expr::Like(Like::new(negated, left, right, None, insensitive))
    };
    Some(Value::truth(match name {
        "~~" => like(false, false),
        "!~~" => like(true, false),
        "~~*" => like(false, true),
        "!~~*" => like(true, true),
        "~" => binary(left, Theirs::RegexMatch, right),
        "!~" => binary(left, Theirs::RegexNotMatch, right),
        "~*" => binary(left, Theirs::RegexIMatch, right),
        "!~*" => binary(left, Theirs::RegexNotIMatch, right),
        _ => return None,
    }))
}

/// `||`: of texts, of a text and what is printed, of bytes, of arrays, of an array and an element.
fn concatenation(left: Value, right: Value, result: &Type, zone: &str) -> Bound<Option<Value>> {
    match result {
        Type::Text => {
            let (left, right) = (printed(left, zone)?, printed(right, zone)?);
            Ok(Some(Value::new(binary(left, Theirs::StringConcat, right), Type::Text)))
        }
        Type::Bytea => ours("byteacat", vec![left, right]),
        Type::Array(element) if element.field("", true).metadata().is_empty() => {
            let element = common([&left.kind, &right.kind].into_iter().map(own), element);
            let array = Type::Array(Box::new(element.clone()));
            let name = match (&left.kind, &right.kind) {
                (Type::Array(_), Type::Array(_)) => "array_concat",
                (Type::Array(_), _) => "array_append",
                _ => "array_prepend",
            };
            let side = |side: Value| match side.kind {
                Type::Array(_) => side.converted(&array, zone),
                _ => side.converted(&element, zone),
            };
            let arguments = vec![side(left)?.expr, side(right)?.expr];
            Ok(Some(Value::new(function(name)?.call(arguments), array)))
        }
        _ => Ok(None),
    }
}

/// As text, without the blanks at the end of char(n).
fn printed(value: Value, zone: &str) -> Bound<Value> {
    match value.kind {
        Type::Text | Type::Varchar(_) => Ok(value),
        _ => value.converted(&Type::Text, zone),
    }
}

/// The type of an array's elements, or of an element.
fn own(kind: &Type) -> &Type {
    match kind {
        Type::Array(element) => element,
        kind => kind,
    }
}

fn is_json(kind: &Type) -> bool {
    matches!(kind, Type::Json | Type::Jsonb)
}

fn binary(left: Value, op: Theirs, right: Value) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left.expr), op, Box::new(right.expr)))
}
