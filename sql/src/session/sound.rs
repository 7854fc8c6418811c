//! The last rule of the analyzer, for every statement: refuses by name the subqueries and groups that DataFusion's rewriting is known
//! to get wrong. What passes are shapes that were compared with Postgres', not all that could be right.
//!
//! A correlated subquery becomes a join on the conditions that name outer columns. That keeps its meaning if nothing between those
//! conditions and the subquery's top depends on which rows there are: no limit, no window, no set operation, no side of an outer
//! join that is filled with NULLs. A scalar subquery has one aggregate of all rows at its top, with equalities below it; the joins
//! count on what it gives for no rows at all.

use super::corrected::may_be_null;
use super::subquery::of_all_rows;
use crate::error::{Error, Result};
use crate::planner::fault;
use crate::scalar::part::Part;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, JoinType, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Operator, Subquery};
use datafusion::optimizer::AnalyzerRule;

#[derive(Debug)]
pub struct Sound;

impl AnalyzerRule for Sound {
    fn name(&self) -> &str {
        "sound_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        plan.apply_with_subqueries(|plan| {
            node(plan).map_err(external)?;
            plan.apply_expressions(|root| {
                root.apply(|expr| {
                    expression(expr).map_err(external)?;
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(plan)
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn node(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Filter(filter) => truth(&filter.predicate, filter.input.schema(), Place::Where),
        _ => {
            let mut result = Ok(());
            let schema = merge_schema(&plan.inputs());
            plan.apply_expressions(|expr| {
                result = truth(expr, &schema, Place::Else(Null::Kept));
                Ok(if result.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
            .map_err(fault::of)?;
            result
        }
    }
}

fn expression(expr: &Expr) -> Result<()> {
    match expr {
        Expr::SetComparison(_) => Err(Error::unsupported("ANY or ALL (subquery) other than = ANY and <> ALL")),
        Expr::ScalarSubquery(subquery) if correlated(subquery) => scalar(&subquery.subquery),
        Expr::Exists(Exists { subquery, .. }) | Expr::InSubquery(InSubquery { subquery, .. }) => {
            if correlated(subquery) { member(&subquery.subquery) } else { whole(&subquery.subquery) }
        }
        _ => Ok(()),
    }
}

fn correlated(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
}

/// Whether a condition below names an outer column.
fn names_outer(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|plan| Ok(plan.contains_outer_reference())).map_err(fault::of)
}

/// EXISTS and IN of all there is: groups of no rows are lost on the way.
fn whole(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Projection(p) => whole(&p.input),
        LogicalPlan::SubqueryAlias(a) => whole(&a.input),
        LogicalPlan::Sort(s) => whole(&s.input),
        LogicalPlan::Filter(f) => whole(&f.input),
        LogicalPlan::Limit(l) => whole(&l.input),
        LogicalPlan::Aggregate(a) if of_all_rows(a) => {
            Err(Error::unsupported("EXISTS or IN (subquery) of an aggregate without GROUP BY")
                .hint("Compare with the subquery itself: x = (SELECT …)."))
        }
        _ => Ok(()),
    }
}

/// A correlated EXISTS or IN: the conditions on outer columns can be taken out of it.
fn member(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Aggregate(a) if names_outer(&a.input)? && !a.aggr_expr.is_empty() => {
            Err(refused("an aggregate inside EXISTS or IN"))
        }
        LogicalPlan::Aggregate(a) if names_outer(&a.input)? => match of_all_rows(a) {
            true => Err(refused("GROUP BY of nothing inside EXISTS or IN")),
            false => member(&a.input),
        },
        LogicalPlan::Distinct(Distinct::All(input)) => member(input),
        other => conditions(other, member),
    }
}

/// A correlated scalar subquery from its top: one row for every outer one.
fn scalar(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Projection(p) if has_aggregate(&p.input) => match p.expr.iter().all(of_nothing) {
            true => scalar(&p.input),
            false => Err(refused("such an expression around an aggregate")),
        },
        LogicalPlan::SubqueryAlias(a) => scalar(&a.input),
        LogicalPlan::Sort(s) => scalar(&s.input),
        LogicalPlan::Aggregate(a) if a.group_expr.is_empty() => equal(&a.input),
        LogicalPlan::Aggregate(a) => {
            let compared = compared(&a.input)?;
            let once = a.group_expr.iter().all(|group| compared.contains(group));
            if once { equal(&a.input) } else { Err(refused("GROUP BY other than by what equals outer columns")) }
        }
        // Conditions on the aggregate itself.
        LogicalPlan::Filter(f) if has_aggregate(&f.input) => Err(refused("HAVING")),
        other => conditions(other, scalar),
    }
}

fn has_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Projection(p) => has_aggregate(&p.input),
        LogicalPlan::SubqueryAlias(a) => has_aggregate(&a.input),
        LogicalPlan::Filter(f) => has_aggregate(&f.input),
        _ => false,
    }
}

/// Whether the join computes `expr` rightly where there is no row: sums, casts and the like of aggregates are.
fn of_nothing(expr: &Expr) -> bool {
    !expr
        .exists(|expr| {
            let known = match expr {
                Expr::Column(_)
                | Expr::Literal(..)
                | Expr::Alias(_)
                | Expr::Cast(_)
                | Expr::OuterReferenceColumn(..) => true,
                Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Part>().is_none_or(Part::is_plain),
                Expr::BinaryExpr(BinaryExpr { op, .. }) => matches!(
                    op,
                    Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
                ),
                _ => false,
            };
            Ok(!known)
        })
        .is_ok_and(|unknown| unknown)
}

/// Below an aggregate: what outer columns are compared with must be equal to them.
fn equal(plan: &LogicalPlan) -> Result<()> {
    if let LogicalPlan::Filter(filter) = plan {
        for condition in split_conjunction(&filter.predicate) {
            if condition.contains_outer() && equality(condition).is_none() {
                return Err(refused("a comparison with outer columns other than = below an aggregate"));
            }
        }
    }
    match plan {
        LogicalPlan::Aggregate(a) if names_outer(&a.input)? => Err(refused("two aggregates, one of the other")),
        LogicalPlan::Distinct(_) if names_outer(plan)? => Err(refused("DISTINCT below an aggregate")),
        other => conditions(other, equal),
    }
}

/// The inner side of `inner = outer`.
fn equality(condition: &Expr) -> Option<&Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    match (left.contains_outer(), right.contains_outer()) {
        (true, false) if left.column_refs().is_empty() => Some(right),
        (false, true) if right.column_refs().is_empty() => Some(left),
        _ => None,
    }
}

/// What equals an outer value in every row of `plan`.
fn compared(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found = vec![];
    plan.apply(|plan| {
        if let LogicalPlan::Filter(filter) = plan {
            found.extend(split_conjunction(&filter.predicate).into_iter().filter_map(equality).cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(fault::of)?;
    Ok(found)
}

/// The nodes through which a condition can be lifted, each input that holds one checked by `below`.
fn conditions(plan: &LogicalPlan, below: fn(&LogicalPlan) -> Result<()>) -> Result<()> {
    if !names_outer(plan)? {
        return Ok(());
    }
    match plan {
        LogicalPlan::Projection(p) if p.expr.iter().any(Expr::contains_outer) => {
            Err(refused("outer columns in its select list"))
        }
        LogicalPlan::Projection(p) => below(&p.input),
        LogicalPlan::SubqueryAlias(a) => below(&a.input),
        LogicalPlan::Filter(f) => below(&f.input),
        LogicalPlan::Sort(s) if s.fetch.is_none() && !s.expr.iter().any(|sort| sort.expr.contains_outer()) => {
            below(&s.input)
        }
        LogicalPlan::Join(join) => {
            let kept = match join.join_type {
                JoinType::Inner => [true, true],
                JoinType::Left => [true, false],
                JoinType::Right => [false, true],
                _ => [false, false],
            };
            for (side, kept) in [&join.left, &join.right].into_iter().zip(kept) {
                match names_outer(side)? {
                    true if !kept => return Err(refused("outer columns in the nullable side of an outer join")),
                    true => below(side)?,
                    false => {}
                }
            }
            match plan.contains_outer_reference() && join.join_type != JoinType::Inner {
                true => Err(refused("outer columns in the condition of an outer join")),
                false => Ok(()),
            }
        }
        LogicalPlan::Limit(_) => Err(refused("LIMIT or OFFSET")),
        LogicalPlan::Union(_) => Err(refused("a set operation")),
        LogicalPlan::Window(_) => Err(refused("a window function (OVER)")),
        LogicalPlan::Unnest(_) => Err(refused("unnest")),
        _ => Err(refused("this construct")),
    }
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("a correlated subquery with {what}")).hint("Write it as a join.")
}

/// Where an expression stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// An operand of ANDs in WHERE: a join of its own decides it, NULL for what it is.
    Where,
    Else(Null),
}

/// What NULL as the result of an IN may be read as without changing the whole.
#[derive(Clone, Copy, PartialEq)]
enum Null {
    False,
    True,
    /// It must stay NULL.
    Kept,
}

impl Place {
    fn inner(self) -> Null {
        match self {
            Place::Where => Null::False,
            Place::Else(null) => null,
        }
    }

    fn negated(self) -> Self {
        Place::Else(match self.inner() {
            Null::False => Null::True,
            Null::True => Null::False,
            Null::Kept => Null::Kept,
        })
    }
}

/// A join decides IN by whether there is a match: NULL becomes false. Where that would change the result, NULL must not occur.
fn truth(expr: &Expr, schema: &DFSchema, place: Place) -> Result<()> {
    match expr {
        Expr::BinaryExpr(b) if b.op == Operator::And => {
            truth(&b.left, schema, place)?;
            truth(&b.right, schema, place)
        }
        Expr::BinaryExpr(b) if b.op == Operator::Or => {
            truth(&b.left, schema, Place::Else(place.inner()))?;
            truth(&b.right, schema, Place::Else(place.inner()))
        }
        Expr::Alias(alias) => truth(&alias.expr, schema, place),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::InSubquery(find) => membership(find, !find.negated, schema, place),
            _ => truth(inner, schema, place.negated()),
        },
        Expr::IsTrue(inner) | Expr::IsNotTrue(inner) => truth(inner, schema, Place::Else(Null::False)),
        Expr::IsFalse(inner) | Expr::IsNotFalse(inner) => truth(inner, schema, Place::Else(Null::True)),
        Expr::InSubquery(find) => membership(find, find.negated, schema, place),
        _ => {
            let mut result = Ok(());
            expr.apply_children(|child| {
                result = truth(child, schema, Place::Else(Null::Kept));
                Ok(if result.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
            .map_err(fault::of)?;
            result
        }
    }
}

fn membership(find: &InSubquery, negated: bool, schema: &DFSchema, place: Place) -> Result<()> {
    // NOT IN of its own in WHERE is a join that knows of NULLs, if it is one condition alone.
    let aware = place == Place::Where && negated && !correlated(&find.subquery);
    let null = if negated { place.negated().inner() } else { place.inner() };
    if aware || null == Null::False || !may_be_null(find, schema).map_err(fault::of)? {
        return truth(&find.expr, schema, Place::Else(Null::Kept));
    }
    Err(match negated {
        true => Error::unsupported("NOT IN with a nullable column").hint("Use NOT EXISTS."),
        false => Error::unsupported("IN (subquery) with a nullable column, other than as a condition of WHERE")
            .hint("Use EXISTS."),
    })
}
