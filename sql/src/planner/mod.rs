//! From SQL to an incremental plan: a query that is bound ([`crate::bind`]), or that DataFusion's planner has to plan, as DataFusion's
//! logical plan, checked, optimised, then lowered node by node. What cannot be maintained is 0A000 with the construct's name; never a
//! wrong result.
//!
//! In reading order: [`context`] (what is asked about relations and functions), [`check`] (what views refuse beyond what every
//! statement does), [`optimize`] (which of DataFusion's rules run), [`lower`] (logical plan to incremental plan), [`mod@explain`],
//! [`fault`] (DataFusion's errors as Postgres clients read them).

mod check;
pub mod context;
mod explain;
pub mod fault;
mod lower;
mod optimize;

use crate::bind;
use crate::bound::{Bound, Kind, Unbound, not_yet};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::logical;
use crate::plan::Plan;
use crate::session::{self, Settings};
use crate::types::Column;
use context::Context;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;

pub use explain::explain;

pub struct Planned {
    pub plan: Plan,
    pub columns: Vec<Column>,
    /// NOTICEs for the client: "ORDER BY without LIMIT has no effect in a materialized view".
    pub notices: Vec<String>,
}

/// Plans `query` for a materialized view. `names` overrides the output column names (`CREATE MATERIALIZED VIEW v (a, b) AS`).
/// An error's position is a character of the statement's text if the query came from [`crate::statement::parse`]. `state`: a session
/// without a time, as [`session::shared::Sessions`] has them.
pub fn plan(query: &ast::Query, names: &[String], catalog: &dyn Catalog, state: &SessionState) -> Result<Planned> {
    check::syntax(query)?;
    let context = Context::new(state, catalog);
    let Analyzed { plan, outputs } = match bound(query, &context, state) {
        Ok(analyzed) => analyzed,
        Err(Unbound::NotYet(_)) => unbound(query, &context, state)?,
        Err(Unbound::Wrong(error)) => return Err(error),
    };
    let mut notices = vec![];
    check::constructs(&plan, &mut notices)?;
    let outputs = output_names(outputs, names)?;
    let optimized = optimize::run(state, plan)?;
    let (root, key) = lower::lower(&optimized, &outputs)?;
    let columns = root.columns.clone();
    Ok(Planned { plan: Plan { root, key }, columns, notices })
}

/// A logical plan with all names and types resolved, and what its columns are called.
struct Analyzed {
    plan: LogicalPlan,
    outputs: Vec<String>,
}

/// By the binder. Relations of a view are found without a search path.
fn bound(query: &ast::Query, context: &Context, state: &SessionState) -> Bound<Analyzed> {
    let settings = Settings { timezone: session::zone(state).into(), ..Settings::default() };
    let query = bind::query(query, &[], context, &settings)?;
    let is_held_as_another = |kind: Kind| kind.held().is_some_and(|held| Kind::of(&held).oid != kind.oid);
    if let Some(output) = query.outputs.iter().find(|output| is_held_as_another(output.kind)) {
        return not_yet(format!("a column of type {}", output.kind));
    }
    let planned = logical::plan(&query, &settings.timezone)?;
    let plan = session::analyze(state, planned.plan).map_err(fault::of)?;
    Ok(Analyzed { plan, outputs: query.outputs.into_iter().map(|output| output.name).collect() })
}

/// By DataFusion's planner.
fn unbound(query: &ast::Query, context: &Context, state: &SessionState) -> Result<Analyzed> {
    let mut query = query.clone();
    session::names::name_outputs(&mut query);
    session::prepare(&mut query)?;
    let plan = context.plan(ast::Statement::Query(Box::new(query))).map_err(fault::of)?;
    let plan = session::rewrite_subqueries(plan).map_err(fault::of)?;
    let plan = session::analyze(state, plan).map_err(fault::of)?;
    let fields = plan.schema().fields();
    let outputs = fields.iter().map(|field| session::names::shown(field.name()).to_string()).collect();
    Ok(Analyzed { plan, outputs })
}

/// What the view's columns are called: `names` and, where there are none, as the query calls them.
fn output_names(mut outputs: Vec<String>, names: &[String]) -> Result<Vec<String>> {
    if outputs.is_empty() {
        return Err(Error::unsupported("a view without columns"));
    }
    if names.len() > outputs.len() {
        return Err(Error::syntax("CREATE MATERIALIZED VIEW specifies more column names than columns"));
    }
    outputs[..names.len()].clone_from_slice(names);
    let mut seen = std::collections::HashSet::new();
    match outputs.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(outputs),
        Some(name) => Err(Error::new("42701", format!("column \"{name}\" specified more than once"))),
    }
}

#[cfg(test)]
mod tests;
