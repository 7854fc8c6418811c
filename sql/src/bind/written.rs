//! What a statement writes to a table: rows whose values are assigned to columns, by the casts that PostgreSQL allows there.

use super::Binder;
use super::expression::Place;
use super::order::{Fetch, Tail};
use super::position::{self, placed};
use super::query::Clauses;
use super::rows::{Item, Nested, Rows};
use super::scope::Scope;
use super::slots::{Slot, Slots, is_default};
use super::values::same_length;
use crate::bound::{Bound, Expr, Node, Query, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::casts::Context;
use crate::stop;
use datafusion::sql::sqlparser::ast::{self, SetExpr};

impl Binder<'_> {
    /// A SELECT each of whose columns is assigned to the slot at its place; those without one are as they are. Its list is `clause` to the
    /// user.
    pub fn written(&mut self, query: &ast::Query, clause: &'static str, slots: &[Option<Slot>]) -> Bound<Query> {
        self.list = Some(clause);
        let Rows { node, mut items, .. } = self.nested(query)?.sorted();
        for (item, slot) in items.iter_mut().zip(slots) {
            if let Some(slot) = slot {
                item.value = self.assigned(item.value.clone(), slot, item.position)?;
            }
        }
        self.finished(node, items)
    }

    /// Whole rows of the table: of an INSERT's `source`, or of DEFAULT VALUES. What is not given is NULL.
    pub fn inserted(&mut self, source: Option<&ast::Query>, slots: &Slots) -> Bound<Query> {
        let (node, given) = match source {
            None => (Node::Unit, vec![]),
            Some(source) => match values(source)? {
                Some(rows) => self.inserted_values(&rows, slots)?,
                None => {
                    let Rows { node, mut items, .. } = self.nested(source)?.sorted();
                    slots.check(&items.iter().map(|item| item.position).collect::<Vec<_>>())?;
                    for (item, slot) in items.iter_mut().zip(slots.given()) {
                        item.value = self.assigned(item.value.clone(), slot, item.position)?;
                    }
                    (node, items.into_iter().map(|item| item.value).collect())
                }
            },
        };
        let mut items: Vec<Item> = slots.table.iter().map(missing).collect();
        for (place, value) in slots.given.iter().zip(given) {
            items[*place].value = value;
        }
        self.finished(node, items)
    }

    /// Values of VALUES, each assigned where it stands: what they are together does not count.
    fn inserted_values(&mut self, rows: &[&[ast::Expr]], slots: &Slots) -> Bound<(Node, Vec<Expr>)> {
        let scope = Scope { around: self.around.clone(), ..Scope::default() };
        let width = rows.first().map_or(0, |row| row.len());
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            stop::check()?;
            same_length(row, width)?;
            let mut place = Place { scope: &scope, clause: "VALUES", groups: None };
            let values = row.iter().map(|expr| match is_default(expr) {
                true => Ok(None),
                false => self.expression(expr, &mut place).map(Some),
            });
            bound.push(values.collect::<Bound<Vec<_>>>()?);
        }
        slots.check(&rows.first().map_or(vec![], |row| row.iter().map(position::of).collect()))?;
        let mut assigned = Vec::with_capacity(rows.len());
        for (row, values) in rows.iter().zip(bound) {
            let values = values.into_iter().zip(*row).zip(slots.given());
            let values = values.map(|((value, expr), slot)| match value {
                None => Ok(Expr::Constant { value: None, kind: slot.assigned() }),
                Some(value) => self.assigned(value, slot, position::of(expr)),
            });
            assigned.push(values.collect::<Bound<Vec<_>>>()?);
        }
        let columns: Vec<_> = slots.given().take(width).map(|slot| (self.column(), slot.assigned())).collect();
        let values = columns.iter().map(|(id, kind)| Expr::Column { id: *id, kind: *kind }).collect();
        Ok((Node::Values { columns, rows: assigned }, values))
    }

    /// 42804 if PostgreSQL assigns no such value.
    fn assigned(&mut self, value: Expr, slot: &Slot, position: Option<usize>) -> Bound<Expr> {
        let from = value.kind();
        match self.converted(value, slot.assigned(), Context::Assignment)? {
            Some(value) => Ok(value),
            None => {
                let Slot { name, kind } = slot;
                let text = format!("column \"{name}\" is of type {kind} but expression is of type {from}");
                let error = Error::new("42804", text).hint("You will need to rewrite or cast the expression.");
                Err(Unbound::Wrong(placed(error, position)))
            }
        }
    }
}

fn missing(slot: &Slot) -> Item {
    let value = Expr::Constant { value: None, kind: slot.assigned() };
    Item { name: slot.name.clone(), value, position: None }
}

/// The rows of a query that is VALUES and nothing else.
fn values(query: &ast::Query) -> Bound<Option<Vec<&[ast::Expr]>>> {
    let Clauses { with, body, tail: Tail { order, skip, fetch } } = Clauses::of(query)?;
    let SetExpr::Values(ast::Values { explicit_row, value_keyword, rows }) = body else { return Ok(None) };
    if with.is_some() || !order.is_empty() || skip.is_some() || !matches!(fetch, Fetch::All) {
        return Ok(None);
    }
    match *explicit_row || *value_keyword {
        true => not_yet("this form of VALUES"),
        false => Ok(Some(rows.iter().map(|row| row.content.as_slice()).collect())),
    }
}
