//! EXPLAIN: the incremental plan.

use super::{Outcome, Tag};
use crate::serving::query::run::Rows;
use crate::serving::session::Session;
use arrow::array::{RecordBatch, StringArray};
use std::sync::Arc;
use weir_sql::planner;
use weir_sql::statement::Statement;
use weir_sql::{Error, Result};

impl Session {
    pub(super) fn explain(&mut self, statement: &Statement) -> Result<Outcome> {
        let (query, names) = match statement {
            Statement::Query(query) => (query, &[][..]),
            Statement::CreateMaterializedView { query, columns, .. } => (query, columns.as_slice()),
            _ => {
                return Err(Error::unsupported("EXPLAIN of this statement").hint(
                    "EXPLAIN SELECT … or EXPLAIN CREATE MATERIALIZED VIEW … AS SELECT … print the incremental plan.",
                ));
            }
        };
        let planned = planner::plan(query, names, self.catalog().as_ref(), &self.variables.settings())?;
        planned.notices.into_iter().for_each(|text| self.notice(text));
        let text = planner::explain(&planned.plan);
        let lines = text.lines().map(Some).collect::<StringArray>();
        let batch = RecordBatch::try_from_iter([("QUERY PLAN", Arc::new(lines) as _)])
            .map_err(|e| Error::internal(e.to_string()))?;
        Ok(Outcome::Rows(Rows::ready(batch)?, Tag::Fixed("EXPLAIN".into())))
    }
}
