//! A relation on one worker: how far it is here, and what becomes of it when its work fails.

use super::blueprint::{BuildContext, Ordeal};
use super::operator::Place;
use super::packet::Packet;
use super::relations::{Failure, Readable, Work};
use super::scheduler::{Scheduler, Turn};
use super::tap::{GROUP, Queue, Tap};
use super::world::{Most, World};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use timely::scheduling::Activator;
use tokio::sync::Notify;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::env::Clock;
use weir_storage::{Delta, Epoch};

/// A relation on one worker.
pub struct Relation {
    pub id: RelationId,
    pub place: Place,
    pub is_table: bool,
    pub ordeal: Ordeal,
    /// Pieces of its work that were begun.
    pieces: Cell<u64>,
    /// Fed by the epochs themselves, not by parents.
    pub is_root: bool,
    /// On this worker.
    pub arrangements: Roles<Arrangement>,
    pub tap: Tap,
    pub clock: Arc<dyn Clock>,
    readable: Arc<Readable>,
    wake: Arc<Notify>,
    scheduler: Rc<Scheduler>,
    /// Bytes that may wait for one of its operators.
    pub limit: usize,
    /// Of a part of an epoch.
    part: Most,
    /// Hosts for which more waits: bits by their numbers.
    full: Cell<u64>,
    /// Where it stood when it was built: the epoch it was restored at, or none.
    pub restored_at: Epoch,
    upper: Cell<Epoch>,
    stopped: Cell<bool>,
    /// Operators to wake when the relation moves or ends.
    watchers: RefCell<Vec<Activator>>,
}

impl Relation {
    pub fn new(context: &BuildContext, place: Place, world: &World, scheduler: Rc<Scheduler>) -> Self {
        let BuildContext { blueprint, follower, .. } = context;
        let arrangements = blueprint.arrangements.map(|workers| workers[place.worker].clone());
        let restored_at = if blueprint.fresh { Epoch::ZERO } else { blueprint.from };
        Self {
            id: blueprint.id,
            place,
            is_table: blueprint.is_table(),
            ordeal: context.ordeal,
            is_root: blueprint.is_root(),
            arrangements,
            tap: Tap::new(GROUP.min(world.part.rows)),
            clock: world.clock.clone(),
            readable: follower.view.clone(),
            wake: world.wake.clone(),
            scheduler,
            limit: world.limit,
            part: world.part,
            full: Cell::default(),
            restored_at,
            upper: Cell::new(restored_at),
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
        self.scheduler.take(self.id.0, self.is_behind())
    }

    /// Whether it is a view that is being made or far behind.
    pub fn is_behind(&self) -> bool {
        !self.is_table && (!self.readable.is_live() || self.scheduler.is_behind(self.upper()))
    }

    /// What one of its operators takes at once of an epoch, at most.
    pub fn part(&self) -> Most {
        if self.is_behind() { self.small_batch() } else { self.part }
    }

    /// The same for whoever must not take long at anything.
    pub fn small_batch(&self) -> Most {
        Most { rows: (self.part.rows / 32).max(1), ..self.part }
    }

    /// Rows of work that one of its operators does at once: `usual`, or as many as two parts have.
    pub fn budget(&self, usual: usize) -> usize {
        usual.min(self.part().rows.saturating_mul(2))
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
        for arrangement in self.arrangements.iter() {
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
    pub fn pass(&self, epoch: Epoch, quiet: &BTreeSet<RelationId>) {
        self.upper.set(epoch);
        self.arrangements.iter().for_each(|arrangement| arrangement.advance(epoch));
        self.tap.pass(epoch, quiet);
        self.readable.pass(self.place.worker, epoch, quiet);
        self.wake.notify_one();
    }

    /// What it changed by after `after`, epoch by epoch.
    fn log(&self, after: Epoch) -> Result<Vec<(Epoch, Packet)>> {
        let mut log = vec![];
        let Roles { rows, errors, .. } = &self.arrangements;
        let mut epoch = after;
        // Nothing happened between two generations.
        if epoch.generation() != self.upper().generation() {
            epoch = self.upper().generation().start();
        }
        while epoch < self.upper() {
            let next = epoch.next();
            let deltas = rows.changes(epoch, next).map_err(super::internal)?;
            log.extend(deltas.into_iter().map(|delta| (next, Packet::Rows(delta))));
            let deltas = errors.changes(epoch, next).map_err(super::internal)?;
            log.extend(deltas.into_iter().map(|delta| (next, Packet::Errors(delta))));
            epoch = next;
        }
        Ok(log)
    }

    /// What rows and errors change by in `epoch`, all of which is applied: it may be reached next.
    pub fn changed(&self, epoch: Epoch) -> Result<[Vec<Delta>; 2]> {
        let changed = |arrangement: &Arrangement| {
            arrangement.advance(epoch);
            let after = self.upper().max(epoch.generation().start());
            arrangement.changes(after, epoch).map_err(super::internal)
        };
        Ok([changed(&self.arrangements.rows)?, changed(&self.arrangements.errors)?])
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

    /// Does a piece of its work: of its operators, of building it, of what feeds it, of giving its memory back. An error or a panic in it
    /// is the relation's failure and nobody else's: it keeps its last epoch, says why, and everything else goes on (I12). Sound, since what
    /// the work has changed is seen by nobody at a later epoch. Not for timely's own calls: all workers make the same ones. `None`: it has
    /// failed.
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

    pub fn stop(&self) {
        self.stopped.set(true);
        self.wake_watchers();
    }
}

/// What a panic says.
fn reason(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}
