//! A query of which every name and every type is settled: what [`crate::bind`] makes of a syntax tree, and [`crate::logical`] a plan of.
//!
//! A column has an identity that is not its name ([`ColumnId`]), so that nothing depends on two names being different; an expression has
//! PostgreSQL's type ([`Kind`]), and what an implicit conversion does stands in it as a [`Expr::Cast`]. Functions and operators are
//! entries of PostgreSQL's lists ([`crate::postgres`]): which code of Weir's runs them is asked when a plan is made.
//!
//! A [`Node`]'s columns are what it defines and those of its inputs, if it lets them through; an expression of a node names columns of its
//! inputs and no others.

mod expression;
mod held;
mod node;

pub use expression::{Expr, How, Test};
pub use node::{Aggregate, Join, Node, Order, Set, Table};

use crate::error::Error;
use crate::postgres::types::{Oid, TEXT, UNKNOWN};
use std::fmt;

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

/// A column of a node. No two of a statement are the same, whatever they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub u32);

/// PostgreSQL's type of a value: its number, and what pg_attribute.atttypmod says of length or precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    pub oid: Oid,
    /// -1: none.
    pub modifier: i32,
}

impl Kind {
    pub const UNKNOWN: Kind = Kind { oid: UNKNOWN, modifier: -1 };
    pub const TEXT: Kind = Kind { oid: TEXT, modifier: -1 };
}

/// Without length or precision.
impl From<Oid> for Kind {
    fn from(oid: Oid) -> Self {
        Self { oid, modifier: -1 }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.oid.fmt(f)
    }
}

/// A whole query: what gives its rows, in order if one was asked for, and what of them is shown.
#[derive(Clone, Debug)]
pub struct Query {
    pub root: Node,
    pub outputs: Vec<Output>,
    /// Types of `$1`, `$2`, …
    pub parameters: Vec<Kind>,
}

/// A column as a client sees it. Names may be there twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub column: ColumnId,
    pub name: String,
    pub kind: Kind,
}
