//! What sessions ask of the coordinator. Every answer comes by a oneshot channel; dropping the receiver of a CREATE
//! MATERIALIZED VIEW (Ctrl-C) drops the half-made view.

use crate::catalog::Catalog;
pub use crate::catalog::facts::{Checkpoint, Inspection, Progress, RelationFacts, Trouble};
use crate::connector::Changes;
use crate::dataflow::relations::Relations;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use weir_sql::Result;
use weir_sql::catalog::RelationId;
use weir_sql::session::Settings;
use weir_sql::session::shared::Sessions;
use weir_sql::statement::Statement;
use weir_storage::Epoch;
use weir_storage::history::{History, Snapshot};

/// How a session reaches the coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub requests: mpsc::Sender<Request>,
    /// The catalog as of now.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    pub progress: watch::Receiver<Progress>,
    pub relations: Relations,
    pub history: History,
    /// What planning shares: of views, which the coordinator plans, and of all other statements.
    pub sessions: Sessions,
    /// While relations are read back into memory: the manifest that has them, from which they can be read meanwhile.
    pub restoring: watch::Receiver<Option<Arc<Snapshot>>>,
}

/// The tail of a command's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// NOTICEs for the client.
    pub notices: Vec<String>,
    /// The session's later queries wait until their relations reach this epoch.
    pub epoch: Epoch,
}

pub enum Request {
    /// CREATE SOURCE | TABLE | TABLE FROM | MATERIALIZED VIEW, DROP. `text` is the statement's text for the catalog.
    Ddl { statement: Statement, text: String, settings: Settings, reply: oneshot::Sender<Result<Done>> },
    /// One transaction of DML over plain tables: applied in one epoch, atomically. UPDATE and DELETE have been evaluated by the
    /// session at `read` (an epoch returned by [`Request::Lock`]).
    Write {
        changes: Vec<(RelationId, Changes)>,
        persist: bool,
        lock: Option<Lock>,
        reply: oneshot::Sender<Result<Done>>,
    },
    /// UPDATE and DELETE of a table run one after another: waits for the table's turn and for the epoch of the writer before to
    /// be readable; returns the lock and the lowest epoch to read at.
    Lock { tables: Vec<RelationId>, reply: oneshot::Sender<Result<(Lock, Epoch)>> },
    /// Waits until everything received so far is durable and in every live view.
    Flush { reply: oneshot::Sender<Result<Done>> },
    /// For rw_catalog.
    Inspect { reply: oneshot::Sender<Inspection> },
}

/// The right to write some tables; released when dropped.
pub struct Lock(#[allow(dead_code, reason = "held for its drop")] pub Vec<tokio::sync::OwnedMutexGuard<()>>);
