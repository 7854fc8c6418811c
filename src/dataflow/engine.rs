//! The engine's handle: starts the workers, tells them what to do, ends them.

use super::build::{Blueprint, Body};
use super::packet::Packet;
use super::placement::Placement;
use super::relations::{Readable, Relations};
use super::worker::{Command, Shared, run};
use crate::connector::{Cause, Changes, Fold};
use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use tokio::sync::Notify;
use weir_sql::catalog::RelationId;
use weir_storage::arrangement::Arrangement;
use weir_storage::{Epoch, Result};

/// Runs relations on `workers` threads. Commands reach every worker in the order of the calls.
pub struct Engine {
    commands: Vec<(Sender<Command>, Thread)>,
    relations: Relations,
    guards: Option<timely::communication::WorkerGuards<()>>,
    /// Worker that gets the next odd batch.
    turn: usize,
}

impl Engine {
    /// `wake` is notified whenever some relation moved.
    pub fn start(workers: usize, wake: Arc<Notify>) -> Self {
        let relations = Relations::default();
        let (report, started) = channel();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel()).unzip();
        let receivers: Vec<Mutex<Option<_>>> = receivers.into_iter().map(|r| Mutex::new(Some(r))).collect();
        let report = Mutex::new(report);
        let shared = relations.clone();
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let _abort = AbortOnPanic;
            let index = worker.index();
            let commands = receivers[index].lock().expect("taken once").take().expect("one worker per index");
            let hello = report.lock().expect("no panic while sending").send((index, std::thread::current()));
            hello.expect("the starter waits for every worker");
            run(worker, &commands, &Shared { relations: shared.clone(), wake: wake.clone() });
        });
        let guards = guards.expect("worker threads can be started");
        let mut threads: Vec<(usize, Thread)> = started.iter().take(workers).collect();
        threads.sort_by_key(|(index, _)| *index);
        let commands = senders.into_iter().zip(threads.into_iter().map(|(_, thread)| thread)).collect();
        Self { commands, relations, guards: Some(guards), turn: 0 }
    }

    pub fn workers(&self) -> usize {
        self.commands.len()
    }

    pub fn relations(&self) -> &Relations {
        &self.relations
    }

    /// Builds a relation on every worker and registers it for readers (not live yet).
    pub fn build(&self, blueprint: impl Fn() -> Blueprint) -> Arc<Readable> {
        let first = blueprint();
        let last = first.arrangements[0].len() - 1;
        let pick = |index: usize| first.arrangements.iter().map(|own| own[index].clone()).collect::<Vec<_>>();
        let key = first.body.key().cloned().unwrap_or_default();
        let readable = Readable::new(first.id, first.body.columns().to_vec(), key, pick(last - 1), pick(last));
        let readable = self.relations.insert(readable);
        self.tell(|_| Command::Build(Box::new(blueprint())));
        readable
    }

    /// Empty arrangements for a relation, per worker.
    pub fn arrangements(&self, body: &Body) -> Vec<Vec<Arrangement>> {
        (0..self.workers()).map(|_| body.specs().into_iter().map(Arrangement::new).collect()).collect()
    }

    pub fn drop_relation(&self, id: RelationId) {
        self.relations.remove(id);
        self.tell(|_| Command::Drop(id));
    }

    /// Closes `epoch` with everything that changed in it. A table in `stopped` gets the cause into its error set for good.
    pub fn close(&mut self, epoch: Epoch, changes: Vec<(RelationId, Changes)>, stopped: Vec<(RelationId, Cause)>) {
        let workers = self.workers();
        let mut shares: Vec<Vec<(RelationId, Vec<Packet>)>> = (0..workers).map(|_| vec![]).collect();
        for (id, changes) in changes {
            let (truncated, packets) = packets(changes);
            let mut own: Vec<Vec<Packet>> = (0..workers).map(|_| vec![]).collect();
            if truncated {
                own.iter_mut().for_each(|share| share.push(Packet::Truncate));
            }
            for packet in packets.into_iter().filter(|p| p.rows() > 0) {
                self.turn = (self.turn + 1) % workers;
                own[self.turn].push(packet);
            }
            for (share, packets) in shares.iter_mut().zip(own) {
                share.push((id, packets));
            }
        }
        for (id, cause) in stopped {
            shares[0].push((id, super::table::bag_failures(&[(cause, 1)]).map(Packet::Errors).into_iter().collect()));
        }
        let mut shares = shares.into_iter();
        self.tell(|_| Command::Epoch { epoch, changes: shares.next().expect("a share per worker") });
    }

    /// Lets go of history before these epochs.
    pub fn compact(&self, since: HashMap<RelationId, Epoch>) {
        let since = Arc::new(since);
        self.tell(|_| Command::Compact(since.clone()));
    }

    fn tell(&self, mut command: impl FnMut(usize) -> Command) {
        for (worker, (sender, thread)) in self.commands.iter().enumerate() {
            // A worker that is gone has aborted the process already.
            let _ = sender.send(command(worker));
            thread.unpark();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.tell(|_| Command::Stop);
        if let Some(guards) = self.guards.take() {
            guards.join().into_iter().for_each(drop);
        }
    }
}

/// A broken assertion in a worker must not leave a half-alive server.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("weir: a worker thread panicked; stopping at once, the last checkpoint holds");
            std::process::abort();
        }
    }
}

/// Whether the table is emptied first, and what then comes.
fn packets(changes: Changes) -> (bool, Vec<Packet>) {
    match changes {
        Changes::Keyed(Fold { truncated, upserts, deletes, partial, failed }) => {
            let mut packets: Vec<Packet> = upserts.into_iter().map(Packet::Upserts).collect();
            packets.extend(deletes.into_iter().map(Packet::Deletes));
            packets.extend(partial.into_iter().map(Packet::Partial));
            packets.extend(failed.iter().map(Packet::failed));
            (truncated, packets)
        }
        Changes::Bag(bag) => {
            let mut packets: Vec<Packet> = bag.rows.into_iter().map(Packet::Rows).collect();
            packets.extend(super::table::bag_failures(&bag.failed).map(Packet::Errors));
            (bag.truncated, packets)
        }
    }
}

/// Splits restored rows of one arrangement over `workers`.
pub fn distribute(
    placement: &Placement,
    delta: &weir_storage::Delta,
    workers: usize,
) -> Result<Vec<weir_storage::Delta>> {
    if workers == 1 {
        return Ok(vec![delta.clone()]);
    }
    placement.split(delta.rows(), workers)?.iter().map(|indices| delta.take(indices)).collect()
}
