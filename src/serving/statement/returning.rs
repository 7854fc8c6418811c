//! RETURNING: the rows a statement wrote or removed, as a query over them.

use super::dml::Target;
use super::{Outcome, Tag};
use crate::serving::arguments::Arguments;
use crate::serving::query::Planner;
use crate::serving::query::failure::failure;
use crate::serving::query::template::{parsed_query, quoted};
use crate::serving::session::Session;
use crate::serving::value::row::Column;
use arrow::array::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::sql::sqlparser::ast::{Ident, Query, SelectItem, SetExpr};
use std::sync::Arc;
use weir_sql::{Error, Result};
use weir_storage::Epoch;

/// The name under which the rows are read; nobody else's.
const ROWS: &str = "returned rows";

/// Its name to the user.
const CLAUSE: &str = "RETURNING";

impl Session {
    pub(super) async fn returned(
        &mut self,
        target: &Target,
        alias: Option<Ident>,
        returning: Option<&[SelectItem]>,
        rows: &[RecordBatch],
        arguments: &Arguments,
        tag: String,
    ) -> Result<Outcome> {
        let Some(items) = returning else { return Ok(Outcome::Done(tag)) };
        let planner = over(self.planner()?, target, rows)?;
        let query = query(items, target, alias)?;
        let planned = self.plan_part(&planner, query, CLAUSE, vec![], &arguments.types).await?;
        let rows = self.open(&planner, planned, arguments, Epoch::ZERO).await?;
        Ok(Outcome::Rows(rows, Tag::Fixed(tag)))
    }
}

pub(super) async fn columns_of(
    session: &mut Session,
    target: &Target,
    alias: Option<Ident>,
    returning: Option<&[SelectItem]>,
) -> Result<Option<Vec<Column>>> {
    let Some(items) = returning else { return Ok(None) };
    let planner = over(session.planner()?, target, &[])?;
    let planned = session.plan_part(&planner, query(items, target, alias)?, CLAUSE, vec![], &[]).await?;
    planner.columns(&planned).await.map(Some)
}

fn over(planner: Planner, target: &Target, rows: &[RecordBatch]) -> Result<Planner> {
    let table = MemTable::try_new(target.schema(), vec![rows.to_vec()]).map_err(failure)?;
    Ok(planner.with_table(ROWS, Arc::new(table)))
}

fn query(items: &[SelectItem], target: &Target, alias: Option<Ident>) -> Result<Query> {
    let alias = alias.unwrap_or_else(|| quoted(target.name()));
    let text = format!("SELECT 1 FROM {} AS {alias}", quoted(ROWS));
    let mut query = parsed_query(&text)?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("a template without SELECT")) };
    select.projection = items.to_vec();
    Ok(query)
}
