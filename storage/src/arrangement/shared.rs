//! What one thread writes and any reads, under its locks.

use super::spec::Spec;
use super::state::State;
use crate::epoch::Epoch;
use crate::limits::Limits;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What all handles of an arrangement share.
pub(super) struct Shared {
    pub(super) spec: Spec,
    pub(super) limits: Limits,
    state: RwLock<State>,
    /// Epochs that snapshots read at, and how many do. Taken before `state` by whoever takes both.
    pins: Mutex<BTreeMap<Epoch, usize>>,
}

impl Shared {
    pub(super) fn new(spec: Spec, limits: Limits) -> Self {
        let state = RwLock::new(State::new(spec.clone(), limits));
        Self { spec, limits, state, pins: Mutex::default() }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // A writer that panicked was a failed relation's: what it was about to add is of an epoch that nobody reads.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the keys in order (Ordered).
    pub(super) fn read_sorted(&self) -> RwLockReadGuard<'_, State> {
        loop {
            let state = self.read();
            if state.sorted.fresh() == 0 {
                return state;
            }
            drop(state);
            self.write().sorted.settle();
        }
    }

    /// Whether a writer has panicked.
    pub(super) fn is_broken(&self) -> bool {
        self.state.is_poisoned()
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pins(&self) -> MutexGuard<'_, BTreeMap<Epoch, usize>> {
        self.pins.lock().expect("nobody panics holding the pins")
    }

    pub(super) fn unpin(&self, epoch: Epoch) {
        let mut pins = self.pins();
        let count = pins.get_mut(&epoch).expect("a snapshot's epoch is pinned");
        *count -= 1;
        if *count == 0 {
            pins.remove(&epoch);
        }
    }
}
