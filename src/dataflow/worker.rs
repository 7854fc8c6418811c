//! The loop of one worker: commands in one order, timely's steps, rest.

use super::backfill::Backfill;
use super::build::{self, Log, Plot};
use super::engine::World;
use super::host::Slice;
use super::operator::Place;
use super::packet::Packet;
use super::parts::Most;
use super::relations::{Failure, Readable, Work};
use super::tap::{Queue, Tap};
use super::turns::{Turn, Turns};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;
use timely::scheduling::Activator;
use timely::worker::Worker;
use tokio::sync::Notify;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::arrangement::Arrangement;
use weir_storage::env::Clock;
use weir_storage::key::Portion;

/// What the coordinator tells a worker. Every worker gets the same commands in the same order.
pub enum Command {
    /// An epoch closes: this worker's share of what the base tables changed by.
    Epoch {
        epoch: Epoch,
        changes: Vec<(RelationId, Vec<Packet>)>,
        /// Relations that are there at once.
        quiet: Arc<BTreeSet<RelationId>>,
    },
    Build(Box<Plot>),
    /// Ends a relation's dataflow. Its children have been dropped before.
    Drop(RelationId),
    /// A view's history is to be read from the store after `cut`: nothing later is kept for it here.
    Detach {
        id: RelationId,
        cut: Epoch,
    },
    /// What a detached view's parents changed by up to `to`. If they have let go of nothing after that, it follows them again.
    Refill {
        id: RelationId,
        log: Log,
        to: Epoch,
        attach: bool,
    },
    /// A view gets the next portion of its parents' rows, with its first step to `at`, which is not closed yet.
    Backfill {
        id: RelationId,
        portion: Portion,
        at: Epoch,
    },
    /// History below these epochs is not needed any more.
    Compact(Arc<BTreeMap<RelationId, Epoch>>),
    Stop,
}

/// A relation on one worker.
pub struct Relation {
    pub id: RelationId,
    pub place: Place,
    pub is_table: bool,
    pub ordeal: Ordeal,
    /// Pieces of work its operators have begun.
    pieces: Cell<u64>,
    /// Fed by the epochs themselves, not by parents.
    pub is_root: bool,
    pub rows: Arrangement,
    /// All arrangements, those of operators too; rows and errors last.
    pub arrangements: Vec<Arrangement>,
    pub tap: Tap,
    pub clock: Arc<dyn Clock>,
    readable: Arc<Readable>,
    wake: Arc<Notify>,
    turns: Rc<Turns>,
    /// Bytes that may wait for one of its operators.
    pub limit: usize,
    /// Of a part of an epoch.
    part: Most,
    /// Hosts for which more waits: bits by their numbers.
    full: Cell<u64>,
    /// Where it stood when it was built: the epoch it was restored at, or none.
    pub stood: Epoch,
    upper: Cell<Epoch>,
    stopped: Cell<bool>,
    /// Operators to wake when the relation moves or ends.
    watchers: RefCell<Vec<Activator>>,
}

impl Relation {
    pub fn new(plot: &Plot, place: Place, world: &World, turns: Rc<Turns>) -> Self {
        let Plot { blueprint, follower, .. } = plot;
        let arrangements = blueprint.arrangements[place.worker].clone();
        let stood = if blueprint.fresh { Epoch::ZERO } else { blueprint.from };
        Self {
            id: blueprint.id,
            place,
            is_table: blueprint.is_table(),
            ordeal: plot.ordeal,
            is_root: blueprint.is_root(),
            rows: arrangements[arrangements.len() - 2].clone(),
            arrangements,
            tap: Tap::default(),
            clock: world.clock.clone(),
            readable: follower.view.clone(),
            wake: world.wake.clone(),
            turns,
            limit: world.limit,
            part: world.part,
            full: Cell::default(),
            stood,
            upper: Cell::new(stood),
            stopped: Cell::new(false),
            pieces: Cell::new(0),
            watchers: RefCell::default(),
        }
    }

    /// Reached on this worker, inclusive.
    pub fn upper(&self) -> Epoch {
        self.upper.get()
    }

    /// For an operator of it that has work to do. `None`: others come first; it is to ask again.
    pub fn turn(&self) -> Option<Turn> {
        self.turns.take(self.id.0, self.is_behind())
    }

    /// Whether it is a view that is being made or far behind.
    pub fn is_behind(&self) -> bool {
        !self.is_table && (!self.readable.is_live() || self.turns.is_behind(self.upper()))
    }

    /// What one of its operators takes at once of an epoch, at most.
    pub fn part(&self) -> Most {
        if self.is_behind() { self.little() } else { self.part }
    }

    /// The same for whoever must not take long at anything.
    pub fn little(&self) -> Most {
        Most { rows: (self.part.rows / 32).max(1), ..self.part }
    }

    /// Says whether the host of this number has too much to do. Of hosts that many others lead to, nothing is remembered.
    pub fn fill(&self, number: u32, is_full: bool) {
        let bit = 1u64.checked_shl(number).unwrap_or(0);
        self.full.set(if is_full { self.full.get() | bit } else { self.full.get() & !bit });
    }

    /// Whether a host that one of this number may feed has too much to do.
    pub fn is_full(&self, number: u32) -> bool {
        let below = 1u64.checked_shl(number).map_or(u64::MAX, |bit| bit - 1);
        !self.has_failed() && self.full.get() & below != 0
    }

    /// How much there is to do, and how much is done.
    pub fn work(&self) -> &Work {
        &self.readable.work
    }

    /// Everything up to `epoch` is applied: readers and children may go there.
    pub fn reach(&self, epoch: Epoch) {
        if epoch <= self.upper.get() {
            return;
        }
        self.upper.set(epoch);
        for arrangement in &self.arrangements {
            arrangement.advance(epoch);
        }
        self.tap.upper(epoch);
        self.readable.reach(self.place.worker, epoch);
        self.wake.notify_one();
        if self.is_table {
            self.wake_watchers();
        }
    }

    /// Is at `epoch`, where nothing happened to it. Relations that are `quiet` as well need not hear of it.
    fn pass(&self, epoch: Epoch, quiet: &BTreeSet<RelationId>) {
        self.upper.set(epoch);
        self.arrangements.iter().for_each(|arrangement| arrangement.advance(epoch));
        self.tap.pass(epoch, quiet);
        self.readable.pass(self.place.worker, epoch, quiet);
        self.wake.notify_one();
    }

    /// What it changed by after `after`, epoch by epoch.
    fn log(&self, after: Epoch) -> Result<Vec<(Epoch, Packet)>> {
        let mut log = vec![];
        let errors = self.arrangements.last().expect("rows and errors");
        let mut epoch = after;
        // Nothing happened between two generations.
        if epoch.generation() != self.upper().generation() {
            epoch = self.upper().generation().start();
        }
        while epoch < self.upper() {
            let next = epoch.next();
            let rows = self.rows.changes(epoch, next).map_err(super::internal)?;
            log.extend(rows.into_iter().map(|delta| (next, Packet::Rows(delta))));
            let errors = errors.changes(epoch, next).map_err(super::internal)?;
            log.extend(errors.into_iter().map(|delta| (next, Packet::Errors(delta))));
            epoch = next;
        }
        Ok(log)
    }

    /// Gives a child's queue what this relation has changed by after `after`, and how far it has come.
    pub fn tell(&self, queue: &Queue, after: Epoch) -> Result<()> {
        self.log(after)?.into_iter().for_each(|(epoch, packet)| queue.push(epoch, packet));
        queue.advance(self.upper());
        Ok(())
    }

    pub fn watch(&self, activator: Activator) {
        self.watchers.borrow_mut().push(activator);
    }

    fn wake_watchers(&self) {
        self.watchers.borrow().iter().for_each(Activator::activate);
    }

    /// Does work of one of its operators. An error or a panic in it is the relation's failure and nobody else's: it keeps its last epoch,
    /// says why, and everything else goes on (I12). Sound, since what the work has changed is seen by nobody at a later epoch.
    pub fn contain<T>(&self, work: impl FnOnce() -> Result<T>) -> Option<T> {
        if self.has_failed() {
            return None;
        }
        let piece = self.pieces.replace(self.pieces.get() + 1);
        let work = || {
            assert!(self.ordeal.panics_at != Some(piece), "a panic was asked for");
            work()
        };
        let error = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error,
            Err(panic) => Error::internal(format!("an operator panicked: {}", reason(&*panic))),
        };
        self.fail(error);
        None
    }

    pub fn fail(&self, cause: Error) {
        tracing::debug!(relation = %self.id, worker = self.place.worker, %cause, "a relation has failed on a worker");
        self.readable.fail(Failure { of: self.id, cause });
        self.wake.notify_one();
    }

    /// On some worker, or because a relation that it reads has.
    pub fn has_failed(&self) -> bool {
        self.readable.has_failed()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    fn stop(&self) {
        self.stopped.set(true);
        self.wake_watchers();
    }
}

/// What a panic says.
fn reason(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

/// What the operators of a relation go through, for tests of what it does to others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordeal {
    /// How long those of a view rest before every step.
    pub rest: Duration,
    /// The piece of work, counted on each worker from 0, at which one panics.
    pub panics_at: Option<u64>,
}

/// What a worker holds of a relation beside its dataflow.
pub struct Running {
    pub relation: Rc<Relation>,
    pub feeds: Vec<Feed>,
}

/// What one of a relation's sources reads.
pub struct Feed {
    /// A parent; the relation itself, if it has none.
    pub of: RelationId,
    pub queue: Rc<Queue>,
    pub backfill: Rc<Backfill>,
}

impl Feed {
    /// What a relation without parents is fed with.
    pub fn of(id: RelationId, queue: Rc<Queue>) -> Self {
        Self { of: id, queue, backfill: Rc::new(Backfill::none()) }
    }
}

/// Where a worker hears what it is told.
pub struct Orders {
    commands: Receiver<Command>,
    world: World,
}

impl Orders {
    pub fn new(commands: Receiver<Command>, world: World) -> Self {
        Self { commands, world }
    }
}

/// The relations of one worker.
pub struct Crew {
    orders: Orders,
    running: BTreeMap<RelationId, Running>,
    /// Those that may have yet to reach the last epoch; all others have, since they were at rest when it closed.
    late: BTreeSet<RelationId>,
    turns: Rc<Turns>,
    /// Arrangements of relations that may have memory to give back.
    untidy: VecDeque<(RelationId, usize)>,
}

/// Who gives memory back takes turns under this name.
const TIDYING: u32 = u32::MAX;

/// How long a worker rests that is to tidy up and has to let others go first.
const PATIENCE: Duration = Duration::from_millis(1);

impl Crew {
    pub fn new(orders: Orders) -> Self {
        let turns = Rc::new(Turns::new(orders.world.clock.clone(), orders.world.leap_after));
        Self { orders, running: BTreeMap::new(), late: BTreeSet::new(), turns, untidy: VecDeque::new() }
    }

    /// Carries out what was told since the last step. False: the end, everything is dropped.
    pub fn obey(&mut self, worker: &mut Worker) -> bool {
        self.tidy();
        loop {
            match self.orders.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    end(worker);
                    return false;
                }
                Ok(command) => {
                    if let Command::Epoch { epoch, .. } = &command {
                        self.turns.close(*epoch);
                    }
                    self.carry_out(worker, command);
                }
                Err(TryRecvError::Empty) => {
                    if !self.late.is_empty() {
                        self.late = self.unfinished().map(|relation| relation.id).collect();
                    }
                    self.turns.step(self.is_waited_for());
                    return true;
                }
            }
        }
    }

    /// Gives memory back for a slice, if it is its turn.
    fn tidy(&mut self) {
        if self.untidy.is_empty() {
            return;
        }
        let Some(_turn) = self.turns.take(TIDYING, true) else { return };
        let slice = Slice::begin(&self.orders.world.clock);
        while let Some((id, index)) = self.untidy.pop_front() {
            if self.running.get(&id).is_some_and(|running| running.relation.arrangements[index].reclaim()) {
                self.untidy.push_front((id, index));
            }
            if slice.is_over() {
                break;
            }
        }
    }

    /// Whether some relation has yet to reach the last epoch that was closed.
    pub fn is_behind(&self) -> bool {
        self.unfinished().next().is_some()
    }

    /// Whether some of those are relations that keep up.
    fn is_waited_for(&self) -> bool {
        self.unfinished().any(|relation| !relation.is_behind())
    }

    fn unfinished(&self) -> impl Iterator<Item = &Relation> {
        let closed = self.turns.closed();
        let relations = self.late.iter().filter_map(|id| Some(&*self.running.get(id)?.relation));
        relations.filter(move |relation| relation.upper() < closed && !relation.has_failed())
    }

    /// Runs until `Stop` or until the coordinator is gone. Whoever sends a command unparks this thread.
    pub fn run(mut self, worker: &mut Worker) {
        while self.obey(worker) {
            worker.step_or_park((!self.untidy.is_empty()).then_some(PATIENCE));
        }
    }

    fn carry_out(&mut self, worker: &mut Worker, command: Command) {
        let running = &mut self.running;
        match command {
            Command::Epoch { epoch, changes, quiet } => {
                for (id, packets) in changes {
                    if let Some(table) = running.get(&id) {
                        packets.into_iter().for_each(|packet| table.feeds[0].queue.push(epoch, packet));
                    }
                }
                for (id, Running { relation, feeds }) in running.iter() {
                    match (quiet.contains(id), relation.is_root) {
                        (true, is_root) => {
                            if is_root {
                                feeds[0].queue.pass(epoch);
                            }
                            relation.pass(epoch, &quiet);
                        }
                        (false, is_root) => {
                            if is_root {
                                feeds[0].queue.advance(epoch);
                            }
                            self.late.insert(*id);
                        }
                    }
                }
            }
            Command::Build(plot) => {
                let place = Place { worker: worker.index(), workers: worker.peers() };
                let relation = Rc::new(Relation::new(&plot, place, &self.orders.world, self.turns.clone()));
                let feeds = build::dataflow(worker, *plot, &relation, running);
                self.untidy.extend((0..relation.arrangements.len()).map(|index| (relation.id, index)));
                self.late.insert(relation.id);
                running.insert(relation.id, Running { relation, feeds });
            }
            Command::Drop(id) => {
                if let Some(gone) = running.remove(&id) {
                    gone.relation.stop();
                    gone.feeds.iter().for_each(|feed| feed.queue.close());
                }
            }
            Command::Detach { id, cut } => {
                for feed in running.get(&id).iter().flat_map(|view| &view.feeds) {
                    feed.queue.detach(cut);
                }
            }
            Command::Refill { id, log, to, attach } => refill(running, id, &log, to, attach),
            Command::Backfill { id, portion, at } => {
                for feed in running.get(&id).iter().flat_map(|view| &view.feeds) {
                    feed.backfill.begin(parent(running, feed.of), portion, at);
                    feed.queue.wake();
                }
            }
            Command::Compact(since) => {
                for (id, since) in since.iter() {
                    if let Some(running) = running.get(id) {
                        running.relation.arrangements.iter().for_each(|a| a.compact(*since));
                    }
                }
                // What is being tidied goes on.
                self.untidy.truncate(1);
                for (id, Running { relation, .. }) in running {
                    self.untidy.extend((0..relation.arrangements.len()).map(|index| (*id, index)));
                }
            }
            Command::Stop => unreachable!("ends the loop"),
        }
    }
}

fn refill(running: &BTreeMap<RelationId, Running>, id: RelationId, log: &Log, to: Epoch, attach: bool) {
    let Some(view) = running.get(&id) else { return };
    for Feed { of, queue, .. } in &view.feeds {
        for (epoch, packet) in log.get(of).into_iter().flatten() {
            queue.refill(*epoch, packet.clone());
        }
        queue.reach(to);
        if !attach {
            continue;
        }
        queue.attach();
        if let Err(error) = parent(running, *of).tell(queue, to) {
            return view.relation.fail(error);
        }
    }
}

fn parent(running: &BTreeMap<RelationId, Running>, id: RelationId) -> &Relation {
    &running.get(&id).expect("parents outlive their children").relation
}

/// Sources keep their capabilities, so nothing ends by itself: drop every dataflow, or the worker never returns.
fn end(worker: &mut Worker) {
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}
