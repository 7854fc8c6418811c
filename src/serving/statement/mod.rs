//! What each statement does. One family per file: [`transaction`] (BEGIN, COMMIT, SAVEPOINT, SET), [`ddl`] (CREATE, DROP, FLUSH),
//! [`dml`] with [`insert`], [`update`] and [`returning`] (INSERT, UPDATE, DELETE, TRUNCATE), [`show`] (SHOW, DESCRIBE),
//! [`explain`], [`prepare`] (before a statement runs), [`execute`] (PREPARE, EXECUTE, DEALLOCATE), [`copy`] (COPY).

pub mod copy;
mod ddl;
mod dml;
mod execute;
mod explain;
mod insert;
mod outcome;
mod prepare;
mod returning;
mod show;
mod transaction;
mod update;

pub use outcome::{Outcome, Tag};

use super::arguments::Arguments;
use super::prepared::Prepared;
use super::session::Session;
use super::transaction::Block;
use datafusion::sql::sqlparser::ast;
use prepare::first_word;
use weir_sql::statement::{Parsed, Statement};
use weir_sql::{Error, Result};

impl Session {
    pub async fn execute(&mut self, parsed: &Parsed, arguments: &Arguments) -> Result<Outcome> {
        self.carry_out(parsed, arguments, None).await
    }

    /// The same of a statement that was prepared: `parsed` is its text.
    pub async fn execute_prepared(
        &mut self,
        prepared: &Prepared,
        parsed: &Parsed,
        arguments: &Arguments,
    ) -> Result<Outcome> {
        self.carry_out(parsed, arguments, Some(prepared)).await
    }

    async fn carry_out(
        &mut self,
        parsed: &Parsed,
        arguments: &Arguments,
        prepared: Option<&Prepared>,
    ) -> Result<Outcome> {
        let statement = &parsed.statement;
        self.usable(matches!(statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo { .. }))?;
        match statement {
            Statement::Query(query) => Ok(Outcome::Rows(self.select(query, arguments, prepared).await?, Tag::Select)),
            Statement::CopyOut { query, format } => {
                Ok(Outcome::Copy(self.select(query, arguments, None).await?, format.clone()))
            }
            // Its stream comes by the connection.
            Statement::CopyIn { .. } => Err(Error::unsupported("COPY FROM STDIN inside another statement")),
            Statement::Insert(insert) => self.insert(insert, arguments, prepared).await,
            Statement::Update(update) => match update.as_ref() {
                ast::Statement::Update(update) => self.update(update, arguments, prepared).await,
                other => Err(Error::unsupported(first_word(other))),
            },
            Statement::Delete(delete) => self.delete(delete, arguments, prepared).await,
            Statement::Explain { statement } => self.explain(statement).await,
            Statement::ShowObjects(kind) => self.show_objects(*kind),
            Statement::ShowCreate { kind, name } => self.show_create(*kind, name),
            Statement::Describe { name } => self.describe(name),
            Statement::ShowVariable { name } => self.show_variable(name).await,
            Statement::Set { name, value, local } => self.set(name, value.as_deref(), *local),
            Statement::Begin { read_only } => self.begin(*read_only),
            Statement::SetTransaction { read_only, session } => self.set_transaction(*read_only, *session),
            Statement::Commit => self.end().await,
            Statement::Rollback => Ok(self.abandon()),
            Statement::Savepoint { name } => self.save(name),
            Statement::Release { name } => self.release(name),
            Statement::RollbackTo { name } => self.roll_back_to(name),
            Statement::Accepted(tag) => Ok(self.accept(tag)),
            Statement::Flush => self.flush().await,
            Statement::CreateSource { .. }
            | Statement::CreateTable { .. }
            | Statement::CreateTableFrom { .. }
            | Statement::CreateMaterializedView { .. }
            | Statement::AlterSource { .. }
            | Statement::RefreshMaterializedView { .. }
            | Statement::Drop { .. } => self.ddl(parsed).await,
            Statement::Other(other) => self.other(other).await,
        }
    }

    /// Refuses everything but the end of a block that failed, and everything once the server has stopped.
    pub(in crate::serving) fn usable(&self, ends: bool) -> Result<()> {
        if let Some(error) = self.server.handle.progress.borrow().stopped.clone() {
            return Err(error);
        }
        match self.block {
            Block::Failed(_) if !ends => Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }

    /// Statements that only sqlparser knows.
    async fn other(&mut self, statement: &ast::Statement) -> Result<Outcome> {
        match statement {
            ast::Statement::Prepare { name, data_types, statement } => {
                self.prepare_named(name, data_types, statement).await
            }
            ast::Statement::Execute { name: Some(name), parameters, .. } => {
                let parsed = self.filled_in(name, parameters)?;
                Box::pin(self.execute(&parsed, &Arguments::default())).await
            }
            ast::Statement::Deallocate { name, .. } => self.deallocate(name),
            ast::Statement::Truncate(truncate) => self.truncate(truncate).await,
            other => Err(Error::unsupported(first_word(other))),
        }
    }
}

/// For metrics: few different words.
pub fn kind(statement: &Statement) -> &'static str {
    match statement {
        Statement::Query(_) => "select",
        Statement::Insert(_) => "insert",
        Statement::CopyOut { .. } | Statement::CopyIn { .. } => "copy",
        Statement::Update(_) => "update",
        Statement::Delete(_) => "delete",
        Statement::Flush => "flush",
        Statement::CreateSource { .. }
        | Statement::CreateTable { .. }
        | Statement::CreateTableFrom { .. }
        | Statement::CreateMaterializedView { .. }
        | Statement::AlterSource { .. }
        | Statement::RefreshMaterializedView { .. }
        | Statement::Drop { .. } => "ddl",
        _ => "other",
    }
}
