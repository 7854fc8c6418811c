//! From SQL to an incremental plan: DataFusion's logical plan, checked, optimised, then lowered node by node. What cannot be
//! maintained is 0A000 with the construct's name; never a wrong result.
//!
//! In reading order: [`context`] (what DataFusion asks about relations and functions), [`check`] (what views refuse beyond what
//! every statement does), [`optimize`] (which of DataFusion's rules run), [`lower`] (logical plan to incremental plan),
//! [`mod@explain`], [`fault`] (DataFusion's errors as Postgres clients read them).

mod check;
pub mod context;
mod explain;
pub mod fault;
mod lower;
mod optimize;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::session;
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
    let logical = analyzed(state, query, catalog)?;
    let mut notices = vec![];
    check::constructs(&logical, &mut notices)?;
    let outputs = output_names(&logical, names)?;
    let optimized = optimize::run(state, logical)?;
    let (root, key) = lower::lower(&optimized, &outputs)?;
    let columns = root.columns.clone();
    Ok(Planned { plan: Plan { root, key }, columns, notices })
}

/// SQL to a logical plan with all names and types resolved.
fn analyzed(state: &SessionState, query: &ast::Query, catalog: &dyn Catalog) -> Result<LogicalPlan> {
    let mut query = query.clone();
    session::names::name_outputs(&mut query);
    session::prepare(&mut query)?;
    let plan = Context::new(state, catalog).plan(ast::Statement::Query(Box::new(query))).map_err(fault::of)?;
    let plan = session::rewrite_subqueries(plan).map_err(fault::of)?;
    session::analyze(state, plan).map_err(fault::of)
}

fn output_names(plan: &LogicalPlan, names: &[String]) -> Result<Vec<String>> {
    let mut outputs: Vec<String> =
        plan.schema().fields().iter().map(|f| session::names::shown(f.name()).to_string()).collect();
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
