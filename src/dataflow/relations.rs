//! What can be read: every relation's arrangements, one per worker, and how far it has come.
//!
//! The coordinator registers relations and moves `upper`; workers fill the arrangements; sessions read. A reader pins one epoch
//! for all relations of its query (I11) and holds it until it is done, also past a DROP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
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
    failure: OnceLock<weir_sql::Error>,
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
        Self { id, columns, key, rows, errors, uppers, live: AtomicBool::new(false), failure: OnceLock::new() }
    }

    /// Reached by every worker, inclusive.
    pub fn upper(&self) -> Epoch {
        Epoch::from_u64(self.uppers.iter().map(|u| u.load(Ordering::Acquire)).min().unwrap_or(0))
    }

    pub fn reach(&self, worker: usize, epoch: Epoch) {
        self.uppers[worker].fetch_max(epoch.as_u64(), Ordering::AcqRel);
    }

    /// The broken invariant that keeps it at its last epoch for good.
    pub fn failure(&self) -> Option<&weir_sql::Error> {
        self.failure.get()
    }

    pub fn fail(&self, error: weir_sql::Error) {
        // The first cause is the one that says most; later ones follow from it.
        let _ = self.failure.set(error);
    }

    /// Whether it may be read by name: not while its first copy or backfill goes on.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub fn set_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// The lowest epoch that every worker can still read.
    pub fn since(&self) -> Epoch {
        self.rows.iter().chain(&self.errors).map(Arrangement::since).max().unwrap_or(Epoch::ZERO)
    }
}

/// All relations. Cheap to clone.
#[derive(Clone, Default)]
pub struct Relations(Arc<RwLock<HashMap<RelationId, Arc<Readable>>>>);

impl Relations {
    pub fn insert(&self, readable: Readable) -> Arc<Readable> {
        let readable = Arc::new(readable);
        self.0.write().expect("relations lock").insert(readable.id, readable.clone());
        readable
    }

    pub fn remove(&self, id: RelationId) {
        self.0.write().expect("relations lock").remove(&id);
    }

    pub fn get(&self, id: RelationId) -> Option<Arc<Readable>> {
        self.0.read().expect("relations lock").get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Readable>> {
        self.0.read().expect("relations lock").values().cloned().collect()
    }

    /// Pins `ids` at the newest epoch that all of them have reached and still hold, at least `at_least` (a session's own
    /// writes) and at most `at_most` (visibility_mode = checkpoint).
    pub fn pin(&self, ids: &[RelationId], at_least: Epoch, at_most: Epoch) -> Result<Pin, Unreadable> {
        let mut found = Vec::with_capacity(ids.len());
        for &id in ids {
            let readable = self.get(id).filter(|r| r.is_live()).ok_or(Unreadable::Building(id))?;
            found.push(readable);
        }
        // An epoch read here may be compacted away before it is pinned; then a newer one is chosen.
        for _ in 0..1000 {
            let Some(newest) = found.iter().map(|r| r.upper()).min() else {
                return Ok(Pin { epoch: Epoch::ZERO, relations: HashMap::new() });
            };
            // Some worker has not said anything yet.
            if let Some(building) = found.iter().find(|r| r.upper() == Epoch::ZERO) {
                return Err(Unreadable::Building(building.id));
            }
            let epoch = newest.min(at_most);
            if epoch < at_least {
                return Err(Unreadable::Behind { reached: epoch, wanted: at_least });
            }
            let pinned: Result<HashMap<_, _>, weir_storage::Error> =
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
    pub relations: HashMap<RelationId, Arc<Pinned>>,
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
