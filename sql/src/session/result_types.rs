//! What DataFusion's functions return in Postgres' types: numbers that it counts in wide or unsigned integers, values of types whose
//! shape is all it knows.

use super::common;
use crate::error::Result;
use crate::function::{Cast, ESCAPE};
use crate::types::Type;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection};
use std::sync::Arc;

/// Functions of DataFusion's that are integer in Postgres, or arrays of integer, whatever they are there.
const INTEGERS: &[&str] = &[
    "array_length",
    "array_ndims",
    "array_position",
    "array_positions",
    "bit_length",
    "cardinality",
    "character_length",
    "ntile",
    "octet_length",
    "regexp_count",
    "regexp_instr",
    "strpos",
];

/// A call of a function of DataFusion's, as Postgres types it.
pub fn call(call: Expr, name: &str, schema: &DFSchema) -> Result<Expr> {
    // Arguments that DataFusion has yet to convert leave the type open; none of these functions returns a count.
    let Ok((_, field)) = call.to_field(schema) else { return Ok(call) };
    if let Some(kind) = element(&call, name, schema)?.filter(|kind| kind.arrow() == *field.data_type()) {
        return Ok(Cast::udf(kind.clone(), kind, "UTC").call(vec![call]));
    }
    match wanted(&field, name)? {
        Some((from, to)) => Ok(Cast::udf(from, to, "UTC").call(vec![call])),
        None => Ok(call),
    }
}

/// The type of an element of an array, where it is text for DataFusion.
fn element(call: &Expr, name: &str, schema: &DFSchema) -> Result<Option<Type>> {
    match call {
        Expr::ScalarFunction(call) if name == "array_element" => {
            let array = call.args.first().map(|array| common::kind(array, schema)).transpose()?.flatten();
            Ok(match array {
                Some(Type::Array(element)) if *element != Type::Text && element.is_text() => Some(*element),
                _ => None,
            })
        }
        _ => Ok(None),
    }
}

/// Functions whose result is one of the values of their first argument, of its type.
const VALUES: &[&str] = &["first_value", "lag", "last_value", "lead", "max", "min", "nth_value"];

/// The outputs of windows and aggregates.
pub fn outputs(plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let (calls, input) = match &plan {
        LogicalPlan::Window(window) => (&window.window_expr, &window.input),
        LogicalPlan::Aggregate(aggregate) => (&aggregate.aggr_expr, &aggregate.input),
        _ => return Ok(plan),
    };
    let counts = matches!(plan, LogicalPlan::Window(_));
    let others = schema.fields().len().saturating_sub(calls.len());
    let calls = std::iter::repeat_n(None, others).chain(calls.iter().map(Some));
    let mut changed = false;
    let mut columns = vec![];
    for ((qualifier, field), call) in schema.iter().zip(calls) {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let name = call.filter(|_| counts).map(name).unwrap_or_default();
        let tagged = call.map(|call| tagged(call, input.schema(), field)).transpose()?.flatten();
        columns.push(match tagged.map_or_else(|| wanted(field, &name), |tagged| Ok(Some(tagged)))? {
            Some((from, to)) => {
                changed = true;
                Cast::udf(from, to, "UTC").call(vec![column]).alias_qualified(qualifier.cloned(), field.name())
            }
            None => column,
        });
    }
    match changed {
        true => Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?)),
        false => Ok(plan),
    }
}

/// The type of a call's argument, where its values come out and DataFusion knows only their shape, or they are bytes as text.
fn tagged(call: &Expr, input: &DFSchema, field: &Field) -> Result<Option<(Type, Type)>> {
    let (name, args) = match call {
        Expr::Alias(alias) => return tagged(&alias.expr, input, field),
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(window) => (window.fun.name(), &window.params.args),
        _ => return Ok(None),
    };
    if name == "string_agg" && matches!(args.first(), Some(Expr::ScalarFunction(call)) if call.func.name() == ESCAPE) {
        return Ok(Some((Type::of(field)?, Type::Bytea)));
    }
    let Some(kind) = args.first().map(|arg| common::kind(arg, input)).transpose()?.flatten() else { return Ok(None) };
    let known = Type::of(field)?;
    Ok(match kind {
        kind if VALUES.contains(&name) && kind != known && kind.arrow() == known.arrow() => Some((kind.clone(), kind)),
        kind @ Type::Char(_) if name == "array_agg" => Some((known, Type::Array(Box::new(kind)))),
        _ => None,
    })
}

fn name(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => name(&alias.expr),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => function.name().to_string(),
            WindowFunctionDefinition::AggregateUDF(function) => function.name().to_string(),
        },
        _ => String::new(),
    }
}

/// The type of what `name` returns in `field`, and the one it should have.
fn wanted(field: &Field, name: &str) -> Result<Option<(Type, Type)>> {
    let integer = INTEGERS.contains(&name);
    let to = match field.data_type() {
        DataType::UInt64 | DataType::Int64 if integer => Type::Int4,
        DataType::UInt64 => Type::Int8,
        DataType::List(element) if integer && element.data_type().is_integer() => Type::Array(Box::new(Type::Int4)),
        _ => return Ok(None),
    };
    Ok(Some((Type::of(field)?, to)))
}
