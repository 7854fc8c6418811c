//! A scalar subquery without a row is NULL, whatever its column is declared to be. DataFusion asks the column alone, so that
//! `coalesce((SELECT n FROM b WHERE false), 7)` would be NULL where `n` is NOT NULL.

use super::subquery::one_row;
use crate::scalar::part::Part;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Makes what such subqueries give something that may be NULL, as far as anybody after it can see.
#[derive(Debug)]
pub struct Rowless;

impl AnalyzerRule for Rowless {
    fn name(&self) -> &str {
        "scalar_subqueries_without_a_row"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        may_be_null(plan)
    }
}

/// Once more before a plan is made a physical one: what is constant has been worked out.
pub fn may_be_null(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let plan = plan.map_expressions(|expr| expr.transform_up(nullable))?;
        changed |= plan.transformed;
        // What is above as well.
        if changed { plan.map_data(LogicalPlan::recompute_schema) } else { Ok(plan) }
    })?;
    Ok(plan.data)
}

/// One that names nothing outside of it: others become outer joins, which say so themselves.
fn nullable(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
    let plan = &subquery.subquery;
    let (qualifier, field) = plan.schema().qualified_field(0);
    if field.is_nullable() || !subquery.outer_ref_columns.is_empty() || one_row(plan) {
        return Ok(Transformed::no(expr));
    }
    let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let there = (Box::new(column.clone().is_not_null()), Box::new(column));
    let value = Expr::Case(Case { expr: None, when_then_expr: vec![there], else_expr: None });
    // Simplified, it would be the column again.
    let value = Part::of(&value, plan.schema())?.unwrap_or(value).alias(field.name());
    let projection = LogicalPlan::Projection(Projection::try_new(vec![value], plan.clone())?);
    Ok(Transformed::yes(Expr::ScalarSubquery(subquery.with_plan(Arc::new(projection)))))
}
