//! (a) Draining a backlog beside pg_recvlogical, (d) the same with and without checkpoints, (b) the initial copy beside COPY,
//! (e) restart with state.

use crate::kit::{Client, Postgres, Weir};
use crate::report::{Report, amount};
use crate::{LIMIT, Scale, idle};
use std::process::Stdio;
use std::time::{Duration, Instant};

const TABLE: &str =
    "CREATE TABLE t (id bigint PRIMARY KEY, g int, v int, amount numeric(12, 2), note text, at timestamptz)";
const VIEW: &str =
    "CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, sum(v) AS v, sum(amount) AS amount FROM t GROUP BY g";
const CHECK: &str = "SELECT sum(n), sum(v), sum(amount) FROM s";

fn rows(from: usize, to: usize) -> String {
    format!(
        "SELECT i, i % 1000, i % 7, i * 0.01, 'note of row ' || i, timestamptz '2026-01-01 00:00+00' + i * interval '1 second' \
         FROM generate_series({from}, {to}) AS i"
    )
}

/// Waits until the view gives what Postgres' own query gives; how long it took from `start`.
async fn caught_up(sql: &Client, expected: &str, start: Instant) -> Duration {
    loop {
        if let Ok(rows) = sql.rows(CHECK).await
            && format!("{rows:?}") == expected
        {
            return start.elapsed();
        }
        assert!(start.elapsed() < LIMIT, "the view does not catch up");
        // Often enough for the clock, and seldom enough to take nothing from what is measured.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn expected(up: &Client) -> String {
    let truth = up.rows("SELECT count(*), sum(v), sum(amount) FROM t").await.expect("ask Postgres");
    format!("{truth:?}")
}

/// Kills it and starts it again; when that was, and a session as soon as there is one.
pub async fn restarted(weir: &mut Weir) -> (Instant, Client) {
    weir.kill();
    let start = Instant::now();
    weir.spawn();
    loop {
        match weir.connect().await {
            Ok(sql) => return (start, sql),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// (a) and (d): a backlog of inserts and updates written while Weir is stopped.
pub async fn drain(scale: Scale, report: &mut Report) {
    let (inserts, updates) = (scale.of(2_000_000), scale.of(1_000_000));
    let changes = (inserts + updates) as f64;
    let postgres = Postgres::start(&["max_wal_size=8GB", "synchronous_commit=off"]).await;
    let up = postgres.client().await;
    up.run(TABLE).await;
    let mut weirs = vec![];
    for (name, interval) in [("with", "1s"), ("without", "1h")] {
        let mut weir = Weir::with(&["--workers", "1", "--checkpoint-interval", interval]).await;
        let sql = weir.client().await;
        sql.run(&format!("CREATE SOURCE src WITH ({})", postgres.options(&format!("weir_{name}"), ""))).await;
        sql.run("CREATE TABLE t (*) FROM src TABLE 'public.t'").await;
        sql.run(VIEW).await;
        weir.stop();
        weirs.push((name, weir));
    }
    up.run("SELECT pg_create_logical_replication_slot('plain', 'pgoutput')").await;
    println!("writing {} inserts and {} updates", amount(inserts as f64), amount(updates as f64));
    for from in (1..=inserts).step_by(1000) {
        up.run(&format!("INSERT INTO t {}", rows(from, (from + 999).min(inserts)))).await;
    }
    for from in (1..=updates).step_by(1000) {
        up.run(&format!(
            "UPDATE t SET v = v + 1, note = 'changed' WHERE id BETWEEN {from} AND {}",
            (from + 999).min(updates)
        ))
        .await;
    }
    let end = up.one("SELECT pg_current_wal_lsn()").await;
    let truth = expected(&up).await;

    let start = Instant::now();
    let mut command = postgres.command("pg_recvlogical");
    command.args(["--slot", "plain", "--start", "-f", "/dev/null", "--no-loop", "-E", &end]);
    command.args(["-o", "proto_version=1", "-o", "publication_names=weir_with"]);
    assert!(command.status().is_ok_and(|status| status.success()), "pg_recvlogical drains the backlog");
    let plain = changes / start.elapsed().as_secs_f64();

    let mut figures = vec![];
    for (_, weir) in &mut weirs {
        let start = Instant::now();
        weir.spawn();
        weir.ready().await;
        let taken = caught_up(&weir.client().await, &truth, start).await;
        figures.push((changes / taken.as_secs_f64(), idle::cpu(weir.process_id()), idle::memory(weir.process_id())));
        weir.stop();
    }
    let (with, without) = (figures[0].0, figures[1].0);
    report.add(
        "(a) change stream into a table and an aggregating view",
        format!("{} changes/s", amount(with)),
        format!("pg_recvlogical {}/s: {:.0} %", amount(plain), with / plain * 100.0),
        ">= 80 %",
    );
    report.add(
        "(a) of which CPU and memory",
        format!("{:.1} CPU s", figures[0].1),
        format!("{:.0} MB resident", figures[0].2),
        "",
    );
    report.add(
        "(d) throughput with checkpoints every 1 s",
        format!("{} changes/s", amount(with)),
        format!("without {}/s: {:.0} %", amount(without), with / without * 100.0),
        ">= 90 %",
    );
}

/// (b) and (e).
pub async fn copy(scale: Scale, report: &mut Report) {
    let amount_of_rows = scale.of(5_000_000);
    let postgres = Postgres::start(&["max_wal_size=8GB", "synchronous_commit=off"]).await;
    let up = postgres.client().await;
    up.run(TABLE).await;
    println!("writing {} rows", amount(amount_of_rows as f64));
    up.run(&format!("INSERT INTO t {}", rows(1, amount_of_rows))).await;
    up.run("VACUUM ANALYZE t").await;
    let truth = expected(&up).await;

    let start = Instant::now();
    let mut command = postgres.command("psql");
    command.args(["-X", "-q"]);
    command.args(["-c", "COPY t TO STDOUT (FORMAT binary)"]).stdout(Stdio::null());
    assert!(command.status().is_ok_and(|status| status.success()), "COPY");
    let plain = amount_of_rows as f64 / start.elapsed().as_secs_f64();

    let mut weir = Weir::with(&["--workers", "1"]).await;
    let sql = weir.client().await;
    sql.run(&format!("CREATE SOURCE src WITH ({})", postgres.options("weir_src", ""))).await;
    let start = Instant::now();
    sql.run("CREATE TABLE t (*) FROM src TABLE 'public.t'").await;
    let taken = start.elapsed();
    let ours = amount_of_rows as f64 / taken.as_secs_f64();
    report.add(
        format!("(b) initial copy of {} rows", amount(amount_of_rows as f64)),
        format!("{} rows/s", amount(ours)),
        format!("COPY {}/s: {:.0} %", amount(plain), ours / plain * 100.0),
        ">= 70 %",
    );
    let start = Instant::now();
    sql.run(VIEW).await;
    caught_up(&sql, &truth, start).await;
    report.add(
        "(b) a view over them",
        format!("{:.1} s", start.elapsed().as_secs_f64()),
        format!("{:.0} MB resident", idle::memory(weir.process_id())),
        "",
    );
    sql.run("FLUSH").await;

    let (start, sql) = restarted(&mut weir).await;
    let taken = caught_up(&sql, &truth, start).await;
    report.add(
        format!("(e) restart to first correct answer, {} rows", amount(amount_of_rows as f64)),
        format!("{:.2} s", taken.as_secs_f64()),
        "",
        "<= 3 s",
    );
}
