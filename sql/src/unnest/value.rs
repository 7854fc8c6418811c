//! A subquery in an expression as a value: what has to be joined with the node's input, and what stands in the subquery's place then.

use super::domain::{keeps_one, order_of};
use super::lift::{Lifted, grouped, keys, resolved};
use super::make::{self, Numbers, all, column, compared, is, not, number, truth, when};
use super::source::{Pairs, Single, Source};
use super::walk::{self, Names, names_any};
use super::{known, risk};
use crate::bound::{Bound, ColumnId, Expr, Form, How, Kind, Node, Order, Subquery, Test, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::operators;
use crate::{session, stack};
use std::collections::BTreeMap;

/// The value of `subquery` for a row of `source`. Nothing in its comparison is a subquery.
pub fn value(subquery: Subquery, source: &mut Source, numbers: &mut Numbers) -> Bound<Expr> {
    let Subquery { form, rows, columns, kind } = subquery;
    let shown = columns.first().map(|(id, kind)| column(*id, *kind));
    let shown = || match &shown {
        Some(shown) => Ok(shown.clone()),
        None => not_yet("a subquery without columns"),
    };
    if let Some(single) = source.single(&rows, numbers)? {
        return of_single(form, single, shown, kind);
    }
    match form {
        Form::Exists => exists(&rows, source, numbers),
        Form::Any(comparison) => {
            let pairs = source.pairs(&rows, numbers)?;
            Match::new(comparison, pairs)?.value(source, numbers)
        }
        Form::All(comparison) => {
            let pairs = source.pairs(&rows, numbers)?;
            Ok(not(Match::new(negated(comparison), pairs)?.value(source, numbers)?))
        }
        Form::Scalar => scalar(&rows, shown()?, source, numbers),
        Form::Array => array(&rows, shown()?, kind, source, numbers),
    }
}

/// Of the one row that there is, if there is one.
fn of_single(form: Form, single: Single, shown: impl Fn() -> Bound<Expr>, kind: Kind) -> Bound<Expr> {
    let Single { when: conditions, computed } = single;
    let inside = |expr: &Expr| match resolved(expr, &computed) {
        Some(expr) => Ok(expr),
        None => not_yet("such an expression in a subquery"),
    };
    let (there, missing) = match form {
        Form::Exists => return Ok(all(conditions).map_or_else(|| truth(true), |all| is(all, Test::True, false))),
        Form::Scalar => (inside(&shown()?)?, None),
        Form::Any(comparison) => (inside(&comparison)?, Some(truth(false))),
        Form::All(comparison) => (inside(&comparison)?, Some(truth(true))),
        Form::Array => (Expr::Array { elements: vec![inside(&shown()?)?], kind }, Some(nothing(kind))),
    };
    Ok(match all(conditions) {
        Some(condition) => when(condition, there, missing),
        None => there,
    })
}

/// An array without elements.
fn nothing(kind: Kind) -> Expr {
    Expr::Constant { value: Some("{}".into()), kind }
}

/// EXISTS, which is never NULL.
pub fn exists(rows: &Node, source: &mut Source, numbers: &mut Numbers) -> Bound<Expr> {
    let pairs = source.pairs(some(rows), numbers)?;
    let own = walk::columns(&pairs.rows);
    let (guards, conditions): (Vec<Expr>, Vec<Expr>) = pairs.on.iter().cloned().partition(|on| !names_any(on, &own));
    if !conditions.is_empty() {
        return Ok(source.mark(pairs.rows, pairs.on, numbers));
    }
    // Whatever row there is, it is there for all.
    let count = counted(Pairs { on: vec![], ..pairs }, vec![], source, numbers)?;
    let mut found: Vec<Expr> = all(guards).map(|guard| is(guard, Test::True, false)).into_iter().collect();
    found.push(compared(count[0].clone(), ">", number("0"))?);
    Ok(all(found).unwrap_or_else(|| truth(true)))
}

/// What has rows exactly where `rows` has.
pub fn some(rows: &Node) -> &Node {
    match rows {
        Node::Sort { input, .. }
        | Node::Extend { input, .. }
        | Node::Window { input, .. }
        | Node::Distinct { input, .. }
        | Node::DistinctOn { input, .. } => some(input),
        Node::Limit { input, skip, fetch } if keeps_one(skip.as_ref(), fetch.as_ref()) => some(input),
        _ => rows,
    }
}

/// How many pairs there are with a row of the source, and in how many of them each of `values` is not NULL.
fn counted(pairs: Pairs, values: Vec<Expr>, source: &mut Source, numbers: &mut Numbers) -> Bound<Vec<Expr>> {
    let (mut aggregates, mut counts) = (vec![], vec![]);
    for value in std::iter::once(None).chain(values.into_iter().map(Some)) {
        let id = numbers.column();
        aggregates.push((id, make::aggregate("count", value, make::INT8, vec![])?));
        counts.push(column(id, make::INT8));
    }
    match grouped(pairs.lifted(), &[], &aggregates, &Names::new(), numbers) {
        Some(Lifted { rows, on, .. }) => source.join_groups(rows, on, numbers)?,
        None => return not_yet("counting rows of such a subquery"),
    }
    Ok(counts)
}

/// What is true where `comparison` is false, and NULL where it is NULL.
pub fn negated(comparison: Expr) -> Expr {
    match comparison {
        Expr::Not(inner) => *inner,
        Expr::And(parts) => Expr::Or(stack::level(|| parts.into_iter().map(negated).collect())),
        Expr::Or(parts) => Expr::And(stack::level(|| parts.into_iter().map(negated).collect())),
        Expr::Operation { operator, operands, kind } => {
            let negator = operator.negator.and_then(|oid| operators::all().iter().find(|other| other.oid == oid));
            match negator {
                Some(operator) => Expr::Operation { operator, operands, kind },
                None => not(Expr::Operation { operator, operands, kind }),
            }
        }
        other => not(other),
    }
}

/// Whether a comparison is true of some pair.
pub struct Match {
    comparison: Expr,
    pairs: Pairs,
}

impl Match {
    pub fn new(comparison: Expr, pairs: Pairs) -> Bound<Self> {
        match resolved(&comparison, &pairs.computed) {
            Some(comparison) => Ok(Self { comparison, pairs }),
            None => not_yet("such an expression in a subquery"),
        }
    }

    /// The rows, and conditions which are true of a pair that `comparison` is true of.
    pub fn found(self) -> (Node, Vec<Expr>) {
        let Pairs { rows, mut on, .. } = self.pairs;
        on.extend(make::conjuncts(self.comparison));
        (rows, on)
    }

    /// The rows, and conditions which are true of a pair of which it is not false.
    pub fn open(self) -> (Node, Vec<Expr>) {
        let Pairs { rows, mut on, .. } = self.pairs;
        on.push(is(self.comparison, Test::False, true));
        (rows, on)
    }

    /// Whether it is never NULL.
    pub fn is_known(&self, source: &Source) -> bool {
        let own = walk::columns(&self.pairs.rows);
        let is_known = |expr: &Expr| match names_any(expr, &own) {
            true => known::is_known(expr, &self.pairs.rows),
            false => known::is_known(expr, source.base()),
        };
        let compares = |part: &Expr| match part {
            Expr::Operation { operator, operands, .. } => {
                matches!(operator.name, "=" | "<>" | "<" | "<=" | ">" | ">=") && operands.iter().all(is_known)
            }
            part => is_known(part),
        };
        match &self.comparison {
            Expr::And(parts) | Expr::Or(parts) => parts.iter().all(compares),
            one => compares(one),
        }
    }

    /// If it is one equality of something outer and something inner, and pairs are found by keys: how many pairs there are and in how many
    /// the inner value is not NULL, and what the outer value is. These are counted of a copy of the rows.
    pub fn counts(&self, source: &mut Source, numbers: &mut Numbers) -> Bound<Option<Counts>> {
        let own = walk::columns(&self.pairs.rows);
        let Some((_, left, right)) = make::equality(&self.comparison) else { return Ok(None) };
        let (outer, inner) = match (names_any(left, &own), names_any(right, &own)) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => return Ok(None),
        };
        let can = walk::names(inner).is_subset(&own) && risk::is_repeatable(&self.pairs.rows);
        let is_free = self.pairs.on.is_empty() || self.pairs.asked;
        let is_safe = is_free || !risk::can_fail(inner) && !risk::can_fail_below(&self.pairs.rows);
        if !can || !is_safe || keys(&self.pairs.on, &own).is_none() {
            return Ok(None);
        }
        let outer = outer.clone();
        let (rows, renamed) = numbers.copy(&self.pairs.rows)?;
        let (mut on, mut inner) = (self.pairs.on.clone(), inner.clone());
        on.iter_mut().chain([&mut inner]).for_each(|expr| walk::renumber_names(expr, &renamed));
        let pairs = Pairs { rows, on, ..self.pairs.clone() };
        match <[Expr; 2]>::try_from(counted(pairs, vec![inner], source, numbers)?) {
            Ok([rows, values]) => Ok(Some(Counts { outer, rows, values })),
            Err(_) => Err(Unbound::Wrong(Error::internal("two things were counted"))),
        }
    }

    /// The same over a copy of the rows.
    fn copied(&self, numbers: &mut Numbers) -> Bound<Self> {
        if !risk::is_repeatable(&self.pairs.rows) {
            return not_yet("a comparison with rows that are chosen by chance");
        }
        let (rows, renamed) = numbers.copy(&self.pairs.rows)?;
        let (mut on, mut comparison) = (self.pairs.on.clone(), self.comparison.clone());
        on.iter_mut().chain([&mut comparison]).for_each(|expr| walk::renumber_names(expr, &renamed));
        Ok(Self { comparison, pairs: Pairs { rows, on, computed: BTreeMap::new(), asked: self.pairs.asked } })
    }

    fn value(self, source: &mut Source, numbers: &mut Numbers) -> Bound<Expr> {
        let is_known = self.is_known(source);
        let unknown = match is_known {
            true => None,
            false => Some(match self.counts(source, numbers)? {
                Some(counts) => counts.leave_open()?,
                None => {
                    let Self { comparison, pairs: Pairs { rows, mut on, .. } } = self.copied(numbers)?;
                    on.push(is(comparison, Test::Unknown, false));
                    source.mark(rows, on, numbers)
                }
            }),
        };
        let (rows, on) = self.found();
        let found = source.mark(rows, on, numbers);
        Ok(match unknown {
            None => found,
            Some(unknown) => {
                let open = Expr::And(vec![unknown, make::null(found.kind())]);
                Expr::Or(vec![found, open])
            }
        })
    }
}

/// Of the pairs of a row with those of a subquery.
pub struct Counts {
    outer: Expr,
    rows: Expr,
    values: Expr,
}

impl Counts {
    /// Whether an equality that is true of no pair is NULL of some.
    pub fn leave_open(&self) -> Bound<Expr> {
        let some = compared(self.rows.clone(), ">", number("0"))?;
        let is_null = is(self.outer.clone(), Test::Null, false);
        let has_null = compared(self.rows.clone(), "<>", self.values.clone())?;
        Ok(Expr::And(vec![some, Expr::Or(vec![is_null, has_null])]))
    }
}

/// The value of the only row.
fn scalar(rows: &Node, shown: Expr, source: &mut Source, numbers: &mut Numbers) -> Bound<Expr> {
    let lifted = source.pairs(rows, numbers)?;
    match only(lifted, &shown, source, numbers)? {
        Some(value) => Ok(value),
        None => {
            let dependent = source.dependent(rows, numbers)?;
            match only(dependent, &shown, source, numbers)? {
                Some(value) => Ok(value),
                None => not_yet("such a subquery as a value"),
            }
        }
    }
}

/// From one value each of the columns that it is computed of, which there is in a single row; `None` if pairs are not found by keys.
fn only(pairs: Pairs, shown: &Expr, source: &mut Source, numbers: &mut Numbers) -> Bound<Option<Expr>> {
    let Some(shown) = resolved(shown, &pairs.computed) else { return Ok(None) };
    let (own, mut named) = (walk::columns(&pairs.rows), BTreeMap::new());
    walk::add_named(&shown, &mut named);
    let rows = numbers.column();
    let mut aggregates = vec![(rows, make::aggregate("count", None, make::INT8, vec![])?)];
    let mut values = BTreeMap::new();
    for (id, kind) in named.into_iter().filter(|(id, _)| own.contains(id)) {
        let (aggregate, value) = one_of(id, kind, numbers)?;
        aggregates.push(aggregate);
        values.insert(id, value);
    }
    let Some(Lifted { rows: groups, on, .. }) = grouped(pairs.lifted(), &[], &aggregates, &Names::new(), numbers)
    else {
        return Ok(None);
    };
    source.join_groups(groups, on, numbers)?;
    let rows = column(rows, make::INT8);
    let mut value = shown.clone();
    walk::replace(&mut value, &values);
    // An aggregate of no rows is NULL by itself, all else would have a value there.
    if !matches!(&shown, Expr::Column { id, .. } if values.contains_key(id)) {
        value = when(compared(rows.clone(), ">", number("0"))?, value, None);
    }
    Ok(Some(Expr::Only { rows: Box::new(rows), value: Box::new(value) }))
}

type Call = (ColumnId, crate::bound::Aggregate);

/// An aggregate that gives the value of a column of which there is one, and that value. What has no order is compared as text.
fn one_of(id: ColumnId, kind: Kind, numbers: &mut Numbers) -> Bound<(Call, Expr)> {
    let own = numbers.column();
    let Some(held) = kind.held() else { return not_yet(format!("a subquery's value of type {kind}")) };
    if session::has_extremes(&held, "min").is_ok() {
        return Ok(((own, make::aggregate("min", Some(column(id, kind)), kind, vec![])?), column(own, kind)));
    }
    let text = make::cast(column(id, kind), Kind::TEXT, How::Explicit);
    let least = make::aggregate("min", Some(text), Kind::TEXT, vec![])?;
    Ok(((own, least), make::cast(column(own, Kind::TEXT), kind, How::Explicit)))
}

/// ARRAY of all values.
fn array(rows: &Node, shown: Expr, kind: Kind, source: &mut Source, numbers: &mut Numbers) -> Bound<Expr> {
    let order = order_of(rows);
    let lifted = source.pairs(rows, numbers)?;
    if let Some(value) = collected(lifted, &shown, &order, kind, source, numbers)? {
        return Ok(value);
    }
    let dependent = source.dependent(rows, numbers)?;
    match collected(dependent, &shown, &order, kind, source, numbers)? {
        Some(value) => Ok(value),
        None => not_yet("ARRAY of such a subquery"),
    }
}

fn collected(
    pairs: Pairs,
    shown: &Expr,
    order: &[Order],
    kind: Kind,
    source: &mut Source,
    numbers: &mut Numbers,
) -> Bound<Option<Expr>> {
    let id = numbers.column();
    let aggregates = [(id, make::aggregate("array_agg", Some(shown.clone()), kind, order.to_vec())?)];
    let outer: Names = walk::columns(source.base());
    let Some(Lifted { rows: groups, on, .. }) = grouped(pairs.lifted(), &[], &aggregates, &outer, numbers) else {
        return Ok(None);
    };
    source.join_groups(groups, on, numbers)?;
    Ok(Some(make::coalesce(column(id, kind), nothing(kind))))
}
