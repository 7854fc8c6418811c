//! Acts out what the ledger says of the lives of relations: what readers see of them, and what the catalog says of them to a start, is
//! changed here and nowhere else.

use super::ledger::{Effect, Entry, Event, Seen};
use super::state::{Coordinator, RelationState};
use crate::catalog::object::Stopped;
use crate::catalog::{self, Body, Object};
use crate::dataflow::relations::{Readable, Relations};
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

impl Coordinator {
    /// Takes note of what happened to relations, and does what follows.
    pub(super) fn note(&mut self, events: impl IntoIterator<Item = (RelationId, Event)>) {
        let follows = |(id, event)| Some((id, self.ledger.step(id, event)?));
        let effects = events.into_iter().filter_map(follows).collect();
        self.carry_out(effects);
    }

    pub(super) fn carry_out(&mut self, effects: Vec<(RelationId, Effect)>) {
        if effects.is_empty() {
            return;
        }
        for (id, _) in effects.iter().filter(|(_, effect)| *effect == Effect::Show) {
            self.engine.relations().set_live(*id);
        }
        self.edit(|catalog| {
            for (id, effect) in effects {
                if let Some(object) = catalog.objects.get_mut(&id.0) {
                    write_down(object, effect);
                }
            }
        });
    }

    /// A relation runs from now on.
    pub(super) fn enter(&mut self, id: RelationId, held: RelationState, entry: Entry) {
        if entry.is_live() {
            self.engine.relations().set_live(id);
        }
        self.held.insert(id, held);
        self.ledger.enter(id, entry);
    }

    /// Until the relation is live again, `readable` is read by its name.
    pub(super) fn serve(&self, readable: Arc<Readable>) {
        self.engine.relations().suspend(readable);
    }
}

/// What a start is told.
fn write_down(object: &mut Object, effect: Effect) {
    match (effect, &mut object.body) {
        (Effect::Show, body) if object.life == catalog::Life::Creating => {
            object.life = catalog::Life::Live;
            if let Body::View(view) = body {
                view.filled.clear();
            }
        }
        (Effect::Void(void), Body::View(view)) => view.suspended = void,
        (Effect::Stop(failure), Body::Table(table)) => {
            table.stopped = Some(Stopped { sqlstate: failure.cause.sqlstate.into(), message: failure.cause.message });
        }
        _ => {}
    }
}

/// Workers tell by what everybody reads.
impl Seen for Relations {
    fn upper(&self, id: RelationId) -> Epoch {
        self.ask(id, Readable::upper).unwrap_or(Epoch::ZERO)
    }

    fn readable_since(&self, id: RelationId) -> Epoch {
        self.ask(id, Readable::readable_since).unwrap_or(Epoch::NEVER)
    }

    fn stops_at(&self, id: RelationId, candidate: Epoch) -> bool {
        self.ask(id, |relation| relation.steps.stopped(candidate) == candidate).unwrap_or(false)
    }

    fn newest(&self, after: Epoch, to: Epoch, fit: impl Fn(Epoch) -> bool) -> Option<Epoch> {
        self.checkpoint_epochs.newest(after, to, fit)
    }
}
