//! Which function or operator a name and its arguments mean, and the type that values have together: what PostgreSQL says, for thousands
//! of random calls. `SEED=n` asks the same again, `CALLS=n` asks so many.

use crate::kit::{Postgres, Version, number};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;
use weir_sql::postgres::casts::Context;
use weir_sql::postgres::coerce::{common, fits};
use weir_sql::postgres::functions::{self, Function, Kind};
use weir_sql::postgres::operators;
use weir_sql::postgres::resolve::{self, Call};
use weir_sql::postgres::types::{self, Oid, TEXT, UNKNOWN};

/// Unless CALLS says otherwise.
const CALLS: usize = 3000;

/// What people's columns are of.
const OFTEN: [&str; 26] = [
    "int2",
    "int4",
    "int8",
    "numeric",
    "float4",
    "float8",
    "text",
    "varchar",
    "bpchar",
    "bool",
    "date",
    "timestamp",
    "timestamptz",
    "interval",
    "time",
    "jsonb",
    "json",
    "bytea",
    "uuid",
    "_int4",
    "_text",
    "_numeric",
    "name",
    "char",
    "int4range",
    "numrange",
];

#[tokio::test(flavor = "multi_thread")]
async fn names_mean_what_postgresql_says_they_mean() {
    let seed = number("SEED").unwrap_or_else(rand::random);
    let calls = number("CALLS").map_or(CALLS, |calls| calls as usize);
    println!("SEED={seed}");
    let postgres = Postgres::of(Version::Eighteen, &[]).await;
    let client = postgres.client().await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut compared = 0;
    for _ in 0..calls {
        let asked = match random.random_range(0..10) {
            0..5 => call(&mut random),
            5..9 => operation(&mut random),
            _ => values(&mut random),
        };
        let Some((sql, ours)) = asked else { continue };
        let theirs = described(&client, &sql).await;
        // Where a call may stand, and what Weir will say of a type without arrays, is no question of what it means.
        if matches!(theirs, Err(ref code) if ["42803", "42809", "42P20", "0A000", "42704"].contains(&code.as_str())) {
            continue;
        }
        assert_eq!(ours, theirs, "{sql}");
        compared += 1;
    }
    assert!(compared > calls / 2, "{compared} of {calls}");
}

type Asked = Option<(String, Result<u32, String>)>;

/// Of what type its one column is.
async fn described(client: &Client, sql: &str) -> Result<u32, String> {
    match client.prepare(sql).await {
        Ok(statement) => Ok(statement.columns()[0].type_().oid()),
        Err(error) => Err(error.code().expect("the server answers").code().to_string()),
    }
}

fn kind(random: &mut StdRng) -> Oid {
    let listed =
        |kind: &&types::Type| kind.kind != types::Kind::Pseudo && !["gtsvector", "pg_snapshot"].contains(&kind.name);
    match random.random_range(0..10) {
        0 | 1 => UNKNOWN,
        2 => types::all().iter().filter(listed).collect::<Vec<_>>().choose(random).expect("there are types").oid,
        _ => types::named(OFTEN.choose(random).expect("there are types")).expect("it is listed").oid,
    }
}

/// Mostly what is declared, sometimes something else.
fn like(random: &mut StdRng, declared: Oid) -> Oid {
    let is_pseudo = declared.entry().is_none_or(|entry| entry.kind == types::Kind::Pseudo);
    if is_pseudo || random.random_bool(0.4) { kind(random) } else { declared }
}

fn value(of: Oid) -> String {
    match of.entry() {
        Some(entry) if of != UNKNOWN => format!("NULL::pg_catalog.\"{}\"", entry.name),
        _ => "NULL".into(),
    }
}

/// A literal's type is settled as text in a result.
fn oid(kind: Oid) -> u32 {
    if kind == UNKNOWN { TEXT.0 } else { kind.0 }
}

fn call(random: &mut StdRng) -> Asked {
    let callable = |function: &&Function| matches!(function.kind, Kind::Function | Kind::Aggregate | Kind::Window);
    let all: Vec<&Function> = functions::all().iter().filter(callable).collect();
    let function = all.choose(random)?;
    let mut inputs: Vec<Oid> = function.arguments.iter().map(|declared| like(random, *declared)).collect();
    if function.variadic.is_some() && random.random_bool(0.5) {
        inputs.push(kind(random));
    }
    if random.random_bool(0.05) {
        inputs.pop();
    }
    let arguments: Vec<String> = inputs.iter().map(|kind| value(*kind)).collect();
    let sql = format!("SELECT pg_catalog.\"{}\"({})", function.name, arguments.join(", "));
    let ours = match resolve::function(function.name, &inputs) {
        Ok(Call::Function { result, .. }) => Ok(oid(result)),
        Ok(Call::Cast(target)) => Ok(target.0),
        Err(error) => Err(error.sqlstate.to_string()),
    };
    Some((sql, ours))
}

fn operation(random: &mut StdRng) -> Asked {
    let operator = operators::all().choose(random)?;
    let left = operator.left.map(|declared| like(random, declared));
    let right = like(random, operator.right);
    let before = left.map(value).unwrap_or_default();
    let sql = format!("SELECT {before} OPERATOR(pg_catalog.{}) {}", operator.name, value(right));
    let ours = resolve::operator(operator.name, left, right);
    Some((sql, ours.map(|applied| oid(applied.result)).map_err(|error| error.sqlstate.to_string())))
}

/// CASE looks at its last value first.
fn values(random: &mut StdRng) -> Asked {
    let kinds: Vec<Oid> = (0..random.random_range(2..5)).map(|_| kind(random)).collect();
    let (last, others) = kinds.split_first()?;
    let others: Vec<String> = others.iter().map(|kind| format!("WHEN true THEN {}", value(*kind))).collect();
    let sql = format!("SELECT CASE {} ELSE {} END", others.join(" "), value(*last));
    let ours = match common(&kinds) {
        Err(_) => Err("42804".to_string()),
        Ok(chosen) if kinds.iter().all(|kind| fits(*kind, chosen, Context::Implicit)) => Ok(oid(chosen)),
        Ok(_) => Err("42846".to_string()),
    };
    Some((sql, ours))
}
