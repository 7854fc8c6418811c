//! Where things are cut: small enough that what only breaks at a limit breaks.

use super::World;
use std::time::Duration;
use weir::coordinator::pace;
use weir_storage::Limits;

impl World {
    /// Everything is cut as small as it can be, or now and then as it is in the product.
    pub(super) fn limits(&self) -> Limits {
        let [rows, bytes] = [[1, 2, 3, 8192], [1, 64, 200, 1 << 20]].map(|some| some[self.dice.below(4) as usize]);
        let (page_bytes, loose_bytes) = [(1, 1), (500, 3000), (16 << 10, 24 << 10)][self.dice.below(3) as usize];
        let (merged_rows, batch_bytes) =
            (1 + self.dice.below(50), [1, 100, 1_000, 256 << 20][self.dice.below(4) as usize]);
        let usual = Limits::default();
        let few = |usual: usize| [1, 2, 3, usual][self.dice.below(4) as usize];
        let little = |usual: usize| [1, 200, usual][self.dice.below(3) as usize];
        Limits {
            block_rows: rows,
            block_bytes: bytes,
            merged_rows,
            page_bytes,
            batch_bytes,
            loose_bytes,
            chunk_rows: few(usual.chunk_rows),
            chunk_bytes: little(usual.chunk_bytes),
            merged_chunk_rows: few(usual.merged_chunk_rows),
            sorted_rows: few(usual.sorted_rows),
            probed_keys: few(usual.probed_keys),
            index_entries: few(usual.index_entries),
            closed_entries: few(usual.closed_entries),
            reclaimed_rows: few(usual.reclaimed_rows),
            unlinked_rows: few(usual.unlinked_rows),
            joined_rows: few(usual.joined_rows),
            joined_bytes: little(usual.joined_bytes as usize) as u64,
            part_bytes: little(usual.part_bytes as usize) as u64,
            piece_rows: few(usual.piece_rows as usize) as u64,
            piece_bytes: little(usual.piece_bytes as usize) as u64,
            worthwhile_bytes: little(usual.worthwhile_bytes as usize) as u64,
            compacted_bytes: little(usual.compacted_bytes as usize) as u64,
            segment_rows: few(usual.segment_rows),
            segment_bytes: little(usual.segment_bytes),
            spilled_bytes: little(usual.spilled_bytes),
            portion_bytes: little(usual.portion_bytes),
            copied_rows: few(usual.copied_rows),
            copied_bytes: little(usual.copied_bytes),
        }
    }

    /// How many epochs and how much of them may be on the way.
    pub(super) fn pace(&self) -> pace::Limits {
        let usual = pace::Limits::default();
        let some = |usual: pace::Amount| pace::Amount {
            rows: [1, 20, usual.rows][self.dice.below(3) as usize],
            bytes: [1_000, usual.bytes][self.dice.below(2) as usize],
        };
        pace::Limits {
            checkpoint_interval: Duration::from_millis(20 + self.dice.below(400)),
            in_flight: 1 + self.dice.below(4) as usize,
            early: some(usual.early),
            unsealed: some(usual.unsealed),
        }
    }
}
