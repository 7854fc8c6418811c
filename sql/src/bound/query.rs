//! Queries as wholes.

use super::{ColumnId, Kind, Node};

/// A whole query: what gives its rows, in order if one was asked for, and what of them is shown.
#[derive(Clone, Debug)]
pub struct Query {
    pub root: Node,
    pub outputs: Vec<Output>,
    /// Types of `$1`, `$2`, …
    pub parameters: Vec<Kind>,
    /// No column of it has a higher number.
    pub columns: u32,
}

/// A column as a client sees it. Names may be there twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub column: ColumnId,
    pub name: String,
    pub kind: Kind,
}
