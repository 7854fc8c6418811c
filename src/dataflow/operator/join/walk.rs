//! A probe in bounded pieces, which may stop inside the rows of one hot key.

use crate::dataflow::operator::step::BATCH;
use weir_storage::arrangement::{Matches, Snapshot};
use weir_storage::key::Keys;

#[derive(Default)]
pub(super) struct Walk {
    /// Matches found and not yet handed out from `taken` on.
    found: Matches,
    taken: usize,
    /// The next key to look up.
    next: usize,
}

impl Walk {
    /// Some more matches, perhaps none, and the work that they were; `None` when all keys have been looked up. The arrangement
    /// must not change between calls.
    pub fn next(&mut self, snapshot: &Snapshot, keys: &Keys, budget: usize) -> Option<(Matches, usize)> {
        let limit = budget.min(BATCH);
        let mut work = 0;
        if self.taken == self.found.len() {
            if self.next == keys.len() {
                return None;
            }
            let (found, rest) = snapshot.probe(keys, self.next, limit);
            let next = rest.unwrap_or(keys.len());
            work = next - self.next;
            (self.found, self.taken, self.next) = (found, 0, next);
        }
        let len = (self.found.len() - self.taken).min(limit);
        let matches = if len == self.found.len() {
            self.taken = 0;
            std::mem::take(&mut self.found)
        } else {
            self.taken += len;
            self.found.slice(self.taken - len, len)
        };
        Some((matches, work + len))
    }
}
