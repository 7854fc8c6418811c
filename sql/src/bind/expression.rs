//! Expressions: one match over the forms of syntax.

use super::Binder;
use super::group::Groups;
use super::scope::Scope;
use crate::bound::{Bound, Expr};
use datafusion::sql::sqlparser::ast;

/// Where an expression stands: what it may name, and what it may hold.
pub struct Place<'a> {
    pub scope: &'a Scope,
    /// As errors say it: `WHERE`, `HAVING`, `JOIN conditions`, `GROUP BY`, `LIMIT`, `VALUES`.
    pub clause: &'static str,
    /// Aggregates go here; `None`: they may not stand here.
    pub groups: Option<&'a mut Groups>,
}

impl Binder<'_> {
    /// `expr` at `place`. A literal or a parameter without a type stays UNKNOWN: who asked knows what it becomes. Of an aggregate it is the
    /// column that [`Groups::add`] has for it.
    pub fn expression(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        let _ = (expr, place);
        todo!("A")
    }

    /// A truth value: an error says `argument of WHERE must be type boolean, not type integer` (42804).
    pub fn condition(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        let _ = (expr, place);
        todo!("A")
    }

    /// A number of rows (int8), as of LIMIT and OFFSET, which is what `place` calls it. NULL stays NULL.
    pub fn number(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        let _ = (expr, place);
        todo!("A")
    }
}
