//! Views that cannot be sealed for a while, or for ever.
//!
//! The checkpoint that was to hold one is made without it: it fails alone, with its error, and what reads it with it; nobody waits for
//! them (I12, I13). Once the cause is over REFRESH brings it back, and so does a start.

use super::{Meaning, Node, Result, World};
use std::sync::Arc;
use weir::dataflow::relations::{Failure, Readable};
use weir_sql::catalog::RelationId;

/// What a failure says of a relation whose sealing panicked.
const UNSEALED: [&str; 2] = ["what it changed by cannot be stored", "it panicked"];

impl World {
    /// Whether a relation of `node` may have failed like this: only a view that could not be sealed while the node ran, and what reads it.
    pub(super) fn is_unsealed(&self, node: &Node, relation: &Readable, failure: &Failure) -> bool {
        let (catalog, now) = (node.handle.catalog.borrow().clone(), self.time.now());
        let was_unsealable =
            |name: &str| self.period(name).is_some_and(|(from, until)| from <= now && node.began < until);
        is_told(failure)
            && reads(relation, failure.of)
            && catalog.get(failure.of.0).is_none_or(|object| was_unsealable(&object.name))
    }

    /// From when until when a relation of this name cannot be sealed.
    fn period(&self, name: &str) -> Option<(u64, u64)> {
        self.ordeals.iter().find(|(tried, _)| tried == name)?.1.unsealable
    }

    /// Time passes until everything can be sealed that ever can.
    pub(super) async fn outlast(&mut self) -> Result<()> {
        let ends = self.ordeals.iter().filter_map(|(_, ordeal)| ordeal.unsealable).map(|(_, until)| until);
        let last = ends.filter(|until| *until < u64::MAX).max().unwrap_or(0);
        self.pass(last.saturating_sub(self.time.now())).await
    }

    /// At rest: what can be sealed again is built anew, as its error says, and is there again, unless what it reads has failed.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let failed = self.failed_before();
        if failed.is_empty() || self.slot_lost {
            return Ok(());
        }
        let catalog = self.catalog();
        // From parents to children.
        for id in failed.into_iter().filter(|(relation, of)| relation == of).map(|(_, of)| of) {
            let Some(view) = catalog.get(id.0) else { continue };
            self.ask(&format!("REFRESH MATERIALIZED VIEW {}", view.name), Meaning::Nothing).await?;
        }
        self.arrive().await?;
        let relations = &self.node().handle.relations;
        let goes_on = |parent: &Arc<Readable>| relations.get(parent.id).is_some_and(|parent| !parent.has_failed());
        let could_be_built = |of: &RelationId| relations.get(*of).is_some_and(|view| view.parents.iter().all(goes_on));
        match self.failed_before().into_iter().find(|(_, of)| could_be_built(of)) {
            Some((id, of)) => {
                Err(format!("relation {of} can be sealed and was refreshed, and {id} has failed as before"))
            }
            None => Ok(()),
        }
    }

    /// Relations that have failed like this and could be sealed by now, each with the view whose failure it is.
    fn failed_before(&self) -> Vec<(RelationId, RelationId)> {
        let (catalog, now) = (self.catalog(), self.time.now());
        let is_over = |of: RelationId| {
            let view = catalog.get(of.0);
            view.is_some_and(|view| self.period(&view.name).is_none_or(|(_, until)| until <= now))
        };
        let failed_before = |relation: &Arc<Readable>| {
            let failure = relation.failure().filter(|failure| is_told(failure) && is_over(failure.of))?;
            Some((relation.id, failure.of))
        };
        self.node().handle.relations.all().iter().filter_map(failed_before).collect()
    }
}

fn is_told(failure: &Failure) -> bool {
    UNSEALED.iter().all(|part| failure.cause.message.contains(part))
}

/// Whether a relation is `other`, or reads it, directly or not.
fn reads(relation: &Readable, other: RelationId) -> bool {
    relation.id == other || relation.parents.iter().any(|parent| reads(parent, other))
}
