//! Checks before anything is made: every finding at once, each by name.

use super::mirror::{connector, definition};
use crate::kit::Postgres;
use weir::connector::{Definition, Discovered, Wanted};
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_sql::{Error, Result};

async fn check(definition: &Definition) -> Error {
    connector().check(definition).await.expect_err("the check fails")
}

async fn discover(
    definition: &Definition,
    upstream: &str,
    columns: Option<(Vec<Column>, Vec<usize>)>,
) -> Result<Discovered> {
    let wanted = Wanted { table: RelationId(1), upstream: upstream.into(), columns };
    connector().discover(definition, &wanted).await
}

/// Message and detail together name all of these.
fn names(error: &Error, all: &[&str]) {
    let text = format!("{} {}", error.message, error.detail.clone().unwrap_or_default());
    for name in all {
        assert!(text.contains(name), "\"{name}\" in {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_or_refuses_is_told_with_its_reason() {
    let postgres = Postgres::start(&[]).await;
    let port = postgres.port();
    assert_eq!(check(&definition(port, &[("password", "wrong")])).await.sqlstate, "28P01");
    assert_eq!(check(&definition(port, &[("database.name", "nowhere")])).await.sqlstate, "3D000");
    let error = check(&definition(1, &[])).await;
    assert_eq!(error.sqlstate, "08001");
    names(&error, &["127.0.0.1:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_s_shortcomings_are_told_at_once() {
    let postgres = Postgres::start(&["wal_level=replica", "max_wal_senders=0"]).await;
    let client = postgres.client().await;
    client.run("CREATE ROLE plain LOGIN PASSWORD 'p'").await;
    let error = check(&definition(postgres.port(), &[("username", "plain"), ("password", "p")])).await;
    names(
        &error,
        &[
            "wal_level is \"replica\"",
            "role \"plain\" may not start replication",
            "max_wal_senders",
            "publication \"weir_test\"",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_or_publication_that_does_not_fit_is_told() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(
            "SELECT pg_create_logical_replication_slot('weir_test', 'test_decoding');
             CREATE PUBLICATION weir_test WITH (publish = 'insert')",
        )
        .await;
    let error = check(&definition(postgres.port(), &[])).await;
    names(&error, &["plugin test_decoding", "does not publish update, delete, truncate"]);
    let missing = [("publication.name", "none"), ("publication.create.enable", "false"), ("slot.name", "free")];
    names(&check(&definition(postgres.port(), &missing)).await, &["publication \"none\" does not exist"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_slot_and_publication_that_fit_are_used_and_kept() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE PUBLICATION weir_test FOR ALL TABLES").await;
    client.run("SELECT pg_create_logical_replication_slot('weir_test', 'pgoutput')").await;
    let mut definition = definition(postgres.port(), &[]);
    definition.details = connector().check(&definition).await.unwrap();
    definition.details = connector().create(&definition).await.unwrap().details;
    assert_eq!(connector().drop(&definition).await, [""; 0]);
    assert_eq!(client.one("SELECT count(*) FROM pg_replication_slots").await, "1");
    assert_eq!(client.one("SELECT count(*) FROM pg_publication").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_twice_makes_one_slot_and_keeps_its_position() {
    let postgres = Postgres::start(&[]).await;
    let mut definition = definition(postgres.port(), &[]);
    definition.details = connector().check(&definition).await.unwrap();
    let first = connector().create(&definition).await.unwrap();
    let second = connector().create(&definition).await.unwrap();
    assert_eq!(first.position, second.position);
    assert_eq!(first.details, second.details);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_or_has_no_identity_is_told() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(
            "CREATE PUBLICATION weir_test; CREATE TABLE nokey (a int); CREATE TABLE nothing (a int PRIMARY KEY);
             ALTER TABLE nothing REPLICA IDENTITY NOTHING; CREATE VIEW v AS SELECT 1 AS a; CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY);
             CREATE TABLE parts (a int PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE odd (a int PRIMARY KEY, p point, i inet);
             CREATE TABLE gen (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a + 1) STORED)",
        )
        .await;
    let definition = definition(postgres.port(), &[]);
    for (table, sqlstate, named) in [
        ("nowhere", "42P01", "\"public.nowhere\" does not exist"),
        ("nokey", "55000", "no primary key"),
        ("nothing", "55000", "REPLICA IDENTITY NOTHING"),
        ("v", "42809", "is a view"),
        ("unlogged", "42809", "unlogged"),
        ("parts", "42809", "partitioned"),
        ("pg_catalog.pg_class", "42501", "owner"),
    ] {
        match discover(&definition, table, None).await {
            Err(error) if table != "pg_catalog.pg_class" => {
                assert_eq!(error.sqlstate, sqlstate, "{error:?}");
                names(&error, &[named]);
            }
            // The superuser owns it.
            other => assert_eq!(table, "pg_catalog.pg_class", "{other:?}"),
        }
    }
    let odd = discover(&definition, "odd", None).await.unwrap_err();
    names(&odd, &["column \"p\" has type point", "column \"i\" has type inet"]);
    let listed = (vec![Column { name: "a".into(), kind: Type::Int4, nullable: false }], vec![0]);
    let part = discover(&definition, "odd", Some(listed)).await.unwrap();
    assert_eq!(part.subscription.columns.len(), 1);
    let gen_ = discover(&definition, "gen", None).await.unwrap();
    assert_eq!((gen_.subscription.columns.len(), gen_.notices.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_table_must_be_what_upstream_has() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run("CREATE PUBLICATION weir_test; CREATE TABLE t (a int, b text, c numeric(8,2), PRIMARY KEY (a, b))")
        .await;
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: true };
    let columns = vec![column("a", Type::Int8), column("d", Type::Text), column("c", Type::Numeric(None))];
    let error = discover(&definition(postgres.port(), &[]), "public.t", Some((columns, vec![0]))).await.unwrap_err();
    names(&error, &["\"d\" does not exist", "\"a\" is declared bigint, and is integer", "\"b\" of the key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_told_with_the_table() {
    let postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client
        .run(
            "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'p'; GRANT CREATE ON DATABASE postgres TO reader;
             CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION weir_test",
        )
        .await;
    let definition = definition(postgres.port(), &[("username", "reader"), ("password", "p")]);
    let error = discover(&definition, "t", None).await.unwrap_err();
    names(&error, &["permission denied for table \"public.t\"", "belongs to another role"]);
    client
        .run("GRANT SELECT ON t TO reader; ALTER PUBLICATION weir_test ADD TABLE t; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        .await;
    names(&discover(&definition, "t", None).await.unwrap_err(), &["row level security"]);
    client.run("ALTER ROLE reader BYPASSRLS").await;
    assert!(discover(&definition, "t", None).await.is_ok());
}
