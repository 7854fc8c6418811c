//! How large a store becomes: nothing is written without a reason, and what was overwritten does not stay for long.

use crate::kit::{Client, Weir, always, eventually};
use serde_json::Value;
use std::time::Duration;

fn number(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).unwrap_or_else(|| panic!("{path} in {report:#}"));
    value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"))
}

async fn overwrite(sql: &Client, round: u32) {
    sql.run(&format!("UPDATE t SET v = v + 1, x = md5((id + {round})::text) WHERE id % 20 = {round} % 20")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_writes_nothing_whatever_the_checkpoint_interval() {
    let weir = Weir::with(&["--checkpoint-interval", "10ms"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE MATERIALIZED VIEW s AS SELECT sum(v) AS s FROM t")
        .await;
    sql.run("INSERT INTO t SELECT i, i FROM generate_series(1, 100) AS g (i); FLUSH").await;
    let look = || {
        let report = weir.inspect(&[]);
        ["/newest/sequence", "/space/stored_bytes", "/space/objects"].map(|path| number(&report, path))
    };
    // A view that was a little behind gets one more checkpoint.
    let mut last = look();
    eventually("the store comes to rest", async || {
        let before = std::mem::replace(&mut last, look());
        if before == last { Ok(()) } else { Err(format!("{before:?}, then {last:?}")) }
    })
    .await;
    // Hundreds of intervals. Ownership is kept by looking alone; what was garbage may go.
    always("nothing is written", Duration::from_secs(5), async || {
        assert_eq!(sql.rows("SELECT s FROM s").await?, [[Some("5050".to_string())]]);
        let now = look();
        let less = now[0] == last[0] && now[1] <= last[1] && now[2] <= last[2];
        if less { Ok(()) } else { Err(format!("{now:?} instead of {last:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_only_overwrites_stays_small() {
    let weir = Weir::with(&["--checkpoint-interval", "50ms"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, x TEXT)").await;
    sql.run("CREATE MATERIALIZED VIEW s AS SELECT v % 10 AS g, count(*) AS n, max(x) AS x FROM t GROUP BY v % 10")
        .await;
    sql.run("INSERT INTO t SELECT i, i, md5(i::text) FROM generate_series(1, 20000) AS g (i)").await;
    let first = number(&weir.inspect(&[]), "/manifests/0/sequence");
    let mut round = 0;
    // Until garbage has been collected, which is looked for every 30 seconds, each row has been overwritten many times.
    eventually("garbage is collected", async || {
        for _ in 0..20 {
            round += 1;
            overwrite(&sql, round).await;
        }
        // Compaction may be slower than a busy machine's writers for a moment. What it has merged is published with what changes next.
        eventually("what is kept is bounded", async || {
            round += 1;
            overwrite(&sql, round).await;
            bounded(&weir.inspect(&["--rows"]))
        })
        .await;
        match number(&weir.inspect(&[]), "/manifests/0/sequence") > first {
            true => Ok(()),
            false => Err(format!("{first} is still there after {round} rounds")),
        }
    })
    .await;
    assert_eq!(sql.one("SELECT sum(n) FROM s").await, "20000");
}

/// What is kept is a few times what is live, whatever was written; the rest goes with the next collection.
fn bounded(report: &Value) -> Result<(), String> {
    let holds = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    let number = |path| number(report, path);
    let live = number("/space/live_bytes");
    assert!(live > 500_000.0, "{:#}", report["space"]);
    // Compaction lets what follows a run grow to three times its size, and more comes while it is at work.
    holds(number("/space/newest_bytes") < 8.0 * live, format!("{:#}", report["space"]))?;
    // Ten checkpoints share most of their runs.
    let kept = number("/space/object_bytes") - number("/garbage/bytes");
    holds(kept < 20.0 * live, format!("{kept} bytes are kept of {live}: {:#}", report["garbage"]))?;
    holds(number("/writes/written_per_sealed") < 6.0, format!("{:#}", report["writes"]))?;
    let manifests = report["manifests"].as_array().expect("manifests");
    let kept = manifests.iter().filter(|manifest| !manifest["kept"].is_null()).count();
    holds(kept <= 12, format!("ten and the last of an hour: {kept}"))?;
    for relation in report["relations"].as_array().expect("relations") {
        for arrangement in relation["arrangements"].as_array().expect("arrangements") {
            let levels = arrangement["held"]["levels"].as_array().map_or(0, Vec::len);
            holds(levels <= 24, format!("{levels} levels: {relation:#}"))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_a_store_is_no_larger_than_twice_what_is_alive() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, x TEXT); CREATE TABLE gone (id INT PRIMARY KEY, x TEXT)").await;
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT id % 10 AS g, count(*) AS n FROM t GROUP BY id % 10").await;
    let filler = "md5(i::text) || md5((i + 1)::text) || md5((i * 7)::text) || md5((i * 31)::text)";
    let fill = |table: &str, rows: u32| {
        format!("INSERT INTO {table} SELECT i, {filler} FROM generate_series(1, {rows}) AS g (i)")
    };
    // One checkpoint holds what stays beside what goes.
    sql.run(&format!("BEGIN; {}; {}; COMMIT", fill("gone", 20_000), fill("t", 20_000))).await;
    for change in ["DROP TABLE gone", "UPDATE t SET x = x || 'y'", "DELETE FROM t WHERE id % 2 = 0", "FLUSH"] {
        sql.run(change).await;
    }
    eventually("the store comes to twice what is alive", async || {
        let space = weir.inspect(&["--rows"])["space"].clone();
        match space["stored_per_live"].as_f64() {
            Some(ratio) if ratio <= 2.0 => Ok(()),
            _ => Err(format!("{space:#}")),
        }
    })
    .await;
    assert_eq!(sql.one("SELECT sum(n) FROM v").await, "10000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_and_dropped_again_and_again_does_not_pile_up() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    for _ in 0..120 {
        sql.run("CREATE TABLE t (id INT PRIMARY KEY, x TEXT)").await;
        sql.run("INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 400) AS g (i)").await;
        sql.run("DROP TABLE t").await;
    }
    let bytes = |report: &Value| number(report, "/space/stored_bytes");
    assert!(bytes(&weir.inspect(&[])) < 100e6);
    eventually("nothing of it is left", async || match bytes(&weir.inspect(&[])) {
        few if few < 1e6 => Ok(()),
        many => Err(format!("{many} bytes")),
    })
    .await;
}
