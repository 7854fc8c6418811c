//! What names mean at a place of a query: relations by their names, columns by theirs.

use super::position::{of_word, placed};
use crate::bound::{Bound, ColumnId, Expr, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::resolve::{self, Call};
use crate::postgres::types::RECORD;
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::Ident;
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
    /// The same of the queries around.
    pub around: Vec<Rc<Entry>>,
}

/// A relation by the name it has in the query.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: Option<String>,
    /// The name is the relation's own: its schema may stand before it.
    pub is_plain: bool,
    /// Its columns can be named without it, and `*` shows them. Those of a join's sides cannot where the join has columns of its own.
    pub is_shown: bool,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub value: Expr,
}

/// What FROM reads, by the name that errors call it.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    /// Its own name, if it is a relation or a query of WITH.
    pub relation: Option<String>,
    pub columns: Vec<(String, ColumnId)>,
    /// The columns of a unique key without NULLs; none if there is no such key.
    pub key: Vec<ColumnId>,
}

impl Scope {
    /// What `a`, `t.a` or `public.t.a` means: a column. Errors with position: 42703, 42702 if it is ambiguous, 42P01 `missing FROM-clause
    /// entry for table "t"`, `invalid reference to …`.
    pub fn column(&self, name: &[Ident]) -> Bound<Expr> {
        match name {
            [column] if is_function(column) => not_yet(folded(column)),
            [column] => self.find(column)?.ok_or_else(|| self.unknown(column)),
            [relation @ .., column] => within(self.relation(relation)?, relation, column),
            [] => not_yet("a name without words"),
        }
    }

    /// The column that is called so without its relation, if there is one. Error 42702 if there are several.
    pub fn find(&self, name: &Ident) -> Bound<Option<Expr>> {
        let shown = self.relations.iter().filter(|relation| relation.is_shown);
        one(shown.flat_map(|relation| &relation.columns), &folded(name), of_word(name))
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
        match self.relations.iter().find(is_meant) {
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
        if self.relations.iter().any(|relation| relation.name.as_ref() == Some(&column)) {
            return Unbound::NotYet("whole rows".into());
        }
        let has = |entry: &&Rc<Entry>| entry.columns.iter().any(|(name, _)| *name == column);
        if self.around.iter().any(|entry| has(&entry) || entry.is_called(&column)) {
            return Unbound::NotYet("columns of a query around".into());
        }
        let mut error = Error::new("42703", format!("column \"{column}\" does not exist"));
        let hidden: Vec<&Rc<Entry>> = self.entries.iter().filter(has).collect();
        if let [entry] = hidden[..] {
            let there = format!("There is a column named \"{column}\" in table \"{}\"", entry.name);
            error = error.detail(format!("{there}, but it cannot be referenced from this part of the query."));
        } else if !hidden.is_empty() {
            let there = format!("There are columns named \"{column}\", but they are in tables");
            error = error.detail(format!("{there} that cannot be referenced from this part of the query."));
            error = error.hint("Try using a table-qualified name.");
        }
        Unbound::Wrong(placed(error, of_word(name)))
    }

    /// 42P01
    fn missing(&self, name: &Ident) -> Unbound {
        let written = folded(name);
        let error = match self.entries.iter().find(|entry| entry.is_called(&written)) {
            Some(entry) => {
                let error =
                    Error::new("42P01", format!("invalid reference to FROM-clause entry for table \"{written}\""));
                let alias = self.relations.iter().any(|relation| relation.name.as_ref() == Some(&entry.name));
                if alias && entry.name != written {
                    error.hint(format!("Perhaps you meant to reference the table alias \"{}\".", entry.name))
                } else {
                    let there = format!("There is an entry for table \"{}\"", entry.name);
                    error.detail(format!("{there}, but it cannot be referenced from this part of the query."))
                }
            }
            None if self.around.iter().any(|entry| entry.is_called(&written)) => {
                return Unbound::NotYet("columns of a query around".into());
            }
            None => Error::new("42P01", format!("missing FROM-clause entry for table \"{written}\"")),
        };
        Unbound::Wrong(placed(error, of_word(name)))
    }

    /// What errors call a column, with its relation.
    pub fn name_of(&self, id: ColumnId) -> Option<String> {
        self.entries.iter().find_map(|entry| {
            let (name, _) = entry.columns.iter().find(|(_, column)| *column == id)?;
            Some(format!("{}.{name}", entry.name))
        })
    }
}

impl Entry {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.relation.as_deref() == Some(name)
    }
}

/// The column of `relation`, which was named by `qualifier`.
fn within(relation: &Named, qualifier: &[Ident], column: &Ident) -> Bound<Expr> {
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
    Err(Unbound::Wrong(placed(error, position)))
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
