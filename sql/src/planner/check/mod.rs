//! What is refused by name before anything is rewritten.
//!
//! DataFusion plans more than can be maintained (limits, windows), and some of its rewrites differ from SQL in corners: set
//! operations with ALL, NOT IN with NULLs inside other expressions, correlated subqueries whose aggregate has no GROUP BY,
//! scalar subqueries that find several rows. All of these are caught here; after [`decorrelated`] a plan means what it says.

use super::fault;
use crate::error::{Error, Result};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Exists, GroupingSet, InSubquery};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Operator, Volatility};
use datafusion::sql::sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier, Visit, Visitor};
use std::ops::ControlFlow;

mod single;

pub use single::decorrelated;

/// Constructs that DataFusion's plan no longer tells apart.
pub fn syntax(query: &ast::Query) -> Result<()> {
    struct Constructs;
    impl Visitor for Constructs {
        type Break = Error;

        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
            if !query.locks.is_empty() {
                return ControlFlow::Break(Error::unsupported("FOR UPDATE or FOR SHARE"));
            }
            set_operation(&query.body)
        }

        fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Error> {
            match factor {
                ast::TableFactor::Table { sample: Some(_), .. } => {
                    ControlFlow::Break(Error::unsupported("TABLESAMPLE"))
                }
                ast::TableFactor::Table { version: Some(_), .. } => {
                    ControlFlow::Break(Error::unsupported("FOR SYSTEM_TIME AS OF in a materialized view"))
                }
                ast::TableFactor::Derived { lateral: true, .. } => ControlFlow::Break(Error::unsupported("LATERAL")),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match query.visit(&mut Constructs) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// DataFusion's EXCEPT ALL and INTERSECT ALL do not count rows.
fn set_operation(body: &SetExpr) -> ControlFlow<Error> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else {
        return ControlFlow::Continue(());
    };
    if let (SetOperator::Except | SetOperator::Intersect | SetOperator::Minus, SetQuantifier::All) =
        (op, set_quantifier)
    {
        return ControlFlow::Break(Error::unsupported(format!("{op} ALL")));
    }
    set_operation(left)?;
    set_operation(right)
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
        LogicalPlan::Filter(filter) => return truth(&filter.predicate, filter.input.schema(), Null::False),
        LogicalPlan::Projection(p) => {
            return p.expr.iter().try_for_each(|expr| truth(expr, p.input.schema(), Null::Kept));
        }
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
        Expr::ScalarSubquery(subquery) => aggregates(&subquery.subquery, top_aggregate(&subquery.subquery)),
        Expr::Exists(Exists { subquery, .. }) | Expr::InSubquery(InSubquery { subquery, .. })
            if !subquery.outer_ref_columns.is_empty() =>
        {
            aggregates(&subquery.subquery, None)
        }
        Expr::SetComparison(_) => Err(Error::unsupported("ANY or ALL (subquery) other than = ANY and <> ALL")),
        Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile => {
            Err(Error::unsupported(format!("function {}() in a materialized view", call.name())))
        }
        _ => Ok(()),
    }
}

/// The aggregate whose result is a scalar subquery's value.
fn top_aggregate(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::Aggregate(_) => Some(plan),
        LogicalPlan::Projection(p) => top_aggregate(&p.input),
        LogicalPlan::SubqueryAlias(a) => top_aggregate(&a.input),
        LogicalPlan::Filter(f) => top_aggregate(&f.input),
        LogicalPlan::Sort(s) => top_aggregate(&s.input),
        _ => None,
    }
}

/// Without GROUP BY an aggregate makes a row of nothing. Decorrelation turns it into one that groups, which does not: only at
/// the top of a scalar subquery is that made good.
fn aggregates(subquery: &LogicalPlan, made_good: Option<&LogicalPlan>) -> Result<()> {
    subquery
        .apply(|plan| {
            if let LogicalPlan::Aggregate(aggregate) = plan
                && aggregate.group_expr.is_empty()
                && has_outer_reference(&aggregate.input)?
                && !made_good.is_some_and(|good| std::ptr::eq(good, plan))
            {
                let construct =
                    "a correlated subquery with an aggregate and no GROUP BY inside EXISTS, IN or another aggregate";
                return Err(external(Error::unsupported(construct)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(fault::of)?;
    Ok(())
}

fn has_outer_reference(plan: &LogicalPlan) -> DataFusionResult<bool> {
    plan.exists(|plan| Ok(plan.contains_outer_reference()))
}

/// What NULL as the result of an IN may be read as without changing the whole.
#[derive(Clone, Copy, PartialEq)]
enum Null {
    False,
    True,
    /// It must stay NULL.
    Kept,
}

/// A join decides IN by whether there is a match: NULL becomes false. Where that would change the result, NULL must not occur.
fn truth(expr: &Expr, schema: &DFSchema, null: Null) -> Result<()> {
    let negated = |null| match null {
        Null::False => Null::True,
        Null::True => Null::False,
        Null::Kept => Null::Kept,
    };
    match expr {
        Expr::BinaryExpr(b) if matches!(b.op, Operator::And | Operator::Or) => {
            truth(&b.left, schema, null)?;
            truth(&b.right, schema, null)
        }
        Expr::Alias(alias) => truth(&alias.expr, schema, null),
        Expr::Not(inner) => truth(inner, schema, negated(null)),
        Expr::IsTrue(inner) | Expr::IsNotTrue(inner) => truth(inner, schema, Null::False),
        Expr::IsFalse(inner) | Expr::IsNotFalse(inner) => truth(inner, schema, Null::True),
        Expr::InSubquery(find) => {
            let null = if find.negated { negated(null) } else { null };
            if null == Null::False || !may_be_null(find, schema)? {
                return truth(&find.expr, schema, Null::Kept);
            }
            Err(match find.negated {
                true => Error::unsupported("NOT IN with a nullable column").hint("Use NOT EXISTS."),
                false => Error::unsupported("IN (subquery) with a nullable column, other than as a condition of WHERE")
                    .hint("Use EXISTS."),
            })
        }
        _ => {
            let mut result = Ok(());
            expr.apply_children(|child| {
                result = truth(child, schema, Null::Kept);
                Ok(if result.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
            .map_err(fault::of)?;
            result
        }
    }
}

fn may_be_null(find: &InSubquery, schema: &DFSchema) -> Result<bool> {
    use datafusion::logical_expr::ExprSchemable;
    let output = find.subquery.subquery.schema().field(0).is_nullable();
    Ok(output || find.expr.nullable(schema).map_err(fault::of)?)
}
