//! Transactions of a session: reads at one pinned epoch, writes kept ([`super::kept`]) until COMMIT and then applied as one transaction.

use super::holding::Holding;
use super::kept::{self, Group, Kept};
use super::query::bound::Bound;
use super::variable::Variables;
use crate::catalog::Object;
use crate::connector::{Bag, Changes, Fold};
use crate::coordinator::request::Lock;
use arrow::array::{BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::memory_pool::MemoryPool;
use hashbrown::HashTable;
use pgwire::messages::response::TransactionStatus;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_sql::function::bounded;
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
            // Locks and pins are released; the variables are still needed for ROLLBACK.
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
    /// Bytes of the values that were written, and of what is in memory.
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
        // What rows are when they become a table's, whatever statement has made them.
        rows.columns().iter().try_for_each(|column| bounded(column))?;
        let rows = own(rows).map_err(|e| Error::internal(e.to_string()))?;
        self.bytes += size(&rows);
        let id = RelationId(table.id);
        let position = self.writes.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
            self.writes.push((id, Pending::new(table)));
            self.writes.len() - 1
        });
        let pending = &mut self.writes[position].1;
        pending.rows += rows.num_rows();
        let kept = Kept::Here(rows);
        self.here += kept.bytes();
        pending.changes.push((kind, kept));
        let is_much = self.here > self.room.here || self.hold().is_err();
        if is_much { self.spill() } else { Ok(()) }
    }

    /// What is in memory, as far as there is room for it.
    fn hold(&self) -> Result<()> {
        self.holding.as_ref().map_or(Ok(()), |holding| holding.set(self.here))
    }

    fn spill(&mut self) -> Result<()> {
        let Some(folder) = &self.room.folder else { return Ok(()) };
        for (index, (_, pending)) in self.writes.iter_mut().enumerate() {
            pending.put_together(self.savepoints.iter_mut().filter_map(|savepoint| savepoint.writes.get_mut(index)))?;
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
        let at_once = self.room.keys;
        let changes = self.writes.drain(..).map(|(id, pending)| Ok((id, pending.fold(at_once)?)));
        let changes = changes.collect::<Result<Vec<_>>>()?;
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

/// How much of a transaction is in memory.
#[derive(Clone)]
pub struct Room {
    /// Bytes before rows go to `folder`.
    pub here: usize,
    /// Keys that are compared at a time when it is committed.
    pub keys: usize,
    pub folder: Option<PathBuf>,
    /// From which what is in memory is reserved.
    pub pool: Option<Arc<dyn MemoryPool>>,
}

/// Bytes of a transaction that are in memory whatever others hold.
const UNCOUNTED: usize = 64 << 10;

/// As much as one likes.
impl Default for Room {
    fn default() -> Self {
        Self { here: usize::MAX, keys: usize::MAX, folder: None, pool: None }
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

impl Kind {
    /// Of its rows.
    fn weight(self) -> i64 {
        if self == Kind::Put { 1 } else { -1 }
    }
}

impl Pending {
    fn new(table: &Object) -> Self {
        Self { key: table.key().unwrap_or_default().to_vec(), changes: vec![], rows: 0 }
    }

    /// Makes few batches of many small ones. Nothing is put together across one of the `marks`, which are numbers of changes and become
    /// those that there are then.
    fn put_together<'a>(&mut self, marks: impl Iterator<Item = &'a mut usize>) -> Result<()> {
        let marks: Vec<&mut usize> = marks.collect();
        let begins: BTreeSet<usize> = marks.iter().map(|mark| **mark).collect();
        let mut groups: Vec<(Kind, Group)> = vec![];
        // So many groups there are before each change, and after all of them.
        let mut before = vec![0];
        for (index, (kind, kept)) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            let open = groups.last_mut().filter(|(of, _)| *of == kind && kind != Kind::Truncate);
            let alone = match open.filter(|_| !begins.contains(&index)) {
                Some((_, group)) => group.push(kept),
                None => Some(kept),
            };
            groups.extend(alone.map(|kept| (kind, Group::of(kept))));
            before.push(groups.len());
        }
        marks.into_iter().for_each(|mark| *mark = before[*mark]);
        let together = groups.into_iter().map(|(kind, group)| Ok((kind, group.put_together()?)));
        self.changes = together.collect::<Result<_>>()?;
        Ok(())
    }

    /// What is in a file stays there.
    fn fold(self, at_once: usize) -> Result<Changes> {
        let last = self.changes.iter().rposition(|(kind, _)| *kind == Kind::Truncate);
        let truncated = last.is_some();
        let changes = &self.changes[last.map_or(0, |i| i + 1)..];
        if self.key.is_empty() {
            let mut bag = Bag { truncated, ..Bag::default() };
            for (kind, kept) in changes.iter().filter(|(_, kept)| kept.count() > 0) {
                match kept {
                    Kept::Here(rows) => bag.rows.push(Delta::uniform(rows.clone(), kind.weight())),
                    Kept::There(spilled) => bag.spilled.push((spilled.clone(), kind.weight())),
                }
            }
            return Ok(Changes::Bag(bag));
        }
        let mut fold = Fold { truncated, ..Fold::default() };
        for ((kind, kept), last) in changes.iter().zip(last_per_key(changes, &self.key, at_once)?) {
            match kept {
                _ if last.count_set_bits() == 0 => {}
                Kept::There(spilled) => fold.spilled.push((spilled.clone().only(last), kind.weight())),
                Kept::Here(rows) => {
                    let to = if *kind == Kind::Put { &mut fold.upserts } else { &mut fold.deletes };
                    to.push(only(rows, last)?);
                }
            }
        }
        Ok(Changes::Keyed(fold))
    }
}

fn only(rows: &RecordBatch, some: BooleanBuffer) -> Result<RecordBatch> {
    if some.count_set_bits() == rows.num_rows() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, &BooleanArray::new(some, None)).map_err(|e| Error::internal(e.to_string()))
}

/// Of all changes of one key the last one counts: which rows of each. Keys are the same if their hashes of 128 bits are, as everywhere.
/// About `at_once` hashes are remembered at a time, those of a part of all keys; for every part the rows are gone through once more.
fn last_per_key(changes: &[(Kind, Kept)], key: &[usize], at_once: usize) -> Result<Vec<BooleanBuffer>> {
    let own_key: Vec<usize> = (0..key.len()).collect();
    let rows: usize = changes.iter().map(|(_, kept)| kept.count()).sum();
    let parts = rows.div_ceil(at_once).max(1) as u64;
    let none = |(_, kept): &(Kind, Kept)| {
        let mut bits = BooleanBufferBuilder::new(kept.count());
        bits.append_n(kept.count(), false);
        bits
    };
    let mut last: Vec<BooleanBufferBuilder> = changes.iter().map(none).collect();
    for part in 0..parts {
        let mut seen: HashTable<u128> = HashTable::new();
        for ((kind, kept), last) in changes.iter().zip(&mut last).rev() {
            let columns = if *kind == Kind::Put { key } else { &own_key[..] };
            let keys = Keys::of(&kept.rows()?, columns).map_err(|e| Error::internal(e.to_string()))?;
            for row in (0..keys.len()).rev() {
                let hash = xxhash_rust::xxh3::xxh3_128(keys.get(row));
                if (hash >> 64) as u64 % parts != part {
                    continue;
                }
                let entry = seen.entry(hash as u64, |other| *other == hash, |other| *other as u64);
                if let hashbrown::hash_table::Entry::Vacant(entry) = entry {
                    entry.insert(hash);
                    last.set_bit(row, true);
                }
            }
        }
    }
    Ok(last.into_iter().map(BooleanBufferBuilder::build).collect())
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

    /// Of a transaction that keeps nothing in memory, and compares so many keys at a time.
    fn spilling(folder: &tempfile::TempDir, keys: usize) -> Transaction {
        let folder = Some(folder.path().to_path_buf());
        Transaction::new(0, false, Room { here: 1, keys, folder, pool: None })
    }

    /// The rows in files that come, and those that go.
    fn read(changes: &Changes) -> [Vec<Vec<i32>>; 2] {
        let of = |sign: i64| {
            let those = changes.spilled().iter().filter(|(_, weight)| *weight == sign);
            pairs(&those.map(|(spilled, _)| spilled.read().expect("still there")).collect::<Vec<_>>())
        };
        [of(1), of(-1)]
    }

    #[test]
    fn what_is_too_much_for_memory_is_spilled_and_stays_there_when_it_is_committed() {
        for keys in [usize::MAX, 3, 1] {
            let (folder, table) = (tempfile::tempdir().expect("a folder"), table(Some(vec![0])));
            let mut transaction = spilling(&folder, keys);
            transaction.write(&table, Change::Put(rows(&[&[1, 2], &[10, 20]]))).expect("room");
            transaction.write(&table, Change::Remove(rows(&[&[1]]))).expect("room");
            transaction.write(&table, Change::Put(rows(&[&[2, 3], &[21, 30]]))).expect("room");
            assert_eq!(transaction.here, 0);
            let (_, changes) = transaction.finish().expect("folds").0.remove(0);
            assert_eq!(read(&changes), [vec![vec![2, 21], vec![3, 30]], vec![vec![1]]], "{keys} keys at a time");
            let Changes::Keyed(fold) = &changes else { panic!("keyed") };
            assert!(fold.upserts.is_empty() && fold.deletes.is_empty());
            drop(changes);
            assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
        }
    }

    #[test]
    fn rows_of_a_table_without_a_key_stay_in_files_with_their_weights() {
        let (folder, table) = (tempfile::tempdir().expect("a folder"), table(None));
        let mut transaction = spilling(&folder, usize::MAX);
        transaction.write(&table, Change::Put(rows(&[&[1], &[1]]))).expect("room");
        transaction.write(&table, Change::Truncate).expect("room");
        transaction.write(&table, Change::Put(rows(&[&[2, 2], &[2, 2]]))).expect("room");
        transaction.write(&table, Change::Remove(rows(&[&[3], &[3]]))).expect("room");
        let (_, changes) = transaction.finish().expect("folds").0.remove(0);
        assert_eq!(read(&changes), [vec![vec![2, 2], vec![2, 2]], vec![vec![3, 3]]]);
        let Changes::Bag(bag) = changes else { panic!("bag") };
        assert!(bag.truncated && bag.rows.is_empty());
    }

    #[test]
    fn small_batches_are_put_together_but_not_across_a_savepoint() {
        let (folder, table) = (tempfile::tempdir().expect("a folder"), table(Some(vec![0])));
        let mut transaction = spilling(&folder, usize::MAX);
        transaction.room.here = usize::MAX;
        let put = |transaction: &mut Transaction, keys: std::ops::Range<i32>| {
            keys.for_each(|k| transaction.write(&table, Change::Put(rows(&[&[k], &[k]]))).expect("room"));
        };
        put(&mut transaction, 0..10);
        transaction.save("a".into(), Variables::default());
        put(&mut transaction, 10..20);
        transaction.write(&table, Change::Remove(rows(&[&[5]]))).expect("room");
        transaction.save("b".into(), Variables::default());
        let in_memory = transaction.here;
        transaction.spill().expect("a folder");
        assert!(transaction.here == 0 && in_memory > 20 * 512, "batches of one row take more than their values");
        let counts = |transaction: &Transaction| {
            transaction.writes[0].1.changes.iter().map(|(_, kept)| kept.count()).collect::<Vec<_>>()
        };
        assert_eq!(counts(&transaction), [10, 10, 1]);
        put(&mut transaction, 20..22);
        transaction.roll_back_to("b").expect("there is b");
        assert_eq!(counts(&transaction), [10, 10, 1]);
        transaction.roll_back_to("a").expect("there is a");
        let (_, changes) = transaction.finish().expect("folds").0.remove(0);
        assert_eq!(read(&changes)[0], (0..10).map(|k| vec![k, k]).collect::<Vec<_>>());
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
