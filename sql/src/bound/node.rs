//! What gives rows.

use super::{ColumnId, Expr, Kind, Window};
use crate::postgres::functions::Function;
use datafusion::logical_expr::TableSource;
use std::fmt;
use std::sync::Arc;

/// What DataFusion asks about a relation.
#[derive(Clone)]
pub struct Table(pub Arc<dyn TableSource>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }
}

#[derive(Clone, Debug)]
pub enum Node {
    /// One row without columns.
    Unit,
    /// A relation's columns, by their places in it.
    Scan {
        /// How errors and plans call it.
        name: String,
        table: Table,
        columns: Vec<(ColumnId, usize, Kind)>,
    },
    /// Rows of as many expressions as there are columns; the expressions name no columns but those around a subquery.
    Values {
        columns: Vec<(ColumnId, Kind)>,
        rows: Vec<Vec<Expr>>,
    },
    /// Rows for which `condition` is true.
    Filter {
        input: Box<Node>,
        condition: Expr,
    },
    /// The input's columns, and these beside them.
    Extend {
        input: Box<Node>,
        columns: Vec<(ColumnId, Expr)>,
    },
    /// The columns of both sides, or those that its kind says. `on` is true for pairs that match.
    Join {
        kind: Join,
        left: Box<Node>,
        right: Box<Node>,
        on: Option<Expr>,
    },
    /// A row for each group: the keys and aggregates, no other columns. Without keys there is one row, also of nothing.
    Group {
        input: Box<Node>,
        keys: Vec<(ColumnId, Expr)>,
        aggregates: Vec<(ColumnId, Aggregate)>,
        /// Which keys each grouping set has, by their places. `None`: one set of all.
        sets: Option<Vec<Vec<usize>>>,
    },
    /// The input's columns, and what each call gives for the row among all rows of the input.
    Window {
        input: Box<Node>,
        calls: Vec<(ColumnId, Window)>,
    },
    /// Rows that differ in `columns`, with these alone.
    Distinct {
        input: Box<Node>,
        columns: Vec<(ColumnId, Kind)>,
    },
    /// The first row, in `order`, of those that are equal in `on`; all columns.
    DistinctOn {
        input: Box<Node>,
        on: Vec<Expr>,
        order: Vec<Order>,
    },
    Sort {
        input: Box<Node>,
        order: Vec<Order>,
    },
    /// Numbers of rows, of type int8; NULL is as if it was not written.
    Limit {
        input: Box<Node>,
        skip: Option<Expr>,
        fetch: Option<Expr>,
    },
    /// Both sides have as many columns as it has, of the same types, in order.
    Combine {
        set: Set,
        all: bool,
        left: (Box<Node>, Vec<ColumnId>),
        right: (Box<Node>, Vec<ColumnId>),
        columns: Vec<(ColumnId, Kind)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    Inner,
    Left,
    Right,
    Full,
    /// Rows of the left side that match one of the right side, or that match none; the columns of the left side.
    Semi,
    Anti,
    /// The rows of the left side with its columns, and this one beside them: whether they match one of the right side.
    Mark(ColumnId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub function: &'static Function,
    /// None of `count(*)`.
    pub arguments: Vec<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub order: Vec<Order>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub by: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}
