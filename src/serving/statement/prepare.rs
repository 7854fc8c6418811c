//! What can be said of a statement before it runs.

use super::show;
use crate::serving::prepared::{Prepared, offset, parsed};
use crate::serving::session::Session;
use crate::serving::value::row::Column;
use datafusion::sql::sqlparser::ast;
use weir_sql::statement::Statement;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

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

/// Types of the parameters and, if the statement yields rows, its columns.
pub(super) async fn described(
    session: &mut Session,
    statement: &Statement,
    declared: &[Option<Type>],
) -> Result<(Vec<Type>, Option<Vec<Column>>)> {
    let nothing = || declared.iter().map(|kind| kind.clone().unwrap_or(Type::Text)).collect::<Vec<_>>();
    match statement {
        Statement::Query(query) => {
            let (query, planner) = session.read(query).await?;
            let (planned, columns) = planner.describe(&query, declared).await?;
            Ok((planned.parameters, Some(columns)))
        }
        Statement::Insert(insert) => session.describe_insert(insert, declared).await,
        Statement::Update(update) => match update.as_ref() {
            ast::Statement::Update(update) => session.describe_update(update, declared).await,
            other => Err(Error::unsupported(first_word(other))),
        },
        Statement::Delete(delete) => session.describe_delete(delete, declared).await,
        other => Ok((nothing(), show::columns(other))),
    }
}

/// How a statement of sqlparser's is named in messages: its leading words.
pub(super) fn first_word(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let take = match words.first() {
        Some(&("CREATE" | "ALTER" | "DROP" | "COMMENT")) => 2,
        _ => 1,
    };
    words.into_iter().take(take).collect::<Vec<_>>().join(" ")
}
