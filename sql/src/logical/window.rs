//! Window functions: DataFusion's that were compared with PostgreSQL's, and aggregates, over frames that mean the same there.

use super::aggregate::{self, Call};
use super::expression::{Expressions, column, name};
use super::frame::{self, Sorted};
use super::needed::Needed;
use super::rows::{Columns, Rows, cast};
use super::value::{Value, alike, held, planned, together};
use crate::bound::{Aggregate, Bound, ColumnId, Edge, Unbound, Window, not_yet};
use crate::error::Error;
use crate::postgres::functions::Kind;
use crate::session;
use crate::types::Type;
use datafusion::common::ScalarValue;
use datafusion::functions_window::cume_dist::cume_dist_udwf;
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::nth_value::{first_value_udwf, last_value_udwf, nth_value_udwf};
use datafusion::functions_window::ntile::ntile_udwf;
use datafusion::functions_window::rank::{dense_rank_udwf, percent_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::generate_sort_key;
use datafusion::logical_expr::{self as logical, Expr, LogicalPlan, WindowFunctionDefinition, lit};
use std::sync::Arc;

/// Window functions that look at the frame.
const FRAMED: [&str; 3] = ["first_value", "last_value", "nth_value"];

/// How rows are sorted for a call, and which of that makes its parts.
type SortKey = Vec<(Sort, bool)>;

/// The rows of `input` with those of its columns that are needed, and what the calls give for each.
pub fn over(
    input: Rows,
    calls: &[&(ColumnId, Window)],
    needed: &Needed,
    columns: &mut Columns,
    zone: &str,
) -> Bound<Rows> {
    if calls.is_empty() {
        return Ok(input);
    }
    let expressions = Expressions::new(columns, zone);
    // DataFusion takes those together whose rows are sorted alike.
    let mut sorted: Vec<(SortKey, Vec<Expr>)> = vec![];
    let mut found: Vec<(ColumnId, ColumnId, Call)> = vec![];
    for (id, window) in calls {
        let Called { sort_key, call } = called(window, &expressions)?;
        if is_below(&input.plan, &call.expr) {
            return not_yet("a window function over the rows of the same one");
        }
        // Two calls in one plan have to be different.
        if let Some((_, same, _)) = found.iter().find(|(_, _, other)| other.expr == call.expr) {
            found.push((*id, *same, call));
            continue;
        }
        let expr = call.expr.clone().alias(name(*id));
        match sorted.iter_mut().find(|(key, _)| *key == sort_key) {
            Some((_, same)) => same.push(expr),
            None => sorted.push((sort_key, vec![expr])),
        }
        found.push((*id, *id, call));
    }
    let mut values = input.kept(needed);
    let mut plan = input.plan;
    for (_, calls) in sorted {
        plan = LogicalPlan::Window(planned(logical::Window::try_new(calls, Arc::new(plan)))?);
    }
    for (id, from, Call { kind, wanted, .. }) in found {
        values.push((id, wanted.as_ref().map_or_else(|| column(from), |wanted| cast(from, &kind, wanted, zone))));
        columns.insert(id, wanted.unwrap_or(kind));
    }
    Rows { plan, columns: vec![] }.projected(values)
}

/// Whether a window of `plan` has `call` already: DataFusion takes both for one, and computes that where it cannot.
fn is_below(mut plan: &LogicalPlan, call: &Expr) -> bool {
    loop {
        plan = match plan {
            LogicalPlan::Window(window) => {
                let is_call = |expr: &Expr| matches!(expr, Expr::Alias(alias) if *alias.expr == *call);
                if window.window_expr.iter().any(is_call) {
                    return true;
                }
                &window.input
            }
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Sort(sort) => &sort.input,
            _ => return false,
        };
    }
}

struct Called {
    sort_key: SortKey,
    call: Call,
}

/// A function, its arguments, the filter, and what it gives.
struct Function {
    definition: WindowFunctionDefinition,
    arguments: Vec<Expr>,
    filter: Option<Box<Expr>>,
    kind: Type,
    wanted: Option<Type>,
}

fn called(window: &Window, expressions: &Expressions) -> Bound<Called> {
    let Function { definition, arguments, filter, kind, wanted } = match window.function.kind {
        Kind::Window => own(window, expressions)?,
        _ => aggregated(window, expressions)?,
    };
    let mut partition = vec![];
    for part in expressions.all(&window.partition)? {
        if session::groupable(&part.kind).is_err() {
            return not_yet(format!("PARTITION BY of type {}", part.kind));
        }
        // What is the same in all rows makes no parts.
        if !frame::is_same(&part) {
            partition.push(part.expr);
        }
    }
    let Sorted { order, frame } = frame::sorted(window, expressions)?;
    let is_framed = window.function.kind != Kind::Window || FRAMED.contains(&window.function.name);
    let window_frame = if is_framed { frame } else { frame::unused() };
    let sort_key = planned(generate_sort_key(&partition, &order))?;
    let params = WindowFunctionParams {
        args: arguments,
        partition_by: partition,
        order_by: order,
        window_frame,
        filter,
        null_treatment: None,
        distinct: false,
    };
    let expr = Expr::WindowFunction(Box::new(WindowFunction { fun: definition, params }));
    Ok(Called { sort_key, call: Call { expr, kind, wanted } })
}

fn aggregated(window: &Window, expressions: &Expressions) -> Bound<Function> {
    let Window { function, arguments, filter, kind, .. } = window;
    if function.name == "string_agg" && window.frame.start != Edge::UnboundedPreceding {
        // DataFusion's cannot leave out again what it has put together.
        return not_yet("string_agg over a frame that moves");
    }
    let aggregate = Aggregate {
        function,
        arguments: arguments.clone(),
        distinct: false,
        filter: filter.clone(),
        order: vec![],
        kind: *kind,
    };
    match aggregate::call(&aggregate, expressions)? {
        Call { expr: Expr::AggregateFunction(AggregateFunction { func, params }), kind, wanted } => Ok(Function {
            definition: WindowFunctionDefinition::AggregateUDF(func),
            arguments: params.args,
            filter: params.filter,
            kind,
            wanted,
        }),
        Call { .. } => Err(Unbound::Wrong(Error::internal("an aggregate that is none"))),
    }
}

fn own(window: &Window, expressions: &Expressions) -> Bound<Function> {
    let name = window.function.name;
    let result = held(window.kind)?;
    let unknown = || not_yet(format!("window function {name}"));
    let arguments = expressions.all(&window.arguments)?;
    let mut arguments = arguments.into_iter();
    let given = (arguments.next(), arguments.next(), arguments.next());
    let (definition, arguments, kind) = match (name, given) {
        ("row_number", (None, ..)) => (row_number_udwf(), vec![], Type::Int8),
        ("rank", (None, ..)) => (rank_udwf(), vec![], Type::Int8),
        ("dense_rank", (None, ..)) => (dense_rank_udwf(), vec![], Type::Int8),
        ("percent_rank", (None, ..)) => (percent_rank_udwf(), vec![], Type::Float8),
        ("cume_dist", (None, ..)) => (cume_dist_udwf(), vec![], Type::Float8),
        ("ntile", (Some(count), None, _)) => (ntile_udwf(), vec![positive(&count, name)?], Type::Int4),
        ("first_value", (Some(value), None, _)) => (first_value_udwf(), vec![value.expr], value.kind),
        ("last_value", (Some(value), None, _)) => (last_value_udwf(), vec![value.expr], value.kind),
        ("nth_value", (Some(value), Some(at), _)) => {
            (nth_value_udwf(), vec![value.expr, positive(&at, name)?], value.kind)
        }
        ("lag" | "lead", (Some(value), distance, default)) => {
            let distance = distance.map_or(Ok(1), |distance| number(&distance, name))?;
            // Behind is ahead the other way.
            let is_lag = (name == "lag") == (distance >= 0);
            let mut values = vec![value];
            values.extend(default);
            let (values, kind) = together(values, &result, expressions.zone)?;
            if values.get(1).is_some_and(|default| default.known().is_none()) {
                return not_yet(format!("a default of {name} that is no constant"));
            }
            let mut values = values.into_iter().map(|value| value.expr);
            let mut arguments: Vec<Expr> = values.next().into_iter().collect();
            arguments.push(lit(distance.abs()));
            arguments.extend(values);
            (if is_lag { lag_udwf() } else { lead_udwf() }, arguments, kind)
        }
        _ => return unknown(),
    };
    if !alike(&kind, &result) {
        return unknown();
    }
    let definition = WindowFunctionDefinition::WindowUDF(definition);
    Ok(Function { definition, arguments, filter: None, kind, wanted: None })
}

/// An integer that is known. PostgreSQL computes it for each row, and gives NULL for NULL.
fn number(value: &Value, name: &str) -> Bound<i64> {
    match value.known() {
        Some(ScalarValue::Int32(Some(number))) => Ok(i64::from(*number)),
        _ => not_yet(format!("an argument of {name} that is no constant")),
    }
}

/// The same as an argument. What is not positive is an error of a row.
fn positive(value: &Value, name: &str) -> Bound<Expr> {
    match number(value, name)? {
        number @ 1.. => Ok(lit(number)),
        _ => not_yet(format!("such an argument of {name}")),
    }
}
