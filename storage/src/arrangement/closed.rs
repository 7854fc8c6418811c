//! The log of closed rows: what went, in epoch order, until no reader can ask for it any more.

use super::index::vast;
use super::slot::Slot;
use crate::epoch::Epoch;
use std::collections::VecDeque;

/// Oldest first. Entries are numbered for ever, so that a row that moves can correct its own.
#[derive(Default)]
pub(super) struct Closed {
    entries: VecDeque<(Epoch, Slot)>,
    /// The number of the first entry.
    base: u64,
    /// Entries pushed since [`Closed::take_new`].
    new: u64,
}

impl Closed {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(Epoch, Slot)>()
    }

    /// Gives back memory.
    pub fn shrink(&mut self) {
        if vast(self.entries.capacity(), self.len()) {
            self.entries.shrink_to(2 * self.len());
        }
    }

    /// Entries of epochs in `(after, to]`.
    pub fn range(&self, after: Epoch, to: Epoch) -> impl Iterator<Item = Slot> + '_ {
        let start = self.entries.partition_point(|(epoch, _)| *epoch <= after);
        let end = self.entries.partition_point(|(epoch, _)| *epoch <= to);
        self.entries.range(start..end.max(start)).map(|(_, slot)| *slot)
    }

    /// Removes the oldest entry if it is of `since` or before.
    pub fn pop(&mut self, since: Epoch) -> Option<Slot> {
        let (_, slot) = self.entries.pop_front_if(|(epoch, _)| *epoch <= since)?;
        self.base += 1;
        Some(slot)
    }

    /// Whether an entry is still there: its row is not dead.
    pub fn holds(&self, number: u64) -> bool {
        number >= self.base
    }

    /// How many entries came since the last call.
    pub fn take_new(&mut self) -> u64 {
        std::mem::take(&mut self.new)
    }

    /// Returns the entry's number.
    pub fn push(&mut self, epoch: Epoch, slot: Slot) -> u64 {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last <= epoch), "rows are closed in epoch order");
        self.entries.push_back((epoch, slot));
        self.new += 1;
        self.base + self.entries.len() as u64 - 1
    }

    /// The row of an entry that is still there has moved to `slot`.
    pub fn correct(&mut self, number: u64, slot: Slot) {
        let entry = number.checked_sub(self.base).and_then(|i| self.entries.get_mut(i as usize));
        entry.expect("a closed row that is not dead is in the log").1 = slot;
    }
}
