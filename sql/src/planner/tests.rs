//! Long and deep statements are planned in time, and what is planned is stored.

use super::*;
use crate::catalog::{Relation, RelationId};
use crate::plan::Operator;
use crate::session::Settings;
use crate::statement::{Statement, parse};
use crate::types::Type;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, col, ident};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct One;

impl Catalog for One {
    fn relation(&self, name: &str) -> Option<Relation> {
        let column = |name: &str, kind: Type, nullable| Column { name: name.into(), kind, nullable };
        let columns = vec![
            column("id", Type::Int4, false),
            column("a", Type::Int4, true),
            column("n", Type::Numeric(Some((10, 2))), true),
            column("s", Type::Text, true),
        ];
        (name == "t").then(|| Relation { id: RelationId(1), name: "t".into(), columns, key: Some(vec![0]) })
    }

    fn by_id(&self, _: RelationId) -> Option<Relation> {
        self.relation("t")
    }

    fn names(&self) -> Vec<String> {
        vec!["t".into()]
    }
}

fn planned(sql: &str) -> Result<Plan> {
    let Statement::Query(query) = parse(sql)?.remove(0).statement else { panic!("{sql}") };
    // As deep as a server's thread.
    let planning = move || plan(&query, &[], &One, &session::state(&Settings::default(), None));
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(planning).expect("a thread");
    Ok(thread.join().expect("no panic")?.plan)
}

#[test]
fn a_plan_is_the_same_whatever_was_planned_before() {
    let state = session::state(&Settings::default(), None);
    let sql =
        "SELECT id, (SELECT max(a) FROM t AS x WHERE x.a = t.id) AS top FROM t WHERE a > (SELECT avg(a) FROM t AS y)";
    let made = || {
        let Statement::Query(query) = parse(sql).unwrap().remove(0).statement else { panic!("{sql}") };
        plan(&query, &[], &One, &state).unwrap().plan
    };
    let first = made();
    let again = made();
    assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&first).unwrap());
    assert_eq!(explain(&again), explain(&first));
}

#[test]
fn what_nobody_has_named_is_called_after_what_it_is() {
    let unnamed = |number| session::names::hidden("", number);
    let table = Arc::new(context::Table::new(One.relation("t").unwrap()));
    let scan = LogicalPlanBuilder::scan("t", table, None).unwrap();
    let rows = scan.project([col("t.a").alias(unnamed(1)), col("t.s").is_null().alias(unnamed(2))]).unwrap();
    let groups = rows.aggregate([ident(unnamed(1))], [count(ident(unnamed(2)))]).unwrap().build().unwrap();
    let (root, key) = lower::lower(&groups, &["x".into(), "n".into()]).unwrap();
    let text = explain(&Plan { root, key });
    assert!(text.contains("Reduce group: [a] aggregates: [count(s IS NULL)]"), "{text}");
}

/// Statements of `count` terms, calls or parentheses.
fn long(count: usize) -> Vec<(&'static str, String)> {
    let times = |text: &str| text.repeat(count);
    vec![
        ("sum", format!("SELECT a{} FROM t", times(" + a"))),
        ("mixed sum", format!("SELECT a{} FROM t", times(" + a - n * 2"))),
        ("constants", format!("SELECT 1{}", times(" + 1"))),
        ("text", format!("SELECT s{} FROM t", times(" || s"))),
        ("text and literals", format!("SELECT s{} FROM t", times(" || ', ' || a"))),
        ("cases", format!("SELECT a{} FROM t", times(" + CASE WHEN a > 1 THEN 1 ELSE 0 END"))),
        ("parentheses", format!("SELECT {}a{} FROM t", times("("), times(")"))),
        ("nested sums", format!("SELECT {}a{} FROM t", times("("), times(" + 1)"))),
        ("list", format!("SELECT a FROM t WHERE a IN (1{})", times(", 2"))),
        ("arms", format!("SELECT CASE{} END FROM t", times(" WHEN a > 1 THEN a"))),
        ("arms of a value", format!("SELECT CASE a + 1{} END FROM t", times(" WHEN 7 THEN 1"))),
        ("pairs", format!("SELECT a FROM t WHERE a = 0{}", times(" OR (a = 1 AND n = 2)"))),
    ]
}

/// Not optimised, and beside other tests; what grows with the square takes longer.
const IN_TIME: Duration = Duration::from_secs(60);

#[test]
#[allow(clippy::disallowed_methods, reason = "it is the time that is tested")]
fn a_thousand_terms_are_planned_in_time_and_read_back() {
    for (what, sql) in long(1000) {
        let began = Instant::now();
        let plan = planned(&sql).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let took = began.elapsed();
        println!("{what}: {took:?}");
        assert!(took < IN_TIME, "{what}: {took:?}");
        let value: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&plan).unwrap()).unwrap();
        assert_eq!(serde_json::from_value::<Plan>(value).unwrap(), plan, "{what}");
    }
}

#[test]
fn calls_and_subqueries_may_be_nested_as_deep_as_in_postgres() {
    for (open, close) in [("replace(", ", 'x', 'y')"), ("upper(", ")")] {
        planned(&format!("SELECT {}s{} FROM t", open.repeat(30), close.repeat(30))).unwrap();
    }
    for depth in [30, 64] {
        let (many, ends) = (|text: &str| text.repeat(depth), ")".repeat(depth));
        for sql in [
            format!("SELECT a FROM {}t{}", many("(SELECT a FROM "), many(") AS x")),
            format!("{}SELECT a FROM t{}", many("WITH x AS ("), many(") SELECT a FROM x")),
            format!("SELECT a FROM t WHERE a IN ({}1{ends})", many("SELECT a FROM t WHERE a IN (")),
            format!("SELECT a FROM t WHERE a <= {}2{ends}", many("(SELECT max(a) FROM t WHERE a <= ")),
            format!("SELECT a, {}2{ends} AS m FROM t", many("(SELECT max(a) FROM t WHERE a <= ")),
        ] {
            planned(&sql).unwrap_or_else(|e| panic!("{depth}: {sql}: {e:?}"));
        }
    }
}

#[test]
fn subqueries_of_expressions_are_refused_before_planning_them_takes_for_ever() {
    let nested = |depth: usize| {
        format!("SELECT a FROM t WHERE a IN ({}1{})", "SELECT a FROM t WHERE a IN (".repeat(depth), ")".repeat(depth))
    };
    planned(&nested(6)).unwrap();
    assert_eq!(planned(&nested(100)).unwrap_err().sqlstate, "54001");
}

#[test]
fn queries_of_with_are_refused_before_writing_them_out_takes_for_ever() {
    let chain = |count: usize, from: &dyn Fn(usize) -> String| {
        let each = (1..count).map(|n| format!(", c{n} AS (SELECT x.a FROM {})", from(n - 1)));
        format!("WITH c0 AS (SELECT a FROM t){} SELECT a FROM c{}", each.collect::<String>(), count - 1)
    };
    let (once, twice) = (|n| format!("c{n} AS x"), |n| format!("c{n} AS x JOIN c{n} AS y ON x.a = y.a"));
    planned(&chain(60, &once)).unwrap();
    planned(&chain(5, &twice)).unwrap();
    let sides = vec!["(WITH x AS (SELECT p.a FROM t AS p JOIN t AS q ON p.a = q.a) SELECT a FROM x)"; 14];
    planned(&sides.join(" UNION ALL ")).unwrap();
    // Each of them is as long as another one that is within it.
    let within = |n| {
        format!(
            "(WITH x0 AS (SELECT a FROM c{n}), x1 AS (SELECT y.a FROM x0 AS y JOIN x0 AS z ON y.a = z.a) SELECT a FROM x1) AS x"
        )
    };
    for many in [chain(3_000, &once), chain(200, &twice), chain(200, &within)] {
        assert_eq!(planned(&many).unwrap_err().sqlstate, "54001");
    }
}

/// What is put around a value again and again.
const NESTED: &[(&str, &str, &str)] = &[
    ("nullif(", "a", ", 7)"),
    ("coalesce(", "a", " + 1, id)"),
    ("greatest(", "a", ", id)"),
    ("abs(CASE WHEN a > 1 THEN ", "a", " ELSE 0 END)"),
    ("CASE ", "a", " WHEN 1 THEN 2 WHEN id THEN 4 ELSE 3 END"),
    ("(", "a", " IN (1, id))::int"),
    ("(", "a", " BETWEEN id AND 5)::int"),
    ("concat(length(", "s", ") > 1, s)"),
    ("((", "a", ")::bigint)::int"),
];

#[test]
fn what_is_nested_is_stored_in_a_size_that_grows_as_it_does() {
    for (open, value, close) in NESTED {
        let stored = |count: usize| {
            let plan = planned(&format!("SELECT {}{value}{} FROM t", open.repeat(count), close.repeat(count))).unwrap();
            let stored = serde_json::to_vec(&plan).unwrap();
            assert_eq!(serde_json::from_slice::<Plan>(&stored).unwrap(), plan, "{open}");
            stored.len()
        };
        let (half, whole) = (stored(15), stored(30));
        assert!(whole < 3 * half, "{open}{value}{close}: {half}, twice of it {whole} bytes");
    }
}

#[test]
fn ten_thousand_terms_are_one_chain() {
    let plan = planned(&format!("SELECT a{} FROM t", " + a".repeat(10_000))).unwrap();
    let Operator::Map { project, .. } = &plan.root.operator else { panic!("{:?}", plan.root.operator) };
    assert_eq!(project[0].depth(), 3);
    let text = explain(&plan);
    assert!(text.contains("(((a + a) + a) + a)"), "{text}");
}
