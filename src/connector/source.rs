//! What an upstream has to be: a [`Connector`] makes a [`Source`] of what was asked for.

use super::buffer::Buffer;
use super::changes::{Changes, RowError};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;
use weir_sql::Result;
use weir_sql::catalog::RelationId;
use weir_sql::types::Column;
use weir_storage::Env;
use weir_storage::publish::Durable;

/// A place in an upstream log where a source resumes; the connector's own JSON, opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub serde_json::Value);

/// What a source hands over when an epoch closes.
#[derive(Debug)]
pub struct Batch {
    /// Everything up to here, and nothing after it, has been handed over.
    pub position: Position,
    /// Several entries of one table are folded already: at most one per table.
    pub tables: Vec<(RelationId, Changes)>,
    pub events: Vec<Event>,
    /// Commit time of the newest transaction, microseconds since 1970-01-01 UTC.
    pub committed_at: Option<i64>,
}

/// What else became true at this position.
#[derive(Clone, Debug)]
pub enum Event {
    /// The initial copy is complete and joined with the stream: the table equals upstream at this position.
    Consistent(RelationId),
    /// This table cannot go on (dropped or changed upstream); others do. Readers get the cause.
    Stopped { table: RelationId, cause: RowError },
    /// For the log and the table's notices: "column x was added upstream and is ignored".
    Notice { table: RelationId, message: String },
}

/// A table that a source feeds, as the catalog stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub table: RelationId,
    /// Name upstream: schema and table.
    pub schema: String,
    pub name: String,
    /// Upstream identity (Postgres: oid): a dropped and re-created table is another.
    pub identity: u64,
    pub columns: Vec<Column>,
    /// Indices into `columns`; `None`: no key, full row images.
    pub key: Option<Vec<usize>>,
    /// Whether the initial copy is durably complete; else it starts again from nothing (the first changes carry `truncated`).
    pub copied: bool,
    /// More that the connector wants to remember about the table (attribute numbers, type ids); opaque.
    pub details: serde_json::Value,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Connecting,
    /// Streaming; `copying` tables are in their initial copy.
    Running {
        copying: usize,
    },
    /// A passing trouble: trying again with back-off, the position is kept.
    Retrying {
        reason: String,
    },
    /// Needs an operator: `name` like `slot_missing`, reason and remedy in words. The position is kept, views keep serving.
    Stopped {
        name: String,
        reason: String,
        remedy: String,
    },
}

#[derive(Clone, Debug)]
pub struct Status {
    pub state: State,
    /// As people write it (Postgres: `0/16B3748`); what has been handed over.
    pub position: Option<String>,
    pub upstream_position: Option<String>,
    pub acknowledged: Option<String>,
    pub lag_bytes: Option<u64>,
    /// Commit time of the newest transaction handed over, microseconds since 1970-01-01 UTC.
    pub committed_at: Option<i64>,
    pub last_error: Option<String>,
    /// What upstream keeps for this source.
    pub retained: Option<Retained>,
    /// Rows copied so far and estimated in total, per table in its initial copy.
    pub copies: Vec<(RelationId, u64, u64)>,
}

impl Status {
    /// Of a source that rests because the store is not where it was.
    pub fn displaced(reason: String, remedy: &str) -> Self {
        Self::of(State::Stopped { name: "other_place".into(), reason, remedy: remedy.into() })
    }

    /// With nothing known beside the state.
    pub fn of(state: State) -> Self {
        Self {
            state,
            position: None,
            upstream_position: None,
            acknowledged: None,
            lag_bytes: None,
            committed_at: None,
            last_error: None,
            retained: None,
            copies: vec![],
        }
    }
}

/// What upstream does not delete because this source has yet to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    pub bytes: u64,
    /// In upstream's words.
    pub status: Option<String>,
    /// Bytes until upstream gives the source up; `None`: never.
    pub left: Option<i64>,
}

/// Rows and bytes that wait to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub rows: usize,
    pub bytes: usize,
    /// The position moved, or an event waits, though no row does.
    pub moved: bool,
}

/// A running source. Its tasks wake the coordinator (the `Notify` given at start) whenever something whole is waiting.
/// It holds back (stops reading upstream) by itself while more than its limit waits, yet keeps answering keepalives.
#[async_trait]
pub trait Source: Send + Sync {
    fn waiting(&self) -> Waiting;
    /// Begins to fold elsewhere what waits, if that takes long: until it is folded it does not wait. Whether it has begun.
    fn set_aside(&self) -> bool {
        false
    }
    /// Everything whole, folded per table; `None` if nothing moved since the last take. Never blocks for long.
    fn take(&self) -> Option<Batch>;
    /// Everything up to `position` is in the manifest that `proof` stands for.
    fn acknowledge(&self, proof: &Durable, position: &Position);
    fn status(&self) -> Status;
    /// Begins to feed a table: its initial copy, then the stream.
    async fn subscribe(&self, table: Subscription) -> Result<()>;
    /// Copies a table that is fed already once more, beside what it holds; when that is complete it takes the place of the old rows in
    /// one epoch, and an [`Event::Consistent`] tells of it.
    async fn resnapshot(&self, table: RelationId) -> Result<()>;
    async fn unsubscribe(&self, table: RelationId);
    /// Ends all tasks and connections; nothing is acknowledged any more.
    async fn stop(&self);
}

/// As whom a source speaks upstream. What bears another's name there is not to be touched, be it of a source of the same name: that is
/// another Weir's, or of the store that this one is a copy of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The store's; zero: made before stores had one.
    pub store: u64,
    /// Drawn when the source is made and when it is taken over; zero likewise.
    pub token: u64,
    /// Whose place it took, by order of an operator: what that one still holds upstream may be taken from it.
    pub before: Option<u64>,
}

/// A source as the catalog stores it.
#[derive(Clone, Debug)]
pub struct Definition {
    pub id: u32,
    pub name: String,
    pub identity: Identity,
    /// Options as given, secrets in clear.
    pub options: BTreeMap<String, String>,
    /// What the connector said it wants to remember; null before the first [`Connector::check`].
    pub details: serde_json::Value,
}

/// One kind of upstream. The order of calls is `check`, then (the source is announced durably with its details) `create`,
/// then `start` at every start of the process, at the end `drop`. What changes upstream may be asked again after a crash in
/// the middle of it.
#[async_trait]
pub trait Connector: Send + Sync {
    /// As in `WITH (connector = '…')`.
    fn name(&self) -> &'static str;
    /// Names of the options whose values are secrets.
    fn secrets(&self) -> &'static [&'static str];
    /// What a source has for itself upstream: two sources of one claim would take each other's changes. Its secrets may be missing.
    fn claim(&self, source: &Definition) -> Result<String>;
    /// Checks options and server and changes nothing; all findings in one error. Returns the details to announce: what
    /// `create` is going to make upstream, so that `drop` after a crash in between takes back no less and no more.
    async fn check(&self, source: &Definition) -> Result<serde_json::Value>;
    /// Makes upstream what `details` announce, as far as it is not there yet.
    async fn create(&self, source: &Definition) -> Result<Created>;
    /// Checks a table and describes it; all findings in one error.
    async fn discover(&self, source: &Definition, wanted: &Wanted) -> Result<Discovered>;
    /// Starts reading at `start.position`. Trouble upstream is no error here: it shows in the source's state.
    async fn start(&self, source: &Definition, start: Start) -> Result<Arc<dyn Source>>;
    /// Takes back what `create` made. Always succeeds: what could not be dropped is told in notices, with the remedy.
    async fn drop(&self, source: &Definition) -> Vec<String>;
}

/// What `create` found or made upstream.
#[derive(Clone, Debug)]
pub struct Created {
    /// Where the stream begins; to be stored before `start`.
    pub position: Position,
    /// Replaces the announced details.
    pub details: serde_json::Value,
    pub notices: Vec<String>,
}

/// What a CREATE TABLE … FROM source asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub table: RelationId,
    /// As written: `public.orders` or `orders`.
    pub upstream: String,
    /// An explicit column list with its key; `None`: `(*)`.
    pub columns: Option<(Vec<Column>, Vec<usize>)>,
}

#[derive(Clone, Debug)]
pub struct Discovered {
    /// Not yet copied.
    pub subscription: Subscription,
    pub notices: Vec<String>,
}

/// What a running source is given.
pub struct Start {
    pub env: Env,
    pub position: Position,
    pub tables: Vec<Subscription>,
    /// Notified whenever something whole is waiting.
    pub wake: Arc<Notify>,
    /// Its part of the memory.
    pub buffer: Buffer,
    /// Where to spill; exists.
    pub spill: PathBuf,
}
