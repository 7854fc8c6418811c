//! What jobs beside the loop tell it. The loop alone changes the catalog, the engine and the set of sources.

use super::checkpoint::{Published, Unmade};
use super::replacement::Replacement;
use crate::catalog::Catalog;
use crate::connector::{Position, Source};
use crate::dataflow::blueprint::Log;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::gc::Sparse;

/// A change of the catalog.
pub type Edit = Box<dyn FnOnce(&mut Catalog) + Send>;

/// When whoever changes the catalog is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// Everybody who asks is told of the change. A crash may undo it, with all that was done since.
    Known,
    /// The change is in a manifest.
    Durable,
}

/// Bytes of state, by relation.
pub type Counted = BTreeMap<RelationId, u64>;

/// A range of its parents' change logs that a detached view is given, per worker.
pub struct LogRange {
    pub id: RelationId,
    pub to: Epoch,
    pub logs: weir_storage::Result<Vec<Log>>,
}

pub enum Message {
    /// Changes the catalog.
    Edit {
        edit: Edit,
        once: Once,
        reply: oneshot::Sender<()>,
    },
    /// Builds a relation that is in the catalog and not being dropped; answered with the epoch it starts from.
    Build {
        id: RelationId,
        reply: oneshot::Sender<Result<Epoch>>,
    },
    /// Builds a view anew, with all that read it; answered when that has begun.
    Refresh {
        id: RelationId,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Ends a relation's dataflow.
    Discard {
        id: RelationId,
    },
    /// The relation is readable by name from now on.
    Live {
        id: RelationId,
    },
    Attach {
        id: u32,
        source: Arc<dyn Source>,
        position: Position,
    },
    /// The source stops where it is; its position stays.
    Pause {
        id: u32,
        reply: oneshot::Sender<Option<Arc<dyn Source>>>,
    },
    /// Where a source that does not run stands.
    PositionOf {
        id: u32,
        reply: oneshot::Sender<Option<Position>>,
    },
    Detach {
        id: u32,
        reply: oneshot::Sender<Option<Arc<dyn Source>>>,
    },
    Source {
        id: u32,
        reply: oneshot::Sender<Option<Arc<dyn Source>>>,
    },
    /// A source's position before it is started: part of the next manifest.
    Position {
        id: u32,
        position: Position,
    },
    /// Answered when the relation has reached `epoch`, or with why it never will.
    Reached {
        id: RelationId,
        epoch: Epoch,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Answered when a table's copy, or a view's backfill, is complete and readable.
    Consistent {
        id: RelationId,
        reply: oneshot::Sender<Result<()>>,
    },
    /// A DDL job began or ended, for rw_ddl_progress.
    Began {
        id: u32,
        statement: String,
    },
    Ended {
        id: u32,
    },
    Checkpoint(Result<Published, Unmade>),
    /// Runs were merged and uploaded: the next manifest names the result.
    Merged(Vec<Replacement>),
    /// Garbage was collected, and these objects stay for little of what is in them; or it could not be.
    Collected(Option<BTreeMap<String, Sparse>>),
    /// What the state of each relation takes.
    Counted(Counted),
    /// History of a view that is behind was read from the store.
    LogRange(LogRange),
    /// The store was asked whether this process still owns it.
    Confirmed(weir_storage::Result<()>),
    /// A lock and its answer were handed out: when it could be had, read at the last write.
    Locked {
        lock: super::request::Lock,
        tables: Vec<RelationId>,
        reply: oneshot::Sender<Result<(super::request::Lock, Epoch)>>,
    },
}

/// How jobs reach the loop. A loop that is gone answers 57P01.
#[derive(Clone)]
pub struct Mailbox(pub mpsc::UnboundedSender<Message>);

impl Mailbox {
    pub fn tell(&self, message: Message) {
        // The loop is gone only when the process ends.
        let _ = self.0.send(message);
    }

    pub async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(message(reply));
        answer.await.map_err(|_| Error::new("57P01", "the server is shutting down"))
    }

    /// Changes the catalog and waits until the change survives a crash.
    pub async fn edit(&self, edit: impl FnOnce(&mut Catalog) + Send + 'static) -> Result<()> {
        self.change(Once::Durable, edit).await
    }

    /// Changes the catalog and waits for the answer.
    pub async fn change(&self, once: Once, edit: impl FnOnce(&mut Catalog) + Send + 'static) -> Result<()> {
        self.ask(|reply| Message::Edit { edit: Box::new(edit), once, reply }).await
    }
}
