//! What is wrong with a query, and where: all that PostgreSQL says of the statements of `slt/bind_errors*.slt`, place included.

use crate::kit::{Client, Postgres, Version, Weir};
use sqllogictest::{DefaultColumnType, Record, StatementExpect, parse_file};
use std::path::Path;
use tokio_postgres::error::ErrorPosition;

const SCRIPTS: [&str; 2] = ["bind_errors", "bind_errors_18"];

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_queries_are_told_as_postgresql_tells_them() {
    let (mut count, mut differences) = (0, vec![]);
    for script in SCRIPTS {
        let (postgres, weir) = tokio::join!(Postgres::of(Version::Eighteen, &[]), Weir::start());
        let (theirs, ours) = (postgres.client().await, weir.client().await);
        for (sql, fails) in statements(script) {
            if !fails {
                ours.run(&sql).await;
                theirs.run(&sql).await;
                continue;
            }
            count += 1;
            let (ours, theirs) = (told(&ours, &sql).await, told(&theirs, &sql).await);
            if ours != theirs {
                differences.push(format!("{sql}\n    Weir: {ours}\n    PostgreSQL: {theirs}"));
            }
        }
    }
    assert!(count > 200, "{count} statements that are wrong");
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
}

/// Those of a script, and whether they fail.
fn statements(script: &str) -> Vec<(String, bool)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt").join(script).with_extension("slt");
    let records = parse_file::<DefaultColumnType>(&path).unwrap_or_else(|error| panic!("{error}"));
    let statement = |record: Record<DefaultColumnType>| match record {
        Record::Statement { sql, expected, .. } => Some((sql, matches!(expected, StatementExpect::Error(_)))),
        _ => None,
    };
    records.into_iter().filter_map(statement).collect()
}

/// Everything that a client sees of an error.
async fn told(client: &Client, sql: &str) -> String {
    let Err(error) = client.simple_query(sql).await else { return "no error".into() };
    let Some(error) = error.as_db_error() else { panic!("{error}\nin: {sql}") };
    let mut told = format!("{} {}", error.code().code(), error.message());
    for (name, part) in [("detail", error.detail()), ("hint", error.hint())] {
        told += &part.map(|part| format!("; {name}: {part}")).unwrap_or_default();
    }
    if let Some(ErrorPosition::Original(position)) = error.position() {
        told += &format!("; at {position}");
    }
    told
}
