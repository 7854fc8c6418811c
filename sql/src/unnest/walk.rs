//! What nodes are made of: the columns that they define, name and have.

use crate::bound::{ColumnId, Expr, Join, Kind, Node};
use crate::stack;
use std::collections::{BTreeMap, BTreeSet};

pub type Names = BTreeSet<ColumnId>;

/// Columns that are there from this node on.
pub fn defined(node: &Node) -> Vec<ColumnId> {
    match node {
        Node::Unit
        | Node::Filter { .. }
        | Node::Distinct { .. }
        | Node::DistinctOn { .. }
        | Node::Sort { .. }
        | Node::Limit { .. } => vec![],
        Node::Scan { columns, .. } => columns.iter().map(|(id, _, _)| *id).collect(),
        Node::Values { columns, .. } | Node::Combine { columns, .. } => columns.iter().map(|(id, _)| *id).collect(),
        Node::Extend { columns, .. } => columns.iter().map(|(id, _)| *id).collect(),
        Node::Join { kind: Join::Mark(mark), .. } => vec![*mark],
        Node::Join { .. } => vec![],
        Node::Group { keys, aggregates, .. } => {
            keys.iter().map(|(id, _)| *id).chain(aggregates.iter().map(|(id, _)| *id)).collect()
        }
        Node::Window { calls, .. } => calls.iter().map(|(id, _)| *id).collect(),
    }
}

/// Every column that the node itself defines or names outside of an expression.
fn identities_mut(node: &mut Node) -> Vec<&mut ColumnId> {
    match node {
        Node::Unit | Node::Filter { .. } | Node::DistinctOn { .. } | Node::Sort { .. } | Node::Limit { .. } => vec![],
        Node::Scan { columns, .. } => columns.iter_mut().map(|(id, _, _)| id).collect(),
        Node::Values { columns, .. } | Node::Distinct { columns, .. } => columns.iter_mut().map(|(id, _)| id).collect(),
        Node::Extend { columns, .. } => columns.iter_mut().map(|(id, _)| id).collect(),
        Node::Join { kind: Join::Mark(mark), .. } => vec![mark],
        Node::Join { .. } => vec![],
        Node::Group { keys, aggregates, .. } => {
            keys.iter_mut().map(|(id, _)| id).chain(aggregates.iter_mut().map(|(id, _)| id)).collect()
        }
        Node::Window { calls, .. } => calls.iter_mut().map(|(id, _)| id).collect(),
        Node::Combine { left, right, columns, .. } => {
            left.1.iter_mut().chain(&mut right.1).chain(columns.iter_mut().map(|(id, _)| id)).collect()
        }
    }
}

/// The columns that a node has.
pub fn columns(node: &Node) -> Names {
    let mut found = Names::new();
    add_columns(node, &mut found);
    found
}

fn add_columns(node: &Node, found: &mut Names) {
    stack::level(|| match node {
        Node::Distinct { columns, .. } => found.extend(columns.iter().map(|(id, _)| *id)),
        Node::Group { .. } | Node::Combine { .. } => found.extend(defined(node)),
        Node::Join { kind: Join::Semi | Join::Anti | Join::Mark(_), left, .. } => {
            found.extend(defined(node));
            add_columns(left, found);
        }
        _ => {
            found.extend(defined(node));
            node.inputs().into_iter().for_each(|input| add_columns(input, found));
        }
    });
}

/// `node` and all below it.
pub fn each<'a>(node: &'a Node, work: &mut impl FnMut(&'a Node)) {
    stack::level(|| {
        work(node);
        node.inputs().into_iter().for_each(|input| each(input, work));
    });
}

/// Whether `test` is true of `expr` or of what it is made of.
pub fn any(expr: &Expr, test: &impl Fn(&Expr) -> bool) -> bool {
    stack::level(|| test(expr) || expr.children().into_iter().any(|child| any(child, test)))
}

/// Whether `test` is true of an expression of `node` or below it.
pub fn any_below(node: &Node, test: &impl Fn(&Expr) -> bool) -> bool {
    let own = || node.expressions().into_iter().any(|expr| any(expr, test));
    stack::level(|| own() || node.inputs().into_iter().any(|input| any_below(input, test)))
}

/// The columns that an expression names, and their types.
pub fn add_named(expr: &Expr, named: &mut BTreeMap<ColumnId, Kind>) {
    stack::level(|| {
        if let Expr::Column { id, kind } = expr {
            named.insert(*id, *kind);
        }
        expr.children().into_iter().for_each(|child| add_named(child, named));
    });
}

pub fn names(expr: &Expr) -> Names {
    let mut named = BTreeMap::new();
    add_named(expr, &mut named);
    named.into_keys().collect()
}

/// Whether `expr` names one of `columns`.
pub fn names_any(expr: &Expr, columns: &Names) -> bool {
    any(expr, &|part| matches!(part, Expr::Column { id, .. } if columns.contains(id)))
}

/// The columns that a node names though nothing in it defines them.
pub fn free(node: &Node) -> BTreeMap<ColumnId, Kind> {
    let (mut named, mut own) = (BTreeMap::new(), vec![]);
    each(node, &mut |node| {
        own.extend(defined(node));
        node.expressions().into_iter().for_each(|expr| add_named(expr, &mut named));
    });
    own.iter().for_each(|id| {
        named.remove(id);
    });
    named
}

/// Puts in the place of columns what `by` has for them.
pub fn replace(expr: &mut Expr, by: &BTreeMap<ColumnId, Expr>) {
    stack::level(|| match expr {
        Expr::Column { id, .. } => {
            if let Some(value) = by.get(id) {
                *expr = value.clone();
            }
        }
        _ => expr.children_mut().into_iter().for_each(|child| replace(child, by)),
    });
}

/// Gives columns other numbers, in `node` and below it.
pub fn renumber(node: &mut Node, by: &BTreeMap<ColumnId, ColumnId>) {
    stack::level(|| {
        for id in identities_mut(node) {
            *id = by.get(id).copied().unwrap_or(*id);
        }
        node.expressions_mut().into_iter().for_each(|expr| renumber_names(expr, by));
        node.inputs_mut().into_iter().for_each(|input| renumber(input, by));
    });
}

pub fn renumber_names(expr: &mut Expr, by: &BTreeMap<ColumnId, ColumnId>) {
    stack::level(|| match expr {
        Expr::Column { id, .. } => *id = by.get(id).copied().unwrap_or(*id),
        _ => expr.children_mut().into_iter().for_each(|child| renumber_names(child, by)),
    });
}
