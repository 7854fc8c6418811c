//! A query's clauses, in the order in which they mean something: WITH, the body, ORDER BY, OFFSET and LIMIT.

use super::Binder;
use super::order::{Fetch, Tail};
use super::position::{self, placed};
use super::rows::{Item, Nested, Rows};
use crate::bound::{Bound, Node, Query, Unbound, not_yet};
use crate::error::Error;
use crate::stack;
use datafusion::sql::sqlparser::ast::{self, LimitClause, Offset, OrderBy, OrderByKind, SetExpr};

/// Queries of a statement, those of WITH as often as they are read: a plan is as deep as they are nested.
const QUERIES: usize = 500;

impl Binder<'_> {
    /// A statement.
    pub fn whole(&mut self, query: &ast::Query) -> Bound<Query> {
        let Rows { node, items, .. } = self.nested(query)?.sorted();
        self.finished(node, items)
    }

    /// A statement that shows `items`, over the columns of `node`.
    pub fn finished(&mut self, node: Node, items: Vec<Item>) -> Bound<Query> {
        let (root, outputs) = self.outputs(node, items)?;
        Ok(Query { root, outputs, parameters: self.parameters.finish()?, columns: self.columns })
    }

    fn query(&mut self, query: &ast::Query) -> Bound<Rows> {
        self.queries += 1;
        if self.queries > QUERIES {
            return not_yet("so many queries");
        }
        let Clauses { with, body, tail } = Clauses::of(query)?;
        let common = self.common.len();
        if let Some(with) = with {
            self.with(with)?;
        }
        let rows = match body {
            SetExpr::SetOperation { .. } => self.combined(body, &tail)?,
            body => self.simple(body, &tail)?,
        };
        self.common.truncate(common);
        Ok(rows)
    }
}

impl Nested for Binder<'_> {
    fn nested(&mut self, query: &ast::Query) -> Bound<Rows> {
        stack::level(|| self.query(query))
    }
}

/// The clauses of a query, and of the one that it has in parentheses, if it has no other body: they are one.
pub struct Clauses<'q> {
    pub with: Option<&'q ast::With>,
    pub body: &'q SetExpr,
    pub tail: Tail<'q>,
}

impl<'q> Clauses<'q> {
    pub fn of(query: &'q ast::Query) -> Bound<Self> {
        let outer = Self::own(query)?;
        let SetExpr::Query(query) = outer.body else { return Ok(outer) };
        let inner = Self::of(query)?;
        let is_all = |fetch: &Fetch| matches!(fetch, Fetch::All);
        let once = |clause: &str, position| {
            let error = Error::syntax(format!("multiple {clause} clauses not allowed"));
            Err(Unbound::Wrong(placed(error, position)))
        };
        let (within, tail) = (inner.tail, outer.tail);
        if let (false, Some(first)) = (within.order.is_empty(), tail.order.first()) {
            return once("ORDER BY", position::of(&first.expr));
        }
        if within.skip.is_some() && tail.skip.is_some() {
            return once("OFFSET", None);
        }
        if !is_all(&within.fetch) && !is_all(&tail.fetch) {
            return once("LIMIT", None);
        }
        if let (Some(_), Some(with)) = (inner.with, outer.with) {
            return once("WITH", position::at(with.with_token.0.span));
        }
        let tail = Tail {
            order: if tail.order.is_empty() { within.order } else { tail.order },
            skip: tail.skip.or(within.skip),
            fetch: if is_all(&tail.fetch) { within.fetch } else { tail.fetch },
        };
        Ok(Self { with: outer.with.or(inner.with), body: inner.body, tail })
    }

    /// Of the query alone.
    fn own(query: &'q ast::Query) -> Bound<Self> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let others = [
            (!locks.is_empty(), "FOR UPDATE and FOR SHARE"),
            (for_clause.is_some(), "FOR XML and FOR JSON"),
            (settings.is_some(), "SETTINGS"),
            (format_clause.is_some(), "FORMAT"),
            (!pipe_operators.is_empty(), "pipes"),
        ];
        if let Some((_, what)) = others.iter().find(|(is_there, _)| *is_there) {
            return not_yet(*what);
        }
        let order = match order_by {
            None => &[],
            Some(OrderBy { kind: OrderByKind::Expressions(list), interpolate: None }) => list.as_slice(),
            Some(_) => return not_yet("this form of ORDER BY"),
        };
        let (skip, limit) = match limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (offset.as_ref().map(|Offset { value, rows: _ }| value), limit.as_ref())
            }
            Some(_) => return not_yet("this form of LIMIT"),
        };
        let fetch = match (limit, fetch) {
            (None, None) => Fetch::All,
            (Some(number), None) => Fetch::Number(number),
            (None, Some(ast::Fetch { with_ties: false, percent: false, quantity })) => {
                quantity.as_ref().map_or(Fetch::One, Fetch::Number)
            }
            (_, Some(_)) => return not_yet("this form of FETCH"),
        };
        Ok(Self { with: with.as_ref(), body, tail: Tail { order, skip, fetch } })
    }
}
