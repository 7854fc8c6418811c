//! COPY FROM STDIN: the rows of a stream into a table, some at a time, all in one transaction. The stream itself is
//! [`crate::serving::value::copy`].

use super::dml::Target;
use super::insert::wrapped;
use crate::serving::arguments::Arguments;
use crate::serving::query::failure::failure;
use crate::serving::query::template::{parsed_query, quoted};
use crate::serving::session::Session;
use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use std::sync::Arc;
use weir_sql::Result;
use weir_storage::Epoch;

/// A table and the columns that a stream brings.
pub struct Destination {
    target: Target,
    /// Indices of columns, in the order of the stream.
    columns: Vec<usize>,
}

impl Destination {
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|index| self.target.columns[*index].name.clone()).collect()
    }
}

impl Session {
    /// Where COPY FROM STDIN goes; everything that can be wrong before the first row.
    pub fn destination(&mut self, table: &str, columns: &[String]) -> Result<Destination> {
        self.usable(false)?;
        self.writable("COPY FROM")?;
        let target = Target::find(&self.catalog(), &ObjectName::from(vec![quoted(table)]))?;
        let names: Vec<Ident> = columns.iter().map(|name| quoted(name)).collect();
        let columns = target.named(&names)?;
        Ok(Destination { target, columns })
    }

    /// Writes rows that came as text.
    pub async fn copy_in(&mut self, destination: &Destination, rows: RecordBatch) -> Result<usize> {
        let Destination { target, columns } = destination;
        let source = wrapped(parsed_query("SELECT * FROM copied")?, columns.len(), columns, target)?;
        let table: Arc<dyn TableProvider> =
            Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(failure)?);
        let arguments = Arguments::default();
        let planner = self.planner()?.with_table("copied", table);
        let planned = planner.plan(&source, &arguments.types).await?;
        let rows = self.open(&planner, planned, &arguments, Epoch::ZERO).await?;
        self.put(target, rows).await
    }
}
