//! Memory of state: how much relations hold, and what is done before it is more than there is.
//!
//! Counted beside the loop, at most once a second while epochs close, sooner when much comes at once ([`Memory::due`]). Beyond their share
//! of `--memory-limit` no view is made and no row is written by SQL (53200; DELETE and TRUNCATE go on), nor are rows that would come to
//! more than an eighth beyond it; there ([`decide`]) views fail by name, the one with most state first, each once as much as a part of the
//! share has come on top: one that has failed takes no more. Tables of sources go on: what they hold is upstream's to say.

use super::message::Counted;
use crate::connector::Changes;
use arrow::array::RecordBatch;
use std::collections::VecDeque;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, room};
use weir_storage::Epoch;
use weir_storage::delta::size;

/// Between two counts, microseconds.
const COUNT_EVERY_US: u64 = 1_000_000;

/// What may be there beyond the share before views fail, and what has to come before another does, as parts of it.
const BEYOND: u64 = 8;
const MORE: u64 = 32;

/// So much handed over, as a part of the share, is counted at once.
const SOON: u64 = 16;

/// Bytes that a row takes in a table beside its values, about: its epochs, its key, its places in the indexes.
const ROW: usize = 64;

pub(super) struct Memory {
    /// Bytes that all state may take; [`u64::MAX`]: it is not counted.
    share: u64,
    total: u64,
    /// Handed over by SQL and in no epoch yet, and in epochs that the last count may not have seen in the tables, with the sum of those.
    waits: u64,
    applied: VecDeque<(Epoch, u64)>,
    uncounted: u64,
    counting: bool,
    /// Somebody was refused since the last count began: there may be more room than it says.
    refused: bool,
    counted_at: u64,
    /// The epoch that all tables had finished when it was counted.
    at: Epoch,
    /// No view fails below this.
    bearable: u64,
}

impl Memory {
    pub fn new(share: u64) -> Self {
        let bearable = share.saturating_add(share / BEYOND);
        Self {
            share,
            total: 0,
            waits: 0,
            applied: VecDeque::new(),
            uncounted: 0,
            counting: false,
            refused: false,
            counted_at: 0,
            at: Epoch::ZERO,
            bearable,
        }
    }

    /// Whether to count now, when all tables have finished `epoch`. What is full becomes less also while nothing is written.
    pub fn due(&mut self, now: u64, epoch: Epoch) -> bool {
        let is_new = epoch > self.at;
        let much = is_new && self.uncounted > self.share / SOON;
        let due = self.share != u64::MAX
            && !self.counting
            && (is_new || self.total > self.share || self.refused)
            && (much || now >= self.counted_at.saturating_add(COUNT_EVERY_US));
        if due {
            (self.counting, self.refused, self.counted_at, self.at) = (true, false, now, epoch);
        }
        due
    }

    /// Of what was taken in, so many bytes are `epoch`'s.
    pub fn closed(&mut self, epoch: Epoch, bytes: u64) {
        if bytes > 0 {
            self.waits -= bytes;
            self.uncounted += bytes;
            self.applied.push_back((epoch, bytes));
        }
    }

    /// Takes note of a count. The view that is to fail; `is_view`: one that has not failed.
    pub fn counted(&mut self, counted: &Counted, is_view: impl Fn(RelationId) -> bool) -> Option<RelationId> {
        self.counting = false;
        self.total = counted.values().sum();
        while let Some((_, bytes)) = self.applied.pop_front_if(|(epoch, _)| *epoch <= self.at) {
            self.uncounted -= bytes;
        }
        let victim = decide(self.bearable, self.share / MORE, counted, is_view)?;
        self.bearable = self.total.saturating_add(self.share / MORE);
        Some(victim)
    }

    /// Why nothing more is taken in.
    pub fn refusal(&self) -> Option<Error> {
        (self.total > self.share).then(|| self.error("out of memory"))
    }

    /// Takes in so many bytes of rows, unless there is no room for them.
    pub fn take(&mut self, bytes: u64) -> Result<(), Error> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        if self.held().saturating_add(bytes) > self.share.saturating_add(self.share / BEYOND) {
            self.refused = true;
            let error = self.error("out of memory");
            let detail =
                error.detail.iter().map(|detail| format!("{detail} The rows to be written take {} MB.", bytes >> 20));
            return Err(Error { detail: detail.collect::<Vec<_>>().pop(), ..error });
        }
        self.waits += bytes;
        self.tell();
        Ok(())
    }

    /// What was counted, and what has come since.
    fn held(&self) -> u64 {
        self.total.saturating_add(self.waits).saturating_add(self.uncounted)
    }

    /// What is no statement's.
    pub fn tell(&self) {
        room::tell_state(usize::try_from(self.held()).unwrap_or(usize::MAX));
    }

    pub fn error(&self, what: &str) -> Error {
        let mb = |bytes: u64| bytes.div_ceil(1 << 20);
        Error::new("53200", what)
            .detail(format!(
                "The state of tables and views takes {} MB; of --memory-limit it may take {} MB.",
                mb(self.total),
                mb(self.share)
            ))
            .hint("Drop views, delete rows, or give more memory; rw_tables and rw_materialized_views say what each takes.")
    }
}

/// The view that fails, when all state takes more than `bearable` bytes: the one that has most. One with less than `least` is not
/// what takes the memory: nothing would be won.
fn decide(bearable: u64, least: u64, counted: &Counted, is_view: impl Fn(RelationId) -> bool) -> Option<RelationId> {
    let total: u64 = counted.values().sum();
    let views = counted.iter().filter(|(id, bytes)| total > bearable && **bytes > least && is_view(**id));
    views.max_by_key(|(_, bytes)| **bytes).map(|(id, _)| *id)
}

/// Whether rows come, and not only go.
pub(super) fn grows(changes: &[(RelationId, Changes)]) -> bool {
    changes.iter().any(|(_, changes)| {
        let here = match changes {
            Changes::Keyed(fold) => !fold.upserts.is_empty() || !fold.partial.is_empty(),
            Changes::Bag(bag) => bag.rows.iter().any(|delta| delta.weights().iter().any(|&weight| weight > 0)),
        };
        here || changes.spilled().iter().any(|(_, weight)| *weight > 0)
    })
}

/// Of the rows that come, as state.
pub(super) fn bytes(changes: &[(RelationId, Changes)]) -> u64 {
    let here = |rows: &RecordBatch| size(rows) + rows.num_rows() * ROW;
    let all = changes.iter().map(|(_, changes)| {
        let there = changes.spilled().iter().filter(|(_, weight)| *weight > 0);
        let there: usize = there.map(|(spilled, _)| spilled.bytes() + spilled.rows() * ROW).sum();
        let here: usize = match changes {
            Changes::Keyed(fold) => fold.upserts.iter().map(here).sum(),
            Changes::Bag(bag) => bag.rows.iter().map(|delta| here(delta.rows())).sum(),
        };
        here + there
    });
    all.sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> RelationId {
        RelationId(n)
    }

    #[test]
    fn counts_are_made_once_a_second_while_epochs_close() {
        let mut memory = Memory::new(1000);
        let epoch = Epoch::from_u64;
        assert!(!memory.due(5_000_000, Epoch::ZERO), "nothing was closed");
        assert!(memory.due(5_000_000, epoch(1)));
        assert!(!memory.due(9_000_000, epoch(2)), "it is being counted");
        memory.counted(&Counted::new(), |_| true);
        assert!(!memory.due(5_999_999, epoch(2)));
        assert!(memory.due(6_000_000, epoch(2)));
        memory.counted(&Counted::from([(id(1), 900)]), |_| true);
        assert!(!memory.due(8_000_000, epoch(2)), "nothing was closed");
        assert!(memory.due(8_000_000, epoch(3)));
        memory.counted(&Counted::from([(id(1), 1001)]), |_| true);
        assert!(memory.due(9_000_000, epoch(3)), "it is full, and rows may go");
        memory.counted(&Counted::from([(id(1), 100)]), |_| true);
        memory.take(62).expect("room");
        memory.closed(epoch(4), 62);
        assert!(!memory.due(9_000_001, epoch(4)));
        memory.take(1).expect("room");
        memory.closed(epoch(5), 1);
        assert!(memory.due(9_000_001, epoch(5)), "much has come");
        assert!(!Memory::new(u64::MAX).due(9_000_000, epoch(9)));
    }

    #[test]
    fn rows_are_taken_as_long_as_there_is_room_for_them() {
        let mut memory = Memory::new(800);
        memory.counted(&Counted::from([(id(1), 300)]), |_| true);
        memory.take(400).expect("room");
        memory.take(200).expect("a little beyond the share");
        let error = memory.take(1).expect_err("no room");
        assert!(error.sqlstate == "53200" && error.detail.is_some_and(|d| d.contains("to be written")));
        memory.closed(Epoch::from_u64(1), 600);
        assert!(memory.due(5_000_000, Epoch::from_u64(1)));
        memory.counted(&Counted::from([(id(1), 700)]), |_| true);
        assert!(!memory.due(9_000_000, Epoch::from_u64(1)), "nothing was closed, and nobody was refused");
        memory.take(500).expect_err("no room");
        assert!(memory.due(9_000_000, Epoch::from_u64(1)), "what was deleted may have gone since");
        memory.counted(&Counted::from([(id(1), 801)]), |_| true);
        assert_eq!(memory.take(0).expect_err("it is full").sqlstate, "53200");
        Memory::new(u64::MAX).take(u64::MAX).expect("there is no limit");
    }

    #[test]
    fn what_was_handed_over_counts_until_it_is_counted_in_the_tables() {
        let (mut memory, epoch) = (Memory::new(800), Epoch::from_u64);
        memory.take(500).expect("room");
        memory.take(300).expect("room");
        memory.closed(epoch(1), 500);
        assert!(memory.due(5_000_000, epoch(1)));
        memory.take(101).expect_err("the tables may not have it yet");
        memory.closed(epoch(2), 300);
        memory.counted(&Counted::from([(id(1), 450)]), |_| true);
        memory.take(151).expect_err("the first epoch's is counted, the second's is not");
        memory.take(150).expect("room");
        assert!(memory.due(5_000_001, epoch(2)), "much has come, and is there");
        memory.closed(epoch(3), 150);
        memory.counted(&Counted::from([(id(1), 700)]), |_| true);
        memory.take(51).expect_err("no room");
        assert!(!memory.due(5_900_000, epoch(2)), "it is there as it was");
        assert!(memory.due(6_100_000, epoch(3)));
        memory.counted(&Counted::from([(id(1), 790)]), |_| true);
        memory.take(110).expect("room");
    }

    #[test]
    fn the_largest_view_fails_and_the_next_only_when_more_has_come() {
        let mut memory = Memory::new(3200);
        let mut failed = vec![];
        let mut count = |memory: &mut Memory, sizes: [u64; 3]| {
            let counted = Counted::from([(id(1), sizes[0]), (id(2), sizes[1]), (id(3), sizes[2])]);
            // The first is a table.
            let victim = memory.counted(&counted, |other| other != id(1) && !failed.contains(&other));
            failed.extend(victim);
            (victim, memory.refusal().is_some())
        };
        assert_eq!(count(&mut memory, [2000, 500, 700]), (None, false));
        assert_eq!(count(&mut memory, [2000, 500, 701]), (None, true));
        assert_eq!(count(&mut memory, [2000, 500, 1100]), (None, true));
        assert_eq!(count(&mut memory, [2000, 500, 1101]), (Some(id(3)), true));
        assert_eq!(count(&mut memory, [2000, 600, 1101]), (None, true), "it was heard of a moment ago");
        assert_eq!(count(&mut memory, [2000, 601, 1101]), (Some(id(2)), true));
        assert_eq!(count(&mut memory, [9000, 601, 1101]), (None, true), "nothing else may fail");
        assert_eq!(count(&mut memory, [1000, 601, 1101]), (None, false));
        let mut memory = Memory::new(3200);
        assert_eq!(memory.counted(&Counted::from([(id(1), 9000), (id(2), 100)]), |other| other != id(1)), None);
    }
}
