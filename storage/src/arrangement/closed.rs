//! The log of closed rows: what went, in epoch order, until no reader can ask for it any more.

use super::slot::Slot;
use crate::epoch::Epoch;
use std::collections::VecDeque;
use std::ops::Range;

/// Oldest first. Entries are numbered for ever, so that a row that moves can correct its own.
pub(super) struct Closed {
    /// Full but for the last one.
    blocks: VecDeque<Vec<(Epoch, Slot)>>,
    /// A full one has 2 to the power of this many.
    bits: u32,
    /// Entries of the first block that are gone.
    gone: usize,
    /// The number of the first entry of the first block.
    base: u64,
}

impl Closed {
    /// In blocks of so many entries, or of the power of two above.
    pub fn new(entries: usize) -> Self {
        let bits = entries.next_power_of_two().trailing_zeros();
        Self { blocks: VecDeque::new(), bits, gone: 0, base: 0 }
    }

    pub fn len(&self) -> usize {
        let last = self.blocks.back().map_or(0, Vec::len);
        (self.in_full_blocks() + last).saturating_sub(self.gone)
    }

    /// Entries of all blocks but the last one, also those that are gone.
    fn in_full_blocks(&self) -> usize {
        self.blocks.len().saturating_sub(1) << self.bits
    }

    /// The block of an entry, and its place in there.
    fn place(&self, number: u64) -> (usize, usize) {
        let index = (number - self.base) as usize;
        (index >> self.bits, index & ((1 << self.bits) - 1))
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        let last = self.blocks.back().map_or(0, Vec::capacity);
        (self.in_full_blocks() + last) * size_of::<(Epoch, Slot)>()
    }

    /// The numbers of entries of epochs in `(after, to]`.
    pub fn range(&self, after: Epoch, to: Epoch) -> Range<u64> {
        let (start, end) = (self.position(after) as u64, self.position(to) as u64);
        self.base + start..self.base + end.max(start)
    }

    /// The row of an entry that is still there.
    pub fn get(&self, number: u64) -> Slot {
        let (block, index) = self.place(number);
        self.blocks[block][index].1
    }

    /// Where the entries of epochs after `epoch` begin, counted from the beginning of the first block.
    fn position(&self, epoch: Epoch) -> usize {
        let block = self.blocks.partition_point(|block| block.last().is_none_or(|(last, _)| *last <= epoch));
        let inside = self.blocks.get(block).map_or(0, |block| block.partition_point(|(other, _)| *other <= epoch));
        // A block before the last is full, and the last one ends where its entries do.
        let whole = if block < self.blocks.len() { block << self.bits } else { self.gone + self.len() };
        (whole + inside).max(self.gone)
    }

    /// Removes the oldest entry if it is of `since` or before.
    pub fn pop(&mut self, since: Epoch) -> Option<Slot> {
        let block = self.blocks.front()?;
        let (_, slot) = *block.get(self.gone).filter(|(epoch, _)| *epoch <= since)?;
        self.gone += 1;
        if self.gone == block.len() {
            self.base += self.gone as u64;
            self.gone = 0;
            self.blocks.pop_front();
        }
        Some(slot)
    }

    /// Whether an entry is still there: its row is not dead.
    pub fn holds(&self, number: u64) -> bool {
        number >= self.base + self.gone as u64
    }

    /// Returns the entry's number.
    pub fn push(&mut self, epoch: Epoch, slot: Slot) -> u64 {
        let number = self.base + (self.gone + self.len()) as u64;
        match self.blocks.back_mut().filter(|block| block.len() < 1 << self.bits) {
            Some(block) => {
                debug_assert!(block.last().is_none_or(|(last, _)| *last <= epoch), "rows are closed in epoch order");
                block.push((epoch, slot));
            }
            None => self.blocks.push_back(vec![(epoch, slot)]),
        }
        number
    }

    /// The row of an entry that is still there has moved to `slot`.
    pub fn correct(&mut self, number: u64, slot: Slot) {
        debug_assert!(self.holds(number), "a closed row that is not dead is in the log");
        let (block, index) = self.place(number);
        self.blocks[block][index].1 = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn it_is_a_queue_whose_entries_keep_their_numbers() {
        for entries in [1, 2, 3, 4096] {
            check(Closed::new(entries));
        }
    }

    fn check(mut log: Closed) {
        let mut rng = StdRng::seed_from_u64(3);
        let mut plain = VecDeque::new();
        let (mut epoch, mut first) = (1, 0);
        for step in 0..60_000u64 {
            epoch += rng.random_range(0..2);
            let slot = Slot::new(step as usize, 0);
            assert_eq!(log.push(Epoch::from_u64(epoch), slot), first + plain.len() as u64);
            plain.push_back((epoch, slot));
            // Now and then all of it goes.
            let since = Epoch::from_u64(if step % 20_000 == 19_999 { epoch } else { epoch.saturating_sub(5_000) });
            for _ in 0..rng.random_range(0..4) {
                let popped = plain.pop_front_if(|(other, _)| Epoch::from_u64(*other) <= since).map(|(_, slot)| slot);
                first += u64::from(popped.is_some());
                assert_eq!(log.pop(since), popped);
            }
            assert_eq!((log.len(), log.holds(first)), (plain.len(), true));
            assert!(first == 0 || !log.holds(first - 1));
            if step % 500 == 0 {
                let at = rng.random_range(0..plain.len().max(1));
                if let Some(entry) = plain.get_mut(at) {
                    entry.1 = Slot::new(7, step as usize);
                    log.correct(first + at as u64, entry.1);
                }
                let (after, to) = (rng.random_range(0..epoch), rng.random_range(0..=epoch));
                let expected = plain.iter().filter(|(epoch, _)| *epoch > after && *epoch <= to).map(|(_, slot)| *slot);
                let range = log.range(Epoch::from_u64(after), Epoch::from_u64(to));
                assert_eq!(range.map(|number| log.get(number)).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            }
        }
        while log.pop(Epoch::NEVER).is_some() {}
        assert_eq!((log.len(), log.bytes()), (0, 0));
    }
}
