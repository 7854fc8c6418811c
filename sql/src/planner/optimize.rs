//! Which of DataFusion's rules a view's plan goes through. Left out: rules whose nodes we do not maintain (limits, windows,
//! get_field leaves), and rewrites of distinct aggregates and common subexpressions that our operators do better without.

use super::{check, fault};
use crate::error::Result;
use crate::session;
use chrono::{DateTime, Utc};
use datafusion::common::alias::AliasGenerator;
use datafusion::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
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
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// Subqueries become joins first, and those joins are checked before other rules take them apart.
pub fn run(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let config = Config::new(state);
    let plan = apply(&config, plan, subquery_rules())?;
    check::decorrelated(&plan)?;
    apply(&config, plan, relational_rules())
}

fn apply(config: &Config, plan: LogicalPlan, rules: Rules) -> Result<LogicalPlan> {
    session::optimize(&Optimizer::with_rules(session::corrected(rules)), plan, config).map_err(fault::of)
}

/// What the rules ask of a session, for one view: the session itself is of all statements with its settings.
struct Config<'a> {
    state: &'a SessionState,
    options: Arc<ConfigOptions>,
    /// Counts from the beginning, so that a query's plan is the same whatever was planned before.
    aliases: Arc<AliasGenerator>,
}

impl<'a> Config<'a> {
    /// Also uncorrelated scalar subqueries become joins: there is no other time at which a view could run them.
    fn new(state: &'a SessionState) -> Self {
        let mut options = ConfigOptions::clone(state.config_options());
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        Self { state, options: Arc::new(options), aliases: Arc::default() }
    }
}

impl OptimizerConfig for Config<'_> {
    fn query_execution_start_time(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.aliases
    }

    fn options(&self) -> Arc<ConfigOptions> {
        self.options.clone()
    }

    fn function_registry(&self) -> Option<&dyn FunctionRegistry> {
        Some(self.state)
    }
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
