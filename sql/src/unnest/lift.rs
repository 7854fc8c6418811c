//! Takes the conditions that name outer columns out of a subquery's rows: what is left names none, and pairs of an outer row and one of
//! those rows are chosen by the conditions.
//!
//! That keeps the meaning as long as nothing on the way up depends on which rows there are. Groups and DISTINCT do, and let pass only
//! equalities of something outer and something inner: then the rows of one outer row are those of one value of the inner side, which
//! becomes a key.

use super::make::{self, Numbers, between, conjuncts, equality, extend, filter, join};
use super::risk::{can_fail, can_fail_below, is_loose};
use super::walk::{self, Names, names_any, replace};
use crate::bound::{Aggregate, Bound, ColumnId, Expr, Join, Kind, Node};
use crate::postgres::operators::Operator;
use crate::{stack, stop};
use std::collections::BTreeMap;

/// Columns by what they are computed as.
pub type Computed = BTreeMap<ColumnId, Expr>;

/// How large an expression may become by what is put into it.
const LARGEST: usize = 2_000;

pub struct Lifted {
    /// They name no outer columns.
    pub rows: Node,
    /// What holds of the pairs that belong together.
    pub on: Vec<Expr>,
    /// Columns of pairs: over outer columns and those of `rows`.
    pub computed: Computed,
    /// Whether an order is lost.
    pub unsorted: bool,
    /// Whether there are no other rows than those that an outer row asks for.
    pub asked: bool,
}

impl Lifted {
    fn of(rows: Node) -> Self {
        Self { rows, on: vec![], computed: Computed::new(), unsorted: false, asked: false }
    }

    /// Whether they are the rows themselves.
    fn is_whole(&self) -> bool {
        self.on.is_empty() && self.computed.is_empty() && !self.unsorted
    }

    fn over(self, rows: impl FnOnce(Box<Node>) -> Node) -> Self {
        let own = Box::new(self.rows);
        Self { rows: rows(own), ..self }
    }

    /// `expr` over outer columns and those of the rows; `None` if it becomes too large.
    pub fn resolved(&self, expr: &Expr) -> Option<Expr> {
        resolved(expr, &self.computed)
    }
}

/// `expr` with what its columns are computed as in their place.
pub fn resolved(expr: &Expr, computed: &Computed) -> Option<Expr> {
    let mut expr = expr.clone();
    if !computed.is_empty()
        && walk::any(&expr, &|part| matches!(part, Expr::Column { id, .. } if computed.contains_key(id)))
    {
        replace(&mut expr, computed);
        let mut size = 0;
        count(&expr, &mut size);
        if size > LARGEST {
            return None;
        }
    }
    Some(expr)
}

fn count(expr: &Expr, size: &mut usize) {
    *size += 1;
    if *size <= LARGEST {
        stack::level(|| expr.children().into_iter().for_each(|child| count(child, size)));
    }
}

/// Takes what names `outer` out of `node`. `None`: not in this way.
pub fn lift(node: &Node, outer: &Names, numbers: &mut Numbers) -> Bound<Option<Lifted>> {
    stop::check()?;
    stack::level(|| form(node, outer, numbers))
}

fn form(node: &Node, outer: &Names, numbers: &mut Numbers) -> Bound<Option<Lifted>> {
    let is_plain = |node: &Node| !node.expressions().into_iter().any(|expr| names_any(expr, outer));
    Ok(match node {
        Node::Unit | Node::Scan { .. } => Some(Lifted::of(node.clone())),
        Node::Values { .. } => is_plain(node).then(|| Lifted::of(node.clone())),
        Node::Filter { input, condition } => {
            lift(input, outer, numbers)?.and_then(|below| filtered(below, condition, outer))
        }
        Node::Extend { input, columns } => {
            lift(input, outer, numbers)?.and_then(|below| extended(below, columns, outer))
        }
        Node::Join { kind, left, right, on } => {
            let (left, right) = (lift(left, outer, numbers)?, lift(right, outer, numbers)?);
            left.zip(right).and_then(|sides| joined(*kind, sides, on.as_ref(), outer))
        }
        Node::Group { input, keys, aggregates, sets } => match lift(input, outer, numbers)? {
            Some(below) if below.is_whole() && is_plain(node) => Some(below.over(|input| Node::Group {
                input,
                keys: keys.clone(),
                aggregates: aggregates.clone(),
                sets: sets.clone(),
            })),
            Some(below) if sets.is_none() && !keys.is_empty() => grouped(below, keys, aggregates, outer, numbers),
            _ => None,
        },
        Node::Window { input, calls } => {
            let below = lift(input, outer, numbers)?.filter(|below| below.is_whole() && is_plain(node));
            below.map(|below| below.over(|input| Node::Window { input, calls: calls.clone() }))
        }
        Node::Distinct { input, columns } => {
            lift(input, outer, numbers)?.and_then(|below| distinct(below, columns, numbers))
        }
        Node::DistinctOn { input, on, order } => {
            let below = lift(input, outer, numbers)?.filter(|below| below.is_whole() && is_plain(node));
            below.map(|below| below.over(|input| Node::DistinctOn { input, on: on.clone(), order: order.clone() }))
        }
        Node::Sort { input, order } => {
            lift(input, outer, numbers)?.map(|below| match below.is_whole() && is_plain(node) {
                true => below.over(|input| Node::Sort { input, order: order.clone() }),
                false => Lifted { unsorted: true, ..below },
            })
        }
        Node::Limit { input, skip, fetch } => {
            let below = lift(input, outer, numbers)?.filter(|below| below.is_whole() && is_plain(node));
            below.map(|below| below.over(|input| Node::Limit { input, skip: skip.clone(), fetch: fetch.clone() }))
        }
        Node::Combine { set, all, left, right, columns } => {
            let sides = [lift(&left.0, outer, numbers)?, lift(&right.0, outer, numbers)?];
            match sides {
                [Some(first), Some(second)] if first.is_whole() && second.is_whole() => {
                    let (left, right) =
                        ((Box::new(first.rows), left.1.clone()), (Box::new(second.rows), right.1.clone()));
                    Some(Lifted::of(Node::Combine { set: *set, all: *all, left, right, columns: columns.clone() }))
                }
                _ => None,
            }
        }
    })
}

fn filtered(mut below: Lifted, condition: &Expr, outer: &Names) -> Option<Lifted> {
    let (taken, kept) = split(&below, condition, outer)?;
    below.on.extend(taken);
    below.rows = filter(below.rows, kept);
    Some(below)
}

/// The parts of a condition that name outer columns, and the others.
fn split(below: &Lifted, condition: &Expr, outer: &Names) -> Option<(Vec<Expr>, Vec<Expr>)> {
    let parts = conjuncts(condition.clone()).into_iter().map(|part| below.resolved(&part));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    Some(parts.into_iter().partition(|part| names_any(part, outer)))
}

/// What may fail is computed for the rows that some outer row asks for.
fn extended(mut below: Lifted, columns: &[(ColumnId, Expr)], outer: &Names) -> Option<Lifted> {
    let mut own = vec![];
    for (id, expr) in columns {
        let expr = below.resolved(expr)?;
        match names_any(&expr, outer) || !below.on.is_empty() && can_fail(&expr) {
            true => {
                below.computed.insert(*id, expr);
            }
            false => own.push((*id, expr)),
        }
    }
    below.rows = extend(below.rows, own);
    Some(below)
}

/// From a side of which no row is ever missing or made up.
fn joined(kind: Join, (left, right): (Lifted, Lifted), on: Option<&Expr>, outer: &Names) -> Option<Lifted> {
    let (keeps_left, keeps_right) = match kind {
        Join::Inner => (true, true),
        Join::Left | Join::Semi | Join::Anti | Join::Mark(_) => (true, false),
        Join::Right => (false, true),
        Join::Full => (false, false),
    };
    let can = |side: &Lifted, keeps: bool| keeps || side.on.is_empty() && side.computed.is_empty();
    if !can(&left, keeps_left) || !can(&right, keeps_right) {
        return None;
    }
    let mut both = Lifted {
        rows: Node::Unit,
        on: left.on.into_iter().chain(right.on).collect(),
        computed: left.computed.into_iter().chain(right.computed).collect(),
        unsorted: left.unsorted || right.unsorted,
        asked: false,
    };
    let (taken, kept) = on.map_or(Some((vec![], vec![])), |on| split(&both, on, outer))?;
    if !taken.is_empty() && kind != Join::Inner {
        return None;
    }
    both.on.extend(taken);
    both.rows = join(kind, left.rows, right.rows, kept);
    Some(both)
}

/// An equality of something outer and something inner.
pub struct Key {
    condition: Expr,
    outer: Expr,
    pub inner: Expr,
    is_outer_left: bool,
}

impl Key {
    /// The equality with a column that has the inner value.
    pub fn with(&self, column: ColumnId) -> Expr {
        let inner = make::column(column, self.inner.kind());
        match self.is_outer_left {
            true => between(&self.condition, self.outer.clone(), inner),
            false => between(&self.condition, inner, self.outer.clone()),
        }
    }
}

/// Conditions as keys, and those that name nothing of the columns `own`; `None` if there are others.
pub fn keys(on: &[Expr], own: &Names) -> Option<(Vec<Key>, Vec<Expr>)> {
    let (mut keys, mut guards) = (vec![], vec![]);
    for condition in on {
        if !names_any(condition, own) {
            guards.push(condition.clone());
            continue;
        }
        let (operator, left, right) = equality(condition)?;
        let (outer, inner, is_outer_left) = match (names_any(left, own), names_any(right, own)) {
            (false, true) => (left, right, true),
            (true, false) => (right, left, false),
            _ => return None,
        };
        if !make::is_of(inner, own) || !tells_apart(operator, inner) {
            return None;
        }
        let (condition, outer, inner) = (condition.clone(), outer.clone(), inner.clone());
        keys.push(Key { condition, outer, inner, is_outer_left });
    }
    Some((keys, guards))
}

/// Whether inner values that equal the same outer one are equal.
fn tells_apart(operator: &Operator, inner: &Expr) -> bool {
    const INTEGERS: [u32; 3] = [20, 21, 23];
    operator.left.is_some_and(|left| {
        left == operator.right || [left, operator.right].iter().all(|oid| INTEGERS.contains(&oid.0))
    }) && inner.kind().oid.element().is_none()
}

/// The groups of a subquery's rows, by what equals something outer beside their keys. Without keys of its own there is a group only
/// where there are rows.
pub fn grouped(
    below: Lifted,
    keys: &[(ColumnId, Expr)],
    aggregates: &[(ColumnId, Aggregate)],
    outer: &Names,
    numbers: &mut Numbers,
) -> Option<Lifted> {
    let own = walk::columns(&below.rows);
    let (found, guards) = self::keys(&below.on, &own)?;
    let of_order = |(_, call): &(ColumnId, Aggregate)| {
        call.order.is_empty() && ["array_agg", "string_agg"].contains(&call.function.name)
    };
    if below.unsorted && aggregates.iter().any(of_order) {
        return None;
    }
    // An error of rows that nobody asks for is nobody's.
    let may_fail = below.asked || below.on.is_empty();
    let inner = stand_ins(&found);
    let resolve = |expr: &Expr| {
        let mut expr = below.resolved(expr)?;
        replace(&mut expr, &inner);
        (!names_any(&expr, outer) && (may_fail || !can_fail(&expr))).then_some(expr)
    };
    if !may_fail && can_fail_below(&below.rows) {
        return None;
    }
    let mut keys = keys.iter().map(|(id, key)| Some((*id, resolve(key)?))).collect::<Option<Vec<_>>>()?;
    let mut calls = vec![];
    for (id, aggregate) in aggregates {
        let mut call = aggregate.clone();
        let Aggregate { arguments, filter, order, .. } = &mut call;
        for expr in arguments.iter_mut().chain(filter).chain(order.iter_mut().map(|order| &mut order.by)) {
            *expr = resolve(expr)?;
        }
        calls.push((*id, call));
    }
    let mut on = guards;
    for key in found {
        if !may_fail && can_fail(&key.inner) {
            return None;
        }
        let column = numbers.column();
        on.push(key.with(column));
        keys.push((column, key.inner));
    }
    let rows = Node::Group { input: Box::new(below.rows), keys, aggregates: calls, sets: None };
    Some(Lifted { on, ..Lifted::of(rows) })
}

/// Outer columns that an inner value equals, and is like in everything.
fn stand_ins(keys: &[Key]) -> BTreeMap<ColumnId, Expr> {
    let stand_in = |key: &Key| match &key.outer {
        Expr::Column { id, kind } if *kind == key.inner.kind() && !is_loose(*kind) => Some((*id, key.inner.clone())),
        _ => None,
    };
    keys.iter().filter_map(stand_in).collect()
}

/// What equals something outer tells rows apart as well: it is the same for all rows of one outer row.
fn distinct(below: Lifted, columns: &[(ColumnId, Kind)], numbers: &mut Numbers) -> Option<Lifted> {
    if columns.iter().any(|(id, _)| below.computed.contains_key(id)) {
        return None;
    }
    let (found, guards) = keys(&below.on, &walk::columns(&below.rows))?;
    let (mut on, mut columns, mut own) = (guards, columns.to_vec(), vec![]);
    for key in found {
        let column = numbers.column();
        on.push(key.with(column));
        columns.push((column, key.inner.kind()));
        own.push((column, key.inner));
    }
    let rows = Node::Distinct { input: Box::new(extend(below.rows, own)), columns };
    Some(Lifted { on, unsorted: below.unsorted, ..Lifted::of(rows) })
}
