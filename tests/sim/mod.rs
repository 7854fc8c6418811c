//! The simulator: the whole database in one thread, from a seed, with a scripted Postgres and a faulty object store.
//!
//! What is real: coordinator, dataflow, catalog, publishing, compaction, garbage collection, the connector's rules, queries from where
//! they have been planned. What is scripted: [`time`], the [`disk`], the [`upstream`] and the network to it ([`source`]), and everything
//! that happens ([`world`]). A run is a list of [`Action`]s and a seed of chance; the same list and seed give the same run. A seed that
//! fails is run again with fewer and fewer actions, and what is left is printed.
//!
//! `make sim SEEDS=100000` runs more; `SEED=17 make sim` runs one. [`mutations`] lists safety rules whose removal it has to notice.

mod disk;
mod model;
mod mutations;
mod source;
mod time;
mod upstream;
mod world;

use crate::kit::number;
use disk::{Damage, How};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use upstream::TABLES;
use world::{Action, World, note_panic, take_panic};

/// Seeds in a run of all tests: cut into blocks of single rows, each takes about half a second.
const SEEDS: u64 = 2_000;

/// Runs that are spent on making a failing one smaller, unless `TRIES` says otherwise.
const TRIES: usize = 400;

/// What a panic says that was asked for.
const ASKED_FOR: &str = "a panic was asked for";

/// In one run of so many there are hundreds of relations.
const MANY_IN: u64 = 250;

/// How often, among all, something happens, and how.
type Weighted = (u32, fn(&mut SmallRng) -> Action);

fn damage(dice: &mut SmallRng) -> Damage {
    let how = [How::Flipped, How::Flipped, How::Cut, How::Missing][dice.random_range(0..4)];
    Damage { how, at: dice.random() }
}

/// What happens under a seed.
fn plan(seed: u64) -> Vec<Action> {
    let mut dice = SmallRng::seed_from_u64(seed ^ 0x5EED);
    // Not everything in every run, so that what there is comes often.
    let has: Vec<bool> = (0..17).map(|_| dice.random_bool(0.5)).collect();
    let mut weighted: Vec<Weighted> = vec![
        (40, |d| Action::Work(d.random_range(1..30))),
        (15, |d| Action::Wait(d.random_range(1..400_000))),
        (25, |_| Action::Read),
        (5, |d| Action::Create(d.random_range(0..model::KINDS))),
        // Views over views.
        (2, |_| Action::Create(1)),
        (3, |d| Action::Create(d.random_range(model::STACKED..model::KINDS))),
        (3, |_| Action::Insert),
        (3, |d| Action::Burst(d.random_range(10..80))),
    ];
    let mut may = |index: usize, more: &[Weighted]| {
        if has[index] {
            weighted.extend(more);
        }
    };
    may(0, &[(6, |d| Action::Crash(d.random_range(0..40))), (1, |_| Action::Shutdown)]);
    may(1, &[(4, |d| Action::Crash(d.random_range(0..4)))]);
    may(
        2,
        &[
            (2, |d| Action::Hang(d.random_range(10_000..5_000_000))),
            (2, |d| Action::Hang(d.random_range(30_000_000..60_000_000))),
            (2, |d| Action::Busy(d.random_range(20_000_000..60_000_000))),
            (2, |_| Action::Takeover),
        ],
    );
    may(3, &[(5, |_| Action::Cut), (2, |d| Action::CrashUpstream(d.random_range(1_000..500_000)))]);
    may(
        4,
        &[
            (4, |d| Action::Drop(d.random_range(0..100))),
            (3, |d| Action::CreateAndCancel(d.random_range(0..model::KINDS))),
            (3, |d| Action::Refresh(d.random_range(0..100))),
        ],
    );
    may(
        5,
        &[
            (2, |d| Action::Unfollow(TABLES[d.random_range(0..3)])),
            (4, |d| Action::Follow(TABLES[d.random_range(0..3)])),
        ],
    );
    may(6, &[(2, |_| Action::Pause), (4, |_| Action::Resume)]);
    may(7, &[(3, |_| Action::Resnapshot)]);
    may(8, &[(3, |d| Action::StoreAway(d.random_range(1_000..3_000_000)))]);
    may(9, &[(4, |d| Action::Wait(d.random_range(1_000_000..40_000_000))), (3, |_| Action::Flush)]);
    may(10, &[(8, |_| Action::Insert)]);
    may(12, &[(6, |d| Action::Past(d.random_range(0..3_000_000)))]);
    may(
        16,
        &[(6, |d| Action::Query(d.random(), None)), (6, |d| Action::Query(d.random(), Some(d.random_range(0..6))))],
    );
    if has[13] && seed.is_multiple_of(2) {
        may(13, &[(2, |_| Action::Copy)]);
        may(14, &[(1, |_| Action::Move)]);
    }
    if has[15] && !seed.is_multiple_of(2) {
        may(
            15,
            &[
                (2, |d| Action::Damage(d.random(), damage(d))),
                (3, |d| Action::DamageAtRest(d.random(), damage(d))),
                (4, |d| Action::DamageAtRead(d.random_range(0..12), damage(d))),
            ],
        );
    }
    let total: u32 = weighted.iter().map(|(weight, _)| weight).sum();
    let count = dice.random_range(10..60);
    let mut pick = |_| {
        let mut at = dice.random_range(0..total);
        let chosen = weighted.iter().find(|(weight, _)| {
            let here = at < *weight;
            at = at.wrapping_sub(*weight);
            here
        });
        chosen.expect("at is below the total").1(&mut dice)
    };
    let mut actions: Vec<Action> = (0..count).map(&mut pick).collect();
    if seed % MANY_IN == MANY_IN - 1 {
        actions.insert(0, Action::Many(200));
    }
    if has[11] && seed.is_multiple_of(6) {
        actions.push(if seed.is_multiple_of(12) { Action::LoseSlot } else { Action::AdvanceSlot });
        let more: Vec<Action> = (0..10).map(pick).filter(|a| !matches!(a, Action::Resnapshot)).collect();
        actions.extend(more);
    }
    actions
}

/// What happened in a run.
#[derive(Debug, PartialEq)]
struct Told {
    /// Actions, answers and reads.
    trace: Vec<String>,
    /// Writes to the store.
    writes: Vec<String>,
    reads: u64,
}

/// What happened, or what went wrong and what was before.
fn simulate(seed: u64, actions: &[Action]) -> Result<Told, (String, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let mut world = World::new(seed, actions.iter().any(|action| matches!(action, Action::Many(_))));
    let run = AssertUnwindSafe(|| local.block_on(&runtime, world.run(actions)));
    let result = std::panic::catch_unwind(run).unwrap_or_else(|_| Err("a panic".into()));
    // A panic says more than what followed from it.
    let result = take_panic().map_or(result, Err);
    let (trace, writes, reads) = (std::mem::take(&mut world.trace), world.disk.writes(), world.reads);
    drop((world, local, runtime));
    let _ = take_panic();
    match result {
        Ok(()) => Ok(Told { trace, writes, reads }),
        Err(error) => Err((error, trace)),
    }
}

/// Fewer actions that fail as well, and how.
fn shrink(seed: u64, actions: Vec<Action>, error: String) -> (Vec<Action>, String, Vec<String>) {
    let (mut actions, mut error, mut trace) = (actions, error, vec![]);
    let mut size = actions.len().div_ceil(2).max(1);
    let (mut tries, limit) = (0, number("TRIES").map_or(TRIES, |tries| tries as usize));
    while tries < limit {
        let mut at = 0;
        let mut smaller = false;
        while at < actions.len() && tries < limit {
            let mut fewer = actions.clone();
            fewer.drain(at..(at + size).min(actions.len()));
            tries += 1;
            match simulate(seed, &fewer) {
                Err((found, lines)) => (actions, error, trace, smaller) = (fewer, found, lines, true),
                Ok(_) => at += size,
            }
        }
        if size == 1 && !smaller {
            break;
        }
        size = (size / 2).max(1);
    }
    (actions, error, trace)
}

/// Panics are told by the simulation, once.
fn silence_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name == "simulation") {
                let said = info.to_string();
                if !said.contains(ASKED_FOR) {
                    note_panic(said);
                }
            } else {
                before(info);
            }
        }));
    });
}

/// Runs `seeds` until one fails; then what is left of it after shrinking.
fn first_failure(seeds: std::ops::Range<u64>) -> Result<u64, String> {
    silence_panics();
    let (next, over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (reads, failure) = (AtomicU64::new(0), Mutex::new(None));
    let work = || {
        while !over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match simulate(seed, &plan(seed)) {
                Ok(told) => {
                    reads.fetch_add(told.reads, Ordering::Relaxed);
                }
                Err((error, _)) => {
                    over.store(true, Ordering::Relaxed);
                    failure.lock().unwrap().get_or_insert((seed, error));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let thread = std::thread::Builder::new().name("simulation".into()).stack_size(16 << 20);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let Some((seed, error)) = failure.into_inner().unwrap() else { return Ok(reads.into_inner()) };
    let smaller = std::thread::Builder::new().name("simulation".into()).stack_size(16 << 20);
    let smaller = smaller.spawn(move || shrink(seed, plan(seed), error)).expect("a thread");
    let (actions, error, trace) = smaller.join().expect("shrinking does not panic");
    let tail = trace.len().saturating_sub(40);
    Err(format!("seed {seed}: {error}\nleft after shrinking: {actions:?}\n{}", trace[tail..].join("\n")))
}

#[test]
fn every_crash_every_lag_every_resend() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + number("SEEDS").unwrap_or(1),
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    match first_failure(seeds.clone()) {
        Ok(reads) => println!("{} seeds, {reads} reads, none wrong", seeds.end - seeds.start),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    silence_panics();
    let run = || {
        let run = || (0..8).map(|seed| simulate(seed, &plan(seed)).map_err(|(error, _)| error)).collect::<Vec<_>>();
        let thread = std::thread::Builder::new().name("simulation".into()).stack_size(16 << 20);
        thread.spawn(run).expect("a thread").join().expect("no panic gets out")
    };
    for (seed, (once, again)) in run().into_iter().zip(run()).enumerate() {
        let (once, again) = (once.expect("checked by the other test"), again.expect("checked by the other test"));
        let different = once.writes.iter().zip(&again.writes).find(|(a, b)| a != b);
        assert_eq!(different, None, "seed {seed}, the first write that differs");
        assert_eq!(once, again, "seed {seed}");
    }
}
