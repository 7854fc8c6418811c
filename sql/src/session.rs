//! A DataFusion session with Postgres' semantics: our analyzer rules, functions and settings. Used to plan views and to run SELECT;
//! what statements have in common is made once ([`shared`]).
//!
//! SQL goes through it in this order: [`names::name_outputs`] and [`prepare`] on the syntax tree (what DataFusion's planner would
//! name otherwise, refuse or misread), then its planner with our operators and types, then the analyzer with our coercion before
//! its own, then [`sound`], which refuses what the optimizer would get wrong, then any of its optimizers, then [`guard`] on what
//! is to be run. Among the optimizer's rules are some of ours ([`mod@corrected`]). [`prepare`] refuses, too: syntax by [`refuse`],
//! functions that are not [`checked`]. What it lets pass is [`offered`]. Of a query that was bound ([`crate::bind`]) there is a plan
//! without all that: it begins with the analyzer.

mod alias;
mod bounded;
mod case;
mod chain;
mod checked;
mod clock;
mod coerce;
mod common;
mod corrected;
mod deep;
mod group_key;
mod guard;
mod join;
pub mod names;
mod offered;
mod operators;
mod ordered;
mod overload;
mod precedence;
mod prepare;
pub(crate) mod refuse;
mod result_types;
mod rowless;
pub mod shared;
mod sound;
mod subquery;
#[cfg(test)]
mod tests;
mod using;

pub(crate) use case::nested;
pub(crate) use chain::linked;
pub use clock::{at, timed};
pub(crate) use clock::{tells, untimed};
pub(crate) use common::{comparable, compared, groupable, has_extremes, unified};
pub use corrected::corrected;
pub use deep::{analyze, optimize};
pub use offered::{may_apply, may_call};
pub(crate) use overload::overloaded;
pub use precedence::group;
pub use prepare::prepare;
pub use subquery::rewrite_subqueries;

use crate::aggregate::select;
use crate::function;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::functions::string;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use std::collections::HashSet;
use std::sync::Arc;

/// What of a client's session changes the meaning of SQL. Stored with every view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    pub timezone: String,
    pub search_path: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timezone: "UTC".into(), search_path: vec!["public".into()] }
    }
}

/// `now`: microseconds since 1970-01-01 UTC, for `now()` and the like; `None`: they are refused, as in views, or found by [`timed`].
pub fn state(settings: &Settings, now: Option<i64>) -> SessionState {
    let mut builder =
        SessionStateBuilder::new().with_config(config(settings)).with_default_features().with_analyzer_rules(vec![
            Arc::new(ResolveGroupingFunction::new()),
            Arc::new(coerce::Coerce::new(&settings.timezone)),
            Arc::new(TypeCoercion::new()),
            Arc::new(rowless::Rowless),
            Arc::new(sound::Sound),
        ]);
    // The first planner that takes an expression has it.
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(operators::Operators));
    builder = builder
        .with_type_planner(types())
        .with_relation_planners(vec![Arc::new(alias::Aliases)])
        .with_query_planner(Arc::new(guard::Planner))
        .with_optimizer_rules(rules())
        .with_physical_optimizer_rules(physical_rules());
    let mut ours: Vec<_> = function::all().filter_map(|definition| function::lookup(definition.name)).collect();
    ours.extend(clock::functions(now).chain(overload::all()));
    let functions = builder.scalar_functions().get_or_insert_default();
    replace(functions, ours, |function| (function.name(), function.aliases()));
    functions.extend([chain::function(), case::function()]);
    functions.push(Arc::new(string::uuid().as_ref().clone().with_aliases(["gen_random_uuid"])));
    let functions = builder.aggregate_functions().get_or_insert_default();
    replace(functions, select::all(), |function| (function.name(), function.aliases()));
    builder.build()
}

/// The time zone of a session.
pub fn zone(state: &SessionState) -> &str {
    state.config_options().execution.time_zone.as_deref().unwrap_or("UTC")
}

/// What types' names mean. A session knows it, but does not tell.
pub fn types() -> Arc<dyn TypePlanner> {
    Arc::new(operators::Types)
}

/// Puts our functions in the place of DataFusion's that share a name or alias with them. Those have to go, not only to be
/// overwritten: each time a session's state is copied its functions are registered anew in any order, and one that is still there
/// by its other names would count again.
fn replace<F>(functions: &mut Vec<Arc<F>>, ours: Vec<Arc<F>>, names: fn(&F) -> (&str, &[String])) {
    let names = |function: &Arc<F>| {
        let (name, aliases) = names(function);
        aliases.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>()
    };
    let taken: HashSet<String> = ours.iter().flat_map(names).collect();
    functions.retain(|theirs| !names(theirs).iter().any(|name| taken.contains(name)));
    functions.extend(ours);
}

/// All but the rule that splits an aggregate in two, taking for granted that a sum of sums has the type of a sum.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| rule.name() != SingleDistinctToGroupBy::new().name());
    corrected(rules)
}

/// All but the rule that pushes filters down: it finds columns by their names alone, which two sides of a join may share, and our
/// scans take no filters from it. And one of ours ([`ordered`]).
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    let dealing = EnsureRequirements::new();
    let dealt = rules.iter().position(|rule| rule.name() == dealing.name()).expect("a rule that deals rows out");
    rules.insert(dealt + 1, Arc::new(ordered::Ordered));
    rules
}

fn config(settings: &Settings) -> SessionConfig {
    let mut config =
        SessionConfig::new().with_default_catalog_and_schema("dev", "public").with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    // Postgres' own default: NULLs are larger than everything.
    options.sql_parser.default_null_ordering = "nulls_max".into();
    // It counts too few rows for windows over windows that look ahead.
    options.optimizer.enable_window_limits = false;
    options.execution.time_zone = Some(settings.timezone.clone());
    // What DISTINCT ON becomes may be NULL as far as it says, though it is not: no reason to refuse a group of it.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}
