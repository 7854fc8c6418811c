//! UNION, INTERSECT and EXCEPT.

use super::Binder;
use super::entry::Entry;
use super::expression::Place;
use super::group::Groups;
use super::order::{By, Tail};
use super::position::{located, placed};
use super::rows::{Item, Nested, Rows};
use super::scope::{Column, Named, Scope};
use super::targets::Target;
use crate::bound::{Bound, ColumnId, Expr, Kind, Node, Set, Unbound, not_yet};
use crate::error::Error;
use crate::stack;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, SetOperator, SetQuantifier};
use std::rc::Rc;

impl Binder<'_> {
    /// A body of which other ones are parts; `tail` stands after all of them.
    pub fn combined(&mut self, body: &SetExpr, tail: &Tail) -> Bound<Rows> {
        let outside = self.around.clone();
        let Rows { node, items, .. } = self.combination(body, &mut 0)?;
        let around = std::mem::replace(&mut self.around, outside);
        let column = |item: &Item| Column { name: item.name.clone(), value: item.value.clone() };
        let columns = items.iter().map(column).collect();
        let shown = Named { name: None, is_plain: false, is_shown: true, columns };
        let scope = Scope { relations: vec![shown], around, ..self.nothing() };
        let target = |Item { name, value, position }| Target { name, value, syntax: None, position, is_shown: true };
        let mut targets: Vec<Target> = items.into_iter().map(target).collect();
        let count = targets.len();
        let mut groups = Groups::default();
        let mut place = Place { scope: &scope, clause: "ORDER BY", groups: Some(&mut groups) };
        let by = self.sort_by(tail.order, &mut targets, &mut place)?;
        if let Some(other) = targets.get(count) {
            let error = Error::new("0A000", "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                .detail("Only result column names can be used, not expressions or functions.")
                .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.");
            return Err(Unbound::Wrong(placed(error, other.position)));
        }
        let limit = self.limit(tail, &self.nothing())?;
        let order = by.iter().map(|by: &By| by.order(&targets)).collect();
        let items = targets.into_iter().filter_map(Target::item).collect();
        Ok(Rows { node, items, order, is_sorted: false }.limited(limit))
    }

    /// `parts` are how many there have been.
    fn combination(&mut self, body: &SetExpr, parts: &mut usize) -> Bound<Rows> {
        match bare(body) {
            body @ SetExpr::SetOperation { .. } => stack::level(|| self.pair(body, parts)),
            part => self.part(part, parts),
        }
    }

    fn pair(&mut self, body: &SetExpr, parts: &mut usize) -> Bound<Rows> {
        let SetExpr::SetOperation { left, op, set_quantifier, right } = body else { return self.part(body, parts) };
        let (set, word) = match op {
            SetOperator::Union => (Set::Union, "UNION"),
            SetOperator::Intersect => (Set::Intersect, "INTERSECT"),
            SetOperator::Except => (Set::Except, "EXCEPT"),
            SetOperator::Minus => return not_yet("MINUS"),
        };
        let all = match set_quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
                return not_yet("BY NAME");
            }
        };
        let (left, right) = (self.combination(left, parts)?, self.combination(right, parts)?);
        if left.items.len() != right.items.len() {
            let error = Error::syntax(format!("each {word} query must have the same number of columns"));
            return Err(Unbound::Wrong(placed(error, right.items.iter().find_map(|item| item.position))));
        }
        let mut items = vec![];
        let mut columns = vec![];
        let (mut left_values, mut right_values) = (vec![], vec![]);
        for (left, right) in left.items.into_iter().zip(right.items) {
            let ([left_value, right_value], kind, position) = self.unified(&left, &right, word)?;
            if set != Set::Union || !all {
                self.groupable(kind).map_err(|why| located(why, position))?;
            }
            let id = self.column();
            columns.push((id, kind));
            left_values.push(left_value);
            right_values.push(right_value);
            items.push(Item { name: left.name, value: Expr::Column { id, kind }, position });
        }
        let left = self.side(left.node, left_values);
        let right = self.side(right.node, right_values);
        let node = Node::Combine { set, all, left, right, columns };
        Ok(Rows { node, items, order: vec![], is_sorted: false })
    }

    /// Two columns as one type, and where errors say that the column is.
    fn unified(&mut self, left: &Item, right: &Item, word: &str) -> Bound<([Expr; 2], Kind, Option<usize>)> {
        let (of_left, of_right) = (left.value.kind().oid, right.value.kind().oid);
        let values = [left, right].map(|item| (item.value.clone(), item.position));
        let (values, kind) = self.alike(values.into(), word, |_| word)?;
        let is_left = of_left == kind.oid || of_right != kind.oid;
        let position = if is_left { left.position } else { right.position };
        let values = <[Expr; 2]>::try_from(values).expect("as many values come back as were given");
        Ok((values, kind, position))
    }

    fn side(&mut self, node: Node, mut values: Vec<Expr>) -> (Box<Node>, Vec<ColumnId>) {
        let node = self.extended(node, &mut values);
        let column = |value: &Expr| match value {
            Expr::Column { id, .. } => *id,
            other => unreachable!("no column was made of {other:?}"),
        };
        (Box::new(node), values.iter().map(column).collect())
    }

    /// One that has no parts, or clauses of its own.
    fn part(&mut self, body: &SetExpr, parts: &mut usize) -> Bound<Rows> {
        let rows = match body {
            SetExpr::Query(query) => self.nested(query),
            body => self.simple(body, &Tail::default()),
        }?;
        *parts += 1;
        // PostgreSQL's own name for it, which errors of later parts say.
        let name = format!("*SELECT* {parts}");
        let columns = rows.items.iter().map(|item| (item.name.clone(), None)).collect();
        self.around.insert(0, Rc::new(Entry { name, relation: None, columns, is_around: false, key: vec![] }));
        Ok(rows)
    }
}

/// Without parentheses that have nothing else in them.
fn bare(body: &SetExpr) -> &SetExpr {
    let SetExpr::Query(query) = body else { return body };
    match query.as_ref() {
        Query {
            with: None,
            body,
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } if locks.is_empty() && pipe_operators.is_empty() => bare(body),
        _ => body,
    }
}
