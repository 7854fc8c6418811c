//! Every type by both ways: the copy and the stream must give the same bits.

use super::mirror::Mirror;
use crate::kit::{Postgres, Version};

on_each_postgres! {
    the_copy_and_the_stream_give_the_same_values,
}

/// A column's type and values of it.
const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "0"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("float4", &["1.1", "'-Infinity'", "'NaN'", "'-0'"]),
    ("float8", &["0.1", "1e308", "'Infinity'", "'NaN'", "2.2250738585072014e-308"]),
    ("numeric(10,2)", &["-12345678.90", "0"]),
    ("numeric(38,10)", &["1234567890123456789012345678.0123456789"]),
    ("numeric(76,4)", &["123456789012345678901234567890123456789012345678901234567890.1234", "-0.0001"]),
    ("numeric", &["1.500", "-123456789012345678901234567.89", "'NaN'", "'Infinity'", "1e-30", "0.00"]),
    ("text", &["''", "'a\tb\nc\\d\"e'", "'ümläut €'"]),
    ("varchar(5)", &["'abc'"]),
    ("char(4)", &["'ab'"]),
    ("bytea", &["'\\x00ff5c27'", "''"]),
    ("date", &["'0044-03-15 BC'", "'5874897-12-31'", "'infinity'", "'2024-02-29'"]),
    ("time", &["'00:00'", "'23:59:59.999999'", "'24:00'"]),
    ("timestamp", &["'2024-02-29 12:34:56.789'", "'-infinity'", "'4713-01-01 BC'", "'290000-01-01'"]),
    ("timestamptz", &["'2024-02-29 12:34:56+05:30'", "'infinity'", "'0001-01-01 BC'"]),
    ("interval", &["'1 year -2 mons 3 days -04:05:06.789'", "'0'", "'-1 month'"]),
    ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    ("json", &["'{\"a\" : 1, \"a\":2}'"]),
    ("jsonb", &["'{\"b\" : 1.00, \"a\": null}'"]),
    ("mood", &["'sad'", "'with ''quote'"]),
    ("price", &["12.50"]),
    ("name", &["'abc'"]),
    ("oid", &["4294967295"]),
    ("int4[]", &["'{}'", "'{1,NULL,3}'"]),
    ("text[]", &["'{a,\"b,c\",NULL,\"NULL\",\"q\\\"\\\\\"}'", "'{\"\"}'"]),
    ("numeric(6,2)[]", &["'{1.5,-2}'"]),
    ("timestamptz[]", &["'{2024-01-01 00:00:00+00,NULL}'"]),
    ("bytea[]", &["'{\"\\\\x01ff\"}'"]),
    ("mood[]", &["'{sad,ok}'"]),
    ("interval[]", &["'{1 day,02:03:04}'"]),
    ("jsonb[]", &["ARRAY['{\"a\": [1, 2]}'::jsonb]"]),
];

async fn the_copy_and_the_stream_give_the_same_values(version: Version) {
    let postgres = Postgres::of(version, &[]).await;
    let client = postgres.client().await;
    client
        .run(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'with ''quote'); CREATE DOMAIN price AS numeric(10,2) CHECK (value > 0);
             ALTER ROLE postgres SET datestyle = 'SQL, DMY'; ALTER ROLE postgres SET intervalstyle = 'sql_standard';
             ALTER ROLE postgres SET timezone = 'Asia/Tokyo'; ALTER ROLE postgres SET bytea_output = 'escape';
             ALTER ROLE postgres SET extra_float_digits = '-10'",
        )
        .await;
    let columns: Vec<_> = VALUES.iter().enumerate().map(|(i, (kind, _))| format!("c{i} {kind}")).collect();
    let columns = columns.join(", ");
    client
        .run(&format!(
            "CREATE TABLE copied (id int PRIMARY KEY, {columns}); CREATE TABLE streamed (LIKE copied INCLUDING ALL)"
        ))
        .await;
    let rows = VALUES.iter().map(|(_, values)| values.len()).max().unwrap();
    let insert = |table: &str| {
        let row = |r: usize| {
            let value = |(kind, values): &(&str, &[&str])| match values.get(r) {
                Some(value) => format!("CAST({value} AS {kind})"),
                None => "NULL".into(),
            };
            format!("INSERT INTO {table} VALUES ({r}, {})", VALUES.iter().map(value).collect::<Vec<_>>().join(", "))
        };
        (0..rows).map(row).collect::<Vec<_>>().join(";")
    };
    client.run(&insert("copied")).await;
    let mut mirror = Mirror::create(&postgres).await;
    let (copied, streamed) = (mirror.copy(1, "copied").await, mirror.copy(2, "streamed").await);
    client.run(&insert("streamed")).await;
    mirror
        .until("the rows have come", |m| m.tables[&streamed].rows().len() + m.tables[&streamed].causes().len() == rows)
        .await;
    for table in [copied, streamed] {
        let causes = mirror.tables[&table].causes();
        assert!(causes.is_empty(), "{causes:?}");
    }
    let (ours, theirs) = (mirror.tables[&copied].rows(), mirror.tables[&streamed].rows());
    assert_eq!(ours.len(), rows);
    assert_eq!(ours, theirs);
    // Some of them by their text, against settings of the role that must not matter.
    let column = |kind: &str| VALUES.iter().position(|(k, _)| *k == kind).unwrap() + 1;
    let first = |kind: &str| ours[0][column(kind)].clone().unwrap();
    assert_eq!(first("float8"), "0.1");
    assert_eq!(first("bytea"), "00ff5c27");
    assert_eq!(first("timestamptz"), "2024-02-29T07:04:56Z");
    assert_eq!(first("uuid"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    assert_eq!(first("oid"), "4294967295");
    // Held without the blanks it is shown with.
    assert_eq!(first("char(4)"), "ab");
    assert_eq!(first("jsonb"), "{\"a\": null, \"b\": 1.00}");
}
