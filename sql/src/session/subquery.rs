//! Subqueries as DataFusion can decorrelate them, in views and in SELECT.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetQuantifier as Quantifier};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};
use std::sync::Arc;

/// EXISTS in a select list becomes `(SELECT count(*) > 0 …)`, which decorrelates; `= ANY` becomes IN, `<> ALL` NOT IN;
/// LIMIT in EXISTS goes; EXISTS and IN of one row are decided by it.
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
            if one_row(&subquery.subquery) {
                return Ok(Transformed::yes(lit(!negated)));
            }
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
            (Operator::Eq, Quantifier::Any) => Transformed::yes(membership(InSubquery::new(c.expr, c.subquery, false))),
            (Operator::NotEq, Quantifier::All) => {
                Transformed::yes(membership(InSubquery::new(c.expr, c.subquery, true)))
            }
            _ => Transformed::no(Expr::SetComparison(c)),
        },
        Expr::InSubquery(find) => Transformed::yes(membership(find)),
        other => Transformed::no(other),
    })
}

/// What is one of the values of one row is equal to it.
fn membership(find: InSubquery) -> Expr {
    if !one_row(&find.subquery.subquery) {
        return Expr::InSubquery(find);
    }
    let value = Box::new(Expr::ScalarSubquery(find.subquery));
    let op = if find.negated { Operator::NotEq } else { Operator::Eq };
    Expr::BinaryExpr(BinaryExpr::new(find.expr, op, value))
}

/// Whether a query has one row, whatever there is: an aggregate without GROUP BY, and a SELECT of nothing.
pub fn one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => p.schema.fields().len() == 1 && one_row(&p.input),
        LogicalPlan::SubqueryAlias(a) => one_row(&a.input),
        LogicalPlan::Sort(s) => one_row(&s.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(none) => none.produce_one_row,
        _ => false,
    }
}

/// Without GROUP BY, or with a grouping set of nothing, there is a group of no rows.
pub fn of_all_rows(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.is_empty() || matches!(aggregate.group_expr[..], [Expr::GroupingSet(_)])
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
