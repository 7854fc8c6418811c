//! Simulated time, chance and threads, and the gate through which a node's effects go.
//!
//! Time stands still while anything can run, and then jumps to the next sleeper. A node reaches the world (store, upstream, its own
//! timers) only through its [`Gate`]: so it can be killed between any two effects, or frozen for as long as it takes others to forget it.

use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use weir_storage::env::{Clock, Random, Threads};

/// Microseconds since 1970-01-01 at which every simulation begins.
const BEGIN: i64 = 1_700_000_000_000_000;

#[derive(Default)]
pub struct Time(Mutex<State>);

#[derive(Default)]
struct State {
    now: u64,
    next: u64,
    /// By deadline, then by who asked first.
    sleepers: BTreeMap<(u64, u64), Option<Waker>>,
}

impl Time {
    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.0.lock().unwrap().now
    }

    /// Jumps to the next sleeper, but not beyond `limit`, and wakes all whose time has come.
    pub fn pass(&self, limit: u64) {
        let mut state = self.0.lock().unwrap();
        // Those whose time has come have been woken, whether or not they have noticed.
        let after = (state.now, u64::MAX);
        let next = state.sleepers.range(after..).next().map_or(limit, |((deadline, _), _)| *deadline);
        state.now = state.now.max(next.min(limit));
        let due = (state.now, u64::MAX);
        let wakers: Vec<Waker> = state.sleepers.range_mut(..=due).filter_map(|(_, waker)| waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn sleep(self: &Arc<Self>, micros: u64) -> Sleep {
        let mut state = self.0.lock().unwrap();
        // Even no time at all lets others run first.
        let place = (state.now + micros.max(1), state.next);
        state.next += 1;
        state.sleepers.insert(place, None);
        Sleep { time: self.clone(), place }
    }
}

pub struct Sleep {
    time: Arc<Time>,
    place: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.time.0.lock().unwrap();
        if state.now >= self.place.0 {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.place, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.time.0.lock().unwrap().sleepers.remove(&self.place);
    }
}

/// All chance of a simulation, from one seed.
pub struct Dice(Mutex<SmallRng>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// In `0..n`.
    pub fn below(&self, n: u64) -> u64 {
        self.0.lock().unwrap().random_range(0..n.max(1))
    }

    /// True once in `n` times.
    pub fn once_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Random for Dice {
    fn next(&self) -> u64 {
        self.0.lock().unwrap().next_u64()
    }
}

/// Work is done at once, by whoever asks.
pub struct Inline;

impl Threads for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(std::future::ready(()))
    }
}

/// Whether a node lives, sleeps or is dead.
#[derive(Default)]
pub struct Gate {
    state: Mutex<Pass>,
    thawed: Notify,
}

enum Next {
    Go,
    Wait,
    Never,
}

#[derive(Default)]
struct Pass {
    dead: bool,
    frozen: bool,
    /// Effects until it dies.
    left: Option<u64>,
}

impl Gate {
    pub fn kill(&self) {
        self.state.lock().unwrap().dead = true;
    }

    /// It dies just before its `effects`-th effect from now on.
    pub fn doom(&self, effects: u64) {
        self.state.lock().unwrap().left = Some(effects);
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    pub fn freeze(&self, frozen: bool) {
        self.state.lock().unwrap().frozen = frozen;
        self.thawed.notify_waiters();
    }

    /// One effect. Never comes back to the dead.
    pub async fn pass(&self) {
        loop {
            let thawed = self.thawed.notified();
            match self.next() {
                Next::Go => return,
                Next::Wait => thawed.await,
                Next::Never => std::future::pending().await,
            }
        }
    }

    fn next(&self) -> Next {
        let mut state = self.state.lock().unwrap();
        if state.dead || state.left == Some(0) && !state.frozen {
            state.dead = true;
            return Next::Never;
        }
        if state.frozen {
            return Next::Wait;
        }
        state.left = state.left.map(|left| left - 1);
        Next::Go
    }
}

/// The clock of one node.
pub struct NodeClock {
    pub time: Arc<Time>,
    pub gate: Arc<Gate>,
}

impl Clock for NodeClock {
    fn now(&self) -> i64 {
        BEGIN + self.time.now() as i64
    }

    fn monotonic(&self) -> u64 {
        self.time.now()
    }

    fn sleep(&self, micros: u64) -> BoxFuture<'static, ()> {
        let (sleep, gate) = (self.time.sleep(micros), self.gate.clone());
        Box::pin(async move {
            sleep.await;
            gate.pass().await;
        })
    }
}

/// The clock of a node's worker: time passes for it while it works, so that its slices are over anywhere.
pub struct Hurried {
    pub clock: NodeClock,
    pub dice: Arc<Dice>,
    /// Microseconds that pass whenever it looks, at most.
    pub pace: u64,
    pub passed: AtomicU64,
}

impl Clock for Hurried {
    fn now(&self) -> i64 {
        self.clock.now()
    }

    fn monotonic(&self) -> u64 {
        let passed = self.dice.below(self.pace + 1);
        self.clock.monotonic() + self.passed.fetch_add(passed, Ordering::Relaxed) + passed
    }
}

/// The clock of the world itself.
pub struct WorldClock(pub Arc<Time>);

impl Clock for WorldClock {
    fn now(&self) -> i64 {
        BEGIN + self.0.now() as i64
    }

    fn monotonic(&self) -> u64 {
        self.0.now()
    }

    fn sleep(&self, micros: u64) -> BoxFuture<'static, ()> {
        Box::pin(self.0.sleep(micros))
    }
}
