//! The engine's handle: starts the workers, tells them what to do, ends them.
//!
//! Workers are threads, or one that runs only when it is stepped ([`Stepped`]): so a simulator decides when.

pub use super::blueprint::Ordeal;
use super::blueprint::{Blueprint, BuildContext, Log};
use super::packet::Packet;
use super::placement::Placement;
use super::relations::{Follower, Readable, Relations};
use super::steps::Steps;
pub use super::worker::Commands;
use super::worker::{Command, Worker};
pub use super::world::{Most, PART, World};
use crate::connector::spilled::Spilled;
use crate::connector::{Changes, Fold, RowError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use timely::communication::Allocator;
use timely::worker::Worker as Timely;
use tokio::sync::Notify;
use weir_sql::catalog::RelationId;
use weir_storage::key::Portion;
use weir_storage::{Epoch, Result};

/// Makes a worker look at its commands.
type Alarm = Box<dyn Fn() + Send + Sync>;

/// Runs relations on workers. Commands reach every worker in the order of the calls.
pub struct Engine {
    commands: Vec<(Sender<Command>, Alarm)>,
    relations: Relations,
    guards: Option<timely::communication::WorkerGuards<()>>,
    ordeals: Vec<(String, Ordeal)>,
    /// The last epoch closed.
    closed: Epoch,
    /// Views for which nothing is kept in memory.
    detached: BTreeSet<RelationId>,
    /// Worker that gets the next odd batch.
    turn: usize,
}

impl Engine {
    /// Workers on threads of their own.
    pub fn start(workers: usize, world: World) -> Self {
        let jump_after = world.jump_after;
        let (report, started) = channel();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel()).unzip();
        let receivers: Vec<Mutex<Option<_>>> = receivers.into_iter().map(|r| Mutex::new(Some(r))).collect();
        let report = Mutex::new(report);
        let guards = timely::execute(timely::Config::process(workers), move |timely| {
            let _abort = AbortOnPanic;
            let index = timely.index();
            let commands = receivers[index].lock().expect("taken once").take().expect("one worker per index");
            let worker = Worker::new(Commands::new(commands, world.clone()));
            let hello = report.lock().expect("no panic while sending").send((index, std::thread::current()));
            hello.expect("the starter waits for every worker");
            worker.run(timely);
        });
        let guards = guards.expect("worker threads can be started");
        let mut threads: Vec<(usize, std::thread::Thread)> = started.iter().take(workers).collect();
        threads.sort_by_key(|(index, _)| *index);
        let alarms = threads.into_iter().map(|(_, thread)| -> Alarm { Box::new(move || thread.unpark()) });
        Self::new(senders.into_iter().zip(alarms).collect(), jump_after, Some(guards))
    }

    /// One worker that runs only when the second part is begun and stepped. `alarm` is notified when there is a new command.
    pub fn stepped(world: World, alarm: Arc<Notify>) -> (Self, Commands) {
        let (sender, commands) = channel();
        let alarm: Alarm = Box::new(move || alarm.notify_one());
        (Self::new(vec![(sender, alarm)], world.jump_after, None), Commands::new(commands, world))
    }

    fn new(
        commands: Vec<(Sender<Command>, Alarm)>,
        jump_after: u64,
        guards: Option<timely::communication::WorkerGuards<()>>,
    ) -> Self {
        Self {
            commands,
            relations: Relations::new(jump_after),
            guards,
            ordeals: vec![],
            closed: Epoch::ZERO,
            detached: BTreeSet::new(),
            turn: 0,
        }
    }

    /// What relations of these names go through.
    pub fn tried(mut self, ordeals: Vec<(String, Ordeal)>) -> Self {
        self.ordeals = ordeals;
        self
    }

    /// What a relation of this name goes through.
    pub fn ordeal(&self, name: &str) -> Ordeal {
        let ordeal = self.ordeals.iter().find(|(tried, _)| tried == name);
        ordeal.map(|(_, ordeal)| *ordeal).unwrap_or_default()
    }

    pub fn workers(&self) -> usize {
        self.commands.len()
    }

    pub fn relations(&self) -> &Relations {
        &self.relations
    }

    /// Builds a relation on every worker and registers it for readers (not live yet). `log` is what its parents changed by after
    /// the epoch of its state, per worker; empty if they stand there too.
    pub fn build(&self, blueprint: impl Fn() -> Blueprint, log: Vec<Log>) -> Arc<Readable> {
        let first = blueprint();
        let steps = match first.fresh {
            true => Steps::new(Epoch::ZERO, Some(first.from)),
            false => Steps::new(first.from, first.first),
        };
        let parents: Vec<_> = first.body.parents().into_iter().filter_map(|id| self.relations.get(id)).collect();
        if first.fresh {
            stop_at(&parents, first.from);
        }
        let readable = first.body.readable(first.id, &first.arrangements);
        let readable = self.relations.insert(readable.following(first.from, parents, steps));
        if let Some(failure) = &first.failed {
            readable.fail(failure.clone());
        }
        let mut logs = log.into_iter();
        self.tell(|_| {
            let follower =
                Follower { view: readable.clone(), checkpoint_epochs: self.relations.checkpoint_epochs.clone() };
            let (blueprint, log) = (blueprint(), logs.next().unwrap_or_default());
            let ordeal = self.ordeal(&blueprint.name);
            Command::Build(Box::new(BuildContext { blueprint, follower, log, ordeal }))
        });
        readable
    }

    pub fn drop_relation(&mut self, id: RelationId) {
        self.relations.remove(id);
        self.detached.remove(&id);
        self.tell(|_| Command::Drop(id));
    }

    /// Closes `epoch` with everything that changed in it. A table in `stopped` gets the cause into its error set for good.
    pub fn close(&mut self, epoch: Epoch, changes: Vec<(RelationId, Changes)>, stopped: Vec<(RelationId, RowError)>) {
        let workers = self.workers();
        let changed = changes.iter().map(|(id, _)| *id).chain(stopped.iter().map(|(id, _)| *id)).collect();
        let quiet = Arc::new(self.quiet(epoch, &changed));
        self.closed = epoch;
        let mut shares: Vec<Vec<(RelationId, Vec<Packet>)>> = (0..workers).map(|_| vec![]).collect();
        for (id, changes) in changes {
            let (everywhere, packets) = packets(changes);
            let mut own: Vec<Vec<Packet>> = (0..workers).map(|_| everywhere.clone()).collect();
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
        self.tell(|_| {
            let changes = shares.next().expect("a share per worker");
            Command::Epoch { epoch, changes, quiet: quiet.clone() }
        });
    }

    /// Relations for which nothing happens in `epoch`, which is closed next, when the base tables in `changed` change: all that is at rest
    /// at the epoch before, on every worker, and reads none of those. They are at `epoch` as soon as they are told of it: an epoch costs
    /// what changes, and not what there is. Their operators do not hear of it.
    fn quiet(&self, epoch: Epoch, changed: &BTreeSet<RelationId>) -> BTreeSet<RelationId> {
        let mut quiet = BTreeSet::new();
        if epoch != self.closed.next() {
            return quiet;
        }
        // Ids ascend from parents to children.
        for relation in self.relations.all() {
            let is_quiet = !changed.contains(&relation.id)
                && relation.is_live()
                && !relation.has_failed()
                && !self.detached.contains(&relation.id)
                && relation.upper() == self.closed
                && relation.parents.iter().all(|parent| quiet.contains(&parent.id))
                && (relation.parents.is_empty() || relation.steps.pass(epoch));
            if is_quiet {
                quiet.insert(relation.id);
            }
        }
        quiet
    }

    /// Lets go of what is kept for a view after `cut`, until [`Engine::refill`].
    pub fn detach(&mut self, id: RelationId, cut: Epoch) {
        self.detached.insert(id);
        self.tell(|_| Command::Detach { id, cut });
    }

    /// Gives a detached view what its parents changed by up to `to`, per worker. `attach`: they still have what came after.
    pub fn refill(&mut self, id: RelationId, logs: Vec<Log>, to: Epoch, attach: bool) {
        if attach {
            self.detached.remove(&id);
        }
        let mut logs = logs.into_iter();
        self.tell(|_| Command::Refill { id, log: logs.next().unwrap_or_default(), to, attach });
    }

    /// Gives a view the next portion of its parents' rows, with its first step to `at`: to the epoch that is closed next, or further.
    pub fn backfill(&self, id: RelationId, portion: Portion, at: Epoch) {
        self.tell(|_| Command::Backfill { id, portion, at });
    }

    /// Lets go of history before these epochs.
    pub fn compact(&self, since: BTreeMap<RelationId, Epoch>) {
        let since = Arc::new(since);
        self.tell(|_| Command::Compact(since.clone()));
    }

    fn tell(&self, mut command: impl FnMut(usize) -> Command) {
        for (worker, (sender, alarm)) in self.commands.iter().enumerate() {
            // A worker that is gone has aborted the process already.
            let _ = sender.send(command(worker));
            alarm();
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

/// A worker on the thread that steps it.
pub struct Stepped {
    timely: Timely,
    worker: Worker,
}

impl Stepped {
    pub fn begin(commands: Commands) -> Self {
        // Without a clock of its own timely has no timers: what is to be done later is asked for again at every step.
        let allocator = Allocator::Thread(timely::communication::allocator::Thread::default());
        Self { timely: Timely::new(timely::WorkerConfig::default(), allocator, None), worker: Worker::new(commands) }
    }

    /// Carries out new commands, then gives every operator that has something to do a turn. False: it was told to end.
    pub fn step(&mut self) -> bool {
        self.worker.obey(&mut self.timely) && {
            self.timely.step();
            true
        }
    }

    /// Whether some relation has yet to reach an epoch that was closed.
    pub fn is_behind(&self) -> bool {
        self.worker.is_behind()
    }
}

/// A new reader begins with `relations` as of `epoch`, the last closed one: they and all they are made of stop there.
fn stop_at(relations: &[Arc<Readable>], epoch: Epoch) {
    let mut found = relations.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(relation) = found.pop() {
        if seen.insert(relation.id) {
            relation.steps.stop_at(epoch);
            found.extend(relation.parents.iter().cloned());
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

/// What every worker is told of a table, and what one of them is.
fn packets(changes: Changes) -> (Vec<Packet>, Vec<Packet>) {
    let everywhere = |truncated: bool, spilled: Vec<(Spilled, i64)>| {
        let spilled = spilled.into_iter().map(|(spilled, weight)| Packet::Spilled(spilled, weight));
        truncated.then_some(Packet::Truncate).into_iter().chain(spilled).collect()
    };
    match changes {
        Changes::Keyed(Fold { truncated, upserts, deletes, partial, failed, spilled }) => {
            let mut packets: Vec<Packet> = upserts.into_iter().map(Packet::Upserts).collect();
            packets.extend(deletes.into_iter().map(Packet::Deletes));
            packets.extend(partial.into_iter().map(Packet::Partial));
            packets.extend(failed.iter().map(Packet::failed));
            (everywhere(truncated, spilled), packets)
        }
        Changes::Bag(bag) => {
            let mut packets: Vec<Packet> = bag.rows.into_iter().map(Packet::Rows).collect();
            packets.extend(super::table::bag_failures(&bag.failed).map(Packet::Errors));
            (everywhere(bag.truncated, bag.spilled), packets)
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
