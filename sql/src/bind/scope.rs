//! What names mean at a place of a query: relations by their names, columns by theirs.

use super::entry::Entry;
use super::position::{of_word, placed};
use super::suggest;
use crate::bound::{Bound, ColumnId, Expr, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::resolve::{self, Call};
use crate::postgres::types::RECORD;
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::Ident;
use std::collections::HashSet;
use std::rc::Rc;

/// The one database, and the one schema of what is not a catalog.
pub const DATABASE: &str = "dev";
const SCHEMA: &str = "public";

/// Columns that every table of PostgreSQL has beside its own.
const SYSTEM: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// Words that are functions when they are not quoted, whatever columns there are.
const FUNCTIONS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

/// Whether a name is never a column's.
pub fn is_function(name: &Ident) -> bool {
    name.quote_style.is_none() && FUNCTIONS.contains(&folded(name).as_str())
}

/// What can be named at a place, and what cannot although it is there.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// In the order in which `*` shows them.
    pub relations: Vec<Named>,
    /// All of FROM that is left of this place, whether it can be named here or not.
    pub entries: Vec<Rc<Entry>>,
    /// The same of the queries around, the nearest first.
    pub around: Vec<Rc<Entry>>,
    /// What can be named around the query within an expression that this place is in: there a name may mean what it does not mean here.
    pub outer: Option<Rc<Scope>>,
}

/// A relation by the name it has in the query.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: Option<String>,
    /// The name is the relation's own: its schema may stand before it.
    pub is_plain: bool,
    /// Its columns can be named without it, and `*` shows them. Those of a join's sides cannot where the join has columns of its own.
    pub is_shown: bool,
    pub columns: Rc<[Column]>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub value: Expr,
}

impl Scope {
    /// What `a`, `t.a` or `public.t.a` means: a column. Errors with position: 42703, 42702 if it is ambiguous, 42P01 `missing FROM-clause
    /// entry for table "t"`, `invalid reference to …`.
    pub fn column(&self, name: &[Ident]) -> Bound<Expr> {
        match name {
            [column] if is_function(column) => not_yet(folded(column)),
            [column] => self.anywhere(column),
            [relation @ .., column] => self.within(self.relation(relation)?, relation, column),
            [] => not_yet("a name without words"),
        }
    }

    /// This one and those around, the innermost first.
    pub fn levels(&self) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self), |scope| scope.outer.as_deref())
    }

    fn anywhere(&self, name: &Ident) -> Bound<Expr> {
        for scope in self.levels() {
            if let Some(value) = scope.find(name)? {
                return Ok(value);
            }
            // Every table has them.
            if SYSTEM.contains(&folded(name).as_str()) && !scope.relations.is_empty() {
                break;
            }
        }
        Err(self.unknown(name))
    }

    /// The column of this level that is called so without its relation, if there is one. Error 42702 if there are several.
    pub fn find(&self, name: &Ident) -> Bound<Option<Expr>> {
        let shown = self.relations.iter().filter(|relation| relation.is_shown);
        one(shown.flat_map(|relation| relation.columns.iter()), &folded(name), of_word(name))
    }

    /// The columns of what FROM reads at this level.
    pub fn columns(&self) -> HashSet<ColumnId> {
        self.entries.iter().flat_map(|entry| &entry.columns).filter_map(|(_, column)| *column).collect()
    }

    /// Whether a column is of this level.
    pub fn has(&self, id: ColumnId) -> bool {
        let is_it = |part: &Expr| matches!(part, Expr::Column { id: column, .. } if *column == id);
        // What is no SELECT has no FROM either.
        match self.entries.is_empty() {
            true => self.relations.iter().flat_map(|named| named.columns.iter()).any(|column| column.value.any(&is_it)),
            false => self.entries.iter().flat_map(|entry| &entry.columns).any(|(_, column)| *column == Some(id)),
        }
    }

    /// Whether a column is of a query around.
    pub fn is_around(&self, id: ColumnId) -> bool {
        self.levels().skip(1).any(|scope| scope.has(id))
    }

    /// The relation that `t`, `public.t` or `dev.public.t` means. Error 42P01 with position.
    pub fn relation(&self, name: &[Ident]) -> Bound<&Named> {
        let (schema, last) = match name {
            [last] => (None, last),
            [schema, last] => (Some(folded(schema)), last),
            [database, schema, last] if folded(database) == DATABASE => (Some(folded(schema)), last),
            _ => return not_yet("names of so many words"),
        };
        let written = folded(last);
        let is_meant = |relation: &&Named| {
            let in_schema = schema.as_deref().is_none_or(|schema| relation.is_plain && schema == SCHEMA);
            relation.name.as_deref() == Some(&written) && in_schema
        };
        match self.levels().find_map(|scope| scope.relations.iter().find(&is_meant)) {
            Some(relation) => Ok(relation),
            None if schema.is_some() => not_yet("a relation by its schema that is not in FROM"),
            None => Err(self.missing(last)),
        }
    }

    /// 42703, or what else a name may be that no column has.
    fn unknown(&self, name: &Ident) -> Unbound {
        let column = folded(name);
        if SYSTEM.contains(&column.as_str()) {
            return Unbound::NotYet("system columns".into());
        }
        if self.is_relation(&column) {
            return Unbound::NotYet("whole rows".into());
        }
        let has = |entry: &Rc<Entry>| entry.columns.iter().any(|(name, _)| *name == column);
        if self.around.iter().any(|entry| entry.is_around && (has(entry) || entry.is_called(&column))) {
            return Unbound::NotYet("columns of a query around".into());
        }
        let error = Error::new("42703", format!("column \"{column}\" does not exist"));
        let error = suggest::column(error, None, &column, self.all());
        Unbound::Wrong(placed(error, of_word(name)))
    }

    fn is_relation(&self, name: &str) -> bool {
        self.levels().any(|scope| scope.relations.iter().any(|relation| relation.name.as_deref() == Some(name)))
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.around).map(|entry| entry.as_ref())
    }

    /// 42P01
    fn missing(&self, name: &Ident) -> Unbound {
        let written = folded(name);
        let mut around = self.around.iter().filter(|entry| entry.is_around);
        let is_called = |entry: &&Rc<Entry>| entry.is_called(&written);
        let (entry, is_here) = match self.entries.iter().find(is_called) {
            Some(entry) => (Some(entry), true),
            None => (around.find(is_called), false),
        };
        let error = match entry {
            Some(entry) => {
                let error =
                    Error::new("42P01", format!("invalid reference to FROM-clause entry for table \"{written}\""));
                if entry.name != written && self.is_relation(&entry.name) {
                    error.hint(format!("Perhaps you meant to reference the table alias \"{}\".", entry.name))
                } else if is_here {
                    let there = format!("There is an entry for table \"{}\"", entry.name);
                    error.detail(format!("{there}, but it cannot be referenced from this part of the query."))
                } else {
                    // By LATERAL it may be.
                    return Unbound::NotYet("columns of a query around".into());
                }
            }
            None => Error::new("42P01", format!("missing FROM-clause entry for table \"{written}\"")),
        };
        Unbound::Wrong(placed(error, of_word(name)))
    }

    /// The column of `relation`, which was named by `qualifier`.
    fn within(&self, relation: &Named, qualifier: &[Ident], column: &Ident) -> Bound<Expr> {
        let (name, position) = (folded(column), qualifier.first().and_then(of_word));
        if let Some(value) = one(relation.columns.iter(), &name, position)? {
            return Ok(value);
        }
        // `t.f` may be `f(t)`, but no cast.
        if SYSTEM.contains(&name.as_str()) || matches!(resolve::function(&name, &[RECORD]), Ok(Call::Function { .. })) {
            return not_yet(format!("{name} of a whole row"));
        }
        let table = qualifier.last().map(folded).unwrap_or_default();
        let error = Error::new("42703", format!("column {table}.{name} does not exist"));
        let error = suggest::column(error, Some(&table), &name, self.all());
        Err(Unbound::Wrong(placed(error, position)))
    }

    /// What errors call a column, with its relation.
    pub fn name_of(&self, id: ColumnId) -> Option<String> {
        self.entries.iter().find_map(|entry| {
            let (name, _) = entry.columns.iter().find(|(_, column)| *column == Some(id))?;
            Some(format!("{}.{name}", entry.name))
        })
    }
}

fn one<'a>(columns: impl Iterator<Item = &'a Column>, name: &str, position: Option<usize>) -> Bound<Option<Expr>> {
    let mut found = columns.filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            let error = Error::new("42702", format!("column reference \"{name}\" is ambiguous"));
            Err(Unbound::Wrong(placed(error, position)))
        }
        (first, _) => Ok(first.map(|column| column.value.clone())),
    }
}
