//! Relations are built, given what they have yet to get of their parents, and taken down.

use super::backfill::{self, need_checkpoint};
use super::ledger::{self, Backfilled, Entry, Event, Kind};
use super::object::{body, kind};
use super::state::{Coordinator, RelationState};
use super::told::failed_among;
use crate::catalog::object::Filled;
use crate::catalog::{Body, Life, ViewBody};
use crate::dataflow::blueprint::Blueprint;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::key::Portion;

impl Coordinator {
    /// Builds a relation as of the last closed epoch, if a start has not brought it back.
    pub(super) fn build(&mut self, id: RelationId) -> Result<Epoch> {
        if let Some(entry) = self.ledger.get(id).filter(|_| self.held.contains_key(&id)) {
            return Ok(entry.from());
        }
        let found = self.catalog.get(id.0).filter(|object| object.life != Life::Dropping).cloned();
        let found = found.and_then(|object| Some((body(&object.body)?, object)));
        let (body, object) = found.ok_or_else(|| Error::new("57014", "the relation was dropped meanwhile"))?;
        if let Some(error) = failed_among(&self.catalog, &self.ledger, body.parents()) {
            return Err(error);
        }
        if let Some(error) = self.memory.refusal().filter(|_| object.life == Life::Creating) {
            return Err(error);
        }
        let arrangements = body.arrangements(self.engine.workers(), self.env.limits);
        let from = self.epochs.closed();
        let name = object.name.clone();
        let portion = self.backfills.after(Portion::NOTHING, &body.parents(), self.engine.relations());
        let blueprint = || Blueprint {
            id,
            name: name.clone(),
            body: self::body(&object.body).expect("a relation has a body"),
            arrangements: arrangements.clone(),
            from,
            fresh: true,
            portion,
            first: None,
            failed: None,
        };
        let readable = self.engine.build(blueprint, vec![]);
        let reads = readable.parents.iter().map(|parent| parent.id).collect();
        let (ids, mut void) = (object.roles().expect("a relation keeps something"), false);
        if let Body::View(view) = &object.body {
            void = view.suspended;
            let is_stored = self.manifest.arrangements.contains_key(&ids.rows);
            let is_told = portion != Portion::ALL || is_stored || !view.filled.is_empty();
            if object.life == Life::Creating && is_told {
                // What the store has is of an attempt before: a start must not go on with it.
                void |= is_stored;
                self.edit_view(id, |view| {
                    let part = Filled { at: from, parts: portion.to() };
                    view.filled = if portion == Portion::ALL { vec![] } else { vec![part] };
                    view.suspended = void;
                });
            }
        }
        let kind = kind(&object);
        let entry = Entry::new(kind, reads, from).found(ledger::Life::Creating, Epoch::ZERO, void);
        self.enter(id, RelationState { ids, arrangements }, entry);
        if kind == Kind::View {
            self.ledger.give(id, Backfilled::up_to(portion, from));
        }
        Ok(from)
    }

    /// Ends a relation's dataflow.
    pub(super) fn take_down(&mut self, id: RelationId) {
        self.engine.drop_relation(id);
        self.held.remove(&id);
        self.lagging.forget(id);
    }

    /// Lets go of a view and of those that read it, and builds them anew from their parents. Until then they are what they were.
    pub(super) fn suspend(&mut self, id: RelationId) {
        let all = self.ledger.with_dependants(&[id]);
        // A start must not let any of them go on from where it was.
        self.note(all.iter().map(|id| (*id, Event::GivenUp)));
        for id in all.iter().rev() {
            let serving = self.engine.relations().serving(*id);
            self.take_down(*id);
            serving.into_iter().for_each(|readable| self.serve(readable));
        }
        for id in all {
            let reads = self.ledger.get(id).map_or_else(Vec::new, |view| view.reads().to_vec());
            let failure = reads.iter().find_map(|parent| self.ledger.get(*parent)?.failure()).cloned();
            if let Some(failure) = failure {
                // It is built with that one.
                self.note([(id, Event::Failed(failure))]);
            } else if self.build(id).is_ok() {
                tracing::warn!(view = %id, "a view is built anew, and read as of where it was meanwhile");
            } else {
                // It is being dropped.
                self.ledger.forget(id);
            }
        }
    }

    /// Builds views anew that are to be. Only between checkpoints: one under way is told what it sealed.
    pub(super) fn begin_refreshes(&mut self) {
        if self.checkpoints.is_under_way() {
            return;
        }
        for (id, reply) in std::mem::take(&mut self.waiters.refreshes) {
            let begun = match self.ledger.get(id) {
                Some(view) => failed_among(&self.catalog, &self.ledger, view.reads().to_vec()).map_or(Ok(()), Err),
                None => Err(Error::new("57014", "the view was dropped meanwhile")),
            };
            if begun.is_ok() {
                self.suspend(id);
            }
            let _ = reply.send(begun);
        }
    }

    /// Says in the catalog what a view that is being made has from an epoch on.
    pub(super) fn edit_view(&mut self, id: RelationId, edit: impl FnOnce(&mut ViewBody)) {
        self.edit(|catalog| {
            if let Some(Body::View(view)) = catalog.objects.get_mut(&id.0).map(|object| &mut object.body) {
                edit(view);
            }
        });
    }

    /// The next portion for every view that has come to where the one before counts.
    pub(super) fn tend_backfills(&mut self) {
        let due = self.backfills.due(&self.filling());
        for (id, portion) in due {
            let at = self.epochs.closed().next();
            self.engine.backfill(id, portion, at);
            if self.catalog.get(id.0).is_some_and(|object| object.life == Life::Creating) {
                self.edit_view(id, |view| view.filled.push(Filled { at, parts: portion.to() }));
            }
            self.ledger.give(id, Backfilled::up_to(portion, at));
            self.close_epoch();
        }
        if need_checkpoint(&self.filling(), self.epochs.closed()) {
            self.close_epoch();
            self.checkpoints.change();
        }
    }

    fn filling(&self) -> backfill::Facts<'_> {
        backfill::Facts { relations: self.engine.relations(), ledger: &self.ledger, lagging: &self.lagging }
    }
}
