//! What can be read: every relation's arrangements, one per worker, and how far it has come.
//!
//! The coordinator registers relations and moves `upper`; workers fill the arrangements; sessions read. A reader pins one epoch
//! for all relations of its query (I11) and holds it until it is done, also past a DROP.

use super::bell::{Bell, Listening};
use super::steps::{CheckpointEpochs, JUMP_AFTER, Parent, Steps};
use futures::future::select_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use timely::scheduling::activate::SyncActivator;
use weir_sql::catalog::RelationId;
use weir_sql::types::Column;
use weir_storage::Epoch;
use weir_storage::arrangement::{Arrangement, Snapshot};

/// One readable relation.
pub struct Readable {
    pub id: RelationId,
    pub columns: Vec<Column>,
    /// Indices of the key columns by which the rows are indexed; empty: by no column (bag, log).
    pub key: Vec<usize>,
    /// Rows and errors, one arrangement per worker. A key lives on the worker `key::owner(vnode, workers)`.
    pub rows: Vec<Arrangement>,
    pub errors: Vec<Arrangement>,
    /// Per worker.
    uppers: Vec<AtomicU64>,
    live: AtomicBool,
    /// Its dataflow has ended, and another is being built that takes its place.
    suspended: AtomicBool,
    failure: OnceLock<Failure>,
    /// Where it is told that it has failed.
    failures: Failures,
    /// Before this epoch it was not there, or not as it is now: nobody reads it as of then.
    began: AtomicU64,
    /// What it reads; none for a base table.
    pub parents: Vec<Arc<Readable>>,
    /// Which epochs it stops at.
    pub steps: Steps,
    /// Changes of its parents that wait for it.
    pub history: History,
    pub work: Work,
    /// Rung when it moves on all workers, and when it fails.
    bell: Bell,
    /// Sources that may have more to do when it moves, with the relations they feed.
    watchers: RwLock<Vec<(RelationId, SyncActivator)>>,
}

/// Why a relation goes no further.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The relation that failed: itself, or one that it reads, directly or not.
    pub of: RelationId,
    pub cause: weir_sql::Error,
}

/// A view and where it may jump to.
#[derive(Clone)]
pub struct Follower {
    pub view: Arc<Readable>,
    pub checkpoint_epochs: Arc<CheckpointEpochs>,
}

/// Relations that have failed since somebody last looked.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Vec<RelationId>>>);

impl Failures {
    fn push(&self, id: RelationId) {
        self.0.lock().expect("nobody panics holding the failures").push(id);
    }

    fn take(&self) -> Vec<RelationId> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics holding the failures"))
    }
}

/// Bytes of changes kept for a relation that has yet to take them.
#[derive(Default)]
pub struct History {
    bytes: AtomicUsize,
    /// Of all relations.
    all: Arc<AtomicUsize>,
}

impl History {
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn take(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// Rows that a relation's operators are known to have to take, and that they have taken.
#[derive(Default)]
pub struct Work {
    known: AtomicUsize,
    done: AtomicUsize,
}

impl Work {
    pub fn comes(&self, rows: usize) {
        self.known.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn is_done(&self, rows: usize) {
        self.done.fetch_add(rows, Ordering::Relaxed);
    }

    /// Of what is known to be done, what is done: 0 to 1.
    pub fn share(&self) -> f64 {
        let done = self.done.load(Ordering::Relaxed) as f64;
        done / (self.known.load(Ordering::Relaxed) as f64).max(done).max(1.0)
    }
}

impl Parent for Readable {
    fn upper(&self) -> Epoch {
        Readable::upper(self)
    }

    fn readable_at_or_after(&self, epoch: Epoch) -> Epoch {
        self.steps.readable_at_or_after(epoch)
    }
}

impl Readable {
    pub fn new(
        id: RelationId,
        columns: Vec<Column>,
        key: Vec<usize>,
        rows: Vec<Arrangement>,
        errors: Vec<Arrangement>,
    ) -> Self {
        assert_eq!(rows.len(), errors.len(), "rows and errors on every worker");
        let uppers = rows.iter().map(|a| AtomicU64::new(a.upper().as_u64())).collect();
        Self {
            id,
            columns,
            key,
            rows,
            errors,
            uppers,
            live: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            failure: OnceLock::new(),
            failures: Failures::default(),
            began: AtomicU64::default(),
            parents: vec![],
            steps: Steps::default(),
            history: History::default(),
            work: Work::default(),
            bell: Bell::default(),
            watchers: RwLock::default(),
        }
    }

    /// One that is there from `began` on, reads `parents` and goes by `steps`.
    pub fn following(self, began: Epoch, parents: Vec<Arc<Readable>>, steps: Steps) -> Self {
        Self { began: AtomicU64::new(began.as_u64()), parents, steps, ..self }
    }

    /// Reached by every worker, inclusive.
    pub fn upper(&self) -> Epoch {
        Epoch::from_u64(self.uppers.iter().map(|u| u.load(Ordering::Acquire)).min().unwrap_or(0))
    }

    pub fn reach(&self, worker: usize, epoch: Epoch) {
        self.uppers[worker].fetch_max(epoch.as_u64(), Ordering::AcqRel);
        if self.upper() >= epoch {
            self.wake(|_| true);
        }
    }

    /// The same, where nothing happened: of the sources that may have more to do, those of `quiet` relations have not.
    pub fn pass(&self, worker: usize, epoch: Epoch, quiet: &BTreeSet<RelationId>) {
        self.uppers[worker].fetch_max(epoch.as_u64(), Ordering::AcqRel);
        if self.upper() >= epoch {
            self.wake(|of| !quiet.contains(&of));
        }
    }

    fn wake(&self, is_meant: impl Fn(RelationId) -> bool) {
        self.bell.ring();
        let watchers = self.watchers.read().expect("watchers lock");
        for (_, watcher) in watchers.iter().filter(|(of, _)| is_meant(*of)) {
            // A worker that is gone has nothing to do.
            let _ = watcher.activate();
        }
    }

    /// Wakes a source of relation `of` when this one moves on all workers.
    pub fn watch(&self, of: RelationId, watcher: SyncActivator) {
        self.watchers.write().expect("watchers lock").push((of, watcher));
    }

    fn unwatch(&self, of: RelationId) {
        self.watchers.write().expect("watchers lock").retain(|(other, _)| *other != of);
    }

    /// Why it stays at its last epoch until it is rebuilt.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    pub fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// The first cause is the one that says most, and the only one that is told; later ones follow from it.
    pub fn fail(&self, failure: Failure) {
        if self.failure.set(failure).is_ok() {
            self.failures.push(self.id);
            self.bell.ring();
        }
    }

    /// The first epoch as of which it may be read.
    pub fn readable_since(&self) -> Epoch {
        Epoch::from_u64(self.began.load(Ordering::Acquire))
    }

    /// What it holds is whole from `epoch` on: a table's copy.
    pub fn begin(&self, epoch: Epoch) {
        self.began.fetch_max(epoch.as_u64(), Ordering::AcqRel);
    }

    /// Whether it may be read by name: not while its first copy or backfill continues.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub fn set_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// Whether it is read as of where it was suspended.
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// The lowest epoch that every worker can still read.
    pub fn since(&self) -> Epoch {
        self.rows.iter().chain(&self.errors).map(Arrangement::since).max().unwrap_or(Epoch::ZERO)
    }
}

/// All relations. Cheap to clone.
#[derive(Clone)]
pub struct Relations {
    all: Arc<RwLock<BTreeMap<RelationId, Arc<Readable>>>>,
    /// Read instead of those in `all` that are not live yet.
    suspended: Arc<RwLock<BTreeMap<RelationId, Arc<Readable>>>>,
    failures: Failures,
    /// Bytes of history of all of them.
    kept: Arc<AtomicUsize>,
    /// Rung when what is read by a name becomes another.
    bell: Bell,
    /// Where views that are behind may jump to.
    pub checkpoint_epochs: Arc<CheckpointEpochs>,
}

impl Default for Relations {
    fn default() -> Self {
        Self::new(JUMP_AFTER)
    }
}

impl Relations {
    /// None yet. Views jump when they are so many epochs behind.
    pub fn new(jump_after: u64) -> Self {
        Self {
            all: Arc::default(),
            suspended: Arc::default(),
            failures: Failures::default(),
            kept: Arc::default(),
            bell: Bell::default(),
            checkpoint_epochs: Arc::new(CheckpointEpochs::new(jump_after)),
        }
    }

    pub fn insert(&self, readable: Readable) -> Arc<Readable> {
        let history = History { bytes: AtomicUsize::default(), all: self.kept.clone() };
        let readable = Arc::new(Readable { failures: self.failures.clone(), history, ..readable });
        self.all.write().expect("relations lock").insert(readable.id, readable.clone());
        readable
    }

    pub fn remove(&self, id: RelationId) {
        self.all.write().expect("relations lock").remove(&id);
        self.suspended.write().expect("relations lock").remove(&id);
        self.bell.ring();
        self.all().iter().for_each(|other| other.unwatch(id));
    }

    pub fn get(&self, id: RelationId) -> Option<Arc<Readable>> {
        self.all.read().expect("relations lock").get(&id).cloned()
    }

    /// What `ask` says of a relation.
    pub fn ask<T>(&self, id: RelationId, ask: impl FnOnce(&Readable) -> T) -> Option<T> {
        self.all.read().expect("relations lock").get(&id).map(|readable| ask(readable))
    }

    /// Keeps `readable`, whose dataflow ends, for readers until the relation is live again.
    pub fn suspend(&self, readable: Arc<Readable>) {
        readable.suspended.store(true, Ordering::Release);
        self.suspended.write().expect("relations lock").insert(readable.id, readable);
        self.bell.ring();
    }

    /// What is read by its name: while it is rebuilt, the relation as it was when it was suspended, unless that fails as well.
    pub fn serving(&self, id: RelationId) -> Option<Arc<Readable>> {
        let live = self.get(id).filter(|readable| readable.is_live() || readable.has_failed());
        live.or_else(|| self.suspended.read().expect("relations lock").get(&id).cloned())
    }

    /// From now on it is read by its name.
    pub fn set_live(&self, id: RelationId) {
        if let Some(readable) = self.get(id) {
            readable.set_live();
            self.suspended.write().expect("relations lock").remove(&id);
            self.bell.ring();
        }
    }

    /// Those that have failed since the last call.
    pub fn take_failures(&self) -> Vec<Arc<Readable>> {
        self.failures
            .take()
            .into_iter()
            .filter_map(|id| self.get(id))
            .filter(|readable| readable.has_failed())
            .collect()
    }

    pub fn all(&self) -> Vec<Arc<Readable>> {
        self.all.read().expect("relations lock").values().cloned().collect()
    }

    /// Those that hold more history than `limit` bytes. Asked at every turn of the coordinator: mostly nobody does.
    pub fn over(&self, limit: usize) -> Vec<Arc<Readable>> {
        if self.kept.load(Ordering::Relaxed) <= limit {
            return vec![];
        }
        let all = self.all.read().expect("relations lock");
        all.values().filter(|relation| relation.history.bytes() > limit).cloned().collect()
    }

    /// Nobody asks for steps before `epoch` any more: every relation has passed it for good. One that has failed stays where it is, and is
    /// read there: it may be in the middle of a jump.
    pub fn forget(&self, epoch: Epoch) {
        self.checkpoint_epochs.forget(epoch);
        self.all().iter().filter(|relation| !relation.has_failed()).for_each(|relation| relation.steps.forget(epoch));
    }

    /// Hears, from now on, when [`Relations::pin`] of `ids` may have another answer: one of them moves, fails, or is another relation.
    pub fn listen(&self, ids: &[RelationId]) -> Changed {
        let mut changed = vec![self.bell.listen()];
        changed.extend(ids.iter().filter_map(|id| Some(self.serving(*id)?.bell.listen())));
        Changed(changed)
    }

    /// Pins `ids` at the newest epoch at which all of them have stopped and that they still hold, and that `wanted` allows.
    pub fn pin(&self, ids: &[RelationId], wanted: Wanted) -> Result<Pin, Unreadable> {
        let Wanted { at_least, at_most, failed } = wanted;
        let mut found = Vec::with_capacity(ids.len());
        for &id in ids {
            let serving = self.serving(id).ok_or(Unreadable::Building(id))?;
            match serving.failure() {
                // Half of one that failed while it was made is not to be read at all.
                Some(failure) if !failed || !serving.is_live() => return Err(Unreadable::Failed(id, failure.clone())),
                _ => found.push(serving),
            }
        }
        // A relation that has failed has no newer epoch to be waited for.
        let at_least = if found.iter().any(|relation| relation.has_failed()) { Epoch::ZERO } else { at_least };
        // An epoch read here may be compacted away before it is pinned; then a newer one is chosen.
        for _ in 0..1000 {
            let Some(newest) = found.iter().map(|r| r.upper()).min() else {
                return Ok(Pin { epoch: Epoch::ZERO, relations: BTreeMap::new() });
            };
            // Some worker has not said anything yet.
            if let Some(building) = found.iter().find(|r| r.upper() == Epoch::ZERO) {
                return Err(Unreadable::Building(building.id));
            }
            let mut epoch = newest.min(at_most);
            loop {
                let stopped = found.iter().fold(epoch, |epoch, relation| relation.steps.stopped(epoch));
                if stopped == epoch {
                    break;
                }
                epoch = stopped;
            }
            if epoch < at_least {
                return Err(Unreadable::Behind { reached: epoch, wanted: at_least });
            }
            if found.iter().any(|relation| epoch < relation.readable_since()) {
                return Err(Unreadable::NoCommonEpoch);
            }
            let pinned: Result<BTreeMap<_, _>, weir_storage::Error> =
                found.iter().map(|r| Ok((r.id, Arc::new(Pinned::new(r, epoch)?)))).collect();
            if let Ok(relations) = pinned {
                return Ok(Pin { epoch, relations });
            }
            std::thread::yield_now();
        }
        Err(Unreadable::NoCommonEpoch)
    }
}

/// What may change before relations can be read.
pub struct Changed(Vec<Listening>);

impl Changed {
    /// Waits until something has.
    pub async fn heard(self) {
        select_all(self.0.into_iter().map(|listening| Box::pin(listening.heard()))).await;
    }
}

/// At which epochs relations may be read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// A session's own writes.
    pub at_least: Epoch,
    /// The last checkpoint (visibility_mode = checkpoint), or any.
    pub at_most: Epoch,
    /// Relations that have failed as of where they stand (weir.read_failed).
    pub failed: bool,
}

/// Why there is no epoch to read at.
#[derive(Clone, Debug, PartialEq)]
pub enum Unreadable {
    Building(RelationId),
    Failed(RelationId, Failure),
    Behind { reached: Epoch, wanted: Epoch },
    NoCommonEpoch,
}

/// Relations held readable at one epoch until dropped.
pub struct Pin {
    pub epoch: Epoch,
    pub relations: BTreeMap<RelationId, Arc<Pinned>>,
}

/// One relation at the pinned epoch: a snapshot per worker.
pub struct Pinned {
    pub readable: Arc<Readable>,
    pub rows: Vec<Snapshot>,
    pub errors: Vec<Snapshot>,
}

impl Pinned {
    fn new(readable: &Arc<Readable>, epoch: Epoch) -> weir_storage::Result<Self> {
        let snap =
            |list: &[Arrangement]| list.iter().map(|a| a.snapshot(epoch)).collect::<weir_storage::Result<Vec<_>>>();
        Ok(Self { rows: snap(&readable.rows)?, errors: snap(&readable.errors)?, readable: readable.clone() })
    }
}
