//! System tables as DataFusion sees them: made from the facts of the query that reads them.

use super::bound::Bound;
use crate::catalog::system;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

#[derive(Debug)]
pub struct SystemTable {
    table: &'static system::Table,
    schema: SchemaRef,
}

impl SystemTable {
    pub fn new(table: &'static system::Table) -> Self {
        Self { table, schema: table.schema() }
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bound = Bound::of(state.config())?;
        let facts = bound.facts.as_ref().ok_or_else(|| {
            DataFusionError::Internal(format!("no facts for {}.{}", self.table.schema_name, self.table.name))
        })?;
        let rows = self.table.batch(facts).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let table = MemTable::try_new(self.schema.clone(), vec![vec![rows]])?;
        table.scan(state, projection, filters, limit).await
    }
}
