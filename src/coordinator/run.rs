//! The event loop.

use super::checkpoint::{self, Draft, Part, Published, Unmade};
use super::checkpoints::Content;
use super::ddl::REMEDY;
use super::housekeeping::Kept;
use super::ledger::{self, Entry, Seen};
use super::memory;
use super::message::{Message, Once};
use super::pace::{Close, Wanted};
use super::request::{self, Done, Inspection, RelationFacts, Request};
use super::state::Coordinator;
use super::told::{failed_among, fenced, told};
use super::upload::on_retry;
use super::waiters::{Reaching, Written};
use super::writes::Write;
use crate::catalog::{Body, Catalog, Life, Shared, TableBody};
use crate::connector::{Source, Status, Subscription};
use futures::FutureExt;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::oneshot;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::arrangement::Role;
use weir_storage::manifest::ArrangementId;

impl Coordinator {
    /// Brings everything back, then runs until `shutdown` and its last checkpoint, or until the store belongs to another process.
    pub async fn run(mut self, mut shutdown: oneshot::Receiver<()>) -> Result<()> {
        if !self.restore(&mut shutdown).await? {
            return Ok(());
        }
        // Restored relations stand at the manifest's epoch; this brings everything into the new generation.
        self.close_epoch();
        loop {
            let next = self.act()?;
            if self.stopping && self.is_settled() {
                break;
            }
            let pause = self.env.clock.sleep(next.saturating_sub(self.env.clock.monotonic()));
            let wake = self.wake.clone();
            tokio::select! {
                // No chance in it, so that a run can be repeated. Jobs wait for answers, so messages leave room for requests.
                biased;
                _ = &mut shutdown, if !self.stopping => self.stop_intake().await,
                Some(message) = self.messages.recv() => self.message(message)?,
                Some(request) = self.requests.recv() => self.request(request),
                () = wake.notified() => {}
                () = pause => {}
            }
        }
        tracing::info!(epoch = %self.checkpoints.durable(), "last checkpoint is published; ending");
        Ok(())
    }

    /// Everything that is due; returns when to look again (monotonic microseconds).
    fn act(&mut self) -> Result<u64> {
        let now = self.env.clock.monotonic();
        let mut next = now + 500_000;
        self.tend_failures();
        self.begin_refreshes();
        self.finish();
        loop {
            match self.pace.close(self.env.clock.monotonic(), self.waiting(), self.ledger.len()) {
                // What takes long is folded beside the loop, and waits again when it is.
                Close::Now if self.sources.set_aside() => {}
                Close::Now => self.close_epoch(),
                Close::At(due) => break next = next.min(due),
                Close::Wait => break,
            }
        }
        self.tend_backfills();
        self.become_live();
        self.give_up();
        self.give_up_copies();
        self.checkpoints.follow_up(&mut self.ledger, self.engine.relations());
        self.tend_history();
        match self.pace.checkpoint(now, self.wanted()) {
            Close::Now => self.begin_checkpoint(),
            Close::At(due) => next = next.min(due),
            Close::Wait => {}
        }
        match self.checkpoints.ready(now, &self.ledger, self.engine.relations()) {
            Close::Now => self.seal(),
            Close::At(due) => next = next.min(due),
            Close::Wait => {}
        }
        if !self.stopping {
            self.keep_house();
        }
        self.tend_memory(now);
        let (durable, durable_edit) = (self.checkpoints.durable(), self.checkpoints.durable_edit());
        self.waiters.settle(self.engine.relations(), &self.catalog, durable, durable_edit);
        if self.checkpoints.confirm(now) {
            self.confirm();
        }
        self.publish_progress();
        Ok(next)
    }

    /// Also at rest.
    fn keep_house(&mut self) {
        // Made when somebody asks: at most turns nobody does.
        let all = LazyCell::new(|| {
            let held = self.held.values().flat_map(|held| held.ids.iter().zip(held.arrangements.iter()));
            held.collect::<BTreeMap<_, _>>()
        });
        let kept = |id| {
            let workers = all.get(&id)?;
            let spec = workers.first()?.spec().clone();
            Some(Kept { spec, live: workers.iter().map(|arrangement| arrangement.rows().max(0) as u64).sum() })
        };
        self.housekeeping.tend(&self.manifest, &kept);
    }

    /// Takes note of the epochs that every base table has finished. There may be thousands, and this is asked at every turn: mostly the one
    /// that was furthest behind still is.
    fn finish(&mut self) {
        let Some(oldest) = self.pace.oldest() else { return };
        let seen = self.engine.relations();
        if self.slowest.is_some_and(|id| self.ledger.is_late(id, oldest, seen)) {
            return;
        }
        let lowest = self.ledger.tables().map(|id| (seen.upper(id), id)).min();
        self.slowest = lowest.map(|(_, id)| id);
        self.pace.finished(lowest.map_or(self.epochs.closed(), |(upper, _)| upper));
    }

    /// Tables whose copy is complete become readable, and views whose backfill is.
    fn become_live(&mut self) {
        let relations = self.engine.relations().clone();
        let backfilled: Vec<(RelationId, Epoch)> = self.ledger.backfilled_all().collect();
        for (id, epoch) in backfilled {
            if !self.ledger.is_whole(id, &relations) {
                continue;
            }
            if let Some(relation) = relations.get(id) {
                // Another relation of a query may hold it back to when the copy was not whole.
                relation
                    .parents
                    .iter()
                    .map(|parent| parent.readable_since())
                    .chain([epoch])
                    .for_each(|began| relation.begin(began));
            }
            self.note([(id, ledger::Event::Whole)]);
            self.waiters.tell(|waiting| (waiting == id).then_some(Ok(())));
        }
    }

    /// Whoever waits for a copy of a source that has stopped for good waits in vain.
    fn give_up_copies(&mut self) {
        if self.waiters.consistent.is_empty() {
            return;
        }
        for (id, error) in self.sources.stopped() {
            self.waiters.tell(|table| fed(&self.catalog, table, id).map(|_| Err(error.clone())));
        }
    }

    /// A first copy waits for its source to read; another is made only while it does.
    fn await_copy(&mut self, id: RelationId, reply: oneshot::Sender<Result<()>>) {
        let upstream = match self.catalog.get(id.0).map(|object| &object.body) {
            Some(Body::Table(table)) => table.upstream.as_ref(),
            Some(Body::View(_)) if self.ledger.get(id).is_some_and(Entry::is_live) => {
                return drop(reply.send(Ok(())));
            }
            Some(Body::View(_)) => None,
            _ => return drop(reply.send(Err(Error::new("57014", "the table was dropped meanwhile")))),
        };
        match upstream {
            Some((source, subscription)) if subscription.copied && self.sources.running(*source).is_none() => {
                let _ = reply.send(Err(let_go()));
            }
            _ => self.waiters.consistent.push((id, reply)),
        }
    }

    /// A source stops reading where it is. Its first copies begin again when it continues, others are forgotten.
    fn pause(&mut self, id: u32) -> Option<Arc<dyn Source>> {
        let source = self.sources.pause(id)?;
        let forgotten = |table| fed(&self.catalog, table, id).is_some_and(|subscription| subscription.copied);
        self.waiters.tell(|table| forgotten(table).then(|| Err(let_go())));
        Some(source)
    }

    fn wanted(&self) -> Wanted {
        let checkpoints = &self.checkpoints;
        let asked = self.waiters.want_checkpoint(checkpoints.durable(), checkpoints.durable_edit())
            || (self.stopping && checkpoints.is_behind());
        checkpoints.wanted(asked)
    }

    /// Freezes what a checkpoint of the last closed epoch says. From here on views that are behind may jump to that epoch.
    fn begin_checkpoint(&mut self) {
        let epoch = self.epochs.closed();
        self.engine.relations().checkpoint_epochs.push(epoch);
        let (included, kept) = self.ledger.included();
        let kept = self.arrangements(&kept);
        let catalog = self.catalog.clone();
        let began = self.env.clock.monotonic();
        let in_use = self.housekeeping.in_use.clone();
        let (now, positions) = (self.epochs.now(), self.sources.positions());
        let (parts, merged, still) = (vec![], vec![], still(&catalog, &self.manifest.positions, &positions));
        let draft = Draft { epoch, now, positions, catalog, parts, kept, still, merged, in_use, began };
        self.checkpoints.begin(draft, included, self.ledger.failed_views());
        self.pace.checkpoint_began(began);
    }

    fn arrangements(&self, relations: &[RelationId]) -> Vec<ArrangementId> {
        relations.iter().filter_map(|id| self.held.get(id)).flat_map(|held| held.ids.iter().copied()).collect()
    }

    /// Starts the upload of the one that waits for nobody any more.
    fn seal(&mut self) {
        let content = self.checkpoints.seal(&self.ledger, self.engine.relations());
        let Some(Content { mut draft, sealed, kept, needed }) = content else { return };
        draft.kept.extend(self.arrangements(&kept));
        let now = self.env.clock.monotonic();
        for (id, to) in &sealed {
            let (Some(held), Some(entry)) = (self.held.get(id), self.ledger.get(*id)) else { continue };
            let since = needed.get(id).map_or(*to, |lowest| *lowest.min(to));
            let ordeal = self.catalog.get(id.0).map(|object| self.engine.ordeal(&object.name));
            let panics = ordeal.is_some_and(|ordeal| ordeal.is_unsealable(now));
            let relation = *id;
            for ((role, id), handles) in held.ids.by_role().zip(held.arrangements.iter()) {
                let since = match role {
                    Role::Rows | Role::Errors => since,
                    // Nobody else reads them.
                    Role::Operator => *to,
                };
                let after = entry.sealed();
                let is_new = after == Epoch::ZERO || handles.iter().any(|own| own.has_changed(after));
                let handles = if is_new { handles.clone() } else { vec![] };
                draft.parts.push(Part { relation, id: *id, after, to: *to, since, handles, panics });
            }
        }
        let on_retry = on_retry(&self.env, &self.progress);
        let work = checkpoint::make(self.env.clone(), self.publisher.clone(), self.manifest.clone(), draft, on_retry);
        let mailbox = self.mailbox.clone();
        // One that panicked is answered too: nobody may wait for a checkpoint that never comes (I13).
        let panicked = |_| Err(Unmade::Store(weir_storage::Error::Invalid("it panicked".into())));
        let made = AssertUnwindSafe(work).catch_unwind().map(move |made| made.unwrap_or_else(panicked));
        tokio::spawn(async move { mailbox.tell(Message::Checkpoint(made.await)) });
    }

    /// A checkpoint is durable: acknowledge upstream, release history, answer who waited.
    fn published(&mut self, published: Published) {
        let Published { manifest, proof } = published;
        let Some(sealed) = self.checkpoints.published(&manifest, self.env.clock.monotonic()) else { return };
        self.progress.send_if_modified(|progress| progress.trouble.take().is_some());
        let epoch = proof.epoch();
        let whole = |source| self.ledger.is_sealed_whole(source, epoch, &sealed);
        self.sources.acknowledge(&proof, &manifest.positions, whole);
        let effects = self.ledger.published(epoch, &sealed);
        self.carry_out(effects);
        self.engine.compact(sealed);
        self.engine.relations().forget(self.ledger.lowest(epoch));
        self.forget_times();
        self.manifest = Arc::new(manifest);
        self.housekeeping.published(&self.manifest, self.checkpoints.all_told());
        self.pace.checkpoint_ended();
        if !self.stopping {
            self.suspend_the_furthest_behind();
        }
    }

    /// Looks whether another process owns the store now (I9).
    fn confirm(&self) {
        let (publisher, mailbox) = (self.publisher.clone(), self.mailbox.clone());
        tokio::spawn(async move {
            let confirmed = publisher.lock().await.confirm().await.map(drop);
            mailbox.tell(Message::Confirmed(confirmed));
        });
    }

    fn publish_progress(&self) {
        let (closed, now, durable) = (self.epochs.closed(), self.epochs.now(), self.checkpoints.durable());
        self.progress.send_if_modified(|progress| {
            let modified = progress.closed != closed || progress.durable != durable;
            (progress.closed, progress.now, progress.durable) = (closed, now, durable);
            modified
        });
    }

    fn message(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Edit { edit, once, reply } => {
                // Who reads the past as of an earlier epoch finds the catalog from before the change.
                self.close_epoch();
                self.edit(edit);
                match once {
                    Once::Known => drop(reply.send(())),
                    Once::Durable => self.waiters.edits.push((self.checkpoints.edits(), reply)),
                }
            }
            Message::Build { id, reply } => drop(reply.send(self.build(id))),
            Message::Refresh { id, reply } => self.waiters.refreshes.push((id, reply)),
            Message::Discard { id } => self.discard(id),
            Message::Live { id } => self.note([(id, ledger::Event::Whole)]),
            Message::Attach { id, source, position } => self.sources.attach(id, source, position),
            Message::Pause { id, reply } => drop(reply.send(self.pause(id))),
            Message::PositionOf { id, reply } => drop(reply.send(self.sources.position(id))),
            Message::Detach { id, reply } => drop(reply.send(self.sources.detach(id))),
            Message::Source { id, reply } => drop(reply.send(self.sources.running(id))),
            Message::Position { id, position } => self.sources.place(id, position),
            Message::Reached { id, epoch, reply } => self.waiters.reaching.push(Reaching { id, epoch, reply }),
            Message::Consistent { id, reply } => self.await_copy(id, reply),
            Message::Began { id, statement } => self.ddl.push((id, statement, self.env.clock.now())),
            Message::Ended { id } => self.ddl.retain(|(other, ..)| *other != id),
            Message::Merged(replacements) => {
                // Until a manifest tells of them nothing is merged again.
                self.housekeeping.merged(&replacements);
                self.checkpoints.merged(replacements);
            }
            Message::Collected(sparse) => self.housekeeping.collected(sparse),
            Message::Counted(counted) => self.counted(&counted),
            Message::LogRange(range) => self.refill(range),
            Message::Checkpoint(Ok(published)) => self.published(published),
            Message::Checkpoint(Err(Unmade::Unsealed { relation, cause, merged })) => {
                self.unsealed(relation, &cause, merged);
            }
            Message::Checkpoint(Err(Unmade::Store(error))) => return Err(self.lost(error)),
            Message::Confirmed(confirmed) => {
                self.checkpoints.confirmed();
                match confirmed {
                    Err(error @ (weir_storage::Error::Fenced(_) | weir_storage::Error::Lost(_))) => {
                        return Err(self.lost(error));
                    }
                    Err(error) => tracing::warn!(%error, "the store could not be asked who owns it"),
                    Ok(()) => {}
                }
            }
            Message::Locked { lock, tables, reply } => {
                let _ = reply.send(Ok((lock, self.writes.last(&tables))));
            }
        }
        Ok(())
    }

    /// The store cannot be written any more: the process must not go on.
    fn lost(&mut self, error: weir_storage::Error) -> Error {
        let error = match &error {
            weir_storage::Error::Fenced(_) => fenced(&error),
            weir_storage::Error::Lost(why) => Error::new("58030", why),
            other => Error::new("58000", format!("a checkpoint failed: {other}")),
        };
        self.progress.send_modify(|progress| progress.stopped = Some(error.clone()));
        error
    }

    fn discard(&mut self, id: RelationId) {
        self.take_down(id);
        self.ledger.forget(id);
        self.writes.forget(id);
        let dropped = || Err(Error::new("57014", "the table was dropped meanwhile"));
        self.waiters.tell(|other| (other == id).then(dropped));
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Ddl { statement, text, settings, reply } => self.jobs.spawn(statement, text, settings, reply),
            Request::Write { changes, persist, lock, reply } => {
                if let Some(error) = failed_among(&self.catalog, &self.ledger, changes.iter().map(|(id, _)| *id)) {
                    return drop(reply.send(Err(error)));
                }
                let mut bytes = 0;
                if memory::grows(&changes) {
                    bytes = memory::bytes(&changes);
                    if let Err(error) = self.memory.take(bytes) {
                        return drop(reply.send(Err(error)));
                    }
                }
                self.writes.push(Write { changes, bytes, persist, lock, reply });
            }
            Request::Lock { tables, reply } => self.lock(tables, reply),
            Request::Flush { reply } => self.flush(reply),
            Request::Inspect { reply } => drop(reply.send(self.inspect())),
        }
    }

    fn lock(&mut self, tables: Vec<RelationId>, reply: oneshot::Sender<Result<(request::Lock, Epoch)>>) {
        let mutexes = self.writes.locks(&tables);
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            let mut guards = vec![];
            for mutex in mutexes {
                guards.push(mutex.lock_owned().await);
            }
            mailbox.tell(Message::Locked { lock: request::Lock(guards), tables, reply });
        });
    }

    fn flush(&mut self, reply: oneshot::Sender<Result<Done>>) {
        self.close_epoch();
        let live = self.catalog.objects.values().filter(|o| o.life == Life::Live && o.columns().is_some());
        let relations = live.map(|o| RelationId(o.id)).collect();
        self.checkpoints.change();
        // Those that have not failed: what of them is lost meanwhile is said.
        let (epoch, tables) = (self.epochs.closed(), self.ledger.tables().collect());
        self.waiters.written.push(Written { epoch, relations, durable: true, lock: None, tables, reply });
    }

    fn inspect(&self) -> Inspection {
        let relations = self.ledger.entries().filter_map(|(id, entry)| self.facts(id, entry)).collect();
        let resting =
            self.catalog.objects.keys().filter_map(|id| Some((*id, self.jobs.displaced(&self.catalog, *id)?)));
        let resting = resting.map(|(id, reason)| (id, Status::displaced(reason, REMEDY)));
        Inspection {
            sources: self.sources.statuses().chain(resting).collect(),
            ddl: self.ddl.iter().map(|(id, text, at)| (text.clone(), *id, self.job_progress(*id), *at)).collect(),
            checkpoints: self.checkpoints.remembered().cloned().collect(),
            relations,
        }
    }

    fn facts(&self, id: RelationId, entry: &Entry) -> Option<RelationFacts> {
        let relations = self.engine.relations();
        let (object, relation) = (self.catalog.get(id.0)?, relations.serving(id).or_else(|| relations.get(id))?);
        let upper = relation.upper();
        let status = ledger::status(entry.life(), object.life, self.lagging.is_detached(id));
        let held = self.held.get(&id).into_iter();
        Some(RelationFacts {
            id: id.0,
            status: status.into(),
            error: relation.failure().map(|failure| told(&self.catalog, id, failure).to_string()),
            epoch: upper,
            freshness_ms: self.epochs.behind(upper, self.env.clock.now()) as f64 / 1e3,
            rows: relation.rows.iter().fold(0, |sum: i64, own| sum.saturating_add(own.rows())),
            errors: relation.errors.iter().fold(0, |sum: i64, own| sum.saturating_add(own.rows())),
            state: held.flat_map(|held| held.arrangements.iter()).flatten().cloned().collect(),
        })
    }

    /// For people: how far a statement has come.
    fn job_progress(&self, id: u32) -> String {
        let copies = self.sources.statuses().flat_map(|(_, status)| status.copies);
        match copies.into_iter().find(|(table, ..)| table.0 == id) {
            Some((_, done, total)) if total > 0 => format!("{:.1}%", 100.0 * done as f64 / total.max(done) as f64),
            Some((_, done, _)) => format!("{done} rows"),
            None => match self.engine.relations().get(RelationId(id)) {
                Some(view) if !view.is_live() && !view.parents.is_empty() => {
                    format!("{:.1}%", 100.0 * view.work.share())
                }
                _ => "building".into(),
            },
        }
    }

    /// No new transactions; what was taken in gets its last checkpoint.
    async fn stop_intake(&mut self) {
        tracing::info!("shutting down: one last checkpoint");
        self.close_epoch();
        self.stopping = true;
        self.sources.stop().await;
    }

    fn is_settled(&self) -> bool {
        !self.checkpoints.is_behind() && !self.checkpoints.is_under_way()
    }
}

/// Nobody makes a further copy any more.
fn let_go() -> Error {
    Error::new("57014", "the source was paused, and what it was copying again was let go")
        .hint("Ask for the copy again when the source has been resumed.")
}

/// What `table` subscribes to, if it is of this source.
fn fed(catalog: &Catalog, table: RelationId, source: u32) -> Option<&Subscription> {
    let Body::Table(table) = &catalog.get(table.0)?.body else { return None };
    table.upstream.as_ref().filter(|(of, _)| *of == source).map(|(_, subscription)| subscription)
}

/// Of sources, by id.
type Positions = BTreeMap<u32, serde_json::Value>;

/// What tables keep whose records cannot be read, if nobody has written them: our own, and those of sources that are where they were
/// in the `last` checkpoint. They are whole for whoever can read them.
fn still(catalog: &Catalog, last: &Positions, now: &Positions) -> BTreeSet<ArrangementId> {
    let is_still = |object: &&Shared| {
        let upstream = |table: &TableBody| table.upstream.as_ref().map(|(source, _)| *source);
        matches!(&object.body, Body::Table(table) if upstream(table).is_none_or(|source| last.get(&source) == now.get(&source)))
    };
    let tables = catalog.objects.values().filter(|object| object.unread().is_some()).filter(is_still);
    tables.filter_map(|object| object.roles()).flat_map(|ids| ids.iter().copied().collect::<Vec<_>>()).collect()
}
