//! What the loop holds: everything that it knows and owns.

use super::backfill::Backfills;
use super::checkpoints::Checkpoints;
use super::ddl::Jobs;
use super::epochs::Epochs;
use super::housekeeping::Housekeeping;
use super::lag::Lagging;
use super::ledger::Ledger;
use super::memory::Memory;
use super::message::{Mailbox, Message};
use super::pace::Pace;
use super::request::{Progress, Request};
use super::sources::Sources;
use super::upload::on_retry;
use super::waiters::Waiters;
use super::writes::Writes;
use crate::catalog::Catalog;
use crate::dataflow::engine::Engine;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use weir_sql::catalog::RelationId;
use weir_storage::Env;
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::history::{History, Snapshot};
use weir_storage::manifest::{ArrangementId, Manifest};
use weir_storage::publish::Publisher;

/// The arrangements of a relation that runs.
pub(super) struct RelationState {
    pub ids: Roles<ArrangementId>,
    /// Each per worker.
    pub arrangements: Roles<Vec<Arrangement>>,
}

pub struct Coordinator {
    pub(super) env: Env,
    pub(super) engine: Engine,
    pub(super) catalog: Arc<Catalog>,
    pub(super) catalog_sender: watch::Sender<Arc<Catalog>>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) publisher: Arc<Mutex<Publisher>>,
    pub(super) manifest: Arc<Manifest>,
    pub(super) held: BTreeMap<RelationId, RelationState>,
    pub(super) ledger: Ledger,
    pub(super) pace: Pace,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    pub(super) mailbox: Mailbox,
    pub(super) jobs: Jobs,
    pub(super) wake: Arc<Notify>,
    pub(super) lagging: Lagging,
    pub(super) backfills: Backfills,
    pub(super) sources: Sources,
    pub(super) writes: Writes,
    pub(super) waiters: Waiters,
    pub(super) epochs: Epochs,
    pub(super) checkpoints: Checkpoints,
    pub(super) memory: Memory,
    pub(super) housekeeping: Housekeeping,
    /// The base table that was furthest behind when somebody looked last.
    pub(super) slowest: Option<RelationId>,
    pub(super) ddl: Vec<(u32, String, i64)>,
    pub(super) stopping: bool,
    /// Set until all relations are in memory again.
    pub(super) restoring: watch::Sender<Option<Arc<Snapshot>>>,
}

/// What `start` hands over.
pub(super) struct Parts {
    pub env: Env,
    pub engine: Engine,
    pub catalog: Arc<Catalog>,
    pub catalog_sender: watch::Sender<Arc<Catalog>>,
    pub progress: watch::Sender<Progress>,
    pub publisher: Publisher,
    pub manifest: Manifest,
    pub pace: Pace,
    pub requests: mpsc::Receiver<Request>,
    pub messages: mpsc::UnboundedReceiver<Message>,
    pub mailbox: Mailbox,
    pub jobs: Jobs,
    pub wake: Arc<Notify>,
    pub history_limit: usize,
    pub lag_limit: u64,
    pub portion_rows: usize,
    pub state_limit: u64,
    pub pool: Handle,
    /// Who reads the past.
    pub history: History,
    pub restoring: watch::Sender<Option<Arc<Snapshot>>>,
}

impl Coordinator {
    pub(super) fn new(parts: Parts) -> Self {
        let maker = parts.publisher.maker();
        let epochs = Epochs::new(maker.generation.start(), parts.manifest.now);
        let housekeeping = Housekeeping::new(
            parts.env.clone(),
            parts.mailbox.clone(),
            maker,
            on_retry(&parts.env, &parts.progress),
            parts.pool,
            parts.history,
        );
        Self {
            checkpoints: Checkpoints::new(parts.manifest.epoch, parts.env.clock.monotonic()),
            sources: Sources::new(&parts.manifest.positions),
            backfills: Backfills::new(parts.portion_rows, parts.env.limits.portion_bytes, parts.history_limit),
            env: parts.env,
            engine: parts.engine,
            catalog: parts.catalog,
            catalog_sender: parts.catalog_sender,
            progress: parts.progress,
            publisher: Arc::new(Mutex::new(parts.publisher)),
            manifest: Arc::new(parts.manifest),
            held: BTreeMap::new(),
            ledger: Ledger::default(),
            pace: parts.pace,
            requests: parts.requests,
            messages: parts.messages,
            mailbox: parts.mailbox,
            jobs: parts.jobs,
            wake: parts.wake,
            lagging: Lagging::new(parts.history_limit, parts.lag_limit),
            writes: Writes::default(),
            waiters: Waiters::default(),
            epochs,
            memory: Memory::new(parts.state_limit),
            housekeeping,
            slowest: None,
            ddl: vec![],
            stopping: false,
            restoring: parts.restoring,
        }
    }

    /// Changes the catalog: everybody is told at once, and the next checkpoint holds it.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Catalog)) {
        edit(Arc::make_mut(&mut self.catalog));
        self.checkpoints.edited();
        self.catalog_sender.send_replace(self.catalog.clone());
    }
}
