//! Disks that are full: the store's, and the one with the spill folder. What does not fit is told by name, all else continues, and so does
//! that once there is room.

use crate::kit::{Client, Disk, Pair, Weir, eventually};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;

/// What is written to a store of 8 MB.
const BATCHES: u64 = 40;
const ROWS: u64 = 5;

/// Rows that no compression makes smaller.
fn rows(batch: u64) -> String {
    let mut random = SmallRng::seed_from_u64(batch);
    let mut text = || (0..100_000).map(|_| random.random_range('a'..='z')).collect::<String>();
    let rows: Vec<String> = (0..ROWS).map(|row| format!("({}, '{}')", batch * ROWS + row, text())).collect();
    format!("INSERT INTO t VALUES {}", rows.join(", "))
}

/// Waits until /health is this; what it says.
async fn health(weir: &Weir, status: u16, part: &str) -> String {
    eventually(&format!("health is {status}, {part}"), async || {
        match weir.get("/health").await.map_err(|error| error.to_string())? {
            (found, told) if found == status && told.contains(part) => Ok(told),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

async fn check(sql: &Client) {
    eventually("all that was written is there", async || {
        let found =
            sql.rows("SELECT (SELECT count(*) FROM t), (SELECT sum(length(s)) FROM t), (SELECT n FROM v)").await?;
        let expected = [BATCHES * ROWS, BATCHES * ROWS * 100_000, BATCHES * ROWS].map(|n| Some(n.to_string()));
        if found == [expected] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_disk_is_full_says_so_and_goes_on_once_there_is_room() {
    let disk = Disk::new("8m").await;
    let mut weir = Weir::run_by(disk.runner(), &disk.below("store"), &[]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, s TEXT)").await;
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    let writer = Arc::new(weir.client().await);
    let own = writer.clone();
    let written = tokio::spawn(async move {
        for batch in 0..BATCHES {
            own.run(&rows(batch)).await;
        }
    });
    let told = health(&weir, 503, "No space left on device").await;
    assert!(told.contains("nothing becomes durable") && told.contains("(53100)"), "{told}");
    // Whoever waits is told why, and by its code.
    let mut told = vec![];
    eventually("who waits is told why", async || {
        told.extend(writer.notices().iter().map(|notice| format!("{} {}", notice.code().code(), notice.message())));
        let is_told = |told: &String| told.starts_with("53100 this statement waits") && told.contains("No space left");
        if told.iter().any(is_told) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert!(!written.is_finished(), "more was written than there is room for");
    let log = weir.log();
    assert!(log.contains("checkpoints wait, nothing is acknowledged") && log.contains("No space left"), "{log}");
    // What is there is read.
    let before: u64 = sql.one("SELECT n FROM v").await.parse().expect("a number");
    assert!(before < BATCHES * ROWS);
    assert_eq!(sql.one("SELECT length(s) FROM t WHERE id = 3").await, "100000");
    disk.grow("1g");
    written.await.expect("every INSERT is answered");
    check(&sql).await;
    health(&weir, 200, "ok").await;
    weir.kill();
    weir.restart().await;
    check(&weir.client().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_while_the_disk_is_full_has_all_that_it_answered() {
    let disk = Disk::new("1g").await;
    let mut weir = Weir::run_by(disk.runner(), &disk.below("store"), &[]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, s TEXT)").await;
    sql.run(&rows(0)).await;
    disk.fill().await;
    let late = weir.client().await;
    let unanswered = tokio::spawn(async move { late.rows(&rows(1)).await });
    health(&weir, 503, "No space left on device").await;
    weir.kill();
    assert!(unanswered.await.expect("no panic").is_err(), "what is not durable is not confirmed");
    disk.grow("1g");
    weir.restart().await;
    let sql = weir.client().await;
    sql.run(&rows(2)).await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, (2 * ROWS).to_string());
}

/// Of which a transaction keeps 4 MB in memory, and a source reads 8.
const MEMORY: [&str; 2] = ["--memory-limit", "256MB"];

/// Megabytes.
fn insert(from: u64, megabytes: u64) -> String {
    let (first, last) = (from * 1000, (from + megabytes) * 1000 - 1);
    format!("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series({first}, {last}) AS x (g)")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_spill_folder_has_no_room_for_fails_alone() {
    let (disk, home) = (Disk::new("8m").await, tempfile::tempdir().expect("a folder"));
    let store = home.path().join("store").to_string_lossy().into_owned();
    let spill = disk.below("");
    let weir = Weir::run_by(disk.runner(), &store, &[&MEMORY[..], &["--spill-dir", spill.as_str()][..]].concat()).await;
    let (sql, other) = (weir.client().await, weir.client().await);
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, s TEXT); CREATE TABLE small (id INT PRIMARY KEY)").await;
    sql.run("BEGIN").await;
    let mut from = 0;
    let error = loop {
        assert!(from < 40, "all of it fits");
        match sql.rows(&insert(from, 2)).await {
            Ok(_) => from += 2,
            Err(error) => break error,
        }
        other.run(&format!("INSERT INTO small VALUES ({from})")).await;
    };
    assert!(error.starts_with("53100") && error.contains("spill folder") && error.contains("No space left"), "{error}");
    other.run("INSERT INTO small VALUES (-1)").await;
    assert_eq!(sql.error("SELECT 1").await.code().code(), "25P02");
    sql.run("ROLLBACK").await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "0");
    // What it had there is gone: one that fits goes through.
    sql.run(&format!("BEGIN; {}; {}; {}; COMMIT", insert(0, 2), insert(2, 2), insert(4, 2))).await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "6000");
    disk.grow("64m");
    let all: String = (3..12).map(|n| format!("{};", insert(n * 2, 2))).collect();
    sql.run(&format!("BEGIN; {all} COMMIT")).await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "24000");
    assert_eq!(sql.one("SELECT count(*) FROM small").await, (from / 2 + 1).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_waits_for_room_in_the_spill_folder_and_says_so() {
    let (disk, home) = (Disk::new("4m").await, tempfile::tempdir().expect("a folder"));
    let store = home.path().join("store").to_string_lossy().into_owned();
    let spill = disk.below("");
    let pair = Pair::run_by(disk.runner(), &store, &[&MEMORY[..], &["--spill-dir", spill.as_str()][..]].concat()).await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY, s text)", &["t"]).await;
    pair.sql.run("CREATE TABLE own (id INT PRIMARY KEY)").await;
    // More than the source may keep before its transaction has ended.
    pair.up.run(&insert(0, 40)).await;
    eventually("the source says what it waits for", async || {
        let rows = pair.sql.rows("SELECT state, last_error FROM rw_catalog.rw_sources").await?;
        let told = rows[0][1].clone().unwrap_or_default();
        if told.contains("spill folder") && told.contains("No space left") { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    // Nothing of it is there, and what does not need the folder continues.
    assert_eq!(pair.sql.one("SELECT count(*) FROM t").await, "0");
    pair.sql.run("INSERT INTO own VALUES (1)").await;
    disk.grow("256m");
    pair.same("SELECT count(*), sum(id), sum(length(s)) FROM t").await;
    pair.up.run("UPDATE t SET s = 'short' WHERE id < 100").await;
    pair.same("SELECT count(*), sum(id), sum(length(s)) FROM t").await;
}
