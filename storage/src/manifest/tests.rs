//! What is written is read, and as little is written as has changed.

use super::*;
use crate::fault::{Faults, Faulty};
use crate::publish::tests::env;
use crate::run::Run;
use crate::store::open;
use serde_json::json;
use std::sync::Arc;

fn sample() -> Manifest {
    let run = Run {
        object: "data/2-01ARZ3NDEKTSV4RRFFQ69G5FAV.runs".into(),
        offset: 5,
        length: u64::MAX,
        after: Epoch::ZERO,
        to: Generation(2).start().next(),
        rows: 3,
        vnodes: (0, 255),
    };
    let state = State { upper: run.to, since: Epoch::ZERO, runs: vec![run].into() };
    Manifest {
        sequence: 42,
        generation: Generation(2),
        nonce: u64::MAX - 1,
        epoch: state.upper,
        committed_at: 1_700_000_000_000_000,
        now: -1,
        positions: BTreeMap::from([(7, json!({"lsn": "0/16B3748"}))]),
        catalog: Records {
            rest: json!({"last": [1, 2.5, "é"]}),
            objects: BTreeMap::from([(3, Record::of(&json!({"name": "a\nb é"})))]),
        },
        arrangements: BTreeMap::from([(ArrangementId(u64::MAX), state)]),
        uploaded_bytes: 9,
        duration_us: 10,
        store: StoreId(11),
        place: "file:///here".into(),
        pages: Pages::default(),
    }
}

fn decode(name: &str, bytes: &[u8]) -> Result<Manifest> {
    Root::decode(name, &Bytes::copy_from_slice(bytes))?.whole(name, |_| None)
}

#[test]
fn what_was_encoded_is_decoded() {
    let (manifest, name) = (sample(), Manifest::path(42));
    assert_eq!(decode(&name, &manifest.encode()).unwrap(), manifest);
    assert_eq!(manifest.objects().len(), 1);
}

#[test]
fn the_bytes_begin_as_they_always_did() {
    let bytes = Manifest::default().encode();
    assert_eq!(&bytes[..16], b"WEIRMANI\x02\0\0\0\0\0\0\0");
    let json = r#"{"sequence":0,"generation":0,"nonce":0,"epoch":0,"committed_at":0,"now":0,"positions":{},"#;
    assert!(bytes[24..].starts_with(json.as_bytes()), "{:?}", &bytes[24..]);
    assert_eq!(bytes[16..24], xxh3_64(&bytes[24..]).to_le_bytes());
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused_by_name() {
    let (bytes, name) = (sample().encode(), Manifest::path(42));
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x41;
        for wrong in [&flipped[..], &bytes[..at]] {
            let error = decode(&name, wrong).unwrap_err();
            assert!(matches!(&error, Error::Corrupt(m) if m.contains(&name)), "{at}: {error}");
        }
    }
}

#[test]
fn a_newer_format_is_refused_as_that_and_another_number_as_damage() {
    let mut bytes = sample().encode().to_vec();
    assert!(decode(&Manifest::path(41), &bytes).is_err());
    bytes[8] = 3;
    let error = decode(&Manifest::path(42), &bytes).unwrap_err();
    assert!(error.to_string().contains("has format 3"), "{error}");
}

#[test]
fn only_twenty_digits_are_a_manifests_name() {
    assert_eq!(Manifest::sequence_of(&Manifest::path(u64::MAX)), Some(u64::MAX));
    for other in ["manifest/1", "manifest/", "data/00000000000000000001", "manifest/+0000000000000000001"] {
        assert_eq!(Manifest::sequence_of(other), None, "{other}");
    }
}

#[test]
fn a_manifest_of_the_first_format_is_read() {
    let mut whole = json!({
        "sequence": 42, "generation": 2, "nonce": 7, "epoch": 9, "committed_at": 5, "now": -1, "positions": {},
        "catalog": {"objects": {"3": {"name": "t"}}, "last_object": 3},
        "arrangements": {"1": {"upper": 8, "since": 4, "runs": []}},
        "uploaded_bytes": 9, "duration_us": 10,
    });
    let encode = |whole: &serde_json::Value| {
        let json = serde_json::to_vec(whole).unwrap();
        [&b"WEIRMANI\x01\0\0\0\0\0\0\0"[..], &xxh3_64(&json).to_le_bytes(), &json].concat()
    };
    let name = Manifest::path(42);
    let manifest = decode(&name, &encode(&whole)).unwrap();
    let state = State { upper: Epoch::from_u64(8), since: Epoch::from_u64(4), runs: Runs::default() };
    assert_eq!(manifest.arrangements, BTreeMap::from([(ArrangementId(1), state)]));
    assert_eq!(manifest.catalog.rest, json!({"last_object": 3}));
    assert_eq!(manifest.catalog.objects[&3].read::<serde_json::Value>().unwrap(), json!({"name": "t"}));
    assert_eq!(decode(&name, &manifest.encode()).unwrap(), manifest);
    whole["catalog"]["objects"] = json!({"x": 1});
    assert!(matches!(decode(&name, &encode(&whole)), Err(Error::Corrupt(_))));
}

/// A manifest of `objects` objects with a state each, as a server with so many tables has it.
fn large(objects: u32) -> Manifest {
    let mut manifest = sample();
    manifest.arrangements.clear();
    for id in 0..objects {
        manifest.catalog.objects.insert(id, Record::of(&json!({"id": id, "definition": "x".repeat(700)})));
        touch(&mut manifest, u64::from(id), 1);
    }
    manifest
}

/// The same as it lies in the store after `path` was written, and what is to be stored there.
fn laid(manifest: &Manifest, path: &str, limits: Limits) -> (Manifest, Option<Bytes>) {
    let (laid, object) = Laid::new(manifest.clone(), &manifest.pages, path, limits).expect("it is read back");
    assert_eq!(laid.encode(), laid.manifest.encode());
    (laid.manifest, object)
}

/// A run for arrangement `id`.
fn touch(manifest: &mut Manifest, id: u64, n: u64) {
    let run = Run { rows: n, ..sample().arrangements[&ArrangementId(u64::MAX)].runs[0].clone() };
    let state = State { upper: manifest.epoch, since: manifest.epoch, runs: vec![run].into() };
    manifest.arrangements.insert(ArrangementId(id), state);
}

#[test]
fn a_manifest_is_as_large_as_what_changed() {
    let limits = Limits::default();
    let mut manifest = large(4000);
    let object;
    (manifest, object) = laid(&manifest, "data/1", limits);
    assert!(object.is_some_and(|object| object.len() > 3_000_000));
    for n in 0..200 {
        manifest.epoch = manifest.epoch.next();
        manifest
            .arrangements
            .values_mut()
            .for_each(|state| (state.upper, state.since) = (manifest.epoch, manifest.epoch));
        touch(&mut manifest, 1234, n);
        let object;
        (manifest, object) = laid(&manifest, "data/2", limits);
        assert_eq!(object, None, "what changes again and again is written in the manifest");
        assert!(manifest.encode().len() <= 64 << 10, "{}", manifest.encode().len());
    }
    manifest.arrangements.clear();
    (manifest, _) = laid(&manifest, "data/3", limits);
    manifest.catalog.objects.retain(|id, _| *id < 60);
    let object;
    (manifest, object) = laid(&manifest, "data/3", limits);
    assert!(object.is_some_and(|object| object.len() < 60_000), "little is needed of it");
    assert!(manifest.pages.needs().all(|(object, _)| object == "data/3"));
}

#[test]
fn pages_that_say_something_else_are_not_named() {
    let (mut manifest, _) = laid(&large(100), "data/1", Limits::TINY);
    let rest = |manifest: &Manifest| Root::decode(&Manifest::path(42), &manifest.encode()).unwrap();
    assert_eq!(rest(&manifest).loose.into_records().count(), 0);
    touch(&mut manifest, 7, 2);
    manifest.catalog.objects.remove(&8);
    manifest.catalog.objects.insert(1000, Record::of(&1));
    assert_eq!(rest(&manifest).loose.into_records().count(), 2);
    laid(&manifest, "data/2", Limits::default());
    let stale = Manifest { epoch: manifest.epoch.next(), ..manifest.clone() };
    assert_eq!(rest(&stale).loose.into_records().count(), 101, "states of an earlier epoch");
}

/// Random changes under random limits: what is published is read, whole, and nothing piles up.
#[tokio::test]
async fn whatever_changes_is_read_as_it_was_published() {
    for seed in 0..60 {
        let env = env(open("memory://").unwrap(), seed);
        let below = |n: u64| env.random.next() % n;
        let limits = Limits {
            page_bytes: [1, 100, 1000][below(3) as usize],
            loose_bytes: [1, 500, 5000][below(3) as usize],
            ..Limits::default()
        };
        let (mut manifest, mut cache) = (Manifest::default(), Cache::default());
        for n in 0..80 {
            for _ in 0..below(4) {
                let id = below(40);
                match below(4) {
                    0 => drop(manifest.catalog.objects.remove(&(id as u32))),
                    1 => drop(manifest.arrangements.remove(&ArrangementId(id))),
                    2 => touch(&mut manifest, id, n),
                    _ => {
                        let text = "é\n".repeat(below(40) as usize);
                        manifest.catalog.objects.insert(id as u32, Record::of(&text));
                    }
                }
            }
            manifest.epoch = manifest.epoch.next();
            manifest.sequence += 1;
            let path = format!("data/{n}");
            let object;
            (manifest, object) = laid(&manifest, &path, limits);
            if let Some(object) = object {
                assert!(!object.is_empty());
                env.objects.put(&path, object).await.unwrap();
            }
            let root = manifest.encode();
            let loose = Root::decode(&Manifest::path(manifest.sequence), &root).unwrap().loose;
            let loose: usize = loose.into_records().map(|(_, record)| record.text().len()).sum();
            assert!(loose <= limits.loose_bytes, "seed {seed}: {loose} bytes are loose");
            env.objects.create(&Manifest::path(manifest.sequence), root).await.unwrap();
            let read = Manifest::read(&env, manifest.sequence, &mut cache).await.unwrap().unwrap();
            assert_eq!(read, manifest, "seed {seed}, {n}");
            manifest = read;
            let mut needed: u64 = 0;
            let mut stored: u64 = 0;
            for (object, bytes) in manifest.needs().into_iter().filter(|(object, _)| !object.ends_with(".runs")) {
                let whole = env.objects.get(object).await.unwrap().unwrap();
                (needed, stored) = (needed + bytes, stored + whole.len() as u64);
                manifest.pages.verify(object, &whole).unwrap();
            }
            assert!(stored <= 2 * needed, "seed {seed}: {stored} bytes for {needed}");
        }
    }
}

#[tokio::test]
async fn damaged_and_missing_pages_are_named() {
    let env = env(open("memory://").unwrap(), 1);
    let (manifest, object) = laid(&large(50), "data/1", Limits::TINY);
    let object = object.expect("pages");
    env.objects.create(&Manifest::path(42), manifest.encode()).await.unwrap();
    let error = async || Manifest::read(&env, 42, &mut Cache::default()).await.unwrap_err();
    let missing = error().await;
    assert!(matches!(&missing, Error::Corrupt(why) if why.contains("data/1")), "{missing}");
    for at in [0, object.len() / 2, object.len() - 1] {
        let mut flipped = object.to_vec();
        flipped[at] ^= 1;
        env.objects.put("data/1", flipped.clone().into()).await.unwrap();
        let damaged = error().await;
        assert!(matches!(&damaged, Error::Corrupt(why) if why.contains("data/1")), "{damaged}");
        assert!(manifest.pages.verify("data/1", &flipped.into()).is_err());
        env.objects.put("data/1", object.slice(..at)).await.unwrap();
        let cut = error().await;
        assert!(matches!(&cut, Error::Corrupt(_)), "{cut}");
    }
    env.objects.put("data/1", object).await.unwrap();
    assert_eq!(Manifest::read(&env, 42, &mut Cache::default()).await.unwrap().unwrap(), manifest);
    env.objects.delete(&Manifest::path(42)).await.unwrap();
    assert_eq!(Manifest::read(&env, 42, &mut Cache::default()).await.unwrap(), None);
}

/// Pages in sixty objects are read three times from a store that does not answer one request in twenty.
#[tokio::test]
async fn a_request_that_fails_does_not_cost_a_manifest() {
    let inner = open("memory://").unwrap();
    let whole = env(inner.clone(), 1);
    let mut manifest = large(0);
    for id in 0..60 {
        touch(&mut manifest, id, 1);
        let path = format!("data/{id}");
        let object;
        (manifest, object) = laid(&manifest, &path, Limits::TINY);
        whole.objects.put(&path, object.expect("a page of its own")).await.unwrap();
    }
    whole.objects.create(&Manifest::path(42), manifest.encode()).await.unwrap();
    let faults = Faults { failed: 0.05, ..Faults::default() };
    let faulty = env(Arc::new(Faulty::new(inner, 1, faults)), 1);
    for _ in 0..3 {
        let root = Root::read(&whole, 42).await.unwrap().unwrap();
        assert_eq!(root.complete(&faulty, &mut Cache::default()).await.unwrap(), Some(manifest.clone()));
    }
}

#[test]
fn what_is_written_of_runs_is_what_they_are_now() {
    let mut manifest = sample();
    let before = manifest.encode();
    let shared = manifest.clone();
    manifest.arrangements.get_mut(&ArrangementId(u64::MAX)).unwrap().runs[0].rows += 1;
    assert_ne!(manifest.encode(), before);
    assert_ne!(manifest, shared);
    assert_eq!(shared.encode(), before);
    let read = |bytes: &Bytes| {
        let path = Manifest::path(manifest.sequence);
        Root::decode(&path, bytes).and_then(|root| root.whole(&path, |_| None)).unwrap()
    };
    assert_eq!((read(&manifest.encode()), read(&before)), (manifest.clone(), shared));
}
