//! CREATE, ALTER and DROP, passed to the coordinator; FLUSH.

use super::Outcome;
use crate::coordinator::request::{Done, Request};
use crate::serving::session::Session;
use weir_sql::statement::{ObjectKind, Parsed, SourceChange, Statement};
use weir_sql::{Error, Result};

impl Session {
    /// Dropping this future (Ctrl-C) drops the coordinator's answer, and with it a view or a copy that is not complete. What takes a
    /// moment only is done once it has been asked for.
    pub(super) async fn ddl(&mut self, parsed: &Parsed) -> Result<Outcome> {
        let tag = tag(&parsed.statement);
        self.alone(tag).await?;
        self.writable(tag)?;
        let (statement, text, settings) = (parsed.statement.clone(), parsed.text.clone(), self.variables.settings());
        let gives_up = matches!(
            statement,
            Statement::CreateMaterializedView { .. }
                | Statement::RefreshMaterializedView { .. }
                | Statement::CreateTableFrom { .. }
                | Statement::AlterSource { change: SourceChange::Resnapshot, .. }
        );
        let request = |reply| Request::Ddl { statement, text, settings, reply };
        let done = if gives_up { self.ask(request).await } else { self.hand_over(request).await };
        self.done(done??);
        Ok(Outcome::Done(tag.into()))
    }

    pub(super) async fn flush(&mut self) -> Result<Outcome> {
        self.alone("FLUSH").await?;
        let done = self.ask(|reply| Request::Flush { reply }).await??;
        self.done(done);
        Ok(Outcome::Done("FLUSH".into()))
    }

    /// Not part of a transaction: refused in a block; statements sent together end theirs before it.
    async fn alone(&mut self, what: &str) -> Result<()> {
        if self.block.is_explicit() {
            return Err(Error::new("25001", format!("{what} cannot run inside a transaction block")));
        }
        self.commit().await
    }

    fn done(&mut self, done: Done) {
        self.wrote = self.wrote.max(done.epoch);
        done.notices.into_iter().for_each(|text| self.notice(text));
    }
}

fn tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateSource { .. } => "CREATE SOURCE",
        Statement::CreateTable { .. } | Statement::CreateTableFrom { .. } => "CREATE TABLE",
        Statement::CreateMaterializedView { .. } => "CREATE MATERIALIZED VIEW",
        Statement::AlterSource { .. } => "ALTER SOURCE",
        Statement::RefreshMaterializedView { .. } => "REFRESH MATERIALIZED VIEW",
        Statement::Drop { kind: ObjectKind::Table, .. } => "DROP TABLE",
        Statement::Drop { kind: ObjectKind::Source, .. } => "DROP SOURCE",
        Statement::Drop { kind: ObjectKind::MaterializedView, .. } => "DROP MATERIALIZED VIEW",
        _ => "OK",
    }
}
