//! History of views that are behind: in memory up to a limit, beyond that in the store.
//!
//! What a view has not taken yet waits in its queues. When that passes the limit, the view is *detached*: its queues keep what leads
//! to one checkpoint epoch and nothing later, since the runs of its parents have it anyway. Once the view has come there, the next
//! stretch is read from the store, and so on, until a stretch ends where its parents' memory begins: then it is attached again.
//!
//! What the store keeps for it has a limit as well. Beyond that the view is *suspended*, with all views that read it: its history is
//! let go of, it is built anew from its parents like a new view, and until it is there it is read as of where it was given up. A
//! start does the same to a view whose history is gone, and so is one whose history turns out to be damaged.
//!
//! Nothing of this touches sources, checkpoints or other views.

use super::held::{Coordinator, Detached};
use super::ledger::{Event, Ledger};
use super::message::{Message, Stretch};
use super::object::body;
use super::recover::{self, Parent};
use crate::catalog::{Catalog, Object};
use crate::dataflow::blueprint::Log;
use crate::dataflow::relations::Readable;
use crate::dataflow::steps::landing;
use std::sync::Arc;
use tokio::sync::oneshot;
use weir_sql::catalog::RelationId;
use weir_storage::manifest::Manifest;
use weir_storage::run::Run;
use weir_storage::{Env, Epoch, Error, Result};

/// Bytes in memory of a byte in a run, roughly.
const UNPACKED: u64 = 4;

impl Coordinator {
    /// Detaches views whose history has grown too large, and reads on for those that are detached.
    pub(super) fn tend_history(&mut self) {
        for relation in self.engine.relations().over(self.history_limit) {
            if self.detached.contains_key(&relation.id) {
                continue;
            }
            if relation.has_failed() {
                // It takes nothing any more.
                self.engine.detach(relation.id, Epoch::ZERO);
                self.detached.insert(relation.id, Detached { at: Epoch::NEVER, reading: None });
                continue;
            }
            let marks = &self.engine.relations().marks;
            // What comes after it is going to be read from the store, which does not tell apart what was before a portion and after it.
            let given = self.ledger.given_at(relation.id);
            let cut = relation.steps.limit(&relation.parents, marks, |mark| {
                mark >= given && are_cut(&self.ledger, &relation.parents, mark)
            });
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
        let stands = relation.parents.iter().filter_map(|p| self.ledger.get(p.id)).map(|parent| parent.sealed());
        let Some(newest) = stands.min() else { return };
        let parents: Vec<RelationId> = relation.parents.iter().map(|parent| parent.id).collect();
        let objects = parents.iter().filter_map(|id| self.catalog.get(id.0));
        let runs: Vec<&Run> = objects.flat_map(|object| log_runs(&self.manifest, object)).collect();
        let (after, marks) = (detached.at, &self.engine.relations().marks);
        let stops = |mark| landing(mark, &relation.parents) == mark && are_cut(&self.ledger, &relation.parents, mark);
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
        if detached.reading != Some(to) {
            // Read for the view before it was built anew.
            return;
        }
        match logs {
            // It stays so: until the view is built anew nothing is read for it.
            Err(error @ Error::Corrupt(_)) => {
                tracing::error!(view = %id, %error, "the history of a view is damaged: it is built anew");
                self.refreshes.push((id, oneshot::channel().0));
            }
            Err(error) => {
                detached.reading = None;
                tracing::warn!(view = %id, %error, "history could not be read; trying again");
            }
            Ok(logs) => {
                detached.reading = None;
                // Memory holds what came after the last checkpoint.
                let attach = relation.parents.iter().all(|p| self.ledger.get(p.id).is_some_and(|p| p.sealed() == to));
                detached.at = to;
                relation.steps.resume(to, (!attach).then_some(to));
                self.engine.refill(id, logs, to, attach);
                if attach {
                    self.detached.remove(&id);
                }
            }
        }
    }

    /// Suspends views for which the store keeps too much. Only between checkpoints: one under way is told what it sealed.
    pub(super) fn suspend_the_furthest_behind(&mut self) {
        let too_much = |id: &&RelationId| {
            let Some(view) = self.ledger.get(**id).filter(|view| view.is_live()) else { return false };
            let parents = view.reads().iter().filter_map(|parent| self.catalog.get(parent.0));
            let kept = parents.flat_map(|parent| log_runs(&self.manifest, parent)).filter(|run| run.to > view.stands());
            kept.map(|run| run.length).sum::<u64>() > self.lag_limit
        };
        let behind: Vec<RelationId> = self.detached.keys().filter(too_much).copied().collect();
        for id in behind {
            // It may have been suspended with another.
            if self.detached.contains_key(&id) {
                self.suspend(id);
            }
        }
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
}

/// Runs of a relation's change log.
fn log_runs<'a>(manifest: &'a Manifest, object: &'a Object) -> impl Iterator<Item = &'a Run> {
    let log = object.roles().map(|roles| roles.log().map(|id| *id));
    let states = log.into_iter().flatten().filter_map(|id| manifest.arrangements.get(&id));
    states.flat_map(|state| &state.runs)
}

/// Whether the change logs of all `parents` in the store can be cut at `epoch`.
fn are_cut(ledger: &Ledger, parents: &[Arc<Readable>], epoch: Epoch) -> bool {
    parents.iter().all(|parent| ledger.is_cut(parent.id, epoch))
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
