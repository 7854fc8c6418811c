//! (i) Bytes written to the store for each byte that changed, (k) restart with more and more state.

use crate::kit::{Client, Weir};
use crate::report::{Report, amount};
use crate::{LIMIT, Scale, stream, views};
use std::fs;
use std::time::{Duration, Instant};

/// Bytes of a row's values: two numbers of four, one of eight.
const ROW: f64 = 16.0;

/// (i): updates spread over a table, a checkpoint each second.
pub async fn written(scale: Scale, report: &mut Report) {
    let (rows, updates) = (scale.of(1_000_000), scale.of(1_000_000));
    let weir = Weir::with(&["--workers", "1"]).await;
    let sql = weir.client().await;
    views::fill(&sql, "t", rows).await;
    sql.run("FLUSH").await;
    let before = bytes(weir.process_id());
    const BATCH: usize = 1000;
    sql.run("SET dml_wait_persistence = false").await;
    for round in 0..updates / BATCH {
        // A stride that is prime meets all rows before it meets one again.
        let series = format!("generate_series({}, {}) AS x (i)", round * BATCH, (round + 1) * BATCH - 1);
        sql.run(&format!("INSERT INTO t SELECT (i * 7919) % {rows} + 1, (i % 1000)::int, {} FROM {series}", round + 7))
            .await;
    }
    sql.run("FLUSH").await;
    let written = bytes(weir.process_id()) - before;
    let changed = updates as f64 * ROW;
    report.add(
        format!(
            "(i) bytes written per byte changed, {} updates of {} rows",
            amount(updates as f64),
            amount(rows as f64)
        ),
        format!("{:.1}", written / changed),
        format!("{:.0} MB for {:.0} MB", written / 1e6, changed / 1e6),
        "",
    );
}

/// Written to files so far.
fn bytes(process: u32) -> f64 {
    let io = fs::read_to_string(format!("/proc/{process}/io")).expect("the process runs");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("write_bytes");
    line.trim().parse().expect("a number")
}

/// (k): killed; how long until a view and a row of the table are read right, and until a row can be written.
pub async fn restart(scale: Scale, report: &mut Report) {
    for rows in [scale.of(5_000_000), scale.of(20_000_000)] {
        let mut weir = Weir::with(&["--workers", "1"]).await;
        let sql = weir.client().await;
        println!("writing {} rows", amount(rows as f64));
        views::fill(&sql, "t", rows).await;
        sql.run("CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, sum(v) AS v FROM t GROUP BY g").await;
        sql.run("FLUSH").await;
        let (start, sql) = stream::restarted(&mut weir).await;
        let view = answered(&sql, "SELECT sum(n) FROM s", &rows.to_string(), start).await;
        let row =
            answered(&sql, &format!("SELECT g FROM t WHERE id = {rows}"), &(rows % 1000).to_string(), start).await;
        sql.run("INSERT INTO t VALUES (0, 0, 0)").await;
        let written = start.elapsed();
        report.add(
            format!("(k) restart to a view's answer, {} rows", amount(rows as f64)),
            format!("{:.2} s", view.as_secs_f64()),
            format!("a row by key {:.2} s, a write {:.2} s", row.as_secs_f64(), written.as_secs_f64()),
            "flat",
        );
    }
}

async fn answered(sql: &Client, query: &str, expected: &str, start: Instant) -> Duration {
    loop {
        if let Ok(rows) = sql.rows(query).await
            && rows.first().and_then(|row| row[0].as_deref()) == Some(expected)
        {
            return start.elapsed();
        }
        assert!(start.elapsed() < LIMIT, "{query} is never answered right");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
