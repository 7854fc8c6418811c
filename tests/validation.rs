//! CREATE SOURCE and CREATE TABLE look before they leap: every finding names what is wrong.

use crate::kit::{Client, PASSWORD, Pair, Version};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_sends_transactions_before_they_commit_is_refused_and_a_failover_slot_is_used() {
    let pair = Pair::of(Version::Eighteen, &["max_prepared_transactions=2"]).await;
    pair.up.run("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION weir_src FOR ALL TABLES").await;
    pair.up.run("SELECT pg_create_logical_replication_slot('weir_src', 'pgoutput', false, true)").await;
    refused(&pair.sql, &create(&pair.postgres.options("weir_src", "")), &["weir_src", "two_phase"]).await;
    pair.up.run("SELECT pg_drop_replication_slot('weir_src')").await;
    pair.up.run("SELECT pg_create_logical_replication_slot('weir_src', 'pgoutput', false, false, true)").await;
    pair.source("").await;
    pair.table("t").await;
    pair.up.run("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'").await;
    pair.up.run("INSERT INTO t VALUES (2)").await;
    pair.up.run("COMMIT PREPARED 'one'").await;
    pair.same("SELECT * FROM t").await;
    pair.sql.run("DROP SOURCE src CASCADE").await;
    assert_eq!(pair.up.one("SELECT failover FROM pg_replication_slots").await, "t", "it is not ours to drop");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_never_makes_updates_upstream_fail_for_a_generated_column() {
    let pair = Pair::of(Version::Eighteen, &[]).await;
    pair.up
        .run(
            "CREATE TABLE virtual (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2)); ALTER TABLE virtual REPLICA IDENTITY FULL;
             CREATE TABLE stored (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED); ALTER TABLE stored REPLICA IDENTITY FULL;
             INSERT INTO virtual VALUES (1, 1); INSERT INTO stored VALUES (1, 1)",
        )
        .await;
    // A publication of ours sends what is stored.
    pair.source("").await;
    let create = |table: &str| format!("CREATE TABLE {table} (*) FROM src TABLE 'public.{table}'");
    refused(&pair.sql, &create("virtual"), &["twice", "REPLICA IDENTITY FULL", "primary key"]).await;
    pair.table("stored").await;
    pair.up.run("UPDATE stored SET v = 5; UPDATE virtual SET v = 5").await;
    pair.same("SELECT * FROM stored").await;
    pair.sql.run("DROP SOURCE src CASCADE").await;
    // One that somebody else made may not.
    pair.up.run("CREATE PUBLICATION weir_src").await;
    pair.source("").await;
    refused(&pair.sql, &create("stored"), &["twice", "publish_generated_columns"]).await;
    pair.up.run("UPDATE stored SET v = 6").await;
}
