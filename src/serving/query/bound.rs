//! What one query reads: its relations pinned at one epoch (I11), now or in the past, and the facts behind the system tables.
//! Travels to the table providers as an extension of DataFusion's session configuration, so that a plan can be made before its data
//! is pinned.

use super::failure::first_error;
use super::time_travel;
use crate::catalog::system::Facts;
use crate::dataflow::relations::{Pin, Pinned};
use datafusion::common::DataFusionError;
use datafusion::execution::context::SessionConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_sql::Result;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

/// Relations of one query or of one transaction block, all at `epoch`.
#[derive(Clone, Default)]
pub struct Bound {
    pub epoch: Epoch,
    pub relations: BTreeMap<RelationId, PinnedRelation>,
    pub facts: Option<Arc<Facts>>,
}

/// A relation at the epoch.
#[derive(Clone)]
pub enum PinnedRelation {
    Now(Arc<Pinned>),
    /// In a manifest that is kept.
    Past(Arc<time_travel::Relation>),
}

impl From<Pin> for Bound {
    fn from(pin: Pin) -> Self {
        let mut bound = Self { epoch: pin.epoch, ..Self::default() };
        bound.add(pin);
        bound
    }
}

impl Bound {
    /// Relations as they were.
    pub fn of_past(
        epoch: Epoch,
        relations: BTreeMap<RelationId, Arc<time_travel::Relation>>,
        facts: Option<Arc<Facts>>,
    ) -> Self {
        let relations = relations.into_iter().map(|(id, relation)| (id, PinnedRelation::Past(relation))).collect();
        Self { epoch, relations, facts }
    }

    pub fn of(config: &SessionConfig) -> datafusion::common::Result<Arc<Self>> {
        config
            .get_extension::<Self>()
            .ok_or_else(|| DataFusionError::Internal("a query ran without its relations being pinned".into()))
    }

    /// Relations pinned at the same epoch.
    pub fn add(&mut self, pin: Pin) {
        self.relations.extend(pin.relations.into_iter().map(|(id, pinned)| (id, PinnedRelation::Now(pinned))));
    }

    pub fn relation(&self, id: RelationId) -> datafusion::common::Result<&PinnedRelation> {
        self.relations.get(&id).ok_or_else(|| DataFusionError::Internal(format!("relation {id} is not pinned")))
    }

    /// A relation with errors cannot be read: the first one found is the query's error. The past's were looked for when it was opened.
    pub fn check(&self, ids: &[RelationId], name: impl Fn(RelationId) -> String) -> Result<()> {
        for id in ids {
            let Some(PinnedRelation::Now(pinned)) = self.relations.get(id) else { continue };
            let errors = pinned.errors.iter().flat_map(|snapshot| snapshot.scan(None));
            if let Some(error) = first_error(errors, &name(*id))? {
                return Err(error);
            }
        }
        Ok(())
    }
}
