//! Groups of rows: GROUP BY, DISTINCT, DISTINCT ON.

use super::aggregate::{self, Call};
use super::expression::{Expressions, column, name};
use super::needed::{self, Needed};
use super::rows::{Columns, Rows, cast, order};
use super::value::planned;
use crate::bound::{Aggregate, Bound, ColumnId, Expr, Order, not_yet};
use crate::function::key;
use crate::session;
use crate::types::Type;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{self as logical, Distinct, DistinctOn, LogicalPlan};
use std::sync::Arc;

/// A row for each group of `input`, with its keys and those of `aggregates` that are needed.
pub fn group(
    input: Rows,
    keys: &[(ColumnId, Expr)],
    aggregates: &[(ColumnId, Aggregate)],
    sets: Option<&[Vec<usize>]>,
    needed: &Needed,
    columns: &mut Columns,
    zone: &str,
) -> Bound<Rows> {
    let expressions = Expressions::new(columns, zone);
    let (mut calls, mut below) = (vec![], Needed::new());
    for (id, aggregate) in aggregates.iter().filter(|(id, _)| needed.contains(id)) {
        needed::add_aggregate(aggregate, &mut below);
        calls.push((*id, aggregate::call(aggregate, &expressions)?));
    }
    let (mut values, mut kinds) = (vec![], vec![]);
    for (id, key) in keys {
        let value = expressions.value(key)?;
        groupable(&value.kind, sets.is_some())?;
        kinds.push((*id, value.kind));
        values.push((*id, value.expr));
    }
    let input = match keys {
        [] => input,
        _ => {
            below.retain(|id| !keys.iter().any(|(key, _)| key == id));
            let values = input.kept(&below).into_iter().chain(values).collect();
            input.projected(values)?
        }
    };
    columns.extend(kinds);
    let groups = grouped(keys, sets)?;
    let rows = Rows { plan: aggregated(input.plan, groups, &calls)?, columns: vec![] };
    finished(rows, keys, calls, columns, zone)
}

/// Refuses what cannot be told apart, or not in several sets of keys.
fn groupable(kind: &Type, sets: bool) -> Bound<()> {
    match session::groupable(kind) {
        Ok(()) if sets && key::needed(kind) => not_yet(format!("GROUPING SETS of type {kind}")),
        Ok(()) => Ok(()),
        Err(_) => not_yet(format!("GROUP BY of type {kind}")),
    }
}

fn grouped(keys: &[(ColumnId, Expr)], sets: Option<&[Vec<usize>]>) -> Bound<Vec<logical::Expr>> {
    let keys: Vec<logical::Expr> = keys.iter().map(|(id, _)| column(*id)).collect();
    let Some(sets) = sets else { return Ok(keys) };
    let all: Vec<usize> = (0..keys.len()).collect();
    if let [set] = sets
        && *set == all
    {
        return Ok(keys);
    }
    if !all.iter().all(|key| sets.iter().any(|set| set.contains(key))) || keys.is_empty() {
        return not_yet("GROUPING SETS without a key");
    }
    let sets = sets.iter().map(|set| set.iter().filter_map(|key| keys.get(*key).cloned()).collect()).collect();
    Ok(vec![logical::Expr::GroupingSet(GroupingSet::GroupingSets(sets))])
}

fn aggregated(input: LogicalPlan, groups: Vec<logical::Expr>, calls: &[(ColumnId, Call)]) -> Bound<LogicalPlan> {
    let mut aggregates: Vec<logical::Expr> =
        calls.iter().map(|(id, call)| call.expr.clone().alias(name(*id))).collect();
    if groups.is_empty() && aggregates.is_empty() {
        // There is a group, whatever is asked of it.
        let rows = logical::Expr::Literal(COUNT_STAR_EXPANSION, None);
        aggregates.push(count(rows));
    }
    planned(logical::Aggregate::try_new(Arc::new(input), groups, aggregates)).map(LogicalPlan::Aggregate)
}

/// The keys and what came of the calls, as it is to be held.
fn finished(
    rows: Rows,
    keys: &[(ColumnId, Expr)],
    calls: Vec<(ColumnId, Call)>,
    columns: &mut Columns,
    zone: &str,
) -> Bound<Rows> {
    let mut values: Vec<_> = keys.iter().map(|(id, _)| (*id, column(*id))).collect();
    let mut is_held = true;
    for (id, Call { kind, wanted, .. }) in calls {
        values.push((id, wanted.as_ref().map_or_else(|| column(id), |wanted| cast(id, &kind, wanted, zone))));
        is_held &= wanted.is_none();
        columns.insert(id, wanted.unwrap_or(kind));
    }
    match is_held {
        true => Ok(Rows { columns: values.into_iter().map(|(id, _)| id).collect(), ..rows }),
        false => rows.projected(values),
    }
}

/// The rows that differ in `columns`.
pub fn distinct(input: Rows, distinct: &[ColumnId], columns: &Columns) -> Bound<Rows> {
    let different: Needed = distinct.iter().copied().collect();
    for id in &different {
        columns.get(id).map_or(Ok(()), |kind| groupable(kind, false))?;
    }
    if different.is_empty() {
        return not_yet("DISTINCT of no columns");
    }
    let Rows { plan, columns } = input.projected(different.iter().map(|id| (*id, column(*id))).collect())?;
    Ok(Rows { plan: LogicalPlan::Distinct(Distinct::All(Arc::new(plan))), columns })
}

/// The first of the rows that are equal in `on`, with the columns that are needed.
pub fn distinct_on(
    input: Rows,
    on: &[Expr],
    sorted: &[Order],
    needed: &Needed,
    expressions: &Expressions,
) -> Bound<Rows> {
    let on = expressions.all(on)?;
    on.iter().try_for_each(|value| groupable(&value.kind, false))?;
    let mut rest: Vec<logical::Expr> = on.into_iter().map(|value| value.expr).collect();
    let mut order = order(sorted, expressions)?;
    // What is told apart comes first, in the order in which it is sorted.
    let mut on = vec![];
    for sort in &order {
        match rest.iter().position(|expr| *expr == sort.expr) {
            Some(at) => on.push(rest.remove(at)),
            None if on.contains(&sort.expr) => {}
            None => break,
        }
    }
    if on.len() < order.len() && !rest.is_empty() {
        return not_yet("DISTINCT ON of what is not sorted by");
    }
    order.extend(rest.iter().filter(|_| !sorted.is_empty()).map(|expr| expr.clone().sort(true, false)));
    on.extend(rest);
    let kept = input.kept(needed);
    let kept =
        if kept.is_empty() { input.columns.first().map(|id| (*id, column(*id))).into_iter().collect() } else { kept };
    let (columns, values) = kept.into_iter().unzip();
    let order = (!order.is_empty()).then_some(order);
    let plan = planned(DistinctOn::try_new(on, values, order, Arc::new(input.plan)))?;
    Ok(Rows { plan: LogicalPlan::Distinct(Distinct::On(plan)), columns })
}
