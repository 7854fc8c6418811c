//! Garbage collection by rule, and against servers that seal, compact, publish, take over and die in seeded orders.

use super::*;
use crate::env::Objects;
use crate::epoch::Epoch;
use crate::fault::{Faults, Faulty};
use crate::manifest::ArrangementId;
use crate::publish::Publisher;
use crate::publish::tests::{Turns, env, run as simulate};
use crate::run::Run;
use crate::store::open;
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use ulid::Ulid;

fn object(generation: u32, n: u64) -> String {
    run::path(Generation(generation), Ulid::from_parts(n, 0))
}

#[test]
fn the_newest_ten_and_the_last_of_each_hour_of_a_day_are_kept() {
    let minute = HOUR / 60;
    // One a minute for three days.
    let manifests: Vec<_> = (0..3 * 24 * 60).map(|n| (n as u64, Some(n * minute))).collect();
    let kept: Vec<u64> = retained(&manifests, 3 * DAY).into_iter().collect();
    assert_eq!(kept.len(), 10 + 23);
    assert_eq!(kept[kept.len() - 10..], (3 * 24 * 60 - 10..3 * 24 * 60).collect::<Vec<u64>>());
    assert!(kept[..23].windows(2).all(|pair| pair[1] - pair[0] == 60), "{kept:?}");
    assert_eq!(kept[0], 2 * 24 * 60 + 59);
}

#[test]
fn manifests_that_cannot_be_read_or_come_from_the_future_count_as_ours() {
    let manifests: Vec<_> = (0..12).map(|n| (n, (n != 11).then_some(5 * DAY))).collect();
    let kept: Vec<u64> = retained(&manifests, 0).into_iter().collect();
    assert_eq!(kept, (2..12).collect::<Vec<_>>());
}

#[test]
fn what_is_retained_stays_retained_until_it_ages() {
    // Collections at any moments never lose the last manifest of an hour.
    let mut there: Vec<(u64, Option<i64>)> = vec![];
    for n in 0..600i64 {
        there.push((n as u64, Some(n * HOUR / 50)));
        let keep = retained(&there, n * HOUR / 50);
        there.retain(|(sequence, _)| keep.contains(sequence));
    }
    let hours: BTreeSet<i64> = there.iter().map(|(_, at)| at.unwrap() / HOUR).collect();
    assert_eq!(hours.len(), 12);
    assert_eq!(there[0], (49, Some(49 * HOUR / 50)));
}

#[test]
fn only_unnamed_unused_objects_of_our_own_and_earlier_generations_go() {
    let names = [object(1, 1), object(1, 2), object(2, 3), object(2, 4), object(3, 5), "data/notes.txt".into()];
    let (named, in_use) = ([names[1].as_str()].into(), [names[3].clone()].into());
    let gone = deletable(names.iter().map(String::as_str), &named, &in_use, Generation(2));
    assert_eq!(gone, [&names[0], &names[2]]);
}

fn quiet(_: &str) {}

fn named(objects: &[&str]) -> Manifest {
    let run = |object: &&str| Run {
        object: object.to_string(),
        offset: 0,
        length: 1,
        after: Epoch::ZERO,
        to: Epoch::from_u64(1),
        rows: 1,
        vnodes: (0, 0),
    };
    let mut manifest = Manifest::default();
    manifest.arrangements.entry(ArrangementId(1)).or_default().runs = objects.iter().map(run).collect();
    manifest
}

#[tokio::test]
async fn nothing_is_deleted_while_a_manifest_cannot_be_read_or_by_one_who_is_fenced() {
    let env = env(open("memory://").unwrap(), 1);
    let (mut publisher, _) = Publisher::take_over(&env, None).await.unwrap();
    let (kept, lost) = (object(1, 1), object(1, 2));
    for path in [&kept, &lost] {
        env.objects.put(path, Bytes::from_static(b"x")).await.unwrap();
    }
    let (manifest, _) = publisher.publish(named(&[&kept]), &quiet).await.unwrap();
    let (own, none) = (publisher.generation(), || HashSet::new());
    let good = env.objects.get(&Manifest::path(1)).await.unwrap().unwrap();
    env.objects.put(&Manifest::path(1), Bytes::from_static(b"damaged")).await.unwrap();
    assert_eq!(Collector::default().collect(&env, own, &none).await.unwrap(), Collected::default());

    env.objects.put(&Manifest::path(1), good).await.unwrap();
    let (second, _) = Publisher::take_over(&env, Some(manifest)).await.unwrap();
    assert!(matches!(Collector::default().collect(&env, own, &none).await, Err(Error::Fenced(_))));
    let mut collector = Collector::default();
    let collected = collector.collect(&env, second.generation(), &none).await.unwrap();
    assert_eq!(collected, Collected { manifests: 0, objects: 1, bytes: 1 });
    assert_eq!(env.objects.list("data", None).await.unwrap(), [(kept, 1)]);
}

/// One server: seals an object per checkpoint, compacts now and then, and collects garbage all the while.
async fn serve(env: Env, deleted: Arc<AtomicUsize>) {
    let taken = loop {
        match Publisher::newest(&env, false).await {
            Ok(newest) => break Publisher::take_over(&env, newest).await,
            Err(Error::Retry(_)) => continue,
            Err(e) => panic!("{e}"),
        }
    };
    let (mut publisher, mut manifest) = match taken {
        Ok(taken) => taken,
        Err(Error::Fenced(_)) => return,
        Err(e) => panic!("{e}"),
    };
    let own = publisher.generation();
    let uploads = Mutex::new(HashSet::new());
    let checkpoints = async {
        for round in 1..=20 {
            let sealed = run::path(own, Ulid::from_parts(env.random.next() >> 16, 0));
            uploads.lock().unwrap().insert(sealed.clone());
            while env.objects.put(&sealed, Bytes::from_static(b"x")).await.is_err() {
                env.clock.sleep(1000).await;
            }
            env.clock.sleep(env.random.next() % 10_000).await;
            let mut next = manifest.clone();
            next.epoch = Epoch::from_u64(own.start().as_u64() + round);
            let runs = &mut next.arrangements.entry(ArrangementId(1)).or_default().runs;
            if runs.len() > 3 && env.random.next().is_multiple_of(2) {
                runs.drain(..2);
            }
            runs.extend(named(&[&sealed]).arrangements.remove(&ArrangementId(1)).unwrap_or_default().runs);
            match publisher.publish(next, &quiet).await {
                Ok((published, _)) => manifest = published,
                Err(_) => return,
            }
            uploads.lock().unwrap().remove(&sealed);
        }
    };
    let collections = async {
        let mut collector = Collector::default();
        loop {
            let in_use = || uploads.lock().unwrap().clone();
            match collector.collect(&env, own, &in_use).await {
                Err(Error::Fenced(_)) => return,
                Ok(collected) => {
                    deleted.fetch_add(collected.objects, Ordering::Relaxed);
                    env.clock.sleep(env.random.next() % 20_000).await;
                }
                Err(_) => env.clock.sleep(env.random.next() % 20_000).await,
            }
        }
    };
    futures::future::select(std::pin::pin!(checkpoints), std::pin::pin!(collections)).await;
}

/// I10, looked at from outside: the ten newest manifests name only objects that are there.
fn check(store: &Arc<dyn Objects>, seed: u64) {
    futures::executor::block_on(async {
        let objects: HashSet<String> = store.list("data", None).await.unwrap().into_iter().map(|o| o.0).collect();
        let manifests = store.list("manifest", None).await.unwrap();
        for (path, _) in manifests.iter().rev().take(KEPT) {
            let manifest = Manifest::decode(path, &store.get(path).await.unwrap().unwrap()).unwrap();
            for object in manifest.objects() {
                assert!(objects.contains(object), "seed {seed}: I10: {path} names {object}, which was deleted");
            }
        }
    })
}

#[test]
fn no_object_a_retained_manifest_names_is_ever_deleted() {
    let deleted = Arc::new(AtomicUsize::new(0));
    for seed in 0..300 {
        let store = open("memory://").unwrap();
        let faults = Faults { failed: 0.05, lost: 0.05, late: 0.02, delay: 4000 };
        let faulty = Faulty::new(store.clone(), seed, faults).with_clock(Arc::new(Turns::default()));
        let faulty: Arc<dyn Objects> = Arc::new(faulty);
        let mut steps = 0;
        let watch = || {
            steps += 1;
            if steps % 50 == 0 {
                check(&store, seed);
            }
        };
        simulate(seed, |seed| Box::pin(serve(env(faulty.clone(), seed), deleted.clone())), watch);
        check(&store, seed);
    }
    let deleted = deleted.load(Ordering::Relaxed);
    assert!(deleted > 1000, "only {deleted} objects were deleted: the simulation shows little");
}
