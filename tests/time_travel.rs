//! Reading the past: what was read live at a checkpoint is read as of it later, whatever happened since.

use crate::kit::{Client, Rows, S3, Weir, eventually};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tokio_postgres::NoTls;

/// What each query of [`QUERIES`] gave while it was the present, by checkpoint epoch.
type Seen = BTreeMap<String, Vec<Rows>>;

/// A table with a key, one without, a view, a view of views, and a join of both.
const QUERIES: &[&str] = &[
    "SELECT id, v, note FROM t AS_OF",
    "SELECT a FROM bag AS_OF",
    "SELECT * FROM s AS_OF",
    "SELECT * FROM ss AS_OF",
    "SELECT t.id, s.n, ss.n FROM t AS_OF JOIN s AS_OF ON s.g = t.v % 3 JOIN ss AS_OF ON ss.n >= s.n",
    "SELECT v FROM t AS_OF WHERE id = 3",
];

fn asked(query: &str, as_of: &str) -> String {
    match as_of {
        "" => query.replace("AS_OF", ""),
        time => query.replace("AS_OF", &format!("FOR SYSTEM_TIME AS OF {time}")),
    }
}

async fn all(sql: &Client, as_of: &str) -> Result<Vec<Rows>, String> {
    let mut all = vec![];
    for query in QUERIES {
        all.push(sql.sorted(&asked(query, as_of)).await?);
    }
    Ok(all)
}

async fn make(sql: &Client) {
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT, note TEXT); CREATE TABLE bag (a INT)").await;
    sql.run("CREATE MATERIALIZED VIEW s AS SELECT v % 3 AS g, count(*) AS n, sum(v) AS s FROM t GROUP BY v % 3").await;
    sql.run("CREATE MATERIALIZED VIEW ss AS SELECT max(n) AS n FROM s").await;
}

/// The newest checkpoint, once it holds every view at its own epoch.
async fn checkpoint(sql: &Client) -> String {
    eventually("a checkpoint holds everything at one epoch", async || {
        let newest = sql.rows("SELECT max(epoch) FROM rw_catalog.rw_checkpoints").await?[0][0].clone();
        let newest = newest.ok_or("there is none")?;
        all(sql, &newest).await.map(|_| newest)
    })
    .await
}

async fn write(sql: &Client, round: i32) {
    sql.run(&format!(
        "INSERT INTO t SELECT i, i * {round}, 'n' || i FROM generate_series({round}, {round} + 9) AS g (i)"
    ))
    .await;
    sql.run(&format!("UPDATE t SET v = v + {round} WHERE id % 2 = {round} % 2; DELETE FROM t WHERE id = {round} + 5"))
        .await;
    sql.run(&format!("INSERT INTO bag VALUES ({round}), (1), (1); DELETE FROM bag WHERE a = {round} - 1")).await;
}

/// Writes and notes what is then read.
async fn live(sql: &Client, rounds: std::ops::Range<i32>, seen: &mut Seen) {
    for round in rounds {
        write(sql, round).await;
        let epoch = checkpoint(sql).await;
        seen.insert(epoch, all(sql, "").await.expect("reading what is"));
    }
}

/// What is still kept reads as it did; what is not kept any more says so.
async fn check(sql: &Client, seen: &Seen) {
    let mut read = 0;
    for (epoch, expected) in seen {
        sql.notices();
        match all(sql, epoch).await {
            Ok(found) => {
                // The last one before it that is kept stands in for one that is not.
                let own = format!("(epoch {epoch})");
                if sql.notices().iter().all(|notice| notice.message().contains(&own)) {
                    assert_eq!(&found, expected, "as of {epoch}");
                    read += 1;
                }
            }
            // Only what is older than all that is kept is not.
            Err(error) if error.starts_with("55000") => {
                let oldest = error.split_once("(epoch ").and_then(|(_, rest)| rest.split_once(')'));
                let oldest: u64 = oldest.and_then(|(epoch, _)| epoch.parse().ok()).expect("it says what is kept");
                assert!(oldest > epoch.parse().expect("an epoch"), "as of {epoch}: {error}");
            }
            Err(error) => panic!("as of {epoch}: {error}"),
        }
    }
    assert!(read > 0, "not one of {} is kept", seen.len());
}

/// What every store must do.
async fn earlier_checkpoints_read_as_they_did(weir: &mut Weir) {
    let mut seen = Seen::new();
    let sql = weir.client().await;
    make(&sql).await;
    live(&sql, 1..5, &mut seen).await;
    check(&sql, &seen).await;

    weir.kill();
    weir.restart().await;
    let sql = weir.client().await;
    check(&sql, &seen).await;
    live(&sql, 5..7, &mut seen).await;

    sql.run("DROP MATERIALIZED VIEW ss; DROP MATERIALIZED VIEW s; DROP TABLE t; CREATE TABLE t (other TEXT)").await;
    assert_eq!(sql.error("SELECT * FROM s").await.code().code(), "42P01");
    check(&sql, &seen).await;
    let newest = seen.keys().next_back().expect("some were seen");
    assert_eq!(
        sql.error(&format!("SELECT other FROM t FOR SYSTEM_TIME AS OF {newest}")).await.code().code(),
        "42703",
        "columns are those of then"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_checkpoint_reads_as_it_did_when_it_was_the_present() {
    earlier_checkpoints_read_as_they_did(&mut Weir::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_checkpoint_reads_as_it_did_on_s3() {
    let s3 = S3::start().await;
    earlier_checkpoints_read_as_they_did(&mut Weir::on(&s3.store("past"), &[], &s3.variables()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_means_the_last_checkpoint_before_it() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let mut times = vec![];
    for n in 1..4 {
        sql.run(&format!("INSERT INTO t VALUES ({n})")).await;
        times.push((sql.one("SELECT now()").await, n.to_string()));
    }
    for (time, count) in &times {
        let counted = format!("SELECT count(*) FROM t FOR SYSTEM_TIME AS OF '{time}'");
        assert_eq!(&sql.one(&counted).await, count, "as of {time}");
        // The zone is the session's.
        sql.run("SET TimeZone = 'Asia/Tokyo'").await;
        let local = sql.one(&format!("SELECT '{time}'::timestamptz::timestamp")).await;
        assert_eq!(&sql.one(&format!("SELECT count(*) FROM t FOR SYSTEM_TIME AS OF '{local}'")).await, count);
        sql.run("RESET TimeZone").await;
    }
    sql.notices();
    assert_eq!(sql.one("SELECT count(*) FROM t FOR SYSTEM_TIME AS OF NOW()").await, "3");
    let told: Vec<_> = sql.notices().iter().map(|notice| notice.message().to_string()).collect();
    assert!(told.len() == 1 && told[0].starts_with("reading the checkpoint of 2"), "{told:?}");
    let error = sql.error("SELECT * FROM t FOR SYSTEM_TIME AS OF NOW() - INTERVAL '1 day'").await;
    assert_eq!(error.code().code(), "55000");
    assert!(error.detail().is_some_and(|detail| detail.starts_with("The oldest checkpoint that can be read is of 2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_and_blocks_read_the_past() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let first = checkpoint_of(&sql).await;
    sql.run("INSERT INTO t VALUES (2)").await;
    let count = |epoch: &str| format!("SELECT count(*) FROM t FOR SYSTEM_TIME AS OF {epoch}");
    let statement = sql.prepare(&count(&first)).await.expect("it can be prepared");
    for _ in 0..2 {
        assert_eq!(sql.query_one(&statement, &[]).await.expect("it runs").get::<_, i64>(0), 1);
    }
    let error = sql.prepare("SELECT * FROM t FOR SYSTEM_TIME AS OF $1").await.map(drop).expect_err("no parameter");
    assert_eq!(error.code().map(|code| code.code()), Some("0A000"));
    let rows = sql.query("SELECT id FROM t FOR SYSTEM_TIME AS OF NOW() WHERE id > $1", &[&1i32]).await.expect("runs");
    assert_eq!(rows.len(), 1);
    // A block reads at its own epoch, and may look back from there and at what it writes itself.
    sql.run("BEGIN").await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "2");
    assert_eq!(sql.one(&count(&first)).await, "1");
    sql.run("DELETE FROM t").await;
    assert_eq!(sql.one(&count(&first)).await, "1");
    sql.run("COMMIT").await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "0");
}

async fn checkpoint_of(sql: &Client) -> String {
    sql.one("SELECT max(epoch) FROM rw_catalog.rw_checkpoints").await
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_rows_are_part_of_the_past() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, d INT); CREATE MATERIALIZED VIEW r AS SELECT id, 10 / d AS r FROM t")
        .await;
    sql.run("INSERT INTO t VALUES (1, 5), (2, 0)").await;
    let query = "SELECT * FROM r FOR SYSTEM_TIME AS OF";
    let broken = eventually("a checkpoint holds the error", async || {
        let newest = checkpoint_of(&sql).await;
        match sql.rows(&format!("{query} {newest}")).await {
            Err(error) if error.starts_with("22012") => Ok(newest),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    sql.run("UPDATE t SET d = 2 WHERE id = 2").await;
    assert_eq!(sql.sorted("SELECT r FROM r").await.expect("mended").len(), 2);
    assert_eq!(sql.error(&format!("{query} {broken}")).await.code().code(), "22012");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_relation_is_read_in_pieces_and_never_beyond_the_queries_memory() {
    // Queries get a quarter, and state most of the rest.
    let weir = Weir::with(&["--memory-limit", "160MB"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE small (id INT PRIMARY KEY, x INT); CREATE TABLE large (id INT PRIMARY KEY, x TEXT)").await;
    for from in (1..200_000).step_by(50_000) {
        let series = format!("FROM generate_series({from}, {from} + 49999) AS g (i)");
        sql.run(&format!("INSERT INTO small SELECT i, i % 1000 {series}")).await;
        // Nothing in it is there twice: what is read of the past is compressed.
        let noise: Vec<String> = (0..10).map(|n| format!("md5((i * 10 + {n})::text)")).collect();
        sql.run(&format!("INSERT INTO large SELECT i, {} {series}", noise.join(" || "))).await;
    }
    let (was, query) = (checkpoint_of(&sql).await, "SELECT count(*), sum(x), max(id) FROM small");
    let live = sql.rows(query).await.expect("what is");
    sql.run("DELETE FROM small WHERE id % 2 = 0").await;
    let as_of = format!("FOR SYSTEM_TIME AS OF {was}");
    assert_eq!(sql.rows(&format!("{query} {as_of}")).await.expect("what was"), live);
    assert_eq!(sql.one(&format!("SELECT x FROM small {as_of} WHERE id = 77778")).await, "778");
    assert_eq!(sql.one("SELECT count(*) FROM large WHERE x = ''").await, "0");
    let error = sql.error(&format!("SELECT count(*) FROM large {as_of} WHERE x = ''")).await;
    assert_eq!(error.code().code(), "53200", "{error}");
}

fn manifests(store: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(store).join("manifest")).expect("the manifests").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_and_collection_leave_what_is_kept_and_what_is_being_read() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    let (mut reader, connection) = weir.config().connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    make(&sql).await;
    // More than is computed before the client takes it.
    sql.run("INSERT INTO t SELECT i, i, 'n' || i FROM generate_series(1, 300000) AS g (i)").await;
    let was = checkpoint(&sql).await;
    let query = format!("SELECT id, v FROM t FOR SYSTEM_TIME AS OF {was}");
    let block = reader.transaction().await.expect("BEGIN");
    let portal = block.bind(&query, &[]).await.expect("a portal");
    let mut rows = block.query_portal(&portal, 10).await.expect("the first rows");
    let oldest = manifests(weir.store())[1].clone();
    let mut round = 0;
    eventually("garbage is collected", async || {
        round += 1;
        sql.run(&format!("UPDATE t SET v = v + 1 WHERE id % 100 = {round} % 100")).await;
        if manifests(weir.store()).contains(&oldest) { Err(format!("{oldest} is still there")) } else { Ok(()) }
    })
    .await;
    let mut seen = Seen::new();
    live(&sql, 1..3, &mut seen).await;
    check(&sql, &seen).await;
    // The reader's checkpoint is the only one of its time that is left, and others may read it, too.
    assert_eq!(sql.one(&format!("SELECT sum(v) FROM t FOR SYSTEM_TIME AS OF {was}")).await, "45000150000");
    let mut rest = std::pin::pin!(block.query_portal_raw(&portal, 0).await.expect("the other rows"));
    while let Some(row) = rest.next().await {
        rows.push(row.expect("a row"));
    }
    assert_eq!(rows.len(), 300_000);
    assert!(rows.iter().all(|row| row.get::<_, i32>(0) == row.get::<_, i32>(1)), "rows are as they were");
}
