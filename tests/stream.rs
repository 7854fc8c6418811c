//! What the change log says, row for row: keys that change, values that are not sent, tables that are emptied.

use crate::kit::{Pair, eventually};

/// Bodies are long enough to be stored out of line, so that updates of other columns do not send them.
const DOCS: &str = "
    CREATE TABLE docs (id int PRIMARY KEY, v int, body text);
    ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
    INSERT INTO docs SELECT i, i, repeat(i::text || '-', 3000) FROM generate_series(1, 9) AS i";

async fn docs() -> Pair {
    let pair = Pair::start().await;
    pair.follow(DOCS, &["docs"]).await;
    let view =
        "SELECT v % 3 AS g, count(*) AS n, sum(length(body)) AS l, max(left(body, 4)) AS m FROM docs GROUP BY v % 3";
    pair.sql.run(&format!("CREATE MATERIALIZED VIEW grouped AS {view}")).await;
    pair.up.run(&format!("CREATE VIEW grouped AS {view}")).await;
    pair
}

async fn equal(pair: &Pair) {
    pair.same("SELECT * FROM docs").await;
    pair.same("SELECT * FROM grouped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_an_update_does_not_send_is_kept() {
    let mut pair = docs().await;
    pair.up.run("UPDATE docs SET v = v + 10 WHERE id <= 3").await;
    equal(&pair).await;
    pair.up.run("UPDATE docs SET id = id + 100 WHERE id IN (1, 2)").await;
    equal(&pair).await;
    pair.up.run("UPDATE docs SET body = 'short' WHERE id = 3").await;
    pair.up.run("UPDATE docs SET v = 0 WHERE id = 3").await;
    equal(&pair).await;
    pair.weir.kill();
    pair.up.run("UPDATE docs SET v = -v; UPDATE docs SET id = id + 1000 WHERE id = 4").await;
    pair.revive().await;
    equal(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_within_one_transaction_counts() {
    let pair = docs().await;
    let transactions = [
        // An insert, then an update that does not send what was inserted.
        "INSERT INTO docs VALUES (20, 1, repeat('new', 3000)); UPDATE docs SET v = 2 WHERE id = 20",
        // Two rows swap their keys by way of a third.
        "UPDATE docs SET id = -1 WHERE id = 1; UPDATE docs SET id = 1 WHERE id = 2; UPDATE docs SET id = 2 WHERE id = -1",
        // A chain of moves, each into the place that the one before has left.
        "UPDATE docs SET id = 30 WHERE id = 9; UPDATE docs SET id = 9 WHERE id = 8; UPDATE docs SET id = 8 WHERE id = 7",
        // A row goes, and another takes its key.
        "DELETE FROM docs WHERE id = 4; UPDATE docs SET id = 4, v = 44 WHERE id = 5",
        // The same key, again and again.
        "DELETE FROM docs WHERE id = 6; INSERT INTO docs VALUES (6, 6, 'a'); DELETE FROM docs WHERE id = 6; INSERT INTO docs VALUES (6, 7, 'b')",
        // Everything goes, and something comes.
        "UPDATE docs SET v = 5; TRUNCATE docs; INSERT INTO docs VALUES (1, 1, repeat('again', 3000)); UPDATE docs SET v = 9 WHERE id = 1",
        "INSERT INTO docs VALUES (50, 1, 'x'); TRUNCATE docs",
    ];
    for transaction in transactions {
        pair.up.run(&format!("BEGIN; {transaction}; COMMIT")).await;
        equal(&pair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_empties_each_table_it_names() {
    let mut pair = Pair::start().await;
    let tables = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int); ALTER TABLE b REPLICA IDENTITY FULL;
                  CREATE TABLE c (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1), (1); INSERT INTO c VALUES (1)";
    pair.follow(tables, &["a", "b", "c"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW n AS SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b, (SELECT count(*) FROM c) AS c").await;
    pair.up.run("CREATE VIEW n AS SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b, (SELECT count(*) FROM c) AS c").await;
    pair.same("SELECT * FROM n").await;
    pair.up.run("TRUNCATE a, b").await;
    pair.same("SELECT * FROM n").await;
    pair.up.run("INSERT INTO a VALUES (7); INSERT INTO b VALUES (8), (8)").await;
    pair.same("SELECT * FROM n").await;
    pair.crash().await;
    pair.same("SELECT * FROM n").await;
    pair.same("SELECT * FROM b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_seen_whole_or_not_at_all() {
    let pair = Pair::start().await;
    pair.follow("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)", &["a", "b"])
        .await;
    pair.sql
        .run(
            "CREATE MATERIALIZED VIEW both_sums AS SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b",
        )
        .await;
    let writer = pair.postgres.client().await;
    let write = tokio::spawn(async move {
        let rows = "SELECT i, i FROM generate_series(1, 100000) AS i";
        writer.run(&format!("BEGIN; INSERT INTO a {rows}; INSERT INTO b {rows}; COMMIT")).await;
    });
    eventually("the transaction arrives", async || {
        for query in ["SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)", "SELECT a, b FROM both_sums"] {
            let rows = pair.sql.rows(query).await?;
            let (a, b) = (rows[0][0].clone(), rows[0][1].clone());
            assert_eq!(a, b, "half a transaction is visible in {query}");
            assert!(["0", "100000"].contains(&a.as_deref().unwrap_or_default()), "a part of a table is visible: {a:?}");
            if a.as_deref() == Some("0") {
                return Err("nothing yet".into());
            }
        }
        Ok(())
    })
    .await;
    write.await.expect("the writer ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_is_never_seen() {
    let pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]).await;
    pair.up.run("BEGIN; INSERT INTO t VALUES (1, 1); ROLLBACK").await;
    pair.up.run("BEGIN; INSERT INTO t VALUES (2, 2); SAVEPOINT s; INSERT INTO t VALUES (3, 3); ROLLBACK TO s; INSERT INTO t VALUES (4, 4); COMMIT").await;
    assert_eq!(pair.same("SELECT id FROM t").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_exists_is_used_and_left_alone() {
    let pair = Pair::start().await;
    pair.up.run("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION mine FOR ALL TABLES").await;
    pair.up.run("INSERT INTO t VALUES (1)").await;
    let options =
        pair.postgres.options("weir_src", "").replace("publication.name='weir_src'", "publication.name='mine'");
    pair.sql.run(&format!("CREATE SOURCE src WITH ({options})")).await;
    pair.table("t").await;
    pair.up.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(pair.same("SELECT * FROM t").await.len(), 2);
    pair.sql.run("DROP SOURCE src CASCADE").await;
    let left = |what: &'static str| async { pair.up.one(what).await };
    eventually("the slot is dropped", async || {
        match left("SELECT count(*) FROM pg_replication_slots").await.as_str() {
            "0" => Ok(()),
            slots => Err(format!("{slots} slots")),
        }
    })
    .await;
    assert_eq!(left("SELECT count(*) FROM pg_publication").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_source_drops_what_it_made_upstream() {
    let pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", &["t"]).await;
    pair.same("SELECT * FROM t").await;
    assert_eq!(pair.up.one("SELECT slot_name || plugin FROM pg_replication_slots").await, "weir_srcpgoutput");
    assert_eq!(pair.up.one("SELECT pubname FROM pg_publication").await, "weir_src");
    assert_eq!(pair.sql.error("DROP SOURCE src").await.code().code(), "2BP01");
    pair.sql.run("DROP SOURCE src CASCADE").await;
    eventually("slot and publication are gone", async || {
        let left = pair
            .up
            .one("SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)")
            .await;
        if left == "0" { Ok(()) } else { Err(format!("{left} left")) }
    })
    .await;
    assert_eq!(pair.sql.error("SELECT * FROM t").await.code().code(), "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_added_upstream_is_ignored_until_asked_for() {
    let mut pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)", &["t"]).await;
    pair.up.run("ALTER TABLE t ADD COLUMN extra text DEFAULT 'x'; INSERT INTO t VALUES (2, 2, 'y'); UPDATE t SET v = 9 WHERE id = 1").await;
    pair.same("SELECT id, v FROM t").await;
    pair.crash().await;
    pair.up.run("INSERT INTO t VALUES (3, 3, NULL)").await;
    pair.same("SELECT id, v FROM t").await;
    assert_eq!(pair.sql.error("SELECT extra FROM t").await.code().code(), "42703");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_lost_upstream_stops_its_table_and_no_other() {
    let pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY)", &["t", "u"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT sum(v) AS s FROM t").await;
    pair.up.run("INSERT INTO t VALUES (1, 1); ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES (2); INSERT INTO u VALUES (1)").await;
    pair.same("SELECT * FROM u").await;
    for query in ["SELECT * FROM t", "SELECT * FROM s"] {
        let message = eventually("the table reports what happened", async || match pair.sql.rows(query).await {
            Ok(rows) => Err(format!("{rows:?}")),
            Err(message) => Ok(message),
        })
        .await;
        assert!(message.contains("\"v\""), "the column is named: {message}");
    }
    pair.up.run("INSERT INTO u VALUES (2)").await;
    pair.same("SELECT * FROM u").await;
}
