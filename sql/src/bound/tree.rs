//! What a bound query is made of: nodes, which give rows, and expressions over their columns. Each may hold the other.

use super::{ColumnId, Kind};
use crate::postgres::functions::Function;
use crate::postgres::operators::Operator;
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

/// A call of a window function, or of an aggregate over a window. It is given for each row of those that it is computed over: what it
/// sees are the rows that are equal in `partition`, in `order`.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub function: &'static Function,
    /// None of `count(*)`.
    pub arguments: Vec<Expr>,
    /// Of aggregates alone: rows for which it is not true do not count.
    pub filter: Option<Expr>,
    pub partition: Vec<Expr>,
    /// Rows that are equal in all of it are peers; without any, all are.
    pub order: Vec<Order>,
    pub frame: Frame,
    pub kind: Kind,
}

/// Which rows of its partition an aggregate, first_value, last_value and nth_value see from a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub mode: Mode,
    /// Never [`Edge::UnboundedFollowing`].
    pub start: Edge,
    /// Never [`Edge::UnboundedPreceding`].
    pub end: Edge,
}

/// What is counted from the current row to an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Rows,
    /// Values of the one that rows are ordered by. The current row stands for its peers.
    Range,
    /// Groups of peers, of which the current row stands for its own.
    Groups,
}

/// Offsets name no columns. They are of type int8, or of the type that is added to values in the order of [`Mode::Range`]. NULL and what
/// is negative are errors of whoever asks for a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Edge {
    UnboundedPreceding,
    Preceding(Expr),
    Current,
    Following(Expr),
    UnboundedFollowing,
}

impl Frame {
    /// What is meant where nothing is written: all before the current row, and its peers.
    pub const DEFAULT: Frame = Frame { mode: Mode::Range, start: Edge::UnboundedPreceding, end: Edge::Current };
}

impl Window {
    /// What may name columns: arguments, the filter, what it is partitioned and ordered by.
    pub fn parts(&self) -> impl Iterator<Item = &Expr> {
        let order = self.order.iter().map(|order| &order.by);
        self.arguments.iter().chain(&self.filter).chain(&self.partition).chain(order)
    }

    /// As [`Window::parts`].
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let order = self.order.iter_mut().map(|order| &mut order.by);
        self.arguments.iter_mut().chain(&mut self.filter).chain(&mut self.partition).chain(order)
    }
}

/// An expression over the columns of a node's inputs.
#[derive(Clone, Debug)]
pub enum Expr {
    Column {
        id: ColumnId,
        kind: Kind,
    },
    /// The value as PostgreSQL prints it, moments in UTC; `None` is NULL. Of UNKNOWN it is a literal as it was written.
    Constant {
        value: Option<Arc<str>>,
        kind: Kind,
    },
    /// From 1.
    Parameter {
        number: usize,
        kind: Kind,
    },
    /// Arguments have the types the function declares; those that a variadic function takes one by one are as many as were given.
    Call {
        function: &'static Function,
        arguments: Vec<Expr>,
        kind: Kind,
    },
    /// One operand, or two. They have the operator's types.
    Operation {
        operator: &'static Operator,
        operands: Vec<Expr>,
        kind: Kind,
    },
    Cast {
        argument: Box<Expr>,
        kind: Kind,
        how: How,
    },
    /// A long chain of operators: `first`, and each of `steps` of the value so far, which it names as [`Expr::Operand`].
    Chain {
        first: Box<Expr>,
        steps: Vec<Expr>,
        kind: Kind,
    },
    /// Two or more.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Is {
        argument: Box<Expr>,
        what: Test,
        negated: bool,
    },
    /// IS [NOT] DISTINCT FROM, by the equality of `operator`.
    Distinct {
        operator: &'static Operator,
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    /// The result of the first pair whose condition is true, else `otherwise`, else NULL. With an operand, conditions name it as
    /// [`Expr::Operand`].
    Case {
        operand: Option<Box<Expr>>,
        pairs: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
        kind: Kind,
    },
    /// The operand of the innermost CASE around it, or the value so far in a chain.
    Operand {
        kind: Kind,
    },
    /// The first that is not NULL; those after it are not evaluated.
    Coalesce {
        arguments: Vec<Expr>,
        kind: Kind,
    },
    /// GREATEST, or else LEAST: NULLs do not count.
    Extreme {
        greatest: bool,
        arguments: Vec<Expr>,
        kind: Kind,
    },
    /// NULL where `operator`, an equality, holds; else the first operand, of type `kind`.
    NullIf {
        operator: &'static Operator,
        left: Box<Expr>,
        right: Box<Expr>,
        kind: Kind,
    },
    /// IN over a list: `operator`, an equality, with each of `list`.
    In {
        operator: &'static Operator,
        argument: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    /// `left operator ANY (array)`, or ALL.
    Quantified {
        operator: &'static Operator,
        left: Box<Expr>,
        array: Box<Expr>,
        all: bool,
    },
    /// ARRAY[…]; all elements have one type.
    Array {
        elements: Vec<Expr>,
        kind: Kind,
    },
    /// `array[index]`, from 1; NULL beyond its ends.
    Subscript {
        array: Box<Expr>,
        index: Box<Expr>,
        kind: Kind,
    },
    Subquery(Box<Subquery>),
    /// `value`, which is of one row. Error 21000 if `rows`, of type int8, says that there were more.
    Only {
        rows: Box<Expr>,
        value: Box<Expr>,
    },
}

/// How a cast converts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nobody wrote it.
    Implicit,
    Explicit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Null,
    True,
    False,
    Unknown,
}

/// A query within an expression, which is evaluated for a row of the node that the expression stands in: `rows` may name columns of that
/// node's inputs and, if it stands in another subquery, of the inputs of the nodes around that one.
#[derive(Clone, Debug)]
pub struct Subquery {
    pub form: Form,
    /// Sorted, if somebody asked for an order and it counts.
    pub rows: Node,
    /// What it shows, in order, columns of `rows`; none of EXISTS.
    pub columns: Vec<(ColumnId, Kind)>,
    /// Of the value that the expression has.
    pub kind: Kind,
}

/// What its rows say.
#[derive(Clone, Debug)]
pub enum Form {
    /// EXISTS: whether there is one. The columns do not count.
    Exists,
    /// The value of the one column in the one row; NULL without a row. Error 21000 of more rows.
    Scalar,
    /// ARRAY: the values of the one column, in the order of the rows; without rows an array without elements.
    Array,
    /// Whether this comparison, over the columns of the subquery and those around it, is true of some row; NULL if it is not and is NULL
    /// of some row; false if there are no rows. `IN` is `= ANY`.
    Any(Expr),
    /// Whether it is true of all rows; NULL if it is false of none and NULL of some; true if there are no rows. `NOT IN` is `<> ALL`.
    All(Expr),
}

impl Form {
    pub fn comparison(&self) -> Option<&Expr> {
        match self {
            Form::Any(comparison) | Form::All(comparison) => Some(comparison),
            Form::Exists | Form::Scalar | Form::Array => None,
        }
    }
}
