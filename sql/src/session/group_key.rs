//! Grouping by values whose equal ones can differ in bytes: by their key, shown as the least of them.
//!
//! Postgres shows an arbitrary one of the equal values of a group. The least is one too, and always the same. Views
//! group floats by their keys anyway and show what came first, so that only SELECT regroups them.

use super::common::{field_needs_key, groupable, is_key, key_of};
use crate::aggregate::{MIN, select};
use crate::error::{Error, Result};
use crate::function::{self, Cast};
use crate::types::Type;
use arrow::datatypes::Field;
use datafusion::common::Column;
use datafusion::functions_aggregate::expr_fn::min;
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use std::sync::Arc;

/// GROUP BY and DISTINCT over columns that need it, rewritten; anything else as it is.
pub fn by_keys(plan: LogicalPlan, needs: fn(&Field) -> bool) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let mut groups = aggregate.schema.fields().iter().take(aggregate.group_expr.len());
            groups.try_for_each(|field| equatable(field))?;
            aggregated(aggregate, needs)
        }
        LogicalPlan::Distinct(Distinct::All(input))
            if !input.schema().fields().iter().all(|f| equatable(f).is_ok()) =>
        {
            input.schema().fields().iter().try_for_each(|field| equatable(field))?;
            Ok(LogicalPlan::Distinct(Distinct::All(input)))
        }
        LogicalPlan::Distinct(Distinct::All(input)) if input.schema().fields().iter().any(|f| needs(f)) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            aggregated(Aggregate::try_new(input, columns, vec![])?, needs)
        }
        plan => Ok(plan),
    }
}

/// GROUP BY and DISTINCT ON with each key once. DataFusion's outputs are so anyway, its keys are not.
pub fn once(mut plan: LogicalPlan) -> LogicalPlan {
    match &mut plan {
        LogicalPlan::Aggregate(aggregate) => different(&mut aggregate.group_expr, |group| group),
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            different(&mut distinct.on_expr, |on| on);
            if let Some(order) = &mut distinct.sort_expr {
                different(order, |sort| &sort.expr);
            }
        }
        _ => {}
    }
    plan
}

/// Leaves the first of those whose expression is the same.
pub fn different<T>(items: &mut Vec<T>, expr: fn(&T) -> &Expr) {
    let mut seen: Vec<T> = vec![];
    for item in std::mem::take(items) {
        if !seen.iter().any(|known| expr(known) == expr(&item)) {
            seen.push(item);
        }
    }
    *items = seen;
}

/// What has to be grouped by its key everywhere.
pub fn everywhere(field: &Field) -> bool {
    field_needs_key(field) && !field.data_type().is_floating()
}

/// What has to be in SELECT only.
pub fn in_select(field: &Field) -> bool {
    field.data_type().is_floating()
}

/// Refuses what has no equality of ours.
fn equatable(field: &Field) -> Result<()> {
    match function::given(field)? {
        Some(kind) => groupable(&kind),
        None => Ok(()),
    }
}

fn aggregated(aggregate: Aggregate, needs: fn(&Field) -> bool) -> Result<LogicalPlan> {
    let fields = aggregate.schema.fields().iter();
    let keyed: Vec<bool> =
        fields.zip(&aggregate.group_expr).map(|(field, group)| needs(field) && !is_key(group)).collect();
    let sets = matches!(&aggregate.group_expr[..], [Expr::GroupingSet(_)]);
    if !keyed.contains(&true) && !sets {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    if sets {
        let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
        let any = aggregate.schema.fields().iter().take(groups).any(|field| field_needs_key(field));
        return match any {
            true => {
                Err(Error::unsupported("GROUPING SETS, ROLLUP or CUBE by numeric, float, interval or jsonb columns"))
            }
            false => Ok(LogicalPlan::Aggregate(aggregate)),
        };
    }
    let Aggregate { input, mut group_expr, mut aggr_expr, schema, .. } = aggregate;
    let least = select::named(MIN);
    let mut shown = vec![];
    for (index, group) in group_expr.iter_mut().enumerate().filter(|(index, _)| keyed[*index]) {
        let value = std::mem::take(group).unalias();
        // DataFusion's own knows more than one NaN.
        let least = if schema.field(index).data_type().is_floating() {
            least.call(vec![value.clone()])
        } else {
            min(value.clone())
        };
        *group = key_of(value, &Type::of(schema.field(index))?)?.alias(format!("key{index}"));
        aggr_expr.push(least.alias(format!("shown{index}")));
        shown.push((index, format!("shown{index}")));
    }
    let inner = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?);
    let outputs = schema.iter().enumerate().map(|(index, (qualifier, field))| {
        let value = match shown.iter().find(|(group, _)| *group == index) {
            Some((_, name)) => {
                // The least value is of the type's shape alone.
                let kind = Type::of(field)?;
                Cast::udf(kind.clone(), kind, "UTC").call(vec![Expr::Column(Column::new_unqualified(name))])
            }
            None => Expr::Column(Column::new(qualifier.cloned(), field.name())),
        };
        Ok(value.alias_qualified(qualifier.cloned(), field.name()))
    });
    let projection = Projection::try_new(outputs.collect::<Result<_>>()?, Arc::new(inner))?;
    Ok(LogicalPlan::Projection(projection))
}
