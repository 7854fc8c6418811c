//! From SQL to an incremental plan: DataFusion's logical plan, optimised, then lowered node by node. What cannot be maintained
//! is 0A000 with the construct's name; never a wrong result.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::session::Settings;
use crate::types::Column;
use datafusion::sql::sqlparser::ast::Query;

pub struct Planned {
    pub plan: Plan,
    pub columns: Vec<Column>,
    /// NOTICEs for the client: "ORDER BY without LIMIT has no effect in a materialized view".
    pub notices: Vec<String>,
}

/// Plans `query` for a materialized view. `names` overrides the output column names (`CREATE MATERIALIZED VIEW v (a, b) AS`).
pub fn plan(query: &Query, names: &[String], catalog: &dyn Catalog, settings: &Settings) -> Result<Planned> {
    let _ = (query, names, catalog, settings);
    Err(Error::unsupported("planning"))
}

/// EXPLAIN's text: one line per node, children indented by two spaces, the arrangements each node keeps.
pub fn explain(plan: &Plan) -> String {
    let _ = plan;
    todo!()
}
