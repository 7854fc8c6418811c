//! The analyzer's and the optimizer's rules over a plan, however deep its subqueries are nested.
//!
//! Before and after its rules DataFusion checks whether a plan can be run, and looks through each subquery once more for every query
//! around it: at 16 levels that takes longer than all rules together, at 30 it does not end. What is nested deeper than [`FEW`] levels goes
//! through the same rules here, and through the same check, query by query.

use crate::stop;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeRewriter};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{EmptyRelation, InvariantLevel, LogicalPlan, Subquery};
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Levels at which DataFusion's check takes no time yet; not optimised it makes it after every rule.
const FEW: usize = 4;

/// The session's analyzer over `plan`.
pub fn analyze(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let (analyzer, options) = (state.analyzer(), state.config_options());
    if depth(&plan) <= FEW {
        return analyzer.execute_and_check(plan, options, |_, _| {});
    }
    plan.check_invariants(InvariantLevel::Always)?;
    let mut plan = plan;
    for rule in &analyzer.rules {
        plan = rule.analyze(plan, options).map_err(|error| error.context(rule.name()))?;
    }
    check(&plan)?;
    Ok(plan)
}

/// `optimizer` over an analyzed plan: its rules again and again, until none changes anything or it has been often enough. As soon as
/// few subqueries are left, DataFusion continues.
pub fn optimize(optimizer: &Optimizer, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<LogicalPlan> {
    let (mut plan, mut seen) = (plan, HashSet::new());
    for _ in 0..config.options().optimizer.max_passes {
        for rule in &optimizer.rules {
            stop::check()?;
            if depth(&plan) <= FEW {
                return optimizer.optimize(plan, config, |_, _| {});
            }
            let rule = rule.as_ref();
            let changed = match rule.apply_order() {
                Some(order) => plan.rewrite_with_subqueries(&mut Everywhere { rule, order, config }),
                None => rule.rewrite(plan, config),
            };
            plan = changed.map_err(|error| error.context(rule.name()))?.data;
        }
        if !seen.insert(fingerprint(&plan)) {
            break;
        }
    }
    check(&plan)?;
    Ok(plan)
}

/// A rule that does not look for its nodes itself, at every one of a plan.
struct Everywhere<'a> {
    rule: &'a dyn OptimizerRule,
    order: ApplyOrder,
    config: &'a dyn OptimizerConfig,
}

impl TreeNodeRewriter for Everywhere<'_> {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match self.order {
            ApplyOrder::TopDown => self.rule.rewrite(node, self.config),
            ApplyOrder::BottomUp => Ok(Transformed::no(node)),
        }
    }

    fn f_up(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match self.order {
            ApplyOrder::TopDown => Ok(Transformed::no(node)),
            ApplyOrder::BottomUp => self.rule.rewrite(node, self.config),
        }
    }
}

/// How many subqueries of expressions are within each other.
fn depth(plan: &LogicalPlan) -> usize {
    let mut most = 0;
    // Nothing breaks off.
    let _ = plan.apply(|node| {
        node.apply_subqueries(|subquery| {
            most = most.max(1 + depth(subquery));
            Ok(TreeNodeRecursion::Continue)
        })
    });
    most
}

fn fingerprint(plan: &LogicalPlan) -> u64 {
    let mut hasher = DefaultHasher::new();
    plan.hash(&mut hasher);
    hasher.finish()
}

/// Whether `plan` can be run: each query with those directly in it, of which what is deeper is not looked at.
fn check(plan: &LogicalPlan) -> Result<()> {
    let shallow = plan.clone().transform_up(|node| node.map_subqueries(hollow))?.data;
    shallow.check_invariants(InvariantLevel::Executable)?;
    plan.apply(|node| {
        node.apply_subqueries(|subquery| {
            check(subquery)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

/// A subquery with nothing in the place of those in it.
fn hollow(subquery: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    subquery.transform_up(|node| {
        node.map_subqueries(|nested| match nested {
            LogicalPlan::Subquery(nested) => {
                let schema = nested.subquery.schema().clone();
                let nothing = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
                let hollow = Subquery { subquery: Arc::new(nothing), ..nested };
                Ok(Transformed::yes(LogicalPlan::Subquery(hollow)))
            }
            other => Ok(Transformed::no(other)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::expr_fn::{in_subquery, scalar_subquery};
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

    fn nothing() -> LogicalPlanBuilder {
        LogicalPlanBuilder::from(LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: true,
            schema: Arc::new(DFSchema::empty()),
        }))
    }

    fn nested(depth: usize, innermost: LogicalPlan) -> LogicalPlan {
        (0..depth).fold(innermost, |inner, _| {
            let rows = nothing().project([lit(1).alias("a")]).unwrap();
            rows.filter(in_subquery(col("a"), Arc::new(inner))).unwrap().build().unwrap()
        })
    }

    #[test]
    fn a_plan_is_as_deep_as_its_subqueries_are_nested_and_is_checked_at_every_depth() {
        let row = |columns: usize| {
            let columns = (0..columns).map(|column| lit(1).alias(format!("c{column}")));
            nothing().project(columns).unwrap().build().unwrap()
        };
        for levels in [0, 1, 5, 64] {
            let plan = nested(levels, row(1));
            assert_eq!(depth(&plan), levels);
            check(&plan).unwrap();
            // A subquery of two columns is no value.
            let wrong = nothing().project([scalar_subquery(Arc::new(row(2))).alias("a")]).unwrap().build().unwrap();
            let error = check(&nested(levels, wrong)).unwrap_err().to_string();
            assert!(error.contains("only return one column"), "{error}");
        }
    }
}
