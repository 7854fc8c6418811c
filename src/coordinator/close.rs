//! Closes epochs: what waits is taken, handed to the engine, and what sources told of with it is taken note of.

use super::ledger::Backfilled;
use super::sources::Taken;
use super::state::Coordinator;
use super::waiters::Written;
use super::writes::Write;
use crate::catalog::{Body, Life};
use crate::connector::{Event, RowError, Waiting};
use weir_sql::Error;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

impl Coordinator {
    /// What would go into the next epoch.
    pub(super) fn waiting(&self) -> Waiting {
        if self.stopping {
            return Waiting::default();
        }
        let waiting = self.sources.waiting();
        Waiting { rows: waiting.rows + self.writes.rows(), ..waiting }
    }

    /// Closes the next epoch with everything whole that waits (I1).
    pub(super) fn close_epoch(&mut self) {
        let waiting = self.waiting();
        let epoch = self.epochs.close(self.env.clock.now());
        let Taken { mut changes, events, moved } = self.sources.take();
        let mut bytes = 0;
        for write in self.writes.take(epoch) {
            bytes += write.bytes;
            let tables: Vec<RelationId> = write.tables().collect();
            let relations = self.live_descendants(&tables);
            let Write { changes: written, persist, lock, reply, .. } = write;
            changes.extend(written);
            self.waiters.written.push(Written { epoch, relations, durable: persist, lock, tables, reply });
        }
        self.memory.closed(epoch, bytes);
        if moved {
            self.checkpoints.move_on();
        }
        if !changes.is_empty() || !events.is_empty() {
            self.checkpoints.change();
        }
        changes.retain(|(id, _)| self.held.contains_key(id));
        self.engine.close(epoch, changes, stopped(&events));
        if self.epochs.are_many() {
            self.forget_times();
        }
        self.pace.closed(epoch, self.env.clock.monotonic(), waiting);
        events.into_iter().for_each(|event| self.event(epoch, event));
    }

    /// `tables` and every live view that reads them, directly or not.
    fn live_descendants(&self, tables: &[RelationId]) -> Vec<RelationId> {
        let is_live = |id: &RelationId| self.catalog.get(id.0).is_some_and(|object| object.life == Life::Live);
        let dependants = self.ledger.with_dependants(tables);
        dependants.into_iter().filter(|id| tables.contains(id) || is_live(id)).collect()
    }

    fn event(&mut self, epoch: Epoch, event: Event) {
        match event {
            Event::Consistent(id) => {
                self.edit(|catalog| {
                    if let Some(Body::Table(table)) = catalog.objects.get_mut(&id.0).map(|o| &mut o.body)
                        && let Some((_, subscription)) = &mut table.upstream
                    {
                        subscription.copied = true;
                    }
                });
                self.ledger.give(id, Backfilled::All { at: epoch });
            }
            Event::Stopped { table, cause } => {
                tracing::warn!(%table, sqlstate = cause.sqlstate, cause.message, "table stopped: upstream changed");
                let error = Error::new("55000", format!("this table stopped following upstream: {}", cause.message));
                self.waiters.tell(|id| (id == table).then(|| Err(error.clone())));
            }
            Event::Notice { table, message } => tracing::warn!(%table, message, "notice from upstream"),
        }
    }

    /// When epochs closed is forgotten once everything that goes on has reached them.
    pub(super) fn forget_times(&mut self) {
        let uppers = self.engine.relations().all().into_iter().filter(|r| !r.has_failed()).map(|r| r.upper());
        self.epochs.forget(uppers.min().unwrap_or(self.epochs.closed()));
    }
}

/// Tables that cannot go on, each with its cause for readers.
fn stopped(events: &[Event]) -> Vec<(RelationId, RowError)> {
    let stopped = |event: &Event| match event {
        Event::Stopped { table, cause } => Some((*table, cause.clone())),
        Event::Consistent(_) | Event::Notice { .. } => None,
    };
    events.iter().filter_map(stopped).collect()
}
