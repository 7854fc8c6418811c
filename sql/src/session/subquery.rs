//! Subqueries as DataFusion can decorrelate them, in views and in SELECT.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetQuantifier as Quantifier};
use datafusion::logical_expr::{Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit};
use std::sync::Arc;

/// EXISTS in a select list becomes `(SELECT count(*) > 0 …)`, which decorrelates; `= ANY` becomes IN, `<> ALL` NOT IN;
/// LIMIT in EXISTS goes.
pub fn rewrite_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let in_projection = matches!(plan, LogicalPlan::Projection(_));
        plan.map_expressions(|expr| expr.transform_up(|expr| rewrite_subquery(expr, in_projection)))
    })
    .data()
}

fn rewrite_subquery(expr: Expr, in_projection: bool) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Exists(Exists { mut subquery, negated }) => {
            subquery.subquery = without_limit(subquery.subquery)?;
            if !in_projection {
                return Ok(Transformed::yes(Expr::Exists(Exists { subquery, negated })));
            }
            let rows = count(lit(1_i64));
            let found = Expr::from(datafusion::common::Column::from_name(rows.schema_name().to_string()));
            let found = if negated { found.eq(lit(0_i64)) } else { found.gt(lit(0_i64)) };
            let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
                .aggregate(Vec::<Expr>::new(), [rows])?
                .project([found.alias("exists")])?
                .build()?;
            Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery }))
        }
        Expr::SetComparison(c) => match (c.op, &c.quantifier) {
            (Operator::Eq, Quantifier::Any) => {
                Transformed::yes(Expr::InSubquery(InSubquery::new(c.expr, c.subquery, false)))
            }
            (Operator::NotEq, Quantifier::All) => {
                Transformed::yes(Expr::InSubquery(InSubquery::new(c.expr, c.subquery, true)))
            }
            _ => Transformed::no(Expr::SetComparison(c)),
        },
        other => Transformed::no(other),
    })
}

/// Whether there is a row does not depend on a limit of at least one row.
fn without_limit(plan: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    if let LogicalPlan::Limit(limit) = plan.as_ref()
        && limit.skip.is_none()
        && let FetchType::Literal(Some(1..)) = limit.get_fetch_type()?
    {
        return Ok(limit.input.clone());
    }
    Ok(plan)
}
