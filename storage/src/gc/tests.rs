//! Garbage collection by rule, and against servers that seal, compact, publish, take over and die in seeded orders.

use super::*;
use crate::env::{Created, Objects};
use crate::epoch::Epoch;
use crate::fault::{Faults, Faulty};
use crate::history::{At, Found, Moment};
use crate::identity::StoreId;
use crate::manifest::{ArrangementId, Root};
use crate::publish::Publisher;
use crate::publish::tests::{Turns, env, run as simulate};
use crate::run::Run;
use crate::store::open;
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use ulid::Ulid;

const STORE: StoreId = StoreId(5);

fn maker(generation: u32) -> Maker {
    Maker { store: STORE, generation: Generation(generation) }
}

fn object(generation: u32, n: u64) -> String {
    run::path(maker(generation), Ulid::from_parts(n, 0))
}

/// The manifest of a store that is taken over for the first time by a test that names objects itself.
fn born() -> Option<Manifest> {
    Some(Manifest { store: STORE, ..Manifest::default() })
}

/// Of manifests that name nothing.
fn retained_of(manifests: &[(u64, Option<i64>)], now: i64) -> BTreeMap<u64, Kept> {
    let nothing = BTreeMap::new();
    let content = |committed_at| Content { committed_at, objects: &nothing };
    let candidate = |&(sequence, at): &(u64, Option<i64>)| Candidate { sequence, bytes: 0, content: at.map(content) };
    retained(&manifests.iter().map(candidate).collect::<Vec<_>>(), now, &|_| 0)
}

#[test]
fn the_newest_ten_and_the_last_of_each_hour_of_a_day_are_kept() {
    let minute = HOUR / 60;
    // One a minute for three days.
    let manifests: Vec<_> = (0..3 * 24 * 60).map(|n| (n as u64, Some(n * minute))).collect();
    let why = retained_of(&manifests, 3 * DAY);
    let kept: Vec<u64> = why.keys().copied().collect();
    assert_eq!(kept.len(), 10 + 23);
    assert_eq!((why[&kept[0]], why[&kept[23]], why[&kept[32]]), (Kept::Hour, Kept::Newest(10), Kept::Newest(1)));
    assert_eq!(kept[kept.len() - 10..], (3 * 24 * 60 - 10..3 * 24 * 60).collect::<Vec<u64>>());
    assert!(kept[..23].windows(2).all(|pair| pair[1] - pair[0] == 60), "{kept:?}");
    assert_eq!(kept[0], 2 * 24 * 60 + 59);
}

#[test]
fn manifests_that_cannot_be_read_or_come_from_the_future_count_as_ours() {
    let manifests: Vec<_> = (0..12).map(|n| (n, (n != 11).then_some(5 * DAY))).collect();
    let kept: Vec<u64> = retained_of(&manifests, 0).into_keys().collect();
    assert_eq!(kept, (2..12).collect::<Vec<_>>());
}

#[test]
fn what_is_retained_stays_retained_until_it_ages() {
    // Collections at any moments never lose the last manifest of an hour.
    let mut there: Vec<(u64, Option<i64>)> = vec![];
    for n in 0..600i64 {
        there.push((n as u64, Some(n * HOUR / 50)));
        let keep = retained_of(&there, n * HOUR / 50);
        there.retain(|(sequence, _)| keep.contains_key(sequence));
    }
    let hours: BTreeSet<i64> = there.iter().map(|(_, at)| at.unwrap() / HOUR).collect();
    assert_eq!(hours.len(), 12);
    assert_eq!(there[0], (49, Some(49 * HOUR / 50)));
}

#[test]
fn the_past_takes_less_than_the_present() {
    // Each manifest names what it shares with all and what only it names: (shared, own) in megabytes.
    let kept = |shared: u64, own: u64| {
        let objects: Vec<BTreeMap<String, u64>> = (0..30)
            .map(|n| BTreeMap::from([("shared".to_string(), shared << 20), (format!("own{n}"), own << 20)]))
            .collect();
        let contents = objects.iter().zip(0i64..).map(|(objects, n)| Content { committed_at: n * HOUR, objects });
        let candidates: Vec<_> = contents
            .zip(0..)
            .map(|(content, sequence)| Candidate { sequence, bytes: 0, content: Some(content) })
            .collect();
        let size = |object: &str| if object == "shared" { shared << 20 } else { own << 20 };
        retained(&candidates, 30 * HOUR, &size).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(kept(0, 7), [29], "the newest");
    assert_eq!(kept(3, 1), (27..30).collect::<Vec<_>>(), "and six tenths of it");
    assert_eq!(kept(1000, 1).len(), 10 + 14);
}

fn object_before_identities() -> String {
    run::path(Maker { store: StoreId(0), generation: Generation(1) }, Ulid::from_parts(1, 0))
}

#[test]
fn only_unnamed_unused_objects_of_our_own_and_earlier_generations_go() {
    let fate = |path: &str, is_named, is_in_use| fate(path, is_named, is_in_use, maker(2));
    for generation in [1, 2] {
        assert_eq!(fate(&object(generation, 1), false, false), Fate::Garbage);
        assert_eq!(fate(&object(generation, 1), true, false), Fate::Named);
        assert_eq!(fate(&object(generation, 1), false, true), Fate::InUse);
    }
    assert_eq!(fate(&object(3, 5), false, false), Fate::Newer);
    let of_another = Maker { store: StoreId(6), generation: Generation(1) };
    for foreign in ["data/notes.txt", &run::path(of_another, Ulid::from_parts(1, 0)), &object_before_identities()] {
        assert_eq!(fate(foreign, false, false), Fate::Foreign, "{foreign}");
    }
    let old = Maker { store: StoreId(0), generation: Generation(2) };
    assert_eq!(super::fate(&object_before_identities(), false, false, old), Fate::Garbage);
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
    let (mut publisher, _) = Publisher::take_over(&env, born()).await.unwrap();
    let (kept, lost) = (object(1, 1), object(1, 2));
    for path in [&kept, &lost] {
        env.objects.put(path, Bytes::from_static(b"x")).await.unwrap();
    }
    let (manifest, _) = publisher.publish(named(&[&kept]), &quiet).await.unwrap();
    let (own, none) = (publisher.maker(), || HashSet::new());
    let good = env.objects.get(&Manifest::path(1)).await.unwrap().unwrap();
    env.objects.put(&Manifest::path(1), Bytes::from_static(b"damaged")).await.unwrap();
    assert_eq!(Collector::default().collect(&env, own, &none).await.unwrap(), Collected::default());

    env.objects.put(&Manifest::path(1), good).await.unwrap();
    let (second, _) = Publisher::take_over(&env, Some(manifest)).await.unwrap();
    assert!(matches!(Collector::default().collect(&env, own, &none).await, Err(Error::Fenced(_))));
    let mut collector = Collector::default();
    let collected = collector.collect(&env, second.maker(), &none).await.unwrap();
    assert_eq!(collected, Collected { objects: 1, bytes: 1, ..Collected::default() });
    assert_eq!(env.objects.list("data", None).await.unwrap(), [(kept, 1)]);
}

/// What a caller of [`Hooked`] asks for.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Get,
    Delete,
}

type Before = dyn Fn(Asked) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// A store to which something happens before it is read or something is deleted; if that fails, so does the request.
struct Hooked {
    store: Arc<dyn Objects>,
    before: Box<Before>,
}

#[async_trait]
impl Objects for Hooked {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.store.put(path, bytes).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        self.store.create(path, bytes).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        (self.before)(Asked::Get).await?;
        self.store.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.store.get_range(path, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        self.store.list(prefix, after).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        (self.before)(Asked::Delete).await?;
        self.store.delete(path).await
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

/// Its caller sleeps at one of its reads, `after` others, while another server takes over and collects.
fn overtaken(store: &Arc<dyn Objects>, after: usize) -> Hooked {
    let (reads, inner) = (AtomicUsize::new(0), store.clone());
    let before = move |asked: Asked| {
        let sleeps = asked == Asked::Get && reads.fetch_add(1, Ordering::Relaxed) == after;
        let other = env(inner.clone(), 2);
        async move {
            if !sleeps {
                return Ok(());
            }
            let newest = Publisher::newest(&other, false).await?;
            let (mut publisher, mut manifest) = Publisher::take_over(&other, newest).await?;
            for _ in 0..KEPT + 5 {
                (manifest, _) = publisher.publish(manifest, &quiet).await?;
            }
            Collector::default().collect(&other, publisher.maker(), &HashSet::new).await.map(drop)
        }
        .boxed()
    };
    Hooked { store: store.clone(), before: Box::new(before) }
}

#[tokio::test]
async fn one_who_sleeps_while_it_reads_manifests_deletes_nothing_of_its_successor() {
    // It wakes after each of its reads in turn, so that it has seen none, some, or all of the manifests that were there.
    for after in 0..KEPT + 10 {
        let store = open("memory://").unwrap();
        let env = env(store.clone(), 1);
        let (mut publisher, mut manifest) = Publisher::take_over(&env, born()).await.unwrap();
        let kept = object(1, 1);
        env.objects.put(&kept, Bytes::from_static(b"x")).await.unwrap();
        for round in 0..KEPT + 8 {
            // The first of them name nothing: who has read no others would take all for garbage.
            if round == 3 {
                manifest = Manifest { store: STORE, epoch: manifest.epoch, ..named(&[&kept]) };
            }
            (manifest, _) = publisher.publish(manifest, &quiet).await.unwrap();
        }
        let slow = Env { objects: Arc::new(overtaken(&store, after)), ..env };
        let _ = Collector::default().collect(&slow, publisher.maker(), &HashSet::new).await;
        assert_eq!(store.list("data", None).await.unwrap(), [(kept, 1)], "woken after {after} reads");
        check(&store, after as u64);
    }
}

async fn open_past(history: &History, env: &Env, epoch: u64) -> Result<u64, Option<u64>> {
    match history.open(env, At::Epoch(Epoch::from_u64(epoch))).await.unwrap() {
        Found::Snapshot(past) => Ok(past.moment().epoch.as_u64()),
        Found::Later(oldest) => Err(oldest.map(|moment| moment.epoch.as_u64())),
    }
}

#[tokio::test]
async fn an_epoch_or_a_time_means_the_newest_manifest_that_is_not_later() {
    let env = env(open("memory://").unwrap(), 1);
    let history = History::default();
    let (mut publisher, _) = Publisher::take_over(&env, born()).await.unwrap();
    assert_eq!(open_past(&history, &env, u64::MAX).await, Err(None), "a new store holds nothing");
    for n in [10, 20, 30] {
        let manifest = Manifest { epoch: Epoch::from_u64(n), now: n as i64 * 100, ..Manifest::default() };
        publisher.publish(manifest, &quiet).await.unwrap();
    }
    for (asked, found) in [(9, Err(Some(10))), (10, Ok(10)), (19, Ok(10)), (20, Ok(20)), (u64::MAX, Ok(30))] {
        assert_eq!(open_past(&history, &env, asked).await, found, "as of {asked}");
    }
    let Found::Snapshot(past) = history.open(&env, At::Time(2999)).await.unwrap() else { panic!("there is one") };
    assert_eq!(past.moment(), Moment { epoch: Epoch::from_u64(20), now: 2000 });
}

#[tokio::test]
async fn a_manifest_that_is_read_stays_with_all_it_names() {
    let env = env(open("memory://").unwrap(), 1);
    let history = History::default();
    let (mut publisher, _) = Publisher::take_over(&env, born()).await.unwrap();
    let (own, none) = (publisher.maker(), || HashSet::new());
    let mut collector = Collector::new(history.clone());
    let mut publish = async |n: u64| {
        let object = object(1, n);
        env.objects.put(&object, Bytes::from_static(b"x")).await.unwrap();
        let manifest = Manifest { epoch: Epoch::from_u64(n), ..named(&[&object]) };
        publisher.publish(manifest, &quiet).await.unwrap();
        object
    };
    let first = publish(1).await;
    let Found::Snapshot(past) = history.open(&env, At::Epoch(Epoch::from_u64(1))).await.unwrap() else {
        panic!("kept")
    };
    for n in 2..=20 {
        publish(n).await;
    }
    let collected = collector.collect(&env, own, &none).await.unwrap();
    assert_eq!(collected, Collected { manifests: 10, objects: 9, bytes: 9, ..Collected::default() });
    assert_eq!(open_past(&history, &env, 5).await, Ok(1), "what another reads can be read, too");
    assert!(env.objects.get(&first).await.unwrap().is_some());
    drop(past);
    let collected = collector.collect(&env, own, &none).await.unwrap();
    assert_eq!(collected, Collected { manifests: 1, objects: 1, bytes: 1, ..Collected::default() });
    assert_eq!(open_past(&history, &env, 5).await, Err(Some(11)));
}

#[tokio::test]
async fn a_manifest_that_was_to_go_is_not_kept_after_all() {
    let store = open("memory://").unwrap();
    let (is_late, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (late, deletes) = (is_late.clone(), asked.clone());
    let before = move |request: Asked| {
        let fails = request == Asked::Delete && late.load(Ordering::Relaxed);
        deletes.fetch_add(fails.into(), Ordering::Relaxed);
        let answer = if fails { Err(Error::Retry("no answer".into())) } else { Ok(()) };
        futures::future::ready(answer).boxed()
    };
    let env = Env { objects: Arc::new(Hooked { store: store.clone(), before: Box::new(before) }), ..env(store, 1) };
    let history = History::default();
    let (mut publisher, _) = Publisher::take_over(&env, born()).await.unwrap();
    let (own, none) = (publisher.maker(), || HashSet::new());
    let mut collector = Collector::new(history.clone());
    let mut publish = async |n: u64, bytes: usize, committed_at: i64| {
        let object = object(1, n);
        env.objects.put(&object, Bytes::from(vec![0; bytes])).await.unwrap();
        let mut manifest = Manifest { epoch: Epoch::from_u64(n), committed_at, ..named(&[&object]) };
        manifest.arrangements.values_mut().for_each(|state| state.runs[0].length = bytes as u64);
        publisher.publish(manifest, &quiet).await.unwrap();
    };
    // The last of its hour, for which there is no room beside small ones.
    publish(1, 1 << 20, 0).await;
    for n in 2..=12 {
        publish(n, 1, HOUR).await;
    }
    assert!(collector.collect(&env, own, &none).await.is_err(), "nothing could be deleted");
    // Now there would be.
    publish(13, 8 << 20, HOUR).await;
    assert_eq!(open_past(&history, &env, 1).await, Err(Some(3)), "it may go at any time");
    is_late.store(false, Ordering::Relaxed);
    assert!(asked.load(Ordering::Relaxed) > 0);
    collector.collect(&env, own, &none).await.unwrap();
    assert!(env.objects.get(&Manifest::path(2)).await.unwrap().is_none());
    assert_eq!(open_past(&history, &env, 1).await, Err(Some(4)));
}

/// Reads the past of a server's own store now and then; what it reads stays for as long as that server is the owner.
async fn read(env: &Env, history: &History, own: Generation, store: &Arc<dyn Objects>, reads: &AtomicUsize) {
    loop {
        env.clock.sleep(env.random.next() % 20_000).await;
        let at = At::Epoch(Epoch::from_u64(own.start().as_u64() + env.random.next() % 20));
        let Ok(Found::Snapshot(past)) = history.open(env, at).await else { continue };
        env.clock.sleep(env.random.next() % 50_000).await;
        let objects: HashSet<String> = store.list("data", None).await.unwrap().into_iter().map(|o| o.0).collect();
        let newest = store.list("manifest", None).await.unwrap().pop().unwrap().0;
        let newest = Root::decode(&newest, &store.get(&newest).await.unwrap().unwrap()).unwrap();
        if newest.generation() > own {
            return;
        }
        for object in past.manifest.objects() {
            assert!(objects.contains(object), "I10: {object} was deleted while it was read");
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// How much was done.
#[derive(Default)]
struct Done {
    deleted: AtomicUsize,
    reads: AtomicUsize,
}

/// One server: seals an object per checkpoint, compacts now and then, reads the past, and collects garbage all the while.
async fn serve(env: Env, store: Arc<dyn Objects>, done: Arc<Done>) {
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
    let own = publisher.maker();
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
            next.epoch = Epoch::from_u64(own.generation.start().as_u64() + round);
            let runs = &mut next.arrangements.entry(ArrangementId(1)).or_default().runs;
            if runs.len() > 3 && env.random.next().is_multiple_of(2) {
                runs.drain(..2);
            }
            runs.extend(
                named(&[&sealed]).arrangements.remove(&ArrangementId(1)).unwrap_or_default().runs.iter().cloned(),
            );
            match publisher.publish(next, &quiet).await {
                Ok((published, _)) => manifest = published,
                Err(_) => return,
            }
            uploads.lock().unwrap().remove(&sealed);
        }
    };
    let history = History::default();
    let collections = async {
        let mut collector = Collector::new(history.clone());
        loop {
            let in_use = || uploads.lock().unwrap().clone();
            match collector.collect(&env, own, &in_use).await {
                Err(Error::Fenced(_)) => return,
                Ok(collected) => {
                    done.deleted.fetch_add(collected.objects, Ordering::Relaxed);
                    env.clock.sleep(env.random.next() % 20_000).await;
                }
                Err(_) => env.clock.sleep(env.random.next() % 20_000).await,
            }
        }
    };
    let reads = std::pin::pin!(read(&env, &history, own.generation, &store, &done.reads));
    let collections = std::pin::pin!(collections);
    let beside = futures::future::select(collections, reads);
    futures::future::select(std::pin::pin!(checkpoints), beside).await;
}

/// I10, looked at from outside: the ten newest manifests name only objects that are there.
fn check(store: &Arc<dyn Objects>, seed: u64) {
    futures::executor::block_on(async {
        let objects: HashSet<String> = store.list("data", None).await.unwrap().into_iter().map(|o| o.0).collect();
        let manifests = store.list("manifest", None).await.unwrap();
        for (path, _) in manifests.iter().rev().take(KEPT) {
            let manifest = Root::decode(path, &store.get(path).await.unwrap().unwrap()).unwrap();
            let manifest = manifest.whole(path, |_| None).unwrap();
            for object in manifest.objects() {
                assert!(objects.contains(object), "seed {seed}: I10: {path} names {object}, which was deleted");
            }
        }
    })
}

#[test]
fn no_object_a_retained_manifest_names_is_ever_deleted() {
    let done = Arc::new(Done::default());
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
        simulate(seed, |seed| Box::pin(serve(env(faulty.clone(), seed), store.clone(), done.clone())), watch);
        check(&store, seed);
    }
    let (deleted, reads) = (done.deleted.load(Ordering::Relaxed), done.reads.load(Ordering::Relaxed));
    assert!(deleted > 1000, "only {deleted} objects were deleted: the simulation shows little");
    assert!(reads > 1000, "the past was only read {reads} times: the simulation shows little");
}
