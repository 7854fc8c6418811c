//! EXPLAIN: the incremental plan.

use super::{Outcome, Tag};
use crate::serving::query::apart;
use crate::serving::query::run::Rows;
use crate::serving::session::Session;
use arrow::array::{RecordBatch, StringArray};
use std::sync::Arc;
use weir_sql::planner;
use weir_sql::statement::Statement;
use weir_sql::{Error, Result};

impl Session {
    pub(super) async fn explain(&mut self, statement: &Statement) -> Result<Outcome> {
        let (query, names) = match statement {
            Statement::Query(query) => (query, &[][..]),
            Statement::CreateMaterializedView { query, columns, .. } => (query, columns.as_slice()),
            _ => {
                return Err(Error::unsupported("EXPLAIN of this statement").hint(
                    "EXPLAIN SELECT … or EXPLAIN CREATE MATERIALIZED VIEW … AS SELECT … print the incremental plan.",
                ));
            }
        };
        let (query, names) = (query.clone(), names.to_vec());
        let (catalog, sessions, settings) =
            (self.catalog(), self.server.handle.sessions.clone(), self.variables.settings());
        let (notices, text) = apart::run(&self.server.config.pool, move |_| {
            let planned = planner::plan(&query, &names, catalog.as_ref(), &sessions.of(&settings))?;
            Ok((planned.notices, planner::explain(&planned.plan)))
        })
        .await?;
        notices.into_iter().for_each(|text| self.notice(text));
        let lines = text.lines().map(Some).collect::<StringArray>();
        let batch = RecordBatch::try_from_iter([("QUERY PLAN", Arc::new(lines) as _)])
            .map_err(|e| Error::internal(e.to_string()))?;
        Ok(Outcome::Rows(Rows::ready(batch)?, Tag::Fixed("EXPLAIN".into())))
    }
}
