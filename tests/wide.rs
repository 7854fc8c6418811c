//! Rows that are wide: a megabyte each, more of them in one transaction than the 2 GiB that the 32-bit offsets of a column reach.

use crate::kit::{Pair, Weir, eventually, number};

/// Rows of a megabyte, unless `WIDE_ROWS` says otherwise: `make soak` has more than fit a column.
const ROWS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_any_number_of_wide_rows_goes_through() {
    let rows = number("WIDE_ROWS").unwrap_or(ROWS);
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (k INT PRIMARY KEY, a INT, s VARCHAR)").await;
    sql.run("CREATE TABLE b (s VARCHAR)").await;
    sql.run("CREATE TABLE u (k INT PRIMARY KEY)").await;
    sql.run(&format!("INSERT INTO u SELECT g FROM generate_series(1, {rows}) AS x (g)")).await;
    sql.run(
        "CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n, sum(length(s)) AS l, max(s) AS m FROM t GROUP BY a",
    )
    .await;
    sql.run("CREATE MATERIALIZED VIEW made AS SELECT k, length(repeat('z', k % 2 * 1000000)) AS l FROM u").await;
    let insert = |table: &str, columns: &str| {
        format!("INSERT INTO {table} SELECT {columns} FROM generate_series(1, {rows}) AS x (g)")
    };
    sql.run(&insert("t", "g, g % 10, repeat('x', 999999) || g % 10")).await;
    // A table without a key, whose rows are all the same one.
    sql.run(&insert("b", "repeat('y', 1000000)")).await;
    let total = |bytes: u64| format!("{} {}", rows, rows * bytes);
    let check = async |sql: &crate::kit::Client, shift: u64| {
        for query in ["SELECT count(*) || ' ' || sum(length(s)) FROM t", "SELECT sum(n) || ' ' || sum(l) FROM v"] {
            assert_eq!(sql.one(query).await, total(1_000_000), "{query}");
        }
        let lowest = format!("SELECT min(a) || right((SELECT m FROM v WHERE a = {shift}), 1) FROM v");
        assert_eq!(sql.one(&lowest).await, format!("{shift}0"));
    };
    check(&sql, 0).await;
    assert_eq!(sql.one("SELECT count(*) || ' ' || sum(length(s)) FROM b").await, total(1_000_000));
    assert_eq!(sql.one("SELECT sum(l) FROM made").await, (rows.div_ceil(2) * 1_000_000).to_string());
    // All of them again, and what is sorted, joined, filtered and made of them.
    sql.run("UPDATE t SET a = a + 1").await;
    check(&sql, 1).await;
    let half = format!("SELECT count(*) FROM (SELECT s FROM t WHERE k > {}) AS x WHERE s > 'x'", rows / 2);
    assert_eq!(sql.one(&half).await, (rows - rows / 2).to_string());
    let joined = "SELECT count(*) || ' ' || sum(length(s)) FROM (SELECT t.s || '!' AS s FROM t JOIN u USING (k)) AS x";
    assert_eq!(sql.one(joined).await, total(1_000_001));
    // To sort all of them takes more than a query's share of memory.
    let numbered = "SELECT row_number() OVER (ORDER BY s, k) AS n, s FROM t WHERE k <= 500";
    let last = format!("SELECT max(n) FROM ({numbered}) AS x WHERE s <> ''");
    assert_eq!(sql.one(&last).await, rows.min(500).to_string());
    sql.run("FLUSH").await;
    weir.kill();
    weir.restart().await;
    let sql = weir.client().await;
    eventually("all of it is back", async || sql.rows("UPDATE t SET a = a + 1 WHERE k = 0").await.map(drop)).await;
    check(&sql, 1).await;
    sql.run("DELETE FROM b").await;
    sql.run("DELETE FROM t").await;
    assert_eq!(
        sql.one("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM b) + (SELECT count(*) FROM v)").await,
        "0"
    );
}

/// The same from upstream: by the copy, by the stream, and copied once more.
#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_come_from_upstream_by_copy_stream_and_resnapshot() {
    let rows = number("WIDE_ROWS").unwrap_or(ROWS);
    let mut pair = Pair::start().await;
    let insert = |from: u64| {
        format!(
            "INSERT INTO w SELECT i, repeat('x', 1000000) || i % 10 FROM generate_series({from}, {from} + {rows} - 1) AS g (i)"
        )
    };
    pair.up.run("CREATE TABLE w (id int PRIMARY KEY, s text)").await;
    pair.up.run(&insert(0)).await;
    pair.follow("", &["w"]).await;
    let all = "SELECT count(*), sum(length(s)), max(s) FROM w";
    pair.same(all).await;
    pair.up.run("DELETE FROM w").await;
    pair.up.run(&insert(rows)).await;
    pair.same(all).await;
    pair.sql.run("ALTER SOURCE src RESNAPSHOT").await;
    pair.same(all).await;
    pair.acknowledged().await;
    pair.weir.kill();
    pair.up.run(&format!("UPDATE w SET s = s || '!' WHERE id < {rows} + 3")).await;
    pair.revive().await;
    pair.same(all).await;
}
