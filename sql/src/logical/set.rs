//! UNION, INTERSECT and EXCEPT.

use super::expression::{column, name};
use super::rows::{Columns, Rows, project};
use super::value::{common, held, planned};
use crate::bound::{Bound, ColumnId, Kind, not_yet};
use crate::function::{Cast, cast};
use crate::session;
use crate::types::Type;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Distinct, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Union};
use std::sync::Arc;

/// A side and those of its columns that are the result's, in order.
pub type Side = (Rows, Vec<ColumnId>);

/// How the result's columns are held: each in one type for all sides.
fn kinds(sides: &[Side], results: &[(ColumnId, Kind)], columns: &mut Columns) -> Bound<Vec<Type>> {
    let kind = |(at, (id, kind)): (usize, &(ColumnId, Kind))| {
        let of_side = |(_, ids): &Side| ids.get(at).and_then(|id| columns.get(id)).cloned();
        let sides: Vec<Type> = sides.iter().filter_map(of_side).collect();
        Ok((*id, common(sides.iter(), &held(*kind)?)))
    };
    let kinds = results.iter().enumerate().map(kind).collect::<Bound<Vec<_>>>()?;
    columns.extend(kinds.clone());
    Ok(kinds.into_iter().map(|(_, kind)| kind).collect())
}

/// A side with the result's columns under the names that `called` gives them.
fn side(
    (rows, ids): Side,
    results: &[(ColumnId, Kind)],
    kinds: &[Type],
    columns: &Columns,
    zone: &str,
    called: impl Fn(ColumnId) -> String,
) -> Bound<LogicalPlan> {
    let value = |((id, (result, _)), to): ((&ColumnId, &(ColumnId, Kind)), &Type)| {
        let value = match columns.get(id) {
            Some(from) if from == to => column(*id),
            Some(from) if cast::check(from, to).is_ok() => {
                Cast::udf(from.clone(), to.clone(), zone).call(vec![column(*id)])
            }
            _ => return not_yet(format!("a set operation of type {to}")),
        };
        Ok(value.alias(called(*result)))
    };
    let values = ids.iter().zip(results).zip(kinds).map(value).collect::<Bound<Vec<Expr>>>()?;
    project(rows.plan, values)
}

/// All rows of `sides`, of which there are two or more; `all`: also equal ones.
pub fn union(
    sides: Vec<Side>,
    all: bool,
    results: &[(ColumnId, Kind)],
    columns: &mut Columns,
    zone: &str,
) -> Bound<Rows> {
    let kinds = kinds(&sides, results, columns)?;
    if !all {
        kinds.iter().try_for_each(distinct)?;
    }
    let inputs = sides.into_iter().map(|one| Ok(Arc::new(side(one, results, &kinds, columns, zone, name)?)));
    let inputs = inputs.collect::<Bound<Vec<_>>>()?;
    let plan = LogicalPlan::Union(planned(Union::try_new_with_loose_types(inputs))?);
    let plan = if all { plan } else { LogicalPlan::Distinct(Distinct::All(Arc::new(plan))) };
    Ok(Rows { plan, columns: results.iter().map(|(id, _)| *id).collect() })
}

/// The rows of the one side that are, or are not, on the other one: the different ones, or `all`, each as often as it counts. Of equal rows
/// the second one is on the other side if that has two of them.
pub fn matched(
    sides: [Side; 2],
    (present, all): (bool, bool),
    results: &[(ColumnId, Kind)],
    columns: &mut Columns,
    zone: &str,
) -> Bound<Rows> {
    let kinds = kinds(&sides, results, columns)?;
    kinds.iter().try_for_each(distinct)?;
    let [left, right] = sides;
    let mut left = side(left, results, &kinds, columns, zone, name)?;
    // Two columns of one name would get qualifiers.
    let mut right = side(right, results, &kinds, columns, zone, |id| session::names::hidden("other", id.0 as usize))?;
    if all {
        (left, right) = (counted(left, "number")?, counted(right, "other number")?);
    }
    let plan = match present {
        true => LogicalPlanBuilder::intersect(left, right, all),
        false => LogicalPlanBuilder::except(left, right, all),
    };
    let ids: Vec<ColumnId> = results.iter().map(|(id, _)| *id).collect();
    let rows = Rows { plan: planned(plan)?, columns: ids.clone() };
    if all { rows.projected(ids.into_iter().map(|id| (id, column(id))).collect()) } else { Ok(rows) }
}

/// The rows of `plan`, each with its number among those that are equal to it.
fn counted(plan: LogicalPlan, called: &str) -> Bound<LogicalPlan> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = planned(row_number().partition_by(columns).build())?.alias(session::names::hidden(called, 0));
    planned(LogicalPlanBuilder::from(plan).window([number]).and_then(LogicalPlanBuilder::build))
}

fn distinct(kind: &Type) -> Bound<()> {
    match session::groupable(kind) {
        Ok(()) => Ok(()),
        Err(_) => not_yet(format!("a set operation of type {kind}")),
    }
}
