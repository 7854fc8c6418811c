//! The store: who owns it, what happens when it fails, and what is written when nothing happens.

use crate::kit::{Client, Pair, Postgres, S3, Weir, always, eventually, same};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Every object in a local store with its size and time of change.
fn objects(store: &str) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut found = vec![];
    let mut folders = vec![PathBuf::from(store)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), about.len(), about.modified().expect("time of change")));
            }
        }
    }
    found.sort();
    found
}

fn newest_manifest(store: &str) -> PathBuf {
    let manifests = fs::read_dir(Path::new(store).join("manifest")).expect("the manifests").flatten();
    manifests.map(|entry| entry.path()).max().expect("a manifest")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_takes_over_and_the_first_stops_also_when_idle() {
    let mut pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", &["t"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    pair.same("SELECT * FROM t").await;
    let second = Weir::on(pair.weir.store(), &[], &[]).await;
    let status = pair.weir.wait();
    assert!(!status.success(), "the first server ends as a failure");
    assert!(pair.weir.log().contains("generation"), "the first server says why: {}", pair.weir.log());
    pair.up.run("INSERT INTO t VALUES (2)").await;
    let sql = second.client().await;
    same(&sql, &pair.up, "SELECT * FROM t").await;
    same(&sql, &pair.up, "SELECT count(*) FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_load_that_is_taken_over_acknowledges_nothing_more() {
    let mut pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]).await;
    let writer = pair.postgres.client().await;
    let write = tokio::spawn(async move {
        for i in 0..400 {
            writer.run(&format!("INSERT INTO t VALUES ({i}, 0); UPDATE t SET v = v + 1 WHERE id % 7 = {i} % 7")).await;
        }
    });
    let second = Weir::on(pair.weir.store(), &[], &[]).await;
    assert!(!pair.weir.wait().success());
    write.await.expect("the writer ends well");
    same(&second.client().await, &pair.up, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_do_nothing_is_written() {
    let pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", &["t"]).await;
    pair.sql.run("CREATE TABLE notes (id INT PRIMARY KEY); INSERT INTO notes VALUES (1); FLUSH").await;
    // What came before settles: clean-up, and the last position, which Postgres' background writer moves up to 15 s after a change.
    let mut last = vec![];
    eventually("the store comes to rest", async || {
        let now = objects(pair.weir.store());
        let rested =
            now == last && now.iter().all(|(_, _, changed)| changed.elapsed().is_ok_and(|age| age.as_secs() >= 18));
        last = now;
        if rested { Ok(()) } else { Err(format!("{} objects", last.len())) }
    })
    .await;
    always("nothing is written", Duration::from_secs(3), async || {
        let now = objects(pair.weir.store());
        if now == last { Ok(()) } else { Err(format!("{now:?} instead of {last:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_newest_manifest_is_refused_by_name() {
    let mut weir = Weir::start().await;
    weir.client()
        .await
        .run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
        .await;
    weir.kill();
    let manifest = newest_manifest(weir.store());
    let good = fs::read(&manifest).expect("read the manifest");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x55;
    for (what, bytes) in [("a flipped byte", bad), ("half of it", good[..middle].to_vec()), ("nothing", vec![])] {
        fs::write(&manifest, bytes).expect("damage the manifest");
        weir.spawn();
        assert!(!weir.wait().success(), "{what} is not accepted");
        let name = manifest.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(weir.log().contains(&name), "{what}: the manifest is named: {}", weir.log());
    }
    fs::write(&manifest, good).expect("mend the manifest");
    weir.restart().await;
    assert_eq!(weir.client().await.one("SELECT count(*) FROM t").await, "2");
}

async fn on_s3() -> (S3, Postgres, Weir, Client, Client) {
    let (s3, postgres) = tokio::join!(S3::start(), Postgres::start(&[]));
    let weir = Weir::on(&s3.store("bank"), &[], &s3.variables()).await;
    let (up, sql) = (postgres.client().await, weir.client().await);
    up.run("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 500) AS i")
        .await;
    sql.run(&format!("CREATE SOURCE src WITH ({})", postgres.options("weir_src", ""))).await;
    sql.run("CREATE TABLE t (*) FROM src TABLE 'public.t'").await;
    sql.run("CREATE MATERIALIZED VIEW s AS SELECT v % 10 AS g, sum(v) AS s FROM t GROUP BY v % 10").await;
    up.run("CREATE VIEW s AS SELECT v % 10 AS g, sum(v) AS s FROM t GROUP BY v % 10").await;
    (s3, postgres, weir, up, sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_store_survives_kills_and_takeovers() {
    let (s3, _postgres, mut weir, up, sql) = on_s3().await;
    same(&sql, &up, "SELECT * FROM s").await;
    for round in 0..3 {
        up.run(&format!("UPDATE t SET v = v + {round} WHERE id % 3 = {round}; DELETE FROM t WHERE id = {round} + 1"))
            .await;
        weir.kill();
        weir.restart().await;
        same(&weir.client().await, &up, "SELECT * FROM s").await;
    }
    let second = Weir::on(weir.store(), &[], &s3.variables()).await;
    assert!(!weir.wait().success());
    up.run("INSERT INTO t VALUES (9999, 3)").await;
    same(&second.client().await, &up, "SELECT * FROM s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_queries_answer_and_nothing_is_acknowledged() {
    let (s3, _postgres, weir, up, sql) = on_s3().await;
    up.run("INSERT INTO t VALUES (1000, 1)").await;
    same(&sql, &up, "SELECT * FROM s").await;
    sql.run("CREATE TABLE own (id INT PRIMARY KEY)").await;
    sql.run("FLUSH").await;
    s3.fail();
    let writer = Arc::new(weir.client().await);
    let own = writer.clone();
    let written = tokio::spawn(async move { own.run("INSERT INTO own VALUES (1)").await });
    up.run("INSERT INTO t VALUES (1001, 1)").await;
    let before = up.one("SELECT pg_current_wal_lsn()").await;
    up.run("INSERT INTO t VALUES (1002, 1)").await;
    always("views answer and Postgres keeps its log", Duration::from_secs(3), async || {
        sql.rows("SELECT * FROM s").await?;
        let passed = format!("SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn > '{before}'");
        if up.one(&passed).await == "0" { Ok(()) } else { Err("an acknowledgement".into()) }
    })
    .await;
    eventually("health says it", async || match weir.get("/health").await.map_err(|error| error.to_string())? {
        (503, told) if told.contains("nothing becomes durable") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let mut told: Vec<String> = vec![];
    eventually("who waits is told why", async || {
        told.extend(writer.notices().iter().map(|notice| notice.message().to_string()));
        if told.iter().any(|told| told.contains("this statement waits")) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert!(!written.is_finished(), "what was written is not durable");
    s3.heal();
    written.await.expect("the INSERT is answered");
    same(&sql, &up, "SELECT * FROM s").await;
    eventually("the acknowledgement follows", async || {
        let passed = format!("SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn > '{before}'");
        if up.one(&passed).await == "1" { Ok(()) } else { Err("none".into()) }
    })
    .await;
    assert_eq!(weir.get("/health").await.expect("health").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_has_is_read_before_all_of_it_is_in_memory_again() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE large (id int PRIMARY KEY, t text)").await;
    sql.run("INSERT INTO large SELECT i, repeat('x', 100) || i FROM generate_series(1, 5000) AS g (i)").await;
    sql.run("CREATE TABLE small (id int PRIMARY KEY, n int)").await;
    sql.run("INSERT INTO small VALUES (1, 10), (2, 20)").await;
    sql.run("CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n FROM small").await;
    // A checkpoint that finds everything at rest holds the view and its table at one epoch.
    sql.run("FLUSH").await;
    weir.kill();
    // The rows of the first table cannot be read for a while, so what comes after it cannot come into memory.
    let data = objects(weir.store()).into_iter().filter(|(path, ..)| path.to_string_lossy().ends_with(".runs"));
    let (object, ..) = data.max_by_key(|(_, bytes, _)| *bytes).expect("an object");
    let away = object.with_extension("away");
    fs::rename(&object, &away).expect("the object can be moved");
    std::os::unix::fs::symlink(&object, &object).expect("a link to nowhere in its place");
    weir.spawn();
    weir.ready().await;
    let sql = weir.client().await;
    assert_eq!(sql.one("SELECT n FROM total").await, "30");
    assert_eq!(sql.one("SELECT n FROM small WHERE id = 2").await, "20");
    assert_eq!(sql.one("SELECT t.n + s.n FROM total AS t, small AS s WHERE s.id = 1").await, "40");
    // What changes anything waits until all is there.
    let writer = weir.client().await;
    let write = tokio::spawn(async move { writer.run("INSERT INTO small VALUES (3, 30)").await });
    fs::remove_file(&object).expect("the link goes");
    fs::rename(&away, &object).expect("the object comes back");
    write.await.expect("the row is written");
    same_text(&sql, "SELECT n FROM total", "60").await;
    same_text(&sql, "SELECT count(*) FROM large", "5000").await;
}

async fn same_text(sql: &Client, query: &str, expected: &str) {
    eventually(query, async || match sql.one(query).await {
        found if found == expected => Ok(()),
        found => Err(found),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_has_spilled_goes_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = || {
        let entries = std::fs::read_dir(folder.path()).expect("list the folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<Vec<_>>()
    };
    let mut weir = Weir::with(&["--spill-dir", folder.path().to_str().expect("a name")]).await;
    let before = names();
    assert_eq!(before.len(), 1);
    weir.kill();
    assert_eq!(names(), before);
    weir.restart().await;
    let after = names();
    assert!(after.len() == 1 && after != before, "{before:?}, then {after:?}");
    assert!(weir.stop().success());
    assert_eq!(names().len(), 0);
}
