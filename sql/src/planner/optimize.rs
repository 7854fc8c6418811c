//! Which of DataFusion's rules a view's plan goes through. Left out: rules whose nodes we do not maintain (limits, windows,
//! get_field leaves), and rewrites of distinct aggregates and common subexpressions that our operators do better without.

use super::{check, fault};
use crate::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use std::sync::Arc;

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// Also uncorrelated scalar subqueries become joins: there is no other time at which a view could run them.
pub fn prepare(state: &SessionState) -> SessionState {
    let mut config = state.config().clone();
    config.options_mut().optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build()
}

/// Subqueries become joins first, and those joins are checked before other rules take them apart.
pub fn run(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = apply(state, plan, subquery_rules())?;
    check::decorrelated(&plan)?;
    apply(state, plan, relational_rules())
}

fn apply(state: &SessionState, plan: LogicalPlan, rules: Rules) -> Result<LogicalPlan> {
    Optimizer::with_rules(rules).optimize(plan, state, |_, _| {}).map_err(fault::of)
}

fn subquery_rules() -> Rules {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
    ]
}

fn relational_rules() -> Rules {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}
