//! What names mean at a place of a query: relations by their names, columns by theirs.

use crate::bound::{Bound, ColumnId, Expr, Kind};
use datafusion::sql::sqlparser::ast::Ident;

/// Relations that can be named, in the order in which `*` shows them.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub relations: Vec<Named>,
}

/// A relation by the name it has in the query.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: Option<String>,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub id: ColumnId,
    pub kind: Kind,
}

impl Scope {
    /// What `a`, `t.a` or `public.t.a` means: a column. Errors with position: 42703, 42702 if it is ambiguous, 42P01 `missing FROM-clause
    /// entry for table "t"`, `invalid reference to …`.
    pub fn column(&self, name: &[Ident]) -> Bound<Expr> {
        let _ = name;
        todo!("B")
    }
}
