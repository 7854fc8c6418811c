//! (n) What there is costs little: the 2,000th table and view as fast as the first, and a manifest as small as what changed.

use crate::Scale;
use crate::kit::{Client, Weir};
use crate::report::Report;
use std::path::Path;
use std::time::{Duration, Instant};

/// Statements of which the median is taken, at the beginning and at the end.
const SAMPLE: usize = 20;

pub async fn run(scale: Scale, report: &mut Report) {
    let objects = scale.of(2000);
    let weir = Weir::with(&["--workers", "1"]).await;
    let sql = weir.client().await;
    let tables = timed(&sql, objects, |n| format!("CREATE TABLE t{n} (id INT PRIMARY KEY, a INT, s VARCHAR)")).await;
    add(report, format!("(n) CREATE TABLE number {objects}"), &tables);
    let view =
        |n| format!("CREATE MATERIALIZED VIEW v{n} AS SELECT a, count(*) AS n, max(s) AS s FROM t{n} GROUP BY a");
    let views = timed(&sql, objects, view).await;
    add(report, format!("(n) CREATE MATERIALIZED VIEW number {objects}"), &views);
    sql.run("INSERT INTO t1 VALUES (1, 1, 'a')").await;
    let rows: Vec<Duration> = timed(&sql, SAMPLE, |n| format!("INSERT INTO t1 VALUES ({}, 1, 'b')", n + 2)).await;
    let bytes = newest(weir.store());
    report.add(
        format!("(n) manifest with {objects} tables and {objects} views"),
        format!("{:.1} KiB", bytes as f64 / 1024.0),
        format!("one table changed, a durable INSERT takes {:.1} ms", median(&rows).as_secs_f64() * 1e3),
        "<= 64 KiB",
    );
}

async fn timed(sql: &Client, times: usize, statement: impl Fn(usize) -> String) -> Vec<Duration> {
    let mut took = vec![];
    for n in 0..times {
        let began = Instant::now();
        sql.run(&statement(n)).await;
        took.push(began.elapsed());
    }
    took
}

fn add(report: &mut Report, what: String, took: &[Duration]) {
    let (first, last) = (median(&took[..SAMPLE]), median(&took[took.len() - SAMPLE..]));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    report.add(what, format!("{:.1} ms", ms(last)), format!("the first {:.1} ms", ms(first)), "<= 50 ms");
}

fn median(took: &[Duration]) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Bytes of the newest manifest of the store in `folder`.
fn newest(folder: &str) -> u64 {
    let manifests = std::fs::read_dir(Path::new(folder).join("manifest")).expect("manifests").flatten();
    let newest = manifests.max_by_key(|entry| entry.file_name()).expect("a manifest");
    newest.metadata().expect("its size").len()
}
