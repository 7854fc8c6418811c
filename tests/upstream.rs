//! An upstream that goes away, comes back, or no longer has what the checkpoint needs.

use crate::kit::{Pair, Proxy, Stop, always, eventually};
use std::time::Duration;

const T: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 100) AS i";

async fn pair() -> Pair {
    let pair = Pair::start().await;
    pair.follow(T, &["t"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT count(*) AS n, sum(v) AS s FROM t").await;
    pair.same("SELECT count(*), sum(v) FROM t").await;
    pair
}

/// State and last error of the source, once the state is not `running`.
async fn stopped(pair: &Pair) -> (String, String) {
    eventually("the source stops in a named state", async || {
        let rows = pair.sql.rows("SELECT state, last_error FROM rw_catalog.rw_sources WHERE name = 'src'").await?;
        let text = |at: usize| rows[0][at].clone().unwrap_or_default();
        if ["running", "copying", "connecting", "retrying"].contains(&text(0).to_lowercase().as_str()) {
            return Err(format!("{rows:?}"));
        }
        Ok((text(0), text(1)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_postgres_loses_nothing() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut pair = pair().await;
        pair.up.run("UPDATE t SET v = 0 WHERE id < 50").await;
        pair.postgres.stop(how);
        assert_eq!(pair.sql.one("SELECT n FROM s").await, "100", "views answer while Postgres is away");
        pair.postgres.launch().await;
        pair.up = pair.postgres.client().await;
        pair.up.run("INSERT INTO t VALUES (1000, 1)").await;
        pair.same("SELECT * FROM t").await;
        pair.same("SELECT count(*), sum(v) FROM t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_network_loses_nothing() {
    let pair = Pair::start().await;
    pair.up.run(T).await;
    let proxy = Proxy::to(pair.postgres.port()).await;
    let options = pair.postgres.options_through(proxy.port(), "weir_src", "");
    pair.sql.run(&format!("CREATE SOURCE src WITH ({options})")).await;
    pair.table("t").await;
    proxy.cut();
    pair.up.run("UPDATE t SET v = v + 1").await;
    proxy.heal();
    pair.same("SELECT * FROM t").await;
    proxy.stall();
    pair.up.run("UPDATE t SET v = v + 1").await;
    assert_eq!(pair.sql.one("SELECT count(*) FROM t").await, "100");
    proxy.heal();
    pair.same("SELECT * FROM t").await;
    proxy.latency(Duration::from_millis(20));
    pair.up.run("DELETE FROM t WHERE id % 2 = 0").await;
    pair.same("SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_stops_the_source_with_a_reason_and_views_keep_serving() {
    let mut pair = pair().await;
    pair.weir.kill();
    eventually("the slot is free", async || {
        pair.up.rows("SELECT pg_drop_replication_slot('weir_src')").await.map(drop)
    })
    .await;
    pair.up.run("INSERT INTO t VALUES (1000, 1000)").await;
    pair.revive().await;
    let (state, error) = stopped(&pair).await;
    assert!(error.contains("weir_src"), "{state}: {error}");
    assert_eq!(pair.sql.one("SELECT n FROM s").await, "100");
    pair.sql.run("CREATE MATERIALIZED VIEW later AS SELECT max(v) AS m FROM t").await;
    assert_eq!(pair.sql.one("SELECT m FROM later").await, "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_ahead_of_the_checkpoint_is_never_skipped_over() {
    let mut pair = pair().await;
    pair.weir.kill();
    pair.up.run("INSERT INTO t VALUES (1000, 1000)").await;
    eventually("the slot is free", async || {
        pair.up.rows("SELECT pg_replication_slot_advance('weir_src', pg_current_wal_lsn())").await.map(drop)
    })
    .await;
    pair.up.run("INSERT INTO t VALUES (1001, 1001)").await;
    pair.revive().await;
    let (state, error) = stopped(&pair).await;
    assert!(error.contains("weir_src"), "{state}: {error}");
    always("nothing past the gap is applied", Duration::from_secs(1), async || {
        match pair.sql.rows("SELECT n FROM s").await {
            Ok(rows) if rows == [[Some("100".to_string())]] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_forget_what_a_checkpoint_holds_also_when_only_other_tables_change() {
    let pair = pair().await;
    pair.up.run("CREATE TABLE other (id int)").await;
    pair.up.run("INSERT INTO other SELECT generate_series(1, 20000)").await;
    let end = pair.up.one("SELECT pg_current_wal_lsn()").await;
    eventually("the acknowledged position follows", async || {
        match pair.up.one(&format!("SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots")).await.as_str() {
            "t" => Ok(()),
            _ => Err(pair.up.one("SELECT confirmed_flush_lsn FROM pg_replication_slots").await),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_invalidated_while_the_source_reads_stops_it_and_is_seen_coming() {
    let pair = Pair::with(&["max_slot_wal_keep_size=16MB", "min_wal_size=32MB", "max_wal_size=32MB"]).await;
    pair.up.run(T).await;
    // The server's log goes by, and the reader hears nothing of it.
    let proxy = Proxy::to(pair.postgres.port()).await;
    let options = pair.postgres.options_through(proxy.port(), "weir_src", "");
    pair.sql.run(&format!("CREATE SOURCE src WITH ({options})")).await;
    pair.table("t").await;
    let health = "SELECT retained_bytes, wal_status, safe_wal_size FROM rw_catalog.rw_sources";
    eventually("what the slot keeps is seen", async || {
        let rows = pair.sql.rows(health).await?;
        let known = rows[0][0].is_some() && rows[0][1].as_deref() == Some("reserved") && rows[0][2].is_some();
        if known { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    proxy.cut();
    for _ in 0..8 {
        pair.up.run("CREATE TABLE filler AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000); DROP TABLE filler").await;
        pair.up.run("SELECT pg_switch_wal(); CHECKPOINT").await;
    }
    let lost = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'weir_src'";
    assert_eq!(pair.up.one(lost).await, "lost", "the server gave the slot up");
    proxy.heal();
    let (state, error) = stopped(&pair).await;
    assert!(error.contains("weir_src"), "{state}: {error}");
    assert_eq!(pair.sql.one("SELECT count(*) FROM t").await, "100", "what was read is still served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_source_reads_nothing_and_goes_on_where_it_was() {
    let mut pair = pair().await;
    pair.sql.run("ALTER SOURCE src PAUSE").await;
    let state = "SELECT state FROM rw_catalog.rw_sources";
    assert_eq!(pair.sql.one(state).await, "paused");
    pair.up.run("UPDATE t SET v = v + 1 WHERE id <= 10; INSERT INTO t VALUES (1000, 1)").await;
    let unchanged = async |pair: &Pair| {
        always("nothing is read", Duration::from_millis(500), async || {
            let rows = pair.sql.rows("SELECT n FROM s").await?;
            if rows == [[Some("100".to_string())]] { Ok(()) } else { Err(format!("{rows:?}")) }
        })
        .await;
    };
    unchanged(&pair).await;
    pair.sql.run("ALTER SOURCE src PAUSE").await;
    assert_eq!(pair.sql.error("CREATE TABLE u (*) FROM src TABLE 'public.t'").await.code().code(), "55000");
    // It stays paused, and its place is kept.
    pair.crash().await;
    assert_eq!(pair.sql.one(state).await, "paused");
    unchanged(&pair).await;
    pair.up.run("DELETE FROM t WHERE id = 1").await;
    pair.sql.run("ALTER SOURCE src RESUME").await;
    pair.same("SELECT * FROM t").await;
    pair.same("SELECT count(*), sum(v) FROM t").await;
    assert_eq!(pair.sql.one(state).await, "running");
    pair.sql.run("ALTER SOURCE src RESUME").await;
    assert_eq!(pair.sql.error("ALTER SOURCE nope PAUSE").await.code().code(), "42704");
    assert_eq!(pair.sql.error("ALTER SOURCE t PAUSE").await.code().code(), "42809");
    pair.sql.run("ALTER SOURCE src PAUSE").await;
    pair.sql.run("DROP SOURCE src CASCADE").await;
    assert_eq!(pair.up.one("SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resnapshot_mends_a_table_beside_its_readers() {
    let pair = pair().await;
    pair.up.run("CREATE TABLE log (word text, big text); ALTER TABLE log REPLICA IDENTITY FULL; ALTER TABLE log ALTER big SET STORAGE EXTERNAL").await;
    pair.up.run("INSERT INTO log SELECT 'w' || i % 3, repeat('x', 3000) FROM generate_series(1, 300) AS i").await;
    pair.table("log").await;
    // What happens while a table is not published is lost, and nobody says so.
    pair.up.run("ALTER PUBLICATION weir_src DROP TABLE t, log").await;
    pair.up
        .run("UPDATE t SET v = -v WHERE id <= 50; DELETE FROM t WHERE id > 90; INSERT INTO t VALUES (2000, 7)")
        .await;
    pair.up.run("DELETE FROM log WHERE word = 'w1'").await;
    pair.up.run("ALTER PUBLICATION weir_src ADD TABLE t, log").await;
    pair.up.run("INSERT INTO t VALUES (3000, 1)").await;
    eventually("the stream goes on", async || {
        let rows = pair.sql.rows("SELECT count(*) FROM t WHERE id = 3000").await?;
        if rows == [[Some("1".to_string())]] { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert_ne!(pair.sql.sorted("SELECT * FROM t").await, pair.up.sorted("SELECT * FROM t").await);

    let (reader, writer) = (pair.weir.client().await, pair.postgres.client().await);
    let done = std::sync::atomic::AtomicBool::new(false);
    let copy = async {
        for _ in 0..3 {
            pair.sql.run("ALTER SOURCE src RESNAPSHOT").await;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let read = async {
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let n: i64 = reader.one("SELECT n FROM s").await.parse().expect("a number");
            assert!(n >= 90, "a reader saw {n} rows");
        }
    };
    let write = async {
        let mut id = 10_000;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            writer
                .run(&format!("INSERT INTO t VALUES ({id}, 1); UPDATE t SET v = v + 1 WHERE id = {}", id % 90 + 1))
                .await;
            writer.run("UPDATE log SET word = 'w' || length(word) WHERE ctid = (SELECT min(ctid) FROM log)").await;
            id += 1;
        }
    };
    tokio::join!(copy, read, write);
    pair.same("SELECT * FROM t").await;
    pair.same("SELECT count(*), sum(v) FROM t").await;
    pair.same("SELECT * FROM log").await;
}
