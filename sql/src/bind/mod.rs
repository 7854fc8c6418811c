//! Syntax trees to bound queries ([`crate::bound`]): what names, types, functions and operators mean, by PostgreSQL's rules and lists
//! ([`crate::postgres`]). Pure: it asks [`Relations`] what a relation is, and nobody else.
//!
//! A query is bound wholly or not at all. What Weir's binder does not know is [`NotYet`](crate::bound::Unbound), with the construct's name;
//! who asked then has the query planned by DataFusion's planner. What is wrong is [`Wrong`](crate::bound::Unbound): PostgreSQL's error, and
//! the end.
//!
//! In reading order: this file (what is asked and answered), [`rows`] (what parts of a query give to each other), [`query`] (a query's
//! clauses), [`mod@body`] (those that are no combination), [`set`] (UNION and its like), [`common`] (WITH), [`mod@from`] and [`using`]
//! (relations and joins), [`scope`] (what names mean), [`entry`] and [`suggest`] (what errors say of names), [`select`] (SELECT),
//! [`values`] (VALUES), [`written`] and [`slots`] (what is assigned to a table's columns), [`targets`] (what a SELECT computes, and what other clauses
//! mean of it), [`order`] (ORDER BY and LIMIT), [`keys`] and [`group`] (groups and aggregates), [`output`] (columns of results),
//! [`expression`] (expressions), [`subquery`] (queries in them), [`form`] (calls that grammar has words for), [`call`], [`window`] and
//! [`frame`] (OVER), [`conditional`] (CASE and its like), [`operator`], [`chain`] (long ones), [`convert`] (casts, implicit and written),
//! [`literal`], [`session`] (who asks) and [`information`] (what tells of that, and of the time), [`mod@kind`] (types as they are written)
//! and [`internal`] (those of the catalogs), [`parameter`], [`position`] and [`occurrence`] (where in a text it stands).

pub mod body;
pub mod call;
mod chain;
pub mod common;
mod conditional;
pub mod convert;
pub mod entry;
pub mod expression;
mod form;
mod frame;
pub mod from;
pub mod group;
mod information;
mod internal;
pub mod keys;
pub mod kind;
pub mod literal;
pub mod occurrence;
pub mod operator;
pub mod order;
pub mod output;
pub mod parameter;
pub mod position;
pub mod query;
pub mod rows;
pub mod scope;
pub mod select;
pub mod session;
pub mod set;
pub mod slots;
mod subquery;
mod suggest;
pub mod targets;
#[cfg(test)]
mod tests;
pub mod using;
pub mod values;
mod window;
pub mod written;

use crate::bound::{Bound, ColumnId, Kind, Query, Table};
use crate::catalog;
use crate::session::{Settings, group};
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast;
use entry::Entry;
use parameter::Parameters;
use position::Literals;
use rows::Common;
use scope::Scope;
use session::Session;
use slots::{Slot, Slots};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// What a relation's name means.
pub trait Relations {
    /// `Err(NotYet)` of relations that are planned in another way, `Err(Wrong)` of those that there are not.
    fn relation(&self, schema: Option<&str>, name: &str) -> Bound<Relation>;

    /// Of what is bound for one session alone, which sets a time before it is run ([`crate::session::at`]).
    fn session(&self) -> Option<&Session> {
        None
    }
}

/// A relation that can be read.
#[derive(Clone, Debug)]
pub struct Relation {
    pub name: String,
    pub columns: Vec<(String, Kind)>,
    /// Places of the columns of a unique key without NULLs, if there is one.
    pub key: Option<Vec<usize>>,
    pub table: Table,
}

impl Relation {
    /// `relation` of a catalog, read as `table`.
    pub fn of(relation: &catalog::Relation, table: Arc<dyn TableSource>) -> Self {
        let has_null = |key: &[usize]| key.iter().any(|&column| relation.columns[column].nullable);
        let key = relation.key.as_ref().filter(|key| !key.is_empty() && !has_null(key)).cloned();
        let columns = Kind::columns(&relation.columns);
        Self { name: relation.name.clone(), columns, key, table: Table(table) }
    }
}

/// What is bound.
#[derive(Clone, Debug)]
pub enum Statement {
    /// What a query shows.
    Query(Arc<ast::Query>),
    /// A SELECT that does a part of another statement's work. Its columns are assigned to those of a table, as far as there is one at their
    /// place.
    Written { query: Arc<ast::Query>, clause: &'static str, slots: Vec<Option<Slot>> },
    /// Rows of a table that an INSERT gives; `None`: DEFAULT VALUES.
    Inserted(Option<Arc<ast::Query>>, Slots),
}

impl Statement {
    /// The query in it.
    pub fn query(&self) -> Option<&ast::Query> {
        match self {
            Statement::Query(query) | Statement::Written { query, .. } => Some(query),
            Statement::Inserted(query, _) => query.as_deref(),
        }
    }
}

/// Binds `query`. `declared` are the types that the client gave to parameters, which may be fewer than there are; UNKNOWN is not given.
pub fn query(query: &ast::Query, declared: &[Kind], relations: &dyn Relations, settings: &Settings) -> Bound<Query> {
    Binder::new(declared, relations, settings).whole(&grouped(query))
}

/// As [`query`].
pub fn statement(
    statement: &Statement,
    declared: &[Kind],
    relations: &dyn Relations,
    settings: &Settings,
) -> Bound<Query> {
    let mut binder = Binder::new(declared, relations, settings);
    match statement {
        Statement::Query(query) => binder.whole(&grouped(query)),
        Statement::Written { query, clause, slots } => binder.written(&grouped(query), clause, slots),
        Statement::Inserted(query, slots) => binder.inserted(query.as_deref().map(grouped).as_ref(), slots),
    }
}

/// As PostgreSQL's precedences have it.
fn grouped(query: &ast::Query) -> ast::Query {
    let mut query = query.clone();
    group(&mut query);
    query
}

/// The work on one statement.
pub struct Binder<'a> {
    pub relations: &'a dyn Relations,
    pub settings: &'a Settings,
    pub parameters: Parameters,
    literals: Literals,
    /// Queries of WITH that can be read by name, the innermost at the end; and the names of those that come after what is being bound.
    pub common: Vec<Common>,
    pub future: Vec<String>,
    /// What FROM of the queries around reads, and the parts before of a UNION; the nearest first.
    pub around: Vec<Rc<Entry>>,
    /// What the list of the next SELECT is to the user, if it is no list of a SELECT: no aggregates are allowed there.
    pub list: Option<&'static str>,
    /// What can be named around the query within an expression that is being bound.
    outer: Option<Rc<Scope>>,
    /// Where columns of queries around are named; `None` where they are not named one by one.
    outward: HashMap<ColumnId, Vec<Option<usize>>>,
    /// What the column of a query in an expression is called, if that is a `*` there.
    starred: HashMap<*const ast::Query, String>,
    /// How many have been bound.
    pub queries: usize,
    columns: u32,
}

impl<'a> Binder<'a> {
    pub fn new(declared: &[Kind], relations: &'a dyn Relations, settings: &'a Settings) -> Self {
        Self {
            relations,
            settings,
            parameters: Parameters::new(declared),
            literals: Literals::default(),
            common: vec![],
            future: vec![],
            around: vec![],
            list: None,
            outer: None,
            outward: HashMap::new(),
            starred: HashMap::new(),
            queries: 0,
            columns: 0,
        }
    }

    /// A column that there was not before.
    pub fn column(&mut self) -> ColumnId {
        self.columns += 1;
        ColumnId(self.columns)
    }

    /// What can be named in a query before it reads anything.
    fn nothing(&self) -> Scope {
        Scope { around: self.around.clone(), outer: self.outer.clone(), ..Scope::default() }
    }
}
