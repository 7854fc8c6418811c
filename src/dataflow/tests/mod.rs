//! Relations in a real engine, compared with their definition at every epoch.

mod tables;
mod views;

use super::blueprint::{Blueprint, Body};
use super::engine::{Engine, Most, Ordeal, PART, World};
use super::relations::Readable;
use super::steps::JUMP_AFTER;
use crate::connector::Changes;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use weir_sql::catalog::RelationId;
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::env::{Clock, SystemClock};
use weir_storage::key::Portion;
use weir_storage::{Delta, Epoch, Generation, Limits};

/// Nothing of a test is too large to be taken at once.
pub const WHOLE: Most = Most { rows: PART, bytes: usize::MAX };

/// Rows as text with their weights.
pub type Contents = BTreeMap<String, i64>;

/// A clock that goes on by itself whenever somebody looks.
#[derive(Default)]
struct Hasty(AtomicU64);

impl Clock for Hasty {
    fn now(&self) -> i64 {
        self.monotonic() as i64
    }

    fn monotonic(&self) -> u64 {
        self.0.fetch_add(5_000, Ordering::Relaxed)
    }
}

/// An engine that is driven epoch by epoch.
pub struct Rig {
    pub engine: Engine,
    pub closed: Epoch,
    wake: Arc<Notify>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub fn new(workers: usize, closed: Epoch) -> Self {
        Self::sized(workers, closed, usize::MAX, WHOLE)
    }

    /// Operators that are to wait for no more than `limit` bytes of an epoch, and to take `part` of it at a time.
    pub fn sized(workers: usize, closed: Epoch, limit: usize, part: Most) -> Self {
        Self::with(workers, closed, limit, part, Arc::new(SystemClock::default()))
    }

    /// Every slice is over as soon as it is looked at.
    pub fn hasty(workers: usize, closed: Epoch) -> Self {
        Self::with(workers, closed, usize::MAX, WHOLE, Arc::new(Hasty::default()))
    }

    fn with(workers: usize, closed: Epoch, limit: usize, part: Most, clock: Arc<dyn Clock>) -> Self {
        let wake = Arc::new(Notify::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let world = World { wake: wake.clone(), clock, limit, part, jump_after: JUMP_AFTER };
        Self { engine: Engine::start(workers, world), closed, wake, runtime }
    }

    /// One relation rests so long before every step.
    pub fn slowed(mut self, id: u32, rest: Duration) -> Self {
        self.engine = self.engine.tried(vec![(format!("r{id}"), Ordeal { rest, ..Ordeal::default() })]);
        self
    }

    /// One relation panics at this piece of its work, on every worker.
    pub fn panicking(mut self, id: u32, at: u64) -> Self {
        let ordeal = Ordeal { panics_at: Some(at), ..Ordeal::default() };
        self.engine = self.engine.tried(vec![(format!("r{id}"), ordeal)]);
        self
    }

    pub fn first_epoch() -> Epoch {
        Generation(1).start().next()
    }

    /// A new relation, as of the last closed epoch.
    pub fn create(&self, id: u32, body: impl Fn() -> Body) -> Arc<Readable> {
        let arrangements = body().arrangements(self.engine.workers(), Limits::default());
        self.build(id, body, arrangements, true)
    }

    pub fn build(
        &self,
        id: u32,
        body: impl Fn() -> Body,
        arrangements: Roles<Vec<Arrangement>>,
        fresh: bool,
    ) -> Arc<Readable> {
        let blueprint = || Blueprint {
            id: RelationId(id),
            name: format!("r{id}"),
            body: body(),
            arrangements: arrangements.clone(),
            from: self.closed,
            fresh,
            portion: Portion::ALL,
            first: None,
            failed: None,
        };
        self.engine.build(blueprint, vec![])
    }

    /// Waits until everything is at rest.
    pub fn settle(&self) {
        self.engine.relations().all().iter().for_each(|relation| self.reach(relation, self.closed));
    }

    /// What has come as far as the last one is live from now on.
    pub fn close(&mut self, changes: Vec<(RelationId, Changes)>) -> Epoch {
        let relations = self.engine.relations();
        let all = relations.all();
        all.iter().filter(|r| r.upper() == self.closed).for_each(|relation| relations.set_live(relation.id));
        self.closed = self.closed.next();
        self.engine.close(self.closed, changes, vec![]);
        self.closed
    }

    /// Waits until `relation` has reached `epoch`.
    pub fn reach(&self, relation: &Readable, epoch: Epoch) {
        assert!(self.comes(relation, epoch), "the relation broke: {:?}", relation.failure());
    }

    /// The same for one that may fail; false: it has.
    pub fn comes(&self, relation: &Readable, epoch: Epoch) -> bool {
        let reached = async {
            while relation.upper() < epoch && !relation.has_failed() {
                let notified = self.wake.notified();
                // Another relation may have taken the wake-up.
                let _ = tokio::time::timeout(Duration::from_millis(20), notified).await;
            }
        };
        let limit = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), reached).await });
        limit.unwrap_or_else(|_| panic!("{:?} is at {}, {epoch} was never reached", relation.id, relation.upper()));
        relation.upper() >= epoch
    }
}

/// What a relation's rows, or its errors, are as of `epoch`.
pub fn contents(arrangements: &[Arrangement], epoch: Epoch) -> Contents {
    let mut contents = Contents::new();
    for arrangement in arrangements {
        for delta in arrangement.snapshot(epoch).unwrap().scan(None) {
            add(&mut contents, &delta.unwrap());
        }
    }
    contents
}

pub fn add(contents: &mut Contents, delta: &Delta) {
    let rows = delta.rows();
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    for row in 0..rows.num_rows() {
        let text: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
        let text = text.join("|");
        let weight = contents.entry(text.clone()).or_default();
        *weight += delta.weights()[row];
        if *weight == 0 {
            contents.remove(&text);
        }
    }
}
