//! What collection would delete now, and why it would not delete the rest. By the rules that collection goes by; what only the server
//! knows, namely who reads the past and what is being uploaded, cannot be seen from here, and is said so.

use super::report::{Checkpoint, Garbage, Listed, Stays, epoch, time};
use super::store::Store;
use std::collections::BTreeMap;
use weir_storage::Generation;
use weir_storage::gc::{Candidate, Content, Fate, Kept, fate, retained};
use weir_storage::identity::{Maker, StoreId};
use weir_storage::manifest::Manifest;
use weir_storage::run;

pub fn manifests(store: &Store, now: i64) -> Vec<Listed> {
    let kept = kept(store, now);
    let listed = store.manifests.iter().map(|(sequence, found)| Listed {
        sequence: *sequence,
        bytes: found.bytes,
        checkpoint: found.content.as_ref().map(|content| Checkpoint {
            epoch: epoch(content.epoch),
            number: content.epoch.as_u64(),
            time: time(content.now),
        }),
        kept: kept.get(sequence).map(|kept| match kept {
            Kept::Newest(1) => "the newest".into(),
            Kept::Newest(n) => format!("the newest but {}", n - 1),
            Kept::Hour => "the last of its hour".into(),
        }),
    });
    listed.collect()
}

fn kept(store: &Store, now: i64) -> BTreeMap<u64, Kept> {
    let mut candidates = vec![];
    for (&sequence, found) in &store.manifests {
        let content = found.content.as_ref();
        let content = content.map(|c| Content { committed_at: c.committed_at, objects: &c.objects });
        candidates.push(Candidate { sequence, bytes: found.bytes, content });
    }
    retained(&candidates, now, &|object| store.objects.get(object).copied().unwrap_or(0))
}

pub fn objects(store: &Store, now: i64) -> Garbage {
    let kept = kept(store, now);
    let committed = store.newest.as_ref().map(|manifest| (manifest.committed_at / 1000) as u64);
    let own = store.newest.as_ref().map_or((StoreId(0), Generation(0)), |newest| (newest.store, newest.generation));
    let own = Maker { store: own.0, generation: own.1 };
    // Of those that name an object the newest is told.
    let mut named: BTreeMap<&str, u64> = BTreeMap::new();
    for (sequence, found) in store.manifests.iter().filter(|(sequence, _)| kept.contains_key(sequence)) {
        let objects = found.content.iter().flat_map(|content| content.objects.keys());
        named.extend(objects.map(|object| (object.as_str(), *sequence)));
    }
    let newest = store.manifests.keys().next_back().copied();
    let mut stays: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    let (mut objects, mut bytes) = (0, 0);
    for (path, size) in &store.objects {
        let named = named.get(path.as_str()).copied();
        let why = match fate(path, named.is_some(), false, own) {
            Fate::Foreign => "not named as this store names its objects".into(),
            Fate::Newer => "of a newer generation, which may be about to publish it".into(),
            Fate::Named if named == newest => "named by the newest manifest".into(),
            Fate::Named => format!("named by manifest {}, which is kept", named.unwrap_or_default()),
            Fate::InUse | Fate::Garbage if run::named_at(path) >= committed => {
                "younger than the newest manifest: an upload that the next one may name".into()
            }
            Fate::InUse | Fate::Garbage => {
                objects += 1;
                bytes += size;
                continue;
            }
        };
        let (count, sum) = stays.entry(why).or_default();
        *count += 1;
        *sum += size;
    }
    let unreadable = store.manifests.iter().find(|(_, found)| found.content.is_none());
    let blocked = unreadable
        .map(|(sequence, _)| format!("{} cannot be read: nothing it may name is deleted", Manifest::path(*sequence)));
    let manifests = store.manifests.keys().filter(|sequence| !kept.contains_key(sequence)).count();
    let stays = stays.into_iter().map(|(why, (objects, bytes))| Stays { why, objects, bytes }).collect();
    Garbage { manifests, objects, bytes, blocked, stays }
}
