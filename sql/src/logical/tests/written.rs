//! Queries as they are written, through the binder: long chains of operators, rows that are counted, the time.

use super::{ROWS, rows, settings, table};
use crate::bind::session::Session;
use crate::bind::{Relation, Relations, query};
use crate::bound::{Bound, Kind, Table, Unbound};
use crate::error::Error;
use crate::postgres::types::Oid;
use crate::statement::{Statement, parse};
use crate::types::{TYPE_KEY, Type};
use crate::{logical, session};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use datafusion::datasource::{MemTable, provider_as_source};
use std::sync::Arc;

/// `t`, and who asks for it.
struct Asked(Session);

impl Relations for Asked {
    fn relation(&self, _: Option<&str>, name: &str) -> Bound<Relation> {
        if name == "catalog" {
            return catalog();
        }
        let columns = ROWS.iter().map(|(name, kind, _)| (name.to_string(), Kind::of(kind))).collect();
        Ok(Relation { name: name.into(), columns, key: None, table: table()? })
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.0)
    }
}

/// As system tables are.
fn catalog() -> Bound<Relation> {
    let columns = [("oid", "oid", Type::Int8), ("relname", "name", Type::Text), ("relkind", "\"char\"", Type::Text)];
    let field = |(name, mark, kind): &(&str, &str, Type)| {
        kind.field(name, true).with_metadata([(TYPE_KEY.to_string(), mark.to_string())].into())
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let rows: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(16_384), None])),
        Arc::new(StringArray::from(vec![Some("abc"), Some("b"), Some("Tab"), None])),
        Arc::new(StringArray::from(vec![Some("r"), Some("v"), Some(""), None])),
    ];
    let batch = RecordBatch::try_new(schema.clone(), rows).map_err(|error| Error::internal(error.to_string()))?;
    let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(Error::from)?;
    let columns = columns.iter().zip([26, 19, 18]).map(|((name, ..), oid)| (name.to_string(), Kind::from(Oid(oid))));
    let table = Table(provider_as_source(Arc::new(table)));
    Ok(Relation { name: "catalog".into(), columns: columns.collect(), key: None, table })
}

fn answer(sql: &str, now: i64) -> Bound<String> {
    let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    let Statement::Query(tree) = parsed.statement else { panic!("{sql} is a query") };
    let asked = Asked(Session { user: "ann".into(), pid: 7, version: "PostgreSQL", schemas: vec!["public".into()] });
    let bound = query(&tree, &[], &asked, &settings("UTC"))?;
    let mut planned = logical::plan(&bound, "UTC")?;
    planned.plan = session::at(planned.plan, now).map_err(Error::from)?;
    Ok(rows(planned, "UTC")?)
}

fn told(sql: &str) -> String {
    // 2026-11-30 12:00
    match answer(sql, 1_796_040_000_000_000) {
        Ok(rows) => rows,
        Err(Unbound::NotYet(construct)) => format!("?{construct}"),
        Err(Unbound::Wrong(error)) => format!("({})", error.sqlstate),
    }
}

#[test]
fn answers_are_postgresqls() {
    let mut lines = include_str!("written.txt").lines().filter(|line| !line.starts_with('#'));
    let mut wrong = vec![];
    while let (Some(sql), Some(expected)) = (lines.next(), lines.next()) {
        let told = told(sql);
        if told != expected {
            wrong.push(format!("{sql}\n    {told}\n  not\n    {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_plan_is_of_the_time_that_it_is_told() {
    let sql = "SELECT now(), current_date, localtime, localtimestamp, current_timestamp - interval '1 day'";
    for (now, expected) in [
        (0, "1970-01-01 00:00:00+00 1970-01-01 00:00:00 1970-01-01 00:00:00 1969-12-31 00:00:00+00"),
        (
            1_796_040_000_000_001,
            "2026-11-30 12:00:00.000001+00 2026-11-30 12:00:00.000001 2026-11-30 12:00:00.000001 \
             2026-11-29 12:00:00.000001+00",
        ),
    ] {
        assert_eq!(answer(sql, now), Ok(expected.into()));
    }
}

/// On a thread with the stack that the server's have.
#[test]
fn a_chain_of_any_length_is_planned() {
    let run = || {
        for (sql, expected) in [
            (format!("SELECT i2{} FROM t WHERE i2 = 1", " + 1".repeat(20_000)), "20001"),
            (format!("SELECT length(s{}) FROM t WHERE i2 = 1", " || v".repeat(5_000)), "15003"),
            (format!("SELECT 1{}", " + i4 - 7".repeat(3_000)), "(42703)"),
        ] {
            assert_eq!(told(&sql), expected);
        }
    };
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(run);
    thread.expect("a thread").join().expect("no panic");
}
