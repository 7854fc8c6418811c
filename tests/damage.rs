//! Damaged stores: whatever happens to one object, what is answered is right or an error, and nobody waits for ever.
//!
//! `TRIALS=1000` for more; `make soak` asks for that. Each trial prints its seed when it fails.

use crate::kit::{Client, PATIENCE, Weir, number};
use futures::StreamExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Servers that run at once.
const AT_ONCE: usize = 4;

const QUERIES: [&str; 5] = [
    "SELECT id, v, x FROM t ORDER BY id",
    "SELECT g, n, x FROM s ORDER BY g",
    "SELECT n FROM total",
    "SELECT t.id, s.n FROM t JOIN s ON s.g = t.v % 7 ORDER BY t.id",
    "SELECT id FROM notes ORDER BY id",
];

/// What a client sees, or why it sees nothing.
type Seen = Result<Vec<Vec<Option<String>>>, String>;

async fn ask(sql: &Client, query: &str) -> Seen {
    let answer = tokio::time::timeout(PATIENCE, sql.rows(query)).await;
    answer.unwrap_or_else(|_| panic!("{query} is never answered"))
}

/// A store with runs of several checkpoints, some merged, of tables and views.
async fn sound() -> (Weir, Vec<Seen>) {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, x TEXT); CREATE TABLE notes (id INT PRIMARY KEY)").await;
    sql.run("CREATE MATERIALIZED VIEW s AS SELECT v % 7 AS g, count(*) AS n, max(x) AS x FROM t GROUP BY v % 7").await;
    sql.run("CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n FROM s").await;
    sql.run("INSERT INTO t SELECT i, i, repeat(md5(i::text), 3) FROM generate_series(1, 500) AS g (i)").await;
    for i in 0..12 {
        sql.run(&format!("UPDATE t SET v = v + {i} WHERE id % 5 = {i} % 5; INSERT INTO notes VALUES ({i})")).await;
    }
    // The last few manifests say the same, so that without the newest of them nothing else is right.
    sql.run("FLUSH; FLUSH; FLUSH").await;
    let mut expected = vec![];
    for query in QUERIES {
        expected.push(Ok(ask(&sql, query).await.expect("an answer")));
    }
    weir.kill();
    (weir, expected)
}

/// Damages one object, in a way that can be told to people.
fn damage(store: &Path, random: &mut SmallRng) -> String {
    let folder = store.join(if random.random_bool(0.2) { "manifest" } else { "data" });
    let mut objects: Vec<PathBuf> = fs::read_dir(&folder).expect("a folder").flatten().map(|e| e.path()).collect();
    objects.sort();
    let object = objects.choose(random).expect("an object").clone();
    let mut bytes = fs::read(&object).expect("an object can be read");
    let name = object.strip_prefix(store).expect("below the store").display().to_string();
    match random.random_range(0..4) {
        0 => {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= random.random_range(1..=255u8);
            fs::write(&object, bytes).expect("it can be written");
            format!("byte {at} of {name} is flipped")
        }
        1 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            fs::write(&object, &bytes).expect("it can be written");
            format!("{name} ends after {} bytes", bytes.len())
        }
        2 => {
            fs::remove_file(&object).expect("it can be removed");
            format!("{name} is gone")
        }
        _ => {
            let other = objects.choose(random).expect("an object");
            fs::write(&object, fs::read(other).expect("an object can be read")).expect("it can be written");
            fs::write(other, bytes).expect("it can be written");
            format!("{name} and {} are swapped", other.display())
        }
    }
}

/// Whether the server came to answer at all.
async fn attempt(sound: &str, expected: &[Seen], seed: u64) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    assert!(Command::new("cp").arg("-a").arg(sound).arg(&store).status().expect("cp runs").success());
    let what = damage(&store, &mut SmallRng::seed_from_u64(seed));
    let told = format!("seed {seed}: {what}");
    let started = tokio::time::timeout(PATIENCE, Weir::attempt(&store.to_string_lossy())).await;
    let weir = match started.unwrap_or_else(|_| panic!("{told}: the server neither starts nor ends")) {
        Ok(weir) => weir,
        Err(log) => {
            assert!(!log.contains("panicked"), "{told}: {log}");
            let named = ["manifest/", "data/"].iter().any(|folder| log.contains(folder));
            assert!(named, "{told}: the start is refused without a name: {log}");
            return false;
        }
    };
    if let Ok(sql) = weir.connect().await {
        for (query, expected) in QUERIES.iter().zip(expected) {
            let found = ask(&sql, query).await;
            assert!(found.is_err() || found == *expected, "{told}: {query} gives {found:?}");
        }
        if ask(&sql, "INSERT INTO notes VALUES (1000)").await.is_ok() {
            let found = ask(&sql, "SELECT count(*) FROM notes").await;
            assert!(found.is_err() || found == Ok(vec![vec![Some("13".into())]]), "{told}: after a write {found:?}");
        }
    }
    assert!(!weir.log().contains("panicked"), "{told}: {}", weir.log());
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_one_object_no_answer_is_wrong() {
    let trials: u64 = number("TRIALS").unwrap_or(100);
    let (weir, expected) = sound().await;
    let (store, expected) = (weir.store(), &expected);
    let attempts = futures::stream::iter(0..trials).map(|seed| attempt(store, expected, seed));
    let served = attempts.buffer_unordered(AT_ONCE).filter(|served| std::future::ready(*served)).count().await;
    println!("{served} of {trials} damaged stores were served, the others were refused by name");
    assert!(served > 0);
}
