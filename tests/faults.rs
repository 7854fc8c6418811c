//! Faults that others make: clients that connect and say nothing, too few file descriptors, statements that are cancelled, views that are
//! refreshed again and again, relations that have failed.

use crate::kit::{Client, Weir, eventually};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

/// What a client says first, and does not end.
const HALF: &[u8] = b"\0\0\0\x13\0\x03\0\0user";

/// As many file descriptors as this process can get, for clients by the thousand.
fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a pointer to a value that outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// Connections of clients that do not say who they are; every second one begins to.
async fn half_open(weir: &Weir, many: usize) -> Vec<TcpStream> {
    let mut sockets = vec![];
    for n in 0..many {
        let mut socket = TcpStream::connect(("127.0.0.1", weir.port())).await.expect("connects");
        if n % 2 == 0 {
            // It may have been turned out already.
            let _ = socket.write_all(HALF).await;
        }
        sockets.push(socket);
    }
    sockets
}

/// Waits until the server has closed a connection.
async fn closed(mut socket: TcpStream) {
    let mut told = [0; 64];
    let ended = tokio::time::timeout(Duration::from_secs(60), socket.read(&mut told)).await;
    let ended = ended.expect("the server closes it");
    assert!(matches!(ended, Ok(0) | Err(_)), "it says nothing to nobody: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_do_not_log_in_lock_nobody_out_and_do_not_stay() {
    raise_descriptors();
    let weir = Weir::start().await;
    let begun = Instant::now();
    let alone = half_open(&weir, 1).await.remove(0);
    closed(alone).await;
    let waited = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(30)).contains(&waited), "{waited:?}");
    let silent = half_open(&weir, 1000).await;
    for n in 0..5 {
        let sql = weir.client().await;
        sql.run(&format!("CREATE TABLE t{n} (id INT PRIMARY KEY); INSERT INTO t{n} VALUES (1)")).await;
    }
    for socket in silent {
        closed(socket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_few_file_descriptors_checkpoints_and_logins_go_on() {
    raise_descriptors();
    let home = tempfile::tempdir().expect("a folder");
    let store = home.path().join("store").to_string_lossy().into_owned();
    let limited = ["prlimit", "--nofile=1024:1024"].map(str::to_string).to_vec();
    let weir = Weir::run_by(limited, &store, &[]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    sql.run("CREATE MATERIALIZED VIEW s AS SELECT v % 10 AS g, count(*) AS n FROM t GROUP BY v % 10").await;
    // Every seat is taken, and many more stand at the door.
    let mut sessions = vec![];
    let refused = loop {
        match weir.connect().await {
            Ok(client) => sessions.push(client),
            Err(error) => break error,
        }
        assert!(sessions.len() < 1000, "nobody is refused");
    };
    assert_eq!(refused.code().map(|code| code.code()), Some("53300"), "{refused}");
    assert!(sessions.len() > 300, "{} sessions", sessions.len());
    let silent = half_open(&weir, 400).await;
    let newest = async || sql.one("SELECT max(epoch) FROM rw_catalog.rw_checkpoints").await;
    for n in 0..20 {
        let before = newest().await;
        sql.run(&format!("INSERT INTO t SELECT i, i FROM generate_series({n} * 100, {n} * 100 + 99) AS g (i); FLUSH"))
            .await;
        assert_ne!(newest().await, before, "a checkpoint is made");
    }
    for (n, session) in sessions.iter().enumerate().step_by(50) {
        assert_eq!(session.one("SELECT sum(n) FROM s").await, "2000", "session {n}");
    }
    drop(sessions);
    let late = eventually("a seat is free", async || weir.connect().await.map_err(|error| error.to_string())).await;
    assert_eq!(late.one("SELECT count(*) FROM t").await, "2000");
    assert!(!weir.log().contains("Too many open files"), "{}", weir.log());
    drop(silent);
}

/// Runs a statement that does not end, or a transaction of several, and cancels it.
async fn cancelled(weir: &Weir, sql: &str) {
    let client = weir.client().await;
    let (token, text) = (client.cancel_token(), sql.to_string());
    let running = tokio::spawn(async move { client.rows(&text).await });
    eventually(&format!("{sql} is cancelled"), async || {
        token.cancel_query(NoTls).await.map_err(|error| error.to_string())?;
        if running.is_finished() { Ok(()) } else { Err("it still runs".into()) }
    })
    .await;
    let error = running.await.expect("no panic").expect_err("it does not end by itself");
    assert!(error.starts_with("57014"), "{sql}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_before_it_is_handed_over_leaves_nothing() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    sql.run("CREATE MATERIALIZED VIEW s AS SELECT count(*) AS n, sum(v) AS v FROM t").await;
    let endless =
        "generate_series(1, 100000) AS a (i), generate_series(1, 100000) AS b (i) WHERE a.i % 1000 + b.i % 1000 < 0";
    let count = format!("(SELECT count(*) FROM {endless})");
    for statement in [
        format!("INSERT INTO t SELECT 10, 10 UNION ALL SELECT a.i, b.i FROM {endless}"),
        format!("INSERT INTO t SELECT id, 10 FROM t WHERE id > {count} ON CONFLICT (id) DO UPDATE SET v = 10"),
        format!("UPDATE t SET v = v + 10 WHERE id > {count}"),
        format!("DELETE FROM t WHERE id > {count}"),
        // What it has done before goes with it.
        format!(
            "BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (20, 20); SELECT count(*) FROM {endless}; COMMIT"
        ),
    ] {
        cancelled(&weir, &statement).await;
        assert_eq!(sql.one("SELECT count(*) || ' ' || sum(v) FROM t").await, "3 6", "{statement}");
    }
    // One that waits for its turn.
    sql.run("BEGIN; UPDATE t SET v = v * 2").await;
    cancelled(&weir, "UPDATE t SET v = v + 100").await;
    cancelled(&weir, "INSERT INTO t VALUES (1, 100) ON CONFLICT (id) DO UPDATE SET v = 100").await;
    sql.run("COMMIT").await;
    for _ in 0..2 {
        let sql = weir.client().await;
        sql.run("FLUSH").await;
        assert_eq!(sql.one("SELECT count(*) || ' ' || sum(v) FROM t").await, "3 12");
        assert_eq!(sql.one("SELECT n || ' ' || v FROM s").await, "3 12");
        weir.kill();
        weir.restart().await;
    }
}

const COUNTED: &str = "SELECT v % 7 AS g, count(*) AS n, sum(v) AS v FROM t GROUP BY v % 7";

async fn status(sql: &Client, view: &str) -> Result<String, String> {
    let rows = sql.rows(&format!("SELECT status FROM rw_catalog.rw_materialized_views WHERE name = '{view}'")).await?;
    rows.first().and_then(|row| row[0].clone()).ok_or("it is not there".into())
}

async fn equal(sql: &Client) {
    eventually("views are live and equal to their queries", async || {
        for (view, query) in [("v", COUNTED), ("child", "SELECT sum(n) AS n FROM v")] {
            let found = (status(sql, view).await?, sql.sorted(&format!("SELECT * FROM {view}")).await?);
            let right = ("live".to_string(), sql.sorted(query).await?);
            if found != right {
                return Err(format!("{found:?} instead of {right:?}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_refreshed_again_before_it_is_there() {
    // It takes a while to be made.
    let mut weir = Weir::with(&["--slow-view", "v=50ms", "--portion-rows", "20"]).await;
    let sql = weir.client().await;
    sql.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t SELECT i, i FROM generate_series(1, 200) AS g (i)",
    )
    .await;
    sql.run(&format!("CREATE MATERIALIZED VIEW v AS {COUNTED}")).await;
    sql.run("CREATE MATERIALIZED VIEW child AS SELECT sum(n) AS n FROM v").await;
    let refresh = "REFRESH MATERIALIZED VIEW v";
    // Three at once.
    let clients = [weir.client().await, weir.client().await, weir.client().await];
    let answers = futures::future::join_all(clients.iter().map(|client| client.rows(refresh))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    equal(&sql).await;
    // Again while it is being made, with its child and rows that come meanwhile.
    for round in 0..3 {
        let [first, ..] = &clients;
        let again = async {
            eventually("it is being made", async || match status(&sql, "v").await?.as_str() {
                "suspended" => Ok(()),
                other => Err(other.to_string()),
            })
            .await;
            assert_eq!(sql.one("SELECT n FROM child").await, (200 + round).to_string(), "it is read as it was");
            sql.run(&format!("INSERT INTO t VALUES ({}, {round})", 1000 + round)).await;
            sql.rows(refresh).await
        };
        let (one, other) = tokio::join!(first.rows(refresh), again);
        assert!(one.is_ok() && other.is_ok(), "{one:?}, {other:?}");
        equal(&sql).await;
    }
    // The server dies meanwhile.
    let asked = weir.client().await;
    let refreshing = tokio::spawn(async move { asked.rows(refresh).await });
    eventually("it is being made", async || match status(&sql, "v").await?.as_str() {
        "suspended" => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    weir.kill();
    let _ = refreshing.await.expect("no panic");
    weir.restart().await;
    equal(&weir.client().await).await;
}

/// How many rows a relation had when it was last in a checkpoint, and at which epoch that was.
async fn last_good(sql: &Client, counted: &str) -> (u64, String) {
    sql.notices();
    let count = sql.one(&format!("{counted} FOR SYSTEM_TIME AS OF NOW()")).await.parse().expect("a number");
    let told: Vec<String> = sql.notices().iter().map(|notice| notice.message().to_string()).collect();
    let epoch =
        told.iter().find_map(|told| told.split_once("where it is at epoch ")).map(|(_, epoch)| epoch.to_string());
    (count, epoch.unwrap_or_else(|| panic!("it says where it is: {told:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_that_has_failed_is_read_as_of_its_last_good_epoch() {
    let weir = Weir::with(&["--panics", "v=300", "--panics", "bad=60"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE bad (id INT PRIMARY KEY)").await;
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    let fails = async |read: &str, written: &str| {
        let mut answered = 0;
        eventually(&format!("{read} fails"), async || {
            // A table that has failed takes no more.
            if sql.rows(&format!("INSERT INTO {written} VALUES ({})", answered + 1)).await.is_ok() {
                answered += 1;
            }
            match sql.rows(read).await {
                Err(error) if error.contains("has failed") => Ok(answered),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    };
    let rows: u64 = fails("SELECT n FROM v", "t").await;
    // The newest checkpoint is later than what it has of the view.
    sql.run(&format!("INSERT INTO t VALUES ({}); FLUSH", rows + 1)).await;
    let (count, epoch) = last_good(&sql, "SELECT n FROM v").await;
    assert!(0 < count && count <= rows, "{count} of {rows}");
    assert_eq!(sql.one(&format!("SELECT count(*) FROM t FOR SYSTEM_TIME AS OF {epoch}")).await, count.to_string());
    for n in 2..15 {
        sql.run(&format!("INSERT INTO t VALUES ({}); FLUSH", rows + n)).await;
    }
    assert_eq!(last_good(&sql, "SELECT n FROM v").await, (count, epoch), "it stays readable, and what it was");
    // What was answered of a table was durable.
    let rows = fails("SELECT * FROM bad", "bad").await;
    sql.run("INSERT INTO t VALUES (-1); FLUSH").await;
    let (count, _) = last_good(&sql, "SELECT count(*) FROM bad").await;
    assert!(count == rows || count == rows + 1, "{count}, answered {rows}");
}
