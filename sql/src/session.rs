//! A DataFusion session with Postgres' semantics: our analyzer rules, functions and settings. Used to plan views and to run SELECT.
//!
//! SQL goes through it in this order: [`names::name_outputs`] and [`prepare`] on the syntax tree (what DataFusion's planner would
//! name otherwise, refuse or misread), then its planner with our operators and types, then the analyzer with our coercion before
//! its own, then any of its optimizers, then [`guard`] on what is to be run.

mod alias;
mod clock;
mod coerce;
mod common;
mod counted;
mod guard;
pub mod names;
mod operators;
mod prepare;
mod regroup;
#[cfg(test)]
mod tests;
mod using;

pub use prepare::prepare;

use crate::function::{self, aggregate};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::functions::string;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;
use std::sync::Arc;

/// What of a client's session changes the meaning of SQL. Stored with every view.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    pub timezone: String,
    pub search_path: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timezone: "UTC".into(), search_path: vec!["public".into()] }
    }
}

/// `now`: microseconds since 1970-01-01 UTC, for `now()` and its kin in SELECT; `None` for views (they refuse it).
pub fn state(settings: &Settings, now: Option<i64>) -> SessionState {
    let mut builder =
        SessionStateBuilder::new().with_config(config(settings)).with_default_features().with_analyzer_rules(vec![
            Arc::new(ResolveGroupingFunction::new()),
            Arc::new(coerce::Coerce::new(&settings.timezone)),
            Arc::new(TypeCoercion::new()),
        ]);
    // It sums again what is summed within each value, but the sums of integers are of another type than integers.
    let rules = Optimizer::new().rules.into_iter().filter(|rule| rule.name() != SingleDistinctToGroupBy::new().name());
    builder = builder.with_optimizer_rules(rules.collect());
    // The first planner that takes an expression has it.
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(operators::Operators));
    builder = builder
        .with_type_planner(Arc::new(operators::Types))
        .with_relation_planners(vec![Arc::new(alias::Aliases)])
        .with_query_planner(Arc::new(guard::Planner));
    // Of two functions of one name the later one counts.
    let functions = builder.scalar_functions().get_or_insert_default();
    functions.extend(function::all().filter_map(|definition| function::lookup(definition.name)));
    functions.extend(clock::functions(now));
    functions.push(Arc::new(string::uuid().as_ref().clone().with_aliases(["gen_random_uuid"])));
    builder.aggregate_functions().get_or_insert_default().extend(aggregate::all());
    builder.build()
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
    options.execution.time_zone = Some(settings.timezone.clone());
    config
}
