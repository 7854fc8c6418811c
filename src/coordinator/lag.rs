//! History of views that are behind: in memory up to a limit, beyond that in the store.
//!
//! What a view has not taken yet waits in its queues. When that passes the limit, the view is *detached*: its queues keep what leads
//! to one checkpoint epoch and nothing later, since the runs of its parents have it anyway. Once the view has come there, the next
//! stretch is read from the store, and so on, until a stretch ends where its parents' memory begins: then it is attached again.
//! Nothing of this touches sources, checkpoints or other views.

use super::message::Message;
use super::recover::{self, Parent};
use super::run::{Coordinator, Held, body};
use crate::catalog::Catalog;
use crate::dataflow::build::Log;
use crate::dataflow::relations::Readable;
use crate::dataflow::steps::landing;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_storage::manifest::Manifest;
use weir_storage::run::Run;
use weir_storage::{Env, Epoch, Result};

/// Bytes in memory of a byte in a run, roughly.
const UNPACKED: u64 = 4;

/// A view whose history after `at` is in the store.
pub struct Detached {
    at: Epoch,
    /// The end of the stretch that is being read.
    reading: Option<Epoch>,
}

/// A stretch of history, per worker.
pub struct Stretch {
    pub id: RelationId,
    pub to: Epoch,
    pub logs: Result<Vec<Log>>,
}

impl Coordinator {
    /// Detaches views whose history has grown too large, and reads on for those that are detached.
    pub(super) fn tend_history(&mut self) {
        for relation in self.engine.relations().over(self.history_limit) {
            if self.detached.contains_key(&relation.id) {
                continue;
            }
            if relation.failure().is_some() {
                // It takes nothing any more.
                self.engine.detach(relation.id, Epoch::ZERO);
                self.detached.insert(relation.id, Detached { at: Epoch::NEVER, reading: None });
                continue;
            }
            let marks = &self.engine.relations().marks;
            // What comes after it is going to be read from the store.
            let cut = relation
                .steps
                .limit(&relation.parents, marks, |mark| are_sealed_at(&self.held, &relation.parents, mark));
            let Some(cut) = cut else { continue };
            self.engine.detach(relation.id, cut);
            self.detached.insert(relation.id, Detached { at: cut, reading: None });
            tracing::info!(view = %relation.id, after = %cut, "a view is far behind: its history is read from the store");
        }
        let ids: Vec<RelationId> = self.detached.keys().copied().collect();
        ids.into_iter().for_each(|id| self.read_on(id));
    }

    /// Starts reading the next stretch if the view has come to the end of the last and there is one.
    fn read_on(&mut self, id: RelationId) {
        let Some(relation) = self.engine.relations().get(id) else {
            self.detached.remove(&id);
            return;
        };
        let Some(detached) = self.detached.get_mut(&id).filter(|d| d.reading.is_none()) else { return };
        if relation.upper() < detached.at {
            return;
        }
        let stands = relation.parents.iter().filter_map(|parent| self.held.get(&parent.id)).map(|held| held.sealed);
        let Some(newest) = stands.min() else { return };
        let parents: Vec<RelationId> = relation.parents.iter().map(|parent| parent.id).collect();
        let runs: Vec<&Run> = parents
            .iter()
            .filter_map(|id| self.catalog.get(id.0))
            .flat_map(|object| object.arrangements().iter().rev().take(2))
            .filter_map(|id| self.manifest.arrangements.get(id))
            .flat_map(|state| &state.runs)
            .collect();
        let (after, marks) = (detached.at, &self.engine.relations().marks);
        let stops =
            |mark| landing(mark, &relation.parents) == mark && are_sealed_at(&self.held, &relation.parents, mark);
        let fits = |mark| {
            let within = runs.iter().filter(|run| run.to > after && run.after < mark);
            within.map(|run| run.length * UNPACKED).sum::<u64>() <= self.history_limit as u64
        };
        let to = marks.newest(after, newest, |mark| stops(mark) && fits(mark));
        let next = || marks.oldest(after.next(), stops).filter(|mark| *mark <= newest);
        let Some(to) = to.or_else(next) else { return };
        detached.reading = Some(to);
        let (env, manifest, catalog) = (self.env.clone(), self.manifest.clone(), self.catalog.clone());
        let (mailbox, workers) = (self.mailbox.clone(), self.engine.workers());
        tokio::spawn(async move {
            let logs = read(&env, &manifest, &catalog, &parents, after, to, workers).await;
            mailbox.tell(Message::Stretch(Stretch { id, to, logs }));
        });
    }

    /// Gives a view the stretch that was read for it.
    pub(super) fn refill(&mut self, stretch: Stretch) {
        let Stretch { id, to, logs } = stretch;
        let (Some(relation), Some(detached)) = (self.engine.relations().get(id), self.detached.get_mut(&id)) else {
            return;
        };
        detached.reading = None;
        match logs {
            Err(error) => tracing::warn!(view = %id, %error, "history could not be read; trying again"),
            Ok(logs) => {
                // Memory holds what came after the last checkpoint.
                let attach = relation.parents.iter().all(|p| self.held.get(&p.id).is_some_and(|h| h.sealed == to));
                detached.at = to;
                relation.steps.resume(to, (!attach).then_some(to));
                self.engine.refill(id, logs, to, attach);
                if attach {
                    self.detached.remove(&id);
                }
            }
        }
    }
}

/// Whether the change logs of all `parents` in the store can be cut at `epoch`.
fn are_sealed_at(held: &BTreeMap<RelationId, Held>, parents: &[Arc<Readable>], epoch: Epoch) -> bool {
    parents.iter().all(|parent| held.get(&parent.id).is_some_and(|held| held.is_sealed_at(epoch)))
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
        let gone = || weir_storage::Error::Invalid(format!("relation {id} is not in the newest manifest"));
        let object = catalog.get(id.0).ok_or_else(gone)?;
        let body = body(&object.body).ok_or_else(gone)?;
        let states = recover::states(manifest, &body, object.arrangements()).ok_or_else(gone)?;
        recover::changes(env, &Parent { id: *id, body: &body, states: &states }, after, to, &mut logs).await?;
    }
    Ok(logs)
}
