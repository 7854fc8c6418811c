//! What is in a tree: a node's inputs and its expressions, and all that is below, also in subqueries.

use super::{Aggregate, Expr, Node, Order};
use crate::stack;

impl Node {
    /// From left to right.
    pub fn inputs(&self) -> Vec<&Node> {
        match self {
            Node::Unit | Node::Scan { .. } | Node::Values { .. } => vec![],
            Node::Filter { input, .. }
            | Node::Extend { input, .. }
            | Node::Group { input, .. }
            | Node::Window { input, .. }
            | Node::Distinct { input, .. }
            | Node::DistinctOn { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. } => vec![input],
            Node::Join { left, right, .. } => vec![left, right],
            Node::Combine { left, right, .. } => vec![&left.0, &right.0],
        }
    }

    /// As [`Node::inputs`].
    pub fn inputs_mut(&mut self) -> Vec<&mut Node> {
        match self {
            Node::Unit | Node::Scan { .. } | Node::Values { .. } => vec![],
            Node::Filter { input, .. }
            | Node::Extend { input, .. }
            | Node::Group { input, .. }
            | Node::Window { input, .. }
            | Node::Distinct { input, .. }
            | Node::DistinctOn { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. } => vec![input],
            Node::Join { left, right, .. } => vec![left, right],
            Node::Combine { left, right, .. } => vec![&mut left.0, &mut right.0],
        }
    }

    /// Its own, not those of its inputs.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Node::Unit | Node::Scan { .. } | Node::Distinct { .. } | Node::Combine { .. } => vec![],
            Node::Values { rows, .. } => rows.iter().flatten().collect(),
            Node::Filter { condition, .. } => vec![condition],
            Node::Extend { columns, .. } => columns.iter().map(|(_, expr)| expr).collect(),
            Node::Join { on, .. } => on.iter().collect(),
            Node::Group { keys, aggregates, .. } => {
                let aggregates = aggregates.iter().flat_map(|(_, aggregate)| aggregate.expressions());
                keys.iter().map(|(_, key)| key).chain(aggregates).collect()
            }
            Node::Window { calls, .. } => calls.iter().flat_map(|(_, window)| window.parts()).collect(),
            Node::DistinctOn { on, order, .. } => on.iter().chain(by(order)).collect(),
            Node::Sort { order, .. } => by(order).collect(),
            Node::Limit { skip, fetch, .. } => skip.iter().chain(fetch).collect(),
        }
    }

    /// As [`Node::expressions`].
    pub fn expressions_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Node::Unit | Node::Scan { .. } | Node::Distinct { .. } | Node::Combine { .. } => vec![],
            Node::Values { rows, .. } => rows.iter_mut().flatten().collect(),
            Node::Filter { condition, .. } => vec![condition],
            Node::Extend { columns, .. } => columns.iter_mut().map(|(_, expr)| expr).collect(),
            Node::Join { on, .. } => on.iter_mut().collect(),
            Node::Group { keys, aggregates, .. } => {
                let aggregates = aggregates.iter_mut().flat_map(|(_, aggregate)| aggregate.expressions_mut());
                keys.iter_mut().map(|(_, key)| key).chain(aggregates).collect()
            }
            Node::Window { calls, .. } => calls.iter_mut().flat_map(|(_, window)| window.parts_mut()).collect(),
            Node::DistinctOn { on, order, .. } => on.iter_mut().chain(by_mut(order)).collect(),
            Node::Sort { order, .. } => by_mut(order).collect(),
            Node::Limit { skip, fetch, .. } => skip.iter_mut().chain(fetch).collect(),
        }
    }

    /// Shows all expressions of it and of what is below it, and all that is in them, as [`Expr::each`] does.
    pub fn each(&self, see: &mut impl FnMut(&Expr)) {
        self.expressions().into_iter().for_each(|expr| expr.each(see));
        self.inputs().into_iter().for_each(|input| stack::level(|| input.each(see)));
    }

    /// As [`Node::each`].
    pub fn each_mut(&mut self, change: &mut impl FnMut(&mut Expr)) {
        self.expressions_mut().into_iter().for_each(|expr| expr.each_mut(change));
        self.inputs_mut().into_iter().for_each(|input| stack::level(|| input.each_mut(change)));
    }
}

impl Aggregate {
    pub fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.arguments.iter().chain(&self.filter).chain(by(&self.order))
    }

    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        self.arguments.iter_mut().chain(&mut self.filter).chain(by_mut(&mut self.order))
    }
}

impl Expr {
    /// Shows itself and all that is in it, also in the rows of subqueries: whatever contains another one first.
    pub fn each(&self, see: &mut impl FnMut(&Expr)) {
        see(self);
        self.children().into_iter().for_each(|child| stack::level(|| child.each(see)));
        if let Expr::Subquery(subquery) = self {
            stack::level(|| subquery.rows.each(see));
        }
    }

    /// As [`Expr::each`].
    pub fn each_mut(&mut self, change: &mut impl FnMut(&mut Expr)) {
        change(self);
        self.children_mut().into_iter().for_each(|child| stack::level(|| child.each_mut(change)));
        if let Expr::Subquery(subquery) = self {
            stack::level(|| subquery.rows.each_mut(change));
        }
    }

    /// Whether a subquery stands in it.
    pub fn has_subquery(&self) -> bool {
        self.any(&|part| matches!(part, Expr::Subquery(_)))
    }
}

fn by(order: &[Order]) -> impl Iterator<Item = &Expr> {
    order.iter().map(|order| &order.by)
}

fn by_mut(order: &mut [Order]) -> impl Iterator<Item = &mut Expr> {
    order.iter_mut().map(|order| &mut order.by)
}
