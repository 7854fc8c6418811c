//! The connector to the scripted Postgres: the real rules of reading (`feed`, `fold`, what a slot must be able to serve, what a failure
//! means), driven by simulated tasks where the product has threads and sockets.
//!
//! Every step towards upstream waits on the node's clock first, and so goes through its gate.

use super::time::Dice;
use super::upstream::{COLUMNS, TABLES, Upstream, is_keyed, name};
use async_trait::async_trait;
use std::cell::RefCell;
use std::iter::empty;
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempDir;
use tokio::sync::Notify;
use weir::connector::backlog::spill;
use weir::connector::postgres::aside::{Aside, AtOnce, Next};
use weir::connector::postgres::decode;
use weir::connector::postgres::error::{Result as Tried, Verdict};
use weir::connector::postgres::feed::{Attempt, Feed, Taken};
use weir::connector::postgres::log::Log;
use weir::connector::postgres::lsn::{Lsn, Place};
use weir::connector::postgres::stream::{can_serve, same_log};
use weir::connector::postgres::table_schema::{Attribute, Details};
use weir::connector::segment::Op;
use weir::connector::{
    Batch, Connector, Created, Definition, Discovered, Position, Source, Start, State, Status, Subscription, Waiting,
    Wanted,
};
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_sql::{Error, Result};
use weir_storage::Env;
use weir_storage::publish::Durable;

/// `connector = 'scripted'`
pub struct Scripted {
    /// Of a store that lies beside the one whose source this is.
    is_aside: bool,
}

pub static HOME: &[&dyn Connector] = &[&Scripted { is_aside: false }];
pub static ASIDE: &[&dyn Connector] = &[&Scripted { is_aside: true }];

type Server = (Arc<Upstream>, Arc<Dice>);

thread_local! {
    /// A simulation has its thread for itself.
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Sets what sources of this thread connect to.
pub fn serve(upstream: &Arc<Upstream>, dice: &Arc<Dice>) {
    SERVER.set(Some((upstream.clone(), dice.clone())));
}

fn server() -> Server {
    SERVER.with_borrow(Clone::clone).expect("a simulation runs in this thread")
}

impl Scripted {
    fn touch(&self, source: &Definition, what: &str) {
        server().0.touched(source.identity.token, self.is_aside, what);
    }
}

#[async_trait]
impl Connector for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn secrets(&self) -> &'static [&'static str] {
        &[]
    }

    fn claim(&self, _source: &Definition) -> Result<String> {
        Ok("the only slot".into())
    }

    async fn check(&self, _source: &Definition) -> Result<serde_json::Value> {
        Ok(serde_json::json!({}))
    }

    async fn create(&self, source: &Definition) -> Result<Created> {
        self.touch(source, "made something");
        let (upstream, _) = server();
        let lsn = upstream.create_slot().map_err(|failure| failure.error())?;
        let server = upstream.identify().map_err(|failure| failure.error())?;
        upstream.set_source(source.id);
        Ok(Created {
            position: Place { lsn, ..server }.position(),
            details: serde_json::json!({ "made": true }),
            notices: vec![],
        })
    }

    async fn discover(&self, _source: &Definition, wanted: &Wanted) -> Result<Discovered> {
        let table = TABLES.into_iter().find(|table| wanted.upstream == format!("public.{}", name(*table)));
        let table = table.ok_or_else(|| Error::undefined_relation(&wanted.upstream))?;
        let kind = |kind| if kind == 20 { Type::Int8 } else { Type::Text };
        let column =
            |(name, of): &(&str, u32)| Column { name: (*name).into(), kind: kind(*of), nullable: *name != "id" };
        let attribute = |(number, (_, kind)): (usize, &(&str, u32))| Attribute {
            number: number as i16 + 1,
            kind: *kind,
            modifier: -1,
        };
        let details = Details { columns: COLUMNS.iter().enumerate().map(attribute).collect(), others: vec![] };
        let subscription = Subscription {
            table: wanted.table,
            schema: "public".into(),
            name: name(table).into(),
            identity: table.into(),
            columns: COLUMNS.iter().map(column).collect(),
            key: is_keyed(table).then(|| vec![0]),
            copied: false,
            details: serde_json::to_value(details).expect("plain data"),
        };
        Ok(Discovered { subscription, notices: vec![] })
    }

    async fn start(&self, source: &Definition, start: Start) -> Result<Arc<dyn Source>> {
        self.touch(source, "read");
        let (upstream, dice) = server();
        let place = Place::of(&start.position)?;
        let few = AtOnce { rows: dice.below(3) as usize, bytes: usize::MAX };
        let at_once = if dice.once_in(2) { few } else { AtOnce::default() };
        let most = [0, 300, usize::MAX][dice.below(3) as usize];
        let reading = Arc::new(Reading {
            wake: start.wake,
            upstream,
            dice,
            feed: Mutex::new(Feed::new(place, start.env.limits)),
            env: start.env,
            aside: Aside::new(at_once),
            most,
            folder: tempfile::tempdir().expect("a folder"),
            acknowledged: Mutex::default(),
            state: Mutex::new(State::Connecting),
            ended: Mutex::default(),
        });
        for table in start.tables {
            let attempt = reading.feed().subscribe(table)?;
            attempt.into_iter().for_each(|attempt| reading.copy(attempt));
        }
        tokio::spawn(reading.clone().stream());
        Ok(Arc::new(Running(reading)))
    }

    async fn drop(&self, source: &Definition) -> Vec<String> {
        self.touch(source, "dropped something");
        let dropped = server().0.drop_slot();
        dropped.is_err().then(|| "the slot could not be dropped".into()).into_iter().collect()
    }
}

struct Running(Arc<Reading>);

impl Running {
    fn fold_aside(&self, taken: Taken) {
        let reading = self.0.clone();
        tokio::spawn(async move {
            reading.travel().await;
            let (place, waiting) = (taken.place.lsn, taken.waiting());
            reading.aside.folded(reading.fold(taken), place, waiting);
            reading.wake.notify_one();
        });
    }
}

struct Reading {
    env: Env,
    wake: Arc<Notify>,
    upstream: Arc<Upstream>,
    dice: Arc<Dice>,
    feed: Mutex<Feed>,
    aside: Aside,
    /// Bytes in memory that cannot be taken yet.
    most: usize,
    folder: TempDir,
    acknowledged: Mutex<Lsn>,
    state: Mutex<State>,
    ended: Mutex<bool>,
}

impl Reading {
    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap()
    }

    fn ended(&self) -> bool {
        *self.ended.lock().unwrap()
    }

    fn copy(self: &Arc<Self>, attempt: Attempt) {
        tokio::spawn(self.clone().copy_until_done(attempt));
    }

    fn fold(&self, taken: Taken) -> Batch {
        let halt = |table| {
            self.feed().halt(table);
        };
        let folded = taken.fold(self.env.limits.batch_bytes, halt);
        folded.expect("its files are there")
    }

    /// What cannot be taken yet, beyond very little.
    fn spill(&self) {
        let much = self.feed().too_much(self.most);
        if !much.is_empty() {
            spill(self.folder.path(), &much).expect("a file");
        }
    }

    /// On the way to upstream and back.
    async fn travel(&self) {
        self.env.clock.sleep(50 + self.dice.below(3000)).await;
    }

    async fn stream(self: Arc<Self>) {
        while !self.ended() {
            let failure = match self.session().await {
                Ok(()) => return,
                Err(failure) => failure,
            };
            let again = self.feed().abandon();
            again.into_iter().for_each(|attempt| self.copy(attempt));
            match failure.verdict("s") {
                Verdict::Stop(stop) => {
                    let (name, reason, remedy) = (stop.name.into(), stop.reason, stop.remedy);
                    *self.state.lock().unwrap() = State::Stopped { name, reason, remedy };
                    self.wake.notify_one();
                    return;
                }
                verdict => {
                    *self.state.lock().unwrap() = State::Retrying { reason: failure.to_string() };
                    if verdict == Verdict::Busy {
                        self.travel().await;
                        self.upstream.terminate_reader();
                    }
                }
            }
            self.env.clock.sleep(10_000 + self.dice.below(300_000)).await;
        }
    }

    /// One connection's life; ends well only with the source.
    async fn session(&self) -> Tried<()> {
        self.travel().await;
        let place = self.feed().place().clone();
        same_log(&self.upstream.identify()?, &place)?;
        let stream = self.upstream.start_replication(place.lsn)?;
        self.travel().await;
        let ended = match can_serve(self.upstream.slot()?, "s", &place) {
            Ok(()) => self.read(stream).await,
            Err(failure) => Err(failure),
        };
        self.upstream.close(stream);
        ended
    }

    async fn read(&self, stream: u64) -> Tried<()> {
        *self.state.lock().unwrap() = State::Running { copying: 0 };
        let mut told = Lsn(0);
        loop {
            self.travel().await;
            if self.ended() {
                return Ok(());
            }
            let frames = self.upstream.frames(stream)?;
            for frame in &frames {
                self.feed().frame(frame)?;
                self.spill();
            }
            if !frames.is_empty() {
                self.wake.notify_one();
            }
            let acknowledged = *self.acknowledged.lock().unwrap();
            if acknowledged > told && self.dice.once_in(2) {
                told = acknowledged;
                self.upstream.acknowledge(stream, acknowledged);
            }
            if frames.is_empty() {
                self.env.clock.sleep(self.dice.below(30_000)).await;
            }
        }
    }

    async fn copy_until_done(self: Arc<Self>, mut attempt: Attempt) {
        loop {
            match self.copy_once(attempt).await {
                _ if self.ended() => return,
                Ok(()) => return self.wake.notify_one(),
                Err(_) => {}
            }
            let Some(next) = self.feed().copy_fails(attempt) else { return };
            attempt = next;
            self.wake.notify_one();
            self.env.clock.sleep(50_000 + self.dice.below(100_000)).await;
        }
    }

    /// In the order of the real one: publish, lock, take a snapshot once whoever runs has ended, read it while the stream runs on.
    async fn copy_once(&self, attempt: Attempt) -> Tried<()> {
        let Some((table, table_schema)) = self.feed().subscription(attempt).map(|(t, s)| (t.clone(), s.clone())) else {
            return Ok(());
        };
        let oid = table.identity as u32;
        self.travel().await;
        self.upstream.publish(oid)?;
        let session = loop {
            match self.upstream.lock(oid)? {
                Some(session) => break session,
                None => self.travel().await,
            }
        };
        let _locked = Locked { upstream: &self.upstream, table: oid };
        self.travel().await;
        let running = self.upstream.running()?;
        let snapshot = loop {
            self.travel().await;
            match self.upstream.snapshot(session, oid, &running)? {
                Some(snapshot) => break snapshot,
                None if self.ended() => return Ok(()),
                None => {}
            }
        };
        self.travel().await;
        if !self.feed().copy_begins(attempt, snapshot.consistent, snapshot.rows.len() as u64) {
            return Ok(());
        }
        for rows in snapshot.rows.chunks(1 + self.dice.below(4) as usize) {
            self.travel().await;
            if self.ended() {
                return Ok(());
            }
            self.upstream.goes_on(session)?;
            let mut log = Log::new(table_schema.clone(), self.env.limits);
            for row in rows {
                let values = row.values();
                let values = values.iter().enumerate().map(|(column, value)| {
                    let value = value.as_ref().map_or(decode::Value::Null, |text| decode::Value::Text(text.as_bytes()));
                    (column as u16, value)
                });
                log.push(Op::Insert, empty(), values).expect("values of the table's types");
            }
            log.commit();
            for segment in log.take() {
                if !self.feed().copy_rows(attempt, segment, 100) {
                    return Ok(());
                }
                self.spill();
            }
            self.wake.notify_one();
            if self.dice.once_in(2) {
                self.env.clock.sleep(self.dice.below(30_000)).await;
            }
        }
        self.travel().await;
        self.feed().copy_ends(attempt);
        Ok(())
    }
}

struct Locked<'a> {
    upstream: &'a Upstream,
    table: u32,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.upstream.unlock(self.table);
    }
}

#[async_trait]
impl Source for Running {
    fn waiting(&self) -> Waiting {
        self.0.aside.waiting(|| self.0.feed().waiting())
    }

    fn set_aside(&self) -> bool {
        let taken = self.0.aside.begin(|| self.0.feed().waiting(), || self.0.feed().take());
        taken.map(|taken| self.fold_aside(taken)).is_some()
    }

    fn take(&self) -> Option<Batch> {
        match self.0.aside.take(|| self.0.feed().take()) {
            Next::Nothing => None,
            Next::Now(taken) => Some(self.0.fold(taken)),
            Next::Later(taken) => {
                self.fold_aside(taken);
                None
            }
            Next::Ready(batch, _) => Some(batch),
        }
    }

    fn acknowledge(&self, _proof: &Durable, position: &Position) {
        if !self.0.ended() {
            let mut acknowledged = self.0.acknowledged.lock().unwrap();
            *acknowledged = (*acknowledged).max(Place::of(position).expect("a place").lsn);
        }
    }

    fn status(&self) -> Status {
        Status {
            state: self.0.state.lock().unwrap().clone(),
            position: None,
            upstream_position: None,
            acknowledged: None,
            lag_bytes: None,
            committed_at: None,
            last_error: None,
            retained: None,
            copies: self.0.feed().copies(),
        }
    }

    async fn subscribe(&self, table: Subscription) -> Result<()> {
        let attempt = self.0.feed().subscribe(table)?;
        attempt.into_iter().for_each(|attempt| self.0.copy(attempt));
        Ok(())
    }

    async fn resnapshot(&self, table: RelationId) -> Result<()> {
        if self.0.ended() {
            return Err(Error::new("57014", "the source was paused or dropped meanwhile"));
        }
        let attempt = self.0.feed().resnapshot(table)?;
        self.0.copy(attempt);
        Ok(())
    }

    async fn unsubscribe(&self, table: RelationId) {
        self.0.feed().unsubscribe(table);
    }

    async fn stop(&self) {
        *self.0.ended.lock().unwrap() = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.ended.lock().unwrap() = true;
    }
}
