//! DML that waits for the next epoch, whose turn it is to change a table, and when a table was last written.

use super::request::{Done, Lock};
use crate::connector::Changes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};
use weir_sql::Result;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

/// A transaction of DML that waits for the next epoch.
pub struct Write {
    pub changes: Vec<(RelationId, Changes)>,
    /// What of them was taken in as state.
    pub bytes: u64,
    /// It is answered when a manifest has it.
    pub persist: bool,
    pub lock: Option<Lock>,
    pub reply: oneshot::Sender<Result<Done>>,
}

impl Write {
    pub fn tables(&self) -> impl Iterator<Item = RelationId> {
        self.changes.iter().map(|(id, _)| *id)
    }

    /// One without rows has to go into an epoch as well.
    fn rows(&self) -> usize {
        self.changes.iter().map(|(_, changes)| rows(changes)).sum::<usize>().max(1)
    }
}

fn rows(changes: &Changes) -> usize {
    let here: usize = match changes {
        Changes::Keyed(fold) => fold.upserts.iter().chain(&fold.deletes).map(|rows| rows.num_rows()).sum(),
        Changes::Bag(bag) => bag.rows.iter().map(|delta| delta.len()).sum(),
    };
    here + changes.spilled().iter().map(|(spilled, _)| spilled.rows()).sum::<usize>()
}

#[derive(Default)]
pub struct Writes {
    queue: VecDeque<Write>,
    /// Of all in the queue.
    rows: usize,
    last: BTreeMap<RelationId, Epoch>,
    locks: BTreeMap<RelationId, Arc<Mutex<()>>>,
}

impl Writes {
    pub fn push(&mut self, write: Write) {
        self.rows += write.rows();
        self.queue.push_back(write);
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Those that go into `epoch`, in order. Two that write the same table go into two epochs, since the second comes after the first.
    pub fn take(&mut self, epoch: Epoch) -> Vec<Write> {
        let (mut tables, mut taken) = (BTreeSet::new(), vec![]);
        while let Some(write) = self.queue.pop_front_if(|write| !write.tables().any(|id| tables.contains(&id))) {
            self.rows -= write.rows();
            tables.extend(write.tables());
            taken.push(write);
        }
        self.last.extend(tables.into_iter().map(|id| (id, epoch)));
        taken
    }

    /// Since this epoch, nobody has written `tables`.
    pub fn last(&self, tables: &[RelationId]) -> Epoch {
        tables.iter().filter_map(|id| self.last.get(id)).max().copied().unwrap_or(Epoch::ZERO)
    }

    /// What whoever changes `tables` has to hold, in the order of ids: so two statements over the same tables cannot wait for each other.
    pub fn locks(&mut self, tables: &[RelationId]) -> Vec<Arc<Mutex<()>>> {
        let tables: BTreeSet<RelationId> = tables.iter().copied().collect();
        tables.into_iter().map(|id| self.locks.entry(id).or_default().clone()).collect()
    }

    /// A table is dropped.
    pub fn forget(&mut self, table: RelationId) {
        self.locks.remove(&table);
        self.last.remove(&table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Bag;

    const A: RelationId = RelationId(1);
    const B: RelationId = RelationId(2);
    const C: RelationId = RelationId(3);

    fn write(tables: &[RelationId]) -> Write {
        let changes = tables.iter().map(|id| (*id, Changes::Bag(Bag::default()))).collect();
        Write { changes, bytes: 0, persist: true, lock: None, reply: oneshot::channel().0 }
    }

    fn epoch(raw: u64) -> Epoch {
        Epoch::from_u64(raw)
    }

    /// What waits -> which tables are written together, epoch by epoch.
    #[test]
    fn two_writes_of_a_table_go_into_two_epochs_and_none_overtakes_another() {
        for (waiting, expected) in [
            (vec![], vec![]),
            (vec![vec![A], vec![B], vec![C]], vec![vec![A, B, C]]),
            (vec![vec![A], vec![A], vec![A]], vec![vec![A], vec![A], vec![A]]),
            (vec![vec![A, B], vec![C], vec![B], vec![A]], vec![vec![A, B, C], vec![B, A]]),
            (vec![vec![A], vec![A, B], vec![B]], vec![vec![A], vec![A, B], vec![B]]),
            (vec![vec![A], vec![A], vec![C]], vec![vec![A], vec![A, C]]),
        ] {
            let mut writes = Writes::default();
            waiting.iter().for_each(|tables| writes.push(write(tables)));
            assert_eq!(writes.rows(), waiting.len(), "each makes an epoch close: {waiting:?}");
            let mut taken: Vec<Vec<RelationId>> = vec![];
            while writes.rows() > 0 {
                let at = epoch(taken.len() as u64 + 1);
                taken.push(writes.take(at).iter().flat_map(Write::tables).collect());
            }
            assert_eq!(taken, expected, "{waiting:?}");
            assert!(writes.take(epoch(9)).is_empty());
        }
    }

    #[test]
    fn whoever_changes_a_table_reads_it_as_of_the_last_write() {
        let mut writes = Writes::default();
        assert_eq!(writes.last(&[A, B]), Epoch::ZERO);
        writes.push(write(&[A]));
        writes.take(epoch(5));
        writes.push(write(&[B]));
        writes.take(epoch(7));
        for (tables, last) in [(vec![A], 5), (vec![B], 7), (vec![A, B], 7), (vec![C], 0), (vec![], 0)] {
            assert_eq!(writes.last(&tables), epoch(last), "{tables:?}");
        }
        writes.forget(B);
        assert_eq!(writes.last(&[A, B]), epoch(5));
    }

    #[test]
    fn locks_are_taken_in_one_order() {
        let mut writes = Writes::default();
        let (one, other) = (writes.locks(&[B, A, B]), writes.locks(&[A, B]));
        assert_eq!((one.len(), other.len()), (2, 2));
        assert!(one.iter().zip(&other).all(|(one, other)| Arc::ptr_eq(one, other)));
    }
}
