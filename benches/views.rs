//! (h) Freshness while a large view is made, (j) memory while a view lags, (l) freshness and CPU with many views.

use crate::fresh::{Round, observe};
use crate::kit::{Client, Pair};
use crate::report::{Report, amount};
use crate::{Scale, idle};
use std::time::{Duration, Instant};

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, g int, v int)";
const VIEW: &str = "CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, max(id) AS m FROM t GROUP BY g";

/// Transactions a second while something else is measured.
const RATE: f64 = 200.0;

/// How long the reader rests between two questions.
const REST: Duration = Duration::from_millis(2);

async fn start() -> Pair {
    let pair = Pair::start().await;
    pair.follow(TABLE, &["t"]).await;
    pair.sql.run(VIEW).await;
    pair
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// (h)
pub async fn create(scale: Scale, report: &mut Report) {
    let rows = scale.of(5_000_000);
    let pair = start().await;
    println!("writing {} rows", amount(rows as f64));
    fill(&pair.sql, "large", rows).await;
    let mut next = 1;
    let before = observe(&pair, &mut next, RATE, 5.0, REST).await;
    let maker = pair.weir.client().await;
    let began = Instant::now();
    let making = tokio::spawn(async move {
        maker.run("CREATE MATERIALIZED VIEW wide AS SELECT id % 1000000 AS k, count(*) AS n, sum(v) AS v FROM large GROUP BY 1").await;
        began.elapsed()
    });
    let mut worst: Option<Round> = None;
    while !making.is_finished() {
        let round = observe(&pair, &mut next, RATE, 1.0, REST).await;
        if worst.as_ref().is_none_or(|worst| round.worst > worst.worst) {
            worst = Some(round);
        }
    }
    let took = making.await.expect("the view is made");
    let worst = worst.expect("making it takes a moment");
    report.add(
        format!("(h) worst freshness while a view over {} rows is made", amount(rows as f64)),
        milliseconds(worst.worst),
        format!(
            "before {}: {:.1} x",
            milliseconds(before.worst),
            worst.worst.as_secs_f64() / before.worst.as_secs_f64()
        ),
        "<= 2 x",
    );
    report.add("(h) making it", format!("{:.1} s", took.as_secs_f64()), "", "");
}

/// A table of our own with so many rows.
pub async fn fill(sql: &Client, name: &str, rows: usize) {
    const CHUNK: usize = 500_000;
    sql.run(&format!("CREATE TABLE {name} (id bigint PRIMARY KEY, g int, v int)")).await;
    for from in (1..=rows).step_by(CHUNK) {
        let to = (from + CHUNK - 1).min(rows);
        let series = format!("generate_series({from}, {to}) AS x (i)");
        sql.run(&format!("INSERT INTO {name} SELECT i, (i % 1000)::int, (i % 7)::int FROM {series}")).await;
    }
}

/// (j): one view that takes nothing for so long, under a steady stream; memory at the beginning and at the end, beside the same with one
/// that keeps up.
pub async fn lag(scale: Scale, report: &mut Report) {
    let seconds = scale.of(600_000) / 1000;
    let mut grown = vec![];
    for name in ["slow", "other"] {
        let mut pair = Pair::start().await;
        let slow = format!("{name}={seconds}s");
        pair.weir = crate::kit::Weir::with(&["--slow-view", &slow, "--workers", "1"]).await;
        pair.sql = pair.weir.client().await;
        pair.follow(TABLE, &["t"]).await;
        pair.sql.run(VIEW).await;
        let maker = pair.weir.client().await;
        // Its operators rest before the first rows as well: nobody waits for it.
        let making = tokio::spawn(async move {
            let _ =
                maker.simple_query("CREATE MATERIALIZED VIEW slow AS SELECT v, count(*) AS n FROM t GROUP BY v").await;
        });
        let mut next = 1;
        observe(&pair, &mut next, RATE, 3.0, REST).await;
        let before = idle::memory(pair.weir.process_id());
        observe(&pair, &mut next, 1000.0, seconds as f64, REST).await;
        grown.push((before, idle::memory(pair.weir.process_id())));
        making.abort();
    }
    let text = |(before, after): (f64, f64)| format!("{before:.0} MB -> {after:.0} MB");
    report.add(
        format!("(j) memory while a view lags {seconds} s"),
        text(grown[0]),
        format!("no view lags: {}", text(grown[1])),
        "bounded",
    );
}

/// (l): each view counts one group, and only one group changes.
pub async fn many(scale: Scale, report: &mut Report) {
    let seconds = (scale.of(10_000) as f64 / 1000.0).max(3.0);
    let pair = start().await;
    let (mut next, mut views) = (1, 0);
    for count in [1, 20, 200] {
        while views < count {
            let query = format!("SELECT count(*) AS n FROM t WHERE v = {views}");
            pair.sql.run(&format!("CREATE MATERIALIZED VIEW one_{views} AS {query}")).await;
            views += 1;
        }
        let (before, began) = (idle::cpu(pair.weir.process_id()), Instant::now());
        let round = observe(&pair, &mut next, RATE, seconds, REST).await;
        let share = (idle::cpu(pair.weir.process_id()) - before) / began.elapsed().as_secs_f64();
        report.add(
            format!("(l) freshness with {count} views of which one changes"),
            round.text(),
            format!("{:.0} % of a core, its reader included", share * 100.0),
            "",
        );
    }
}
