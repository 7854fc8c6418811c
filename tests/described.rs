//! What a client is told of a statement with parameters before it is run: their types, names and types of its columns, or an error. A
//! thousand random statements are described by Weir and by PostgreSQL. `SEED=n` asks the same again, `STATEMENTS=n` asks so many.
//!
//! What Weir alone refuses is counted, and may be a small part only; the few queries that both refuse may have different reasons, since a
//! query that is not bound is planned in another way. What differs is made smaller and printed.

mod generate;
mod grammar;
mod tree;

use crate::kit::{Client, Postgres, Version, Weir, number};
use grammar::{KINDS, TABLES};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio_postgres::types::Type;
use tree::Node;

/// Unless STATEMENTS says otherwise.
const STATEMENTS: usize = 1200;

/// Of a hundred statements that PostgreSQL describes, how many Weir has to describe.
const DESCRIBED: usize = 80;

/// Of a hundred statements, how many both may refuse for different reasons.
const REASONS: usize = 3;

/// How many may be described otherwise: those that are not bound, where a parameter beside char(n) is text.
const DIFFERENT: usize = 1;

/// Differences that are made smaller, and how many smaller statements are tried for each.
const SMALLER: usize = 40;
const ATTEMPTS: usize = 400;

/// Longer than any statement takes to be described.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_described_as_postgresql_describes_them() {
    let seed = number("SEED").unwrap_or_else(rand::random);
    let statements = number("STATEMENTS").map_or(STATEMENTS, |statements| statements as usize);
    println!("SEED={seed}");
    let (postgres, weir) = tokio::join!(Postgres::of(Version::Eighteen, &[]), Weir::start());
    let servers = Servers { weir: weir.client().await, postgres: postgres.client().await };
    for table in TABLES {
        servers.both(&definition(table)).await;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut counts = Counts::default();
    for _ in 0..statements {
        let statement = Statement::random(&mut random);
        let verdict = servers.judge(&statement).await;
        counts.note(&servers, statement, verdict).await;
    }
    counts.print();
    let different = counts.differences.len();
    assert!(different * 100 <= statements * DIFFERENT, "SEED={seed}: {different} of {statements} differ");
    let (described, refused) = (counts.described, counts.refused());
    // Of random statements PostgreSQL refuses every third.
    assert!(described * 5 > statements * 2, "PostgreSQL and Weir describe {described} of {statements} statements");
    assert!(described * 100 >= (described + refused) * DESCRIBED, "{described} are described, {refused} refused");
    assert!(counts.reasons * 100 <= statements * REASONS, "{} are refused for other reasons", counts.reasons);
}

fn definition((table, columns): &(&str, &[(&str, &str)])) -> String {
    let columns: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {}", declared(kind))).collect();
    format!("CREATE TABLE {table} ({}, PRIMARY KEY (id))", columns.join(", "))
}

fn declared(name: &str) -> &'static str {
    KINDS.iter().find(|kind| kind.name == name).expect("a type's name").declared
}

/// A statement, and the types that the client gives to some of its parameters.
#[derive(Clone)]
struct Statement {
    tree: Node,
    declared: BTreeMap<usize, Type>,
}

impl Statement {
    fn random(random: &mut StdRng) -> Self {
        let types = [Type::INT2, Type::INT4, Type::INT8, Type::NUMERIC, Type::FLOAT8, Type::TEXT, Type::VARCHAR];
        let tree = generate::statement(random);
        let mut declared = BTreeMap::new();
        if random.random_bool(0.1) {
            for parameter in tree.parameters() {
                if random.random_bool(0.5) {
                    declared.insert(parameter, types.choose(random).expect("there are types").clone());
                }
            }
        }
        Self { tree, declared }
    }

    /// As Parse sends them: `unknown` of those that have none.
    fn types(&self) -> Vec<Type> {
        let last = self.declared.keys().max().copied();
        let given = self.tree.parameters().into_iter().take_while(|which| last.is_some_and(|last| *which <= last));
        given.map(|which| self.declared.get(&which).cloned().unwrap_or(Type::UNKNOWN)).collect()
    }

    /// With one part less each.
    fn smaller(&self) -> Vec<Self> {
        self.tree.smaller().into_iter().map(|tree| Self { tree, declared: self.declared.clone() }).collect()
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tree.sql())?;
        let types = self.types();
        if types.is_empty() { Ok(()) } else { write!(f, "\n    parameters are given as {types:?}") }
    }
}

/// What a server says of a statement.
#[derive(Debug, PartialEq)]
struct Description {
    parameters: Vec<Type>,
    names: Vec<String>,
    types: Vec<Type>,
    modifiers: Vec<i32>,
}

/// SQLSTATE and message.
type Described = Result<Description, (String, String)>;

enum Verdict {
    /// By both.
    Described,
    /// Both refuse it for the same reason.
    AlikeRefused,
    /// By Weir, though PostgreSQL describes it.
    Refused(String),
    /// By Weir as not supported, while PostgreSQL has an error.
    BothRefused,
    /// By both, for different reasons.
    Reasons(String),
    /// By Weir alone, since a parameter without a type is text to it.
    Untyped,
    Different(Difference),
}

/// What differs, and how.
struct Difference {
    what: &'static str,
    told: String,
}

struct Servers {
    weir: Client,
    postgres: Client,
}

impl Servers {
    async fn both(&self, sql: &str) {
        self.weir.run(sql).await;
        self.postgres.run(sql).await;
    }

    async fn judge(&self, statement: &Statement) -> Verdict {
        let ours = describe(&self.weir, statement).await;
        let theirs = describe(&self.postgres, statement).await;
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => match ours.difference(&theirs) {
                None => Verdict::Described,
                Some(difference) => Verdict::Different(difference),
            },
            (Err((state, message)), Ok(_)) => Verdict::Refused(format!("{state} {message}")),
            (Err((ours, _)), Err(_)) if ours == "0A000" => Verdict::BothRefused,
            (Err((ours, _)), Err((theirs, _))) if ours == theirs => Verdict::AlikeRefused,
            (Err((ours, told)), Err((theirs, their))) => {
                Verdict::Reasons(format!("Weir: {ours} {told}\n    PostgreSQL: {theirs} {their}"))
            }
            // A parameter that nothing gives a type to is text.
            (Ok(_), Err((theirs, _))) if theirs == "42P18" => Verdict::Untyped,
            (Ok(_), Err((theirs, told))) => {
                let told = format!("PostgreSQL: {theirs} {told}");
                Verdict::Different(Difference { what: "only PostgreSQL refuses", told })
            }
        }
    }

    /// The smallest statement found that differs in the same way, and how.
    async fn smaller(&self, mut statement: Statement, mut difference: Difference) -> (Statement, Difference) {
        let mut attempts = 0;
        'smaller: loop {
            for candidate in statement.smaller() {
                attempts += 1;
                if attempts > ATTEMPTS {
                    return (statement, difference);
                }
                if let Verdict::Different(found) = self.judge(&candidate).await
                    && found.what == difference.what
                {
                    (statement, difference) = (candidate, found);
                    continue 'smaller;
                }
            }
            return (statement, difference);
        }
    }
}

async fn describe(client: &Client, statement: &Statement) -> Described {
    let sql = statement.tree.sql();
    let types = statement.types();
    let answer = tokio::time::timeout(ANSWERED_WITHIN, client.prepare_typed(&sql, &types)).await;
    match answer.unwrap_or_else(|_| panic!("not described within {ANSWERED_WITHIN:?}: {statement}")) {
        Ok(prepared) => Ok(Description {
            parameters: prepared.params().to_vec(),
            names: prepared.columns().iter().map(|column| column.name().to_string()).collect(),
            types: prepared.columns().iter().map(|column| column.type_().clone()).collect(),
            modifiers: prepared.columns().iter().map(|column| column.type_modifier()).collect(),
        }),
        Err(error) => match error.as_db_error() {
            Some(error) => Err((error.code().code().to_string(), error.message().to_string())),
            None => panic!("{error}: {statement}"),
        },
    }
}

impl Description {
    fn difference(&self, theirs: &Self) -> Option<Difference> {
        if self.parameters != theirs.parameters {
            Some(Difference::of("types of parameters", &self.parameters, &theirs.parameters))
        } else if self.names != theirs.names {
            Some(Difference::of("names of columns", &self.names, &theirs.names))
        } else if self.types != theirs.types {
            Some(Difference::of("types of columns", &self.types, &theirs.types))
        } else if self.modifiers != theirs.modifiers {
            Some(Difference::of("modifiers of columns", &self.modifiers, &theirs.modifiers))
        } else {
            None
        }
    }
}

impl Difference {
    fn of<T: fmt::Debug>(what: &'static str, ours: &T, theirs: &T) -> Self {
        Self { what, told: format!("{what}\nWeir: {ours:?}\nPostgreSQL: {theirs:?}") }
    }
}

#[derive(Default)]
struct Counts {
    described: usize,
    alike_refused: usize,
    both_refused: usize,
    reasons: usize,
    untyped: usize,
    /// By what Weir says, with the first statement of each.
    refusals: BTreeMap<String, (usize, String)>,
    /// Made smaller.
    differences: Vec<String>,
}

impl Counts {
    async fn note(&mut self, servers: &Servers, statement: Statement, verdict: Verdict) {
        match verdict {
            Verdict::Described => self.described += 1,
            Verdict::AlikeRefused => self.alike_refused += 1,
            Verdict::BothRefused => self.both_refused += 1,
            Verdict::Untyped => self.untyped += 1,
            Verdict::Reasons(told) => {
                println!("\n{statement}\n    {told}");
                self.reasons += 1;
            }
            Verdict::Refused(message) => {
                self.refusals.entry(message).or_insert_with(|| (0, statement.to_string())).0 += 1;
            }
            Verdict::Different(difference) => {
                let whole = statement.to_string();
                let (statement, difference) = match self.differences.len() < SMALLER {
                    true => servers.smaller(statement, difference).await,
                    false => (statement, difference),
                };
                let told = format!("{statement}\n    {}", difference.told.replace('\n', "\n    "));
                println!("\n{told}\n    made smaller from: {whole}");
                self.differences.push(told);
            }
        }
    }

    fn refused(&self) -> usize {
        self.refusals.values().map(|(count, _)| count).sum()
    }

    fn print(&self) {
        for (message, (count, example)) in &self.refusals {
            println!("{count} refused: {message}\n    {example}");
        }
        println!(
            "{} described, {} refused alike, {} refused, {} refused by PostgreSQL too, {} for other reasons, {} untyped, {} different",
            self.described,
            self.alike_refused,
            self.refused(),
            self.both_refused,
            self.reasons,
            self.untyped,
            self.differences.len()
        );
    }
}
