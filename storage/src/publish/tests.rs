//! Publishers against each other, on a store that fails, in thousands of seeded orders.

use super::*;
use crate::env::{Clock, Objects, Random, SystemThreads};
use crate::fault::{Faults, Faulty};
use crate::limits::Limits;
use crate::store::open;
use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// Time stands still but for sleepers, who wait for as many turns as they sleep milliseconds, at most 20.
#[derive(Default)]
pub(crate) struct Turns(AtomicU64);

impl Clock for Turns {
    fn now(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst) as i64
    }
    fn monotonic(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn sleep(&self, micros: u64) -> BoxFuture<'static, ()> {
        let mut turns = (micros / 1000).min(20);
        Box::pin(futures::future::poll_fn(move |context| match turns {
            0 => Poll::Ready(()),
            _ => {
                turns -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }))
    }
}

struct Dice(Mutex<SmallRng>);

impl Random for Dice {
    fn next(&self) -> u64 {
        self.0.lock().unwrap().next_u64()
    }
}

pub(crate) fn env(objects: Arc<dyn Objects>, seed: u64) -> Env {
    let random = Arc::new(Dice(Mutex::new(SmallRng::seed_from_u64(seed))));
    Env { clock: Arc::new(Turns::default()), random, threads: Arc::new(SystemThreads), objects, limits: Limits::TINY }
}

fn quiet(_: &str) {}

/// What the world outside may rely on, in the order in which it came to know it.
#[derive(Default)]
struct Known {
    /// (sequence, generation, position) of every `Durable` given.
    published: Vec<(u64, Generation, u64)>,
    /// The highest generation whose takeover has returned.
    owner: Generation,
}

fn position(manifest: &Manifest) -> u64 {
    manifest.positions.get(&1).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// One server: takes over, then publishes and confirms until fenced or at the end of its work.
async fn serve(env: Env, known: Arc<Mutex<Known>>, rounds: u64, tidy: bool) {
    let (mut publisher, mut manifest) = loop {
        let newest = match Publisher::newest(&env, false).await {
            Ok(newest) => newest,
            Err(Error::Retry(_)) => continue,
            Err(e) => panic!("{e}"),
        };
        match Publisher::take_over(&env, newest).await {
            Ok(taken) => break taken,
            Err(Error::Fenced(_)) => return,
            Err(e) => panic!("{e}"),
        }
    };
    let generation = publisher.generation();
    {
        let mut known = known.lock().unwrap();
        known.owner = known.owner.max(generation);
    }
    for round in 1..=rounds {
        env.clock.sleep(env.random.next() % 20_000).await;
        let overtaken = known.lock().unwrap().owner > generation;
        match publisher.confirm().await {
            Ok(_) => assert!(!overtaken, "generation {generation} went on after it was taken over"),
            Err(Error::Fenced(_)) => return,
            Err(Error::Retry(_)) => {}
            Err(e) => panic!("{e}"),
        }
        let mut next = manifest.clone();
        next.epoch = Epoch::from_u64(generation.start().as_u64() + round);
        next.positions.insert(1, json!(position(&manifest) + 1));
        let overtaken = known.lock().unwrap().owner > generation;
        match publisher.publish(next, &quiet).await {
            Ok((published, proof)) => {
                assert!(!overtaken, "generation {generation} published after it was taken over");
                assert_eq!(proof.epoch(), published.epoch);
                known.lock().unwrap().published.push((published.sequence, generation, position(&published)));
                manifest = published;
            }
            Err(Error::Fenced(_)) => {
                assert!(matches!(publisher.confirm().await, Err(Error::Fenced(_))), "a fenced process stays fenced");
                return;
            }
            Err(e) => panic!("{e}"),
        }
        if tidy {
            // Retention at its hardest: only the newest manifest stays.
            for old in sequences(&env, None).await.unwrap_or_default() {
                if old < manifest.sequence {
                    let _ = env.objects.delete(&Manifest::path(old)).await;
                }
            }
        }
    }
}

/// A server that runs until it is done, or dropped.
type Server = Pin<Box<dyn Future<Output = ()>>>;

/// Runs servers in an order given by `seed`; some are killed, some sleep for long. `watch` is called after every step.
pub(crate) fn run(seed: u64, mut start: impl FnMut(u64) -> Server, mut watch: impl FnMut()) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut waiting = random.random_range(2..5u64);
    // With the turns each sleeps.
    let mut running: Vec<(Server, u64)> = vec![];
    let mut context = Context::from_waker(futures::task::noop_waker_ref());
    for step in 0.. {
        assert!(step < 1_000_000, "seed {seed}: no end: servers wait for each other");
        if waiting > 0 && (running.is_empty() || random.random_ratio(1, 200)) {
            running.push((start(random.next_u64()), 0));
            waiting -= 1;
        }
        if running.is_empty() {
            break;
        }
        let one = random.random_range(0..running.len());
        match random.random_range(0..2000) {
            // Killed, wherever it is; another continues.
            0 if running.len() > 1 || waiting > 0 => drop(running.swap_remove(one)),
            // Asleep for hundreds of turns, as a paused virtual machine is.
            1 => running[one].1 = 400,
            _ if running[one].1 > 0 => running[one].1 -= 1,
            _ => {
                if running[one].0.as_mut().poll(&mut context).is_ready() {
                    drop(running.swap_remove(one));
                }
            }
        }
        watch();
    }
}

fn simulate(seed: u64, tidy: bool) -> (Arc<dyn Objects>, Known) {
    let store = open("memory://").unwrap();
    let faults = Faults { failed: 0.1, lost: 0.1, late: 0.1, delay: 4000 };
    let faulty = Faulty::new(store.clone(), seed, faults).with_clock(Arc::new(Turns::default()));
    let faulty: Arc<dyn Objects> = Arc::new(faulty);
    let known = Arc::new(Mutex::new(Known::default()));
    run(seed, |seed| Box::pin(serve(env(faulty.clone(), seed), known.clone(), 6, tidy)), || {});
    let known = std::mem::take(&mut *known.lock().unwrap());
    (store, known)
}

#[test]
fn whatever_the_order_and_the_faults_each_manifest_has_one_publisher_and_none_is_lost() {
    let mut published = 0;
    for seed in 0..2000 {
        let (store, known) = simulate(seed, false);
        let at_rest = env(store, 0);
        let stored = futures::executor::block_on(async {
            let mut stored = vec![];
            for sequence in sequences(&at_rest, None).await.unwrap() {
                stored.push(examine(&at_rest, sequence).await.unwrap().1.unwrap());
            }
            stored
        });
        for pair in stored.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            assert_eq!(after.sequence, before.sequence + 1, "seed {seed}");
            let takeover = after.generation > before.generation;
            let expected = position(before) + u64::from(!takeover);
            assert_eq!(position(after), expected, "seed {seed}: {} does not go on from the one before", after.sequence);
            assert!(takeover || after.generation == before.generation, "seed {seed}: generations went back");
        }
        for &(sequence, generation, position_then) in &known.published {
            let there = &stored[sequence as usize - 1];
            assert_eq!((there.generation, position(there)), (generation, position_then), "seed {seed}: {sequence}");
        }
        published += known.published.len();
    }
    assert!(
        published > 10_000,
        "only {published} manifests were published: the simulation is too hostile to show anything"
    );
}

#[test]
fn a_publisher_that_slept_while_its_number_was_deleted_is_fenced_all_the_same() {
    for seed in 0..2000 {
        let (_, known) = simulate(seed, true);
        let mut by_sequence = BTreeMap::new();
        for &(sequence, generation, position) in &known.published {
            let other = by_sequence.insert(sequence, (generation, position));
            assert_eq!(other, None, "seed {seed}: manifest {sequence} was published twice");
        }
        let in_order: Vec<_> = by_sequence.values().collect();
        assert!(in_order.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1), "seed {seed}: {in_order:?}");
    }
}

#[tokio::test]
async fn an_idle_owner_learns_that_it_was_fenced() {
    let env = env(open("memory://").unwrap(), 1);
    assert_eq!(Publisher::newest(&env, false).await.unwrap(), None);
    let (mut first, manifest) = Publisher::take_over(&env, None).await.unwrap();
    assert_eq!((manifest.sequence, manifest.generation, manifest.epoch), (1, Generation(1), Epoch::ZERO));
    assert_eq!(first.confirm().await.unwrap().epoch(), Epoch::ZERO);
    let (second, taken) = Publisher::take_over(&env, Some(manifest.clone())).await.unwrap();
    assert_eq!((taken.sequence, taken.generation), (2, Generation(2)));
    assert!(matches!(first.confirm().await, Err(Error::Fenced(_))));
    let error = first.publish(manifest, &quiet).await.unwrap_err();
    assert!(matches!(&error, Error::Fenced(why) if why.contains("manifest 2")), "{error}");
    assert!(second.confirm().await.is_ok());
}

#[tokio::test]
async fn a_publisher_waits_for_the_store_to_come_back_and_says_so() {
    let faulty = Arc::new(Faulty::new(open("memory://").unwrap(), 1, Faults::default()));
    let env = env(faulty.clone(), 1);
    let (mut publisher, manifest) = Publisher::take_over(&env, None).await.unwrap();
    faulty.set_away(true);
    assert!(matches!(publisher.confirm().await, Err(Error::Retry(_))));
    let told = AtomicU64::new(0);
    let on_retry = |_: &str| {
        if told.fetch_add(1, Ordering::SeqCst) == 9 {
            faulty.set_away(false);
        }
    };
    let (published, _) = publisher.publish(manifest, &on_retry).await.unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 10);
    assert_eq!(Publisher::newest(&env, false).await.unwrap(), Some(published));
}

#[tokio::test]
async fn a_damaged_newest_manifest_stops_recovery_unless_loss_is_accepted() {
    let env = env(open("memory://").unwrap(), 1);
    let (mut publisher, first) = Publisher::take_over(&env, None).await.unwrap();
    let mut next = first.clone();
    next.positions.insert(1, json!(5));
    let (second, _) = publisher.publish(next, &quiet).await.unwrap();
    let (_, third) = Publisher::take_over(&env, Some(second.clone())).await.unwrap();
    let path = Manifest::path(third.sequence);
    env.objects.put(&path, third.encode().slice(..90)).await.unwrap();
    let error = Publisher::newest(&env, false).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(why) if why.contains(&path)), "{error}");

    let found = Publisher::newest(&env, true).await.unwrap().unwrap();
    assert_eq!(position(&found), 5);
    let (publisher, taken) = Publisher::take_over(&env, Some(found)).await.unwrap();
    assert_eq!(taken.sequence, third.sequence + 1);
    assert!(publisher.generation() > third.generation, "the lost manifest's generation is not used again");
    assert_eq!(Publisher::newest(&env, false).await.unwrap(), Some(taken));
}

#[tokio::test]
async fn data_without_a_manifest_is_no_empty_store() {
    let env = env(open("memory://").unwrap(), 1);
    env.objects.put("data/notes.txt", Bytes::new()).await.unwrap();
    assert_eq!(Publisher::newest(&env, false).await.unwrap(), None, "what no Weir named counts for nothing");
    let maker = Maker { store: StoreId(7), generation: Generation(3) };
    let object = run::path(maker, ulid::Ulid::from_parts(1, 2));
    env.objects.put(&object, Bytes::new()).await.unwrap();
    for accept_data_loss in [false, true] {
        let error = Publisher::newest(&env, accept_data_loss).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt(why) if why.contains(&object) && why.contains("manifest")), "{error}");
    }
}

#[tokio::test]
async fn an_owner_whose_manifest_was_taken_away_is_told_and_publishes_nothing() {
    let env = env(open("memory://").unwrap(), 1);
    let (mut publisher, manifest) = Publisher::take_over(&env, None).await.unwrap();
    let (manifest, _) = publisher.publish(manifest, &quiet).await.unwrap();
    env.objects.delete(&Manifest::path(manifest.sequence)).await.unwrap();
    let error = publisher.confirm().await.unwrap_err();
    assert!(matches!(&error, Error::Lost(why) if why.contains("manifest 2")), "{error}");
    assert!(matches!(publisher.publish(manifest, &quiet).await, Err(Error::Lost(_))));
}

#[tokio::test]
async fn a_store_keeps_its_identity_and_each_manifest_says_where_it_was() {
    let env = env(open("memory://").unwrap(), 1);
    let (mut publisher, first) = Publisher::take_over(&env, None).await.unwrap();
    assert_ne!(first.store, StoreId(0));
    assert_eq!(first.place, "memory://");
    let (second, _) = publisher.publish(Manifest::default(), &quiet).await.unwrap();
    let copy = Manifest { place: "file:///elsewhere".into(), ..second };
    let (publisher, third) = Publisher::take_over(&env, Some(copy)).await.unwrap();
    assert_eq!((third.store, third.place.as_str()), (first.store, "memory://"));
    assert_eq!(publisher.maker().store, first.store);
    let old = Manifest { store: StoreId(0), ..third };
    let (publisher, _) = Publisher::take_over(&env, Some(old)).await.unwrap();
    assert_eq!(publisher.maker().store, StoreId(0), "one from before there were identities stays as it is");
}
