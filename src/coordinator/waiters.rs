//! Who waits for what: sessions for their writes, jobs for relations and for durability.

use super::request::{Done, Lock};
use super::told::told;
use crate::catalog::Catalog;
use crate::dataflow::relations::Relations;
use tokio::sync::oneshot;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Epoch;

/// A write or FLUSH that waits for relations and, maybe, durability.
pub struct Written {
    pub epoch: Epoch,
    /// All that must have reached `epoch`; one that is dropped meanwhile is not waited for.
    pub relations: Vec<RelationId>,
    pub durable: bool,
    /// Released as soon as the tables written have reached the epoch, so that the next writer reads this one's rows.
    pub lock: Option<Lock>,
    pub tables: Vec<RelationId>,
    pub reply: oneshot::Sender<Result<Done>>,
}

/// A job that waits for one relation.
pub struct Reaching {
    pub id: RelationId,
    pub epoch: Epoch,
    pub reply: oneshot::Sender<Result<()>>,
}

/// Everybody who waits.
#[derive(Default)]
pub struct Waiters {
    pub written: Vec<Written>,
    pub reaching: Vec<Reaching>,
    /// Catalog changes by their number, ascending.
    pub edits: Vec<(u64, oneshot::Sender<()>)>,
}

impl Waiters {
    /// Whether somebody waits for a checkpoint of `epoch` or `edit` or later.
    pub fn want_checkpoint(&self, durable: Epoch, durable_edit: u64) -> bool {
        self.written.iter().any(|w| w.durable && w.epoch > durable)
            || self.edits.iter().any(|(edit, _)| *edit > durable_edit)
    }

    /// Answers everybody whose wait is over.
    pub fn settle(&mut self, relations: &Relations, catalog: &Catalog, durable: Epoch, durable_edit: u64) {
        let failed = |id: RelationId| {
            let relation = relations.get(id)?;
            Some(told(catalog, id, relation.failure()?))
        };
        for written in &mut self.written {
            if written.lock.is_some() && reached_all(relations, &written.tables, written.epoch) {
                written.lock = None;
            }
        }
        let is_over = |written: &mut Written| {
            let is_durable = !written.durable || written.epoch <= durable;
            let has_failed = |id: &RelationId| relations.get(*id).is_some_and(|table| table.has_failed());
            is_durable && reached_all(relations, &written.relations, written.epoch)
                || written.tables.iter().any(has_failed)
        };
        for written in self.written.extract_if(.., is_over) {
            // What a table that has failed took in is not what a start finds.
            let failed = written.tables.iter().find_map(|table| failed(*table));
            let done = Done { notices: vec![], epoch: written.epoch };
            let _ = written.reply.send(failed.map_or(Ok(done), Err));
        }
        for reaching in self.reaching.extract_if(.., |r| has_reached(relations, r.id, r.epoch)) {
            let result = match relations.get(reaching.id) {
                Some(_) => failed(reaching.id).map_or(Ok(()), Err),
                None => Err(Error::new("57014", "the relation was dropped meanwhile")),
            };
            let _ = reaching.reply.send(result);
        }
        for (_, reply) in self.edits.extract_if(.., |(edit, _)| *edit <= durable_edit) {
            let _ = reply.send(());
        }
    }
}

fn reached_all(relations: &Relations, ids: &[RelationId], epoch: Epoch) -> bool {
    ids.iter().all(|id| has_reached(relations, *id, epoch))
}

/// Also true of one that never will (I13): gone or failed.
fn has_reached(relations: &Relations, id: RelationId, epoch: Epoch) -> bool {
    relations.get(id).is_none_or(|r| r.upper() >= epoch || r.has_failed())
}
