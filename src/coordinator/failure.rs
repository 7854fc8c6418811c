//! Relations that have failed: an internal error, a panic caught at its boundary, a limit, damaged state.
//!
//! A worker that fails a relation tells the loop of it ([`Relations::take_failures`]). The relations that read it, directly or not, fail
//! with it. Nobody waits for any of them: checkpoints keep what earlier manifests say of them, writers and FLUSH go on without them, and
//! whoever waits for one to be made hears why it is not. Readers get the cause, and with `SET weir.read_failed = on` the last epoch that
//! was reached.
//!
//! A view's failure ends with REFRESH or DROP, and with the process: a start builds it anew. A table's is in the catalog, since what its
//! manifest holds is older than the rest: it ends with DROP. Until then its source acknowledges nothing upstream (I7).

use super::ddl::with_dependants;
use super::run::Coordinator;
use crate::catalog::object::Stopped;
use crate::catalog::{Body, Catalog, Object};
use crate::dataflow::relations::Failure;
#[cfg(doc)]
use crate::dataflow::relations::Relations;
use std::collections::{BTreeMap, BTreeSet};
use weir_sql::Error;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

impl Coordinator {
    /// Takes note of relations that have failed since the last look.
    pub(super) fn tend_failures(&mut self) {
        for relation in self.engine.relations().take_failures() {
            let Some(failure) = relation.failure() else { continue };
            // Said once: what reads it has its name in rw_materialized_views.
            if failure.of == relation.id {
                let error = told(&self.catalog, relation.id, failure);
                tracing::error!(relation = %relation.id, at = %relation.upper(), %error, "a relation has failed");
            }
            for child in with_dependants(&self.catalog, &[relation.id.0]) {
                if let Some(child) = self.engine.relations().get(RelationId(child)) {
                    child.fail(failure.clone());
                }
            }
            let stopped = Stopped { sqlstate: failure.cause.sqlstate.into(), message: failure.cause.message.clone() };
            // Nothing is kept that would lead on from where it is: a start builds a view anew.
            self.set_suspended(&[relation.id], true);
            if self.is_table(relation.id) {
                self.edit(|catalog| {
                    if let Some(Body::Table(table)) = catalog.objects.get_mut(&relation.id.0).map(|o| &mut o.body) {
                        table.stopped = Some(stopped);
                    }
                });
            }
            // The next checkpoint does without it.
            self.changed = true;
        }
    }

    /// Builds views anew that are to be. Only between checkpoints: one under way is told what it sealed.
    pub(super) fn begin_refreshes(&mut self) {
        if self.sealing.is_some() || self.publishing.is_some() {
            return;
        }
        for (id, reply) in std::mem::take(&mut self.refreshes) {
            let begun = match self.engine.relations().get(id) {
                Some(view) => {
                    let parents = view.parents.iter().map(|parent| parent.id).collect::<Vec<_>>();
                    self.failed_among(parents).map_or(Ok(()), Err).map(|()| self.suspend(id))
                }
                None => Err(Error::new("57014", "the view was dropped meanwhile")),
            };
            let _ = reply.send(begun);
        }
    }

    /// Views that have failed and of which the catalog says so: a manifest with this catalog keeps no change log for them.
    pub(super) fn released(&self) -> BTreeSet<RelationId> {
        let failed = self.engine.relations().all().into_iter().filter(|relation| relation.has_failed());
        let is_released = |id: &RelationId| match self.catalog.get(id.0).map(|object| &object.body) {
            Some(Body::View(view)) => view.suspended,
            _ => false,
        };
        failed.map(|relation| relation.id).filter(is_released).collect()
    }

    /// Why none of `relations` can be written or read on: the first that has failed.
    pub(super) fn failed_among(&self, relations: impl IntoIterator<Item = RelationId>) -> Option<Error> {
        let find = |id| Some((id, self.engine.relations().get(id)?));
        let mut found = relations.into_iter().filter_map(find);
        found.find_map(|(id, relation)| Some(told(&self.catalog, id, relation.failure()?)))
    }

    /// Sources of which every table is sealed at `epoch`: upstream may forget what came before (I7).
    pub(super) fn is_sealed_whole(&self, source: u32, epoch: Epoch, sealed: &BTreeMap<RelationId, Epoch>) -> bool {
        let tables = self.catalog.objects.values().filter(|object| is_fed(object, source));
        let mut held = tables.map(|object| RelationId(object.id)).filter(|id| self.held.contains_key(id));
        held.all(|id| sealed.get(&id) == Some(&epoch))
    }
}

fn is_fed(object: &Object, source: u32) -> bool {
    matches!(&object.body, Body::Table(table) if table.upstream.as_ref().is_some_and(|(of, _)| *of == source))
}

/// What a reader of `id` is told.
pub fn told(catalog: &Catalog, id: RelationId, failure: &Failure) -> Error {
    let name = |id: RelationId| match catalog.get(id.0) {
        Some(object) => format!("{} \"{}\"", object.kind(), object.name),
        None => format!("relation {id}"),
    };
    let cause = &failure.cause;
    let told = Error::new(cause.sqlstate, format!("{} has failed: {}", name(id), cause.message));
    let told = match failure.of == id {
        true => told.detail("It takes no further changes; the other relations go on."),
        false => told.detail(format!("It reads {}, which has failed.", name(failure.of))),
    };
    let read = "SET weir.read_failed = on reads what it was.";
    told.hint(match catalog.get(failure.of.0).map(|object| (&object.name, &object.body)) {
        Some((name, Body::View(_))) => {
            format!("REFRESH MATERIALIZED VIEW {name} builds it anew from its parents; {read}")
        }
        Some((name, Body::Table(table))) if table.upstream.is_some() => {
            format!("DROP TABLE {name} CASCADE and CREATE TABLE … FROM copy it again; {read}")
        }
        Some((name, _)) => format!("Save what it was to another table, then DROP TABLE {name} CASCADE; {read}"),
        None => read.into(),
    })
}

impl Stopped {
    /// As the failure of `table`.
    pub fn failure(&self, table: RelationId) -> Failure {
        Failure { of: table, cause: Error::new(Error::sqlstate(&self.sqlstate), self.message.clone()) }
    }
}
