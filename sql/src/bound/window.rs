//! Window functions.

use super::{Expr, Kind, Order};
use crate::postgres::functions::Function;

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
