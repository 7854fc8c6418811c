//! One client's session: its variables, its transaction, and how a plan is bound to an epoch and run.

use super::Server;
use super::arguments::Arguments;
use super::prepared::{Portal, Statements};
use super::query::bound::{Bound, PinnedRelation};
use super::query::run::{self, Rows};
use super::query::time_travel::Past;
use super::query::{self, Planned, Planner, names, settled};
use super::transaction::{Block, Finished, Room, Transaction};
use super::variable::{VERSION, Variables};
use crate::catalog::Catalog;
use crate::catalog::system::{self, Facts};
use crate::coordinator::request::{Inspection, Request};
use crate::coordinator::told::told;
use crate::dataflow::relations::{Unreadable, Wanted};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::history::Snapshot;

/// System tables that need nothing of the coordinator's answer without it rather than not at all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Rows and bytes of a transaction that are put together at once: the threads of sessions are for what takes a moment.
const FEW: usize = 4096;
const FEW_BYTES: usize = 1 << 20;
/// Bytes of a key that is compared with others at COMMIT: its hash, and room for as many more.
const KEY: usize = 64;

/// The variable that is the transaction's.
pub const READ_ONLY: &str = "transaction_read_only";

pub struct Session {
    pub server: Arc<Server>,
    pub user: String,
    pub pid: i32,
    pub variables: Variables,
    pub block: Block,
    /// The session's last write: its queries wait until their relations have reached it.
    pub wrote: Epoch,
    /// Severity, SQLSTATE and text of what is to be told to the client with the statement's end.
    pub notices: Vec<(&'static str, &'static str, String)>,
    /// Variables whose change is to be told.
    pub reports: Vec<(&'static str, String)>,
    pub prepared: Statements,
    pub portals: HashMap<String, Portal>,
    pub handed: Arc<Handed>,
}

/// Whether the commit of the statement that runs has been handed over: what becomes of it is decided elsewhere.
#[derive(Default)]
pub struct Handed(AtomicBool);

impl Handed {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Until the answer is there.
    fn set(&self) -> Answered<'_> {
        self.0.store(true, Ordering::Relaxed);
        Answered(self)
    }
}

struct Answered<'a>(&'a Handed);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

impl Session {
    pub fn new(server: Arc<Server>, user: String, pid: i32, variables: Variables) -> Self {
        let prepared = Statements::new(&server.runtime.memory_pool);
        Self {
            server,
            user,
            pid,
            variables,
            block: Block::Idle,
            wrote: Epoch::ZERO,
            notices: vec![],
            reports: vec![],
            prepared,
            portals: HashMap::new(),
            handed: Arc::default(),
        }
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.server.handle.catalog.borrow().clone()
    }

    pub fn notice(&mut self, text: impl Into<String>) {
        self.notices.push(("NOTICE", "00000", text.into()));
    }

    pub fn warning(&mut self, sqlstate: &'static str, text: impl Into<String>) {
        self.notices.push(("WARNING", sqlstate, text.into()));
    }

    /// The transaction a statement belongs to; begun if there is none.
    pub fn transaction(&mut self) -> Result<&mut Transaction> {
        if matches!(self.block, Block::Idle) {
            self.block = Block::Implicit(self.new_transaction());
        }
        self.block.transaction().ok_or_else(|| {
            Error::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
        })
    }

    /// The value of a variable, of which some belong to the transaction.
    pub fn setting(&self, name: &str) -> Result<String> {
        let read_only = match &self.block {
            Block::Implicit(t) | Block::Explicit(t) | Block::Failed(t) => t.read_only,
            Block::Idle => self.variables.on("default_transaction_read_only"),
        };
        match name.eq_ignore_ascii_case(READ_ONLY) {
            true => Ok(if read_only { "on" } else { "off" }.into()),
            false => Ok(self.variables.get(name)?.to_string()),
        }
    }

    pub fn new_transaction(&self) -> Transaction {
        let config = &self.server.config;
        let folder = config.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
        let pool = Some(self.server.runtime.memory_pool.clone());
        let keys = (config.commit_memory / KEY).max(FEW);
        let room = Room { here: config.kept_memory, keys, folder: Some(folder), pool };
        Transaction::new(config.env.clock.now(), self.variables.on("default_transaction_read_only"), room)
    }

    /// Starts a planned query at an epoch of at least `at_least`.
    pub async fn open(
        &mut self,
        planner: &Planner,
        planned: Planned,
        arguments: &Arguments,
        at_least: Epoch,
    ) -> Result<Rows> {
        let bound = match planner.past() {
            Some(past) => self.bind_past(past, &planned).await?,
            None => {
                self.written_before_read(&planned.relations).await?;
                self.bind(&planned.relations, planned.system, at_least).await?
            }
        };
        bound.facts.iter().filter_map(|facts| facts.inspection.as_ref()).for_each(|known| planner.measure(known));
        let catalog = self.catalog();
        bound.check(&planned.relations, |id| catalog.get(id.0).map_or(id.to_string(), |o| o.name.clone()))?;
        let mut arguments = arguments.expressions(&planned.parameters)?;
        if planned.columns.is_some() {
            arguments = settled::arguments(arguments, &planned.parameters);
        }
        let mut plan = query::bind(planned.plan, &arguments)?;
        if planned.timed {
            let now = self.transaction()?.started;
            plan = weir_sql::session::at(plan, now).map_err(query::failure::failure)?;
        }
        let (server, columns) = (&self.server, planned.columns);
        run::start(planner.state().clone(), plan, columns, bound, server.runtime.clone(), &server.config.pool).await
    }

    /// A block's own writes are not readable before COMMIT. Statements that were only sent together see each other: what came
    /// before is committed.
    pub async fn written_before_read(&mut self, relations: &[RelationId]) -> Result<()> {
        let transaction = self.transaction()?;
        let Some(id) = relations.iter().copied().find(|id| transaction.wrote(*id)) else { return Ok(()) };
        if self.block.is_explicit() {
            let name = self.catalog().get(id.0).map_or(id.to_string(), |object| object.name.clone());
            return Err(Error::unsupported(format!("reading table \"{name}\", which this transaction has written,"))
                .hint("COMMIT first."));
        }
        self.commit().await?;
        self.transaction().map(drop)
    }

    /// Pins what a query reads: in a block always at the block's epoch.
    pub async fn bind(&mut self, ids: &[RelationId], system: bool, at_least: Epoch) -> Result<Arc<Bound>> {
        let facts = if system { Some(Arc::new(self.facts().await)) } else { None };
        let explicit = self.block.is_explicit();
        let held = self.transaction()?.bound.clone();
        let mut bound = match held {
            Some(held) => self.join(&held, ids, at_least)?,
            None => self.newest(ids, at_least.max(self.wrote)).await?,
        };
        self.tell_suspended(&bound, ids);
        if explicit && !ids.is_empty() {
            self.hold(&mut bound);
            self.transaction()?.bound = Some(Arc::new(bound.clone()));
        }
        bound.facts = facts;
        Ok(Arc::new(bound))
    }

    /// What is read as of where it was suspended is not what its reader expects.
    fn tell_suspended(&mut self, bound: &Bound, ids: &[RelationId]) {
        for id in ids {
            let Some(PinnedRelation::Now(pinned)) = bound.relations.get(id) else { continue };
            let epoch = bound.epoch;
            if let Some(failure) = pinned.readable.failure() {
                let error = told(&self.catalog(), *id, failure);
                self.notice(format!("{}; this is what it was at epoch {epoch}", error.message));
            } else if pinned.readable.is_suspended() {
                let name = self.catalog().get(id.0).map_or(id.to_string(), |object| object.name.clone());
                self.notice(format!(
                    "materialized view \"{name}\" is suspended: it is being built anew; this is what it was at epoch {epoch}"
                ));
            }
        }
    }

    /// The past does not change: a block need not hold it, nor what the block writes be kept out of it.
    async fn bind_past(&mut self, past: &Arc<Past>, planned: &Planned) -> Result<Arc<Bound>> {
        let facts = if planned.system { Some(Arc::new(self.facts().await)) } else { None };
        let (env, pool) = (&self.server.config.env, &self.server.runtime.memory_pool);
        let (epoch, relations) = past.open(env, pool, &planned.relations).await?;
        self.notice(past.told(epoch));
        Ok(Arc::new(Bound::of_past(epoch, relations, facts)))
    }

    /// Relations at the newest epoch that all of `ids` have reached, which is waited for; after a start, as the store has them.
    async fn newest(&self, ids: &[RelationId], at_least: Epoch) -> Result<Bound> {
        let (mut progress, mut restoring) = (self.server.handle.progress.clone(), self.server.handle.restoring.clone());
        // Only who has looked in vain listens, and then looks once more.
        let mut listening = None;
        loop {
            let now = progress.borrow_and_update().clone();
            if let Some(error) = now.stopped {
                return Err(error);
            }
            let durable_only = self.variables.is("visibility_mode", "checkpoint");
            let at_most = if durable_only { now.durable } else { Epoch::NEVER };
            let wanted = Wanted { at_least, at_most, failed: self.variables.on("weir.read_failed") };
            match self.server.handle.relations.pin(ids, wanted) {
                Ok(pin) => return Ok(Bound::from(pin)),
                Err(Unreadable::Failed(id, failure)) => return Err(told(&self.catalog(), id, &failure)),
                // Only a session's own writes or an earlier writer's are waited for: they are on their way.
                Err(Unreadable::Behind { .. }) => {}
                Err(Unreadable::Building(id)) => {
                    let stored = restoring.borrow_and_update().clone();
                    match stored {
                        None => return Err(self.building(id).await),
                        Some(snapshot) => {
                            if let Some(bound) = self.stored(snapshot, ids, at_least).await? {
                                return Ok(bound);
                            }
                        }
                    }
                }
                Err(Unreadable::NoCommonEpoch) => {
                    return Err(Error::new("55000", "there is no epoch that all relations of the query have reached")
                        .detail("One of them is far behind the others.")
                        .hint("rw_catalog.rw_materialized_views shows how far each one is."));
                }
            }
            match listening.take() {
                None => listening = Some(self.server.handle.relations.listen(ids)),
                Some(changed) => tokio::select! {
                    () = changed.heard() => {}
                    // What is durable, and whether there is a server yet.
                    Ok(()) = progress.changed() => {}
                    Ok(()) = restoring.changed() => {}
                },
            }
        }
    }

    /// Relations that are not in memory yet, as the manifest has them. `None`: it does not have them at one epoch; they will be there.
    async fn stored(&self, snapshot: Arc<Snapshot>, ids: &[RelationId], at_least: Epoch) -> Result<Option<Bound>> {
        let (env, pool) = (&self.server.config.env, &self.server.runtime.memory_pool);
        match Arc::new(Past::new(snapshot)?).open(env, pool, ids).await {
            Ok((epoch, relations)) if epoch >= at_least => Ok(Some(Bound::of_past(epoch, relations, None))),
            Ok(_) => Ok(None),
            Err(error) if error.sqlstate == "55000" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds relations to those a block reads already, at its epoch.
    fn join(&self, held: &Bound, ids: &[RelationId], at_least: Epoch) -> Result<Bound> {
        let mut bound = held.clone();
        if at_least > bound.epoch {
            return Err(Error::new("40001", "could not serialize access due to concurrent update")
                .detail("Another transaction wrote the table after this one began to read.")
                .hint("Retry the transaction."));
        }
        for id in ids.iter().filter(|id| !held.relations.contains_key(id)) {
            let pin = self.server.handle.relations.pin(&[*id], self.exactly(held.epoch)).map_err(|why| match why {
                Unreadable::Failed(id, failure) => told(&self.catalog(), id, &failure),
                _ => Error::new("55000", "a relation cannot be read at the epoch of this transaction")
                    .detail("It was created or rebuilt after the transaction began to read, or is behind.")
                    .hint("Begin a new transaction."),
            })?;
            bound.add(pin);
        }
        Ok(bound)
    }

    fn exactly(&self, epoch: Epoch) -> Wanted {
        Wanted { at_least: epoch, at_most: epoch, failed: self.variables.on("weir.read_failed") }
    }

    /// What else a block may come to read is pinned with its first query, as far as it is there.
    fn hold(&self, bound: &mut Bound) {
        for readable in self.server.handle.relations.all() {
            if !bound.relations.contains_key(&readable.id)
                && let Ok(pin) = self.server.handle.relations.pin(&[readable.id], self.exactly(bound.epoch))
            {
                bound.add(pin);
            }
        }
    }

    async fn building(&self, id: RelationId) -> Error {
        let Some(object) = self.catalog().get(id.0).cloned() else {
            return Error::new("42P01", format!("relation {id} was dropped"));
        };
        let error = Error::new("55000", format!("{} \"{}\" is not readable yet", object.kind(), object.name));
        let jobs = self.inspect().await.unwrap_or_default().ddl;
        match jobs.into_iter().find(|(_, job, ..)| *job == id.0) {
            Some((_, _, progress, _)) => error.detail(format!("It is being created: {progress}.")),
            None => error.detail("Its first rows are being copied."),
        }
        .hint("rw_catalog.rw_ddl_progress shows how far it is.")
    }

    pub async fn facts(&self) -> Facts {
        Facts {
            inspection: self.inspect().await,
            catalog: self.catalog(),
            progress: self.server.handle.progress.borrow().clone(),
            users: self.server.users(&self.user),
            database: names::DATABASE,
            settings: self.variables.all(),
            prepared: self.named(),
            functions: query::answered(),
            version: VERSION,
            ..Facts::default()
        }
    }

    /// Statements with a name, sorted by it.
    fn named(&self) -> Vec<system::Prepared> {
        let named = self.prepared.iter().filter(|(name, _)| !name.is_empty());
        let mut named: Vec<_> = named
            .map(|(name, prepared)| system::Prepared {
                name: name.clone(),
                statement: prepared.parsed.as_ref().map_or(String::new(), |parsed| parsed.text.clone()),
                parameters: prepared.parameters.clone(),
            })
            .collect();
        named.sort_by(|a, b| a.name.cmp(&b.name));
        named
    }

    /// `None`: the coordinator does not say in time.
    async fn inspect(&self) -> Option<Inspection> {
        let answer = self.ask(|reply| Request::Inspect { reply });
        tokio::time::timeout(TIMEOUT, answer).await.ok()?.ok()
    }

    /// Sends a request to the coordinator and waits for its answer.
    pub async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.server.handle.requests.send(request(reply)).await.map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())
    }

    /// The same of a request that changes something whether its answer is waited for or not: from when it is sent on, the statement
    /// ends with the answer only.
    pub async fn hand_over<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let place = self.server.handle.requests.reserve().await.map_err(|_| self.gone())?;
        let _handed = self.handed.set();
        place.send(request(reply));
        answer.await.map_err(|_| self.gone().detail("Whether the statement has taken effect is not known."))
    }

    fn gone(&self) -> Error {
        match self.server.handle.progress.borrow().stopped.clone() {
            Some(error) => error,
            None => Error::new("57P01", "the server is shutting down"),
        }
    }

    /// Applies what the transaction wrote, and ends it.
    pub async fn commit(&mut self) -> Result<()> {
        let mut transaction = match std::mem::take(&mut self.block) {
            Block::Implicit(t) | Block::Explicit(t) => t,
            Block::Idle | Block::Failed(_) => return Ok(()),
        };
        // Reads are over: history need not be kept while the write is made durable.
        drop(transaction.bound.take());
        let server = self.server.clone();
        let _turn = server.turn(transaction.bytes()).await;
        let (local, (changes, lock)) = self.finished(transaction).await?;
        if !changes.is_empty() {
            let persist = self.variables.on("dml_wait_persistence");
            let done = self.hand_over(|reply| Request::Write { changes, persist, lock, reply }).await??;
            self.wrote = self.wrote.max(done.epoch);
            done.notices.into_iter().for_each(|text| self.notice(text));
        }
        for (name, value) in local.into_iter().rev() {
            self.reports.extend(self.variables.set(&name, Some(&value))?);
        }
        Ok(())
    }

    /// What a transaction has set locally, and what it wrote: much of that is put together where queries run.
    async fn finished(&self, mut transaction: Transaction) -> Result<(Vec<(String, String)>, Finished)> {
        let few = transaction.written() <= FEW && transaction.bytes() <= FEW_BYTES;
        let mut finish = move || transaction.finish().map(|written| (std::mem::take(&mut transaction.local), written));
        if few {
            return finish();
        }
        let finishing = self.server.config.pool.spawn_blocking(finish);
        finishing.await.unwrap_or_else(|_| Err(query::failure::panicked()))
    }

    /// Forgets what the transaction wrote and which variables it set, and ends it.
    pub fn rollback(&mut self) {
        if let Block::Explicit(transaction) | Block::Failed(transaction) = std::mem::take(&mut self.block) {
            self.restore(transaction.variables);
        }
    }

    /// Variables as they were before; clients hear of those they follow.
    pub(super) fn restore(&mut self, variables: Variables) {
        let before = self.variables.reported();
        self.variables = variables;
        let after = self.variables.reported();
        self.reports.extend(after.into_iter().zip(before).filter(|(a, b)| a != b).map(|(a, _)| a));
    }
}
