//! Prepared statements and portals of the extended protocol, and what can be said about a statement before it runs.

use super::pool::Pool;
use super::query::apart;
use super::query::run::Rows;
use super::session::{Arguments, Session};
use super::statement::{Tag, described};
use super::value::row::{Column, Formats};
use std::sync::Arc;
use weir_sql::statement::Parsed;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

pub struct Prepared {
    /// `None`: an empty statement.
    pub parsed: Option<Parsed>,
    pub parameters: Vec<Type>,
    /// `None`: yields no rows.
    pub columns: Option<Vec<Column>>,
}

pub struct Portal {
    pub statement: Arc<Prepared>,
    pub arguments: Arguments,
    pub formats: Formats,
    pub state: Life,
}

pub enum Life {
    /// Bound, not executed.
    Ready,
    /// Executed; more rows are there than the client has asked for.
    Suspended(Rows, Tag),
    /// It runs, or it ended before it was done: failed or cancelled. There may have been more rows.
    Broken,
    Done,
}

impl Session {
    /// Parses and plans one statement; types that the client left open come from the plan.
    pub async fn prepare(&mut self, sql: &str, declared: Vec<Option<Type>>) -> Result<Prepared> {
        let mut statements = parsed(&self.server.config.pool, sql).await?;
        if statements.len() > 1 {
            return Err(Error::new("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let Some(parsed) = statements.pop() else {
            return Ok(Prepared { parsed: None, parameters: vec![], columns: None });
        };
        let (parameters, columns) =
            described(self, &parsed.statement, &declared).await.map_err(|error| offset(error, parsed.offset))?;
        Ok(Prepared { parsed: Some(parsed), parameters, columns })
    }
}

/// Bytes of SQL that are read in no time.
const SHORT: usize = 256;

/// What a client sent, read where it keeps nobody waiting.
pub async fn parsed(pool: &Pool, sql: &str) -> Result<Vec<Parsed>> {
    if sql.len() <= SHORT {
        return weir_sql::statement::parse(sql);
    }
    let sql = sql.to_string();
    apart::run(pool, move |_| weir_sql::statement::parse(&sql)).await
}

/// Positions are in the statement; the client sent what is before it too.
pub fn offset(mut error: Error, offset: usize) -> Error {
    error.position = error.position.map(|position| position + offset);
    error
}
