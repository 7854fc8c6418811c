//! Transactions of a session: reads at one pinned epoch, writes kept ([`super::kept`]) until COMMIT and then applied as one transaction.

use super::holding::Holding;
use super::kept::{self, Kept};
use super::query::bound::Bound;
use super::variable::Variables;
use crate::catalog::Object;
use crate::connector::{Bag, Changes, Fold};
use crate::coordinator::request::Lock;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::memory_pool::MemoryPool;
use hashbrown::HashTable;
use pgwire::messages::response::TransactionStatus;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::Delta;
use weir_storage::delta::{own, size};
use weir_storage::key::Keys;

#[derive(Default)]
pub enum Block {
    /// Between statements outside of a block.
    #[default]
    Idle,
    /// Statements sent together without BEGIN: end with the message, or at Sync.
    Implicit(Transaction),
    /// Between BEGIN and COMMIT.
    Explicit(Transaction),
    /// A statement of the block failed: everything is ignored until it ends.
    Failed(Transaction),
}

impl Block {
    pub fn status(&self) -> TransactionStatus {
        match self {
            Block::Idle | Block::Implicit(_) => TransactionStatus::Idle,
            Block::Explicit(_) => TransactionStatus::Transaction,
            Block::Failed(_) => TransactionStatus::Error,
        }
    }

    pub fn is_explicit(&self) -> bool {
        matches!(self, Block::Explicit(_) | Block::Failed(_))
    }

    pub fn transaction(&mut self) -> Option<&mut Transaction> {
        match self {
            Block::Implicit(t) | Block::Explicit(t) => Some(t),
            Block::Idle | Block::Failed(_) => None,
        }
    }

    /// A statement failed.
    pub fn fail(&mut self) {
        *self = match std::mem::take(self) {
            Block::Idle | Block::Implicit(_) => Block::Idle,
            // ROLLBACK TO SAVEPOINT needs all of it.
            Block::Explicit(t) | Block::Failed(t) if !t.savepoints.is_empty() => Block::Failed(t),
            // Locks and pins are let go of; the variables are still needed for ROLLBACK.
            Block::Explicit(t) | Block::Failed(t) => {
                Block::Failed(Transaction { variables: t.variables, ..Transaction::default() })
            }
        };
    }
}

#[derive(Default)]
pub struct Transaction {
    /// Wall clock at its first statement: what `now()` is for all of them.
    pub started: i64,
    pub read_only: bool,
    /// What is being read, all at one epoch; pinned by the first query.
    pub bound: Option<Arc<Bound>>,
    /// As they were at BEGIN: ROLLBACK brings them back.
    pub variables: Variables,
    /// As they were before SET LOCAL: COMMIT brings these back.
    pub local: Vec<(String, String)>,
    savepoints: Vec<Savepoint>,
    room: Room,
    /// Bytes written, and those of them that are in memory.
    bytes: usize,
    here: usize,
    holding: Option<Holding>,
    writes: Vec<(RelationId, Pending)>,
    locks: Vec<Lock>,
    locked: HashSet<RelationId>,
}

impl Transaction {
    pub fn new(started: i64, read_only: bool, room: Room) -> Self {
        let holding = room.pool.as_ref().map(|pool| Holding::new(pool, "The rows of a transaction", UNCOUNTED));
        Self { started, read_only, room, holding, ..Self::default() }
    }

    pub fn wrote(&self, table: RelationId) -> bool {
        self.writes.iter().any(|(id, _)| *id == table)
    }

    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    pub fn is_locked(&self, table: RelationId) -> bool {
        self.locked.contains(&table)
    }

    pub fn holds_locks(&self) -> bool {
        !self.locks.is_empty()
    }

    pub fn lock(&mut self, tables: &[RelationId], lock: Lock) {
        self.locked.extend(tables);
        self.locks.push(lock);
    }

    /// Rows written so far.
    pub fn written(&self) -> usize {
        self.writes.iter().map(|(_, pending)| pending.rows).sum()
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what a statement does to `table`.
    pub fn write(&mut self, table: &Object, change: Change) -> Result<()> {
        let (kind, rows) = match change {
            Change::Put(rows) => (Kind::Put, rows),
            Change::Remove(rows) => (Kind::Remove, rows),
            Change::Truncate => (Kind::Truncate, RecordBatch::new_empty(SchemaRef::new(Schema::empty()))),
        };
        let rows = own(rows).map_err(|e| Error::internal(e.to_string()))?;
        let bytes = size(&rows);
        (self.bytes, self.here) = (self.bytes + bytes, self.here + bytes);
        if self.bytes > self.room.most {
            return Err(Error::new("53200", format!("a transaction can write at most {} bytes", self.room.most))
                .detail("What it writes has to fit into memory when it is committed.")
                .hint("Write fewer rows at once."));
        }
        let id = RelationId(table.id);
        let position = self.writes.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
            self.writes.push((id, Pending::new(table)));
            self.writes.len() - 1
        });
        let pending = &mut self.writes[position].1;
        pending.rows += rows.num_rows();
        pending.changes.push((kind, Kept::Here(rows)));
        let is_much = self.here > self.room.here || self.hold().is_err();
        if is_much { self.spill() } else { Ok(()) }
    }

    /// What is in memory, as far as there is room for it.
    fn hold(&self) -> Result<()> {
        self.holding.as_ref().map_or(Ok(()), |holding| holding.set(self.here))
    }

    fn spill(&mut self) -> Result<()> {
        let Some(folder) = &self.room.folder else { return Ok(()) };
        for (_, pending) in &mut self.writes {
            // Rows that are removed have columns of their own.
            for wanted in [Kind::Put, Kind::Remove] {
                let of = pending.changes.iter_mut().filter(|(kind, _)| *kind == wanted);
                kept::spill(folder, of.map(|(_, kept)| kept))?;
            }
        }
        self.here = 0;
        self.hold()
    }

    /// A point to come back to. `variables`: as they are now.
    pub fn save(&mut self, name: String, variables: Variables) {
        let writes = self.writes.iter().map(|(_, pending)| pending.changes.len()).collect();
        self.savepoints.push(Savepoint { name, variables, local: self.local.len(), writes });
    }

    /// Forgets the last savepoint of that name and those after it.
    pub fn release(&mut self, name: &str) -> Result<()> {
        let index = self.savepoint(name)?;
        self.savepoints.truncate(index);
        Ok(())
    }

    /// Undoes what was written since; the savepoint stays. Locks stay too. Returns the variables as they were.
    pub fn roll_back_to(&mut self, name: &str) -> Result<Variables> {
        let index = self.savepoint(name)?;
        self.savepoints.truncate(index + 1);
        let Savepoint { variables, local, writes, .. } = &self.savepoints[index];
        self.local.truncate(*local);
        self.writes.truncate(writes.len());
        for ((_, pending), changes) in self.writes.iter_mut().zip(writes) {
            pending.changes.truncate(*changes);
        }
        let variables = variables.clone();
        self.here = self.writes.iter().flat_map(|(_, pending)| &pending.changes).map(|(_, kept)| kept.bytes()).sum();
        self.hold()?;
        Ok(variables)
    }

    fn savepoint(&self, name: &str) -> Result<usize> {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        found.ok_or_else(|| Error::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// Everything written, one entry per table, and the right to write it.
    pub fn finish(&mut self) -> Result<Finished> {
        let changes =
            self.writes.drain(..).map(|(id, pending)| Ok((id, pending.fold()?))).collect::<Result<Vec<_>>>()?;
        let guards: Vec<_> = self.locks.drain(..).flat_map(|lock| lock.0).collect();
        self.locked.clear();
        Ok((changes, (!guards.is_empty()).then_some(Lock(guards))))
    }
}

struct Savepoint {
    name: String,
    variables: Variables,
    /// How many there were.
    local: usize,
    /// How many changes each table written so far had.
    writes: Vec<usize>,
}

/// What a block wrote to each table, and the right to write them.
pub type Finished = (Vec<(RelationId, Changes)>, Option<Lock>);

/// How much a transaction may write.
#[derive(Clone)]
pub struct Room {
    /// Bytes in memory before rows go to `folder`.
    pub here: usize,
    /// Bytes in all.
    pub most: usize,
    pub folder: Option<PathBuf>,
    /// From which what is in memory is reserved.
    pub pool: Option<Arc<dyn MemoryPool>>,
}

/// Bytes of a transaction that are in memory whatever others hold.
const UNCOUNTED: usize = 64 << 10;

/// As much as one likes.
impl Default for Room {
    fn default() -> Self {
        Self { here: usize::MAX, most: usize::MAX, folder: None, pool: None }
    }
}

/// What one statement does to one table.
pub enum Change {
    /// Rows in the table's schema. A keyed table overwrites, another one adds.
    Put(RecordBatch),
    /// Of a keyed table: the key columns in key order. Of another: whole rows.
    Remove(RecordBatch),
    Truncate,
}

struct Pending {
    /// Empty: a table without a key.
    key: Vec<usize>,
    /// In the order in which they were made.
    changes: Vec<(Kind, Kept)>,
    /// Rows in them, also in those that were undone.
    rows: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Remove,
    Truncate,
}

impl Pending {
    fn new(table: &Object) -> Self {
        Self { key: table.key().unwrap_or_default().to_vec(), changes: vec![], rows: 0 }
    }

    fn fold(self) -> Result<Changes> {
        let last = self.changes.iter().rposition(|(kind, _)| *kind == Kind::Truncate);
        let truncated = last.is_some();
        let changes = &self.changes[last.map_or(0, |i| i + 1)..];
        if self.key.is_empty() {
            let delta =
                |(kind, kept): &(Kind, Kept)| Ok(Delta::uniform(kept.rows()?, if *kind == Kind::Put { 1 } else { -1 }));
            let rows: Vec<Delta> = changes.iter().map(delta).collect::<Result<_>>()?;
            let rows = rows.into_iter().filter(|delta| !delta.is_empty()).collect();
            return Ok(Changes::Bag(Bag { truncated, rows, failed: vec![] }));
        }
        let (upserts, deletes) = last_per_key(changes, &self.key)?;
        Ok(Changes::Keyed(Fold { truncated, upserts, deletes, partial: vec![], failed: vec![] }))
    }
}

/// Of all changes of one key the last one counts. Keys are the same if their hashes of 128 bits are, as everywhere.
fn last_per_key(changes: &[(Kind, Kept)], key: &[usize]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
    let own_key: Vec<usize> = (0..key.len()).collect();
    let mut seen: HashTable<u128> = HashTable::new();
    let (mut upserts, mut deletes) = (vec![], vec![]);
    for (kind, kept) in changes.iter().rev() {
        let rows = kept.rows()?;
        let (columns, to) = match kind {
            Kind::Put => (key, &mut upserts),
            _ => (&own_key[..], &mut deletes),
        };
        let keys = Keys::of(&rows, columns).map_err(|e| Error::internal(e.to_string()))?;
        let mut is_last = |row: &u32| {
            let hash = xxhash_rust::xxh3::xxh3_128(keys.get(*row as usize));
            let entry = seen.entry(hash as u64, |other| *other == hash, |other| *other as u64);
            match entry {
                hashbrown::hash_table::Entry::Occupied(_) => false,
                hashbrown::hash_table::Entry::Vacant(entry) => {
                    entry.insert(hash);
                    true
                }
            }
        };
        let mut last: Vec<u32> = (0..keys.len() as u32).rev().filter(|row| is_last(row)).collect();
        last.reverse();
        if last.len() == rows.num_rows() {
            to.push(rows);
        } else if !last.is_empty() {
            let taken = arrow::compute::take_record_batch(&rows, &UInt32Array::from(last));
            to.push(taken.map_err(|e| Error::internal(e.to_string()))?);
        }
    }
    let in_order = |batches: Vec<RecordBatch>| batches.into_iter().rev().filter(|b| b.num_rows() > 0).collect();
    Ok((in_order(upserts), in_order(deletes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Body, Life, TableBody};
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;
    use weir_sql::types::{Column, Type};

    fn table(key: Option<Vec<usize>>) -> Object {
        let column = |name: &str| Column { name: name.into(), kind: Type::Int4, nullable: true };
        let body = TableBody {
            columns: vec![column("k"), column("v")],
            key,
            arrangements: vec![],
            upstream: None,
            stopped: None,
        };
        let body = Body::Table(body);
        Object { id: 1, name: "t".into(), life: Life::Live, definition: String::new(), created_at: 0, body }
    }

    fn rows(columns: &[&[i32]]) -> RecordBatch {
        let names = ["k", "v"];
        let columns =
            columns.iter().zip(names).map(|(c, name)| (name, Arc::new(Int32Array::from(c.to_vec())) as _, true));
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    }

    fn pairs(batches: &[RecordBatch]) -> Vec<Vec<i32>> {
        let column = |b: &RecordBatch, c: usize| b.column(c).as_primitive::<Int32Type>().values().to_vec();
        let mut all: Vec<Vec<i32>> = batches
            .iter()
            .flat_map(|b| {
                (0..b.num_rows()).map(|r| (0..b.num_columns()).map(|c| column(b, c)[r]).collect()).collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all
    }

    fn folded(key: Option<Vec<usize>>, changes: Vec<Change>) -> Changes {
        let table = table(key);
        let mut transaction = Transaction::default();
        changes.into_iter().for_each(|change| transaction.write(&table, change).expect("room"));
        let (mut changes, lock) = transaction.finish().expect("folds");
        assert!(lock.is_none() && changes.len() == 1);
        changes.remove(0).1
    }

    #[test]
    fn the_last_change_of_a_key_wins() {
        let changes = vec![
            Change::Put(rows(&[&[1, 2, 1], &[10, 20, 11]])),
            Change::Remove(rows(&[&[2]])),
            Change::Put(rows(&[&[3], &[30]])),
        ];
        let Changes::Keyed(fold) = folded(Some(vec![0]), changes) else { panic!("keyed") };
        assert_eq!(pairs(&fold.upserts), [[1, 11], [3, 30]]);
        assert_eq!(pairs(&fold.deletes), [[2]]);
    }

    #[test]
    fn a_truncate_forgets_what_came_before() {
        let changes = vec![Change::Put(rows(&[&[1], &[1]])), Change::Truncate, Change::Put(rows(&[&[2], &[2]]))];
        let Changes::Keyed(fold) = folded(Some(vec![0]), changes) else { panic!("keyed") };
        assert!(fold.truncated);
        assert_eq!(pairs(&fold.upserts), [[2, 2]]);
    }

    #[test]
    fn a_table_without_a_key_adds_and_removes_rows() {
        let changes = vec![Change::Put(rows(&[&[1, 1], &[1, 1]])), Change::Remove(rows(&[&[5], &[5]]))];
        let Changes::Bag(bag) = folded(None, changes) else { panic!("bag") };
        let weights: Vec<Vec<i64>> = bag.rows.iter().map(|d| d.weights().to_vec()).collect();
        assert_eq!(weights, [vec![1, 1], vec![-1]]);
    }

    #[test]
    fn what_was_written_after_a_savepoint_can_be_undone() {
        let table = table(Some(vec![0]));
        let mut transaction = Transaction::default();
        transaction.write(&table, Change::Put(rows(&[&[1], &[10]]))).expect("room");
        transaction.save("a".into(), Variables::default());
        transaction.write(&table, Change::Put(rows(&[&[2], &[20]]))).expect("room");
        transaction.save("b".into(), Variables::default());
        transaction.write(&table, Change::Remove(rows(&[&[1]]))).expect("room");
        transaction.roll_back_to("b").expect("there is b");
        transaction.roll_back_to("a").expect("there is a");
        assert_eq!(transaction.roll_back_to("b").expect_err("b is gone").sqlstate, "3B001");
        let mut block = Block::Explicit(transaction);
        block.fail();
        let Block::Failed(mut transaction) = block else { panic!("failed") };
        transaction.roll_back_to("a").expect("a outlives a failed statement");
        transaction.write(&table, Change::Put(rows(&[&[3], &[30]]))).expect("room");
        transaction.release("a").expect("a is still there");
        let Changes::Keyed(fold) = transaction.finish().expect("folds").0.remove(0).1 else { panic!("keyed") };
        assert_eq!(pairs(&fold.upserts), [[1, 10], [3, 30]]);
        assert!(fold.deletes.is_empty());
    }

    #[test]
    fn what_is_too_much_for_memory_is_spilled_and_committed_like_the_rest() {
        let table = table(Some(vec![0]));
        let folder = tempfile::tempdir().expect("a folder");
        let room = Room { here: 1, most: 1000, folder: Some(folder.path().to_path_buf()), pool: None };
        let mut transaction = Transaction::new(0, false, room);
        transaction.write(&table, Change::Put(rows(&[&[1, 2], &[10, 20]]))).expect("room");
        transaction.write(&table, Change::Remove(rows(&[&[1]]))).expect("room");
        transaction.write(&table, Change::Put(rows(&[&[2, 3], &[21, 30]]))).expect("room");
        assert_eq!(transaction.here, 0);
        let Changes::Keyed(fold) = transaction.finish().expect("folds").0.remove(0).1 else { panic!("keyed") };
        assert_eq!((pairs(&fold.upserts), pairs(&fold.deletes)), (vec![vec![2, 21], vec![3, 30]], vec![vec![1]]));
        let many: Vec<i32> = (0..1000).collect();
        let refused = transaction.write(&table, Change::Put(rows(&[&many, &many]))).expect_err("too much");
        assert_eq!(refused.sqlstate, "53200");
    }

    #[test]
    fn a_failed_statement_ends_what_is_implicit_and_poisons_what_is_not() {
        let mut block = Block::Implicit(Transaction::default());
        block.fail();
        assert!(matches!(block, Block::Idle));
        let mut block = Block::Explicit(Transaction::default());
        block.fail();
        assert_eq!(block.status(), TransactionStatus::Error);
    }
}
