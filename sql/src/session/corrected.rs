//! Rules of our own among DataFusion's, in SELECT and in views: each puts a plan so that the rule after it, which would lose rows or
//! make some up, does not.

use super::subquery::{of_all_rows, one_row};
use crate::numeric::Numeric;
use crate::scalar::part::Part;
use crate::types::{NUMERIC_WIDTH, is_numeric};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, JoinType, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, Limit, LogicalPlan, Operator, Projection, Subquery, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

pub type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules with ours where they belong.
pub fn corrected(rules: Vec<Rule>) -> Vec<Rule> {
    let mut all: Vec<Rule> = vec![];
    for rule in rules {
        match rule.name() {
            "decorrelate_predicate_subquery" => all.extend([Arc::new(NotIn) as Rule, rule]),
            "extract_equijoin_predicate" => all.extend([Arc::new(Keys) as Rule, rule]),
            "eliminate_cross_join" => all.extend([Arc::new(Spread) as Rule, rule]),
            "push_down_filter" => all.extend([Arc::new(Shield) as Rule, rule, Arc::new(Unshield) as Rule]),
            _ => all.push(rule),
        }
    }
    all
}

/// NOT IN as a condition of WHERE becomes a join that knows of NULLs only if a column of either side may be NULL, and only by a key
/// of columns. Where the value has no columns, or can be NULL though its columns cannot, it is put otherwise.
#[derive(Debug)]
struct NotIn;

impl OptimizerRule for NotIn {
    fn name(&self) -> &str {
        "not_in_of_values"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(mut filter) = plan else { return Ok(Transformed::no(plan)) };
        let (mut conditions, mut changed) = (vec![], false);
        for condition in split_conjunction(&filter.predicate) {
            let aware = aware(condition, filter.input.schema())?;
            changed |= aware.is_some();
            conditions.push(aware.unwrap_or_else(|| condition.clone()));
        }
        match conjunction(conditions) {
            Some(predicate) if changed => {
                filter.predicate = predicate;
                Ok(Transformed::yes(LogicalPlan::Filter(filter)))
            }
            _ => Ok(Transformed::no(LogicalPlan::Filter(filter))),
        }
    }
}

/// A NOT IN which the join would answer wrongly, so that it does not.
fn aware(condition: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let find = match condition {
        Expr::InSubquery(find) if find.negated => find,
        Expr::Not(inner) => match inner.as_ref() {
            Expr::InSubquery(find) if !find.negated => find,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let subquery = &find.subquery;
    if !may_be_null(find, schema)? || condition.exists(|expr| Ok(names_outer(expr)))? {
        return Ok(None);
    }
    let found = subquery.subquery.schema();
    let value = Expr::Column(Column::from(found.qualified_field(0)));
    let names = find.expr.column_refs();
    let (expr, value) = if names.is_empty() {
        // Whether there is one that may be it: what is never NULL decides.
        (lit(true), find.expr.as_ref().clone().eq(value).is_not_false())
    } else if found.field(0).is_nullable() || names.iter().any(|name| schema.nullable(name).is_ok_and(|null| null)) {
        return Ok(None);
    } else {
        // A column that may be NULL as far as the rule knows.
        let case = Case { expr: None, when_then_expr: vec![(Box::new(lit(true)), Box::new(value))], else_expr: None };
        (find.expr.as_ref().clone(), Expr::Case(case))
    };
    let plan = Projection::try_new(vec![value.alias("found")], subquery.subquery.clone())?;
    let subquery = Subquery { subquery: Arc::new(LogicalPlan::Projection(plan)), ..subquery.clone() };
    Ok(Some(Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, true))))
}

/// Whether `expr` itself depends on a row outside of it.
fn names_outer(expr: &Expr) -> bool {
    match expr {
        Expr::OuterReferenceColumn(..) => true,
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. }) => !subquery.outer_ref_columns.is_empty(),
        _ => false,
    }
}

/// Whether an IN can be NULL. A subquery as a value is NULL where it has no row, whatever its column is declared to be.
pub fn may_be_null(find: &InSubquery, schema: &DFSchema) -> Result<bool> {
    let rowless = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(value) if !one_row(&value.subquery));
    let output = find.subquery.subquery.schema().field(0).is_nullable();
    Ok(output || find.expr.nullable(schema)? || find.expr.exists(|expr| Ok(rowless(expr)))?)
}

/// What a join compares, before its keys are taken from its condition.
///
/// A key of IS NOT DISTINCT FROM would become one by which NULLs are equal, and with it all others that the join has or is given later,
/// or none of them: the rules know one kind for all keys. So it becomes `=` of what is never NULL.
///
/// A correlated NOT IN is let through only where nothing is NULL. It must not be a join that knows of NULLs: that would take what the
/// correlation compares for its key.
#[derive(Debug)]
struct Keys;

impl OptimizerRule for Keys {
    fn name(&self) -> &str {
        "keys_without_null"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        let (mut conditions, mut changed) = (vec![], false);
        let written = if join.on.is_empty() { join.filter.as_ref().map(split_conjunction) } else { None };
        for condition in written.into_iter().flatten() {
            match equalities(condition, &join)? {
                Some(equal) => {
                    conditions.extend(equal);
                    changed = true;
                }
                None => conditions.push(condition.clone()),
            }
        }
        if changed {
            join.filter = conjunction(conditions);
        } else if join.null_aware && conditions.len() > 1 {
            join.null_aware = false;
            changed = true;
        }
        Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
    }
}

/// `=` for an IS NOT DISTINCT FROM that could be a key.
fn equalities(condition: &Expr, join: &Join) -> Result<Option<Vec<Expr>>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right }) = condition else {
        return Ok(None);
    };
    let (l, r) = (join.left.schema(), join.right.schema());
    let Some((left, right)) = find_valid_equijoin_key_pair(left, right, l, r)? else { return Ok(None) };
    if !left.nullable(l)? || !right.nullable(r)? {
        return Ok(Some(vec![left.eq(right)]));
    }
    let sides = match left.get_type(l)? == right.get_type(r)? {
        true => never_null(&left, l)?.zip(never_null(&right, r)?),
        false => None,
    };
    Ok(Some(match sides {
        Some(([null, value], [other_null, other])) => vec![null.eq(other_null), value.eq(other)],
        // No key, but a condition.
        None => vec![condition.clone().is_true()],
    }))
}

/// Whether `expr` is NULL, and its value or else any other one: together they tell values apart as IS NOT DISTINCT FROM does. As calls
/// that no rule looks into: where one side turns out to be never NULL, a key would become a constant, and be dropped.
fn never_null(expr: &Expr, schema: &DFSchema) -> Result<Option<[Expr; 2]>> {
    let kind = expr.get_type(schema)?;
    let any = match is_numeric(&kind) {
        true => ScalarValue::FixedSizeBinary(NUMERIC_WIDTH, Some(Numeric::ZERO.encode().to_vec())),
        false => ScalarValue::new_default(&kind)?,
    };
    let null = expr.clone().is_null();
    let value = Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(null.clone()), Box::new(Expr::Literal(any, None)))],
        else_expr: Some(Box::new(expr.clone())),
    });
    Ok(Part::of(&null, schema)?.zip(Part::of(&value, schema)?).map(<[Expr; 2]>::from))
}

/// Inner joins of several relations are put in another order, one relation after the other. A key of which one side names several
/// relations is lost where the last of them comes after the other side's: it is a condition, too.
#[derive(Debug)]
struct Spread;

impl OptimizerRule for Spread {
    fn name(&self) -> &str {
        "keys_of_several_relations"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        if join.join_type != JoinType::Inner {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let spread: Vec<Expr> = join
            .on
            .iter()
            .filter(|(l, r)| is_spread(l, &join.left) || is_spread(r, &join.right))
            .map(|(l, r)| l.clone().eq(r.clone()))
            .collect();
        if spread.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        join.filter = conjunction(join.filter.take().into_iter().chain(spread));
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    }
}

/// Whether no relation among those that `side` joins has all columns of `key`.
fn is_spread(key: &Expr, side: &LogicalPlan) -> bool {
    let names = key.column_refs();
    let mut open = if names.len() > 1 { vec![side] } else { vec![] };
    let mut spread = !open.is_empty();
    while let Some(plan) = open.pop() {
        match plan {
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                open.extend([join.left.as_ref(), join.right.as_ref()]);
            }
            relation => spread &= !names.iter().all(|name| relation.schema().has_column(name)),
        }
    }
    spread
}

/// A condition without columns would be pushed below an aggregate of all rows, which has a row of none. Nothing is pushed below what
/// neither skips nor takes a number of rows.
#[derive(Debug)]
struct Shield;

impl OptimizerRule for Shield {
    fn name(&self) -> &str {
        "shield_aggregates"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !matches!(&plan, LogicalPlan::Aggregate(aggregate) if of_all_rows(aggregate)) {
            return Ok(Transformed::no(plan));
        }
        Ok(Transformed::yes(LogicalPlan::Limit(Limit { skip: None, fetch: None, input: Arc::new(plan) })))
    }
}

/// Takes away what [`Shield`] put there.
#[derive(Debug)]
struct Unshield;

impl OptimizerRule for Unshield {
    fn name(&self) -> &str {
        "unshield_aggregates"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Limit(Limit { skip: None, fetch: None, input }) => {
                Ok(Transformed::yes(Arc::unwrap_or_clone(input)))
            }
            plan => Ok(Transformed::no(plan)),
        }
    }
}
