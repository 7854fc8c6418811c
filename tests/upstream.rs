//! An upstream that goes away, comes back, or no longer has what the checkpoint needs.

use crate::kit::{Pair, Proxy, Stop, Version, always, eventually};
use std::time::Duration;

on_each_postgres! {
    a_slot_dropped_advanced_or_made_anew_stops_the_source_and_nothing_is_skipped,
    a_slot_that_the_server_gives_up_stops_the_source_and_is_seen_coming,
}

const T: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 100) AS i";

async fn pair() -> Pair {
    let pair = Pair::start().await;
    pair.follow(T, &["t"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT count(*) AS n, sum(v) AS s FROM t").await;
    pair.same("SELECT count(*), sum(v) FROM t").await;
    pair
}

/// Follows table t by way of a proxy.
async fn through_proxy(pair: &Pair) -> Proxy {
    let proxy = Proxy::to(pair.postgres.port()).await;
    let options = pair.postgres.options_through(proxy.port(), "weir_src", "");
    pair.sql.run(&format!("CREATE SOURCE src WITH ({options})")).await;
    pair.table("t").await;
    proxy
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
    let proxy = through_proxy(&pair).await;
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
async fn packets_that_are_dropped_lose_nothing_whatever_was_on_its_way() {
    let pair = Pair::with(&["wal_sender_timeout=1s"]).await;
    pair.up.run(T).await;
    let proxy = through_proxy(&pair).await;
    proxy.lose();
    pair.up.run("UPDATE t SET v = v + 1").await;
    pair.same("SELECT * FROM t").await;
    assert!(pair.weir.log().contains("Postgres does not answer"), "silence was noticed");
    // In the middle of transactions, too.
    proxy.latency(Duration::from_millis(5));
    let writer = pair.postgres.client().await;
    let writing = tokio::spawn(async move {
        for round in 1..=4 {
            writer.run(&format!("UPDATE t SET v = v + 1; INSERT INTO t SELECT {round} * 100000 + i, i FROM generate_series(1, 50000) AS i")).await;
        }
    });
    for expected in ["50000", "120000"] {
        eventually("some of it has been read", async || {
            let rows = pair.sql.rows(&format!("SELECT count(*) >= {expected} FROM t")).await?;
            if rows == [[Some("t".to_string())]] { Ok(()) } else { Err("not yet".into()) }
        })
        .await;
        proxy.lose();
    }
    writing.await.expect("the writer ends well");
    pair.same("SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_still_held_by_a_reader_that_died_unheard_is_taken_back() {
    let mut pair = Pair::start().await;
    pair.up.run(T).await;
    let proxy = through_proxy(&pair).await;
    proxy.lose();
    pair.weir.kill();
    pair.up.run("UPDATE t SET v = v + 1; DELETE FROM t WHERE id = 7").await;
    let active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'weir_src'";
    assert_eq!(pair.up.one(active).await, "t", "upstream has not noticed, and would not for a minute");
    pair.revive().await;
    pair.same("SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_packets_are_dropped_begins_again() {
    let pair = Pair::with(&["wal_sender_timeout=2s"]).await;
    pair.up.run(T).await;
    pair.up.run("CREATE TABLE big (id int PRIMARY KEY, body text); INSERT INTO big SELECT i, repeat(i::text, 50) FROM generate_series(1, 60000) AS i").await;
    let proxy = through_proxy(&pair).await;
    proxy.latency(Duration::from_millis(20));
    let creating = pair.weir.client().await;
    let create = tokio::spawn(async move { creating.run("CREATE TABLE big (*) FROM src TABLE 'public.big'").await });
    eventually("the copy runs upstream", async || {
        let copies = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%big%'";
        match pair.up.one(copies).await.as_str() {
            "0" => Err("no COPY".into()),
            _ => Ok(()),
        }
    })
    .await;
    proxy.lose();
    proxy.heal();
    pair.up.run("UPDATE big SET body = 'short' WHERE id % 100 = 0").await;
    create.await.expect("the table is made");
    pair.same("SELECT * FROM big").await;
}

/// What can happen to a slot that nobody reads, and the state in which its source then stops.
const ENDS: &[(&str, &str)] = &[
    ("SELECT pg_drop_replication_slot('weir_src')", "slot_missing"),
    ("SELECT pg_replication_slot_advance('weir_src', pg_current_wal_lsn())", "slot_past_checkpoint"),
    (
        "SELECT pg_drop_replication_slot('weir_src'); SELECT pg_create_logical_replication_slot('weir_src', 'pgoutput')",
        "slot_past_checkpoint",
    ),
];

async fn a_slot_dropped_advanced_or_made_anew_stops_the_source_and_nothing_is_skipped(version: Version) {
    let mut pair = Pair::of(version, &[]).await;
    pair.up.run(T).await;
    let mut rows = 100;
    for (change, expected) in ENDS {
        for running in [true, false] {
            let proxy = through_proxy(&pair).await;
            pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT count(*) AS n FROM t").await;
            pair.acknowledged().await;
            if running {
                proxy.cut();
            } else {
                pair.weir.kill();
            }
            pair.up.run(&format!("INSERT INTO t VALUES ({rows} + 1, 0)")).await;
            eventually("the slot is free", async || pair.up.rows(change).await.map(drop)).await;
            pair.up.run(&format!("INSERT INTO t VALUES ({rows} + 2, 0)")).await;
            if running {
                proxy.heal();
            } else {
                pair.revive().await;
            }
            let (state, error) = pair.stopped().await;
            assert_eq!(state, *expected, "{change}, running: {running}: {error}");
            assert!(error.contains("weir_src") && error.contains("create it again"), "{error}");
            let (n, m) = (pair.sql.one("SELECT n FROM s").await, pair.sql.one("SELECT count(*) FROM t").await);
            assert_eq!(
                (n, m),
                (rows.to_string(), rows.to_string()),
                "what was read is served, and nothing past the gap"
            );
            pair.sql.run("CREATE MATERIALIZED VIEW later AS SELECT max(id) AS m FROM t").await;
            assert_eq!(pair.sql.one("SELECT m FROM later").await, rows.to_string());
            pair.sql.run("DROP SOURCE src CASCADE").await;
            rows += 2;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_forget_what_a_checkpoint_holds_also_when_only_other_tables_change() {
    let pair = pair().await;
    pair.up.run("CREATE TABLE other (id int)").await;
    pair.up.run("INSERT INTO other SELECT generate_series(1, 20000)").await;
    pair.acknowledged().await;
}

async fn a_slot_that_the_server_gives_up_stops_the_source_and_is_seen_coming(version: Version) {
    let settings = ["max_slot_wal_keep_size=16MB", "min_wal_size=32MB", "max_wal_size=32MB"];
    let mut pair = Pair::of(version, &settings).await;
    pair.up.run(T).await;
    for running in [true, false] {
        // The server's log goes by, and the reader hears nothing of it.
        let proxy = through_proxy(&pair).await;
        let health = "SELECT retained_bytes, wal_status, safe_wal_size FROM rw_catalog.rw_sources";
        eventually("what the slot keeps is seen", async || {
            let rows = pair.sql.rows(health).await?;
            let known = rows[0][0].is_some() && rows[0][1].as_deref() == Some("reserved") && rows[0][2].is_some();
            if known { Ok(()) } else { Err(format!("{rows:?}")) }
        })
        .await;
        if running {
            proxy.cut();
        } else {
            pair.weir.kill();
        }
        for _ in 0..8 {
            pair.up.run("CREATE TABLE filler AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000); DROP TABLE filler").await;
            pair.up.run("SELECT pg_switch_wal(); CHECKPOINT").await;
        }
        let lost = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'weir_src'";
        assert_eq!(pair.up.one(lost).await, "lost", "the server gave the slot up");
        if running {
            proxy.heal();
        } else {
            pair.revive().await;
        }
        let (state, error) = pair.stopped().await;
        assert_eq!(state, "slot_invalidated", "{error}");
        assert!(error.contains("weir_src") && error.contains("max_slot_wal_keep_size"), "{error}");
        assert_eq!(error.contains("invalidation_reason is wal_removed"), version == Version::Eighteen, "{error}");
        assert_eq!(pair.sql.one("SELECT count(*) FROM t").await, "100", "what was read is still served");
        pair.sql.run("DROP SOURCE src CASCADE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_without_a_reader_for_too_long_is_announced_and_stops_the_source_by_its_reason() {
    let mut pair = Pair::of(Version::Eighteen, &["idle_replication_slot_timeout=1s"]).await;
    pair.follow(T, &["t"]).await;
    let notices = pair.sql.notices();
    assert!(notices.iter().any(|n| n.message().contains("idle_replication_slot_timeout is 1s")), "{notices:?}");
    pair.weir.kill();
    eventually("the server gives the slot up", async || {
        pair.up.run("CHECKPOINT").await;
        match pair.up.one("SELECT coalesce(invalidation_reason, '') FROM pg_replication_slots").await.as_str() {
            "idle_timeout" => Ok(()),
            other => Err(other.into()),
        }
    })
    .await;
    pair.revive().await;
    let (state, error) = pair.stopped().await;
    assert_eq!(state, "slot_invalidated", "{error}");
    assert!(error.contains("idle_timeout") && error.contains("Raise idle_replication_slot_timeout"), "{error}");
    assert_eq!(pair.sql.one("SELECT count(*) FROM t").await, "100");
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
