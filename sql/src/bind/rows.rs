//! What the parts of a query give to each other while it is bound.

use super::scope::{Named, Scope};
use crate::bound::{Bound, Expr, Node, Order};
use datafusion::sql::sqlparser::ast;
use std::rc::Rc;

/// What FROM gives, or a part of it.
pub struct Source {
    pub node: Node,
    pub relations: Vec<Named>,
    pub order: Vec<Order>,
}

/// All of FROM.
pub struct Input {
    pub node: Node,
    pub scope: Scope,
    /// The order of a subquery that stands there alone: rows keep it.
    pub order: Vec<Order>,
}

/// The rows of a query.
pub struct Rows {
    pub node: Node,
    pub items: Vec<Item>,
    /// What they are ordered by, columns of `node`. Who shows rows or takes some of them has to sort them; nobody else needs to.
    pub order: Vec<Order>,
    /// `node` gives them in that order.
    pub is_sorted: bool,
}

impl Rows {
    /// In their order.
    pub fn sorted(self) -> Self {
        if self.is_sorted || self.order.is_empty() {
            return self;
        }
        let node = Node::Sort { input: Box::new(self.node), order: self.order.clone() };
        Self { node, is_sorted: true, ..self }
    }

    /// Some of them, in their order.
    pub fn limited(self, limit: Limit) -> Self {
        let Limit { skip, fetch } = limit;
        if skip.is_none() && fetch.is_none() {
            return self;
        }
        let rows = self.sorted();
        Self { node: Node::Limit { input: Box::new(rows.node), skip, fetch }, ..rows }
    }
}

/// Numbers of rows.
pub struct Limit {
    pub skip: Option<Expr>,
    pub fetch: Option<Expr>,
}

/// A column of a query's result: over the columns of its node. UNKNOWN literals and parameters become of the type of the same column of
/// another query, or else text.
#[derive(Debug)]
pub struct Item {
    pub name: String,
    pub value: Expr,
    pub position: Option<usize>,
}

/// A query of WITH. It is bound for each place where it is read, since no two columns of a statement are the same.
pub struct Common {
    pub name: String,
    pub columns: Vec<String>,
    pub query: Rc<ast::Query>,
    /// For the first of these places.
    pub first: Option<Rows>,
    /// What can be named in it, of the queries around.
    pub outside: Scope,
}

/// Queries within queries.
pub trait Nested {
    fn nested(&mut self, query: &ast::Query) -> Bound<Rows>;
}
