//! Every type, from Postgres through a table and a view to a client: the initial copy and the stream give the same.

use crate::kit::{Client, Pair, Version, difference, eventually};

on_each_postgres! {
    every_type_is_the_same_by_copy_and_by_stream,
    a_value_that_cannot_be_held_is_an_error_of_its_row,
}

/// Column, its type upstream, and values from plain to extreme.
const TYPES: &[(&str, &str, &[&str])] = &[
    ("b", "bool", &["true", "false"]),
    ("i2", "int2", &["-32768", "32767", "0"]),
    ("i4", "int4", &["-2147483648", "2147483647"]),
    ("i8", "int8", &["-9223372036854775808", "9223372036854775807"]),
    ("f4", "float4", &["1.5", "0.1", "3.4028235e38", "NaN", "-Infinity", "-0", "1e-45"]),
    ("f8", "float8", &["2.5", "0.1", "1.7976931348623157e308", "NaN", "Infinity", "5e-324", "1e15", "1e16"]),
    (
        "n",
        "numeric",
        &[
            "1.10",
            "0",
            "-0.000000000000000000000000000001",
            "12345678901234567890123456789012345678",
            "NaN",
            "Infinity",
            "100.00",
        ],
    ),
    ("n10", "numeric(10,2)", &["1.1", "-99999999.99", "0"]),
    ("n38", "numeric(38,10)", &["1234567890123456789012345678.0123456789", "-1"]),
    ("n60", "numeric(60,20)", &["1234567890123456789012345678901234567890.01234567890123456789", "0.5"]),
    ("x", "text", &["plain", "", "żółw 🐢", "tab\tline\nback\\slash quo\"te", "NULL"]),
    ("v", "varchar", &["any length", ""]),
    ("v5", "varchar(5)", &["five5", "żółw"]),
    ("c", "char(4)", &["ab", "abcd", ""]),
    ("y", "bytea", &["\\x", "\\x00ff5c27", "\\xdeadbeef"]),
    ("d", "date", &["2024-02-29", "0001-01-01", "4713-01-01 BC", "infinity", "-infinity", "9999-12-31"]),
    ("t", "time", &["00:00:00", "23:59:59.999999", "24:00:00", "12:34:56.7"]),
    (
        "p",
        "timestamp",
        &["2024-02-29 12:34:56.789", "0001-01-01 00:00:00", "infinity", "-infinity", "1999-12-31 23:59:59.999999"],
    ),
    ("z", "timestamptz", &["2024-02-29 12:34:56.789+05:30", "1970-01-01 00:00:00+00", "infinity"]),
    ("iv", "interval", &["1 day", "1 year 2 mons -3 days 04:05:06.789", "-00:00:01", "0", "100000 hours"]),
    ("u", "uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]),
    ("j", "json", &["{\"b\": 1,   \"a\": [1, null]}", "null", "\"żółw\""]),
    ("jb", "jsonb", &["{\"b\": 1,   \"a\": [1, null], \"b\": 2}", "1.50", "[]", "\"\\u00e9\""]),
    ("e", "mood", &["happy", "sad face"]),
    ("dom", "positive", &["1", "2147483647"]),
    ("ai", "int4[]", &["{}", "{1,NULL,-3}"]),
    ("al", "int8[]", &["{9223372036854775807}"]),
    ("ax", "text[]", &["{a,\"b c\",NULL,\"NULL\",\"\"}", "{\"q\\\"uote\",\"back\\\\slash\",\"com,ma\",\"{}\"}"]),
    ("an", "numeric[]", &["{1.10,2.500,NaN}"]),
    ("ab", "bool[]", &["{t,f,NULL}"]),
    ("ad", "date[]", &["{2024-02-29,infinity}"]),
    ("ap", "timestamp[]", &["{\"2024-02-29 12:34:56\"}"]),
    ("az", "timestamptz[]", &["{\"2024-02-29 12:34:56+00\"}"]),
    ("au", "uuid[]", &["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    ("aj", "jsonb[]", &["{\"{\\\"a\\\": 1}\",null}"]),
    ("ay", "bytea[]", &["{\"\\\\x00ff\"}"]),
    ("ae", "mood[]", &["{happy,\"sad face\"}"]),
    ("af", "float8[]", &["{0.1,NaN,-Infinity}"]),
    ("av", "interval[]", &["{\"1 day\",\"02:00:00\"}"]),
    ("at", "time[]", &["{12:00:00}"]),
    ("ac", "varchar(5)[]", &["{abc,\"d e\"}"]),
];

/// One row per value: that column set, all others NULL; and a row of NULLs.
fn rows(first: usize) -> String {
    let mut id = first;
    let mut sql = format!("INSERT INTO t (id) VALUES ({id});\n");
    for (column, _, values) in TYPES {
        for value in *values {
            id += 1;
            sql += &format!("INSERT INTO t (id, {column}) VALUES ({id}, '{}');\n", value.replace('\'', "''"));
        }
    }
    sql
}

async fn columns(client: &Client, relation: &str) -> Vec<String> {
    let statement = client.prepare(&format!("SELECT * FROM {relation}")).await.expect("describe the relation");
    statement.columns().iter().map(|column| format!("{} {}", column.name(), column.type_())).collect()
}

async fn every_type_is_the_same_by_copy_and_by_stream(version: Version) {
    let mut pair = Pair::of(version, &[]).await;
    let columns_of: String = TYPES.iter().map(|(name, kind, _)| format!(", {name} {kind}")).collect();
    pair.up
        .run("CREATE TYPE mood AS ENUM ('happy', 'sad face'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        .await;
    pair.up.run(&format!("CREATE TABLE t (id int PRIMARY KEY{columns_of})")).await;
    pair.up.run(&rows(1)).await;
    pair.source("").await;
    pair.table("t").await;
    pair.sql.run("CREATE MATERIALIZED VIEW v AS SELECT * FROM t").await;
    pair.up.run("CREATE VIEW v AS SELECT * FROM t").await;
    pair.up.run(&rows(1001)).await;
    pair.up.run("UPDATE t SET i4 = 7 WHERE i4 IS NULL AND id % 2 = 0").await;

    for (name, kind, _) in TYPES {
        // Enums arrive as their labels.
        let cast = if kind.starts_with("mood") { if kind.ends_with("[]") { "::text[]" } else { "::text" } } else { "" };
        for relation in ["t", "v"] {
            let theirs =
                pair.up.sorted(&format!("SELECT id, {name}{cast} FROM {relation}")).await.expect("read upstream");
            eventually(&format!("{kind} in {relation} is what upstream has"), async || {
                let ours = pair.sql.sorted(&format!("SELECT id, {name} FROM {relation}")).await?;
                if ours == theirs { Ok(()) } else { Err(difference(&ours, &theirs)) }
            })
            .await;
        }
    }
    pair.same("SELECT count(*), count(i4) FROM v").await;
    let theirs: Vec<_> = columns(&pair.up, "t")
        .await
        .into_iter()
        .map(|c| c.replace("mood", "text").replace("positive", "int4"))
        .collect();
    assert_eq!(columns(&pair.sql, "t").await, theirs, "the types that clients are told");
    assert_eq!(columns(&pair.sql, "v").await, theirs, "the types that clients are told of the view");

    pair.crash().await;
    for relation in ["t", "v"] {
        pair.same(&format!("SELECT * FROM {relation}")).await;
    }
}

async fn a_value_that_cannot_be_held_is_an_error_of_its_row(version: Version) {
    let pair = Pair::of(version, &[]).await;
    pair.follow(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, m numeric(10, 2)); INSERT INTO t VALUES (1, 1, NULL)",
        &["t"],
    )
    .await;
    pair.sql.run("CREATE MATERIALIZED VIEW s AS SELECT sum(n) AS s FROM t").await;
    pair.same("SELECT n FROM t").await;
    pair.up.run("INSERT INTO t VALUES (2, 1e60 + 0.00000000000000000001, NULL)").await;
    for query in ["SELECT * FROM t", "SELECT * FROM s"] {
        let message = eventually("the row is reported", async || match pair.sql.rows(query).await {
            Ok(rows) => Err(format!("{rows:?}")),
            Err(message) => Ok(message),
        })
        .await;
        assert!(message.starts_with("22"), "a data exception: {message}");
        assert!(message.contains("\"n\"") || message.contains("n:"), "the column is named: {message}");
    }
    pair.up.run("UPDATE t SET n = 2 WHERE id = 2").await;
    pair.same("SELECT n FROM t").await;
    pair.same("SELECT sum(n) FROM t").await;
    assert_eq!(pair.sql.one("SELECT s FROM s").await, "3");

    // Where a precision is given, numbers are plain decimals, which have no NaN.
    pair.up.run("INSERT INTO t VALUES (3, 3, 'NaN')").await;
    let message = eventually("the row is reported", async || match pair.sql.rows("SELECT * FROM t").await {
        Ok(rows) => Err(format!("{rows:?}")),
        Err(message) => Ok(message),
    })
    .await;
    assert!(message.starts_with("22003") && message.contains("\"m\""), "{message}");
    pair.up.run("DELETE FROM t WHERE id = 3").await;
    pair.same("SELECT * FROM t").await;
}
