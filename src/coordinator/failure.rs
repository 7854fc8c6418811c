//! Relations that have failed: an internal error, a panic caught at its boundary, a limit, damaged state, what cannot be sealed.
//!
//! A worker that fails a relation tells the loop of it ([`Relations::take_failures`]). The relations that read it, directly or not, fail
//! with it. Nobody waits for any of them: checkpoints keep what earlier manifests say of them, writers and FLUSH go on without them, and
//! whoever waits for one to be made hears why it is not. Readers get the cause, and with `SET weir.read_failed = on` the last epoch that
//! was reached.
//!
//! A view's failure ends with REFRESH or DROP, and with the process: a start builds it anew. A table's is in the catalog, since what its
//! manifest holds is older than the rest: it ends with DROP. Until then its source acknowledges nothing upstream (I7).

use super::ledger::Event;
use super::replacement::Replacement;
use super::state::Coordinator;
use super::told::{failed_among, told};
use crate::dataflow::relations::Failure;
#[cfg(doc)]
use crate::dataflow::relations::Relations;
use std::collections::BTreeSet;
use weir_sql::Error;
use weir_sql::catalog::RelationId;

impl Coordinator {
    /// Takes note of relations that have failed since the last look.
    pub(super) fn tend_failures(&mut self) {
        for relation in self.engine.relations().take_failures() {
            let Some(failure) = relation.failure() else { continue };
            let mut all = BTreeSet::from([relation.id]);
            // Said once: what reads it has its name in rw_materialized_views.
            if failure.of == relation.id {
                let error = told(&self.catalog, relation.id, failure);
                tracing::error!(relation = %relation.id, at = %relation.upper(), %error, "a relation has failed");
                all = self.ledger.with_dependants(&[relation.id]);
            }
            for child in all.iter().filter_map(|id| self.engine.relations().get(*id)) {
                child.fail(failure.clone());
            }
            // Nothing is kept that would lead on from where a view is: a start builds it anew.
            self.note(all.into_iter().map(|id| (id, Event::Failed(failure.clone()))));
            // The next checkpoint does without it.
            self.checkpoints.change();
        }
    }

    /// A checkpoint was not made, since this relation cannot be sealed: it fails, and the next one does without it. Nothing was written.
    pub(super) fn unsealed(&mut self, id: RelationId, cause: &weir_storage::Error, merged: Vec<Replacement>) {
        self.checkpoints.unmade(merged);
        self.pace.checkpoint_ended();
        if let Some(relation) = self.engine.relations().get(id) {
            let cause = Error::internal(format!("what it changed by cannot be stored: {cause}"));
            relation.fail(Failure { of: id, cause });
        }
    }

    /// Whoever waits for a relation that has failed waits in vain (I13).
    pub(super) fn give_up(&mut self) {
        self.waiters.tell(|id| failed_among(&self.catalog, &self.ledger, [id]).map(Err));
    }
}
