//! Bound queries ([`crate::bound`]) to DataFusion's logical plans.
//!
//! What comes out goes through the analyzer of a session ([`crate::session::analyze`]) and its optimizer like every other plan. The
//! analyzer settles how values are represented: numerics are compared by their keys, what grows is bounded. It must not decide what an
//! expression means, so it is given nothing to decide: every operand is of the type that the binder gave it, every literal says its type,
//! where values meet they are of one of ours. Columns are called after their identities ([`rows::Rows`]).
//!
//! Queries in expressions become joins first ([`crate::unnest`]).
//!
//! Whatever Weir has no code for, or code that means something else, is `NotYet`, and names what it is.
//!
//! In reading order: this file, [`node`] (what gives rows), [`group`], [`window`], [`frame`], [`set`], [`rows`], [`needed`] (what is
//! carried along), [`expression`], [`operator`], [`function`], [`chain`], [`aggregate`], [`array`], [`cast`], [`constant`], [`value`].

mod aggregate;
mod array;
mod cast;
mod chain;
mod constant;
mod expression;
mod frame;
mod function;
mod group;
mod needed;
mod node;
mod operator;
mod rows;
mod set;
#[cfg(test)]
mod tests;
mod value;
mod window;

use crate::bound::{Bound, Output, Query, not_yet};
use crate::session::names;
use crate::types::Type;
use crate::unnest;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan};
use expression::column;
use node::Nodes;
use std::collections::HashSet;
use value::{Value, alike, held};

/// A plan whose columns are those of the query's outputs, in order, each of a name of its own ([`names::shown`] tells the output's), and
/// their types as they come out of the analyzer: of each output's type, but `numeric` may be held as decimals.
pub struct Planned {
    pub plan: LogicalPlan,
    pub types: Vec<Type>,
    /// Of `$1`, `$2`, …
    pub parameters: Vec<Type>,
}

/// A plan of `query`, to be analyzed by [`crate::session::analyze`]. Moments and wall clocks convert in `zone`. `Err(NotYet)` names what
/// Weir cannot run.
pub fn plan(query: &Query, zone: &str) -> Bound<Planned> {
    match unnest::is_needed(query) {
        true => flat(&unnest::unnest(query.clone())?, zone),
        false => flat(query, zone),
    }
}

/// Of a query without subqueries in expressions.
fn flat(query: &Query, zone: &str) -> Bound<Planned> {
    let parameters = query.parameters.iter().map(|kind| held(*kind)).collect::<Bound<_>>()?;
    let needed = query.outputs.iter().map(|output| output.column).collect();
    let mut nodes = Nodes { columns: Default::default(), zone };
    let rows = nodes.node(&query.root, &needed)?;
    if query.outputs.is_empty() {
        return not_yet("SELECT of no columns");
    }
    let (mut values, mut types, mut taken) = (vec![], vec![], HashSet::new());
    for (index, output) in query.outputs.iter().enumerate() {
        let value = shown(output, &nodes)?;
        let name = match taken.insert(output.name.as_str()) {
            true => output.name.clone(),
            false => names::hidden(&output.name, index),
        };
        types.push(value.kind);
        values.push(value.expr.alias(name));
    }
    Ok(Planned { plan: rows::project(rows.plan, values)?, types, parameters })
}

/// What stands in a plan for a parameter of type `kind`: a value that the analyzer takes for no other type.
pub fn argument(value: ScalarValue, kind: Type) -> Expr {
    Value::literal(value, kind).expr
}

/// An output as its type is held. Whatever the scale of a numeric, it prints itself.
fn shown(output: &Output, nodes: &Nodes) -> Bound<Value> {
    let value = match nodes.columns.get(&output.column) {
        Some(kind) => Value::new(column(output.column), kind.clone()),
        None => return not_yet("an output that is no column"),
    };
    match (&value.kind, held(output.kind)?) {
        (Type::Numeric(_), Type::Numeric(None)) => Ok(value),
        (from, to) if alike(from, &to) => value.converted(&to, nodes.zone),
        (_, to) => not_yet(format!("an output of type {to}")),
    }
}
