//! One family of totals: over random values an aggregate is the same in a view under inserts and deletes, in SELECT,
//! and in windows; and it is what PostgreSQL answers, where that does not depend on the order of rows.

use crate::kit::{Client, Pair};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

struct Column {
    name: &'static str,
    kind: &'static str,
    /// What to choose from, beside NULL.
    values: &'static [&'static str],
    /// Aggregates of it whose result PostgreSQL knows exactly, and others.
    exact: &'static [&'static str],
    inexact: &'static [&'static str],
}

const NUMBERS: &[&str] = &["count", "sum", "avg", "min", "max", "variance", "var_pop", "stddev", "stddev_pop"];

const COLUMNS: &[Column] = &[
    Column { name: "s", kind: "SMALLINT", values: &["-32768", "32767", "0", "1", "7"], exact: NUMBERS, inexact: &[] },
    Column {
        name: "i",
        kind: "INT",
        values: &["-2147483648", "2147483647", "0", "1", "2"],
        exact: NUMBERS,
        inexact: &[],
    },
    Column {
        name: "l",
        kind: "BIGINT",
        values: &["-9223372036854775808", "9223372036854775807", "0", "1", "2"],
        exact: NUMBERS,
        inexact: &[],
    },
    Column {
        name: "n",
        kind: "NUMERIC",
        values: &["1.0", "1.00", "-2.5", "NaN", "Infinity", "-Infinity", "1e20", "0.00001", "0", "-0.0"],
        exact: NUMBERS,
        inexact: &[],
    },
    Column {
        name: "m",
        kind: "NUMERIC(12,3)",
        values: &["999999999.999", "-999999999.999", "0.001", "0", "12.5"],
        exact: NUMBERS,
        inexact: &[],
    },
    Column {
        name: "f",
        kind: "DOUBLE PRECISION",
        values: &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "0",
            "1e16",
            "1",
            "-1e16",
            "1.7e308",
            "-1.7e308",
            "5e-324",
            "0.1",
            "0.2",
        ],
        exact: &["count", "min", "max"],
        inexact: &["sum", "avg", "variance", "var_pop", "stddev", "stddev_pop"],
    },
    Column {
        name: "r",
        kind: "REAL",
        values: &["NaN", "Infinity", "-0", "0", "3e38", "-3e38", "1e-45", "0.1", "1", "16777216"],
        exact: &["count", "min", "max"],
        inexact: &["sum", "avg", "stddev"],
    },
    Column {
        name: "x",
        kind: "TEXT",
        values: &["a", "b", "", "B", "żółw"],
        exact: &["count", "min", "max"],
        inexact: &[],
    },
    Column {
        name: "b",
        kind: "BOOLEAN",
        values: &["t", "f"],
        exact: &["count", "bool_and", "bool_or", "every"],
        inexact: &[],
    },
    Column {
        name: "v",
        kind: "INTERVAL",
        values: &["1 month", "30 days", "-1 day", "0", "24:00:00", "1 day", "3 days 04:05:06.789"],
        exact: &["count", "sum", "avg"],
        inexact: &["min", "max"],
    },
    Column {
        name: "d",
        kind: "DATE",
        values: &["2024-02-29", "infinity", "-infinity", "0001-01-01"],
        exact: &["count", "min", "max"],
        inexact: &[],
    },
];

struct Call {
    text: String,
    distinct: bool,
    /// Whether PostgreSQL is asked, too.
    exact: bool,
}

fn calls() -> Vec<Call> {
    let mut calls = vec![Call { text: "count(*)".into(), distinct: false, exact: true }];
    for column in COLUMNS {
        let all = column.exact.iter().map(|name| (name, true)).chain(column.inexact.iter().map(|name| (name, false)));
        for (name, exact) in all {
            calls.push(Call { text: format!("{name}({})", column.name), distinct: false, exact });
            if ["count", "sum", "avg"].contains(name) {
                // A month is thirty days, and 1.0 is 1.00: which of the two stays, and so how many digits an average has, is up to the
                // order of rows.
                let is_up_to_order = match column.kind {
                    "INTERVAL" => *name != "count",
                    "NUMERIC" => *name == "avg",
                    _ => false,
                };
                let exact = exact && !is_up_to_order;
                calls.push(Call { text: format!("{name}(DISTINCT {})", column.name), distinct: true, exact });
            }
        }
    }
    calls
}

/// Rows as text, sorted, or the SQLSTATE; one text for all values that are equal.
async fn answer(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let rows = client.sorted(sql).await.map_err(|error| error[..5].to_string())?;
    let text = |value: &Option<String>| value.as_deref().map_or("NULL".to_string(), canonical);
    let mut rows: Vec<String> = rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect();
    rows.sort();
    Ok(rows)
}

fn canonical(text: &str) -> String {
    match text {
        "-0" => "0".into(),
        _ if text.contains('.') && text.parse::<f64>().is_ok() && !text.contains('e') => {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => text.to_string(),
    }
}

/// Whether Weir may refuse what PostgreSQL answers: more digits than a numeric of Weir's has.
fn is_too_long(theirs: &Result<Vec<String>, String>) -> bool {
    let digits = |row: &String| {
        let value = row.split(' ').next_back().unwrap_or_default();
        value.chars().filter(char::is_ascii_digit).collect::<String>().trim_start_matches('0').len()
    };
    theirs.as_ref().is_ok_and(|rows| rows.iter().any(|row| digits(row) > 38))
}

async fn run(pair: &Pair, sql: &str) {
    pair.sql.run(sql).await;
    pair.up.run(sql).await;
}

/// Some rows more and some less.
async fn change(pair: &Pair, random: &mut StdRng, next: &mut usize) {
    let mut rows = vec![];
    for _ in 0..random.random_range(1..25) {
        let mut row = vec![next.to_string(), random.random_range(0..4).to_string()];
        for column in COLUMNS {
            row.push(match random.random_bool(0.2) {
                true => "NULL".into(),
                false => format!("'{}'", column.values.choose(random).unwrap()),
            });
        }
        rows.push(format!("({})", row.join(", ")));
        *next += 1;
    }
    run(pair, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    let rest = random.random_range(0..3);
    run(pair, &format!("DELETE FROM t WHERE id % 3 = {rest} AND id < {}", next.saturating_sub(3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_is_the_same_in_views_queries_windows_and_postgres() {
    let pair = Pair::start().await;
    let columns: Vec<String> = COLUMNS.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    run(&pair, &format!("CREATE TABLE t (id INT PRIMARY KEY, g INT, {})", columns.join(", "))).await;
    let calls = calls();
    for (number, call) in calls.iter().enumerate() {
        let view = format!("CREATE MATERIALIZED VIEW v{number} AS SELECT g, {} AS a FROM t GROUP BY g", call.text);
        pair.sql.run(&view).await;
    }
    for (seed, rounds) in [(1, 3), (2, 3)] {
        let mut random = StdRng::seed_from_u64(seed);
        run(&pair, "DELETE FROM t").await;
        let mut next = 0;
        for round in 0..rounds {
            change(&pair, &mut random, &mut next).await;
            pair.sql.run("FLUSH").await;
            for (number, call) in calls.iter().enumerate() {
                let context = format!("seed {seed}, round {round}, {}", call.text);
                let view = answer(&pair.sql, &format!("SELECT g, a FROM v{number}")).await;
                let select = format!("SELECT g, {} FROM t GROUP BY g", call.text);
                let query = answer(&pair.sql, &select).await;
                assert_eq!(view, query, "view and SELECT: {context}");
                if call.exact {
                    let theirs = answer(&pair.up, &select).await;
                    if query != Err("22003".into()) || !is_too_long(&theirs) {
                        assert_eq!(query, theirs, "SELECT and PostgreSQL: {context}");
                    }
                }
                if !call.distinct {
                    windows(&pair, call, &query, &context).await;
                }
            }
        }
    }
}

/// The whole partition, at once and as a frame that could move; and frames that do.
async fn windows(pair: &Pair, call: &Call, query: &Result<Vec<String>, String>, context: &str) {
    for frame in ["", "ORDER BY id ROWS BETWEEN 1000 PRECEDING AND 1000 FOLLOWING"] {
        let over = format!("SELECT DISTINCT g, {} OVER (PARTITION BY g {frame}) FROM t", call.text);
        let window = answer(&pair.sql, &over).await;
        assert_eq!(&window, query, "window {frame:?} and SELECT: {context}");
    }
    let moving = "PARTITION BY g ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW";
    let over = format!("SELECT id, {} OVER ({moving}) FROM t", call.text);
    let window = answer(&pair.sql, &over).await;
    if call.exact {
        let theirs = answer(&pair.up, &over).await;
        if window != Err("22003".into()) || !is_too_long(&theirs) {
            assert_eq!(window, theirs, "moving window and PostgreSQL: {context}");
        }
        return;
    }
    // The same by definition: each row joined with those of its frame.
    let frame = format!(
        "WITH o AS (SELECT *, row_number() OVER (PARTITION BY g ORDER BY id) AS p FROM t)
         SELECT r.id, {} FROM o AS r JOIN o ON r.g = o.g AND o.p BETWEEN r.p - 2 AND r.p GROUP BY r.id",
        call.text.replace('(', "(o.")
    );
    assert_eq!(window, answer(&pair.sql, &frame).await, "moving window and its frames: {context}");
}
