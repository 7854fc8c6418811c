//! `--memory-limit`: what does not fit is refused or fails by name, and the server continues.

use crate::kit::{Client, Pair, Weir, describe, eventually, peak};
use bytes::Bytes;
use futures::SinkExt;

/// Of these, state may take five eighths.
const LIMIT: [&str; 2] = ["--memory-limit", "96MB"];

/// Inserts until something is refused; how many rows there are then.
async fn fill(sql: &Client) -> (u64, String) {
    const ROWS: u64 = 20_000;
    let mut rows = 0;
    loop {
        let values =
            format!("SELECT i, i % 1000, 'row ' || i FROM generate_series({rows}, {rows} + {ROWS} - 1) AS g (i)");
        match sql.rows(&format!("INSERT INTO t {values}")).await {
            Ok(_) => rows += ROWS,
            Err(error) => return (rows, error),
        }
        assert!(rows < 5_000_000, "nothing is refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_memory_is_refused_and_what_makes_room_is_not() {
    let mut weir = Weir::with(&LIMIT).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, g INT, s VARCHAR)").await;
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g").await;
    let (rows, error) = fill(&sql).await;
    assert!(error.starts_with("53200 out of memory") && error.contains("may take 60 MB"), "{error}");
    // What is there is right, and is read.
    assert_eq!(sql.one("SELECT count(*) FROM t").await, rows.to_string());
    assert_eq!(sql.one("SELECT sum(n) FROM v").await, rows.to_string());
    let error = sql.error("CREATE MATERIALIZED VIEW more AS SELECT s, max(id) AS id FROM t GROUP BY s").await;
    assert_eq!(error.code().code(), "53200");
    assert_eq!(sql.error("SELECT * FROM more").await.code().code(), "42P01", "nothing of it is left");
    assert_eq!(sql.error("UPDATE t SET g = g + 1 WHERE id = 1").await.code().code(), "53200");
    // Rows that go make room.
    sql.run("DELETE FROM t WHERE id % 10 <> 0").await;
    eventually("rows can be written again", async || sql.rows("INSERT INTO t VALUES (-1, 0, 'x')").await.map(drop))
        .await;
    assert_eq!(sql.one("SELECT sum(n) FROM v").await, (rows / 10 + 1).to_string());
    weir.kill();
    weir.restart().await;
    let sql = weir.client().await;
    // Until all is back in memory a view is read as it was, maybe behind its table, and a table that is too large for a query not at all.
    for query in ["SELECT sum(n) FROM v", "SELECT count(*) FROM t"] {
        eventually("everything is there", async || match sql.rows(query).await?[0][0].clone() {
            Some(found) if found == (rows / 10 + 1).to_string() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_grows_beyond_memory_fails_by_name_and_its_source_goes_on() {
    let pair = Pair::flagged(&LIMIT).await;
    pair.follow("CREATE TABLE p (id int PRIMARY KEY, g int)", &["p"]).await;
    // Each row upstream is many rows of the view.
    let wide = "SELECT a.id AS a, b.id AS b, a.g FROM p AS a JOIN p AS b ON a.g = b.g";
    pair.sql.run(&format!("CREATE MATERIALIZED VIEW wide AS {wide}")).await;
    pair.sql.run("CREATE MATERIALIZED VIEW small AS SELECT g, count(*) AS n FROM p GROUP BY g").await;
    let mut rows = 0;
    let error = eventually("the view fails", async || {
        pair.up
            .run(&format!("INSERT INTO p SELECT i, i % 4 FROM generate_series({rows}, {rows} + 199) AS g (i)"))
            .await;
        rows += 200;
        match pair.sql.rows("SELECT count(*) FROM wide").await {
            Err(error) if error.starts_with("53200") => Ok(error),
            other => Err(format!("{rows} rows: {other:?}")),
        }
    })
    .await;
    assert!(error.contains("\"wide\" has failed: out of memory"), "{error}");
    pair.up.run("DELETE FROM p WHERE id < 100").await;
    pair.same("SELECT count(*), sum(id) FROM p").await;
    pair.same("SELECT g, count(*) AS n FROM p GROUP BY g").await;
    assert_eq!(pair.sql.one("SELECT sum(n) FROM small").await, pair.up.one("SELECT count(*) FROM p").await);
    // With it goes what it held.
    pair.sql.run("DROP MATERIALIZED VIEW wide").await;
    eventually("there is room again", async || {
        pair.sql.rows("CREATE MATERIALIZED VIEW again AS SELECT max(id) AS id FROM p").await.map(drop)
    })
    .await;
    pair.acknowledged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_makes_of_a_few_rows_is_refused_before_it_is_there() {
    let mut weir = Weir::with(&LIMIT).await;
    let sql = weir.client().await;
    let before = peak(weir.process_id());
    for value in [
        "length(string_agg(repeat('x', 1000000 + i), ','))",
        "length(string_agg(repeat('x', 1000000), ','))",
        &format!("max(length(regexp_replace(repeat('x', 1000 + i), 'x', '{}', 'g')))", "y".repeat(20)),
        "max(length(replace('x' || i, 'x', repeat('y', 1000000))))",
        "length(string_agg(repeat('x', 1000000 + i), ',' ORDER BY i))",
        "cardinality(array_agg(repeat('x', 1000000 + i)))",
        "max(length(replace(repeat('x', 1000 + i), 'x', repeat('y', 50))))",
    ] {
        let error = sql.error(&format!("SELECT {value} FROM generate_series(1, 3000) AS g (i)")).await;
        assert_eq!(error.code().code(), "53200", "{value}: {error}");
    }
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 400, "memory grew by {grown} MB for values of 3 GB");
    assert_eq!(sql.one("SELECT sum(length(repeat('x', 5000))) FROM generate_series(1, 50000)").await, "250000000");
    weir.kill();
}

/// What statements of a few kinds that are each far larger than memory come to; the server continues, and takes little more than it may.
#[tokio::test(flavor = "multi_thread")]
async fn statements_longer_than_memory_end_by_name() {
    let mut weir = Weir::with(&LIMIT).await;
    let sql = weir.client().await;
    let before = peak(weir.process_id());
    // As many tokens as there is no room for.
    let items = vec!["1"; 400_000].join(",");
    assert_eq!(sql.error(&format!("SELECT 1 IN ({items})")).await.code().code(), "53200");
    // One token that there is no room for.
    let long = format!("SELECT length('{}')", "x".repeat(300 << 20));
    assert_eq!(sql.error(&long).await.code().code(), "53200");
    drop(long);
    // Each fits, all of them do not.
    let literal = "y".repeat(1 << 20);
    let mut prepared = 0;
    let error = loop {
        match sql.rows(&format!("PREPARE p{prepared} AS SELECT '{literal}'")).await {
            Ok(_) => prepared += 1,
            Err(error) => break error,
        }
        assert!(prepared < 1000, "nothing is refused");
    };
    assert!(prepared > 4 && error.contains("Prepared statements"), "{prepared}: {error}");
    assert_eq!(sql.one("EXECUTE p1").await, literal);
    sql.run("DEALLOCATE ALL").await;
    sql.run(&format!("PREPARE p AS SELECT '{literal}'")).await;
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 400, "memory grew by {grown} MB for a gigabyte");
    weir.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_queries_in_one_are_refused() {
    let weir = Weir::with(&LIMIT).await;
    let sql = weir.client().await;
    let before = peak(weir.process_id());
    let named: String = (1..10_000).map(|n| format!(", c{n} AS (SELECT x FROM c{})", n - 1)).collect();
    let error = sql.error(&format!("WITH c0 AS (SELECT 1 AS x){named} SELECT x FROM c9999")).await;
    assert_eq!(error.code().code(), "54001");
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 400, "memory grew by {grown} MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_write_much_at_once_are_refused_or_wait() {
    const WRITERS: usize = 12;
    let mut weir = Weir::with(&LIMIT).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR)").await;
    let before = peak(weir.process_id());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let own = weir.client().await;
        writers.spawn(async move {
            // 10 MB, and as much again to answer.
            let rows = format!("SELECT {writer} * 100 + i, repeat('x', 1000000) FROM generate_series(1, 10) AS g (i)");
            own.rows(&format!("INSERT INTO t {rows} RETURNING id")).await.map(|rows| rows.len())
        });
    }
    let (mut written, mut refused) = (0, 0);
    while let Some(ended) = writers.join_next().await {
        match ended.expect("no panic") {
            Ok(rows) => written += rows,
            Err(error) if error.starts_with("53200") => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written > 0 && refused > 0, "{written} rows, {refused} refused: all of it is twice what fits");
    assert_eq!(sql.one("SELECT count(*) FROM t").await, written.to_string());
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 400, "memory grew by {grown} MB");
    weir.kill();
}

/// Whoever reads an old epoch keeps what was then: it counts, and goes when the reader does.
#[tokio::test(flavor = "multi_thread")]
async fn history_that_a_transaction_pins_is_counted() {
    let weir = Weir::with(&LIMIT).await;
    let (sql, reader) = (weir.client().await, weir.client().await);
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, g INT, s VARCHAR)").await;
    sql.run("INSERT INTO t SELECT i, 0, repeat('x', 100) || i FROM generate_series(1, 20000) AS g (i)").await;
    reader.run("BEGIN").await;
    assert_eq!(reader.one("SELECT sum(g) FROM t").await, "0");
    let (before, mut rounds) = (peak(weir.process_id()), 0);
    let error = loop {
        match sql.rows("UPDATE t SET g = g + 1").await {
            Ok(_) => rounds += 1,
            Err(error) => break error,
        }
        assert!(rounds < 500, "what is pinned is not counted");
    };
    assert!(error.starts_with("53200"), "{error}");
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 400, "{grown} MB");
    assert_eq!(reader.one("SELECT sum(g) FROM t").await, "0", "it reads what it did");
    reader.run("COMMIT").await;
    eventually("there is room again", async || sql.rows("UPDATE t SET g = g + 1").await.map(drop)).await;
    assert_eq!(sql.one("SELECT sum(g) FROM t").await, (20_000 * (rounds + 1)).to_string());
}

/// A COPY for which state has no room is refused by name, one that fits is one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_larger_than_memory_is_refused_and_takes_none() {
    let weir = Weir::with(&LIMIT).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR)").await;
    let before = peak(weir.process_id());
    let error = copy(&sql, 200_000).await.expect_err("it is refused");
    assert!(error.starts_with("53200 out of memory") && error.contains("The state of tables and views"), "{error}");
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "0");
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 400, "{grown} MB for 200 MB");
    assert_eq!(copy(&sql, 8_000).await, Ok(8_000));
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "8000");
}

/// Transactions that are each more than the quarter of the limit which queries may hold, and than commits may: a COPY, two of them as one,
/// and an INSERT … SELECT. All of them together are less than state may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_may_be_as_large_as_there_is_room_for_its_rows() {
    let mut weir = Weir::with(&["--memory-limit", "384MB"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR)").await;
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(length(s)) AS bytes FROM t").await;
    sql.run("CREATE TABLE bag (id INT, s VARCHAR)").await;
    let before = peak(weir.process_id());
    assert_eq!(copy(&sql, 110_000).await, Ok(110_000));
    assert_eq!(sql.one("SELECT n FROM v").await, "110000");
    // Rows that are there already, the last of each counts.
    sql.run("BEGIN").await;
    assert_eq!(copy_rows(&sql, 100_000..110_000).await, Ok(10_000));
    assert_eq!(copy_rows(&sql, 100_000..112_000).await, Ok(12_000));
    sql.run("COMMIT").await;
    assert_eq!(sql.one("SELECT n || ' ' || bytes FROM v").await, "112000 112000000");
    assert_eq!(sql.one("SELECT count(*) || ' ' || sum(length(s)) FROM t").await, "112000 112000000");
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 384, "{grown} MB for tables of 112 MB");
    sql.run("INSERT INTO bag SELECT id, s FROM t WHERE id < 100000").await;
    assert_eq!(sql.one("SELECT count(*) || ' ' || count(DISTINCT id) FROM bag").await, "100000 100000");
    let error = copy(&sql, 100_000).await.expect_err("there is no room");
    assert!(error.starts_with("53200 out of memory") && error.contains("to be written"), "{error}");
    assert_eq!(sql.one("SELECT n FROM v").await, "112000", "nothing of it is applied");
    let grown = peak(weir.process_id()) - before;
    assert!(grown < 600, "{grown} MB for tables of 212 MB");
    weir.kill();
    weir.restart().await;
    let sql = weir.client().await;
    eventually("everything is there", async || match sql.rows("SELECT n FROM v").await?[0][0].as_deref() {
        Some("112000") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// COPY of so many rows of a kilobyte.
async fn copy(sql: &Client, rows: usize) -> Result<u64, String> {
    copy_rows(sql, 0..rows).await
}

async fn copy_rows(sql: &Client, rows: std::ops::Range<usize>) -> Result<u64, String> {
    let told = |error: tokio_postgres::Error| describe(&error);
    let sink = sql.copy_in::<_, Bytes>("COPY t FROM STDIN").await.map_err(told)?;
    let mut sink = std::pin::pin!(sink);
    let filler = "x".repeat(1000);
    for row in rows {
        sink.send(Bytes::from(format!("{row}\t{filler}\n"))).await.map_err(told)?;
    }
    sink.finish().await.map_err(told)
}

/// A transaction of four times the limit upstream, of which nothing is left in the end, and a table that changes while it is copied.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_copies_upstream_that_are_larger_than_memory_wait_on_disk() {
    let spill = tempfile::tempdir().expect("a folder");
    let flags = [&LIMIT[..], &["--spill-dir", spill.path().to_str().expect("UTF-8")]].concat();
    let pair = Pair::flagged(&flags).await;
    pair.follow("CREATE TABLE u (id int PRIMARY KEY, s text)", &["u"]).await;
    pair.up.run("INSERT INTO u VALUES (-1, 'stays'), (-2, 'goes')").await;
    pair.same("SELECT * FROM u").await;
    let before = peak(pair.weir.process_id());
    let rows = "SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 400000) AS g (i)";
    pair.up.run(&format!("BEGIN; INSERT INTO u {rows}; DELETE FROM u WHERE id > 10 OR id = -2; COMMIT")).await;
    pair.up.run("INSERT INTO u VALUES (-3, 'comes later')").await;
    pair.same("SELECT * FROM u").await;
    let grown = peak(pair.weir.process_id()) - before;
    assert!(grown < 200, "{grown} MB more for a transaction of 400 MB");
    // Rows that fit are changed again and again while they are copied once more.
    pair.up.run("CREATE TABLE w (id int PRIMARY KEY, s text)").await;
    pair.up.run("INSERT INTO w SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 5000) AS g (i)").await;
    pair.table("w").await;
    let (again, changes) = tokio::join!(pair.sql.rows("ALTER SOURCE src RESNAPSHOT"), async {
        for n in 0..40 {
            pair.up.run(&format!("UPDATE w SET s = s || '{n}'")).await;
        }
    });
    again.expect("the copy ends");
    let () = changes;
    pair.same("SELECT count(*), sum(length(s)), max(s) FROM w").await;
    let grown = peak(pair.weir.process_id()) - before;
    assert!(grown < 400, "{grown} MB more for 200 MB of changes beside a copy");
    let mut left = walk(spill.path());
    left.retain(|path| !path.ends_with("lock"));
    assert!(left.is_empty(), "{left:?}");
}

/// All files below `folder`.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
