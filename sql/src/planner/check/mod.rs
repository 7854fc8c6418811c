//! What views refuse by name before anything is rewritten, beyond what every statement refuses.
//!
//! DataFusion plans more than can be maintained: limits, windows, scalar subqueries that find several rows. All of these are caught
//! here; after [`decorrelated`] a plan means what it says.

use super::fault;
use crate::error::{Error, Result};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility};
use datafusion::sql::sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier, Visit, Visitor};
use std::ops::ControlFlow;

mod scalar_subquery;

pub use scalar_subquery::decorrelated;

/// Constructs that DataFusion's plan no longer tells apart.
pub fn syntax(query: &ast::Query) -> Result<()> {
    struct Constructs;
    impl Visitor for Constructs {
        type Break = Error;

        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
            if !query.locks.is_empty() {
                return ControlFlow::Break(Error::unsupported("FOR UPDATE or FOR SHARE"));
            }
            match counted(&query.body) {
                Some(operator) => ControlFlow::Break(Error::unsupported(format!("{operator} ALL"))),
                None => ControlFlow::Continue(()),
            }
        }

        fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Error> {
            match factor {
                ast::TableFactor::Table { version: Some(_), .. } => {
                    ControlFlow::Break(Error::unsupported("FOR SYSTEM_TIME AS OF in a materialized view"))
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match query.visit(&mut Constructs) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The set operation that counts equal rows, if there is one that is not a union.
fn counted(body: &SetExpr) -> Option<SetOperator> {
    let mut open = vec![body];
    while let Some(next) = open.pop() {
        if let SetExpr::SetOperation { op, set_quantifier, left, right } = next {
            if matches!(op, SetOperator::Except | SetOperator::Intersect) && *set_quantifier == SetQuantifier::All {
                return Some(*op);
            }
            open.extend([left.as_ref(), right.as_ref()]);
        }
    }
    None
}

/// Refuses what an analyzed plan holds that cannot be maintained, or that later rules would get wrong.
pub fn constructs(plan: &LogicalPlan, notices: &mut Vec<String>) -> Result<()> {
    let mut sorted = false;
    plan.apply_with_subqueries(|plan| {
        sorted |= matches!(plan, LogicalPlan::Sort(_));
        node(plan).map_err(external)?;
        plan.apply_expressions(|root| {
            root.apply(|expr| {
                expression(expr).map_err(external)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(fault::of)?;
    if sorted {
        notices.push("ORDER BY without LIMIT has no effect in a materialized view".into());
    }
    Ok(())
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn node(plan: &LogicalPlan) -> Result<()> {
    let refused = match plan {
        LogicalPlan::Distinct(Distinct::On(_)) => "DISTINCT ON",
        LogicalPlan::Limit(limit) if limit.fetch.is_none() => "OFFSET",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Window(_) => "a window function (OVER)",
        LogicalPlan::Unnest(_) => "unnest",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Aggregate(aggregate) => {
            let grouped = aggregate.group_expr.iter().find_map(|expr| match expr {
                Expr::GroupingSet(GroupingSet::Rollup(_)) => Some("ROLLUP"),
                Expr::GroupingSet(GroupingSet::Cube(_)) => Some("CUBE"),
                Expr::GroupingSet(GroupingSet::GroupingSets(_)) => Some("GROUPING SETS"),
                _ => None,
            });
            match grouped {
                Some(name) => name,
                None if has_subquery(plan)? => "a subquery inside an aggregate or GROUP BY",
                None => return Ok(()),
            }
        }
        LogicalPlan::Join(_) if has_subquery(plan)? => "a subquery in a join condition",
        _ => return Ok(()),
    };
    Err(Error::unsupported(refused))
}

fn has_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|root| {
        root.apply(|expr| {
            found |= matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_));
            Ok(TreeNodeRecursion::Continue)
        })
    })
    .map_err(fault::of)?;
    Ok(found)
}

fn expression(expr: &Expr) -> Result<()> {
    match expr {
        Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => match subquery.subquery.max_rows() {
            Some(0 | 1) => Ok(()),
            _ => Err(Error::unsupported("a scalar subquery that may return several rows")
                .hint("Use an aggregate, or compare the table's whole key with constants.")),
        },
        Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile => {
            Err(Error::unsupported(format!("function {}() in a materialized view", call.name())))
        }
        _ => Ok(()),
    }
}
