//! From a query to its plan, and to the plan that was made of it before: what it is planned over, the time that it names, and who plans
//! it. A plan is started by [`Session::open`].

use super::arguments::Arguments;
use super::prepared::{Kept, Prepared};
use super::query::run::Rows;
use super::query::time_travel::{self, Past};
use super::query::{Ground, Planned, Planner, names, rewrite, template};
use super::session::Session;
use super::variable::VERSION;
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;
use weir_sql::bind::slots::Slot;
use weir_sql::bind::{Statement, session};
use weir_sql::types::Type;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::history::{At, Found};

impl Session {
    /// A planner over the catalog as of now.
    pub fn planner(&mut self) -> Result<Planner> {
        let now = self.transaction()?.started;
        let (server, settings) = (&self.server, self.variables.settings());
        let session = server.handle.sessions.of(&settings);
        let ground = Ground::new(session, now, self.catalog(), server.config.functions.clone());
        let schemas = names::schemas(&settings.search_path);
        let asks = session::Session { user: self.user.clone(), pid: self.pid, version: VERSION, schemas };
        Ok(Planner::new(ground, settings, server.config.pool.clone()).of_session(asks))
    }

    /// Brings a query into the form that DataFusion's planner reads. Its tables are read as they are: [`Session::read`] reads the past,
    /// too.
    pub fn readable(&self, query: &ast::Query) -> Result<ast::Query> {
        time_travel::refuse(query)?;
        self.rewritten(query.clone())
    }

    /// Plans and starts a query; that of a prepared statement as it was planned before, if that still holds.
    pub async fn select(
        &mut self,
        query: &ast::Query,
        arguments: &Arguments,
        prepared: Option<&Prepared>,
    ) -> Result<Rows> {
        let (planner, planned) = match self.kept(prepared)? {
            Some(kept) => kept,
            None => {
                let (planner, planned) = self.plan(query, &arguments.types).await?;
                keep(prepared, &planner, &planned);
                (planner, planned)
            }
        };
        self.open(&planner, planned, arguments, Epoch::ZERO).await
    }

    /// The plan of a prepared statement that was made of it before, and a planner that would make the same.
    pub fn kept(&mut self, prepared: Option<&Prepared>) -> Result<Option<(Planner, Planned)>> {
        let Some(prepared) = prepared else { return Ok(None) };
        let planner = self.planner()?;
        Ok(prepared.kept(&planner).map(|planned| (planner, planned)))
    }

    /// Plans a query as it was written: by the binder, or else by DataFusion's planner. The planner is over what is, or over what was at
    /// the time that the query names, which the binder does not read.
    pub async fn plan(&mut self, query: &ast::Query, declared: &[Option<Type>]) -> Result<(Planner, Planned)> {
        let (query, planner) = self.timed(query).await?;
        let query = Arc::new(query);
        if planner.past().is_none()
            && let Some(planned) = planner.settle(Statement::Query(query.clone()), declared).await?
        {
            return Ok((planner, planned));
        }
        let planned = planner.plan(&self.rewritten(Arc::unwrap_or_clone(query))?, declared).await?;
        Ok((planner, planned))
    }

    /// Plans a SELECT that does a part of another statement's work: by the binder, or else by DataFusion's planner. Its list is `clause` to
    /// the user, its columns are for the slots at their places.
    pub async fn plan_part(
        &self,
        planner: &Planner,
        query: ast::Query,
        clause: &'static str,
        slots: Vec<Option<Slot>>,
        declared: &[Option<Type>],
    ) -> Result<Planned> {
        time_travel::refuse(&query)?;
        let query = Arc::new(query);
        let statement = Statement::Written { query: query.clone(), clause, slots: slots.clone() };
        if let Some(planned) = planner.settle(statement, declared).await? {
            return Ok(planned);
        }
        let mut query = Arc::unwrap_or_clone(query);
        rewrite::cast_columns(&mut query, &slots);
        planner.plan(&self.rewritten(query)?, declared).await
    }

    /// A query in the form that DataFusion's planner reads.
    pub fn rewritten(&self, mut query: ast::Query) -> Result<ast::Query> {
        // Before calls that are named after their functions are replaced.
        weir_sql::session::names::name_results(&mut query);
        let catalog = self.catalog();
        let search_path = self.variables.search_path();
        let scope = rewrite::Scope {
            catalog: &catalog,
            user: &self.user,
            pid: self.pid,
            version: VERSION,
            search_path: &search_path,
            setting: &|name| self.setting(name).ok(),
        };
        rewrite::rewrite(&mut query, &scope)?;
        Ok(query)
    }

    /// A query without the time that it names, and the planner for then.
    pub async fn timed(&mut self, query: &ast::Query) -> Result<(ast::Query, Planner)> {
        let mut query = query.clone();
        let times = time_travel::take(&mut query)?;
        let planner = self.planner()?;
        let mut asked = vec![];
        for time in times {
            asked.push(self.time(&planner, time).await?);
        }
        asked.dedup();
        match asked.as_slice() {
            [] => Ok((query, planner)),
            [at] => Ok((query, planner.as_of(self.past(*at).await?))),
            _ => Err(Error::unsupported("reading relations as of different times in one query")
                .hint("Write FOR SYSTEM_TIME AS OF with the same time after each of them.")),
        }
    }

    /// What a constant after FOR SYSTEM_TIME AS OF means.
    async fn time(&self, planner: &Planner, time: ast::Expr) -> Result<At> {
        let query = |time: ast::Expr| self.rewritten(template::constant(time)?);
        let columns = planner.describe(&query(time.clone())?).await?;
        let kind = columns.first().ok_or_else(|| Error::internal("a time without a column"))?;
        let time = query(rewrite::cast(time, time_travel::cast_to(&kind.wire_type.kind)?))?;
        time_travel::at(&planner.evaluate(&time).await?.ok_or_else(time_travel::not_constant)?)
    }

    async fn past(&self, at: At) -> Result<Arc<Past>> {
        let (env, progress) = (&self.server.config.env, self.server.handle.progress.borrow().clone());
        if let Some(error) = progress.stopped {
            return Err(error);
        }
        let future = match at {
            At::Epoch(epoch) => epoch > progress.closed,
            At::Time(time) => time > env.clock.now(),
        };
        if future {
            return Err(time_travel::not_yet());
        }
        let found = self.server.handle.history.open(env, at).await;
        match found.map_err(|e| Error::new("58030", format!("the past cannot be read: {e}")))? {
            Found::Snapshot(snapshot) => Ok(Arc::new(Past::new(Arc::new(*snapshot))?)),
            Found::Later(oldest) => Err(time_travel::too_old(oldest)),
        }
    }
}

/// Leaves a plan to the next execution of the prepared statement that it is of.
pub fn keep(prepared: Option<&Prepared>, planner: &Planner, planned: &Planned) {
    if let Some(prepared) = prepared {
        prepared.keep(Kept::of(planner, planned));
    }
}
