//! The scheduler: whose work comes first on a worker.
//!
//! Tables, and views that keep up, work whenever they have something to do. Views that are being made or are far behind together get one
//! slice between two of timely's steps, and one in ten while any of the others has yet to reach the last epoch. What gives memory back is
//! one of them.

use super::slice::SLICE;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use weir_storage::Epoch;
use weir_storage::env::Clock;

/// Of ten slices, so many are left to those that keep up.
const OTHERS: u32 = 9;

/// Of one worker.
pub struct Scheduler {
    clock: Arc<dyn Clock>,
    /// Epochs a view may be behind and still keep up.
    jump_after: u64,
    /// The last epoch that was closed.
    closed: Cell<Epoch>,
    /// Whether some of those that keep up have work.
    waited_for: Cell<bool>,
    /// What those behind have had in this step of timely's.
    used: Cell<Duration>,
    /// Monotonic microseconds before which they get nothing while others are waited for.
    next: Cell<u64>,
    /// Who of them got the last slice, who came in vain since the last step, and to whom the next one is promised.
    served: Cell<u32>,
    refused: RefCell<BTreeSet<u32>>,
    promised: Cell<Option<u32>>,
}

/// Work under way, until this is dropped.
pub struct Turn {
    /// Of one that is behind, with its beginning.
    behind: Option<(Rc<Scheduler>, u64)>,
}

impl Scheduler {
    pub fn new(clock: Arc<dyn Clock>, jump_after: u64) -> Self {
        Self {
            clock,
            jump_after,
            closed: Cell::new(Epoch::ZERO),
            waited_for: Cell::default(),
            used: Cell::default(),
            next: Cell::default(),
            served: Cell::default(),
            refused: RefCell::default(),
            promised: Cell::default(),
        }
    }

    pub fn close(&self, epoch: Epoch) {
        self.closed.set(epoch);
    }

    pub fn closed(&self) -> Epoch {
        self.closed.get()
    }

    /// Timely is going to make a step. `waited_for`: somebody who keeps up has yet to reach the last epoch.
    pub fn step(&self, waited_for: bool) {
        self.waited_for.set(waited_for);
        self.used.set(Duration::ZERO);
        // Timely goes through its dataflows in the same order every time; here everybody's turn comes.
        let mut refused = self.refused.borrow_mut();
        let after = (Bound::Excluded(self.served.get()), Bound::Unbounded);
        let next = refused.range(after).next().or(refused.first());
        // Who did not come when it was promised must not keep the others waiting once more: they might miss each other for ever.
        let has_come = self.promised.get().is_none();
        self.promised.set(next.copied().filter(|_| has_come));
        refused.clear();
    }

    /// Whether a relation that stands at `upper` is too far behind to come first.
    pub fn is_behind(&self, upper: Epoch) -> bool {
        self.closed.get().as_u64() > upper.as_u64() + self.jump_after
    }

    /// For a relation that has work to do. `None`: not now.
    pub fn take(self: &Rc<Self>, id: u32, is_behind: bool) -> Option<Turn> {
        if !is_behind {
            return Some(Turn { behind: None });
        }
        let now = self.clock.monotonic();
        let may = (!self.waited_for.get() || now >= self.next.get()) && self.used.get() < SLICE;
        if !may || self.promised.get().is_some_and(|other| other != id) {
            self.refused.borrow_mut().insert(id);
            return None;
        }
        self.served.set(id);
        self.promised.set(None);
        Some(Turn { behind: Some((self.clone(), now)) })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((scheduler, began)) = &self.behind else { return };
        let now = scheduler.clock.monotonic();
        let took = Duration::from_micros(now - began);
        scheduler.used.set(scheduler.used.get() + took);
        scheduler.next.set(now + (took * OTHERS).as_micros() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that somebody moves.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> i64 {
            self.monotonic() as i64
        }

        fn monotonic(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn scheduler() -> (Arc<Hand>, Rc<Scheduler>) {
        let hand = Arc::new(Hand::default());
        (hand.clone(), Rc::new(Scheduler::new(hand, 32)))
    }

    /// Whether one that is behind may work; then it does so for a time.
    fn works(hand: &Hand, scheduler: &Rc<Scheduler>, micros: u64) -> bool {
        let Some(_turn) = scheduler.take(1, true) else { return false };
        hand.0.fetch_add(micros, Ordering::Relaxed);
        true
    }

    #[test]
    fn between_two_steps_there_is_one_slice_for_those_behind() {
        let (hand, scheduler) = scheduler();
        for _ in 0..3 {
            scheduler.step(false);
            assert!(works(&hand, &scheduler, 1_500));
            assert!(works(&hand, &scheduler, 600));
            assert!(!works(&hand, &scheduler, 0));
            assert!(scheduler.take(1, false).is_some(), "who keeps up need not wait");
        }
    }

    #[test]
    fn while_they_are_waited_for_they_get_one_slice_in_ten() {
        let (hand, scheduler) = scheduler();
        let mut worked = 0;
        for _ in 0..1_000 {
            scheduler.step(true);
            hand.0.fetch_add(500, Ordering::Relaxed);
            worked += u32::from(works(&hand, &scheduler, 2_000));
        }
        // 0.5 s of others' work, 18 ms of it after each slice.
        assert!((27..=28).contains(&worked), "{worked}");
        scheduler.step(false);
        assert!(works(&hand, &scheduler, 0));
    }

    #[test]
    fn those_behind_take_turns() {
        let (hand, scheduler) = scheduler();
        let mut served = [0; 3];
        for _ in 0..30 {
            scheduler.step(false);
            for id in 0..3 {
                let turn = scheduler.take(id, true);
                served[id as usize] += u32::from(turn.is_some());
                hand.0.fetch_add(2_000, Ordering::Relaxed);
            }
        }
        assert_eq!(served, [10, 10, 10]);
        // One that wants nothing any more is not waited for.
        scheduler.step(false);
        assert!(scheduler.take(1, true).is_none() || scheduler.take(2, true).is_none());
        scheduler.step(false);
        scheduler.step(false);
        assert!(scheduler.take(0, true).is_some());
    }

    #[test]
    fn two_that_come_every_other_time_do_not_miss_each_other() {
        let (hand, scheduler) = scheduler();
        let mut served = [0; 3];
        for round in 0..90 {
            scheduler.step(false);
            for id in [round % 2, 2] {
                served[id] += u32::from(scheduler.take(id as u32, true).is_some());
                hand.0.fetch_add(2_000, Ordering::Relaxed);
            }
        }
        assert!(served.iter().all(|slices| *slices >= 10), "{served:?}");
    }

    #[test]
    fn behind_is_who_would_jump() {
        let (_, scheduler) = scheduler();
        scheduler.close(Epoch::from_u64(100));
        assert!(scheduler.is_behind(Epoch::from_u64(67)));
        assert!(!scheduler.is_behind(Epoch::from_u64(68)));
        assert!(!scheduler.is_behind(Epoch::from_u64(101)));
    }
}
