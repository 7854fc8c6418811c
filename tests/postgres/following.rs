//! Copy and stream: whatever upstream does, the tables follow.

use super::mirror::{Mirror, connector};
use crate::kit::{Client, Postgres};
use weir::connector::{State, Wanted};
use weir_sql::catalog::RelationId;

/// Long enough to be stored out of line, and compressible by nothing.
const BIG: &str = "(SELECT string_agg(md5(i::text || 'x'), '') FROM generate_series(1, 400) i)";

async fn toasted(client: &Client) {
    client
        .run(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, n int, big text);
             ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
             INSERT INTO t SELECT i, i, i || {BIG} FROM generate_series(1, 5) i"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_copied_and_then_followed_through_every_kind_of_change() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    toasted(&client).await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "public.t").await;
    let all = "SELECT * FROM t";
    mirror.equals(t, &client, all).await;
    for change in [
        "INSERT INTO t VALUES (6, 6, 'six'), (7, NULL, NULL)",
        "UPDATE t SET n = n + 100 WHERE id <= 3",
        "DELETE FROM t WHERE id = 2",
        "UPDATE t SET id = 20 WHERE id = 3",
        // In one transaction: a swap of keys with values that are not sent.
        "BEGIN; UPDATE t SET id = -1 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 4; UPDATE t SET id = 4 WHERE id = -1; COMMIT",
        // A chain of three moves.
        "BEGIN; UPDATE t SET id = 51 WHERE id = 5; UPDATE t SET id = 52, n = 7 WHERE id = 51; UPDATE t SET id = 53 WHERE id = 52; COMMIT",
        "BEGIN; INSERT INTO t VALUES (8, 1, repeat('z', 9000)); UPDATE t SET n = 2 WHERE id = 8; UPDATE t SET id = 9 WHERE id = 8; COMMIT",
        "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (99, 1, 'gone'); ROLLBACK TO a; INSERT INTO t VALUES (98, 1, 'stays'); COMMIT",
        "BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 1, 'after'); UPDATE t SET n = 3 WHERE id = 1; COMMIT",
        "TRUNCATE t",
    ] {
        client.run(change).await;
        mirror.equals(t, &client, all).await;
    }
    assert!(mirror.stopped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_changes_of_a_row_in_one_take_fold_to_the_last() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    toasted(&client).await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "t").await;
    client
        .run(
            "UPDATE t SET n = n + 1; UPDATE t SET id = id + 1000; UPDATE t SET n = n + 1; DELETE FROM t WHERE id = 1003;
             UPDATE t SET id = id - 1000; INSERT INTO t VALUES (3, 3, 'again')",
        )
        .await;
    mirror.equals(t, &client, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_key_is_followed_by_full_images() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(&format!(
            "CREATE TABLE t (a int, big text); ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
             INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, {BIG})"
        ))
        .await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "public.t").await;
    for change in [
        "INSERT INTO t VALUES (1, 'x'), (3, NULL)",
        "UPDATE t SET a = a + 10 WHERE a = 2",
        "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1)",
        "BEGIN; TRUNCATE t; INSERT INTO t VALUES (9, 'nine'); COMMIT",
    ] {
        client.run(change).await;
        mirror.equals(t, &client, "SELECT * FROM t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_several_columns_in_another_order_is_followed() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (v text, b text, a int, PRIMARY KEY (a, b)); INSERT INTO t VALUES ('x', 'k', 1)").await;
    let mut mirror = Mirror::create(&postgres).await;
    let t = mirror.copy(1, "t").await;
    assert_eq!(mirror.subscription(t).key, Some(vec![2, 1]));
    client
        .run("UPDATE t SET b = 'l'; INSERT INTO t VALUES ('y', 'k', 1), ('z', 'k', 2); DELETE FROM t WHERE a = 2")
        .await;
    mirror.equals(t, &client, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_writes_ends_equal_and_later_tables_join_a_running_stream() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(
            "CREATE TABLE a (id int PRIMARY KEY, n int, pad text); CREATE TABLE b (id int PRIMARY KEY, n int);
             INSERT INTO a SELECT i, 0, repeat('p', 300) FROM generate_series(1, 150000) i",
        )
        .await;
    let mut mirror = Mirror::create(&postgres).await;
    let writer = postgres.client().await;
    let writing = tokio::spawn(async move {
        for round in 0..150 {
            writer
                .run(&format!(
                    "BEGIN; UPDATE a SET n = n + 1 WHERE id % 997 = {round}; DELETE FROM a WHERE id = {round} * 31 + 1;
                     UPDATE a SET id = -id WHERE id = {round} * 37 + 2; INSERT INTO a VALUES (200000 + {round}, 1, NULL);
                     INSERT INTO b VALUES ({round}, 1); COMMIT"
                ))
                .await;
        }
    });
    let a = mirror.copy(1, "a").await;
    let b = mirror.copy(2, "b").await;
    writing.await.unwrap();
    mirror.equals(a, &client, "SELECT * FROM a").await;
    mirror.equals(b, &client, "SELECT * FROM b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_take_shows_a_part_of_a_transaction() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(
            "CREATE TABLE x (id int PRIMARY KEY, n int); CREATE TABLE y (id int PRIMARY KEY, n int);
             INSERT INTO x SELECT i, 100 FROM generate_series(1, 10) i; INSERT INTO y SELECT i, 100 FROM generate_series(1, 10) i",
        )
        .await;
    let mut mirror = Mirror::create(&postgres).await;
    let (x, y) = (mirror.copy(1, "x").await, mirror.copy(2, "y").await);
    let writer = postgres.client().await;
    let writing = tokio::spawn(async move {
        for i in 0..500 {
            let (from, to) = (i % 10 + 1, i * 7 % 10 + 1);
            writer
                .run(&format!(
                    "BEGIN; UPDATE x SET n = n - 3 WHERE id = {from}; UPDATE y SET n = n + 3 WHERE id = {to}; COMMIT"
                ))
                .await;
        }
    });
    let total = |m: &Mirror| -> i64 {
        let rows = [x, y].into_iter().flat_map(|t| m.tables[&t].rows());
        rows.map(|row| row[1].as_ref().unwrap().parse::<i64>().unwrap()).sum()
    };
    while !writing.is_finished() {
        mirror.pull();
        assert_eq!(total(&mirror), 2000);
        tokio::task::yield_now().await;
    }
    mirror.equals(x, &client, "SELECT * FROM x").await;
    mirror.equals(y, &client, "SELECT * FROM y").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_told_once_and_a_dropped_one_stops_its_table_alone() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (id int PRIMARY KEY)").await;
    let mut mirror = Mirror::create(&postgres).await;
    let (t, u) = (mirror.copy(1, "t").await, mirror.copy(2, "u").await);
    client
        .run("ALTER TABLE t ADD COLUMN fresh text; INSERT INTO t VALUES (1, 1, 'f'); INSERT INTO t VALUES (2, 2, 'g')")
        .await;
    mirror.equals(t, &client, "SELECT id, n FROM t").await;
    assert_eq!(mirror.notices, ["column \"fresh\" was added upstream and is ignored"]);
    client.run("BEGIN; INSERT INTO t VALUES (3, 3, 'h'); ALTER TABLE t DROP COLUMN n; INSERT INTO t VALUES (4, 'i'); COMMIT").await;
    client.run("INSERT INTO u VALUES (1)").await;
    mirror.equals(u, &client, "SELECT * FROM u").await;
    let cause = &mirror.stopped[&t];
    assert_eq!(cause.expression, "column \"n\"");
    assert_eq!(mirror.tables[&t].rows().len(), 2, "the transaction that stops it is not applied");
    assert!(matches!(mirror.source.status().state, State::Running { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_held_is_an_error_of_that_row_until_it_changes() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, a int[]); INSERT INTO t VALUES (1, '{1}'), (2, '{{1,2},{3,4}}');
             CREATE TABLE u (a int[]); ALTER TABLE u REPLICA IDENTITY FULL; INSERT INTO u VALUES ('{1}'), ('{{1},{2}}')",
        )
        .await;
    let mut mirror = Mirror::create(&postgres).await;
    let (t, u) = (mirror.copy(1, "t").await, mirror.copy(2, "u").await);
    for table in [t, u] {
        let causes = mirror.tables[&table].causes();
        assert_eq!((causes.len(), causes[0].sqlstate.as_str()), (1, "0A000"));
        assert_eq!(causes[0].expression, "column \"a\"");
        assert_eq!(mirror.tables[&table].rows().len(), 1);
    }
    client.run("INSERT INTO t VALUES (3, '[0:1]={1,2}'); UPDATE t SET a = '{7}' WHERE id = 2; DELETE FROM u WHERE a <> '{1}'").await;
    mirror.until("the errors change", |m| m.tables[&t].causes().len() == 1 && m.tables[&u].causes().is_empty()).await;
    client.run("DELETE FROM t WHERE id = 3").await;
    mirror.until("the error goes", |m| m.tables[&t].causes().is_empty()).await;
    assert_eq!(mirror.tables[&t].rows(), [["1", "[1]"], ["2", "[7]"]].map(|r| r.map(|v| Some(v.to_string())).to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_be_followed_twice_and_left_once() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)").await;
    let mut mirror = Mirror::create(&postgres).await;
    let first = mirror.copy(1, "t").await;
    let second = mirror.copy(2, "t").await;
    client.run("INSERT INTO t VALUES (2, 2)").await;
    mirror.equals(first, &client, "SELECT * FROM t").await;
    mirror.equals(second, &client, "SELECT * FROM t").await;
    mirror.source.unsubscribe(first).await;
    client.run("INSERT INTO t VALUES (3, 3)").await;
    mirror.equals(second, &client, "SELECT * FROM t").await;
    assert_eq!(mirror.tables[&first].rows().len(), 2);
    mirror.source.unsubscribe(second).await;
    assert_eq!(client.one("SELECT count(*) FROM pg_publication_tables").await, "0");
    let third = Wanted { table: RelationId(3), upstream: "t".into(), columns: None };
    assert!(connector().discover(&mirror.definition, &third).await.is_ok());
}
