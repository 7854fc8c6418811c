//! What identifies a column, and what type values have.

use crate::postgres::types::{Oid, TEXT, UNKNOWN};
use std::fmt;

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
