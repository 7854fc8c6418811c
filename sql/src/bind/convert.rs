//! Casts: those that nobody writes, and those that are written; the type that several values have together.

use super::Binder;
use crate::bound::{Bound, Expr, Kind};
use crate::postgres::casts::Context;

impl Binder<'_> {
    /// `expr` as a value of `to`, by what `context` allows. UNKNOWN constants are read as `to` (22P02 and its like are errors of now, not of
    /// a row), UNKNOWN parameters become of it. Length and precision of `to` apply. `None` if PostgreSQL has no such conversion there.
    pub fn converted(&mut self, expr: Expr, to: Kind, context: Context) -> Bound<Option<Expr>> {
        let _ = (expr, to, context);
        todo!("A")
    }

    /// UNKNOWN becomes text, all else stays.
    pub fn settled(&mut self, expr: Expr) -> Bound<Expr> {
        let _ = expr;
        todo!("A")
    }

    /// All values as one type; `construct` is what an error says: `CASE types integer and text cannot be matched` (42804). The modifier is
    /// kept where all have the same.
    pub fn together(&mut self, exprs: Vec<Expr>, construct: &str) -> Bound<(Vec<Expr>, Kind)> {
        let _ = (exprs, construct);
        todo!("A")
    }

    /// 42883 `could not identify an equality operator for type json` of what cannot be told apart, for GROUP BY, DISTINCT, UNION.
    pub fn groupable(&self, kind: Kind) -> Bound<()> {
        let _ = kind;
        todo!("A")
    }

    /// 42883 `could not identify an ordering operator for type json`, for ORDER BY.
    pub fn sortable(&self, kind: Kind) -> Bound<()> {
        let _ = kind;
        todo!("A")
    }
}
