//! Damaged stores: whatever happens to one object, what is answered is right or an error, and nobody waits for ever. Of what is a view's
//! nothing is needed: every start succeeds, and builds it anew.
//!
//! `TRIALS=1000` for more; `make soak` asks for that. Each trial prints its seed when it fails.

use crate::kit::{Client, TIMEOUT, Weir, eventually, number};
use futures::StreamExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Servers that run at once.
const AT_ONCE: usize = 4;

/// The last one is made when all else is at rest, so that objects hold nothing but its state.
const VIEWS: [(&str, &str); 3] = [
    ("s", "SELECT v % 7 AS g, count(*) AS n, max(x) AS x FROM t GROUP BY v % 7"),
    ("total", "SELECT sum(n) AS n FROM s"),
    ("late", "SELECT t.id, s.n FROM t JOIN s ON s.g = t.v % 7"),
];

const QUERIES: [&str; 6] = [
    "SELECT id, v, x FROM t ORDER BY id",
    "SELECT g, n, x FROM s ORDER BY g",
    "SELECT n FROM total",
    "SELECT t.id, s.n FROM t JOIN s ON s.g = t.v % 7 ORDER BY t.id",
    "SELECT id, n FROM late ORDER BY id",
    "SELECT id FROM notes ORDER BY id",
];

/// What a client sees, or why it sees nothing.
type Seen = Result<Vec<Vec<Option<String>>>, String>;

async fn ask(sql: &Client, query: &str) -> Seen {
    let answer = tokio::time::timeout(TIMEOUT, sql.rows(query)).await;
    answer.unwrap_or_else(|_| panic!("{query} is never answered"))
}

/// A store with runs of several checkpoints, some merged, of tables and views.
async fn sound() -> (Weir, Vec<Seen>) {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, x TEXT); CREATE TABLE notes (id INT PRIMARY KEY)").await;
    let create =
        async |(name, query): (&str, &str)| sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    create(VIEWS[0]).await;
    create(VIEWS[1]).await;
    sql.run("INSERT INTO t SELECT i, i, repeat(md5(i::text), 3) FROM generate_series(1, 500) AS g (i)").await;
    for i in 0..12 {
        sql.run(&format!("UPDATE t SET v = v + {i} WHERE id % 5 = {i} % 5; INSERT INTO notes VALUES ({i})")).await;
    }
    sql.run("FLUSH").await;
    create(VIEWS[2]).await;
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

/// A copy of a store below `folder`.
fn copied(sound: &str, folder: &Path) -> PathBuf {
    let store = folder.join("store");
    assert!(Command::new("cp").arg("-a").arg(sound).arg(&store).status().expect("cp runs").success());
    store
}

/// The server, or what it says if it refuses to start.
async fn start(store: &Path, told: &str) -> Result<Weir, String> {
    let started = tokio::time::timeout(TIMEOUT, Weir::attempt(&store.to_string_lossy())).await;
    started.unwrap_or_else(|_| panic!("{told}: the server neither starts nor ends"))
}

/// Whether the server came to answer at all.
async fn attempt(sound: &str, expected: &[Seen], seed: u64) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let store = copied(sound, folder.path());
    let what = damage(&store, &mut SmallRng::seed_from_u64(seed));
    let told = format!("seed {seed}: {what}");
    let weir = match start(&store, &told).await {
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

/// Where the newest checkpoint has state of views.
struct OfViews {
    /// Each run: its object, and its bytes there.
    runs: Vec<(String, Range<u64>)>,
    /// Objects that end with runs of views, and those last bytes: all of them if it holds nothing else.
    ends: Vec<(String, Range<u64>)>,
}

impl OfViews {
    fn of(report: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let (mut runs, mut others) = (vec![], BTreeMap::<String, u64>::new());
        for relation in list(&report["relations"]) {
            let levels = list(&relation["arrangements"]).into_iter().flat_map(|of| list(&of["held"]["levels"]));
            for run in levels.flat_map(|level| list(&level["runs"])) {
                let object = run["object"].as_str().expect("an object").to_string();
                let (from, bytes) =
                    (run["offset"].as_u64().expect("a place"), run["bytes"].as_u64().expect("a length"));
                if relation["kind"] == "materialized view" {
                    runs.push((object, from..from + bytes));
                } else {
                    let end = others.entry(object).or_default();
                    *end = (*end).max(from + bytes);
                }
            }
        }
        let mut ends = BTreeMap::<String, Range<u64>>::new();
        for (object, bytes) in &runs {
            let from = others.get(object).copied().unwrap_or(0);
            let end = ends.entry(object.clone()).or_insert(from..from);
            end.end = end.end.max(bytes.end);
        }
        ends.retain(|_, bytes| !bytes.is_empty());
        Self { runs, ends: ends.into_iter().collect() }
    }

    /// Objects with nothing else in them.
    fn whole(&self) -> Vec<&String> {
        self.ends.iter().filter(|(_, bytes)| bytes.start == 0).map(|(object, _)| object).collect()
    }

    /// Damages some of it, in a way that can be told to people; whether a start has to find it. Objects of one size may say the same in
    /// each other's place.
    fn damage(&self, store: &Path, random: &mut SmallRng) -> (String, bool) {
        let read = |object: &str| fs::read(store.join(object)).expect("an object can be read");
        let write = |object: &str, bytes: &[u8]| fs::write(store.join(object), bytes).expect("it can be written");
        match random.random_range(0..4) {
            0 => {
                let (object, run) = self.runs.choose(random).expect("a run");
                let mut bytes = read(object);
                let at = random.random_range(run.clone());
                bytes[at as usize] ^= random.random_range(1..=255u8);
                write(object, &bytes);
                (format!("byte {at} of {object} is flipped"), true)
            }
            1 => {
                let (object, end) = self.ends.choose(random).expect("an object that ends with a view");
                let length = random.random_range(end.clone());
                write(object, &read(object)[..length as usize]);
                (format!("{object} ends after {length} bytes"), true)
            }
            2 => {
                let object = *self.whole().choose(random).expect("an object of views");
                fs::remove_file(store.join(object)).expect("it can be removed");
                (format!("{object} is gone"), true)
            }
            _ => {
                let whole = self.whole();
                let pair: Vec<_> = whole.choose_multiple(random, 2).collect();
                let [one, other] = pair[..] else { panic!("two objects of views are needed, there is {whole:?}") };
                let (first, second) = (read(one), read(other));
                write(one, &second);
                write(other, &first);
                (format!("{one} and {other} are swapped"), first.len() != second.len())
            }
        }
    }
}

/// The server starts, gives no wrong answer, and comes to give all of the right ones; then views follow what is written.
async fn mended(sound: &str, of_views: &OfViews, expected: &[Seen], seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = copied(sound, folder.path());
    let (what, is_found) = of_views.damage(&store, &mut SmallRng::seed_from_u64(seed));
    let told = format!("seed {seed}: {what}");
    let weir = start(&store, &told).await.unwrap_or_else(|log| panic!("{told}: the start is refused: {log}"));
    let sql = weir.connect().await.unwrap_or_else(|error| panic!("{told}: {error}"));
    for (query, expected) in QUERIES.iter().zip(expected) {
        eventually(&format!("{told}: {query} is answered"), async || {
            let found = ask(&sql, query).await;
            assert!(found.is_err() || found == *expected, "{told}: {query} gives {found:?}");
            found.map(drop)
        })
        .await;
    }
    sql.run("INSERT INTO t VALUES (501, 3, 'later'); UPDATE t SET v = v + 1 WHERE id < 50").await;
    for (name, query) in VIEWS {
        eventually(&format!("{told}: {name} is its query"), async || {
            let (found, right) = (sql.sorted(&format!("SELECT * FROM {name}")).await?, sql.sorted(query).await?);
            if found == right { Ok(()) } else { Err(format!("{found:?} instead of {right:?}")) }
        })
        .await;
    }
    eventually(&format!("{told}: all views are live"), async || {
        let others = "SELECT name, status, last_error FROM rw_catalog.rw_materialized_views WHERE status <> 'live'";
        let others = sql.rows(others).await?;
        if others.is_empty() { Ok(()) } else { Err(format!("{others:?}")) }
    })
    .await;
    let log = weir.log();
    assert!(!log.contains("panicked"), "{told}: {log}");
    assert!(!is_found || log.contains("the state of a relation is damaged"), "{told}: nothing was found: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_what_is_a_views_it_is_built_anew() {
    let trials: u64 = number("TRIALS").unwrap_or(100);
    let (weir, expected) = sound().await;
    let (store, expected, of_views) = (weir.store(), &expected, &OfViews::of(&weir.inspect(&[])));
    let attempts = futures::stream::iter(0..trials).map(|seed| mended(store, of_views, expected, seed));
    attempts.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    println!("{trials} stores in which views were damaged were served");
}
