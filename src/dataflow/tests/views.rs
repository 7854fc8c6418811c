//! What the product is: at every epoch a view equals its query run from scratch on its tables, rows and errors, on any number of
//! workers, created before or after its data, across restarts (I3, I8).

use super::super::engine::Most;
use super::super::engine::PART;
use super::{Contents, Rig, WHOLE, add, contents};
use crate::connector::{Changes, Fold};
use crate::dataflow::blueprint::{Blueprint, Body};
use crate::dataflow::engine::distribute;
use crate::dataflow::relations::Readable;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use weir_sql::catalog::{Catalog, Relation, RelationId};
use weir_sql::plan::Plan;
use weir_sql::session::Settings;
use weir_sql::statement::{Statement, parse};
use weir_sql::types::{Column, Type};
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::key::Portion;
use weir_storage::{Epoch, Generation, Limits};

const A: RelationId = RelationId(1);
const B: RelationId = RelationId(2);
const VIEW: RelationId = RelationId(10);
const OVER: RelationId = RelationId(11);

/// `id`, then a small domain with NULLs, large numbers that overflow when added up carelessly, and text.
type Row = (i32, Option<i32>, Option<i64>, Option<String>);
type Model = BTreeMap<i32, Row>;

fn columns() -> Vec<Column> {
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    vec![
        column("id", Type::Int4, false),
        column("k", Type::Int4, true),
        column("v", Type::Int8, true),
        column("s", Type::Text, true),
    ]
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(columns().iter().map(Column::field).collect::<Vec<_>>()))
}

fn batch<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.clone().map(|r| r.0).collect::<Int32Array>()),
        Arc::new(rows.clone().map(|r| r.1).collect::<Int32Array>()),
        Arc::new(rows.clone().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(rows.map(|r| r.3.as_deref()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

struct Names(Vec<Relation>);

impl Catalog for Names {
    fn relation(&self, name: &str) -> Option<Relation> {
        self.0.iter().find(|r| r.name == name).cloned()
    }

    fn by_id(&self, id: RelationId) -> Option<Relation> {
        self.0.iter().find(|r| r.id == id).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|r| r.name.clone()).collect()
    }
}

fn tables() -> Names {
    let relation = |id, name: &str| Relation { id, name: name.into(), columns: columns(), key: Some(vec![0]) };
    Names(vec![relation(A, "a"), relation(B, "b")])
}

fn read(sql: &str) -> Box<ast::Query> {
    let mut parsed = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let Statement::Query(query) = parsed.remove(0).statement else { panic!("not a query: {sql}") };
    query
}

fn plan(sql: &str, catalog: &Names) -> Plan {
    let query = read(sql);
    let state = weir_sql::session::state(&Settings::default(), None);
    weir_sql::planner::plan(&query, &[], catalog, &state).unwrap_or_else(|e| panic!("{sql}: {e}")).plan
}

/// A query over a and b that is planned once and asked of many contents.
struct Oracle {
    runtime: tokio::runtime::Runtime,
    context: SessionContext,
    tables: [Arc<MemTable>; 2],
    plan: LogicalPlan,
}

impl Oracle {
    fn new(sql: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let context = SessionContext::new_with_state(weir_sql::session::state(&Settings::default(), None));
        let tables = ["a", "b"].map(|name| {
            let table = Arc::new(MemTable::try_new(schema(), vec![vec![]]).unwrap());
            context.register_table(name, table.clone()).unwrap();
            table
        });
        let mut query = read(sql);
        weir_sql::session::prepare(&mut query).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(ast::Statement::Query(query)));
        let state = context.state();
        let plan = runtime.block_on(state.statement_to_plan(statement)).and_then(|plan| state.optimize(&plan));
        let plan = plan.unwrap_or_else(|e| panic!("{sql}: {e}"));
        Self { runtime, context, tables, plan }
    }

    /// The query's rows from scratch, or its error.
    fn ask(&self, a: &Model, b: &Model) -> Result<Contents, String> {
        let batches = self.runtime.block_on(async {
            for (table, model) in self.tables.iter().zip([a, b]) {
                *table.batches[0].write().await = vec![batch(model.values())];
            }
            let state = self.context.state();
            let physical = state.query_planner().create_physical_plan(&self.plan, &state).await?;
            collect(physical, self.context.task_ctx()).await
        });
        let mut found = Contents::new();
        for batch in batches.map_err(|e: DataFusionError| e.to_string())? {
            add(&mut found, &weir_storage::Delta::uniform(batch, 1));
        }
        Ok(found)
    }
}

/// Rows and errors of a view that was made when its tables had all their rows.
fn anew(view: &Body, a: &Model, b: &Model) -> (Contents, Contents) {
    let mut rig = Rig::new(1, Rig::first_epoch());
    let changes = [(A, a), (B, b)].map(|(id, model)| {
        rig.create(id.0, table);
        (id, Changes::Keyed(Fold { upserts: vec![batch(model.values())], ..Fold::default() }))
    });
    let epoch = rig.close(changes.into());
    let view = rig.create(VIEW.0, || view.clone());
    rig.reach(&view, epoch);
    (contents(&view.rows, epoch), contents(&view.errors, epoch))
}

fn value(random: &mut StdRng) -> &'static str {
    [
        "v",
        "k",
        "id",
        "v + k",
        "v - id",
        "k * 2",
        "v * v",
        "coalesce(k, 0)",
        "CASE WHEN k > 1 THEN v ELSE 0 END",
        "id % 3",
        "10 / k",
    ]
    .choose(random)
    .unwrap()
}

fn condition(random: &mut StdRng) -> &'static str {
    [
        "k > 1",
        "k IS NULL",
        "v < 50",
        "s = 'x'",
        "s LIKE '%y%'",
        "k IN (1, 2)",
        "NOT (k = 1)",
        "id % 2 = 0",
        "k <> 0 AND 10 / k > 3",
        "v BETWEEN 1 AND 60",
    ]
    .choose(random)
    .unwrap()
}

fn aggregate(random: &mut StdRng) -> String {
    let value = value(random);
    let call = ["count(*)", "count({})", "sum({})", "min({})", "max({})", "avg({})", "count(DISTINCT {})"]
        .choose(random)
        .unwrap();
    let call = call.replace("{}", value);
    if random.random_bool(0.2) { format!("{call} FILTER (WHERE {})", condition(random)) } else { call }
}

/// A random query of the supported set, over tables a and b.
fn query(random: &mut StdRng) -> String {
    let table = *["a", "b"].choose(random).unwrap();
    match random.random_range(0..12) {
        0 => format!("SELECT id, {} AS x FROM {table} WHERE {}", value(random), condition(random)),
        1 => format!("SELECT k, {} AS x, {} AS y FROM {table} GROUP BY k", aggregate(random), aggregate(random)),
        2 => format!("SELECT {} AS x, {} AS y FROM {table}", aggregate(random), aggregate(random)),
        3 => format!("SELECT DISTINCT k, s FROM {table} WHERE {}", condition(random)),
        4 => {
            let join = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"].choose(random).unwrap();
            let on = ["a.k = b.k", "a.id = b.id", "a.k = b.id", "a.s = b.s AND a.k = b.k"].choose(random).unwrap();
            let residual = ["", "", " AND a.v < b.v"].choose(random).unwrap();
            format!("SELECT a.id AS ai, a.v AS av, b.id AS bi, b.s AS bs FROM a {join} b ON {on}{residual}")
        }
        5 => format!(
            "SELECT id, s FROM a WHERE {}EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
            ["", "NOT "].choose(random).unwrap()
        ),
        6 => format!("SELECT id, v FROM a WHERE k IN (SELECT k FROM b WHERE {})", condition(random)),
        7 => format!("SELECT k, v FROM a UNION {}SELECT k, v FROM b", ["", "ALL "].choose(random).unwrap()),
        8 => format!(
            "WITH g AS (SELECT k, {} AS x FROM b GROUP BY k) SELECT a.id, g.x FROM a JOIN g ON a.k = g.k",
            aggregate(random)
        ),
        9 => format!("SELECT k, count(*) AS n FROM {table} GROUP BY k HAVING count(*) > 1"),
        10 => format!(
            "SELECT id, v FROM a WHERE v > (SELECT {} FROM b)",
            ["avg(v)", "min(v)", "count(*)"].choose(random).unwrap()
        ),
        _ => format!(
            "SELECT a.k, {} AS x FROM a JOIN b ON a.k = b.k GROUP BY a.k",
            ["count(*)", "sum(a.v)", "max(b.v)", "min(a.id)"].choose(random).unwrap()
        ),
    }
}

/// Random changes of one table in one epoch, applied to the model.
fn change(random: &mut StdRng, model: &mut Model) -> Fold {
    let mut fold = Fold::default();
    if random.random_bool(0.03) {
        fold.truncated = true;
        model.clear();
    }
    let (mut upserts, mut deletes) = (vec![], vec![]);
    for id in 0..10 {
        match random.random_range(0..8) {
            0 | 1 => upserts.push(row(random, id)),
            2 if model.remove(&id).is_some() => deletes.push(id),
            _ => {}
        }
    }
    model.extend(upserts.iter().map(|row| (row.0, row.clone())));
    if !upserts.is_empty() {
        fold.upserts.push(batch(upserts.iter()));
    }
    if !deletes.is_empty() {
        let ids: ArrayRef = Arc::new(Int32Array::from(deletes));
        fold.deletes.push(RecordBatch::try_new(Arc::new(schema().project(&[0]).unwrap()), vec![ids]).unwrap());
    }
    fold
}

fn row(random: &mut StdRng, id: i32) -> Row {
    let k = random.random_bool(0.85).then(|| random.random_range(0..4));
    let v = random
        .random_bool(0.85)
        .then(|| if random.random_bool(0.02) { i64::MAX - 1 } else { random.random_range(0..100) });
    let s = random.random_bool(0.85).then(|| ["x", "y", "xy", ""].choose(random).unwrap().to_string());
    (id, k, v, s)
}

struct Case {
    seed: u64,
    sql: String,
    body: Body,
    rig: Rig,
    a: Model,
    b: Model,
    oracle: Oracle,
    history: Vec<(Epoch, Model, Model)>,
}

fn table() -> Body {
    Body::Table { columns: columns(), key: Some(vec![0]) }
}

impl Case {
    fn epoch(&mut self, random: &mut StdRng) {
        let mut changes = vec![];
        for (id, model) in [(A, &mut self.a), (B, &mut self.b)] {
            if random.random_bool(0.7) {
                changes.push((id, Changes::Keyed(change(random, model))));
            }
        }
        let epoch = self.rig.close(changes);
        self.history.push((epoch, self.a.clone(), self.b.clone()));
    }

    /// Every epoch since the view exists, not only the last.
    fn check(&mut self, view: &Readable, from: Epoch) {
        self.rig.reach(view, self.rig.closed);
        for (epoch, a, b) in self.history.drain(..).filter(|(epoch, ..)| *epoch >= from) {
            let errors = contents(&view.errors, epoch);
            let at = format!("seed {}, epoch {epoch}: {}", self.seed, self.sql);
            match self.oracle.ask(&a, &b) {
                Ok(expected) => {
                    assert!(errors.is_empty(), "{at}: errors {errors:?}");
                    assert_eq!(contents(&view.rows, epoch), expected, "{at}");
                }
                Err(error) => {
                    assert!(!errors.is_empty(), "{at}: no error, but from scratch {error}");
                    // A SELECT names one error only; a view made of the same rows at once has them all.
                    let (rows, all) = anew(&self.body, &a, &b);
                    assert_eq!((contents(&view.rows, epoch), errors), (rows, all), "{at}");
                }
            }
        }
    }

    /// A new engine with another number of workers from the contents of the old one's arrangements at its last epoch.
    fn restart(
        &mut self,
        workers: usize,
        generation: u32,
        relations: &[(RelationId, Body, Roles<Vec<Arrangement>>)],
    ) -> Vec<Arc<Readable>> {
        let at = self.rig.closed;
        let rig = Rig::new(workers, at);
        let mut built = vec![];
        for (id, body, old) in relations {
            let new = body.arrangements(workers, Limits::default());
            for (placement, (old, new)) in body.placements().iter().zip(old.iter().zip(new.iter())) {
                for delta in old.iter().flat_map(|own| own.snapshot(at).unwrap().scan(None)) {
                    for (own, part) in new.iter().zip(distribute(placement, &delta.unwrap(), workers).unwrap()) {
                        own.apply(at, &part).unwrap();
                    }
                }
                new.iter().for_each(|own| own.advance(at));
            }
            built.push(rig.build(id.0, || body.clone(), new, false));
        }
        self.rig = rig;
        self.rig.closed = Generation(generation).start();
        built
    }
}

#[test]
fn views_equal_their_query_from_scratch_at_every_epoch() {
    let cases: u64 = std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let first: u64 = std::env::var("WEIR_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    for seed in first..first + cases {
        case(seed);
    }
}

fn case(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let sql = query(&mut random);
    println!("seed {seed}: {sql}");
    let workers = *[1, 3].choose(&mut random).unwrap();
    let oracle = Oracle::new(&sql);
    // Some operators do not wait for all of an epoch, or take little of it at a time.
    let limit = *[usize::MAX, 2_000, 0].choose(&mut random).unwrap();
    let rows = *[PART, 100, 1].choose(&mut random).unwrap();
    let part = Most { rows, bytes: *[usize::MAX, 300, 1].choose(&mut random).unwrap() };
    let rig = Rig::sized(workers, Rig::first_epoch(), limit, part);
    let body = Body::View(plan(&sql, &tables()));
    let mut case =
        Case { seed, sql, body: body.clone(), rig, a: Model::new(), b: Model::new(), oracle, history: vec![] };
    let mut tables_held: Vec<(RelationId, Body, Roles<Vec<Arrangement>>)> = vec![];
    for id in [A, B] {
        let arrangements = table().arrangements(case.rig.engine.workers(), Limits::TINY);
        case.rig.build(id.0, table, arrangements.clone(), true);
        tables_held.push((id, table(), arrangements));
    }
    for _ in 0..random.random_range(0..4) {
        case.epoch(&mut random);
    }
    let arrangements = body.arrangements(case.rig.engine.workers(), Limits::TINY);
    let from = case.rig.closed;
    let view = case.rig.build(VIEW.0, || body.clone(), arrangements.clone(), true);
    for _ in 0..8 {
        // What is at rest and does not change passes over an epoch.
        if random.random_bool(0.4) {
            case.rig.settle();
        }
        case.epoch(&mut random);
    }
    case.check(&view, from);
    let mut relations = tables_held;
    relations.push((VIEW, body, arrangements));
    let workers = *[1, 2, 3].choose(&mut random).unwrap();
    let built = case.restart(workers, 2, &relations);
    for n in 0..6 {
        // Nobody is at the beginning of a generation: its first epoch comes after it.
        if n > 0 && random.random_bool(0.4) {
            case.rig.settle();
        }
        case.epoch(&mut random);
    }
    case.check(&built[2], Epoch::ZERO);
}

/// Many epochs close before a slow view has taken the first: it jumps, and so does what stands on it and on a table.
#[test]
fn views_that_jump_are_exact_where_they_stop() {
    const COUNTS: &str =
        "SELECT v.n AS n, t.n AS m FROM (SELECT count(*) AS n FROM v) AS v, (SELECT count(*) AS n FROM a) AS t";
    let mut jumps = 0;
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let sql = query(&mut random);
        println!("seed {seed}: {sql}");
        let workers = *[1, 3].choose(&mut random).unwrap();
        let rig = Rig::new(workers, Rig::first_epoch()).slowed(VIEW.0, Duration::from_millis(5));
        let mut names = tables();
        let plan = plan(&sql, &names);
        let (columns, key) = (plan.root.columns.clone(), plan.key.clone());
        names.0.push(Relation { id: VIEW, name: "v".into(), columns, key });
        let over = self::plan(COUNTS, &names);
        let body = Body::View(plan);
        let (a, b, oracle) = (Model::new(), Model::new(), Oracle::new(&sql));
        let mut case = Case { seed, sql, body: body.clone(), rig, a, b, oracle, history: vec![] };
        for id in [A, B] {
            case.rig.create(id.0, table);
        }
        case.epoch(&mut random);
        let from = case.rig.closed;
        let view = case.rig.create(VIEW.0, || body.clone());
        let over = case.rig.create(OVER.0, || Body::View(over.clone()));
        for _ in 0..150 {
            case.epoch(&mut random);
            if random.random_bool(0.1) {
                case.rig.engine.relations().checkpoint_epochs.push(case.rig.closed);
            }
            if random.random_bool(0.05) {
                case.rig.reach(&view, case.rig.closed);
            }
        }
        case.rig.reach(&over, case.rig.closed);
        let all = case.history.len();
        let rows_of_a: BTreeMap<Epoch, usize> = case.history.iter().map(|(epoch, a, _)| (*epoch, a.len())).collect();
        case.history.retain(|(epoch, ..)| view.steps.stopped(*epoch) == *epoch);
        jumps += all - case.history.len();
        for (epoch, ..) in case.history.iter().filter(|(e, ..)| over.steps.stopped(*e) == *e && *e >= from) {
            let n: i64 = contents(&view.rows, *epoch).values().sum();
            let expected = Contents::from([(format!("{n}|{}", rows_of_a[epoch]), 1)]);
            assert_eq!(contents(&over.rows, *epoch), expected, "seed {seed}, epoch {epoch}: {COUNTS}");
        }
        case.check(&view, from);
    }
    assert!(jumps > 100, "views that fall behind jump: {jumps} epochs were passed over");
}

#[test]
fn a_view_over_a_view_follows_it() {
    let mut random = StdRng::seed_from_u64(7);
    let mut rig = Rig::new(2, Rig::first_epoch());
    rig.create(A.0, table);
    let mut names = tables();
    let first = plan("SELECT k, count(*) AS n, sum(v) AS total FROM a GROUP BY k", &names);
    names.0.push(Relation { id: VIEW, name: "g".into(), columns: first.root.columns.clone(), key: first.key.clone() });
    let second = plan("SELECT n, count(*) AS groups FROM g GROUP BY n", &names);
    let mut model = Model::new();
    rig.close(vec![(A, Changes::Keyed(change(&mut random, &mut model)))]);
    rig.create(VIEW.0, || Body::View(first.clone()));
    let over = rig.create(OVER.0, || Body::View(second.clone()));
    let sql = "SELECT n, count(*) AS groups FROM (SELECT k, count(*) AS n FROM a GROUP BY k) g GROUP BY n";
    let oracle = Oracle::new(sql);
    for _ in 0..20 {
        let epoch = rig.close(vec![(A, Changes::Keyed(change(&mut random, &mut model)))]);
        rig.reach(&over, epoch);
        assert_eq!(Ok(contents(&over.rows, epoch)), oracle.ask(&model, &Model::new()));
    }
}

#[test]
fn a_view_of_constants_goes_from_epoch_to_epoch() {
    let mut rig = Rig::new(2, Rig::first_epoch());
    rig.create(A.0, table);
    for (id, sql) in [(20, "SELECT 1 AS one UNION ALL SELECT 2"), (21, "SELECT id FROM a WHERE k = NULL")] {
        let body = Body::View(plan(sql, &tables()));
        let view = rig.create(id, || body.clone());
        rig.reach(&view, rig.closed);
        rig.close(vec![]);
        rig.reach(&view, rig.closed);
        let rows = if id == 20 { 2 } else { 0 };
        assert_eq!(contents(&view.rows, rig.closed).len(), rows, "{sql}");
    }
}

#[test]
fn a_dropped_view_ends_and_its_parents_go_on() {
    let mut random = StdRng::seed_from_u64(8);
    let mut rig = Rig::new(2, Rig::first_epoch());
    let a = rig.create(A.0, table);
    let view = plan("SELECT k, count(*) AS n FROM a GROUP BY k", &tables());
    rig.create(VIEW.0, || Body::View(view.clone()));
    let mut model = Model::new();
    rig.close(vec![(A, Changes::Keyed(change(&mut random, &mut model)))]);
    rig.engine.drop_relation(VIEW);
    let epoch = rig.close(vec![(A, Changes::Keyed(change(&mut random, &mut model)))]);
    rig.reach(&a, epoch);
    assert!(rig.engine.relations().get(VIEW).is_none());
}

/// Whichever piece it is: of building it, of what feeds it, of its operators, of giving memory back.
#[test]
fn a_view_that_panics_at_any_piece_of_its_work_fails_alone_and_can_be_dropped() {
    let sql = "SELECT a.k AS k, count(*) AS n, max(b.v) AS high FROM a JOIN b ON a.k = b.k GROUP BY a.k";
    let (body, oracle) = (Body::View(plan(sql, &tables())), Oracle::new(sql));
    let first = Portion::new(0, Portion::PARTS / 2);
    let rest = Portion::new(first.to(), Portion::PARTS);
    let mut failed = 0;
    for (at, workers) in (0..48).zip([1, 3].into_iter().cycle()) {
        let mut random = StdRng::seed_from_u64(at);
        let mut rig = Rig::new(workers, Rig::first_epoch()).panicking(VIEW.0, at);
        let (mut a, mut b) = (Model::new(), Model::new());
        let mut epoch = |rig: &mut Rig, a: &mut Model, b: &mut Model| {
            let (a, b) = (change(&mut random, a), change(&mut random, b));
            rig.close(vec![(A, Changes::Keyed(a)), (B, Changes::Keyed(b))])
        };
        rig.create(A.0, table);
        rig.create(B.0, table);
        let from = epoch(&mut rig, &mut a, &mut b);
        let arrangements = body.arrangements(workers, Limits::TINY);
        let blueprint = || Blueprint {
            id: VIEW,
            name: format!("r{}", VIEW.0),
            body: body.clone(),
            arrangements: arrangements.clone(),
            from,
            fresh: true,
            portion: first,
            first: None,
            failed: None,
        };
        let view = rig.engine.build(blueprint, vec![]);
        let other = rig.create(OVER.0, || body.clone());
        if rig.comes(&view, from) {
            rig.engine.backfill(VIEW, rest, from.next());
        }
        for _ in 0..4 {
            let now = epoch(&mut rig, &mut a, &mut b);
            rig.reach(&other, now);
            if rig.comes(&view, now) {
                rig.engine.compact(BTreeMap::from([(VIEW, now)]));
            }
        }
        let (now, expected) = (rig.closed, oracle.ask(&a, &b));
        assert_eq!(Ok(contents(&other.rows, now)), expected, "beside one that panics at {at}");
        if rig.comes(&view, now) {
            assert_eq!(Ok(contents(&view.rows, now)), expected, "panics at {at} at the earliest");
        }
        failed += usize::from(view.has_failed());
        rig.engine.drop_relation(VIEW);
        let again = rig.create(30, || body.clone());
        let now = epoch(&mut rig, &mut a, &mut b);
        rig.reach(&again, now);
        rig.reach(&other, now);
        assert_eq!(Ok(contents(&again.rows, now)), oracle.ask(&a, &b), "after one that panics at {at}");
    }
    assert!(failed > 24, "{failed} have failed");
}

/// One key on both sides: hundreds of times as many pairs as rows, of which no operator may wait for all.
#[test]
fn an_epoch_may_be_much_larger_than_what_may_wait() {
    let sql = "SELECT a.k, count(*) AS n, min(b.v) AS low FROM a JOIN b ON a.k = b.k GROUP BY a.k";
    let rows: Model = (0..800).map(|id| (id, (id, Some(1), Some(i64::from(id) - 5), None))).collect();
    let changes = |rows: &Model| Changes::Keyed(Fold { upserts: vec![batch(rows.values())], ..Fold::default() });
    for workers in [1, 2] {
        let mut rig = Rig::sized(workers, Rig::first_epoch(), 50_000, WHOLE);
        rig.create(A.0, table);
        rig.create(B.0, table);
        rig.close(vec![(A, changes(&rows))]);
        let body = Body::View(plan(sql, &tables()));
        let view = rig.create(VIEW.0, || body.clone());
        let all = rig.close(vec![(B, changes(&rows))]);
        let keys = Fold { deletes: vec![batch(rows.values().skip(400)).project(&[0]).unwrap()], ..Fold::default() };
        let half = rig.close(vec![(A, Changes::Keyed(keys))]);
        rig.reach(&view, half);
        let expected = |n: i32| Contents::from([(format!("1|{n}|-5"), 1)]);
        assert_eq!(contents(&view.rows, all), expected(800 * 800));
        assert_eq!(contents(&view.rows, half), expected(400 * 800));
    }
}

/// It comes between two pieces of a large epoch of its parent: what it reads of it and what follows must be all.
#[test]
fn a_view_may_come_at_any_moment_of_its_parents_epoch() {
    let rows: Model = (0..30_000).map(|id| (id, (id, Some(id % 7), None, None))).collect();
    let names = tables();
    let first = plan("SELECT k, count(*) AS n FROM a GROUP BY k", &names);
    let all = plan("SELECT id, k FROM a", &names);
    for (round, workers) in [1, 2].into_iter().cycle().take(12).enumerate() {
        let mut rig = Rig::hasty(workers, Rig::first_epoch());
        rig.create(A.0, table);
        rig.close(vec![(A, Changes::Keyed(Fold { upserts: vec![batch(rows.values())], ..Fold::default() }))]);
        let counts = rig.create(VIEW.0, || Body::View(first.clone()));
        let copy = rig.create(OVER.0, || Body::View(all.clone()));
        let keys = Fold { deletes: vec![batch(rows.values().skip(7)).project(&[0]).unwrap()], ..Fold::default() };
        let (before, after) = (rig.closed, rig.close(vec![(A, Changes::Keyed(keys))]));
        rig.reach(&counts, after);
        rig.reach(&copy, after);
        assert_eq!(contents(&copy.rows, before).values().sum::<i64>(), 30_000, "round {round}");
        assert_eq!(contents(&counts.rows, before).len(), 7, "round {round}");
        let seven: Contents = (0..7).map(|k| (format!("{k}|1"), 1)).collect();
        assert_eq!(contents(&counts.rows, after), seven, "round {round}");
    }
}
