//! The first path: a commit in Postgres is in a view a moment later, and survives kill -9.

use crate::kit::{Pair, Weir};

const ORDERS: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, customer int, amount numeric(10, 2), note text);
    INSERT INTO orders SELECT i, i % 7, i * 1.25, 'order ' || i FROM generate_series(1, 1000) AS i";
const BY_CUSTOMER: &str =
    "SELECT customer, count(*) AS n, sum(amount) AS amount, max(note) AS last FROM orders GROUP BY customer";

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_postgres_is_in_a_view_and_survives_kill_9() {
    let mut pair = Pair::start().await;
    pair.follow(ORDERS, &["orders"]).await;
    pair.sql.run(&format!("CREATE MATERIALIZED VIEW by_customer AS {BY_CUSTOMER}")).await;
    pair.up.run(&format!("CREATE VIEW by_customer AS {BY_CUSTOMER}")).await;
    assert_eq!(pair.same("SELECT * FROM by_customer").await.len(), 7);

    pair.up.run("INSERT INTO orders VALUES (2000, 42, 10.00, 'new')").await;
    pair.up.run("UPDATE orders SET amount = amount + 1, customer = 8 WHERE id % 10 = 0").await;
    pair.up.run("DELETE FROM orders WHERE id < 100").await;
    pair.same("SELECT * FROM by_customer").await;
    pair.same("SELECT * FROM orders").await;

    pair.crash().await;
    pair.same("SELECT * FROM by_customer").await;

    pair.weir.kill();
    pair.up.run("UPDATE orders SET note = 'while down' WHERE customer = 3").await;
    pair.revive().await;
    pair.same("SELECT * FROM by_customer").await;
    pair.same("SELECT * FROM orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_writes_a_last_checkpoint_and_ends_cleanly() {
    let mut pair = Pair::start().await;
    pair.follow(ORDERS, &["orders"]).await;
    pair.up.run("DELETE FROM orders WHERE id > 10").await;
    pair.same("SELECT * FROM orders").await;
    let status = pair.weir.stop();
    assert!(status.success(), "ended with {status}: {}", pair.weir.log());
    pair.up.run("INSERT INTO orders VALUES (5000, 1, 1, 'while stopped')").await;
    pair.revive().await;
    pair.same("SELECT * FROM orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_takes_the_columns_that_are_asked_for() {
    let pair = Pair::start().await;
    pair.up.run(ORDERS).await;
    pair.source("").await;
    pair.sql.run("CREATE TABLE slim (id INT PRIMARY KEY, amount NUMERIC(10, 2)) FROM src TABLE 'public.orders'").await;
    pair.up.run("CREATE VIEW slim AS SELECT id, amount FROM orders").await;
    pair.up.run("UPDATE orders SET amount = 0 WHERE id = 7").await;
    pair.same("SELECT * FROM slim").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_statement_wrote_to_a_plain_table_survives_kill_9() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE notes (id INT PRIMARY KEY, body VARCHAR)").await;
    sql.run("CREATE MATERIALIZED VIEW lengths AS SELECT count(*) AS n, sum(length(body)) AS l FROM notes").await;
    sql.run("INSERT INTO notes VALUES (0, '')").await;
    for id in 1..=4 {
        weir.client().await.run(&format!("INSERT INTO notes VALUES ({id}, 'note')")).await;
        weir.kill();
        weir.restart().await;
        weir.client().await.run("UPDATE notes SET body = body || '!'").await;
        weir.kill();
        weir.restart().await;
        let sql = weir.client().await;
        let written = sql.rows("SELECT count(*), sum(length(body)) FROM notes").await.expect("read the table");
        let lengths = (0..=id).map(|note| (id - note + 1).min(id) + if note == 0 { 0 } else { 4 }).sum::<i32>();
        assert_eq!(written, [[Some((id + 1).to_string()), Some(lengths.to_string())]]);
        assert_eq!(sql.rows("SELECT * FROM lengths").await, Ok(written));
    }
}
