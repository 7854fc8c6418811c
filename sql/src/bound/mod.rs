//! A query of which every name and every type is settled: what [`crate::bind`] makes of a syntax tree, and [`crate::logical`] a plan of.
//!
//! A column has an identity that is not its name ([`ColumnId`]), so that nothing depends on two names being different; an expression has
//! PostgreSQL's type ([`Kind`]), and what an implicit conversion does stands in it as a [`Expr::Cast`]. Functions and operators are
//! entries of PostgreSQL's lists ([`crate::postgres`]): which code of Weir's runs them is asked when a plan is made.
//!
//! A [`Node`]'s columns are what it defines and those of its inputs, if it lets them through; an expression of a node names columns of its
//! inputs and, in a [`Subquery`], of the inputs of the nodes around it, and no others.

mod expression;
mod held;
mod kind;
mod query;
mod tree;
mod visit;

pub use kind::{ColumnId, Kind};
pub use query::{Output, Query};
pub use tree::{Aggregate, Edge, Expr, Form, Frame, How, Join, Mode, Node, Order, Set, Subquery, Table, Test, Window};

use crate::error::Error;

pub type Bound<T> = std::result::Result<T, Unbound>;

/// Why a query was not bound, or not planned though it was.
#[derive(Clone, Debug, PartialEq)]
pub enum Unbound {
    /// PostgreSQL may have an answer; what is named is not known here.
    NotYet(String),
    /// PostgreSQL's own error.
    Wrong(Error),
}

impl From<Error> for Unbound {
    fn from(error: Error) -> Self {
        Unbound::Wrong(error)
    }
}

/// `Err` of what is not known here.
pub fn not_yet<T>(construct: impl Into<String>) -> Bound<T> {
    Err(Unbound::NotYet(construct.into()))
}
