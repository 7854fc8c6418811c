//! Which columns expressions name: a plan carries no others.

use crate::bound::{Aggregate, ColumnId, Expr, Order};
use std::collections::BTreeSet;

pub type Needed = BTreeSet<ColumnId>;

pub fn add(expr: &Expr, needed: &mut Needed) {
    if let Expr::Column { id, .. } = expr {
        needed.insert(*id);
    }
    expr.children().into_iter().for_each(|part| add(part, needed));
}

pub fn add_all<'a>(exprs: impl IntoIterator<Item = &'a Expr>, needed: &mut Needed) {
    exprs.into_iter().for_each(|expr| add(expr, needed));
}

pub fn add_order(order: &[Order], needed: &mut Needed) {
    add_all(order.iter().map(|order| &order.by), needed);
}

pub fn add_aggregate(aggregate: &Aggregate, needed: &mut Needed) {
    add_all(aggregate.arguments.iter().chain(&aggregate.filter), needed);
    add_order(&aggregate.order, needed);
}
