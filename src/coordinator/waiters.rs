//! Who waits for what: sessions for their writes, jobs for relations, for durability, and for their turn to build a view anew.

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
    /// For a table's copy or a view's backfill.
    pub consistent: Vec<(RelationId, oneshot::Sender<Result<()>>)>,
    /// For a view to be rebuilt, once no checkpoint is under way.
    pub refreshes: Vec<(RelationId, oneshot::Sender<Result<()>>)>,
}

impl Waiters {
    /// Whether somebody waits for a checkpoint of `epoch` or `edit` or later.
    pub fn want_checkpoint(&self, durable: Epoch, durable_edit: u64) -> bool {
        self.written.iter().any(|w| w.durable && w.epoch > durable)
            || self.edits.iter().any(|(edit, _)| *edit > durable_edit)
    }

    /// Answers those who wait for the copy or the backfill of relations of which there is an `answer`.
    pub fn tell(&mut self, answer: impl Fn(RelationId) -> Option<Result<()>>) {
        for (id, reply) in std::mem::take(&mut self.consistent) {
            match answer(id) {
                Some(answer) => drop(reply.send(answer)),
                None => self.consistent.push((id, reply)),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::rig::{TABLE, VIEW, epoch, relations};
    use crate::dataflow::relations::Failure;
    use std::sync::Arc;
    use tokio::sync::Mutex;
    use tokio::sync::oneshot::Receiver;
    use tokio::sync::oneshot::error::TryRecvError::Empty;

    /// A write to the table as of epoch 10.
    fn write(waiters: &mut Waiters, durable: bool, lock: Option<Lock>) -> Receiver<Result<Done>> {
        let (reply, answer) = oneshot::channel();
        let (relations, tables) = (vec![TABLE, VIEW], vec![TABLE]);
        waiters.written.push(Written { epoch: epoch(10), relations, durable, lock, tables, reply });
        answer
    }

    fn failure(of: RelationId) -> Failure {
        Failure { of, cause: Error::new("XX000", "an operator panicked") }
    }

    fn settle(waiters: &mut Waiters, relations: &Relations, durable: u64) {
        waiters.settle(relations, &Catalog::default(), epoch(durable), 0);
    }

    /// Whether it is to be durable, where the view is, and the last checkpoint -> whether it is answered.
    #[test]
    fn a_write_is_answered_when_every_view_has_it_and_a_manifest_if_it_is_to() {
        for (persist, view, durable, expected) in [
            (false, 10, 0, true),
            (false, 9, 10, false),
            (true, 10, 9, false),
            (true, 9, 10, false),
            (true, 10, 10, true),
        ] {
            let (mut waiters, relations) = (Waiters::default(), relations(10, view));
            let mut answer = write(&mut waiters, persist, None);
            assert_eq!(waiters.want_checkpoint(epoch(durable), 0), persist && durable < 10);
            settle(&mut waiters, &relations, durable);
            let done = Done { notices: vec![], epoch: epoch(10) };
            let answered = if expected { Ok(Ok(done)) } else { Err(Empty) };
            assert_eq!(answer.try_recv(), answered, "durable {persist}, view at {view}, checkpoint {durable}");
        }
    }

    #[test]
    fn a_write_waits_for_no_view_that_is_gone_or_has_failed_and_hears_of_a_table_that_has() {
        let done = Done { notices: vec![], epoch: epoch(10) };
        for gone in [true, false] {
            let (mut waiters, relations) = (Waiters::default(), relations(10, 9));
            let mut answer = write(&mut waiters, false, None);
            match gone {
                true => relations.remove(VIEW),
                false => relations.get(VIEW).expect("it is there").fail(failure(VIEW)),
            }
            settle(&mut waiters, &relations, 0);
            assert_eq!(answer.try_recv(), Ok(Ok(done.clone())), "gone: {gone}");
        }
        let (mut waiters, relations) = (Waiters::default(), relations(9, 9));
        let mut answer = write(&mut waiters, true, None);
        relations.get(TABLE).expect("it is there").fail(failure(TABLE));
        settle(&mut waiters, &relations, 0);
        let error = answer.try_recv().expect("answered").expect_err("it has failed");
        assert_eq!(error.message, "relation 1 has failed: an operator panicked");
    }

    #[test]
    fn the_next_writer_goes_on_when_the_table_has_the_rows_of_the_one_before() {
        let mutex = Arc::new(Mutex::new(()));
        let (mut waiters, relations) = (Waiters::default(), relations(9, 9));
        let lock = Lock(vec![mutex.clone().try_lock_owned().expect("it is free")]);
        let mut answer = write(&mut waiters, true, Some(lock));
        settle(&mut waiters, &relations, 0);
        assert!(mutex.try_lock().is_err());
        relations.get(TABLE).expect("it is there").reach(0, epoch(10));
        settle(&mut waiters, &relations, 0);
        assert!(mutex.try_lock().is_ok());
        assert_eq!(answer.try_recv(), Err(Empty), "the view is behind, and no manifest has it");
    }

    #[test]
    fn a_job_that_waits_for_a_relation_hears_of_it_whatever_becomes_of_it() {
        let (mut waiters, relations) = (Waiters::default(), relations(10, 9));
        let reach = |waiters: &mut Waiters, id| {
            let (reply, answer) = oneshot::channel();
            waiters.reaching.push(Reaching { id, epoch: epoch(10), reply });
            answer
        };
        let mut answers = [TABLE, VIEW, VIEW, RelationId(9)].map(|id| reach(&mut waiters, id));
        settle(&mut waiters, &relations, 0);
        assert_eq!(answers[0].try_recv(), Ok(Ok(())));
        assert_eq!(answers[1].try_recv(), Err(Empty));
        let error = answers[3].try_recv().expect("answered").expect_err("there is no such relation");
        assert_eq!(error.sqlstate, "57014");
        relations.get(VIEW).expect("it is there").fail(failure(VIEW));
        settle(&mut waiters, &relations, 0);
        for answer in &mut answers[1..3] {
            let error = answer.try_recv().expect("answered").expect_err("it has failed");
            assert_eq!(error.message, "relation 2 has failed: an operator panicked");
        }
    }

    #[test]
    fn changes_of_the_catalog_are_answered_up_to_the_last_that_a_manifest_holds() {
        let mut waiters = Waiters::default();
        let mut answers = [1, 2, 3].map(|edit| {
            let (reply, answer) = oneshot::channel();
            waiters.edits.push((edit, reply));
            answer
        });
        assert!(waiters.want_checkpoint(Epoch::ZERO, 2) && !waiters.want_checkpoint(Epoch::ZERO, 3));
        waiters.settle(&relations(10, 10), &Catalog::default(), Epoch::ZERO, 2);
        assert_eq!(answers.each_mut().map(|answer| answer.try_recv()), [Ok(()), Ok(()), Err(Empty)]);
    }

    #[test]
    fn whoever_waits_for_a_copy_or_backfill_is_answered_once_there_is_an_answer() {
        let mut waiters = Waiters::default();
        let mut answers = [TABLE, VIEW, TABLE].map(|id| {
            let (reply, answer) = oneshot::channel();
            waiters.consistent.push((id, reply));
            answer
        });
        waiters.tell(|_| None);
        assert_eq!(waiters.consistent.len(), 3);
        waiters.tell(|id| (id == TABLE).then_some(Ok(())));
        assert_eq!(answers.each_mut().map(|answer| answer.try_recv()), [Ok(Ok(())), Err(Empty), Ok(Ok(()))]);
        let error = Error::new("57014", "the table was dropped meanwhile");
        waiters.tell(|id| (id == VIEW).then(|| Err(error.clone())));
        assert_eq!(answers[1].try_recv(), Ok(Err(error)));
        assert!(waiters.consistent.is_empty());
    }
}
