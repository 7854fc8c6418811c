//! What a statement may call and apply, for the catalogs that list it.

use super::{checked, clock, common};
use crate::types::Type;
use crate::{aggregate, function};
use std::slice;

/// Operators that are functions of ours of the same name.
const SIGNS: [&str; 11] = ["+", "-", "*", "/", "%", "^", "&", "|", "#", "<<", ">>"];

/// Whether a function can be called with arguments of these types. Of DataFusion's own it is said by their names alone.
pub fn may_call(name: &str, arguments: &[Type]) -> bool {
    if function::lookup(name).is_some() {
        return takes(name, arguments);
    }
    match aggregate::Function::named(name) {
        Some(function) => {
            let argument = arguments.first();
            let has_extremes = |kind| !matches!(name, "min" | "max") || common::has_extremes(kind, name).is_ok();
            arguments.len() < 2 && (function.result)(argument).is_ok() && argument.is_none_or(has_extremes)
        }
        None => checked::is_compared(name) || clock::tells(name),
    }
}

/// Whether an operator takes operands of these types; without `left` it stands before its operand.
pub fn may_apply(operator: &str, left: Option<&Type>, right: &Type) -> bool {
    let Some(left) = left else {
        return match operator {
            "+" => right.is_number(),
            "-" => takes("negate", slice::from_ref(right)),
            "~" => takes("~", slice::from_ref(right)),
            _ => false,
        };
    };
    let comparable = |ordered| {
        let is_comparable = |kind: &Type| common::comparable(kind, ordered, operator).is_ok();
        common::compared(left, right).is_some() && is_comparable(left) && is_comparable(right)
    };
    match (operator, left, right) {
        ("=" | "<>", ..) => comparable(false),
        ("<" | "<=" | ">" | ">=", ..) => comparable(true),
        ("||", Type::Array(_), _) | ("||", _, Type::Array(_)) | ("||", Type::Bytea, Type::Bytea) => true,
        ("||", ..) => left.is_text() || right.is_text(),
        ("~" | "~*" | "!~" | "!~*" | "~~" | "~~*" | "!~~" | "!~~*", ..) => left.is_text() && right.is_text(),
        ("@>" | "<@", Type::Array(_), Type::Array(_)) => true,
        _ => SIGNS.contains(&operator) && takes(operator, &[left.clone(), right.clone()]),
    }
}

/// Whether a function of ours takes arguments of these types.
fn takes(name: &str, arguments: &[Type]) -> bool {
    let Some(function) = function::lookup(name) else { return false };
    let mut given: Vec<Option<Type>> = arguments.iter().cloned().map(Some).collect();
    if function::reads_clock(function.name(), &given) {
        given.push(None);
    }
    function::definition(&function).is_some_and(|definition| (definition.resolve)(&given).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_offered_by_what_they_take() {
        for (name, arguments, offered) in [
            ("abs", &[Type::Int4][..], true),
            ("abs", &[Type::Text], false),
            ("abs", &[], false),
            ("date_trunc", &[Type::Text, Type::Timestamptz], true),
            ("now", &[], true),
            ("length", &[Type::Text], true),
            ("row_number", &[], true),
            ("sum", &[Type::Int4], true),
            ("sum", &[Type::Bool], false),
            ("max", &[Type::Bytea], false),
            ("count", &[], true),
            ("array_sort", &[Type::Array(Box::new(Type::Int4))], false),
            ("int4pl", &[Type::Int4, Type::Int4], false),
        ] {
            assert_eq!(may_call(name, arguments), offered, "{name}({arguments:?})");
        }
    }

    #[test]
    fn operators_are_offered_by_what_they_take() {
        for (left, operator, right, offered) in [
            (Some(Type::Int4), "+", Type::Int8, true),
            (Some(Type::Date), "-", Type::Date, true),
            (Some(Type::Bool), "+", Type::Bool, false),
            (None, "-", Type::Numeric(None), true),
            (None, "~", Type::Int4, true),
            (None, "-", Type::Text, false),
            (None, "|/", Type::Float8, false),
            (Some(Type::Jsonb), "=", Type::Jsonb, true),
            (Some(Type::Jsonb), "<", Type::Jsonb, false),
            (Some(Type::Jsonb), "->", Type::Text, false),
            (Some(Type::Text), "||", Type::Int4, true),
            (Some(Type::Jsonb), "||", Type::Jsonb, false),
            (Some(Type::Text), "~~", Type::Text, true),
            (Some(Type::Text), "=", Type::Int4, false),
        ] {
            assert_eq!(may_apply(operator, left.as_ref(), &right), offered, "{left:?} {operator} {right}");
        }
    }
}
