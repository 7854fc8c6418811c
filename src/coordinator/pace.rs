//! When epochs close and checkpoints begin: pure decisions from facts (ARCHITECTURE.md, *Pace and back-pressure*).

use crate::connector::Waiting;
use std::collections::VecDeque;
use std::time::Duration;
use weir_storage::Epoch;

/// A position that moved without any change is worth a manifest this often.
pub const POSITION_INTERVAL: Duration = Duration::from_secs(10);

/// Nobody waits for an epoch that only moves a position.
const MOVED_INTERVAL_US: u64 = 100_000;

/// Fixed cost of an epoch per relation, measured on two cores; epochs may take a tenth of a core.
const COST_PER_RELATION_US: u64 = 20;

/// The faster rows come, the more of them go into one epoch: microseconds of interval per row per millisecond, up to a longest one.
/// What is paid per epoch and per group or key touched in it is then paid less often, and a stream of single rows is not held up.
const FAST_US: u64 = 150;
const FAST_LONGEST_US: u64 = 20_000;

/// Over how much time the rate of rows is averaged, microseconds.
const RATE_SPAN_US: u64 = 50_000;

#[derive(Clone, Debug)]
pub struct Limits {
    pub checkpoint_interval: Duration,
    /// Epochs closed that the base tables have not finished.
    pub in_flight: usize,
    /// An epoch closes early when as much waits: about 2 ms of a base table's work, and what fits in a cache.
    pub early: Amount,
    /// While a checkpoint cannot be published, as much may still be taken in before sources are held back. History is kept in memory until
    /// it is durable, so this bounds memory; it is some seconds of a fast source.
    pub unsealed: Amount,
}

/// So many rows, or so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    pub rows: usize,
    pub bytes: usize,
}

impl Amount {
    fn is_in(self, waiting: Waiting) -> bool {
        waiting.rows >= self.rows || waiting.bytes >= self.bytes
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(1),
            in_flight: 4,
            early: Amount { rows: 64 * 1024, bytes: 8 << 20 },
            unsealed: Amount { rows: 2_000_000, bytes: 512 << 20 },
        }
    }
}

/// What to do about closing an epoch now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    Now,
    /// Look again at this time (monotonic microseconds).
    At(u64),
    /// Something has to happen first.
    Wait,
}

/// The state of the epochs in flight. Times are monotonic microseconds.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    in_flight: VecDeque<Epoch>,
    closed_at: u64,
    /// Rows a millisecond, of late.
    rate: u64,
    /// Rows and bytes taken in since the last sealed epoch.
    unsealed: Waiting,
    checkpointed_at: u64,
    running: bool,
}

/// Why a checkpoint could be wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Rows changed or the catalog did.
    pub changed: bool,
    /// Only a position moved.
    pub moved: bool,
    /// Somebody waits for durability.
    pub asked: bool,
}

impl Pace {
    pub fn new(limits: Limits, now: u64) -> Self {
        let in_flight = VecDeque::new();
        Self {
            limits,
            in_flight,
            closed_at: now,
            rate: 0,
            unsealed: Waiting::default(),
            checkpointed_at: now,
            running: false,
        }
    }

    /// Whether to close an epoch with what waits.
    pub fn close(&self, now: u64, waiting: Waiting, relations: usize) -> Close {
        if waiting.rows == 0 && !waiting.moved {
            return Close::Wait;
        }
        if self.running && self.limits.unsealed.is_in(self.unsealed) {
            return Close::Wait;
        }
        let full = self.limits.early.is_in(waiting);
        let allowed = if full { self.limits.in_flight } else { 1 };
        if self.in_flight.len() >= allowed {
            return Close::Wait;
        }
        let interval = match waiting.rows {
            0 => MOVED_INTERVAL_US,
            _ => self.interval(relations).max((self.rate * FAST_US).min(FAST_LONGEST_US)),
        };
        let due = self.closed_at + interval;
        if full || now >= due { Close::Now } else { Close::At(due) }
    }

    /// Microseconds between epochs: 1 to 50 ms, so that their fixed cost stays below a tenth of a core.
    fn interval(&self, relations: usize) -> u64 {
        (relations as u64 * COST_PER_RELATION_US * 10).clamp(1_000, 50_000)
    }

    pub fn closed(&mut self, epoch: Epoch, now: u64, taken: Waiting) {
        // An average that forgets: an epoch counts for as much of the span as it took.
        let taken_us = (now - self.closed_at).clamp(1, RATE_SPAN_US);
        let rate = taken.rows as u64 * 1000 / taken_us;
        self.rate = (self.rate * (RATE_SPAN_US - taken_us) + rate * taken_us) / RATE_SPAN_US;
        self.closed_at = now;
        self.in_flight.push_back(epoch);
        self.unsealed.rows += taken.rows;
        self.unsealed.bytes += taken.bytes;
    }

    /// Every base table has finished `epoch`.
    pub fn finished(&mut self, epoch: Epoch) {
        while self.in_flight.front().is_some_and(|first| *first <= epoch) {
            self.in_flight.pop_front();
        }
    }

    /// The first of the epochs in flight.
    pub fn oldest(&self) -> Option<Epoch> {
        self.in_flight.front().copied()
    }

    /// Whether to begin a checkpoint; `Close::At` is when to look again.
    pub fn checkpoint(&self, now: u64, wanted: Wanted) -> Close {
        if self.running || !(wanted.changed || wanted.moved || wanted.asked) {
            return Close::Wait;
        }
        if wanted.asked {
            return Close::Now;
        }
        let interval = if wanted.changed { self.limits.checkpoint_interval } else { POSITION_INTERVAL };
        let due = self.checkpointed_at + interval.as_micros() as u64;
        if now >= due { Close::Now } else { Close::At(due) }
    }

    pub fn checkpoint_began(&mut self, now: u64) {
        self.running = true;
        self.checkpointed_at = now;
        self.unsealed = Waiting::default();
    }

    pub fn checkpoint_ended(&mut self) {
        self.running = false;
    }

    pub fn is_checkpointing(&self) -> bool {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY_ROWS: usize = 64 * 1024;

    fn pace() -> Pace {
        Pace::new(Limits::default(), 0)
    }

    fn rows(rows: usize) -> Waiting {
        Waiting { rows, bytes: rows * 100, moved: false }
    }

    #[test]
    fn nothing_waiting_closes_nothing() {
        assert_eq!(pace().close(1_000_000, Waiting::default(), 3), Close::Wait);
    }

    #[test]
    fn small_epochs_wait_for_the_one_before_and_for_their_interval() {
        let mut pace = pace();
        assert_eq!(pace.close(500, rows(1), 1), Close::At(1_000));
        assert_eq!(pace.close(1_000, rows(1), 1), Close::Now);
        pace.closed(Epoch::from_u64(1), 1_000, rows(1));
        assert_eq!(pace.close(9_000, rows(1), 1), Close::Wait);
        pace.finished(Epoch::from_u64(1));
        assert_eq!(pace.close(9_000, rows(1), 1), Close::Now);
    }

    #[test]
    fn fast_rows_come_in_larger_epochs_until_they_are_slow_again() {
        let mut pace = pace();
        let mut now = 0;
        for epoch in 1..100 {
            now += 5_000;
            pace.closed(Epoch::from_u64(epoch), now, rows(1_000));
            pace.finished(Epoch::from_u64(epoch));
        }
        assert_eq!(pace.close(now, rows(100), 1), Close::At(now + FAST_LONGEST_US));
        for epoch in 100..200 {
            now += 20_000;
            pace.closed(Epoch::from_u64(epoch), now, rows(20));
            pace.finished(Epoch::from_u64(epoch));
        }
        assert_eq!(pace.close(now, rows(1), 1), Close::At(now + 1_000));
    }

    #[test]
    fn many_relations_stretch_the_interval_to_at_most_fifty_milliseconds() {
        assert_eq!(pace().close(0, rows(1), 200), Close::At(40_000));
        assert_eq!(pace().close(0, rows(1), 2_000), Close::At(50_000));
    }

    #[test]
    fn full_epochs_close_at_once_up_to_the_limit_in_flight() {
        let mut pace = pace();
        for epoch in 1..=4 {
            assert_eq!(pace.close(0, rows(EARLY_ROWS), 1), Close::Now);
            pace.closed(Epoch::from_u64(epoch), 0, rows(EARLY_ROWS));
        }
        assert_eq!(pace.close(0, rows(EARLY_ROWS), 1), Close::Wait);
        pace.finished(Epoch::from_u64(1));
        assert_eq!(pace.close(0, rows(EARLY_ROWS), 1), Close::Now);
    }

    #[test]
    fn a_checkpoint_that_hangs_holds_sources_back_in_the_end() {
        let mut pace = pace();
        pace.checkpoint_began(0);
        let mut epoch = 0;
        while pace.close(1 << 40, rows(EARLY_ROWS), 1) == Close::Now {
            epoch += 1;
            pace.closed(Epoch::from_u64(epoch), 0, rows(EARLY_ROWS));
            pace.finished(Epoch::from_u64(epoch));
            assert!(epoch < 1000, "never held back");
        }
        pace.checkpoint_ended();
        assert_eq!(pace.close(1 << 40, rows(EARLY_ROWS), 1), Close::Now);
    }

    #[test]
    fn checkpoints_follow_changes_each_interval_and_moves_every_ten_seconds() {
        let mut pace = pace();
        let changed = Wanted { changed: true, ..Wanted::default() };
        let moved = Wanted { moved: true, ..Wanted::default() };
        assert_eq!(pace.checkpoint(5_000_000, Wanted::default()), Close::Wait);
        assert_eq!(pace.checkpoint(500_000, changed), Close::At(1_000_000));
        assert_eq!(pace.checkpoint(1_000_000, changed), Close::Now);
        assert_eq!(pace.checkpoint(1_000_000, moved), Close::At(10_000_000));
        assert_eq!(pace.checkpoint(1, Wanted { asked: true, ..changed }), Close::Now);
        pace.checkpoint_began(1);
        assert_eq!(pace.checkpoint(1 << 40, Wanted { asked: true, ..changed }), Close::Wait);
    }
}
