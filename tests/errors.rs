//! What is wrong with a query, and where: all that PostgreSQL says of the statements of `slt/bind_errors*.slt`, place included. Weir's errors
//! hold no values, and some have no place: the tree that they are found in does not say where an operator stands.

use crate::kit::{Client, Postgres, Version, Weir};
use sqllogictest::{DefaultColumnType, Record, StatementExpect, parse_file};
use std::path::Path;
use tokio_postgres::error::ErrorPosition;

const SCRIPTS: [&str; 3] = ["bind_errors", "bind_errors_18", "bind_errors_written"];

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_queries_are_told_as_postgresql_tells_them() {
    let (mut count, mut placed, mut differences) = (0, 0, vec![]);
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
            placed += usize::from(ours.position.is_some());
            if !ours.agrees(&theirs) {
                differences.push(format!("{sql}\n    Weir: {ours:?}\n    PostgreSQL: {theirs:?}"));
            }
        }
    }
    assert!(count > 200, "{count} statements that are wrong");
    assert!(placed * 5 > count * 3, "{placed} of {count} errors have a place");
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
#[derive(Debug)]
struct Told {
    state: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<u32>,
}

impl Told {
    fn agrees(&self, theirs: &Self) -> bool {
        let is_alike = (&self.state, &self.detail, &self.hint) == (&theirs.state, &theirs.detail, &theirs.hint);
        is_alike
            && self.message == without_value(&theirs.message)
            && (self.position.is_none() || self.position == theirs.position)
    }
}

/// `invalid input syntax for type integer` without the value that PostgreSQL says after it.
fn without_value(message: &str) -> &str {
    match message.split_once(": \"") {
        Some((before, _)) if before.contains("invalid input syntax") || before.contains("out of range") => before,
        _ => message,
    }
}

async fn told(client: &Client, sql: &str) -> Told {
    let Err(error) = client.simple_query(sql).await else { panic!("no error: {sql}") };
    let Some(error) = error.as_db_error() else { panic!("{error}\nin: {sql}") };
    let position = match error.position() {
        Some(ErrorPosition::Original(position)) => Some(*position),
        _ => None,
    };
    Told {
        state: error.code().code().into(),
        message: error.message().into(),
        detail: error.detail().map(str::to_string),
        hint: error.hint().map(str::to_string),
        position,
    }
}
