//! Long and deep statements: they are planned in a time that grows as they do, their views outlive a crash, their planning keeps nobody
//! else waiting and can be cancelled.

use crate::kit::Weir;
use std::time::{Duration, Instant};

/// Views of `count` terms each, with their names.
fn views(count: usize) -> Vec<(String, String)> {
    let times = |text: &str| text.repeat(count);
    let selects = [
        ("sum", format!("a{}", times(" + a"))),
        ("text", format!("s{}", times(" || s"))),
        ("cases", format!("a{}", times(" + CASE WHEN a > 1 THEN 1 ELSE 0 END"))),
        ("nested", format!("{}a{}", times("("), times(" + 1)"))),
    ];
    let named = |(name, value): (&str, String)| (format!("{name}_{count}"), format!("SELECT id, {value} AS v FROM t"));
    let pairs = format!("SELECT id, a AS v FROM t WHERE (a = 2 AND id = 2){}", times(" OR (a = 7 AND id = 4)"));
    selects.into_iter().map(named).chain([(format!("pairs_{count}"), pairs)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_long_expressions_are_there_after_a_kill() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, s VARCHAR); INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')")
        .await;
    let made: Vec<_> = [40, 1000].into_iter().flat_map(views).collect();
    let mut before = vec![];
    for (name, query) in &made {
        sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        let rows = sql.sorted(&format!("SELECT * FROM {name}")).await.expect("rows");
        // A SELECT says the same.
        assert_eq!(sql.sorted(query).await.expect("rows"), rows, "{name}");
        before.push(rows);
    }
    assert_eq!(sql.one("SELECT v FROM sum_1000 WHERE id = 2").await, "2002");
    assert_eq!(sql.one("SELECT v FROM cases_1000 WHERE id = 2").await, "1002");
    assert_eq!(sql.one("SELECT length(v) FROM text_1000 WHERE id = 2").await, "1001");
    assert_eq!(sql.one("SELECT v FROM pairs_1000").await, "2");
    sql.run("FLUSH").await;
    weir.kill();
    weir.restart().await;
    let sql = weir.client().await;
    for ((name, _), rows) in made.iter().zip(before) {
        assert_eq!(sql.sorted(&format!("SELECT * FROM {name}")).await.expect("rows"), rows, "{name}");
    }
    sql.run("INSERT INTO t VALUES (3, 3, 'z')").await;
    assert_eq!(sql.one("SELECT v FROM nested_1000 WHERE id = 3").await, "1003");
    // Its definition is what was written, not what was made of it.
    let definition = sql.one("SELECT pg_get_viewdef(c.oid) FROM pg_class c WHERE relname = 'nested_40'").await;
    assert!(definition.contains(" + 1) + 1)"), "{definition}");
    for (name, query) in &made {
        let again = sql.error(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        assert_eq!(again.code().code(), "42P07", "{name}");
        sql.run(&format!("DROP MATERIALIZED VIEW {name}")).await;
    }
}

/// Queries of `depth` queries one in the other, in each way in which they can be, and their answers over (1, 1) and (2, 2).
fn nested(depth: usize) -> Vec<(String, &'static str)> {
    let (many, ends) = (|text: &str| text.repeat(depth), ")".repeat(depth));
    vec![
        (format!("SELECT count(*) FROM {}t{}", many("(SELECT a FROM "), many(") AS x")), "2"),
        (format!("{}SELECT a FROM t{}", many("WITH x AS ("), many(") SELECT max(a) AS a FROM x")), "2"),
        (format!("SELECT count(*) FROM t WHERE a IN ({}1{ends})", many("SELECT a FROM t WHERE a IN (")), "1"),
        (format!("SELECT count(*) FROM t WHERE {}a > 1{ends}", many("EXISTS (SELECT 1 FROM t WHERE ")), "2"),
        (format!("SELECT {}2{ends}", many("(SELECT max(a) FROM t WHERE a <= ")), "2"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_nested_as_deep_as_anybody_writes_them() {
    /// Planned and run, not optimised and beside other tests.
    const IN_TIME: Duration = Duration::from_secs(60);
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    for depth in [4, 5, 8, 30, 64] {
        for (query, answer) in nested(depth) {
            let began = Instant::now();
            assert_eq!(sql.one(&query).await, answer, "{depth}: {query}");
            assert!(began.elapsed() < IN_TIME, "{:?}: {query}", began.elapsed());
        }
    }
    // Beyond that those of expressions are refused.
    for (query, answer) in nested(65) {
        match query.contains("WHERE") {
            true => assert_eq!(sql.error(&query).await.code().code(), "54001", "{query}"),
            false => assert_eq!(sql.one(&query).await, answer, "{query}"),
        }
    }
    // What Postgres takes beside.
    sql.run(&format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200))).await;
    let pairs = format!("SELECT count(*) FROM t WHERE (a = 2 AND id = 2){}", " OR (a = 7 AND id = 4)".repeat(500));
    assert_eq!(sql.one(&pairs).await, "1");
    // A view is maintained.
    let within = "SELECT a FROM t WHERE a IN (".repeat(29);
    let view = format!("SELECT id FROM t WHERE a IN ({within}SELECT id FROM t{}", ")".repeat(30));
    sql.run(&format!("CREATE MATERIALIZED VIEW deep AS {view}")).await;
    assert_eq!(sql.sorted("SELECT id FROM deep").await.expect("rows"), sql.sorted(&view).await.expect("rows"));
    sql.run("INSERT INTO t VALUES (3, 2), (4, 9)").await;
    assert_eq!(sql.sorted("SELECT id FROM deep").await.expect("rows"), sql.sorted(&view).await.expect("rows"));
    let (within, _) = &nested(64)[2];
    sql.run(&format!("EXPLAIN CREATE MATERIALIZED VIEW v AS {within}")).await;
}

/// Expressions that grow: what is put around a value again and again, or after it, and the value.
fn growing() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    vec![
        ("coalesce(", "a", ", 0)", "nested"),
        ("coalesce(a, ", "a", ", id)", "nested"),
        ("nullif(", "a", ", 7)", "nested"),
        ("greatest(", "a", ", least(id, 3))", "nested"),
        ("abs(", "a", " + 1)", "nested"),
        ("replace(", "s", ", 'x', 'y')", "nested"),
        ("upper(", "s", " || 'x')", "nested"),
        // A boolean as text is resolved anew by each level around it: steeper, and still no power of two.
        ("concat(length(", "s", ") > 1, s)", "steep"),
        ("CASE WHEN a > 1 THEN ", "a", " ELSE 0 END", "nested"),
        ("CASE WHEN ", "a", " > 1 THEN 1 ELSE 0 END", "nested"),
        ("CASE ", "a", " WHEN 1 THEN 2 WHEN id THEN 4 ELSE 3 END", "nested"),
        ("abs(CASE WHEN a > 1 THEN ", "a", " ELSE coalesce(a, 1) END)", "nested"),
        ("(", "a", " IN (1, id))::int", "nested"),
        ("(", "a", " NOT IN (1, 2))::int", "nested"),
        ("(", "a", " BETWEEN id AND 5)::int", "nested"),
        ("(", "a", " = ANY (ARRAY[1, 2]))::int", "nested"),
        ("((", "a", " > 1) OR id = 2)::int", "nested"),
        ("((", "a", ")::bigint)::int", "nested"),
        ("", "a", " + a", "long"),
        ("", "s", " || s", "long"),
        ("", "a", " + CASE WHEN a > 1 THEN 1 ELSE 0 END", "long"),
        ("(", "a", " + 1)", "long"),
        ("", "(a > 0)::int", " + (a > 0 AND id > 0)::int", "long"),
    ]
}

/// The statements of which `value` is a part.
fn statements(value: &str) -> [String; 4] {
    [
        format!("SELECT {value} AS v FROM t"),
        format!("EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT id, {value} AS v FROM t"),
        format!("INSERT INTO t (id, s) SELECT id, ({value})::text FROM t WHERE id < 0"),
        format!("UPDATE t SET s = ({value})::text WHERE id < 0"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_twice_as_long_or_deep_is_planned_in_not_much_more_than_twice_the_time() {
    /// What differs anyhow, with a machine that does other things.
    const ANYHOW: Duration = Duration::from_millis(1500);
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, s VARCHAR); INSERT INTO t VALUES (1, 1, 'x')").await;
    for (open, value, close, how) in growing() {
        let count = if how == "long" { 400 } else { 15 };
        let mut took: Vec<[Duration; 4]> = vec![];
        for times in [count, 2 * count] {
            let value = format!("{}{value}{}", open.repeat(times), close.repeat(times));
            let mut each = [Duration::MAX; 4];
            for (best, statement) in each.iter_mut().zip(statements(&value)) {
                for _ in 0..2 {
                    let began = Instant::now();
                    sql.run(&statement).await;
                    *best = began.elapsed().min(*best);
                }
            }
            took.push(each);
        }
        let factor = if how == "steep" { 16 } else { 4 };
        for (half, whole) in took[0].iter().zip(&took[1]) {
            assert!(*whole <= *half * factor + ANYHOW, "{open}{value}{close}: {half:?}, twice of it {whole:?}");
        }
    }
    // All as constants in VALUES, too.
    let case = format!("{}1{}", "CASE WHEN coalesce(".repeat(30), ", 0) > 0 THEN 1 ELSE 2 END".repeat(30));
    sql.run(&format!("INSERT INTO t (id, a) VALUES (2, {case}), (3, {}4{})", "nullif(".repeat(30), ", 5)".repeat(30)))
        .await;
    assert_eq!(sql.one("SELECT a FROM t WHERE id = 2").await, "1");
    assert_eq!(sql.one("SELECT a FROM t WHERE id = 3").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_keeps_nobody_waiting_and_ends_when_it_is_cancelled_or_out_of_time() {
    let weir = Weir::start().await;
    // Nested, not chained: planned for a long while.
    let one = format!("{}1{}", "abs(".repeat(450), ")".repeat(450));
    let slow = format!("SELECT {one}{}", format!(" AS x, {one}").repeat(20));
    let busy = weir.client().await;
    let token = busy.cancel_token();
    let text = slow.clone();
    let planning = tokio::spawn(async move { busy.error(&text).await });
    for _ in 0..5 {
        let began = Instant::now();
        let other = weir.client().await;
        assert_eq!(other.one("SELECT 1").await, "1");
        assert_eq!(weir.get("/health").await.expect("an answer").0, 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    assert!(!planning.is_finished(), "it was planned so fast that nothing was seen");
    let began = Instant::now();
    token.cancel_query(tokio_postgres::NoTls).await.expect("cancelled");
    assert_eq!(planning.await.expect("no panic").code().code(), "57014");
    let timed = weir.client().await;
    timed.run("SET statement_timeout = 200").await;
    for sql in [slow.clone(), format!("PREPARE p AS {slow}"), format!("EXPLAIN {slow}")] {
        assert_eq!(timed.error(&sql).await.code().code(), "57014");
    }
    let view = format!("CREATE MATERIALIZED VIEW v AS {slow}");
    assert_eq!(timed.error(&view).await.code().code(), "57014");
    let prepared = timed.prepare(&slow).await.expect_err("out of time");
    assert_eq!(prepared.code().expect("an error of the server").code(), "57014");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    timed.run("SET statement_timeout = 0; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
}
