//! Queries within expressions.

use super::{ColumnId, Expr, Kind, Node};

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
