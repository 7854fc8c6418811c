//! What can be said of a statement before it runs.

use super::show;
use crate::serving::prepared::{Kept, Prepared, offset, parsed};
use crate::serving::session::Session;
use datafusion::sql::sqlparser::ast;
use weir_sql::statement::{Parsed, Statement};
use weir_sql::types::Type;
use weir_sql::{Error, Result};

impl Session {
    /// Parses and plans one statement; types that the client left open come from the plan.
    pub async fn prepare(&mut self, sql: &str, declared: Vec<Option<Type>>) -> Result<Prepared> {
        let mut statements = parsed(&self.server.config.pool, sql).await?;
        if statements.len() > 1 {
            return Err(Error::new("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let Some(parsed) = statements.pop() else { return Ok(Prepared::new(None, vec![], None, None)) };
        let before = parsed.offset;
        self.described(parsed, &declared).await.map_err(|error| offset(error, before))
    }

    /// A statement with the types of its parameters and, if it yields rows, its columns.
    pub(super) async fn described(&mut self, parsed: Parsed, declared: &[Option<Type>]) -> Result<Prepared> {
        let nothing = || declared.iter().map(|kind| kind.clone().unwrap_or(Type::Text)).collect::<Vec<_>>();
        let mut kept = None;
        let (parameters, columns) = match &parsed.statement {
            Statement::Query(query) => {
                let (planner, planned) = self.plan(query, declared).await?;
                let columns = planner.columns(&planned).await?;
                kept = Kept::of(&planner, &planned);
                (planned.parameters, Some(columns))
            }
            Statement::Insert(insert) => self.describe_insert(insert, declared).await?,
            Statement::Update(update) => match update.as_ref() {
                ast::Statement::Update(update) => self.describe_update(update, declared).await?,
                other => return Err(Error::unsupported(first_word(other))),
            },
            Statement::Delete(delete) => self.describe_delete(delete, declared).await?,
            other => (nothing(), show::columns(other)),
        };
        Ok(Prepared::new(Some(parsed), parameters, columns, kept))
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
