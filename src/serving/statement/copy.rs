//! COPY FROM STDIN: the rows of a stream into a table. The stream itself is [`crate::serving::value::copy`].

use super::Outcome;
use super::dml::{Target, fit, parsed_query, quoted, stored};
use crate::serving::block::Change;
use crate::serving::query::failure::failure;
use crate::serving::query::rewrite::{cast, null};
use crate::serving::session::{Arguments, Session};
use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, SelectItem, SetExpr};
use std::sync::Arc;
use weir_sql::{Error, Result};
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
        let mut indices = vec![];
        for name in columns {
            let index = target.column(&quoted(name))?;
            if indices.contains(&index) {
                return Err(Error::new("42701", format!("column \"{name}\" specified more than once")));
            }
            indices.push(index);
        }
        if columns.is_empty() {
            indices = (0..target.columns.len()).collect();
        }
        Ok(Destination { target, columns: indices })
    }

    /// Writes rows that came as text, in columns `c0`, `c1`, ….
    pub async fn copy_in(&mut self, destination: Destination, rows: RecordBatch) -> Result<Outcome> {
        let Destination { target, columns } = destination;
        let tag = format!("COPY {}", rows.num_rows());
        let mut source = parsed_query("SELECT 1 FROM copied")?;
        if let SetExpr::Select(select) = source.body.as_mut() {
            let item = |(index, column): (usize, &weir_sql::types::Column)| {
                let given = columns.iter().position(|i| *i == index);
                let value = given.map_or_else(null, |i| Expr::Identifier(quoted(&format!("c{i}"))));
                let expr = cast(value, &stored(&column.kind));
                SelectItem::ExprWithAlias { expr, alias: quoted(&column.name) }
            };
            select.projection = target.columns.iter().enumerate().map(item).collect();
        }
        let table: Arc<dyn TableProvider> =
            Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(failure)?);
        let arguments = Arguments::default();
        let planner = self.planner()?.with_table("copied", table);
        let planned = planner.plan(&source, &arguments.types)?;
        let limit = self.server.config.query_memory;
        let rows = self.open(&planner, planned, &arguments, Epoch::ZERO).await?.collect(limit).await?;
        let rows = fit(&rows, 0, &target)?;
        if rows.num_rows() > 0 {
            self.transaction()?.write(&target.object, Change::Put(rows));
        }
        Ok(Outcome::Done(tag))
    }
}
