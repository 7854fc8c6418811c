//! Grouping by values whose equal ones can differ in bytes: by their key, shown as the least of them.
//!
//! Postgres shows an arbitrary one of the equal values of a group. The least is one too, and always the same. Views
//! group floats by their keys anyway and show what came first, so that only SELECT regroups them.

use super::common::{field_needs_key, is_key, key_of};
use crate::aggregate::{MIN, select};
use crate::error::{Error, Result};
use arrow::datatypes::Field;
use datafusion::common::Column;
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use std::sync::Arc;

/// GROUP BY and DISTINCT over columns that need it, rewritten; anything else as it is.
pub fn by_keys(plan: LogicalPlan, needs: fn(&Field) -> bool) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate, needs),
        LogicalPlan::Distinct(Distinct::All(input)) if input.schema().fields().iter().any(|field| needs(field)) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            aggregated(Aggregate::try_new(input, columns, vec![])?, needs)
        }
        plan => Ok(plan),
    }
}

/// What has to be grouped by its key everywhere.
pub fn everywhere(field: &Field) -> bool {
    field_needs_key(field) && !field.data_type().is_floating()
}

/// What has to be in SELECT only.
pub fn in_select(field: &Field) -> bool {
    field.data_type().is_floating()
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
        let any = aggregate.schema.fields().iter().any(|field| everywhere(field));
        return match any {
            true => Err(Error::unsupported("GROUPING SETS, ROLLUP or CUBE by numeric or interval columns")),
            false => Ok(LogicalPlan::Aggregate(aggregate)),
        };
    }
    let Aggregate { input, mut group_expr, mut aggr_expr, schema, .. } = aggregate;
    let least = select::named(MIN);
    let mut shown = vec![];
    for (index, group) in group_expr.iter_mut().enumerate().filter(|(index, _)| keyed[*index]) {
        let value = std::mem::take(group).unalias();
        *group = key_of(value.clone())?.alias(format!("key{index}"));
        aggr_expr.push(least.call(vec![value]).alias(format!("shown{index}")));
        shown.push((index, format!("shown{index}")));
    }
    let inner = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?);
    let outputs = schema.iter().enumerate().map(|(index, (qualifier, field))| {
        let from = match shown.iter().find(|(group, _)| *group == index) {
            Some((_, name)) => Column::new_unqualified(name),
            None => Column::new(qualifier.cloned(), field.name()),
        };
        Expr::Column(from).alias_qualified(qualifier.cloned(), field.name())
    });
    let projection = Projection::try_new(outputs.collect(), Arc::new(inner))?;
    Ok(LogicalPlan::Projection(projection))
}
