//! Arrays: made of values, one of their elements, and whether one of these is like a value.

use super::constant::constant;
use super::operator::beside;
use super::value::{Value, function, held, together};
use crate::bound::{Bound, Kind, not_yet};
use crate::function;
use crate::postgres::operators::Operator;
use crate::types::Type;
use datafusion::common::ScalarValue;

/// Elements of types that are held as text are text to DataFusion, whatever is made of them.
fn is_marked(element: &Type) -> bool {
    !element.field("", true).metadata().is_empty()
}

/// ARRAY[…]
pub fn array(elements: Vec<Value>, kind: Kind, zone: &str) -> Bound<Value> {
    let Type::Array(element) = held(kind)? else { return not_yet(format!("ARRAY of type {kind}")) };
    if elements.iter().any(|element| matches!(element.kind, Type::Array(_))) {
        return not_yet("arrays of several dimensions");
    }
    if elements.is_empty() {
        return constant(Some("{}"), kind);
    }
    let (elements, element) = together(elements, &element, zone)?;
    let elements = elements.into_iter().map(|element| element.expr).collect();
    let call = function("make_array")?.call(elements);
    let array = Type::Array(Box::new(element.clone()));
    match element {
        // The analyzer says itself what these are.
        Type::Varchar(_) | Type::Char(_) => Ok(Value::new(call, array)),
        element if is_marked(&element) => Value::new(call, Type::Array(Box::new(Type::Text))).converted(&array, zone),
        _ => Ok(Value::new(call, array)),
    }
}

/// `array[index]`: NULL before the first element, where DataFusion counts from the end.
pub fn subscript(array: Value, index: Value, kind: Kind, zone: &str) -> Bound<Value> {
    let Type::Array(element) = &array.kind else { return not_yet(format!("a subscript of type {}", array.kind)) };
    if !matches!(index.kind, Type::Int2 | Type::Int4 | Type::Int8) || matches!(**element, Type::Array(_)) {
        return not_yet(format!("a subscript of type {}", index.kind));
    }
    let element = element.as_ref().clone();
    let index = index.converted(&Type::Int8, zone)?;
    let index = match index.known() {
        Some(ScalarValue::Int64(None | Some(1..))) => index.expr,
        _ => function("greatest")?.call(vec![index.expr, constant(Some("0"), Kind::of(&Type::Int8))?.expr]),
    };
    let value = Value::new(function("array_element")?.call(vec![array.expr, index]), element.clone());
    held(kind)?;
    Ok(if is_marked(&element) { value.marked(&element) } else { value })
}

/// `left operator ANY (array)`, or ALL.
pub fn quantified(operator: &Operator, left: Value, array: Value, all: bool) -> Bound<Value> {
    let unknown = || not_yet(format!("{} {}", operator.name, if all { "ALL" } else { "ANY" }));
    let Some(function) = function::lookup(&format!("{} {}", operator.name, if all { "all" } else { "any" })) else {
        return unknown();
    };
    let Type::Array(element) = &array.kind else { return unknown() };
    if matches!(**element, Type::Json | Type::Jsonb | Type::Array(_)) {
        return unknown();
    }
    // As each of them is compared.
    beside(operator, &left, Value::new(array.expr.clone(), element.as_ref().clone()))?;
    Ok(Value::truth(function.call(vec![left.expr, array.expr])))
}
