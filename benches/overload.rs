//! (m) At the limit of memory: heavy queries, one COPY of more than fits and a large transaction upstream at once. What stays within the
//! limit, what is refused, and how long everybody else waits meanwhile.

use crate::fresh::observe;
use crate::kit::{Client, Pair, describe, peak};
use crate::report::Report;
use crate::{LIMIT, Scale};
use bytes::Bytes;
use futures::SinkExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Config;

/// Clients that ask as much as they can.
const CLIENTS: usize = 40;

/// One more than fits, in turn: a sort, groups without number, a join of everything with everything, long values.
const HEAVY: [&str; 4] = [
    "SELECT max(s) FROM (SELECT md5(i::text) AS s FROM generate_series(1, 20000000) AS g (i) ORDER BY 1 LIMIT 10000000) AS x",
    "SELECT count(*) FROM (SELECT md5(i::text) AS s, count(*) FROM generate_series(1, 20000000) AS g (i) GROUP BY 1) AS x",
    "SELECT count(*) FROM generate_series(1, 200000) AS a (i) JOIN generate_series(1, 200000) AS b (j) ON a.i <> b.j",
    "SELECT count(DISTINCT repeat(i::text, 1000)) FROM generate_series(1, 1000000) AS g (i)",
];

/// How often a one-row transaction is made upstream, a second, and how long its reader rests between two questions.
const RATE: f64 = 100.0;
const REST: Duration = Duration::from_millis(5);

pub async fn run(scale: Scale, report: &mut Report) {
    let limit = scale.of(4 << 30).max(256 << 20);
    let flag = format!("{}MB", limit >> 20);
    let pair = Pair::flagged(&["--memory-limit", &flag, "--workers", "1"]).await;
    pair.follow(
        "CREATE TABLE t (id bigint PRIMARY KEY, g int, v int); CREATE TABLE u (id bigint PRIMARY KEY, s text)",
        &["t", "u"],
    )
    .await;
    pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, max(id) AS m FROM t GROUP BY g").await;
    pair.sql.run("CREATE TABLE c (id bigint PRIMARY KEY, s text)").await;
    let (mut next, seconds) = (1, (scale.of(60_000) as f64 / 1e3).max(10.0));
    let quiet = observe(&pair, &mut next, RATE, 5.0, REST).await;
    let calm = logins(pair.weir.config(), Duration::from_secs(2)).await;

    let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
    let queries: Vec<_> = (0..CLIENTS)
        .map(|n| tokio::spawn(ask(pair.weir.config(), HEAVY[n % HEAVY.len()], stop.clone(), counts.clone())))
        .collect();
    let copying = tokio::spawn(copy(pair.weir.config(), limit / 2 * 5));
    let transaction = tokio::spawn(transact(pair.postgres.config(), limit / 4));
    let knocking = tokio::spawn(logins(pair.weir.config(), Duration::from_secs_f64(seconds)));
    let round = observe(&pair, &mut next, RATE, seconds, REST).await;
    let busy = knocking.await.expect("logins are answered");
    let copied = copying.await.expect("COPY ends");
    transaction.await.expect("the transaction ends");
    stop.store(true, Ordering::Release);
    let everything = async {
        for query in queries {
            query.await.expect("a client ends");
        }
        pair.same("SELECT count(*), sum(length(s)) FROM u").await;
    };
    tokio::time::timeout(LIMIT, everything).await.expect("all of it ends");

    let peak = peak(pair.weir.process_id());
    let (answered, refused) = (counts.answered.load(Ordering::Relaxed), counts.refused.load(Ordering::Relaxed));
    report.add(
        format!("(m) most memory, limit {flag}"),
        format!("{peak} MB"),
        format!("{CLIENTS} clients: {answered} answers, {refused} refusals; COPY: {copied}"),
        "no end of the process",
    );
    report.add("(m) freshness meanwhile", round.text(), format!("before: {}", quiet.text()), "");
    report.add("(m) login meanwhile", text(&busy), format!("before: {}", text(&calm)), "p99 <= 200 ms");
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    refused: AtomicU64,
}

/// Asks again and again; what is refused is refused for its memory.
async fn ask(config: Config, sql: &'static str, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    let client = Client::connect(&config).await.expect("connect");
    client.run("SET statement_timeout = '20s'").await;
    while !stop.load(Ordering::Acquire) {
        match client.rows(sql).await {
            Ok(_) => counts.answered.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.starts_with("53200") || error.starts_with("57014") => {
                counts.refused.fetch_add(1, Ordering::Relaxed)
            }
            Err(error) => panic!("{sql}: {error}"),
        };
    }
}

/// A COPY of so many bytes; how it ended.
async fn copy(config: Config, bytes: usize) -> String {
    let client = Client::connect(&config).await.expect("connect");
    let sink = client.copy_in::<_, Bytes>("COPY c FROM STDIN").await.expect("COPY begins");
    let mut sink = pin!(sink);
    let (filler, mut row, mut sent) = ("x".repeat(1000), 0, 0);
    let ended = loop {
        let mut piece = String::new();
        while piece.len() < 1 << 20 {
            row += 1;
            piece.push_str(&format!("{row}\t{filler}\n"));
        }
        sent += piece.len();
        if let Err(error) = sink.send(Bytes::from(piece)).await {
            break Err(error);
        }
        if sent >= bytes {
            break sink.finish().await;
        }
    };
    match ended {
        Ok(rows) => format!("{rows} rows"),
        Err(error) => describe(&error).split('.').next().unwrap_or_default().to_string(),
    }
}

/// So many bytes in one transaction upstream.
async fn transact(config: Config, bytes: usize) {
    let client = Client::connect(&config).await.expect("connect");
    let rows = bytes / 1000;
    client
        .run(&format!("INSERT INTO u SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, {rows}) AS g (i)"))
        .await;
}

/// How long logins with a first answer take, ten a second.
async fn logins(config: Config, span: Duration) -> Vec<Duration> {
    let (mut took, end) = (vec![], Instant::now() + span);
    while Instant::now() < end {
        let began = Instant::now();
        let client = Client::connect(&config).await.expect("connect");
        client.run("SELECT 1").await;
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    took.sort();
    took
}

fn text(took: &[Duration]) -> String {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.0} ms, p99 {:.0} ms", at(0.5), at(0.99))
}
