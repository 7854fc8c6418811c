//! Base tables: folded upserts become exact changes, on any number of workers.

use super::{Contents, Rig, contents};
use crate::connector::spilled::spill;
use crate::connector::{Bag, Changes, FailedRows, Fold, Partial, RowError};
use crate::dataflow::blueprint::Body;
use crate::dataflow::relations::{Failure, Readable, Relations, Unreadable, Wanted};
use crate::dataflow::steps::Steps;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_storage::{Delta, Epoch, Limits};

const TABLE: RelationId = RelationId(1);

fn columns() -> Vec<Column> {
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    vec![column("id", Type::Int4, false), column("small", Type::Text, true), column("large", Type::Text, true)]
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(columns().iter().map(Column::field).collect::<Vec<_>>()))
}

fn keyed() -> Body {
    Body::Table { columns: columns(), key: Some(vec![0]) }
}

type Row = (i32, String, String);

fn rows(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.1))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.2))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn keys(ids: &[i32]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from(ids.to_vec()));
    RecordBatch::try_new(Arc::new(schema().project(&[0]).unwrap()), vec![ids]).unwrap()
}

/// Rows whose `large` column was not sent; each is stored under its origin.
fn partial(changes: &[(i32, &str, i32)]) -> Partial {
    let new: Vec<Row> = changes.iter().map(|(id, small, _)| (*id, small.to_string(), String::new())).collect();
    let unknown = BooleanBuffer::new_set(changes.len());
    let origins: Vec<i32> = changes.iter().map(|(.., origin)| *origin).collect();
    Partial { rows: rows(&new), unknown: vec![None, None, Some(unknown)], origins: keys(&origins) }
}

fn text(rows: &BTreeMap<i32, (String, String)>) -> Contents {
    rows.iter().map(|(id, (small, large))| (format!("{id}|{small}|{large}"), 1)).collect()
}

fn cause() -> RowError {
    RowError { sqlstate: "22003".into(), message: "out of range".into(), expression: "column \"small\"".into() }
}

#[test]
fn moved_rows_keep_their_unsent_values_on_three_workers() {
    for workers in [1, 3] {
        let mut rig = Rig::new(workers, Rig::first_epoch());
        let table = rig.create(1, keyed);
        let fold = Fold {
            upserts: vec![rows(&[
                (1, "a".into(), "A".into()),
                (2, "b".into(), "B".into()),
                (3, "c".into(), "C".into()),
            ])],
            ..Fold::default()
        };
        rig.close(vec![(TABLE, Changes::Keyed(fold))]);
        // A swap of 1 and 2, and 3 moved to 9, none with its large value.
        let fold = Fold {
            partial: vec![partial(&[(1, "b2", 2), (2, "a2", 1), (9, "c2", 3)])],
            deletes: vec![keys(&[3])],
            ..Fold::default()
        };
        let epoch = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
        rig.reach(&table, epoch);
        let expected = Contents::from([("1|b2|B".into(), 1), ("2|a2|A".into(), 1), ("9|c2|C".into(), 1)]);
        assert_eq!(contents(&table.rows, epoch), expected, "{workers} workers");
        assert!(contents(&table.errors, epoch).is_empty());
    }
}

#[test]
fn a_truncate_empties_every_worker_before_what_comes_after_it() {
    let mut rig = Rig::new(3, Rig::first_epoch());
    let table = rig.create(1, keyed);
    let many: Vec<Row> = (0..100).map(|id| (id, "x".into(), "y".into())).collect();
    rig.close(vec![(TABLE, Changes::Keyed(Fold { upserts: vec![rows(&many)], ..Fold::default() }))]);
    let fold = Fold { truncated: true, upserts: vec![rows(&[(5, "new".into(), "row".into())])], ..Fold::default() };
    let epoch = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
    rig.reach(&table, epoch);
    assert_eq!(contents(&table.rows, epoch), Contents::from([("5|new|row".into(), 1)]));
}

#[test]
fn an_unsent_value_that_nobody_holds_is_an_error_until_the_row_changes() {
    let mut rig = Rig::new(1, Rig::first_epoch());
    let table = rig.create(1, keyed);
    let fold = Fold { partial: vec![partial(&[(1, "a", 1)])], ..Fold::default() };
    let epoch = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
    rig.reach(&table, epoch);
    assert_eq!(contents(&table.errors, epoch).len(), 1);
    assert!(contents(&table.rows, epoch).is_empty());
    let fold = Fold { upserts: vec![rows(&[(1, "a".into(), "A".into())])], ..Fold::default() };
    let epoch = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
    rig.reach(&table, epoch);
    assert!(contents(&table.errors, epoch).is_empty());
    assert_eq!(contents(&table.rows, epoch), Contents::from([("1|a|A".into(), 1)]));
}

#[test]
fn a_table_without_a_key_counts_its_rows() {
    let mut rig = Rig::new(3, Rig::first_epoch());
    let table = rig.create(1, || Body::Table { columns: columns(), key: None });
    let row: Row = (1, "same".into(), "row".into());
    let bag = Bag { rows: vec![Delta::uniform(rows(&[row.clone(), row.clone(), row.clone()]), 1)], ..Bag::default() };
    rig.close(vec![(TABLE, Changes::Bag(bag))]);
    let bag = Bag { rows: vec![Delta::uniform(rows(&[row]), -1)], ..Bag::default() };
    let epoch = rig.close(vec![(TABLE, Changes::Bag(bag))]);
    rig.reach(&table, epoch);
    assert_eq!(contents(&table.rows, epoch), Contents::from([("1|same|row".into(), 2)]));
}

/// Rows `from..to`, `small` says which ones they are.
fn numbered(ids: std::ops::Range<i32>, small: &str) -> RecordBatch {
    rows(&ids.map(|id| (id, small.to_string(), id.to_string())).collect::<Vec<_>>())
}

#[test]
fn every_worker_takes_its_own_rows_of_those_in_files() {
    for workers in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let spilled = |batches: &[RecordBatch], weight: i64| {
            let all = spill(folder.path(), batches).unwrap();
            all.into_iter().map(|spilled| (spilled, weight)).collect::<Vec<_>>()
        };
        let mut rig = Rig::new(workers, Rig::first_epoch());
        let table = rig.create(1, keyed);
        let fold = Fold { spilled: spilled(&[numbered(0..50, "a"), numbered(50..100, "a")], 1), ..Fold::default() };
        let first = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
        // Some of them are overwritten, some go, in files and beside them.
        let gone: Vec<i32> = (10..20).collect();
        let fold = Fold {
            upserts: vec![numbered(0..5, "b")],
            deletes: vec![keys(&[99])],
            spilled: [spilled(&[numbered(5..10, "b")], 1), spilled(&[keys(&gone)], -1)].concat(),
            ..Fold::default()
        };
        let second = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
        let fold = Fold { truncated: true, spilled: spilled(&[numbered(0..3, "c")], 1), ..Fold::default() };
        let third = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
        rig.reach(&table, third);
        let is = |ids: std::ops::Range<i32>, small: &str| ids.map(|id| (format!("{id}|{small}|{id}"), 1)).collect();
        let all: Contents = is(0..100, "a");
        assert_eq!(contents(&table.rows, first), all, "{workers} workers");
        let some: [Contents; 2] = [is(0..10, "b"), is(20..99, "a")];
        assert_eq!(
            contents(&table.rows, second),
            some.into_iter().flatten().collect::<Contents>(),
            "{workers} workers"
        );
        let few: Contents = is(0..3, "c");
        assert_eq!(contents(&table.rows, third), few, "{workers} workers");
        assert!(table.errors.iter().all(|errors| errors.rows() == 0));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "what is applied is let go of");
    }
}

#[test]
fn a_table_without_a_key_takes_rows_in_files_with_their_weights() {
    for workers in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let spilled = |rows: RecordBatch, weight: i64| (spill(folder.path(), &[rows]).unwrap().remove(0), weight);
        let mut rig = Rig::new(workers, Rig::first_epoch());
        let table = rig.create(1, || Body::Table { columns: columns(), key: None });
        let bag = Bag {
            rows: vec![Delta::uniform(numbered(0..20, "a"), 1)],
            spilled: vec![spilled(numbered(0..30, "a"), 1), spilled(numbered(0..1, "a"), 1)],
            ..Bag::default()
        };
        rig.close(vec![(TABLE, Changes::Bag(bag))]);
        let bag = Bag { spilled: vec![spilled(numbered(0..25, "a"), -1)], ..Bag::default() };
        let epoch = rig.close(vec![(TABLE, Changes::Bag(bag))]);
        rig.reach(&table, epoch);
        let left = (0..30).filter_map(|id| {
            let times = 1 + i64::from(id < 20) + i64::from(id == 0) - i64::from(id < 25);
            (times > 0).then(|| (format!("{id}|a|{id}"), times))
        });
        assert_eq!(contents(&table.rows, epoch), left.collect::<Contents>(), "{workers} workers");
    }
}

/// Any folds, on one and three workers, equal the upserts applied one by one, at every epoch that is still readable.
#[test]
fn random_folds_equal_their_definition_at_every_epoch() {
    for seed in 0..60 {
        let workers = if seed % 2 == 0 { 1 } else { 3 };
        random_folds(seed, workers);
    }
}

fn random_folds(seed: u64, workers: usize) {
    println!("seed {seed}, {workers} workers");
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::new(workers, Rig::first_epoch());
    let table = rig.create(1, keyed);
    let mut model: BTreeMap<i32, (String, String)> = BTreeMap::new();
    let mut failed: BTreeMap<i32, RowError> = BTreeMap::new();
    let mut history: Vec<(Epoch, Contents, i64)> = vec![];
    for _ in 0..30 {
        let fold = random_fold(&mut random, &mut model, &mut failed);
        let epoch = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
        history.push((epoch, text(&model), failed.len() as i64));
        if random.random_bool(0.3) {
            rig.reach(&table, epoch);
        }
    }
    rig.reach(&table, rig.closed);
    for (epoch, rows, errors) in history {
        assert_eq!(contents(&table.rows, epoch), rows, "seed {seed}, epoch {epoch}");
        let found = contents(&table.errors, epoch);
        assert_eq!(found.values().sum::<i64>(), errors, "seed {seed}, epoch {epoch}: {found:?}");
    }
}

/// What a table has yet to take cannot be read from the store: were it counted as history kept for it, a large write would have the
/// table wait forever for what was released.
#[test]
fn what_feeds_a_table_is_not_kept_for_it() {
    let mut rig = Rig::new(2, Rig::first_epoch());
    let tables: Vec<_> = (1..=4).map(|id| rig.create(id, keyed)).collect();
    let many: Vec<Row> = (0..20_000).map(|id| (id, id.to_string(), "large".into())).collect();
    let fold = || Fold { upserts: vec![rows(&many)], ..Fold::default() };
    for _ in 0..3 {
        let epoch = rig.close(tables.iter().map(|table| (table.id, Changes::Keyed(fold()))).collect());
        while tables.iter().any(|table| table.upper() < epoch) {
            let over: Vec<RelationId> = rig.engine.relations().over(0).iter().map(|r| r.id).collect();
            assert_eq!(over, []);
        }
    }
}

/// One that was suspended is read as it was, and never beside something as of before that was there.
#[test]
fn nothing_is_read_as_of_before_it_was_there() {
    let mut rig = Rig::new(1, Rig::first_epoch());
    let relations = rig.engine.relations().clone();
    let old = rig.create(1, keyed);
    let fold = Fold { upserts: vec![rows(&[(1, "a".into(), "b".into())])], ..Fold::default() };
    let epoch = rig.close(vec![(TABLE, Changes::Keyed(fold))]);
    rig.reach(&old, epoch);
    relations.set_live(old.id);
    rig.engine.drop_relation(old.id);
    relations.suspend(old.clone());
    rig.close(vec![]);
    let new = rig.create(2, keyed);
    let later = rig.close(vec![]);
    rig.reach(&new, later);
    relations.set_live(new.id);
    let read =
        |ids: &[RelationId]| relations.pin(ids, Wanted { at_least: Epoch::ZERO, at_most: Epoch::NEVER, failed: false });
    assert_eq!(read(&[old.id]).ok().map(|pin| pin.epoch), Some(epoch));
    assert_eq!(read(&[new.id]).ok().map(|pin| pin.epoch), Some(later));
    for _ in 0..2 {
        assert_eq!(read(&[old.id, new.id]).err(), Some(Unreadable::NoCommonEpoch));
        relations.forget(later);
    }
}

/// An epoch costs what changes in it: what is at rest is there without its operators hearing of it, as soon as the workers are told.
#[test]
fn what_nothing_happens_to_passes_over_an_epoch() {
    let mut rig = Rig::new(2, Rig::first_epoch());
    let tables: Vec<_> = (1..=3).map(|id| rig.create(id, keyed)).collect();
    let fold = |n: i32| Fold { upserts: vec![rows(&[(n, n.to_string(), "x".into())])], ..Fold::default() };
    for n in 0..20 {
        rig.settle();
        let epoch = rig.close(vec![(tables[n as usize % 2].id, Changes::Keyed(fold(n)))]);
        rig.settle();
        assert!(tables.iter().all(|table| table.upper() == epoch));
    }
    let at = rig.closed;
    assert_eq!([10, 10, 0], [0, 1, 2].map(|table| contents(&tables[table].rows, at).len()));
}

/// What has failed on its way is at the epoch it set out from, however long ago that was, and not just before the one it never reached.
#[test]
fn one_that_failed_in_a_jump_is_read_where_the_jump_began() {
    let at = |n| Epoch::from_u64(Rig::first_epoch().as_u64() + n);
    let own = keyed().arrangements(1, Limits::default());
    own.iter().flatten().for_each(|arrangement| arrangement.advance(at(8)));
    let readable = Readable::new(TABLE, vec![], vec![], own.rows, own.errors);
    let relations = Relations::default();
    let relation = relations.insert(readable.following(Epoch::ZERO, vec![], Steps::new(at(4), Some(at(9)))));
    relations.set_live(TABLE);
    relation.reach(0, at(8));
    relation.fail(Failure { of: TABLE, cause: weir_sql::Error::internal("it was asked to") });
    relations.forget(at(20));
    let read = relations.pin(&[TABLE], Wanted { at_least: Epoch::ZERO, at_most: Epoch::NEVER, failed: true });
    assert_eq!(read.ok().map(|pin| pin.epoch), Some(at(4)));
}

fn random_fold(
    random: &mut StdRng,
    model: &mut BTreeMap<i32, (String, String)>,
    failed: &mut BTreeMap<i32, RowError>,
) -> Fold {
    let mut fold = Fold { truncated: random.random_bool(0.05), ..Fold::default() };
    if fold.truncated {
        model.clear();
        failed.clear();
    }
    let before = model.clone();
    for id in 0..12 {
        let (small, large) = (format!("s{}", random.random_range(0..100)), format!("L{}", random.random_range(0..100)));
        match random.random_range(0..10) {
            0..3 => {
                fold.upserts.push(rows(&[(id, small.clone(), large.clone())]));
                failed.remove(&id);
                model.insert(id, (small, large));
            }
            3 if before.contains_key(&id) || failed.contains_key(&id) => {
                fold.deletes.push(keys(&[id]));
                failed.remove(&id);
                model.remove(&id);
            }
            4 if !before.is_empty() && !fold.truncated => {
                let (origin, (_, large)) = before.iter().nth(random.random_range(0..before.len())).unwrap();
                fold.partial.push(partial(&[(id, &small, *origin)]));
                failed.remove(&id);
                model.insert(id, (small, large.clone()));
            }
            5 => {
                fold.failed.push(FailedRows { keys: keys(&[id]), causes: vec![cause()] });
                model.remove(&id);
                failed.insert(id, cause());
            }
            _ => {}
        }
    }
    fold
}
