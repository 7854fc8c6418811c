//! A query's clauses, in the order in which they mean something: WITH, the body, ORDER BY, OFFSET and LIMIT.

use super::Binder;
use crate::bound::{Bound, Query};
use datafusion::sql::sqlparser::ast;

impl Binder<'_> {
    /// A statement.
    pub fn whole(&mut self, query: &ast::Query) -> Bound<Query> {
        let _ = query;
        todo!("B")
    }
}
