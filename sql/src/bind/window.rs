//! Calls with OVER: window functions, and aggregates over windows; WINDOW.

use super::call::{AGGREGATE, Chosen, Written};
use super::conditional::Form;
use super::expression::{Place, Windowed};
use super::group::{Call, Groups, volatile};
use super::position::{self, located, placed};
use super::scope::Scope;
use super::{Binder, frame};
use crate::bound::{Bound, Expr, Frame, Node, Order, Unbound, Window, not_yet};
use crate::error::Error;
use crate::session::names::folded;
use crate::stack;
use datafusion::sql::sqlparser::ast::{
    self, Ident, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, OrderByOptions, WindowSpec, WindowType,
};

/// The clauses that window functions may stand in.
const CLAUSES: [&str; 3] = ["SELECT", "ORDER BY", "DISTINCT ON"];
/// The clause that a window function's arguments stand in, and the one of what a window is made of.
const CALL: &str = "window";
const DEFINITION: &str = "window definitions";

/// What a window is made of, and how that is written.
struct Definition {
    partition: Vec<(Expr, ast::Expr)>,
    order: Vec<(Order, ast::Expr)>,
    /// Nothing is written.
    frame: Option<Frame>,
}

impl Windowed for Binder<'_> {
    fn windowed(&mut self, written: &Written, over: &WindowType, place: &mut Place) -> Bound<Expr> {
        if Form::named(written).is_some() {
            return not_yet(format!("{} OVER", written.name));
        }
        let is_allowed = place.groups.is_some() && CLAUSES.contains(&place.clause);
        let clause = if is_allowed { CALL } else { place.clause };
        let mut inside = Place { scope: place.scope, clause, groups: place.groups.as_deref_mut() };
        let arguments = written.arguments.iter().map(|argument| self.expression(argument, &mut inside));
        let arguments = arguments.collect::<Bound<_>>()?;
        let mut inside = Place { scope: place.scope, clause: "FILTER", groups: None };
        let filter = written.filter.map(|filter| self.condition(filter, &mut inside)).transpose()?;
        let Chosen { function, arguments, kind } = self.over(written, arguments)?;
        let Some(groups) = place.groups.as_deref_mut().filter(|_| is_allowed) else {
            return Err(misplaced(written, place.clause));
        };
        let Definition { partition, order, frame } = match over {
            WindowType::NamedWindow(name) => {
                let at = found(&groups.named, name, position::of_word(name))?;
                self.named_window(at, place.scope, groups)?
            }
            WindowType::WindowSpec(spec) => self.definition(spec, None, place.scope, groups)?,
        };
        let mut syntax: Vec<ast::Expr> = written.arguments.iter().copied().chain(written.filter).cloned().collect();
        let (partition, of_partition): (Vec<_>, Vec<_>) = partition.into_iter().unzip();
        let (order, of_order): (Vec<_>, Vec<_>) = order.into_iter().unzip();
        syntax.extend(of_partition.into_iter().chain(of_order));
        let frame = frame.unwrap_or(Frame::DEFAULT);
        let window = Window { function, arguments, filter, partition, order, frame, kind };
        if window.parts().any(|part| part.any(&volatile)) {
            return not_yet("a volatile function in a window");
        }
        if sorts_by_subquery(&window) && groups.windows.iter().any(|call| sorts_by_subquery(&call.window)) {
            // For PostgreSQL those that say the same are one window, whose rows have one order.
            return not_yet("several windows of subqueries");
        }
        let id = groups.over(Call { id: self.column(), window, syntax });
        Ok(Expr::Column { id, kind })
    }
}

impl Binder<'_> {
    /// Looks at the windows that have names, whether somebody uses them or not.
    pub(super) fn named_windows(&mut self, scope: &Scope, groups: &mut Groups) -> Bound<()> {
        let named = groups.named.clone();
        for (at, NamedWindowDefinition(name, _)) in named.iter().enumerate() {
            let name = folded(name);
            if named[..at].iter().any(|NamedWindowDefinition(other, _)| folded(other) == name) {
                return wrong("42P20", format!("window \"{name}\" is already defined"));
            }
            let is_used = groups.used.contains(&at);
            self.named_window(at, scope, groups)?;
            if !is_used {
                groups.used.remove(&at);
            }
        }
        Ok(())
    }

    /// The one at a place of those that have names.
    fn named_window(&mut self, at: usize, scope: &Scope, groups: &mut Groups) -> Bound<Definition> {
        groups.used.insert(at);
        let named = groups.named.clone();
        match &named[at].1 {
            NamedWindowExpr::WindowSpec(spec) => stack::level(|| self.definition(spec, Some(at), scope, groups)),
            NamedWindowExpr::NamedWindow(_) => not_yet("WINDOW of a window's name"),
        }
    }

    /// `own`: its place among those that have names.
    fn definition(
        &mut self,
        spec: &WindowSpec,
        own: Option<usize>,
        scope: &Scope,
        groups: &mut Groups,
    ) -> Bound<Definition> {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
        let base = match window_name {
            Some(name) => {
                let before = &groups.named[..own.unwrap_or(groups.named.len())];
                let at = found(before, name, None)?;
                Some((folded(name), self.named_window(at, scope, groups)?))
            }
            None => None,
        };
        let order = self.window_order(order_by, scope, groups)?;
        let partition = self.partition(partition_by, scope, groups)?;
        let (partition, order) = match base {
            Some((name, base)) => {
                let is_bare = own.is_none() && order.is_empty() && window_frame.is_none();
                refined(&name, &base, !partition.is_empty(), !order.is_empty(), is_bare)?;
                (base.partition, if order.is_empty() { base.order } else { order })
            }
            None => (partition, order),
        };
        let kinds: Vec<_> = order.iter().map(|(order, _)| order.by.kind()).collect();
        let frame = window_frame.as_ref().map(|frame| self.frame(frame, &kinds, scope)).transpose()?;
        Ok(Definition { partition, order, frame })
    }

    /// ORDER BY of a window, where neither names nor numbers of the select list mean anything.
    fn window_order(
        &mut self,
        order: &[OrderByExpr],
        scope: &Scope,
        groups: &mut Groups,
    ) -> Bound<Vec<(Order, ast::Expr)>> {
        let mut found: Vec<(Order, ast::Expr)> = vec![];
        for OrderByExpr { expr, options: OrderByOptions { asc, nulls_first }, with_fill } in order {
            if with_fill.is_some() {
                return not_yet("WITH FILL");
            }
            let by = self.expression(expr, &mut Place { scope, clause: DEFINITION, groups: Some(&mut *groups) })?;
            let by = self.settled(by)?;
            self.sortable(by.kind()).map_err(|why| located(why, position::of(expr)))?;
            if by.has_subquery() && found.iter().any(|(known, _)| known.by.has_subquery()) {
                // For PostgreSQL those that say the same are one.
                return not_yet("a window in the order of several subqueries");
            }
            let descending = *asc == Some(false);
            if found.iter().all(|(known, _)| known.by != by) {
                let nulls_first = nulls_first.unwrap_or(descending);
                found.push((Order { by, descending, nulls_first }, expr.clone()));
            }
        }
        Ok(found)
    }

    fn partition(&mut self, exprs: &[ast::Expr], scope: &Scope, groups: &mut Groups) -> Bound<Vec<(Expr, ast::Expr)>> {
        let mut found: Vec<(Expr, ast::Expr)> = vec![];
        for expr in exprs {
            let by = self.expression(expr, &mut Place { scope, clause: DEFINITION, groups: Some(&mut *groups) })?;
            let by = self.settled(by)?;
            self.groupable(by.kind()).map_err(|why| located(why, position::of(expr)))?;
            if found.iter().all(|(known, _)| *known != by) {
                found.push((by, expr.clone()));
            }
        }
        Ok(found)
    }
}

fn sorts_by_subquery(Window { partition, order, .. }: &Window) -> bool {
    partition.iter().chain(order.iter().map(|order| &order.by)).any(Expr::has_subquery)
}

/// The rows of `node`, and what `calls` give for them.
pub fn over_windows(node: Node, calls: Vec<Call>) -> Node {
    if calls.is_empty() {
        return node;
    }
    let calls = calls.into_iter().map(|Call { id, window, .. }| (id, window)).collect();
    Node::Window { input: Box::new(node), calls }
}

/// The place of the window that is called so. Error 42704 if there is none.
fn found(named: &[NamedWindowDefinition], name: &Ident, position: Option<usize>) -> Bound<usize> {
    let called = folded(name);
    match named.iter().position(|NamedWindowDefinition(name, _)| folded(name) == called) {
        Some(at) => Ok(at),
        None => {
            let error = Error::new("42704", format!("window \"{called}\" does not exist"));
            Err(Unbound::Wrong(placed(error, position)))
        }
    }
}

/// What of the window `name` may be said anew: its order, if it has none, and the frame, which it must not have. `is_bare`: nothing is.
fn refined(name: &str, base: &Definition, partitions: bool, orders: bool, is_bare: bool) -> Bound<()> {
    if partitions {
        return wrong("42P20", format!("cannot override PARTITION BY clause of window \"{name}\""));
    }
    if orders && !base.order.is_empty() {
        return wrong("42P20", format!("cannot override ORDER BY clause of window \"{name}\""));
    }
    if base.frame.is_none() {
        return Ok(());
    }
    let error = Error::new("42P20", format!("cannot copy window \"{name}\" because it has a frame clause"));
    Err(Unbound::Wrong(match is_bare {
        true => error.hint("Omit the parentheses in this OVER clause."),
        false => error,
    }))
}

/// What is said of a window function where none may stand.
fn misplaced(written: &Written, clause: &str) -> Unbound {
    let (sqlstate, message) = match clause {
        AGGREGATE => ("42803", "aggregate function calls cannot contain window function calls".to_string()),
        CALL => ("42P20", "window function calls cannot be nested".to_string()),
        clause => {
            let clause = if frame::is_clause(clause) { DEFINITION } else { clause };
            ("42P20", format!("window functions are not allowed in {clause}"))
        }
    };
    Unbound::Wrong(placed(Error::new(sqlstate, message), written.position))
}

fn wrong<T>(sqlstate: &'static str, message: String) -> Bound<T> {
    Err(Unbound::Wrong(Error::new(sqlstate, message)))
}
