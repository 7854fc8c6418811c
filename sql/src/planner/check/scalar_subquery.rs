//! The joins that scalar subqueries have become: each outer row must find at most one row.
//!
//! DataFusion groups a correlated aggregate by the correlated columns and joins on the correlated conditions. That finds one
//! group at most if every group column is compared for equality, itself or through a cast that keeps values apart; through
//! `timestamp::date` several groups would be found.

use crate::error::{Error, Result};
use crate::planner::context::Table;
use crate::planner::fault;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Dependency, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator, SubqueryAlias};

/// How DataFusion names the subquery in such a join.
const ALIAS: &str = "__scalar_sq";

/// Checks a plan in which all subqueries should have become joins.
pub fn decorrelated(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|plan| {
        let left = leftover(plan)?;
        if let Some(construct) = left {
            return Err(DataFusionError::External(Box::new(Error::unsupported(construct))));
        }
        if let LogicalPlan::Join(join) = plan
            && join.join_type == JoinType::Left
            && let LogicalPlan::SubqueryAlias(alias) = join.right.as_ref()
            && alias.alias.table().starts_with(ALIAS)
            && !finds_one(join, alias)?
        {
            let error = Error::unsupported("a correlated scalar subquery that may return several rows");
            return Err(DataFusionError::External(Box::new(error)));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(fault::of)?;
    Ok(())
}

fn leftover(plan: &LogicalPlan) -> Result<Option<&'static str>, DataFusionError> {
    let mut found = None;
    plan.apply_expressions(|root| {
        root.apply(|expr| {
            found = found.or(match expr {
                Expr::Exists(_) => Some("this EXISTS"),
                Expr::InSubquery(_) => Some("this IN (subquery)"),
                Expr::ScalarSubquery(_) => Some("this scalar subquery"),
                Expr::OuterReferenceColumn(..) => Some("this correlated subquery"),
                _ => None,
            });
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn finds_one(join: &Join, alias: &SubqueryAlias) -> Result<bool, DataFusionError> {
    if matches!(join.right.max_rows(), Some(0 | 1)) || has_one_row(&alias.input) {
        return Ok(true);
    }
    let compared = compared_columns(join, &alias.alias)?;
    if let Some(aggregate) = aggregate(&alias.input) {
        return Ok(aggregate.group_expr.iter().all(|group| match unaliased(group) {
            Expr::Literal(..) => true,
            Expr::Column(column) => compared.contains(&column.name),
            _ => false,
        }));
    }
    let schema = join.right.schema();
    let unique = schema.functional_dependencies().iter().any(|dependence| {
        dependence.mode == Dependency::Single
            && dependence.target_indices.len() == schema.fields().len()
            && dependence.source_indices.iter().all(|&i| compared.contains(schema.field(i).name()))
    });
    Ok(unique)
}

/// Whether it reads nothing but a relation of one row.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = scan.source.downcast_ref::<Table>();
            table.and_then(|table| table.relation.key.as_ref()).is_some_and(Vec::is_empty)
        }
        LogicalPlan::Projection(p) => has_one_row(&p.input),
        LogicalPlan::Filter(f) => has_one_row(&f.input),
        LogicalPlan::SubqueryAlias(a) => has_one_row(&a.input),
        _ => false,
    }
}

fn aggregate(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate),
        LogicalPlan::Projection(p) => aggregate(&p.input),
        LogicalPlan::Filter(f) => aggregate(&f.input),
        LogicalPlan::SubqueryAlias(a) => aggregate(&a.input),
        _ => None,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Columns of the subquery that must equal something of the outer row.
fn compared_columns(join: &Join, alias: &TableReference) -> Result<Vec<String>, DataFusionError> {
    let mut pairs: Vec<(&Expr, &Expr)> = join.on.iter().map(|(l, r)| (l, r)).collect();
    for condition in join.filter.iter().flat_map(split_conjunction) {
        if let Expr::BinaryExpr(b) = condition
            && b.op == Operator::Eq
        {
            pairs.push((&b.left, &b.right));
        }
    }
    let inner = |expr: &Expr| expr.column_refs().iter().any(|c| c.relation.as_ref() == Some(alias));
    let mut columns = vec![];
    for (a, b) in pairs {
        for (this, other) in [(a, b), (b, a)] {
            if inner(this) && !inner(other) {
                columns.extend(kept_apart(this, join)?);
            }
        }
    }
    Ok(columns)
}

/// The column whose distinct values are distinct values of `expr`.
fn kept_apart(expr: &Expr, join: &Join) -> Result<Option<String>, DataFusionError> {
    Ok(match expr {
        Expr::Column(column) => Some(column.name.clone()),
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(join.right.schema())?;
            if injective(&from, cast.field.data_type()) { kept_apart(&cast.expr, join)? } else { None }
        }
        _ => None,
    })
}

fn injective(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        _ if from == to => true,
        (Int16, Int32 | Int64 | Float32 | Float64) | (Int32, Int64 | Float64) | (Float32, Float64) => true,
        (Date32, Timestamp(..)) => true,
        (Int16, Decimal128(p, s)) => *p as i16 - *s as i16 >= 5,
        (Int32, Decimal128(p, s)) => *p as i16 - *s as i16 >= 10,
        (Int64, Decimal128(p, s)) => *p as i16 - *s as i16 >= 19,
        (Decimal128(p, s), Decimal128(q, t)) => t >= s && *q as i16 - *t as i16 >= *p as i16 - *s as i16,
        _ => text(from) && text(to),
    }
}
