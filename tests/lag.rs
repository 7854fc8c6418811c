//! A slow view lags alone: sources, checkpoints and other views go on, and it is exact when it has caught up, also across kills.

use crate::kit::{Client, Pair, Postgres, Weir, always, eventually, peak};
use std::time::Duration;

const SLOW: &str = "CREATE MATERIALIZED VIEW slow AS SELECT g, count(*) AS n, sum(v) AS v FROM t GROUP BY g";
const FAST: &str = "CREATE MATERIALIZED VIEW fast AS SELECT count(*) AS n, sum(v) AS v FROM t";

/// A table with `rows` rows that both views read, the slow one resting so long before every step.
async fn start(rest: &str, flags: &[&str], rows: usize) -> Pair {
    let slow = format!("slow={rest}");
    let flags = [&["--slow-view", &slow], flags].concat();
    let (postgres, weir) = tokio::join!(Postgres::start(&[]), Weir::with(&flags));
    let (up, sql) = (postgres.client().await, weir.client().await);
    let pair = Pair { postgres, weir, up, sql };
    pair.follow("CREATE TABLE t (id bigint PRIMARY KEY, g int, v int, note text)", &["t"]).await;
    pair.up.run(&insert(1, rows)).await;
    pair.same("SELECT count(*) FROM t").await;
    pair.up.run(&FAST.replace("MATERIALIZED ", "")).await;
    pair.sql.run(FAST).await;
    pair.sql.run(SLOW).await;
    pair
}

fn insert(from: usize, to: usize) -> String {
    format!("INSERT INTO t SELECT i, i % 50, i % 7, repeat('x', 100) FROM generate_series({from}, {to}) AS i")
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.one(sql).await.parse().unwrap_or_else(|_| panic!("{sql} gives a number"))
}

async fn slow_equals_its_query(pair: &Pair) {
    pair.same("SELECT g, count(*), sum(v) FROM t GROUP BY g").await;
    let theirs = pair.up.sorted("SELECT g, count(*) AS n, sum(v) AS v FROM t GROUP BY g").await.expect("ask Postgres");
    eventually("the slow view has caught up", async || {
        let ours = pair.sql.sorted("SELECT * FROM slow").await?;
        if ours == theirs { Ok(()) } else { Err(format!("{} rows", ours.len())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_view_holds_up_nothing_and_is_exact_in_the_end() {
    // Longer than a round takes on a busy machine.
    let mut pair = start("4s", &[], 1000).await;
    // The slow view is behind while this one is fresh: had anything waited for it, both would be there.
    let behind = "SELECT s.epoch < f.epoch FROM rw_catalog.rw_materialized_views AS s, rw_catalog.rw_materialized_views AS f \
                  WHERE s.name = 'slow' AND f.name = 'fast'";
    let durable_ahead = "SELECT (SELECT max(epoch) FROM rw_catalog.rw_checkpoints) > \
                         (SELECT epoch FROM rw_catalog.rw_materialized_views WHERE name = 'slow')";
    let (mut id, mut rounds_behind, mut rounds_durable) = (1000, 0, 0);
    for _ in 0..10 {
        pair.up.run(&insert(id + 1, id + 20)).await;
        id += 20;
        pair.same("SELECT n, v FROM fast").await;
        rounds_behind += usize::from(pair.sql.one(behind).await == "t");
        durable(&pair.sql).await;
        rounds_durable += usize::from(pair.sql.one(durable_ahead).await == "t");
    }
    assert!(rounds_behind >= 5, "in {rounds_behind} of 10 rounds another view was fresh before the slow one");
    assert!(rounds_durable >= 5, "in {rounds_durable} of 10 rounds a checkpoint was ahead of the slow view");
    pair.up.run(&insert(id + 1, id + 20)).await;
    id += 20;
    pair.sql.run("CREATE MATERIALIZED VIEW third AS SELECT max(id) AS m FROM t").await;
    pair.sql.run("DROP MATERIALIZED VIEW third").await;
    slow_equals_its_query(&pair).await;

    // Killed while it is behind: what it has yet to take is in the store.
    for _ in 0..3 {
        pair.up.run(&insert(id + 1, id + 500)).await;
        pair.up
            .run(&format!(
                "UPDATE t SET v = v + 1 WHERE id % 10 = {}; DELETE FROM t WHERE id % 97 = {}",
                id % 10,
                id % 97
            ))
            .await;
        id += 500;
        pair.same("SELECT n, v FROM fast").await;
        durable(&pair.sql).await;
        pair.crash().await;
        pair.same("SELECT n, v FROM fast").await;
    }
    slow_equals_its_query(&pair).await;
    assert!(!pair.weir.log().contains("built anew"), "a view that is behind is not built anew");
}

/// Waits for a checkpoint of all that has been seen.
async fn durable(sql: &Client) {
    let epoch = "SELECT coalesce(max(epoch), 0) FROM rw_catalog.rw_checkpoints";
    let seen = number(sql, "SELECT epoch FROM rw_catalog.rw_materialized_views WHERE name = 'fast'").await;
    eventually("a checkpoint", async || {
        let durable = number(sql, epoch).await;
        if durable >= seen { Ok(()) } else { Err(format!("{durable} < {seen}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_of_a_view_far_behind_is_kept_in_the_store() {
    // The smallest limits: four megabytes of history.
    let mut pair = start("4s", &["--memory-limit", "64MB"], 1000).await;
    let mut id = 1000;
    for _ in 0..60 {
        pair.up.run(&insert(id + 1, id + 2000)).await;
        id += 2000;
        pair.same("SELECT n, v FROM fast").await;
    }
    assert!(pair.weir.log().contains("its history is read from the store"), "the limit was passed");
    pair.crash().await;
    pair.up.run(&insert(id + 1, id + 2000)).await;
    slow_equals_its_query(&pair).await;
    // It follows again, step by step.
    pair.up.run("DELETE FROM t WHERE id % 3 = 0").await;
    slow_equals_its_query(&pair).await;
    always("it stays so", Duration::from_millis(300), async || {
        let ours = pair.sql.rows("SELECT count(*) FROM slow").await?;
        if ours == [[Some("50".to_string())]] { Ok(()) } else { Err(format!("{ours:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_history_is_too_large_is_built_anew_and_read_meanwhile() {
    // Built anew within a step, which leaves time to read it and to kill the server. What the store keeps is compressed.
    let mut pair = start("8s", &["--memory-limit", "64MB", "--lag-limit", "50KB"], 1000).await;
    pair.sql.run("CREATE MATERIALIZED VIEW over AS SELECT count(*) AS groups, sum(n) AS n FROM slow").await;
    let status = "SELECT status FROM rw_catalog.rw_materialized_views WHERE name = 'slow'";
    let mut id = 1000;
    eventually("the view is given up", async || {
        pair.up.run(&insert(id + 1, id + 10_000)).await;
        id += 10_000;
        pair.same("SELECT n, v FROM fast").await;
        let status = pair.sql.one(status).await;
        if status == "suspended" { Ok(()) } else { Err(status) }
    })
    .await;
    read_suspended(&pair.sql).await;
    pair.up.run("UPDATE t SET v = v + 1").await;
    pair.same("SELECT n, v FROM fast").await;
    durable(&pair.sql).await;
    pair.crash().await;
    // Until it is in memory again it is read from the store.
    pair.sql.run("SELECT * FROM slow").await;
    eventually("the view is in memory, as it was given up", async || {
        let status = pair.sql.one(status).await;
        if status == "suspended" { Ok(()) } else { Err(status) }
    })
    .await;
    read_suspended(&pair.sql).await;
    slow_equals_its_query(&pair).await;
    let groups = pair.up.rows("SELECT count(DISTINCT g), count(*) FROM t").await.expect("ask Postgres");
    eventually("the view over it is there", async || {
        let ours = pair.sql.rows("SELECT * FROM over").await?;
        if ours == groups { Ok(()) } else { Err(format!("{ours:?}, not {groups:?}")) }
    })
    .await;
    pair.sql.notices();
    pair.sql.run("SELECT * FROM slow").await;
    assert!(pair.sql.notices().is_empty(), "it is as fresh as it can be");
    // What the store has is what was built, and nothing of what was before.
    durable(&pair.sql).await;
    pair.crash().await;
    slow_equals_its_query(&pair).await;
}

/// Both views are readable, with a notice for each.
async fn read_suspended(sql: &Client) {
    sql.notices();
    sql.run("SELECT * FROM slow").await;
    sql.run("SELECT * FROM over").await;
    let notices: Vec<String> = sql.notices().iter().map(|notice| notice.message().to_string()).collect();
    let of = |name: &str| notices.iter().any(|notice| notice.contains(&format!("\"{name}\" is suspended")));
    assert!(of("slow") && of("over"), "{notices:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_being_made_says_how_far_it_is() {
    let weir = Weir::with(&["--slow-view", "slow=3s"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id bigint PRIMARY KEY, g int, v int)").await;
    sql.run("INSERT INTO t SELECT i, (i % 50)::int, 1 FROM generate_series(1, 10000) AS x (i)").await;
    let maker = weir.client().await;
    let making = tokio::spawn(async move { maker.run(SLOW).await });
    // All rows are read, and wait for the operator that adds them up.
    eventually("half of the work is done", async || match done(&sql).await? {
        Some(50.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    making.await.expect("the view is made");
    assert_eq!(sql.one("SELECT sum(n) FROM slow").await, "10000");
    assert_eq!(sql.one("SELECT count(*) FROM rw_catalog.rw_ddl_progress").await, "0");
}

/// Half made when the server is killed: it continues from what the store has, by what changed since and the portions it has not got.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_being_made_goes_on_after_a_crash() {
    let mut weir = Weir::with(&["--slow-view", "slow=700ms", "--portion-rows", "1000", "--workers", "2"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id bigint PRIMARY KEY, g int, v int)").await;
    sql.run("INSERT INTO t SELECT i, (i % 50)::int, 1 FROM generate_series(1, 10000) AS x (i)").await;
    let maker = weir.client().await;
    let making = tokio::spawn(async move { drop(maker.simple_query(SLOW).await) });
    eventually("half of the work is done", async || match done(&sql).await? {
        Some(share) if share >= 60.0 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    sql.run("UPDATE t SET v = 2 WHERE id % 3 = 0").await;
    sql.run("DELETE FROM t WHERE id % 7 = 0").await;
    sql.run("INSERT INTO t SELECT i, (i % 50)::int, 3 FROM generate_series(10001, 10500) AS x (i)").await;
    sql.run("FLUSH").await;
    weir.kill();
    making.await.expect("the statement ends with its server");
    weir.restart().await;
    let sql = weir.client().await;
    let first =
        eventually("the view is being made again", async || done(&sql).await?.ok_or_else(|| "nobody makes it".into()))
            .await;
    assert!(first >= 25.0, "it began with {first} %");
    let query = SLOW.split_once(" AS ").expect("a view has a query").1;
    eventually("the view is there", async || sql.rows("SELECT * FROM slow").await.map(drop)).await;
    assert_eq!(sql.sorted("SELECT * FROM slow").await, sql.sorted(query).await);
    assert_eq!(sql.one("SELECT sum(n) FROM slow").await, sql.one("SELECT count(*) FROM t").await);
}

/// How much of the work of a statement is done, in percent, if there is one.
async fn done(sql: &Client) -> Result<Option<f64>, String> {
    let rows = sql.rows("SELECT progress FROM rw_catalog.rw_ddl_progress").await?;
    let progress = rows.first().and_then(|row| row[0].clone());
    Ok(progress.and_then(|progress| progress.strip_suffix('%')?.parse().ok()))
}

/// Nine million pairs of six thousand rows: what cannot wait goes through at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_much_larger_than_memory_goes_through_in_parts() {
    const PAIRS: &str = "SELECT a.k, count(*) AS n, sum(a.v + b.v) AS v FROM a JOIN b ON a.k = b.k GROUP BY a.k";
    let weir = Weir::with(&["--memory-limit", "128MB", "--workers", "1"]).await;
    let sql = weir.client().await;
    for table in ["a", "b"] {
        sql.run(&format!("CREATE TABLE {table} (id bigint PRIMARY KEY, k int, v bigint)")).await;
        sql.run(&format!("INSERT INTO {table} SELECT i, (i % 2)::int, i FROM generate_series(1, 3000) AS x (i)")).await;
    }
    let before = peak(weir.process_id());
    sql.run(&format!("CREATE MATERIALIZED VIEW pairs AS {PAIRS}")).await;
    sql.run("INSERT INTO b SELECT i, (i % 2)::int, i FROM generate_series(3001, 6000) AS x (i)").await;
    let grown = peak(weir.process_id()) - before;
    let expected = |k: u64| {
        let of = |to: u64| (1..=to).filter(move |i| i % 2 == k);
        let (a, b) = (of(3000).count() as u64, of(6000).count() as u64);
        format!("{k}|{}|{}", a * b, of(3000).sum::<u64>() * b + of(6000).sum::<u64>() * a)
    };
    let found = sql.sorted("SELECT k || '|' || n || '|' || v FROM pairs").await.expect("read the view");
    assert_eq!(found, vec![vec![Some(expected(0))], vec![Some(expected(1))]]);
    assert!(grown < 120, "memory grew by {grown} MB; the pairs alone are some hundred");
}
