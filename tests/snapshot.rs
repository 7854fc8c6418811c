//! The initial copy meets the stream exactly: whatever happens meanwhile, nothing is missing and nothing is there twice.

use crate::kit::{Client, Pair, Version, Weir, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

on_each_postgres! {
    rows_written_during_the_copy_are_there_once,
    a_crash_during_the_copy_starts_it_again,
    a_table_without_a_key_is_a_bag,
    a_table_made_later_is_copied_while_the_stream_runs_on,
}

const ITEMS: &str = "
    CREATE TABLE items (id int PRIMARY KEY, n int, body text);
    INSERT INTO items SELECT i, i % 100, repeat('x', i % 50) FROM generate_series(1, 60000) AS i;
    CREATE TABLE done (id int PRIMARY KEY)";

/// Inserts, updates, deletes and key changes until told to stop; counts its transactions.
async fn trouble(client: Client, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = round * 37 % 60_000;
        client
            .run(&format!(
                "BEGIN;
                 INSERT INTO items VALUES ({}, {round}, 'new');
                 UPDATE items SET n = n + 1, body = body || 'y' WHERE id BETWEEN {id} AND {id} + 3;
                 DELETE FROM items WHERE id = {id} + 5;
                 UPDATE items SET id = -id WHERE id = {id} + 7 AND NOT EXISTS (SELECT 1 FROM items WHERE id = -({id} + 7));
                 COMMIT",
                100_000 + round
            ))
            .await;
        round += 1;
        count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn rows_written_during_the_copy_are_there_once(version: Version) {
    let pair = Pair::of(version, &[]).await;
    pair.up.run(ITEMS).await;
    pair.source("").await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writer = tokio::spawn(trouble(pair.postgres.client().await, stop.clone(), count.clone()));
    eventually("the writer writes", async || match count.load(Ordering::Relaxed) {
        0..5 => Err("too few transactions".into()),
        _ => Ok(()),
    })
    .await;
    pair.table("items").await;
    let at_copy = count.load(Ordering::Relaxed);
    pair.sql
        .run("CREATE MATERIALIZED VIEW per_n AS SELECT n, count(*) AS c, sum(length(body)) AS l FROM items GROUP BY n")
        .await;
    eventually("the writer goes on", async || match count.load(Ordering::Relaxed) {
        now if now > at_copy + 20 => Ok(()),
        now => Err(format!("{now} transactions")),
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the writer ends well");
    pair.same("SELECT * FROM items").await;
    pair.up.run("CREATE VIEW per_n AS SELECT n, count(*) AS c, sum(length(body)) AS l FROM items GROUP BY n").await;
    pair.same("SELECT * FROM per_n").await;
}

async fn a_crash_during_the_copy_starts_it_again(version: Version) {
    let mut pair = Pair::of(version, &[]).await;
    pair.up.run(ITEMS).await;
    pair.up.run("INSERT INTO items SELECT i, i, repeat('z', 200) FROM generate_series(200001, 400000) AS i").await;
    pair.source("").await;
    let creating = pair.weir.client().await;
    let create =
        tokio::spawn(async move { creating.rows("CREATE TABLE items (*) FROM src TABLE 'public.items'").await });
    eventually("the copy runs upstream", async || {
        let copies = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ILIKE '%items%' AND pid <> pg_backend_pid()";
        match pair.up.one(copies).await.as_str() {
            "0" if !create.is_finished() => Err("no query over the table".into()),
            _ => Ok(()),
        }
    })
    .await;
    pair.crash().await;
    assert!(create.await.is_ok(), "the session ends with its server");
    pair.up.run("UPDATE items SET n = -1 WHERE id % 1000 = 0").await;
    let exists = async |weir: &Weir| {
        let tables = weir.client().await.rows("SHOW TABLES").await.expect("SHOW TABLES");
        tables.iter().any(|row| row[0].as_deref() == Some("items"))
    };
    if !exists(&pair.weir).await {
        // Killed before the table was announced: nobody was told that it exists.
        pair.table("items").await;
    }
    pair.same("SELECT * FROM items").await;
}

async fn a_table_without_a_key_is_a_bag(version: Version) {
    let mut pair = Pair::of(version, &[]).await;
    pair.up.run("CREATE TABLE log (at int, word text); ALTER TABLE log REPLICA IDENTITY FULL").await;
    pair.up.run("INSERT INTO log VALUES (1, 'a'), (1, 'a'), (1, 'a'), (2, NULL), (NULL, NULL), (NULL, NULL)").await;
    pair.source("").await;
    pair.table("log").await;
    pair.sql
        .run("CREATE MATERIALIZED VIEW words AS SELECT word, count(*) AS n, sum(at) AS s FROM log GROUP BY word")
        .await;
    pair.up.run("CREATE VIEW words AS SELECT word, count(*) AS n, sum(at) AS s FROM log GROUP BY word").await;
    pair.same("SELECT * FROM log").await;
    pair.up.run("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE word = 'a')").await;
    pair.up.run("UPDATE log SET word = 'b' WHERE ctid = (SELECT max(ctid) FROM log WHERE word = 'a')").await;
    pair.up.run("INSERT INTO log VALUES (NULL, NULL), (3, 'b')").await;
    pair.same("SELECT * FROM log").await;
    pair.same("SELECT * FROM words").await;
    pair.crash().await;
    pair.up.run("DELETE FROM log WHERE word IS NULL").await;
    pair.same("SELECT * FROM log").await;
    pair.same("SELECT * FROM words").await;
}

async fn a_table_made_later_is_copied_while_the_stream_runs_on(version: Version) {
    let pair = Pair::of(version, &[]).await;
    pair.follow("CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 1)", &["a"]).await;
    pair.up
        .run("CREATE TABLE b (id int PRIMARY KEY, v int); INSERT INTO b SELECT i, i FROM generate_series(1, 5000) AS i")
        .await;
    pair.up.run("INSERT INTO a VALUES (2, 2)").await;
    pair.table("b").await;
    pair.up.run("BEGIN; UPDATE a SET v = v + 1; UPDATE b SET v = v + 1; COMMIT").await;
    pair.same("SELECT * FROM a").await;
    pair.same("SELECT * FROM b").await;
}
