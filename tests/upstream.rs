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
