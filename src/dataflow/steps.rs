//! Steps: the epochs at which a view stops. Only there is it readable, and only there does its content mean anything (I3).
//!
//! A view that keeps up stops at every epoch. One that has fallen behind *jumps*: it goes to the newest checkpoint epoch that its
//! parents have reached, and all changes on the way there are one. Every worker goes the same steps: whoever asks first chooses,
//! the others follow. A view stops only where all of its parents have stopped. Checkpoint epochs serve as targets because a
//! checkpoint can hold a view only where it stops, and so that views which jumped meet again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use weir_storage::Epoch;

/// Steps under way at a time: while one is finished on some worker, others may begin the next.
const UNDER_WAY: usize = 4;

/// Epochs a view may be behind before it jumps. Below that it is sooner there step by step, and readable at each.
pub const JUMP_AFTER: u64 = 32;

/// The epochs of checkpoints, from the oldest that some view has yet to pass.
pub struct CheckpointEpochs {
    epochs: Mutex<VecDeque<Epoch>>,
    /// Epochs a view may be behind before it jumps.
    jump_after: u64,
}

impl CheckpointEpochs {
    pub fn new(jump_after: u64) -> Self {
        Self { epochs: Mutex::default(), jump_after }
    }

    /// `epoch`, the newest that is closed, is one of a checkpoint.
    pub fn push(&self, epoch: Epoch) {
        let mut checkpoint_epochs = self.lock();
        if checkpoint_epochs.back().is_none_or(|last| *last < epoch) {
            checkpoint_epochs.push_back(epoch);
        }
    }

    /// The newest in `after < candidate <= to` that is `fit`.
    pub fn newest(&self, after: Epoch, to: Epoch, fit: impl Fn(Epoch) -> bool) -> Option<Epoch> {
        self.lock()
            .iter()
            .rev()
            .copied()
            .skip_while(|candidate| *candidate > to)
            .take_while(|candidate| *candidate > after)
            .find(|m| fit(*m))
    }

    /// The oldest from `epoch` on that is `fit`.
    pub fn oldest(&self, epoch: Epoch, fit: impl Fn(Epoch) -> bool) -> Option<Epoch> {
        self.lock().iter().copied().find(|candidate| *candidate >= epoch && fit(*candidate))
    }

    /// Every relation has passed `epoch`.
    pub fn forget(&self, epoch: Epoch) {
        let mut checkpoint_epochs = self.lock();
        while checkpoint_epochs.pop_front_if(|first| *first < epoch).is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Epoch>> {
        self.epochs.lock().expect("nobody panics holding the epochs")
    }
}

/// A relation that others read, as their steps see it.
pub trait Parent {
    /// Reached on every worker, inclusive.
    fn upper(&self) -> Epoch;

    /// The first epoch from `epoch` on at which it stops, as far as its steps are known.
    fn readable_at_or_after(&self, epoch: Epoch) -> Epoch;
}

/// The steps of one relation. Base tables go through every epoch and jump nowhere.
#[derive(Default)]
pub struct Steps(Mutex<State>);

#[derive(Default)]
struct State {
    /// Not known to be reached by all workers, ascending.
    under_way: VecDeque<Epoch>,
    last: Epoch,
    /// Somebody is going to read this relation as of these: no jump passes over them.
    stops: BTreeSet<Epoch>,
    /// Goes no further until this is lifted.
    limit: Option<Epoch>,
    /// `(from, to)` of each jump that somebody may yet ask about, ascending.
    jumps: VecDeque<(Epoch, Epoch)>,
}

impl Steps {
    /// Of a relation that stands at `at`. Its first step leads to `first`, if that is said.
    pub fn new(at: Epoch, first: Option<Epoch>) -> Self {
        let mut state = State { last: at, ..State::default() };
        if let Some(first) = first {
            state.step(first);
        }
        Self(Mutex::new(state))
    }

    /// The step after the one to `sent`, for a relation that all workers have brought to `reached`. `None`: not yet.
    pub fn next(
        &self,
        sent: Epoch,
        reached: Epoch,
        parents: &[Arc<impl Parent>],
        checkpoint_epochs: &CheckpointEpochs,
    ) -> Option<Epoch> {
        let mut state = self.lock();
        while state.under_way.pop_front_if(|first| *first <= reached).is_some() {}
        if let Some(next) = state.under_way.iter().find(|epoch| **epoch > sent) {
            return Some(*next);
        }
        if state.under_way.len() >= UNDER_WAY {
            return None;
        }
        let offered = parents.iter().map(|parent| parent.upper()).min()?;
        if offered <= state.last {
            return None;
        }
        let at = |epoch| readable_at_or_after(epoch, parents);
        let far = offered.as_u64() - state.last.as_u64() > checkpoint_epochs.jump_after;
        // What is under way is in memory, however much it is: one jump at a time.
        if far && !state.under_way.is_empty() {
            return None;
        }
        let jump = far
            .then(|| checkpoint_epochs.newest(state.last, offered, |candidate| at(candidate) == candidate))
            .flatten();
        let next = jump.unwrap_or_else(|| at(following(state.last, offered)));
        let stop = state.stops.iter().copied().find(|stop| *stop > state.last);
        let next = stop.map_or(next, |stop| stop.min(next));
        if next > offered || state.limit.is_some_and(|limit| next > limit) {
            return None;
        }
        state.step(next);
        Some(next)
    }

    /// Makes a step to `epoch`, of which no source hears, for a relation that has reached its last one: there is nothing to do in
    /// it. False, and no step: it is not the next one, or is not to go on.
    pub fn pass(&self, epoch: Epoch) -> bool {
        let mut state = self.lock();
        let passes = state.last.next() == epoch && state.limit.is_none();
        if passes {
            state.last = epoch;
            state.stops.retain(|stop| *stop > epoch);
        }
        passes
    }

    /// Makes the relation stop at `epoch`, which is closed and not passed by a step yet.
    pub fn stop_at(&self, epoch: Epoch) {
        let mut state = self.lock();
        if epoch > state.last {
            state.stops.insert(epoch);
        }
    }

    /// Goes no further than to the first checkpoint epoch it can stop at and that is `fit`, which is returned, until [`Steps::resume`].
    /// `None`: there is none yet, and nothing has changed.
    pub fn limit(
        &self,
        parents: &[Arc<impl Parent>],
        checkpoint_epochs: &CheckpointEpochs,
        fit: impl Fn(Epoch) -> bool,
    ) -> Option<Epoch> {
        let mut state = self.lock();
        let limit = checkpoint_epochs
            .oldest(state.last, |candidate| readable_at_or_after(candidate, parents) == candidate && fit(candidate))?;
        state.limit = Some(limit);
        if limit > state.last {
            state.stops.insert(limit);
        }
        Some(limit)
    }

    /// Goes to `to` next, in one step, and then on: no further than to `limit`.
    pub fn resume(&self, to: Epoch, limit: Option<Epoch>) {
        let mut state = self.lock();
        state.limit = limit;
        state.step(to);
    }

    /// The first epoch from `epoch` on at which the relation stops, as far as its steps are known.
    pub fn readable_at_or_after(&self, epoch: Epoch) -> Epoch {
        self.lock().jump_over(epoch).map_or(epoch, |(_, to)| to)
    }

    /// The last epoch up to `epoch` at which the relation stopped.
    pub fn stopped(&self, epoch: Epoch) -> Epoch {
        self.lock().jump_over(epoch).map_or(epoch, |(from, _)| from)
    }

    /// Nobody asks about epochs before `epoch` any more.
    pub fn forget(&self, epoch: Epoch) {
        let mut state = self.lock();
        while state.jumps.pop_front_if(|(_, to)| *to <= epoch).is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics holding the steps")
    }
}

impl State {
    fn step(&mut self, to: Epoch) {
        if to.as_u64() > self.last.as_u64() + 1 {
            self.jumps.push_back((self.last, to));
        }
        self.last = to;
        self.under_way.push_back(to);
        self.stops.retain(|stop| *stop > to);
    }

    fn jump_over(&self, epoch: Epoch) -> Option<(Epoch, Epoch)> {
        let at = self.jumps.partition_point(|(_, to)| *to <= epoch);
        self.jumps.get(at).copied().filter(|(from, _)| *from < epoch)
    }
}

/// The epoch after `last`: a generation begins where the one before broke off.
fn following(last: Epoch, offered: Epoch) -> Epoch {
    match offered.generation() == last.generation() {
        true => last.next(),
        false => offered.generation().start().next(),
    }
}

/// The first epoch from `epoch` on at which all `parents` stop.
pub fn readable_at_or_after(mut epoch: Epoch, parents: &[Arc<impl Parent>]) -> Epoch {
    loop {
        let next = parents.iter().fold(epoch, |epoch, parent| parent.readable_at_or_after(epoch));
        if next == epoch {
            return epoch;
        }
        epoch = next;
    }
}
