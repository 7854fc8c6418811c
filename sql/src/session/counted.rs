//! Numbers that DataFusion counts in wide or unsigned integers, in Postgres' types.

use crate::error::Result;
use crate::function::Cast;
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
    match wanted(&field, name)? {
        Some((from, to)) => Ok(Cast::udf(from, to, "UTC").call(vec![call])),
        None => Ok(call),
    }
}

/// The outputs of windows and aggregates.
pub fn outputs(plan: LogicalPlan) -> Result<LogicalPlan> {
    let names: Vec<String> = match &plan {
        LogicalPlan::Window(window) => {
            let inputs = window.input.schema().fields().len();
            std::iter::repeat_n(String::new(), inputs).chain(window.window_expr.iter().map(name)).collect()
        }
        LogicalPlan::Aggregate(_) => vec![String::new(); plan.schema().fields().len()],
        _ => return Ok(plan),
    };
    let schema = plan.schema().clone();
    let mut changed = false;
    let mut columns = vec![];
    for ((qualifier, field), name) in schema.iter().zip(&names) {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        columns.push(match wanted(field, name)? {
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
