//! What has been taken from the feed and not yet been handed over: more than is folded while the coordinator waits is folded beside it.
//! Nothing that comes later is handed over before.

use super::feed::Taken;
use super::lsn::Lsn;
use crate::connector::{Batch, Waiting};
use std::sync::{Mutex, MutexGuard};

/// What is no more than this is folded when it is taken.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce {
    pub rows: usize,
    pub bytes: usize,
}

impl Default for AtOnce {
    fn default() -> Self {
        Self { rows: 128 * 1024, bytes: 32 << 20 }
    }
}

/// Of one source.
pub struct Aside {
    at_once: AtOnce,
    state: Mutex<State>,
}

enum State {
    Nothing,
    BeingFolded,
    Folded(Batch, Lsn, Waiting),
}

/// What becomes of a take.
pub enum Next {
    /// Nothing waits, or it is not folded yet.
    Nothing,
    /// To be folded and handed over.
    Now(Taken),
    /// To be folded elsewhere, and given to [`Aside::folded`].
    Later(Taken),
    /// To be handed over; up to where.
    Ready(Batch, Lsn),
}

impl Aside {
    pub fn new(at_once: AtOnce) -> Self {
        Self { at_once, state: Mutex::new(State::Nothing) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// What can be taken; `feed`: what waits there.
    pub fn waiting(&self, feed: impl FnOnce() -> Waiting) -> Waiting {
        match &*self.state() {
            State::Nothing => feed(),
            State::BeingFolded => Waiting::default(),
            State::Folded(_, _, waiting) => *waiting,
        }
    }

    /// `feed`: takes what waits there.
    pub fn take(&self, feed: impl FnOnce() -> Option<Taken>) -> Next {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Nothing) {
            State::Nothing => {}
            State::BeingFolded => {
                *state = State::BeingFolded;
                return Next::Nothing;
            }
            State::Folded(batch, place, _) => return Next::Ready(batch, place),
        }
        let Some(taken) = feed() else { return Next::Nothing };
        let waiting = taken.waiting();
        if waiting.rows <= self.at_once.rows && waiting.bytes <= self.at_once.bytes {
            return Next::Now(taken);
        }
        *state = State::BeingFolded;
        Next::Later(taken)
    }

    /// `batch` is what was to be folded later, up to `place`; `waiting` as it was.
    pub fn folded(&self, batch: Batch, place: Lsn, waiting: Waiting) {
        *self.state() = State::Folded(batch, place, waiting);
    }
}
