//! A connection as sqllogictest wants it: text rows by the simple protocol, their types by a prepared statement.

use crate::kit::{Client, describe};
use async_trait::async_trait;
use sqllogictest::{AsyncDB, ColumnType, DBOutput};
use std::collections::HashMap;
use std::fmt;
use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Config, SimpleQueryMessage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    Weir,
}

pub struct Database {
    engine: Engine,
    client: Client,
    /// Statements by the names that PREPARE gave them.
    prepared: HashMap<String, String>,
}

/// One letter per Postgres type: `b`ool, `s`mallint, `i`nteger, `l`ong (bigint), `f`loat4, `d`ouble, `n`umeric, `t`ext of any
/// kind, b`y`tea, `D`ate, time `h`, timestamp `P`, timestamptz `Z`, inter`v`al, `u`uid, `j`son, json`k`b, `a`rray, `?` else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter(char);

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        Some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

impl Letter {
    fn of(kind: &Type) -> Self {
        Self(match *kind {
            Type::BOOL => 'b',
            Type::INT2 => 's',
            Type::INT4 => 'i',
            Type::INT8 => 'l',
            Type::FLOAT4 => 'f',
            Type::FLOAT8 => 'd',
            Type::NUMERIC => 'n',
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN => 't',
            Type::BYTEA => 'y',
            Type::DATE => 'D',
            Type::TIME => 'h',
            Type::TIMESTAMP => 'P',
            Type::TIMESTAMPTZ => 'Z',
            Type::INTERVAL => 'v',
            Type::UUID => 'u',
            Type::JSON => 'j',
            Type::JSONB => 'k',
            _ if matches!(kind.kind(), Kind::Array(_)) => 'a',
            _ => '?',
        })
    }
}

/// What the server said, with its SQLSTATE.
#[derive(Debug)]
pub struct Failure {
    text: String,
    state: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self { text: describe(&error), state: error.code().map(|code| code.code().to_string()) }
    }
}

impl Database {
    pub async fn connect(engine: Engine, config: Config) -> Result<Self, Failure> {
        Ok(Self { engine, client: Client::connect(&config).await?, prepared: HashMap::new() })
    }

    /// The statement in the engine's own words: Postgres' materialized views do not follow their tables, its views do.
    fn words(&self, sql: &str) -> String {
        match self.engine {
            Engine::Weir => sql.to_string(),
            Engine::Postgres => sql.replacen("MATERIALIZED VIEW", "VIEW", 1),
        }
    }

    /// Whose columns a statement has that gives rows: of EXECUTE those of the statement that was prepared.
    fn described<'a>(&'a self, sql: &'a str) -> &'a str {
        let called = sql.strip_prefix("EXECUTE ").map(|call| call.split(['(', ' ']).next().unwrap_or_default());
        called.and_then(|name| self.prepared.get(name)).map_or(sql, String::as_str)
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = Letter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Letter>, Failure> {
        let sql = self.words(sql);
        if let Some((name, statement)) = sql.strip_prefix("PREPARE ").and_then(|rest| rest.split_once(" AS ")) {
            self.prepared.insert(name.to_string(), statement.to_string());
        }
        let returns_rows = ["SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "EXPLAIN", "TABLE", "EXECUTE", "("];
        if !returns_rows.iter().any(|word| sql.starts_with(word)) && !sql.contains(" RETURNING ") {
            let messages = self.client.simple_query(&sql).await?;
            let count = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::CommandComplete(count) => Some(*count),
                _ => None,
            });
            return Ok(DBOutput::StatementComplete(count.unwrap_or(0)));
        }
        let statement = self.client.prepare(self.described(&sql)).await?;
        let types = statement.columns().iter().map(|column| Letter::of(column.type_())).collect();
        let messages = self.client.simple_query(&sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| shown(row.get(at))).collect()),
            _ => None,
        });
        Ok(DBOutput::Rows { types, rows: rows.collect() })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        match self.engine {
            Engine::Postgres => "postgres",
            Engine::Weir => "weir",
        }
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.state.clone()
    }
}

/// A value that survives the script's own treatment of white space.
fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_string(),
        Some("") => "(empty)".to_string(),
        Some(value) if value.split(' ').any(str::is_empty) || value.contains(['\t', '\n']) => {
            value.replace(' ', "␣").replace('\t', "⇥").replace('\n', "⏎")
        }
        Some(value) => value.to_string(),
    }
}
