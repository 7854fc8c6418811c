//! Aggregates: ours, and the two of DataFusion's that were compared with PostgreSQL's.

use super::expression::Expressions;
use super::value::{Value, alike, held};
use crate::aggregate::{Function, select};
use crate::bound::{Aggregate, Bound, Order, not_yet};
use crate::function::key;
use crate::session;
use crate::types::Type;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Case, Sort};
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{AggregateUDF, Expr};
use std::sync::Arc;

/// Whether what it gives depends on the order of its rows.
pub fn shows_order(aggregate: &Aggregate) -> bool {
    Function::named(aggregate.function.name).is_none()
}

/// A call, what it gives, and the type in which that is to be held, if it is not so yet.
pub struct Call {
    pub expr: Expr,
    pub kind: Type,
    pub wanted: Option<Type>,
}

pub fn call(aggregate: &Aggregate, expressions: &Expressions) -> Bound<Call> {
    let name = aggregate.function.name;
    let unknown = || not_yet(format!("aggregate {name}"));
    let result = held(aggregate.kind)?;
    let filter = aggregate.filter.as_ref().map(|filter| expressions.condition(filter)).transpose()?;
    let arguments = expressions.all(&aggregate.arguments)?;
    let kinds: Vec<&Type> = arguments.iter().map(|argument| &argument.kind).collect();
    if aggregate.distinct && kinds.iter().any(|kind| session::groupable(kind).is_err()) {
        return unknown();
    }
    let (function, kind, wanted) = match (Function::named(name), &kinds[..]) {
        (Some(function), [] | [_]) => {
            let kind = (function.result)(kinds.first().copied()).ok().filter(|kind| alike(kind, &result));
            match kind {
                Some(kind) if has_value(name, kinds.first().copied()) => {
                    // One of the values is as all of them.
                    let own = kinds.first().filter(|_| matches!(name, "min" | "max"));
                    (select::named(function), own.map_or(kind, |own| (*own).clone()), None)
                }
                _ => return unknown(),
            }
        }
        (None, [element]) if name == "array_agg" => match collected(element, aggregate.distinct) {
            Some((kind, wanted)) => (array_agg_udaf(), kind, wanted),
            None => return unknown(),
        },
        (None, [text, separator]) if name == "string_agg" && alike(text, separator) => {
            match joined(text, &arguments[1], aggregate.distinct) {
                Some((kind, wanted)) => (string_agg_udaf(), kind, wanted),
                None => return unknown(),
            }
        }
        _ => return unknown(),
    };
    let order = order(aggregate, &arguments, filter.as_ref(), expressions)?;
    let expr = written(function, arguments, aggregate.distinct, filter, order);
    Ok(Call { expr, kind, wanted })
}

fn has_value(name: &str, argument: Option<&Type>) -> bool {
    !matches!(name, "min" | "max") || argument.is_some_and(|kind| session::has_extremes(kind, name).is_ok())
}

/// array_agg of such elements. Those that DataFusion tells apart by their bytes alone cannot be collected once each.
fn collected(element: &Type, distinct: bool) -> Option<(Type, Option<Type>)> {
    let is_float = matches!(element, Type::Float4 | Type::Float8);
    if matches!(element, Type::Array(_)) || distinct && key::needed(element) && !is_float {
        return None;
    }
    let array = |element: &Type| Type::Array(Box::new(element.clone()));
    match element {
        Type::Varchar(_) | Type::Uuid | Type::Json | Type::Jsonb => Some((array(&Type::Text), Some(array(element)))),
        _ => Some((array(element), None)),
    }
}

/// string_agg of text, which comes out as long text, or of bytes.
fn joined(text: &Type, separator: &Value, distinct: bool) -> Option<(Type, Option<Type>)> {
    let is_known = matches!(separator.expr, Expr::Literal(..) | Expr::Placeholder(_));
    match text {
        Type::Text | Type::Varchar(_) if is_known => Some((Type::Text, Some(Type::Text))),
        Type::Bytea if is_known && !distinct => Some((Type::Bytea, None)),
        _ => None,
    }
}

/// The order that is written; of different values that are shown one after the other theirs, as PostgreSQL finds them.
fn order(
    aggregate: &Aggregate,
    arguments: &[Value],
    filter: Option<&Expr>,
    expressions: &Expressions,
) -> Bound<Vec<Sort>> {
    let sort = |order: &Order| {
        let value = expressions.value(&order.by)?;
        if session::comparable(&value.kind, true, "<").is_err() {
            return not_yet(format!("ORDER BY of type {}", value.kind));
        }
        let by = if aggregate.distinct { guarded(value.expr, filter) } else { value.expr };
        Ok(Sort::new(by, !order.descending, order.nulls_first))
    };
    match (aggregate.distinct && shows_order(aggregate) && aggregate.order.is_empty(), arguments.first()) {
        (true, Some(first)) => match session::comparable(&first.kind, true, "<") {
            Ok(()) => Ok(vec![Sort::new(guarded(first.expr.clone(), filter), true, false)]),
            Err(_) => not_yet(format!("DISTINCT of values of type {}", first.kind)),
        },
        _ => aggregate.order.iter().map(sort).collect(),
    }
}

fn written(
    function: Arc<AggregateUDF>,
    arguments: Vec<Value>,
    distinct: bool,
    filter: Option<Expr>,
    order: Vec<Sort>,
) -> Expr {
    let mut arguments: Vec<Expr> =
        arguments.into_iter().map(|argument| guarded(argument.expr, filter.as_ref())).collect();
    if arguments.is_empty() {
        arguments.push(Expr::Literal(COUNT_STAR_EXPANSION, None));
    }
    let call = AggregateFunction::new_udf(function, arguments, distinct, filter.map(Box::new), order, None);
    Expr::AggregateFunction(call)
}

/// FILTER guards the argument: `sum(1 / x) FILTER (WHERE x <> 0)` does not fail for x = 0. What the argument is in the other rows
/// does not matter.
fn guarded(argument: Expr, filter: Option<&Expr>) -> Expr {
    match filter {
        Some(filter) if !matches!(argument, Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_)) => {
            let pair = (Box::new(filter.clone()), Box::new(argument));
            session::nested(Case { expr: None, when_then_expr: vec![pair], else_expr: None })
        }
        _ => argument,
    }
}
