//! Positions, acknowledgement, breaks and crashes: nothing lost, nothing twice, nothing acknowledged without proof.

use super::mirror::{Mirror, connector, definition, durable};
use crate::kit::{Client, Postgres, Proxy, Stop, always, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use weir::connector::State;

async fn confirmed(client: &Client) -> String {
    client.one("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'weir_test'").await
}

fn stopped(name: &'static str) -> impl Fn(&State) -> bool {
    move |state| matches!(state, State::Stopped { name: n, .. } if n == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_resumes_where_it_was_and_acknowledges_only_what_is_proven() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "t").await;
    let before = confirmed(&client).await;
    client.run("INSERT INTO t SELECT generate_series(101, 200)").await;
    mirror.equals(t, &client, "SELECT * FROM t").await;
    assert_eq!(confirmed(&client).await, before, "taken is not acknowledged");
    // Not taken by the first process: it comes again to the second.
    client.run("INSERT INTO t SELECT generate_series(201, 300)").await;
    let mut mirror = mirror.restart().await;
    client.run("DELETE FROM t WHERE id % 3 = 0").await;
    mirror.equals(t, &client, "SELECT * FROM t").await;
    let position = mirror.position.clone();
    mirror.source.acknowledge(&durable().await, &position);
    let lsn = position.0["lsn"].as_str().unwrap().to_string();
    eventually("the slot moves to the position", async || match confirmed(&client).await {
        at if at == lsn => Ok(()),
        at => Err(at),
    })
    .await;
    assert_eq!(mirror.source.status().acknowledged.as_deref(), Some(lsn.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_cut_short_begins_again() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run("CREATE TABLE t (id int PRIMARY KEY, pad text); INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i")
        .await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.subscribe(1, "t").await;
    mirror.until("some rows are there", |m| !m.tables[&t].rows().is_empty()).await;
    assert!(!mirror.consistent.contains(&t));
    client.run("DELETE FROM t WHERE id % 2 = 0").await;
    let mut mirror = mirror.restart().await;
    mirror.until("the table is consistent", |m| m.consistent.contains(&t)).await;
    mirror.equals(t, &client, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_network_loses_nothing() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 1000) i")
        .await;
    let proxy = Proxy::to(postgres.port()).await;
    let mut mirror = Mirror::create_through(proxy.port()).await;
    let t = mirror.copy(1, "t").await;
    for round in 0..3 {
        let writer = postgres.client().await;
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let writing = tokio::spawn(async move {
            for i in 0..100 {
                count.store(i, Ordering::Relaxed);
                writer.run(&format!("UPDATE t SET n = n + 1 WHERE id % 100 = {i}; INSERT INTO t VALUES ({round} * 1000 + 10000 + {i}, 0)")).await;
            }
        });
        eventually("the writer writes", async || match written.load(Ordering::Relaxed) {
            0..10 => Err("too few transactions".into()),
            _ => Ok(()),
        })
        .await;
        proxy.cut();
        mirror.until_state("the source tries again", |s| matches!(s, State::Retrying { .. })).await;
        writing.await.unwrap();
        proxy.heal();
        mirror.equals(t, &client, "SELECT * FROM t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_server_is_followed_on_after_it_has_come_back() {
    let mut postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)").await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "t").await;
    for stop in [Stop::Immediate, Stop::Fast] {
        client_of(&postgres).await.run("INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t").await;
        postgres.stop(stop);
        mirror.until_state("the source tries again", |s| matches!(s, State::Retrying { .. })).await;
        postgres.launch().await;
        let client = client_of(&postgres).await;
        client.run("INSERT INTO t SELECT max(id) + 1 FROM t").await;
        mirror.equals(t, &client, "SELECT * FROM t").await;
    }
}

async fn client_of(postgres: &Postgres) -> Client {
    postgres.client().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_table_s_position_moves_with_the_log() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)").await;
    let mut mirror = Mirror::create(&postgres).await;
    mirror.copy(1, "t").await;
    client.run("INSERT INTO other SELECT generate_series(1, 10000)").await;
    let end = client.one("SELECT pg_current_wal_flush_lsn()::text").await;
    let reached = |m: &Mirror| {
        let number = |text: &str| {
            let (high, low) = text.split_once('/').unwrap();
            (u64::from_str_radix(high, 16).unwrap(), u64::from_str_radix(low, 16).unwrap())
        };
        number(m.position.0["lsn"].as_str().unwrap()) >= number(&end)
    };
    mirror.until("the position reaches the log's end", reached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_or_moved_past_the_position_stops_the_source_by_name() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut mirror = Mirror::create(&postgres).await;
    mirror.copy(1, "t").await;
    let old = (
        mirror.definition.clone(),
        mirror.position.clone(),
        mirror.subscription(weir_sql::catalog::RelationId(1)).clone(),
    );
    client.run("INSERT INTO t VALUES (1)").await;
    mirror.until("the row is there", |m| !m.tables.values().all(|t| t.rows().is_empty())).await;
    mirror.source.acknowledge(&durable().await, &mirror.position);
    let lsn = mirror.position.0["lsn"].as_str().unwrap().to_string();
    eventually("the slot moves", async || if confirmed(&client).await == lsn { Ok(()) } else { Err("not yet".into()) })
        .await;
    mirror.source.stop().await;

    let copied = weir::connector::Subscription { copied: true, ..old.2 };
    let mut mirror = Mirror::start(old.0, old.1, vec![copied]).await;
    mirror.until_state("the slot is past the position", stopped("slot_past_checkpoint")).await;
    mirror.source.stop().await;

    eventually("the slot is free", async || {
        client.rows("SELECT pg_drop_replication_slot('weir_test')").await.map(drop)
    })
    .await;
    let mut mirror = mirror.restart().await;
    mirror.until_state("the slot is gone", stopped("slot_missing")).await;
    let State::Stopped { remedy, .. } = mirror.source.status().state else { unreachable!() };
    assert!(remedy.contains("create it again"), "{remedy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_is_not_taken_for_the_one_it_was() {
    let (one, other) = (Postgres::start(&[]).await, Postgres::start(&[]).await);
    let mirror = Mirror::create(&one).await;
    let mut position = mirror.position.clone();
    mirror.source.stop().await;
    // The servers come from one template, so their identifiers are the same; the position tells.
    position.0["system_id"] = "1".into();
    let mut mirror = Mirror::start(definition(other.port(), &[]), position, vec![]).await;
    mirror.until_state("the server is another", stopped("wrong_system")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_reader_of_our_own_is_ended_upstream() {
    let postgres = Postgres::start(&["wal_sender_timeout=0"]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let proxy = Proxy::to(postgres.port()).await;
    let mut first = Mirror::create_through(proxy.port()).await;
    let t = first.copy(1, "t").await;
    // The first process is cut off without upstream noticing.
    proxy.stall();
    let mut definition = first.definition.clone();
    definition.options.insert("port".into(), postgres.port().to_string());
    let copied = weir::connector::Subscription { copied: true, ..first.subscription(t).clone() };
    let mut second = Mirror::start(definition, first.position.clone(), vec![copied]).await;
    second.until_state("the second process streams", |s| matches!(s, State::Running { .. })).await;
    client.run("INSERT INTO t VALUES (1)").await;
    second.equals(t, &client, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_read_holds_back_and_keeps_its_connection() {
    let postgres = Postgres::start(&["wal_sender_timeout=1500ms"]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY, pad text)").await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "t").await;
    for block in 0..40 {
        client
            .run(&format!("INSERT INTO t SELECT {block} * 1000 + i, repeat('x', 1000) FROM generate_series(1, 1000) i"))
            .await;
    }
    eventually("the source reads ahead", async || match mirror.source.waiting().bytes {
        bytes if bytes > mirror.limit() / 2 => Ok(()),
        bytes => Err(format!("{bytes} bytes")),
    })
    .await;
    always("the source waits and is well", Duration::from_secs(3), async || {
        let (waiting, status) = (mirror.source.waiting(), mirror.source.status());
        let well = matches!(status.state, State::Running { .. }) && status.last_error.is_none();
        if well && waiting.bytes < mirror.limit() + (4 << 20) { Ok(()) } else { Err(format!("{waiting:?} {status:?}")) }
    })
    .await;
    mirror.equals(t, &client, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_takes_back_what_was_made_and_tells_what_could_not_be() {
    let mut postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    let mirror = Mirror::create(&postgres).await;
    mirror.source.stop().await;
    assert_eq!(connector().drop(&mirror.definition).await, [""; 0]);
    assert_eq!(client.one("SELECT count(*) FROM pg_replication_slots").await, "0");
    assert_eq!(client.one("SELECT count(*) FROM pg_publication").await, "0");
    postgres.stop(Stop::Fast);
    let notices = connector().drop(&mirror.definition).await;
    assert!(notices[0].contains("SELECT pg_drop_replication_slot('weir_test')"), "{notices:?}");
    assert!(notices[1].contains("DROP PUBLICATION"), "{notices:?}");
}
