//! A running source, as the coordinator sees it.

use super::aside::{Aside, AtOnce, Next};
use super::blocking::blocking;
use super::client::{Client, Purpose};
use super::control;
use super::feed::{Attempt, Taken};
use super::lsn::{Lsn, Place};
use super::options::Options;
use super::shared::Shared;
use super::{snapshot, stream, watch};
use crate::connector::{Batch, Position, Source, Start, State, Status, Subscription, Waiting};
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use tracing::error;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::publish::Durable;

pub struct Running {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    aside: Arc<Aside>,
}

impl Running {
    pub fn start(options: Options, owns_publication: bool, place: Place, mut start: Start) -> Result<Self> {
        let tables = std::mem::take(&mut start.tables);
        let shared = Arc::new(Shared::new(options, owns_publication, place, start));
        let running =
            Self { shared: shared.clone(), threads: Arc::default(), aside: Arc::new(Aside::new(AtOnce::default())) };
        for table in tables {
            let attempt = shared.feed().subscribe(table)?;
            attempt.into_iter().for_each(|attempt| running.copy(attempt));
        }
        let threads = running.threads.clone();
        let reader = shared.clone();
        running.spawn("postgres-stream", move || {
            let shared = reader.clone();
            stream::run(reader, move |attempt| copy(&shared, &threads, attempt));
        });
        let watched = running.shared.clone();
        running.spawn("postgres-watch", move || watch::run(&watched));
        Ok(running)
    }

    fn copy(&self, attempt: Attempt) {
        copy(&self.shared, &self.threads, attempt);
    }

    /// Nobody waits for the end of it, and what becomes of it when the source has ended is void.
    fn fold_aside(&self, taken: Taken) {
        self.shared.make_room();
        let (shared, aside) = (self.shared.clone(), self.aside.clone());
        let work = move || {
            let (place, waiting) = (taken.place.lsn, taken.waiting());
            if let Some(batch) = fold(&shared, taken) {
                aside.folded(batch, place, waiting);
                shared.wake();
            }
        };
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name("postgres-fold".into());
        if let Err(error) = thread.spawn(move || shared.contain(work)) {
            self.shared.give_up("no_thread", &format!("the system has no room for a thread: {error}"));
        }
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        spawn(&self.shared, &self.threads, name, work);
    }
}

fn copy(shared: &Arc<Shared>, threads: &Mutex<Vec<JoinHandle<()>>>, attempt: Attempt) {
    let copied = shared.clone();
    spawn(shared, threads, "postgres-copy", move || snapshot::run(&copied, attempt));
}

fn spawn(shared: &Arc<Shared>, threads: &Mutex<Vec<JoinHandle<()>>>, name: &str, work: impl FnOnce() + Send + 'static) {
    let shared = shared.clone();
    let contained = move || shared.contain(work);
    let thread = thread::Builder::new().name(name.into()).spawn(contained).expect("the system has room for a thread");
    let mut threads = threads.lock().expect("no holder panics");
    threads.retain(|t| !t.is_finished());
    threads.push(thread);
}

/// `None`: what waited in files cannot be read, and the source has stopped.
fn fold(shared: &Shared, taken: Taken) -> Option<Batch> {
    let halt = |table| {
        shared.feed().halt(table);
    };
    let folded = taken.fold(shared.env.limits.batch_bytes, halt);
    folded.inspect_err(|error| shared.give_up("spill_unreadable", &error.to_string())).ok()
}

#[async_trait]
impl Source for Running {
    fn waiting(&self) -> Waiting {
        if self.shared.is_broken() {
            return Waiting::default();
        }
        self.aside.waiting(|| self.shared.feed().waiting())
    }

    fn set_aside(&self) -> bool {
        if self.shared.is_broken() {
            return false;
        }
        let taken = self.aside.begin(|| self.shared.feed().waiting(), || self.shared.feed().take());
        taken.map(|taken| self.fold_aside(taken)).is_some()
    }

    fn take(&self) -> Option<Batch> {
        if self.shared.is_broken() {
            return None;
        }
        match self.aside.take(|| self.shared.feed().take()) {
            Next::Nothing => None,
            Next::Now(taken) => {
                let place = taken.place.lsn;
                let batch = fold(&self.shared, taken)?;
                self.shared.taken(place);
                Some(batch)
            }
            Next::Later(taken) => {
                self.fold_aside(taken);
                None
            }
            Next::Ready(batch, place) => {
                self.shared.taken(place);
                Some(batch)
            }
        }
    }

    fn acknowledge(&self, _proof: &Durable, position: &Position) {
        match Place::of(position) {
            Ok(place) if !self.shared.ended() => self.shared.acknowledge(place.lsn),
            Ok(_) => {}
            Err(reason) => error!(%reason, "a position that is none of ours was to be acknowledged"),
        }
    }

    fn status(&self) -> Status {
        let (state, last_error) = self.shared.state();
        let (upstream, copies, committed_at) = {
            let feed = self.shared.feed();
            (feed.upstream(), feed.copies(), feed.committed_at())
        };
        let state = match state {
            State::Running { .. } => State::Running { copying: copies.len() },
            other => other,
        };
        let (handed, acknowledged) = (self.shared.handed(), self.shared.acknowledged());
        Status {
            state,
            position: Some(handed.to_string()),
            upstream_position: Some(upstream.to_string()),
            acknowledged: if acknowledged == Lsn(0) { None } else { Some(acknowledged.to_string()) },
            lag_bytes: Some(upstream.0.saturating_sub(handed.0)),
            committed_at,
            last_error,
            retained: self.shared.retained(),
            copies,
        }
    }

    async fn subscribe(&self, table: Subscription) -> Result<()> {
        let attempt = self.shared.feed().subscribe(table)?;
        attempt.into_iter().for_each(|attempt| self.copy(attempt));
        Ok(())
    }

    async fn resnapshot(&self, table: RelationId) -> Result<()> {
        if self.shared.ended() {
            return Err(Error::new("57014", "the source was paused or dropped meanwhile"));
        }
        let attempt = self.shared.feed().resnapshot(table)?;
        self.copy(attempt);
        Ok(())
    }

    async fn unsubscribe(&self, table: RelationId) {
        let Some(removed) = self.shared.feed().unsubscribe(table) else { return };
        self.shared.taken(self.shared.handed());
        let still = self.shared.feed().subscriptions().any(|s| s.identity == removed.identity);
        let shared = self.shared.clone();
        if !still && shared.owns_publication {
            // Only to spare upstream the work; if it fails, what comes is ignored.
            let _ = blocking(move || {
                let mut client = Client::connect(&shared.options, Purpose::Sql)?;
                control::unpublish(&mut client, &shared.options.publication, &removed.schema, &removed.name)
            })
            .await;
        }
    }

    async fn stop(&self) {
        self.shared.end();
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder panics"));
        let joined = blocking(move || threads.into_iter().for_each(|t| drop(t.join()))).await;
        if let Err(reason) = joined {
            error!(%reason, "threads of a source did not end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.end();
    }
}
