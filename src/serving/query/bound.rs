//! What one query reads: its relations pinned at one epoch (I11), now or in the past, and the facts behind the system tables. Travels to the table
//! providers as an extension of DataFusion's session configuration, so that a plan can be made before its data is pinned.

use super::past;
use crate::catalog::system::Facts;
use crate::dataflow::errors;
use crate::dataflow::relations::{Pin, Pinned};
use arrow::array::AsArray;
use datafusion::common::DataFusionError;
use datafusion::execution::context::SessionConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::{Delta, Epoch};

/// Relations of one query or of one transaction block, all at `epoch`.
#[derive(Clone, Default)]
pub struct Bound {
    pub epoch: Epoch,
    pub relations: BTreeMap<RelationId, Held>,
    pub facts: Option<Arc<Facts>>,
}

/// A relation at the epoch.
#[derive(Clone)]
pub enum Held {
    Now(Arc<Pinned>),
    /// In a manifest that is kept.
    Past(Arc<past::Relation>),
}

impl From<Pin> for Bound {
    fn from(pin: Pin) -> Self {
        let mut bound = Self { epoch: pin.epoch, ..Self::default() };
        bound.add(pin);
        bound
    }
}

impl Bound {
    pub fn of(config: &SessionConfig) -> datafusion::common::Result<Arc<Self>> {
        config
            .get_extension::<Self>()
            .ok_or_else(|| DataFusionError::Internal("a query ran without its relations being pinned".into()))
    }

    /// Relations pinned at the same epoch.
    pub fn add(&mut self, pin: Pin) {
        self.relations.extend(pin.relations.into_iter().map(|(id, pinned)| (id, Held::Now(pinned))));
    }

    pub fn relation(&self, id: RelationId) -> datafusion::common::Result<&Held> {
        self.relations.get(&id).ok_or_else(|| DataFusionError::Internal(format!("relation {id} is not pinned")))
    }

    /// A relation with errors cannot be read: the first one found is the query's error. The past's were looked for when it was opened.
    pub fn check(&self, ids: &[RelationId], name: impl Fn(RelationId) -> String) -> Result<()> {
        for id in ids {
            let Some(Held::Now(pinned)) = self.relations.get(id) else { continue };
            let errors = pinned.errors.iter().flat_map(|snapshot| snapshot.scan(None));
            if let Some(error) = first_error(errors, &name(*id))? {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Columns of the error Z-set: operator, expression, sqlstate, message, key.
pub fn first_error(deltas: impl Iterator<Item = weir_storage::Result<Delta>>, relation: &str) -> Result<Option<Error>> {
    let text = |rows: &arrow::array::RecordBatch, column: usize, row: usize| {
        rows.column(column).as_string::<i32>().value(row).to_string()
    };
    for delta in deltas {
        let delta = delta.map_err(|e| Error::internal(e.to_string()))?;
        let Some(row) = delta.weights().iter().position(|w| *w > 0) else { continue };
        let rows = delta.rows();
        assert_eq!(rows.num_columns(), errors::SCHEMA.fields().len(), "an error Z-set's shape");
        let detail = format!(
            "A row of relation \"{relation}\" could not be computed: {} in {}.",
            text(rows, 1, row),
            text(rows, 0, row)
        );
        return Ok(Some(
            Error::new(Error::sqlstate(&text(rows, 2, row)), text(rows, 3, row))
                .detail(detail)
                .hint("Change or delete the offending row upstream; the relation is readable again at once."),
        ));
    }
    Ok(None)
}
