//! Bodies of queries that are no combination of others: SELECT and VALUES.

use super::Binder;
use super::order::Tail;
use super::rows::Rows;
use super::select::Clauses;
use crate::bound::{Bound, not_yet};
use datafusion::sql::sqlparser::ast::SetExpr;

impl Binder<'_> {
    pub fn simple(&mut self, body: &SetExpr, tail: &Tail) -> Bound<Rows> {
        match body {
            SetExpr::Select(select) => self.select(&Clauses::of(select)?, tail),
            SetExpr::Values(values) => self.values(values, tail),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                not_yet("changes of data within a query")
            }
            // The parser spells TABLE out, and has parentheses and combinations of their own.
            SetExpr::Table(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } => {
                not_yet("this form of a query's body")
            }
        }
    }
}
