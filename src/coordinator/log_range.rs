//! Does what is to be done for views that are far behind ([`Lagging`]): reads ranges of their history from the store, and builds those
//! anew for which that is too much.

#[cfg(doc)]
use super::lag::Lagging;
use super::lag::{Action, Facts};
use super::message::{LogRange, Message};
use super::object::body;
use super::recover::{self, Parent};
use super::state::Coordinator;
use crate::catalog::Catalog;
use crate::dataflow::blueprint::Log;
use std::sync::Arc;
use tokio::sync::oneshot;
use weir_sql::catalog::RelationId;
use weir_storage::manifest::Manifest;
use weir_storage::{Env, Epoch, Error, Result};

impl Coordinator {
    /// Detaches views whose history has grown too large, and reads on for those that are detached.
    pub(super) fn tend_history(&mut self) {
        let (relations, ledger) = (self.engine.relations(), &self.ledger);
        let facts = Facts { relations, ledger, manifest: &self.manifest, catalog: &self.catalog };
        for action in self.lagging.tend(&facts) {
            match action {
                Action::LetGo { id } => self.engine.detach(id, Epoch::ZERO),
                Action::Detach { id, after } => {
                    self.engine.detach(id, after);
                    tracing::info!(view = %id, %after, "a view is far behind: its history is read from the store");
                }
                Action::Read { id, parents, after, to } => self.read_range(id, parents, after, to),
            }
        }
    }

    fn read_range(&self, id: RelationId, parents: Vec<RelationId>, after: Epoch, to: Epoch) {
        let (env, manifest, catalog) = (self.env.clone(), self.manifest.clone(), self.catalog.clone());
        let (mailbox, workers) = (self.mailbox.clone(), self.engine.workers());
        tokio::spawn(async move {
            let logs = read(&env, &manifest, &catalog, &parents, after, to, workers).await;
            mailbox.tell(Message::LogRange(LogRange { id, to, logs }));
        });
    }

    /// Gives a view the range that was read for it.
    pub(super) fn refill(&mut self, range: LogRange) {
        let LogRange { id, to, logs } = range;
        let Some(relation) = self.engine.relations().get(id) else { return };
        if !self.lagging.awaits(id, to) {
            // Read for the view before it was rebuilt.
            return;
        }
        match logs {
            // It stays so: until the view is rebuilt nothing is read for it.
            Err(error @ Error::Corrupt(_)) => {
                tracing::error!(view = %id, %error, "the history of a view is damaged: it is built anew");
                self.waiters.refreshes.push((id, oneshot::channel().0));
            }
            Err(error) => {
                self.lagging.again(id);
                tracing::warn!(view = %id, %error, "history could not be read; trying again");
            }
            Ok(logs) => {
                let attach = self.lagging.came(&relation, to, &self.ledger);
                relation.steps.resume(to, (!attach).then_some(to));
                self.engine.refill(id, logs, to, attach);
            }
        }
    }

    /// Suspends views for which the store keeps too much. Only between checkpoints: one under way is told what it sealed.
    pub(super) fn suspend_the_furthest_behind(&mut self) {
        let (relations, ledger) = (self.engine.relations(), &self.ledger);
        let facts = Facts { relations, ledger, manifest: &self.manifest, catalog: &self.catalog };
        for id in self.lagging.too_far(&facts) {
            // It may have been suspended with another.
            if self.lagging.is_detached(id) {
                self.suspend(id);
            }
        }
    }
}

async fn read(
    env: &Env,
    manifest: &Arc<Manifest>,
    catalog: &Catalog,
    parents: &[RelationId],
    after: Epoch,
    to: Epoch,
    workers: usize,
) -> Result<Vec<Log>> {
    let mut logs = vec![Log::new(); workers];
    for id in parents {
        let gone = || Error::Invalid(format!("relation {id} is not in the newest manifest"));
        let object = catalog.get(id.0).ok_or_else(gone)?;
        let body = body(&object.body).ok_or_else(gone)?;
        let states = recover::states(manifest, &body, &object.roles().ok_or_else(gone)?).ok_or_else(gone)?;
        recover::changes(env, &Parent { id: *id, body: &body, states: &states }, after, to, &mut logs).await?;
    }
    Ok(logs)
}
