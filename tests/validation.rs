//! CREATE SOURCE and CREATE TABLE look before they leap: every finding names what is wrong.

use crate::kit::{Client, PASSWORD, Pair};

/// `sql` fails, and its error says all of `words`.
async fn refused(client: &Client, sql: &str, words: &[&str]) {
    let error = client.error(sql).await;
    let text =
        format!("{}\n{}\n{}", error.message(), error.detail().unwrap_or_default(), error.hint().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "{word:?} is not in the error of: {sql}\n{text}");
    }
    assert!(!text.contains(PASSWORD), "a secret is shown: {text}");
}

fn create(options: &str) -> String {
    format!("CREATE SOURCE src WITH ({options})")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_work_is_refused_with_the_reason() {
    let pair = Pair::start().await;
    let good = pair.postgres.options("weir_src", "");
    let without = |name: &str, value: &str| good.replace(name, value);
    refused(&pair.sql, &create(&without("postgres-cdc", "oracle-cdc")), &["oracle-cdc"]).await;
    refused(&pair.sql, &create(&format!("{good}, colour='blue'")), &["colour"]).await;
    refused(&pair.sql, &create(&without("hostname='127.0.0.1', ", "")), &["hostname"]).await;
    refused(&pair.sql, &create(&pair.postgres.options_through(1, "weir_src", "")), &["127.0.0.1", "1"]).await;
    refused(&pair.sql, &create(&without(PASSWORD, "wrong")), &["postgres", "password"]).await;
    refused(&pair.sql, &create(&without("database.name='postgres'", "database.name='nowhere'")), &["nowhere"]).await;
    refused(&pair.sql, &create(&without("slot.name='weir_src'", "slot.name='Not Valid'")), &["Not Valid"]).await;
    pair.up.run("CREATE ROLE reader LOGIN PASSWORD 'reader'").await;
    let reader = good.replace("username='postgres'", "username='reader'").replace(PASSWORD, "reader");
    refused(&pair.sql, &create(&reader), &["reader", "REPLICATION"]).await;
    assert_eq!(pair.sql.rows("SHOW SOURCES").await, Ok(vec![]));
    assert_eq!(pair.up.one("SELECT count(*) FROM pg_replication_slots").await, "0", "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_level_is_checked_together_with_all_else() {
    let pair = Pair::with(&["wal_level=replica"]).await;
    refused(&pair.sql, &create(&pair.postgres.options("weir_src", "")), &["wal_level", "replica", "logical"]).await;
    pair.up.run("CREATE ROLE reader LOGIN PASSWORD 'reader'").await;
    let reader = pair
        .postgres
        .options("weir_src", "")
        .replace("username='postgres'", "username='reader'")
        .replace(PASSWORD, "reader");
    refused(&pair.sql, &create(&reader), &["wal_level", "REPLICATION"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_busy_or_of_another_kind_is_refused() {
    let pair = Pair::start().await;
    pair.source("").await;
    let again = pair.postgres.options("weir_src", "");
    refused(&pair.sql, &format!("CREATE SOURCE second WITH ({again})"), &["weir_src"]).await;
    pair.up.run("SELECT pg_create_logical_replication_slot('other', 'test_decoding')").await;
    refused(
        &pair.sql,
        &format!("CREATE SOURCE second WITH ({})", pair.postgres.options("other", "")),
        &["other", "test_decoding"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_followed_is_refused_with_the_reason() {
    let pair = Pair::start().await;
    pair.up
        .run(
            "CREATE TABLE fine (id int PRIMARY KEY, v int);
             CREATE TABLE shapes (id int PRIMARY KEY, p point, c circle);
             CREATE TABLE keyless (id int);
             CREATE TABLE silent (id int PRIMARY KEY); ALTER TABLE silent REPLICA IDENTITY NOTHING;
             CREATE VIEW looked AS SELECT * FROM fine;
             CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)",
        )
        .await;
    pair.source("").await;
    let table = |definition: &str| format!("CREATE TABLE t {definition}");
    refused(&pair.sql, &table("(*) FROM src TABLE 'public.nowhere'"), &["public.nowhere"]).await;
    refused(&pair.sql, &table("(*) FROM src TABLE 'public.looked'"), &["looked"]).await;
    refused(&pair.sql, &table("(*) FROM src TABLE 'public.unlogged'"), &["unlogged"]).await;
    refused(&pair.sql, &table("(*) FROM src TABLE 'public.shapes'"), &["p", "point", "c", "circle"]).await;
    refused(&pair.sql, &table("(*) FROM src TABLE 'public.silent'"), &["silent", "REPLICA IDENTITY"]).await;
    refused(&pair.sql, &table("(*) FROM src TABLE 'public.keyless'"), &["keyless", "REPLICA IDENTITY FULL"]).await;
    refused(
        &pair.sql,
        &table("(id INT PRIMARY KEY, nope INT, more INT) FROM src TABLE 'public.fine'"),
        &["nope", "more"],
    )
    .await;
    refused(&pair.sql, &table("(id INT PRIMARY KEY, v TEXT[]) FROM src TABLE 'public.fine'"), &["v"]).await;
    refused(&pair.sql, &table("(id INT, v INT PRIMARY KEY) FROM src TABLE 'public.fine'"), &["id"]).await;
    refused(&pair.sql, &table("(*) FROM nosource TABLE 'public.fine'"), &["nosource"]).await;
    assert_eq!(pair.sql.rows("SHOW TABLES").await, Ok(vec![]));
    // Columns of types we have are enough.
    pair.sql.run("CREATE TABLE t (id INT PRIMARY KEY) FROM src TABLE 'public.shapes'").await;
    pair.up.run("INSERT INTO shapes VALUES (1, '(1,2)', NULL)").await;
    crate::kit::eventually("the row arrives", async || match pair.sql.rows("SELECT * FROM t").await {
        Ok(rows) if rows.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
