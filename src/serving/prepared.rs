//! Prepared statements and portals of the extended protocol.

use super::arguments::Arguments;
use super::holding::Holding;
use super::pool::Pool;
use super::query::run::Rows;
use super::query::{Planned, Planner, apart};
use super::statement::Tag;
use super::value::row::{Column, Formats};
use crate::catalog::Catalog;
use datafusion::execution::memory_pool::MemoryPool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use weir_sql::session::Settings;
use weir_sql::statement::{Parsed, Statement};
use weir_sql::types::Type;
use weir_sql::{Error, Result};

pub struct Prepared {
    /// `None`: an empty statement.
    pub parsed: Option<Parsed>,
    pub parameters: Vec<Type>,
    /// `None`: yields no rows.
    pub columns: Option<Vec<Column>>,
    /// The plan that was made of it last, if another execution may use it.
    kept: Mutex<Option<Kept>>,
}

impl Prepared {
    pub fn new(
        parsed: Option<Parsed>,
        parameters: Vec<Type>,
        columns: Option<Vec<Column>>,
        kept: Option<Kept>,
    ) -> Self {
        Self { parsed, parameters, columns, kept: Mutex::new(kept) }
    }

    /// Its plan, if `planner` would make the same.
    pub fn kept(&self, planner: &Planner) -> Option<Planned> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| kept.holds(planner)).map(|kept| kept.planned.clone())
    }

    /// Uses `kept` from now on.
    pub fn keep(&self, kept: Option<Kept>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Bytes that it takes, roughly, with a plan if it may come to have one.
    fn bytes(&self) -> usize {
        const SMALL: usize = 1 << 10;
        let Some(parsed) = &self.parsed else { return SMALL };
        let weight = parsed.text.len() + weir_sql::statement::weight(&parsed.text);
        let is_planned = matches!(
            parsed.statement,
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
        );
        let plan = if is_planned { weight } else { 0 };
        SMALL + weight + plan
    }
}

/// A plan and what it was made of.
pub struct Kept {
    planned: Planned,
    /// Every change makes another one. It is not kept alive.
    catalog: Weak<Catalog>,
    settings: Settings,
}

impl Kept {
    /// `planned` by `planner`; `None` of what is of its time.
    pub fn of(planner: &Planner, planned: &Planned) -> Option<Self> {
        planned.is_lasting().then(|| Self {
            planned: planned.clone(),
            catalog: Arc::downgrade(planner.catalog()),
            settings: planner.settings().clone(),
        })
    }

    fn holds(&self, planner: &Planner) -> bool {
        std::ptr::eq(self.catalog.as_ptr(), Arc::as_ptr(planner.catalog())) && self.settings == *planner.settings()
    }
}

/// Prepared statements of a session; a client that makes more has forgotten to close them.
const MOST: usize = 10_000;
/// Bytes of statements that a session may keep whatever others hold.
const UNCOUNTED: usize = 256 << 10;

/// Those of a session, by their names.
pub struct Statements {
    all: HashMap<String, Arc<Prepared>>,
    bytes: usize,
    holding: Holding,
}

impl Statements {
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let holding = Holding::new(pool, "Prepared statements of a session", UNCOUNTED);
        Self { all: HashMap::new(), bytes: 0, holding }
    }

    pub fn get(&self, name: &str) -> Option<Arc<Prepared>> {
        self.all.get(name).cloned()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<Prepared>)> {
        self.all.iter()
    }

    /// Whether one of this name can be made. The one without a name takes the place of the one before.
    pub fn check(&self, name: &str) -> Result<()> {
        if !name.is_empty() && self.all.contains_key(name) {
            return Err(Error::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        if self.all.len() >= MOST {
            return Err(Error::new("54000", format!("a session can have at most {MOST} prepared statements")));
        }
        Ok(())
    }

    pub fn insert(&mut self, name: String, prepared: Prepared) -> Result<()> {
        self.remove(&name);
        let bytes = self.bytes + prepared.bytes();
        self.holding.set(bytes)?;
        self.bytes = bytes;
        self.all.insert(name, Arc::new(prepared));
        Ok(())
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<Prepared>> {
        let removed = self.all.remove(name)?;
        self.bytes -= removed.bytes();
        // Less than before is there.
        let _ = self.holding.set(self.bytes);
        Some(removed)
    }

    pub fn clear(&mut self) {
        self.all.clear();
        self.bytes = 0;
        let _ = self.holding.set(0);
    }
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
