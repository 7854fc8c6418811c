//! How much more a store holds, and is written, than what is alive.

use super::report::{Relation, Space, Writes};
use super::store::{Content, Found, Store};

pub fn space(store: &Store, relations: &[Relation]) -> Space {
    let object_bytes: u64 = store.objects.values().sum();
    let manifest_bytes: u64 = store.manifests.values().map(|found| found.bytes).sum();
    let held = || relations.iter().flat_map(|relation| &relation.arrangements).filter_map(|a| a.held.as_ref());
    let newest_bytes = held().map(|held| held.bytes).sum();
    // Of an entry that cancels nothing as many bytes as of any other.
    let live = |held: &super::report::SealedState| Some(held.bytes * held.rows? / held.entries.max(1));
    let live_bytes = held().map(live).sum::<Option<u64>>();
    let stored_bytes = object_bytes + manifest_bytes;
    Space {
        stored_bytes,
        objects: store.objects.len(),
        object_bytes,
        manifests: store.manifests.len(),
        manifest_bytes,
        newest_bytes,
        live_bytes,
        stored_per_newest: ratio(stored_bytes, newest_bytes),
        stored_per_live: live_bytes.and_then(|live| ratio(stored_bytes, live)),
    }
}

fn ratio(all: u64, part: u64) -> Option<f64> {
    (part > 0).then(|| all as f64 / part as f64)
}

/// What each checkpoint names that the one before it did not was written for it. `None` if no two follow each other.
pub fn writes(store: &Store) -> Option<Writes> {
    let mut writes =
        Writes { checkpoints: 0, sealed_bytes: 0, merged_bytes: 0, manifest_bytes: 0, written_per_sealed: None };
    let manifests: Vec<(&u64, &Found)> = store.manifests.iter().collect();
    for pair in manifests.windows(2) {
        let [(before, last), (sequence, next)] = pair else { continue };
        let (Some(last), Some(content)) = (&last.content, &next.content) else { continue };
        if **sequence != **before + 1 {
            continue;
        }
        writes.checkpoints += 1;
        writes.sealed_bytes += content.uploaded_bytes;
        writes.merged_bytes += added(store, last, content).saturating_sub(content.uploaded_bytes);
        writes.manifest_bytes += next.bytes;
    }
    let written = writes.sealed_bytes + writes.merged_bytes + writes.manifest_bytes;
    writes.written_per_sealed = ratio(written, writes.sealed_bytes);
    (writes.checkpoints > 0).then_some(writes)
}

fn added(store: &Store, last: &Content, next: &Content) -> u64 {
    let added = next.objects.keys().filter(|object| !last.objects.contains_key(*object));
    added.filter_map(|object| store.objects.get(object)).sum()
}
