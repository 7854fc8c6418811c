//! (c) Freshness: from a commit's answer in Postgres to the row's presence in a SELECT on another connection to Weir.

use crate::Scale;
use crate::kit::{Client, Pair};
use crate::report::{Report, amount};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub async fn run(scale: Scale, report: &mut Report) {
    // Postgres sends what it has flushed: a commit that does not wait for that is late by Postgres' own choice.
    let pair = Pair::with(&[]).await;
    pair.follow("CREATE TABLE t (id bigint PRIMARY KEY, g int, v int)", &["t"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, max(id) AS m FROM t GROUP BY g").await;
    let seconds = (scale.of(20_000) as f64 / 1000.0).clamp(3.0, 20.0);
    let mut next = 1;
    let first = measure(&pair, &mut next, 1000.0, seconds).await;
    report.add(
        "(c) freshness at 1,000 transactions/s",
        first.text(),
        format!("{}/s reached", amount(first.rate)),
        "p99 <= 50 ms",
    );
    let mut best = first;
    let mut rate = 2000.0;
    loop {
        let round = measure(&pair, &mut next, rate, seconds / 2.0).await;
        if round.rate < rate * 0.9 || round.p99 > Duration::from_secs(1) {
            best = if round.p99 <= Duration::from_secs(1) { round } else { best };
            break;
        }
        best = round;
        rate *= 2.0;
    }
    report.add("(c) freshness at the highest sustained rate", best.text(), format!("{}/s", amount(best.rate)), "");
}

pub struct Round {
    rate: f64,
    p50: Duration,
    p99: Duration,
    pub worst: Duration,
}

impl Round {
    pub fn text(&self) -> String {
        format!("p50 {:.1} ms, p99 {:.1} ms", self.p50.as_secs_f64() * 1e3, self.p99.as_secs_f64() * 1e3)
    }
}

/// One writer of one-row transactions at `rate`, one reader that asks for the newest row as fast as it can.
async fn measure(pair: &Pair, next: &mut i64, rate: f64, seconds: f64) -> Round {
    observe(pair, next, rate, seconds, Duration::ZERO).await
}

/// The same with a reader that rests so long between two questions: one that does not takes a core of its own.
pub async fn observe(pair: &Pair, next: &mut i64, rate: f64, seconds: f64, rest: Duration) -> Round {
    let done = Arc::new(AtomicBool::new(false));
    let first = *next;
    let writer = tokio::spawn(write(pair.postgres.config(), first, rate, seconds, done.clone()));
    let mut seen = vec![];
    let mut newest = first - 1;
    let mut last = None;
    loop {
        let text = pair.sql.rows("SELECT max(m) FROM s").await.expect("read the view")[0][0].clone();
        let id = text.and_then(|id| id.parse().ok()).unwrap_or(0);
        if id > newest {
            seen.push((id, Instant::now()));
            newest = id;
        }
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        if done.load(Ordering::Acquire) {
            let end = *last.get_or_insert_with(|| Instant::now() + Duration::from_secs(30));
            let written = pair.up.one("SELECT max(id) FROM t").await;
            if newest.to_string() == written || Instant::now() > end {
                break;
            }
        }
    }
    let commits = writer.await.expect("the writer ends well");
    *next = first + commits.len() as i64;
    let mut visible = seen.into_iter().peekable();
    let mut delays: Vec<Duration> = commits
        .iter()
        .enumerate()
        .filter_map(|(at, commit)| {
            while visible.peek().is_some_and(|(id, _)| *id < first + at as i64) {
                visible.next();
            }
            Some(visible.peek()?.1.saturating_duration_since(*commit))
        })
        .collect();
    delays.sort();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let span = commits[commits.len() - 1].duration_since(commits[0]).as_secs_f64();
    Round { rate: commits.len() as f64 / span, p50: at(0.5), p99: at(0.99), worst: at(1.0) }
}

/// When each commit was answered, in order of ids.
async fn write(
    config: tokio_postgres::Config,
    first: i64,
    rate: f64,
    seconds: f64,
    done: Arc<AtomicBool>,
) -> Vec<Instant> {
    let client = Client::connect(&config).await.expect("connect");
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, 1)").await.expect("prepare");
    let start = Instant::now();
    let mut commits = vec![];
    while start.elapsed().as_secs_f64() < seconds {
        let due = start + Duration::from_secs_f64(commits.len() as f64 / rate);
        if let Some(wait) = due.checked_duration_since(Instant::now())
            && wait > Duration::from_millis(1)
        {
            tokio::time::sleep(wait).await;
        }
        let id = first + commits.len() as i64;
        client.execute(&insert, &[&id, &((id % 100) as i32)]).await.expect("insert");
        commits.push(Instant::now());
    }
    done.store(true, Ordering::Release);
    commits
}
