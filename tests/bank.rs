//! A bank: money moves between two tables, the total never moves in any read, whatever is killed meanwhile.

use crate::kit::{Client, Pair, Postgres, Stop, Weir, eventually, number};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio_postgres::Config;

const ACCOUNTS: i32 = 50;
const TOTAL: i32 = ACCOUNTS * 2 * 1000;
/// Unless KILLS says otherwise.
const KILLS: usize = 20;

const TABLES: &str = "
    CREATE TABLE checking (id int PRIMARY KEY, owner int, balance int);
    CREATE TABLE savings (id int PRIMARY KEY, owner int, balance int);
    INSERT INTO checking SELECT i, i, 1000 FROM generate_series(1, 50) AS i;
    INSERT INTO savings SELECT i, i, 1000 FROM generate_series(1, 50) AS i";
const VIEWS: &[(&str, &str)] = &[
    (
        "wealth",
        "SELECT c.owner, c.balance + s.balance AS balance FROM checking AS c JOIN savings AS s ON s.owner = c.owner",
    ),
    (
        "total",
        "SELECT sum(balance) AS total FROM (SELECT balance FROM checking UNION ALL SELECT balance FROM savings) AS b",
    ),
    ("sums", "SELECT (SELECT sum(balance) FROM checking) + (SELECT sum(balance) FROM savings) AS total"),
    ("above", "SELECT sum(balance) AS total, count(*) AS owners FROM wealth"),
    (
        "poor",
        "SELECT c.id FROM checking AS c WHERE NOT EXISTS (SELECT 1 FROM savings AS s WHERE s.id = c.id AND s.balance >= c.balance)",
    ),
];
/// Each must give the same number in every read.
const READS: &[&str] = &[
    "SELECT total FROM total",
    "SELECT total FROM sums",
    "SELECT total FROM above",
    "SELECT sum(balance) FROM wealth",
    "SELECT (SELECT sum(balance) FROM checking) + (SELECT sum(balance) FROM savings)",
    "SELECT t.total FROM total AS t JOIN sums AS s ON s.total = t.total",
];

struct Flow {
    stop: AtomicBool,
    transfers: AtomicUsize,
    reads: AtomicUsize,
}

/// Moves money until told to stop; connects again whenever the server was away.
async fn teller(config: Config, seed: u64, flow: Arc<Flow>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut client = None;
    while !flow.stop.load(Ordering::Relaxed) {
        let Some(open) = &client else {
            client = Client::connect(&config).await.ok();
            continue;
        };
        let (from, to) = if random.random() { ("checking", "savings") } else { ("savings", "checking") };
        let (a, b, sum) =
            (random.random_range(1..=ACCOUNTS), random.random_range(1..=ACCOUNTS), random.random_range(1..100));
        let transfer = format!(
            "BEGIN; UPDATE {from} SET balance = balance - {sum} WHERE id = {a}; \
             UPDATE {to} SET balance = balance + {sum} WHERE id = {b}; COMMIT"
        );
        let done = open.rows(&transfer).await;
        if done.is_ok() {
            flow.transfers.fetch_add(1, Ordering::Relaxed);
        } else if open.is_closed() {
            client = None;
        } else {
            // Two tellers in each other's way: Postgres chose this one to give up.
            let _ = open.rows("ROLLBACK").await;
        }
    }
}

/// Reads the total in every way until told to stop. Servers may be away; totals may not be wrong.
async fn auditor(config: Config, flow: Arc<Flow>) {
    let mut client = None;
    let mut round = 0;
    while !flow.stop.load(Ordering::Relaxed) {
        let Some(open) = &client else {
            client = Client::connect(&config).await.ok();
            continue;
        };
        let query = READS[round % READS.len()];
        round += 1;
        match open.rows(query).await {
            Ok(rows) => {
                assert_eq!(rows, [[Some(TOTAL.to_string())]], "money appeared or vanished in: {query}");
                flow.reads.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if open.is_closed() => client = None,
            Err(error) => assert!(error.starts_with("55000"), "{error}\nin: {query}"),
        }
    }
}

async fn more(counter: &AtomicUsize, by: usize) {
    let goal = counter.load(Ordering::Relaxed) + by;
    eventually("the bank goes on", async || match counter.load(Ordering::Relaxed) {
        now if now >= goal => Ok(()),
        now => Err(format!("{now} of {goal}")),
    })
    .await;
}

async fn open() -> (Postgres, Weir) {
    let pair = Pair::start().await;
    pair.follow(TABLES, &["checking", "savings"]).await;
    for (name, query) in VIEWS {
        pair.sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        pair.up.run(&format!("CREATE VIEW {name} AS {query}")).await;
    }
    (pair.postgres, pair.weir)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_never_moves_under_load_and_kills() {
    let seed = number("SEED").unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut postgres, mut weir) = open().await;
    let flow = Arc::new(Flow { stop: false.into(), transfers: 0.into(), reads: 0.into() });
    let mut people = vec![];
    for _ in 0..3 {
        people.push(tokio::spawn(teller(postgres.config(), random.random(), flow.clone())));
    }
    for _ in 0..2 {
        people.push(tokio::spawn(auditor(weir.config(), flow.clone())));
    }
    more(&flow.reads, 20).await;
    let kills = number("KILLS").map_or(KILLS, |kills| kills as usize);
    let upstream_restart = random.random_range(0..kills);
    for kill in 0..kills {
        more(&flow.transfers, random.random_range(1..200)).await;
        weir.kill();
        if kill == upstream_restart {
            postgres.stop(Stop::Immediate);
            postgres.launch().await;
        }
        weir.spawn();
        if random.random() {
            // Also while it is still recovering.
            continue;
        }
        weir.ready().await;
        more(&flow.reads, 5).await;
    }
    weir.ready().await;
    postgres.stop(Stop::Fast);
    postgres.launch().await;
    more(&flow.transfers, 100).await;
    more(&flow.reads, 20).await;
    flow.stop.store(true, Ordering::Relaxed);
    for person in people {
        person.await.expect("nobody saw a wrong total");
    }
    let (up, sql) = (postgres.client().await, weir.client().await);
    for relation in ["checking", "savings", "wealth", "total", "sums", "above", "poor"] {
        crate::kit::same(&sql, &up, &format!("SELECT * FROM {relation}")).await;
    }
    println!(
        "{kills} kills, {} transfers, {} reads, none wrong",
        flow.transfers.load(Ordering::Relaxed),
        flow.reads.load(Ordering::Relaxed)
    );
}
