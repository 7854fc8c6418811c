//! The last closed epoch, its time, and when those before it closed.

use std::collections::VecDeque;
use weir_storage::Epoch;

/// Closing times remembered for relations that are behind.
const TIMES: usize = 4096;

/// Times are microseconds since 1970-01-01 UTC.
pub struct Epochs {
    closed: Epoch,
    now: i64,
    /// When epochs closed that some relation has yet to reach; not all of them if there are many.
    closed_at: VecDeque<(Epoch, i64)>,
}

impl Epochs {
    /// `closed` was the last one, as of `now`.
    pub fn new(closed: Epoch, now: i64) -> Self {
        Self { closed, now, closed_at: VecDeque::new() }
    }

    pub fn closed(&self) -> Epoch {
        self.closed
    }

    /// Of the last closed epoch.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Closes the next one. Its time is the `clock`'s, but later than the one before.
    pub fn close(&mut self, clock: i64) -> Epoch {
        self.closed = self.closed.next();
        self.now = clock.max(self.now + 1);
        self.closed_at.push_back((self.closed, self.now));
        self.closed
    }

    /// Whether it is time to forget some, though nothing else happens.
    pub fn are_many(&self) -> bool {
        self.closed_at.len() > 2 * TIMES
    }

    /// Forgets when epochs closed that everything has reached, and every second one if that leaves too many.
    pub fn forget(&mut self, reached: Epoch) {
        while self.closed_at.pop_front_if(|(epoch, _)| *epoch <= reached).is_some() {}
        if self.closed_at.len() > TIMES {
            let mut odd = false;
            self.closed_at.retain(|_| {
                odd = !odd;
                odd
            });
        }
    }

    /// For how long what a relation at `upper` has yet to take has been there, microseconds.
    pub fn behind(&self, upper: Epoch, clock: i64) -> i64 {
        let next = self.closed_at.get(self.closed_at.partition_point(|(epoch, _)| *epoch <= upper));
        next.map_or(0, |(_, closed_at)| clock - closed_at).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_later_than_the_one_before_whatever_the_clock_says() {
        let mut epochs = Epochs::new(Epoch::from_u64(7), 100);
        for (clock, now) in [(200, 200), (200, 201), (50, 202), (300, 300)] {
            let before = epochs.closed();
            assert_eq!(epochs.close(clock), before.next());
            assert_eq!((epochs.closed(), epochs.now()), (before.next(), now), "at {clock}");
        }
    }

    #[test]
    fn a_relation_is_behind_since_the_first_epoch_that_it_has_yet_to_reach() {
        let mut epochs = Epochs::new(Epoch::ZERO, 0);
        let closed: Vec<Epoch> = (1..=3).map(|second| epochs.close(second * 1_000)).collect();
        for (upper, behind) in [(Epoch::ZERO, 9_000), (closed[0], 8_000), (closed[1], 7_000), (closed[2], 0)] {
            assert_eq!(epochs.behind(upper, 10_000), behind, "{upper}");
        }
        assert_eq!(epochs.behind(closed[1], 2_000), 0, "a clock that went back");
        epochs.forget(closed[0]);
        assert_eq!(epochs.behind(closed[0], 10_000), 8_000);
    }

    #[test]
    fn few_times_are_remembered_of_a_relation_that_stays_far_behind() {
        let mut epochs = Epochs::new(Epoch::ZERO, 0);
        for clock in 1..=100_000 {
            epochs.close(clock);
            if epochs.are_many() {
                epochs.forget(Epoch::ZERO);
            }
        }
        assert!(epochs.closed_at.len() <= 2 * TIMES + 1, "{}", epochs.closed_at.len());
        assert_eq!(epochs.behind(Epoch::ZERO, 100_000), 99_999, "the oldest one stays");
    }
}
