//! SELECT evaluates AND and OR row by row, as views do: `a <> 0 AND b / a > 1` does not fail where a is 0. And it
//! groups floats by their keys, as views do. What it makes of a batch is [`bounded`].
//!
//! DataFusion evaluates both sides on whole batches, but CASE only where it has to. So in a plan that no rule will
//! change any more, connectives whose later operands can fail become CASE. The rules before keep the order of such
//! operands.

use super::{bounded, group_key, rowless};
use crate::scalar::Scalar;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use std::sync::Arc;

/// DataFusion's own planner, over guarded plans.
#[derive(Debug)]
pub struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = rowless::may_be_null(plan.clone())?.transform_up_with_subqueries(node)?.data;
        DefaultPhysicalPlanner::default().create_physical_plan(&plan, session).await
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    match plan {
        LogicalPlan::Filter(mut filter) => {
            filter.predicate = bounded::calls(condition(filter.predicate, &schema)?, &schema)?.data;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Join(mut join) => {
            let filter: Option<Result<Expr>> =
                join.filter.take().map(|filter| Ok(bounded::calls(condition(filter, &schema)?, &schema)?.data));
            join.filter = filter.transpose()?;
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        // What a table does with its filters is done again above it.
        LogicalPlan::TableScan(_) => Ok(Transformed::no(plan)),
        plan => {
            let names = NamePreserver::new(&plan);
            let guard = |expr: Expr| -> Result<Transformed<Expr>> {
                let name = names.save(&expr);
                let guarded = value(expr, &schema)?.transform_data(|expr| expr.transform_up(decided))?;
                let guarded = guarded.transform_data(|expr| bounded::calls(expr, &schema))?;
                let guarded = guarded.transform_data(bounded::constants)?;
                Ok(guarded.update_data(|expr| name.restore(expr)))
            };
            let guarded = plan.map_expressions(|expr| match expr {
                Expr::GroupingSet(_) => expr.map_children(guard),
                expr => guard(expr),
            })?;
            let plan = if guarded.transformed { guarded.data.recompute_schema()? } else { guarded.data };
            Ok(Transformed::yes(group_key::by_keys(plan, group_key::in_select)?))
        }
    }
}

/// Where NULL is as good as false: `CASE WHEN a IS NOT TRUE THEN false ELSE b END` for `a AND b`, and likewise OR.
fn condition(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Some((op, operands)) = connected(&expr) else { return Ok(value(expr, schema)?.data) };
    let mut operands = operands.into_iter().map(|operand| condition(operand, schema)).collect::<Result<_>>()?;
    operands = steps(op, operands, schema);
    let decided = lit(op == Operator::Or);
    let Some(last) = operands.pop() else { return Ok(decided) };
    if operands.is_empty() {
        return Ok(last);
    }
    let decides = |step: Expr| if op == Operator::Or { step } else { step.is_not_true() };
    Ok(case(operands.into_iter().map(|step| (decides(step), decided.clone())).collect(), last))
}

/// With NULL as it is: `CASE WHEN NOT a THEN false ELSE a AND b END`.
fn value(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_down(|expr| {
        let Some((op, operands)) = connected(&expr) else { return Ok(Transformed::no(expr)) };
        let operands = operands.into_iter().map(|operand| Ok(value(operand, schema)?.data)).collect::<Result<_>>()?;
        let steps = steps(op, operands, schema);
        let whole = join(op, steps.clone());
        // What changes with every evaluation cannot be evaluated twice.
        if steps.len() == 1 || whole.is_volatile() {
            return Ok(Transformed::new(whole, false, TreeNodeRecursion::Jump));
        }
        let decides = |step: &Expr| if op == Operator::Or { step.clone() } else { !step.clone() };
        let pairs = steps[..steps.len() - 1].iter().map(|step| (decides(step), lit(op == Operator::Or))).collect();
        Ok(Transformed::new(case(pairs, whole), true, TreeNodeRecursion::Jump))
    })
}

/// `IS TRUE` and its kin as what is never NULL to DataFusion's physical plans either: those it makes of them may be, other than its
/// logical ones, and what is above compares the two.
fn decided(expr: Expr) -> Result<Transformed<Expr>> {
    let either = |condition, then: bool| case(vec![(condition, lit(then))], lit(!then));
    Ok(Transformed::yes(match expr {
        Expr::IsTrue(operand) => either(*operand, true),
        Expr::IsNotTrue(operand) => either(*operand, false),
        Expr::IsFalse(operand) => either(!*operand, true),
        Expr::IsNotFalse(operand) => either(!*operand, false),
        Expr::IsUnknown(operand) => operand.is_null(),
        Expr::IsNotUnknown(operand) => operand.is_not_null(),
        other => return Ok(Transformed::no(other)),
    }))
}

/// The operands of a chain of ANDs or ORs, from left to right.
fn connected(expr: &Expr) -> Option<(Operator, Vec<Expr>)> {
    let Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) = expr else { return None };
    let (mut operands, mut rest) = (vec![], vec![expr]);
    while let Some(next) = rest.pop() {
        match next {
            Expr::BinaryExpr(BinaryExpr { left, op: same, right }) if same == op => {
                rest.extend([right.as_ref(), left.as_ref()])
            }
            operand => operands.push(operand.clone()),
        }
    }
    Some((*op, operands))
}

/// Operands in groups that are evaluated one after the other: each that can fail begins one.
fn steps(op: Operator, operands: Vec<Expr>, schema: &DFSchema) -> Vec<Expr> {
    let mut steps: Vec<Vec<Expr>> = vec![];
    for operand in operands {
        match steps.last_mut() {
            Some(step) if !can_fail(&operand, schema) => step.push(operand),
            _ => steps.push(vec![operand]),
        }
    }
    steps.into_iter().map(|step| join(op, step)).collect()
}

/// What views cannot hold may fail too, for all we know.
fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    Scalar::from_logical(expr, schema).map_or(true, |scalar| scalar.is_fallible())
}

/// As a tree that is as flat as can be, the operands in their order.
fn join(op: Operator, mut operands: Vec<Expr>) -> Expr {
    if operands.len() < 2 {
        return operands.pop().unwrap_or_else(|| lit(op == Operator::And));
    }
    let right = operands.split_off(operands.len() / 2);
    Expr::BinaryExpr(BinaryExpr::new(Box::new(join(op, operands)), op, Box::new(join(op, right))))
}

fn case(pairs: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let pairs = pairs.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case { expr: None, when_then_expr: pairs, else_expr: Some(Box::new(otherwise)) })
}
