//! The aggregates and window functions of a SELECT, and what may be said of its groups.

use super::occurrence;
use super::position::placed;
use super::scope::Scope;
use crate::bound::{Aggregate, Bound, ColumnId, Expr, Kind, Node, Unbound, Window, not_yet};
use crate::error::Error;
use crate::postgres::functions::Volatility;
use datafusion::sql::sqlparser::ast;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

/// The aggregates and window functions of one SELECT, each with the column that it is to those who name it.
#[derive(Debug, Default)]
pub struct Groups {
    pub aggregates: Vec<(ColumnId, Aggregate)>,
    pub windows: Vec<Call>,
    /// Windows that have names, and the places of those that somebody uses.
    pub named: Rc<[ast::NamedWindowDefinition]>,
    pub used: BTreeSet<usize>,
}

/// A call of a window function.
#[derive(Debug)]
pub struct Call {
    pub id: ColumnId,
    pub window: Window,
    /// How each of [`Window::parts`] is written.
    pub syntax: Vec<ast::Expr>,
}

impl Groups {
    /// The column of `aggregate`: of an equal one, if it is there already, else `fresh`.
    pub fn add(&mut self, aggregate: Aggregate, fresh: ColumnId) -> ColumnId {
        let is_volatile = aggregate.expressions().any(|expr| expr.any(&volatile));
        let equal = self.aggregates.iter().find(|(_, other)| *other == aggregate && !is_volatile);
        if let Some((column, _)) = equal {
            return *column;
        }
        self.aggregates.push((fresh, aggregate));
        fresh
    }

    /// The column of a window function's call: of an equal one, if it is there already.
    pub fn over(&mut self, call: Call) -> ColumnId {
        if let Some(equal) = self.windows.iter().find(|other| other.window == call.window) {
            return equal.id;
        }
        let id = call.id;
        self.windows.push(call);
        id
    }

    /// Whether an aggregate stands in `value`, or in a window function there.
    pub fn are_in(&self, value: &Expr) -> bool {
        let is_aggregate = |part: &Expr| matches!(part, Expr::Column { id, .. } if self.has(*id));
        value.any(&|part| {
            is_aggregate(part)
                || self.window(part).is_some_and(|call| call.window.parts().any(|part| part.any(&is_aggregate)))
        })
    }

    /// Whether a window function stands in `value`.
    pub fn windows_are_in(&self, value: &Expr) -> bool {
        value.any(&|part| self.window(part).is_some())
    }

    fn window(&self, column: &Expr) -> Option<&Call> {
        self.windows.iter().find(|call| matches!(column, Expr::Column { id, .. } if *id == call.id))
    }

    fn has(&self, id: ColumnId) -> bool {
        self.aggregates.iter().any(|(column, _)| *column == id)
    }
}

/// Whether it gives another value each time, leaving out what it is made of.
pub fn volatile(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { function, .. } if function.volatility == Volatility::Volatile)
}

/// What is known of each group: its keys and its aggregates.
pub struct Grouped<'a> {
    pub keys: Vec<(ColumnId, Expr)>,
    pub sets: Option<Vec<Vec<usize>>>,
    pub groups: Groups,
    pub scope: &'a Scope,
    /// The columns of what is grouped.
    pub columns: HashSet<ColumnId>,
}

/// A column that is no group's.
pub struct Ungrouped {
    pub id: ColumnId,
    pub kind: Kind,
    /// A subquery names it.
    pub is_within: bool,
}

impl Grouped<'_> {
    /// The first such column in `value`.
    pub fn ungrouped(&self, value: &Expr) -> Option<Ungrouped> {
        match value {
            _ if self.key(value).is_some() => None,
            Expr::Column { id, kind } => {
                let is_ungrouped = self.columns.contains(id) && !self.groups.has(*id);
                is_ungrouped.then_some(Ungrouped { id: *id, kind: *kind, is_within: false })
            }
            _ => {
                let mut found = value.children().into_iter().find_map(|child| self.ungrouped(child));
                if let (None, Expr::Subquery(subquery)) = (&found, value) {
                    found = self.within(&subquery.rows).into_iter().next();
                }
                found
            }
        }
    }

    /// Those in the rows of a subquery: there nothing but columns are keys.
    fn within(&self, rows: &Node) -> Vec<Ungrouped> {
        let mut found = vec![];
        rows.each(&mut |part| {
            if let Expr::Column { id, kind } = part
                && self.columns.contains(id)
                && self.key(part).is_none()
            {
                found.push(Ungrouped { id: *id, kind: *kind, is_within: true });
            }
        });
        found
    }

    /// Whether subqueries in `value` name several such columns that no key of a relation tells.
    fn has_several_within(&self, value: &Expr) -> Bound<bool> {
        let mut found = vec![];
        value.each(&mut |part| {
            if let Expr::Subquery(subquery) = part {
                found.extend(self.within(&subquery.rows).into_iter().map(|column| column.id));
            }
        });
        found.sort_unstable();
        found.dedup();
        let mut wrong = 0;
        for id in found {
            wrong += usize::from(!self.depends(id)?);
        }
        Ok(wrong > 1)
    }

    /// 42803 of a column that subqueries in `value` name, at `position`. NotYet if there are several, or if it is not wrong for PostgreSQL:
    /// for it subqueries that say the same are equal.
    pub fn wrong_within(&self, id: ColumnId, value: &Expr, position: Option<usize>) -> Unbound {
        match self.has_several_within(value) {
            Ok(false) => {}
            Ok(true) => return Unbound::NotYet("several ungrouped columns in a subquery".into()),
            Err(why) => return why,
        }
        match self.scope.name_of(id) {
            Some(name) => {
                let text = format!("subquery uses ungrouped column \"{name}\" from outer query");
                Unbound::Wrong(placed(Error::new("42803", text), position))
            }
            None => Unbound::NotYet("a column that FROM does not tell of".into()),
        }
    }

    /// Whether PostgreSQL may take a part of `value` for a key that is none here: a subquery is equal to itself alone.
    pub fn may_be_key(&self, value: &Expr) -> bool {
        value.has_subquery() && self.keys.iter().any(|(_, key)| key.has_subquery())
    }

    /// Whether a relation's column has one value in each group, since the relation's key does.
    pub fn depends(&self, id: ColumnId) -> Bound<bool> {
        let Some(entry) =
            self.scope.entries.iter().find(|entry| entry.columns.iter().any(|(_, column)| *column == Some(id)))
        else {
            return not_yet("a column that FROM does not tell of");
        };
        let is_key = |id: &ColumnId| {
            let place = self.keys.iter().position(|(_, key)| matches!(key, Expr::Column { id: key, .. } if key == id));
            place.is_some_and(|place| self.sets.iter().flatten().all(|set| set.contains(&place)))
        };
        Ok(!entry.key.is_empty() && entry.key.iter().all(is_key))
    }

    /// One more key, of every grouping set.
    pub fn add(&mut self, id: ColumnId, key: Expr) {
        self.sets.iter_mut().flatten().for_each(|set| set.push(self.keys.len()));
        self.keys.push((id, key));
    }

    /// 42803 of a column in `value`, which `syntax` says.
    pub fn wrong(&self, id: ColumnId, value: &Expr, syntax: Option<&ast::Expr>, position: Option<usize>) -> Unbound {
        let Some(name) = self.scope.name_of(id) else {
            return Unbound::NotYet("a column that FROM does not tell of".into());
        };
        let text = format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
        let mut before = 0;
        self.reached(id, value, &mut before);
        let position = match syntax {
            Some(syntax) => occurrence::of_column(syntax, self.scope, id, before, value),
            None => position,
        };
        Unbound::Wrong(placed(Error::new("42803", text), position))
    }

    /// Whether the first ungrouped place of the column is in `value`; `before` counts its places before that.
    fn reached(&self, id: ColumnId, value: &Expr, before: &mut usize) -> bool {
        match value {
            _ if self.key(value).is_some() => {
                *before += occurrence::count(value, id);
                false
            }
            Expr::Column { id: column, .. } => *column == id,
            _ => value.children().into_iter().any(|child| self.reached(id, child, before)),
        }
    }

    /// `value` over what is known of a group.
    pub fn replace(&self, value: &mut Expr) {
        if let Some(id) = self.key(value) {
            *value = Expr::Column { id, kind: value.kind() };
            return;
        }
        if let Expr::Subquery(subquery) = value {
            subquery.rows.each_mut(&mut |part| {
                if let (Expr::Column { .. }, Some(key)) = (&*part, self.key(part)) {
                    *part = Expr::Column { id: key, kind: part.kind() };
                }
            });
        }
        value.children_mut().into_iter().for_each(|child| self.replace(child));
    }

    /// The column of the key that `value` is.
    fn key(&self, value: &Expr) -> Option<ColumnId> {
        self.keys.iter().find(|(_, key)| key == value).map(|(id, _)| *id)
    }
}
