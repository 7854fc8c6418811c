//! Sessions as people and programs use them: parameters, cancelling, passwords, pinned reads.

use crate::kit::{Client, Postgres, TIMEOUT, Weir, eventually, output};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

const RELATIONS: &str = "
    CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR, price NUMERIC(10, 2));
    CREATE MATERIALIZED VIEW dear AS SELECT id, name FROM items WHERE price > 10;
    INSERT INTO items VALUES (1, 'tea', 3.50), (2, 'cake', 12.00), (3, 'jam', 45.25)";

async fn shop() -> (Weir, Client) {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    for statement in RELATIONS.split(';') {
        sql.run(statement).await;
    }
    (weir, sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_points_at_its_place() {
    let (weir, sql) = shop().await;
    let text = weir.psql("SELECT id,\n  nope FROM items");
    assert!(text.contains("ERROR:  column \"nope\" does not exist"), "{text}");
    assert!(text.contains("LINE 2:   nope FROM items"), "{text}");
    let error = sql.error("SELECT name FROM itms").await;
    assert_eq!(error.code(), &SqlState::UNDEFINED_TABLE);
    assert!(error.message().contains("itms"), "{error}");
    assert!(error.position().is_some(), "{error}");
    assert_eq!(sql.one("SELECT 1").await, "1", "the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_have_types_and_results_are_binary_or_text() {
    let (_weir, sql) = shop().await;
    let rows = sql.query("SELECT name FROM items WHERE id = $1", &[&2i32]).await.expect("by key");
    assert_eq!(rows[0].get::<_, String>(0), "cake");
    let row = sql.query_one(
        "SELECT count(*), max(id), bool_and(price > 1), min(name) FROM items WHERE id <= $1 AND name <> $2",
        &[&3i32, &"jam"],
    );
    let row = row.await.expect("aggregates");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1), row.get::<_, bool>(2)), (2, 2, true));
    let statement = sql.prepare("INSERT INTO items VALUES ($1, $2, $3::numeric)").await;
    let statement = statement.expect("prepare an insert");
    assert_eq!(statement.params().len(), 3);
    assert_eq!(
        sql.execute("INSERT INTO items (id, name) VALUES ($1, $2)", &[&4i32, &"milk"]).await.expect("insert"),
        1
    );
    assert_eq!(
        sql.execute("UPDATE items SET name = $1 WHERE id = $2", &[&"oat milk", &4i32]).await.expect("update"),
        1
    );
    assert_eq!(sql.execute("DELETE FROM items WHERE id = $1", &[&1i32]).await.expect("delete"), 1);
    let names = sql.query("SELECT name FROM items ORDER BY id", &[]).await.expect("all");
    assert_eq!(names.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["cake", "jam", "oat milk"]);
    let error = sql.query("SELECT 1 / $1::int", &[&0i32]).await.expect_err("division by zero");
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(sql.one("SELECT 1").await, "1", "the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_can_be_cancelled() {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE n (i INT PRIMARY KEY)").await;
    let values = (0..2000).map(|i| format!("({i})")).collect::<Vec<_>>().join(",");
    sql.run(&format!("INSERT INTO n VALUES {values}")).await;
    let token = sql.cancel_token();
    let long = tokio::spawn(async move {
        sql.rows("SELECT sum(a.i * b.i % 7 + c.i + d.i) FROM n AS a, n AS b, n AS c, n AS d").await.map(|_| sql)
    });
    let end = eventually("the query is cancelled", async || {
        token.cancel_query(NoTls).await.map_err(|e| e.to_string())?;
        if long.is_finished() { Ok(()) } else { Err("it still runs".into()) }
    });
    end.await;
    let error = long.await.expect("the task ends").err().expect("the query fails");
    assert!(error.starts_with("57014"), "{error}");
    assert_eq!(weir.client().await.one("SELECT count(*) FROM n").await, "2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_statements_get_their_turn_beside_many_endless_ones() {
    let (weir, sql) = shop().await;
    let endless = "SELECT count(*) FROM generate_series(1, 200000) a(x) JOIN generate_series(1, 200000) b(y) ON x <> y";
    for _ in 0..40 {
        let client = weir.client().await;
        tokio::spawn(async move { client.rows(endless).await });
    }
    let mut took = vec![];
    for n in 0..15 {
        for statement in ["SELECT 1".to_string(), format!("INSERT INTO items VALUES ({}, 'x', 1)", 100 + n)] {
            let begun = Instant::now();
            sql.run(&statement).await;
            took.push(begun.elapsed());
        }
    }
    took.sort();
    // A tenth of that on processors that have nothing else to do.
    assert!(took[took.len() / 2] < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_one_epoch() {
    let (weir, sql) = shop().await;
    let other = weir.client().await;
    sql.run("BEGIN").await;
    assert_eq!(sql.one("SELECT count(*) FROM items").await, "3");
    other.run("INSERT INTO items VALUES (4, 'milk', 99)").await;
    assert_eq!(other.one("SELECT count(*) FROM dear").await, "3");
    assert_eq!(sql.one("SELECT count(*) FROM items").await, "3");
    assert_eq!(sql.one("SELECT count(*) FROM dear").await, "2");
    sql.run("COMMIT").await;
    assert_eq!(sql.one("SELECT count(*) FROM dear").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_relation_is_still_read_by_those_who_read_it() {
    let (weir, sql) = shop().await;
    sql.run("BEGIN").await;
    assert_eq!(sql.one("SELECT count(*) FROM dear").await, "2");
    weir.client().await.run("DROP MATERIALIZED VIEW dear").await;
    sql.run("COMMIT").await;
    assert_eq!(sql.error("SELECT count(*) FROM dear").await.code(), &SqlState::UNDEFINED_TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_say_what_was_ignored() {
    let (_weir, sql) = shop().await;
    sql.notices();
    sql.run("CREATE MATERIALIZED VIEW ordered AS SELECT id FROM items ORDER BY price").await;
    let notices = sql.notices();
    assert!(notices.iter().any(|notice| notice.message().contains("ORDER BY")), "{notices:?}");
    sql.run("CREATE TABLE IF NOT EXISTS items (id INT PRIMARY KEY)").await;
    let notices = sql.notices();
    assert!(notices.iter().any(|notice| notice.message().contains("already exists")), "{notices:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_password_file_only_those_who_know_it_come_in() {
    let weir = Weir::with_password("open sesame").await;
    assert_eq!(weir.client().await.one("SELECT 1").await, "1");
    let mut wrong = weir.config();
    wrong.password("open barley");
    let error = Client::connect(&wrong).await.err().expect("a wrong password is refused");
    assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD), "{error}");
    let mut stranger = weir.config();
    stranger.user("stranger");
    assert!(Client::connect(&stranger).await.is_err(), "a user without a line is refused");
    let log = weir.log();
    let told =
        |user: &str| log.lines().any(|line| ["login failed", user, "28P01"].iter().all(|part| line.contains(part)));
    assert!(told("stranger"), "{log}");
    assert!(!log.contains("open barley"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_everybody_needs_passwords_or_trust() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(["serve", "--listen", "0.0.0.0:0", "--http", "127.0.0.1:0", "--store"])
        .arg(folder.path().join("store"));
    let output = output(&mut command, "");
    assert!(!output.status.success(), "it does not start");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("--password-file") && text.contains("--trust"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_never_shown() {
    let (postgres, weir) = tokio::join!(Postgres::start(&[]), Weir::start());
    let sql = weir.client().await;
    sql.run(&format!("CREATE SOURCE src WITH ({})", postgres.options("weir_src", ""))).await;
    let mut shown = weir.log();
    for query in ["SHOW SOURCES", "SHOW CREATE SOURCE src", "SELECT * FROM rw_catalog.rw_sources"] {
        shown += &format!("{:?}", sql.rows(query).await.unwrap_or_else(|e| panic!("{query}: {e}")));
    }
    shown += &weir.inspect_text(&[]);
    assert!(shown.contains("src"), "{shown}");
    assert!(!shown.contains(crate::kit::PASSWORD), "the upstream's password is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_creation_is_cancelled_is_not_there() {
    let (weir, sql) = shop().await;
    let values = (10..40_000).map(|i| format!("({i}, 'n{}', {})", i % 100, i % 50)).collect::<Vec<_>>();
    for part in values.chunks(10_000) {
        sql.run(&format!("INSERT INTO items VALUES {}", part.join(","))).await;
    }
    let creating = weir.client().await;
    let token = creating.cancel_token();
    // Each name meets four hundred others: long enough to be interrupted on any machine.
    let create = tokio::spawn(async move {
        creating.rows("CREATE MATERIALIZED VIEW pairs AS SELECT a.id, b.id AS other FROM items AS a JOIN items AS b ON a.name = b.name").await
    });
    eventually("the creation is cancelled", async || {
        let _ = token.cancel_query(NoTls).await;
        if create.is_finished() { Ok(()) } else { Err("it still runs".into()) }
    })
    .await;
    if let Err(error) = create.await.expect("the task ends") {
        assert!(error.starts_with("57014"), "{error}");
        let gone = eventually("the view is gone", async || {
            let views = sql.rows("SHOW MATERIALIZED VIEWS").await?;
            if views.len() == 1 { Ok(views) } else { Err(format!("{views:?} after {TIMEOUT:?}")) }
        });
        assert_eq!(gone.await, [[Some("dear".to_string())]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_undo_a_part_of_a_block() {
    let (_weir, sql) = shop().await;
    sql.run("BEGIN").await;
    sql.run("INSERT INTO items VALUES (10, 'a', 20)").await;
    sql.run("SAVEPOINT first").await;
    sql.run("INSERT INTO items VALUES (11, 'b', 20)").await;
    assert_eq!(sql.error("SELECT nope FROM items").await.code(), &SqlState::UNDEFINED_COLUMN);
    assert_eq!(sql.error("SELECT 1").await.code(), &SqlState::IN_FAILED_SQL_TRANSACTION);
    sql.run("ROLLBACK TO SAVEPOINT first").await;
    sql.run("INSERT INTO items VALUES (12, 'c', 20)").await;
    sql.run("RELEASE first").await;
    sql.run("COMMIT").await;
    let ids = sql.rows("SELECT id FROM dear ORDER BY id").await.expect("read the view");
    let ids: Vec<String> = ids.into_iter().filter_map(|mut row| row.remove(0)).collect();
    assert_eq!(ids, ["2", "3", "10", "12"]);
    assert_eq!(sql.error("SAVEPOINT x").await.code(), &SqlState::NO_ACTIVE_SQL_TRANSACTION);
    sql.run("BEGIN").await;
    assert_eq!(sql.error("ROLLBACK TO nope").await.code().code(), "3B001");
    sql.run("ROLLBACK").await;
}
