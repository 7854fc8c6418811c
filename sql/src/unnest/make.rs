//! Numbers for columns that there were not before, and nodes and expressions that are put together often.

use super::walk::{self, Names};
use crate::bound::{Aggregate, Bound, ColumnId, Expr, How, Join, Kind, Node, Order, Test, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::functions;
use crate::postgres::operators::Operator;
use crate::postgres::resolve::{self, Applied};
use crate::postgres::types::{BOOL, Oid};
use crate::stack;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const INT8: Kind = Kind { oid: Oid(20), modifier: -1 };

/// Nodes that are there more than once in a plan. Levels of subqueries multiply them.
const COPIED: usize = 5_000;

/// Columns of a statement, and how much of it has been copied.
pub struct Numbers {
    pub last: u32,
    copied: usize,
}

impl Numbers {
    /// After `last`.
    pub fn new(last: u32) -> Self {
        Self { last, copied: 0 }
    }

    pub fn column(&mut self) -> ColumnId {
        self.last += 1;
        ColumnId(self.last)
    }

    /// A node that gives the same rows, and what its columns are called. It names the same columns that are not of it.
    pub fn copy(&mut self, node: &Node) -> Bound<(Node, BTreeMap<ColumnId, ColumnId>)> {
        let mut own = vec![];
        walk::each(node, &mut |node| {
            self.copied += 1;
            own.extend(walk::defined(node));
        });
        if self.copied > COPIED {
            return not_yet("subqueries of so many relations within each other");
        }
        let renamed = own.into_iter().map(|id| (id, self.column())).collect();
        let mut copy = node.clone();
        walk::renumber(&mut copy, &renamed);
        Ok((copy, renamed))
    }
}

pub fn column(id: ColumnId, kind: Kind) -> Expr {
    Expr::Column { id, kind }
}

pub fn truth(value: bool) -> Expr {
    Expr::Constant { value: Some(if value { "t" } else { "f" }.into()), kind: BOOL.into() }
}

pub fn null(kind: Kind) -> Expr {
    Expr::Constant { value: None, kind }
}

pub fn number(value: &str) -> Expr {
    Expr::Constant { value: Some(Arc::from(value)), kind: INT8 }
}

pub fn is(argument: Expr, what: Test, negated: bool) -> Expr {
    Expr::Is { argument: Box::new(argument), what, negated }
}

pub fn not(argument: Expr) -> Expr {
    Expr::Not(Box::new(argument))
}

/// All of `conditions`; `None` if there are none.
pub fn all(mut conditions: Vec<Expr>) -> Option<Expr> {
    match conditions.len() {
        0 | 1 => conditions.pop(),
        _ => Some(Expr::And(conditions)),
    }
}

/// The conditions that `condition` is a conjunction of, in order.
pub fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::And(parts) => stack::level(|| parts.into_iter().flat_map(conjuncts).collect()),
        one => vec![one],
    }
}

/// `condition ? then : otherwise`, of which only one is evaluated.
pub fn when(condition: Expr, then: Expr, otherwise: Option<Expr>) -> Expr {
    let kind = then.kind();
    Expr::Case { operand: None, pairs: vec![(condition, then)], otherwise: otherwise.map(Box::new), kind }
}

pub fn coalesce(value: Expr, otherwise: Expr) -> Expr {
    let kind = value.kind();
    Expr::Coalesce { arguments: vec![value, otherwise], kind }
}

pub fn filter(input: Node, conditions: Vec<Expr>) -> Node {
    match all(conditions) {
        Some(condition) => Node::Filter { input: Box::new(input), condition },
        None => input,
    }
}

pub fn extend(input: Node, columns: Vec<(ColumnId, Expr)>) -> Node {
    if columns.is_empty() { input } else { Node::Extend { input: Box::new(input), columns } }
}

pub fn join(kind: Join, left: Node, right: Node, on: Vec<Expr>) -> Node {
    Node::Join { kind, left: Box::new(left), right: Box::new(right), on: all(on) }
}

/// A comparison of two numbers of rows.
pub fn compared(left: Expr, operator: &str, right: Expr) -> Bound<Expr> {
    let Applied { operator, .. } = resolve::operator(operator, Some(INT8.oid), INT8.oid)?;
    Ok(Expr::Operation { operator, operands: vec![left, right], kind: BOOL.into() })
}

/// Whether two values of one type are alike, NULL being like NULL.
pub fn alike(left: Expr, right: Expr) -> Bound<Expr> {
    let kind = left.kind();
    let Ok(Applied { operator, operands, .. }) = resolve::operator("=", Some(kind.oid), kind.oid) else {
        return not_yet(format!("a subquery that depends on a value of type {kind}"));
    };
    let operand = |expr: Expr, oid: Option<&Oid>| match oid {
        Some(oid) if *oid != expr.kind().oid => cast(expr, (*oid).into(), How::Implicit),
        _ => expr,
    };
    let (left, right) = (operand(left, operands.first()), operand(right, operands.get(1)));
    Ok(Expr::Distinct { operator, left: Box::new(left), right: Box::new(right), negated: true })
}

pub fn cast(argument: Expr, kind: Kind, how: How) -> Expr {
    Expr::Cast { argument: Box::new(argument), kind, how }
}

/// A call of an aggregate of one type, or of none.
pub fn aggregate(name: &str, argument: Option<Expr>, kind: Kind, order: Vec<Order>) -> Bound<Aggregate> {
    let takes = |function: &&functions::Function| function.arguments.len() == usize::from(argument.is_some());
    let Some(function) = functions::named(name).iter().find(takes) else {
        return Err(Unbound::Wrong(Error::internal(format!("no aggregate {name}"))));
    };
    Ok(Aggregate { function, arguments: argument.into_iter().collect(), distinct: false, filter: None, order, kind })
}

/// The equality of which an expression is one between two, and between which.
pub fn equality(expr: &Expr) -> Option<(&'static Operator, &Expr, &Expr)> {
    match expr {
        Expr::Operation { operator, operands, .. } if operator.name == "=" => match &operands[..] {
            [left, right] => Some((operator, left, right)),
            _ => None,
        },
        Expr::Distinct { operator, left, right, negated: true } => Some((operator, left, right)),
        _ => None,
    }
}

/// `condition`, an equality, between other sides.
pub fn between(condition: &Expr, left: Expr, right: Expr) -> Expr {
    match condition {
        Expr::Distinct { operator, .. } => {
            Expr::Distinct { operator, left: Box::new(left), right: Box::new(right), negated: true }
        }
        Expr::Operation { operator, kind, .. } => {
            Expr::Operation { operator, operands: vec![left, right], kind: *kind }
        }
        other => other.clone(),
    }
}

/// Whether `expr` names columns of `own` and no others that are not.
pub fn is_of(expr: &Expr, own: &Names) -> bool {
    let names = walk::names(expr);
    !names.is_empty() && names.is_subset(own)
}
