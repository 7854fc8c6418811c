//! Letting go: dead rows are reclaimed, chunks rewritten, small neighbours merged.
//!
//! Costs are amortised: a row is unlinked once, a chunk is rewritten when half of it is dead, and merged only with a
//! neighbour of similar size. All of it is done in steps, whatever has come to an end at once, a long pin or an epoch of millions of
//! retractions: [`State::reclaim`] does as much as it is asked for. Merging neighbours keeps the order of the chunks, which is the log
//! of what came.

use super::chunk::Chunk;
use super::state::State;
use crate::key::row_hashes;
use std::sync::Arc;

/// What moving a row costs, in rows that are unlinked.
const MOVE: usize = 8;

impl State {
    /// Lets go of rows that only epochs before `since` see; as much of that as unlinking `work` rows would be, and no more than a chunk
    /// above. False: there is nothing left to do.
    pub fn reclaim(&mut self, work: usize) -> bool {
        let mut left = work;
        loop {
            while let Some(place) = self.sparse.pop_front() {
                if self.has(place) && self.is_sparse(place) {
                    left = left.saturating_sub(self.rewrite(place) * MOVE);
                }
                if left == 0 {
                    return true;
                }
            }
            let block = left.min(self.limits.unlinked_rows);
            let unlinked = (0..block).take_while(|_| self.unlink_oldest()).count();
            left -= unlinked;
            if unlinked < block && self.sparse.is_empty() {
                let more = self.shrink();
                self.is_tidy = !more && self.closed.len() == 0;
                return more;
            }
            if left == 0 {
                return true;
            }
        }
    }

    /// Takes the row out that has been closed longest, if no readable epoch sees it.
    fn unlink_oldest(&mut self) -> bool {
        let Some(slot) = self.closed.pop(self.since) else { return false };
        self.unlink(slot);
        let piece = self.piece_mut(slot.place());
        piece.dead += 1;
        // Once per chunk: at the row that makes the dead more than half.
        if piece.dead == piece.chunk.len() / 2 + 1 {
            self.sparse.push_back(slot.place());
        }
        true
    }

    fn is_sparse(&self, place: usize) -> bool {
        let piece = self.piece(place);
        piece.dead > piece.chunk.len() / 2
    }

    /// Merges the last chunks so that each has more than twice the rows of all after it, or as many as a merged one may have: many small
    /// deltas leave few chunks, whatever their sizes.
    pub fn merge_tail(&mut self) {
        let mut chunks = self.order.iter().rev().map(|&place| &self.piece(place).chunk);
        let Some(mut size) = chunks.next().map(|last| last.size()) else { return };
        let grow = |chunk: &Arc<Chunk>| {
            size = chunk.size().before(size, &self.limits)?;
            Some(())
        };
        let merged = chunks.map_while(grow).count();
        if merged > 0 {
            let old = self.order[self.order.len() - 1 - merged..].to_vec();
            self.rebuild(&old);
        }
    }

    /// Returns how many rows have moved.
    fn rewrite(&mut self, place: usize) -> usize {
        if self.piece(place).dead == self.piece(place).chunk.len() {
            self.remove(place);
            return 0;
        }
        let mut moved = self.rebuild(&[place]);
        let mut place = place;
        while let Some(pair) = self.mergeable(place) {
            moved += self.rebuild(&pair);
            place = pair[0];
        }
        moved
    }

    /// A chunk with the neighbour it should be merged with. Rows of the second one move, so it is not much larger than the first: whenever
    /// a row moves, its chunk grows by half.
    fn mergeable(&self, place: usize) -> Option<[usize; 2]> {
        let position = self.position(place);
        let pairs = self.order[position.saturating_sub(1)..].windows(2).take(2);
        let mut pairs = pairs.map(|pair| [pair[0], pair[1]]).filter(|pair| pair.contains(&place));
        let size = |place: usize| self.piece(place).chunk.size();
        let is_small = |first: usize, second: usize| size(first).and(size(second), &self.limits).is_some();
        pairs.find(|pair| size(pair[1]).rows <= 2 * size(pair[0]).rows && is_small(pair[0], pair[1]))
    }

    /// Makes one chunk of the rows of `old` (neighbours) that are not dead. Returns how many have moved.
    fn rebuild(&mut self, old: &[usize]) -> usize {
        let mut maps = vec![];
        let mut parts = vec![];
        let mut len = 0;
        for &place in old {
            let piece = self.piece(place);
            let mut alive = vec![true; piece.chunk.len()];
            let dead = piece.closed.iter().filter(|(_, number)| !self.closed.holds(*number));
            dead.for_each(|(row, _)| alive[*row as usize] = false);
            let rows: Vec<u32> = (0..piece.chunk.len() as u32).filter(|&row| alive[row as usize]).collect();
            let mut map = vec![u32::MAX; piece.chunk.len()];
            rows.iter().enumerate().for_each(|(new, &row)| map[row as usize] = len + new as u32);
            len += rows.len() as u32;
            maps.push(map);
            parts.push((piece.chunk.clone(), (rows.len() < piece.chunk.len()).then_some(rows)));
        }
        let parts: Vec<(&Chunk, Option<Vec<u32>>)> = parts.iter().map(|(c, rows)| (&**c, rows.clone())).collect();
        let chunk = Chunk::merge(&self.spec, &parts).expect("limits of a chunk are far below those of a batch");
        // Rows of a first part that lost none stay where they are, so their hashes are not needed.
        let first = parts[0].1.as_ref().map_or(parts[0].0.len(), |_| 0);
        let hashes = match self.is_bag() {
            true => row_hashes(&chunk.rows.slice(first, chunk.len() - first)).expect("rows were hashed when they came"),
            false => vec![],
        };
        let moved = chunk.len() - first;
        self.replace(old, &maps, chunk, &|row| hashes[row - first]);
        moved
    }
}
