//! What can be read: every relation's arrangements, one per worker, and how far it has come.
//!
//! The coordinator registers relations and moves `upper`; workers fill the arrangements; sessions read. A reader pins one epoch
//! for all relations of its query (I11) and holds it until it is done, also past a DROP.

use super::steps::{LEAP_AFTER, Marks, Steps};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
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
    failure: OnceLock<weir_sql::Error>,
    /// Before this epoch it was not there, or not as it is now: nobody reads it as of then.
    began: AtomicU64,
    /// What it reads; none for a base table.
    pub parents: Vec<Arc<Readable>>,
    /// Which epochs it stops at.
    pub steps: Steps,
    /// Changes of its parents that wait for it.
    pub history: History,
    pub work: Work,
    /// Sources that may have more to do when it moves, with the relations they feed.
    watchers: RwLock<Vec<(RelationId, SyncActivator)>>,
}

/// Bytes of changes kept for a relation that has yet to take them.
#[derive(Default)]
pub struct History(AtomicUsize);

impl History {
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn take(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
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
            began: AtomicU64::default(),
            parents: vec![],
            steps: Steps::default(),
            history: History::default(),
            work: Work::default(),
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
            let watchers = self.watchers.read().expect("watchers lock");
            // A worker that is gone has nothing to do.
            for (_, watcher) in watchers.iter() {
                let _ = watcher.activate();
            }
        }
    }

    /// Wakes a source of relation `of` when this one moves on all workers.
    pub fn watch(&self, of: RelationId, watcher: SyncActivator) {
        self.watchers.write().expect("watchers lock").push((of, watcher));
    }

    fn unwatch(&self, of: RelationId) {
        self.watchers.write().expect("watchers lock").retain(|(other, _)| *other != of);
    }

    /// The broken invariant that keeps it at its last epoch for good.
    pub fn failure(&self) -> Option<&weir_sql::Error> {
        self.failure.get()
    }

    pub fn fail(&self, error: weir_sql::Error) {
        // The first cause is the one that says most; later ones follow from it.
        let _ = self.failure.set(error);
    }

    /// The first epoch as of which it may be read.
    pub fn began(&self) -> Epoch {
        Epoch::from_u64(self.began.load(Ordering::Acquire))
    }

    /// What it holds is whole from `epoch` on: a table's copy.
    pub fn begin(&self, epoch: Epoch) {
        self.began.fetch_max(epoch.as_u64(), Ordering::AcqRel);
    }

    /// Whether it may be read by name: not while its first copy or backfill goes on.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub fn set_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// Whether it is read as of where it was given up.
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
    /// Where views that are behind may leap to.
    pub marks: Arc<Marks>,
}

impl Default for Relations {
    fn default() -> Self {
        Self::new(LEAP_AFTER)
    }
}

impl Relations {
    /// None yet. Views leap when they are so many epochs behind.
    pub fn new(leap_after: u64) -> Self {
        Self { all: Arc::default(), suspended: Arc::default(), marks: Arc::new(Marks::new(leap_after)) }
    }

    pub fn insert(&self, readable: Readable) -> Arc<Readable> {
        let readable = Arc::new(readable);
        self.all.write().expect("relations lock").insert(readable.id, readable.clone());
        readable
    }

    pub fn remove(&self, id: RelationId) {
        self.all.write().expect("relations lock").remove(&id);
        self.suspended.write().expect("relations lock").remove(&id);
        self.all().iter().for_each(|other| other.unwatch(id));
    }

    pub fn get(&self, id: RelationId) -> Option<Arc<Readable>> {
        self.all.read().expect("relations lock").get(&id).cloned()
    }

    /// Keeps `readable`, whose dataflow ends, for readers until the relation is live again.
    pub fn suspend(&self, readable: Arc<Readable>) {
        readable.suspended.store(true, Ordering::Release);
        self.suspended.write().expect("relations lock").insert(readable.id, readable);
    }

    /// What is read by its name: while it is built anew, the relation as it was when it was given up.
    pub fn serving(&self, id: RelationId) -> Option<Arc<Readable>> {
        let live = self.get(id).filter(|readable| readable.is_live());
        live.or_else(|| self.suspended.read().expect("relations lock").get(&id).cloned())
    }

    /// From now on it is read by its name.
    pub fn set_live(&self, id: RelationId) {
        if let Some(readable) = self.get(id) {
            readable.set_live();
            self.suspended.write().expect("relations lock").remove(&id);
        }
    }

    pub fn all(&self) -> Vec<Arc<Readable>> {
        self.all.read().expect("relations lock").values().cloned().collect()
    }

    /// Those that hold more history than `limit` bytes. Asked at every turn of the coordinator: mostly nobody does.
    pub fn over(&self, limit: usize) -> Vec<Arc<Readable>> {
        let all = self.all.read().expect("relations lock");
        all.values().filter(|relation| relation.history.bytes() > limit).cloned().collect()
    }

    /// Nobody asks for steps before `epoch` any more: every relation has passed it for good.
    pub fn forget(&self, epoch: Epoch) {
        self.marks.forget(epoch);
        self.all().iter().for_each(|relation| relation.steps.forget(epoch));
    }

    /// Pins `ids` at the newest epoch at which all of them have stopped and that they still hold, at least `at_least` (a session's own
    /// writes) and at most `at_most` (visibility_mode = checkpoint).
    pub fn pin(&self, ids: &[RelationId], at_least: Epoch, at_most: Epoch) -> Result<Pin, Unreadable> {
        let mut found = Vec::with_capacity(ids.len());
        for &id in ids {
            found.push(self.serving(id).ok_or(Unreadable::Building(id))?);
        }
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
            if found.iter().any(|relation| epoch < relation.began()) {
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

/// Why there is no epoch to read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    Building(RelationId),
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
