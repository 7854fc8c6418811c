//! From a store to a running coordinator: take the store over, start the engine, then read its state back, and start sources and loop.
//!
//! Reading back takes as long as there is state. Meanwhile sessions read relations that are not in memory yet from the store, as of the
//! manifest that was taken over ([`Handle::restoring`]); what changes anything waits.

use super::checkpoints::CONFIRM_US;
use super::ddl::Jobs;
use super::ledger::{self, Backfilled, Entry, Ledger};
use super::message::Mailbox;
use super::object::{body, kind};
use super::pace::{Limits, Pace};
use super::recover::{self, Parent, Reading, Restored};
use super::request::{Handle, Progress};
use super::state::{Coordinator, Parts, RelationState};
use super::told::fenced;
use crate::catalog::object::Stopped;
use crate::catalog::secret::Keeper;
use crate::catalog::{Body, Catalog, Life, Object, Shared};
use crate::connector::Connectors;
use crate::connector::buffer::Buffers;
use crate::dataflow::blueprint::{self, Blueprint, Log};
use crate::dataflow::engine::{Engine, Most, Ordeal, PART, World};
use crate::dataflow::relations::Failure;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use weir_sql::catalog::RelationId;
use weir_sql::session::shared::Sessions;
use weir_sql::{Error, Result};
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::history::History;
use weir_storage::key::Portion;
use weir_storage::manifest::{ArrangementId, Manifest};
use weir_storage::publish::Publisher;
use weir_storage::{Env, Epoch};

/// Requests of sessions that may wait; a session waits for its own anyway.
const REQUESTS: usize = 1024;

/// Relations that are read back side by side: a store far away answers many requests in the time of one.
const PREFETCH: usize = 8;

/// What runs the dataflow.
pub enum Workers {
    Threads(usize),
    /// A simulator's.
    Given(Box<dyn FnOnce(World) -> Engine + Send>),
}

pub struct Config {
    pub workers: Workers,
    pub limits: Limits,
    pub keeper: Keeper,
    pub spill: PathBuf,
    /// Bytes that all sources together may hold before they stop reading upstream.
    pub source_limit: usize,
    /// Runs what is below queries and dataflow in priority.
    pub pool: tokio::runtime::Handle,
    /// What relations of these names go through, for tests.
    pub ordeals: Vec<(String, Ordeal)>,
    /// Bytes of changes kept in memory for one view that is behind.
    pub history_limit: usize,
    /// Epochs a view may be behind before it takes several as one.
    pub jump_after: u64,
    /// Bytes of changes kept in the store for one view that is behind; beyond that it is rebuilt.
    pub lag_limit: u64,
    /// Rows of its largest parent that a view is given at a time while it is made.
    pub portion_rows: usize,
    /// Bytes that the state of all relations may take; `u64::MAX`: whatever it takes.
    pub state_limit: u64,
    /// Which kinds of upstream there are.
    pub connectors: Connectors,
    /// Start from an older manifest if the newest is damaged.
    pub accept_data_loss: bool,
}

/// Takes the store over. The coordinator still has to be run: it begins by bringing everything back.
pub async fn start(env: Env, config: Config) -> Result<(Coordinator, Handle)> {
    let newest = Publisher::newest(&env, config.accept_data_loss).await.map_err(storage)?;
    let (publisher, manifest) = Publisher::take_over(&env, newest).await.map_err(storage)?;
    let catalog = Catalog::of(&manifest)?;
    let holds_passwords = catalog.objects.values().any(|o| matches!(&o.body, Body::Source(s) if !s.secrets.is_empty()));
    if let Some(exposure) = env.objects.exposure().filter(|_| holds_passwords) {
        tracing::warn!(exposure, "the store holds passwords of sources");
    }
    tracing::info!(generation = %manifest.generation, epoch = %manifest.epoch, store = env.objects.describe(), "took the store over");

    let wake = Arc::new(Notify::new());
    let (limit, jump_after) = (config.history_limit, config.jump_after);
    let part = Most { rows: PART, bytes: env.limits.batch_bytes };
    let world = World { wake: wake.clone(), clock: env.clock.clone(), limit, part, jump_after };
    let engine = match config.workers {
        Workers::Threads(workers) => Engine::start(workers, world),
        Workers::Given(start) => start(world),
    };
    let engine = engine.tried(config.ordeals);
    let (request_sender, requests) = mpsc::channel(REQUESTS);
    #[expect(clippy::disallowed_methods, reason = "a job waits for the answer before its next message: few per job")]
    let (message_sender, messages) = mpsc::unbounded_channel();
    let catalog = Arc::new(catalog);
    let (catalog_sender, catalog_receiver) = watch::channel(catalog.clone());
    let progress =
        Progress { closed: manifest.epoch, now: manifest.now, durable: manifest.epoch, ..Progress::default() };
    let (progress_sender, progress_receiver) = watch::channel(progress);
    let (mailbox, sessions) = (Mailbox(message_sender), Sessions::default());
    let jobs = Jobs {
        env: env.clone(),
        store: manifest.store,
        place: manifest.place.clone(),
        keeper: config.keeper,
        connectors: config.connectors,
        mailbox: mailbox.clone(),
        catalog: catalog_receiver.clone(),
        sessions: sessions.clone(),
        wake: wake.clone(),
        spill: config.spill,
        buffers: Buffers::new(config.source_limit),
        turn: Arc::new(Mutex::new(())),
    };
    let relations = engine.relations().clone();
    let history = History::default();
    let (restoring_sender, restoring) = watch::channel(history.keep(manifest.clone()).map(Arc::new));
    let handle = Handle {
        requests: request_sender,
        catalog: catalog_receiver,
        progress: progress_receiver,
        relations,
        history: history.clone(),
        sessions,
        restoring,
    };
    let pace = Pace::new(config.limits, env.clock.monotonic());
    let progress = progress_sender;
    let parts = Parts {
        env,
        engine,
        catalog,
        catalog_sender,
        progress,
        publisher,
        manifest,
        pace,
        requests,
        messages,
        mailbox,
        jobs,
        wake,
        history_limit: config.history_limit,
        lag_limit: config.lag_limit,
        portion_rows: config.portion_rows,
        state_limit: config.state_limit,
        pool: config.pool,
        history,
        restoring: restoring_sender,
    };
    Ok((Coordinator::new(parts), handle))
}

impl Coordinator {
    /// Every relation into memory, then the sources and what was half done. False: `shutdown` came first.
    pub(super) async fn restore(&mut self, shutdown: &mut oneshot::Receiver<()>) -> Result<bool> {
        match self.bring_all_back(shutdown).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                self.progress.send_modify(|progress| progress.stopped = Some(error.clone()));
                return Err(error);
            }
        }
        self.settle_sources();
        self.jobs.start_sources(&self.catalog, &self.manifest.positions).await;
        self.jobs.resume(&self.catalog);
        self.restoring.send_replace(None);
        Ok(true)
    }

    /// Sources from before stores knew their place are at home where they are first found.
    fn settle_sources(&mut self) {
        let homeless = |object: &Shared| matches!(&object.body, Body::Source(source) if source.place.is_none());
        if !self.catalog.objects.values().any(homeless) {
            return;
        }
        let place = self.jobs.place.clone();
        self.edit(|catalog| {
            for object in catalog.objects.values_mut().filter(|object| homeless(object)) {
                if let Body::Source(source) = &mut object.body {
                    source.place.get_or_insert_with(|| place.clone());
                }
            }
        });
    }

    /// False: `shutdown` came first.
    async fn bring_all_back(&mut self, shutdown: &mut oneshot::Receiver<()>) -> Result<bool> {
        let (env, manifest, catalog) = (self.env.clone(), self.manifest.clone(), self.catalog.clone());
        let (publisher, workers) = (self.publisher.clone(), self.engine.workers());
        let reading = Reading::new(&env);
        // Ids ascend from parents to children.
        let ahead: Vec<BoxFuture<'_, _>> =
            catalog.objects.values().map(|object| read_ahead(&reading, workers, &manifest, object).boxed()).collect();
        let mut ahead = stream::iter(ahead).buffered(PREFETCH);
        for object in catalog.objects.values() {
            let reading = async {
                let restored = ahead.next().await.expect("each object is read");
                read_back(&env, workers, &manifest, &catalog, &self.ledger, object, restored).await
            };
            let Some(read) = while_owner(&env, &publisher, reading, shutdown).await? else { return Ok(false) };
            // Nothing of one relation ends a start.
            let read = read.or_else(|error| Ok::<_, Error>(damaged(&env, workers, &manifest, object, &error)))?;
            let Some(mut read) = read else { continue };
            let relations = self.engine.relations();
            let inherited = read.parents.iter().find_map(|parent| relations.get(*parent)?.failure().cloned());
            if inherited.is_some()
                && let Some(Restored { arrangements, upper }) = read.suspended.take()
            {
                // It stays what it was, as what it reads does.
                read = ReadBack { arrangements, upper, fresh: false, first: None, ..read };
            }
            read.failed = read.failed.take().or(inherited);
            if read.fresh && !read.is_table && read.failed.is_none() {
                read.portion = self.backfills.after(Portion::NOTHING, &read.parents, relations);
            }
            let (id, portion, will_move) =
                (RelationId(object.id), read.portion, !read.is_table && read.failed.is_none());
            self.bring_back(read, object);
            let view = self.ledger.get(id).filter(|entry| will_move && !entry.is_live());
            if let Some(from) = view.map(Entry::from) {
                self.ledger.give(id, Backfilled::up_to(portion, from));
            }
        }
        Ok(true)
    }

    fn bring_back(&mut self, read: ReadBack, object: &Object) {
        let ReadBack { shape, arrangements, upper, is_table, fresh, portion, suspended, logs, first, failed, .. } =
            read;
        let id = RelationId(object.id);
        let blueprint = || Blueprint {
            id,
            name: object.name.clone(),
            body: shape.clone(),
            arrangements: arrangements.clone(),
            from: upper,
            fresh,
            portion,
            first: first.filter(|first| *first > upper),
            failed: failed.clone(),
        };
        let readable = self.engine.build(blueprint, logs);
        let reads = readable.parents.iter().map(|parent| parent.id).collect();
        let life = match (object.life, fresh) {
            (Life::Live, false) => ledger::Life::Live,
            (Life::Live, true) if !is_table => ledger::Life::Suspended,
            _ => ledger::Life::Creating,
        };
        let was_void = matches!(&object.body, Body::View(view) if view.suspended);
        let void = was_void || life == ledger::Life::Suspended;
        let sealed = if fresh { Epoch::ZERO } else { upper };
        let entry = Entry::new(kind(object), reads, upper).found(life, sealed, void);
        let ids = object.roles().expect("a relation was read back");
        // What the store keeps of one that cannot be read is not what stands in for it.
        let is_unread = self.catalog.unread(object.id).is_some();
        let arrangements = if is_unread { ids.map(|_| vec![]) } else { arrangements };
        self.enter(id, RelationState { ids, arrangements }, entry);
        if void && !was_void {
            // Nothing is kept that would lead on from where it was (I8).
            self.edit_view(id, |view| view.suspended = true);
        }
        if let Some(suspended) = suspended {
            self.serve(Arc::new(shape.readable(id, &suspended.arrangements)));
        }
    }
}

/// Does `work`, unless the store comes to belong to another process: then nothing of it is to be read here any more. `None`: `shutdown`
/// came first.
async fn while_owner<T>(
    env: &Env,
    publisher: &Mutex<Publisher>,
    work: impl Future<Output = T>,
    shutdown: &mut oneshot::Receiver<()>,
) -> Result<Option<T>> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            _ = &mut *shutdown => return Ok(None),
            done = &mut work => return Ok(Some(done)),
            () = env.clock.sleep(CONFIRM_US) => {
                // A store that does not answer is asked again.
                match publisher.lock().await.confirm().await {
                    Err(error @ weir_storage::Error::Fenced(_)) => return Err(fenced(&error)),
                    Err(error @ weir_storage::Error::Lost(_)) => return Err(storage(error)),
                    _ => {}
                }
            }
        }
    }
}

/// How a start finds a relation, and so what it does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecoveryCase {
    /// Half made or half gone: jobs finish it, from the beginning.
    Unfinished,
    /// All of its state is in the manifest, at this epoch. Of a view that is being made that may be all that it had so far.
    Whole(Epoch),
    /// A view that the manifest does not hold, that was suspended, or whose parents' change logs do not reach back to it: rebuilt.
    /// What the manifest has of it is read meanwhile.
    Rebuild,
    /// A table that had failed: it stays as it was.
    Failed,
    /// A table that should be there and is not: it has failed.
    Lost,
}

/// `upper`: where the manifest has the relation in full. `reachable`: it can go on from there, by its parents' change logs. `stopped`: a
/// table that had failed.
fn find(
    life: Life,
    is_table: bool,
    stopped: bool,
    upper: Option<Epoch>,
    epoch: Epoch,
    reachable: bool,
) -> RecoveryCase {
    match (life, is_table, upper) {
        (Life::Dropping, ..) => RecoveryCase::Unfinished,
        (_, true, _) if stopped => RecoveryCase::Failed,
        (_, true, Some(upper)) if upper == epoch => RecoveryCase::Whole(upper),
        (Life::Creating, true, _) => RecoveryCase::Rebuild,
        (Life::Live, true, _) => RecoveryCase::Lost,
        (_, false, Some(upper)) if reachable => RecoveryCase::Whole(upper),
        (Life::Creating, false, _) => RecoveryCase::Unfinished,
        (Life::Live, false, _) => RecoveryCase::Rebuild,
    }
}

/// A relation with its state as of the manifest, and what its parents changed by since.
struct ReadBack {
    shape: blueprint::Body,
    arrangements: Roles<Vec<Arrangement>>,
    upper: Epoch,
    is_table: bool,
    parents: Vec<RelationId>,
    /// Nothing of it was there.
    fresh: bool,
    /// What it has of its parents' rows, or begins with.
    portion: Portion,
    /// Where it was suspended.
    suspended: Option<Restored>,
    /// Per worker.
    logs: Vec<Log>,
    /// Where the parent furthest behind stands.
    first: Option<Epoch>,
    failed: Option<Failure>,
}

impl ReadBack {
    /// Nothing was read back: it begins at `upper` with nothing in it.
    fn empty(env: &Env, workers: usize, upper: Epoch, shape: blueprint::Body) -> Self {
        Self {
            arrangements: shape.arrangements(workers, env.limits),
            upper,
            is_table: false,
            parents: shape.parents(),
            shape,
            fresh: true,
            portion: Portion::ALL,
            suspended: None,
            logs: vec![Log::new(); workers],
            first: None,
            failed: None,
        }
    }
}

/// A relation of which the store cannot give back what it should hold. A view is rebuilt, one that is being made by its job, which says
/// in the catalog what it has; a table has failed, with nothing in it.
fn damaged(
    env: &Env,
    workers: usize,
    manifest: &Manifest,
    object: &Object,
    error: &weir_storage::Error,
) -> Option<ReadBack> {
    let shape = body(&object.body)?;
    let is_table = matches!(object.body, Body::Table(_));
    tracing::error!(relation = object.name, %error, is_table, "the state of a relation is damaged: a view is built anew, a table has failed");
    if !is_table && object.life == Life::Creating {
        return None;
    }
    let stopped = Stopped { sqlstate: "58030".into(), message: format!("its state in the store is damaged: {error}") };
    let failed = is_table.then(|| stopped.failure(RelationId(object.id)));
    Some(ReadBack { is_table, failed, ..ReadBack::empty(env, workers, manifest.epoch, shape) })
}

/// In the place of a relation whose record cannot be read: it has failed, with its columns and nothing in it. What the store has of it
/// stays.
fn unread(env: &Env, workers: usize, manifest: &Manifest, object: &Object, cause: Error) -> ReadBack {
    let columns = object.columns().unwrap_or_default().to_vec();
    let shape = blueprint::Body::Table { columns, key: None };
    let failed = Some(Failure { of: RelationId(object.id), cause });
    ReadBack { is_table: true, failed, ..ReadBack::empty(env, workers, manifest.epoch, shape) }
}

/// What the manifest has of a relation, if it has all of it at one epoch; nothing of one that is going.
async fn read_ahead(
    reading: &Reading<'_>,
    workers: usize,
    manifest: &Manifest,
    object: &Shared,
) -> weir_storage::Result<Option<Restored>> {
    let shape = body(&object.body).filter(|_| object.life != Life::Dropping && object.unread().is_none());
    let Some((shape, ids)) = shape.zip(object.roles()) else { return Ok(None) };
    match recover::states(manifest, &shape, &ids) {
        Some(states) => recover::restore(reading, workers, &shape, &states).await.map(Some),
        None => Ok(None),
    }
}

/// `None`: not a relation, or one that jobs finish. `restored`: what was read ahead.
async fn read_back(
    env: &Env,
    workers: usize,
    manifest: &Manifest,
    catalog: &Catalog,
    ledger: &Ledger,
    object: &Object,
    restored: weir_storage::Result<Option<Restored>>,
) -> weir_storage::Result<Option<ReadBack>> {
    let Some(shape) = body(&object.body) else { return Ok(None) };
    if let Some(cause) = catalog.unread(object.id) {
        return Ok((object.life != Life::Dropping).then(|| unread(env, workers, manifest, object, cause)));
    }
    let states = object.roles().and_then(|ids| recover::states(manifest, &shape, &ids));
    let upper = states.as_ref().map(|states| states.rows.upper);
    let parents: Vec<RelationId> = shape.parents();
    let reachable = |id: &RelationId| {
        let parent = catalog.get(id.0).zip(ledger.get(*id));
        parent.zip(upper).is_some_and(|((object, parent), upper)| {
            let reaches = |id: &ArrangementId| manifest.arrangements.get(id).is_some_and(|state| state.since <= upper);
            // Nothing is to be read of a parent that stands where the view does.
            parent.sealed() == upper
                || parent.sealed() > upper && object.roles().is_some_and(|ids| ids.log().into_iter().all(reaches))
        })
    };
    let stopped = match &object.body {
        Body::Table(table) => table.stopped.clone(),
        _ => None,
    };
    let is_table = matches!(object.body, Body::Table(_));
    let (given_up, portion) = match (&object.body, upper) {
        (Body::View(view), Some(upper)) => (view.suspended, view.portion(upper)),
        _ => (false, Some(Portion::ALL)),
    };
    let reachable = !given_up && portion.is_some() && parents.iter().all(reachable);
    let found = find(object.life, is_table, stopped.is_some(), upper, manifest.epoch, reachable);
    match found {
        RecoveryCase::Unfinished => return Ok(None),
        RecoveryCase::Whole(_) | RecoveryCase::Failed => {}
        RecoveryCase::Rebuild => {
            tracing::warn!(
                relation = object.name,
                "the newest manifest does not hold its state, or not what came after; it is built anew from its parents"
            );
        }
        RecoveryCase::Lost => {
            let manifest = Manifest::path(manifest.sequence);
            return Err(weir_storage::Error::Corrupt(format!("{manifest} holds no state of it at its epoch")));
        }
    }
    let fresh = found == RecoveryCase::Rebuild;
    // Of what is made anew nothing counts, nor that it is damaged.
    let restored = if object.life == Life::Live || !fresh { restored? } else { None };
    let (suspended, restored) = if fresh { (restored, None) } else { (None, restored) };
    let Restored { arrangements, upper } = restored.unwrap_or_else(|| {
        let arrangements = shape.arrangements(workers, env.limits);
        Restored { arrangements, upper: manifest.epoch }
    });
    let mut logs = vec![Log::new(); workers];
    let mut first = None;
    if !fresh {
        for id in &parents {
            let (parent, stands) =
                (catalog.get(id.0).expect("found above"), ledger.get(*id).expect("found above").sealed());
            first = Some(first.map_or(stands, |first: Epoch| first.min(stands)));
            if stands > upper {
                let body = body(&parent.body).expect("a relation has a body");
                let states = parent.roles().and_then(|ids| recover::states(manifest, &body, &ids));
                let states = states.expect("found above");
                let parent = Parent { id: *id, body: &body, states: &states };
                recover::changes(env, &parent, upper, stands, &mut logs).await?;
            }
        }
    }
    let portion = portion.unwrap_or(Portion::ALL);
    let failed = stopped.map(|stopped| stopped.failure(RelationId(object.id)));
    Ok(Some(ReadBack { shape, arrangements, upper, is_table, parents, fresh, portion, suspended, logs, first, failed }))
}

fn storage(error: weir_storage::Error) -> Error {
    Error::new("58000", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_storage::Generation;

    /// What is found -> what is done, for every combination.
    #[test]
    fn every_finding_has_one_answer() {
        let now = Generation(1).start().next();
        let before = Generation(1).start();
        for life in [Life::Creating, Life::Live, Life::Dropping] {
            for is_table in [true, false] {
                for upper in [None, Some(before), Some(now)] {
                    for (reachable, stopped) in [(true, false), (false, false), (true, true), (false, true)] {
                        let expected = match (life, is_table, upper.map(|upper| upper == now), reachable) {
                            (Life::Dropping, ..) => RecoveryCase::Unfinished,
                            (_, true, ..) if stopped => RecoveryCase::Failed,
                            (Life::Creating, false, Some(_), true) => RecoveryCase::Whole(upper.unwrap()),
                            (Life::Creating, false, ..) => RecoveryCase::Unfinished,
                            (Life::Creating, true, Some(true), _) => RecoveryCase::Whole(now),
                            (Life::Creating, true, ..) => RecoveryCase::Rebuild,
                            (Life::Live, true, Some(true), _) => RecoveryCase::Whole(now),
                            (Life::Live, true, ..) => RecoveryCase::Lost,
                            (Life::Live, false, Some(_), true) => RecoveryCase::Whole(upper.unwrap()),
                            (Life::Live, false, ..) => RecoveryCase::Rebuild,
                        };
                        let found = find(life, is_table, stopped, upper, now, reachable);
                        let case =
                            format!("{life:?}, table {is_table}, {upper:?}, reachable {reachable}, stopped {stopped}");
                        assert_eq!(found, expected, "{case}");
                    }
                }
            }
        }
    }
}
