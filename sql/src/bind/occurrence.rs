//! Where in an expression's text columns, aggregates and window functions stand.

use super::call;
use super::form;
use super::position;
use super::scope::Scope;
use crate::bound::{ColumnId, Expr};
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{self, Ident, Visit, Visitor};
use std::ops::ControlFlow;

/// The first aggregate, but for those in subqueries.
pub fn first_aggregate(expr: &ast::Expr) -> Option<usize> {
    form::first(expr, is_aggregate)
}

/// The first window function, likewise.
pub fn first_window(expr: &ast::Expr) -> Option<usize> {
    form::first(expr, is_window)
}

/// Where the column `id` is named that stands at `place` among those of `value`, which is what `expr` means. Within aggregates, window
/// functions and subqueries nothing is of `value`.
pub fn of_column(expr: &ast::Expr, scope: &Scope, id: ColumnId, place: usize, value: &Expr) -> Option<usize> {
    let mut columns = Columns { scope, id, apart: 0, found: vec![] };
    // Nothing breaks off.
    let _ = expr.visit(&mut columns);
    // What is written once may stand for several.
    let is_told = place == 0 || columns.found.len() == count(value, id);
    columns.found.get(place).copied().flatten().filter(|_| is_told)
}

/// How often the column `id` stands in `value`.
pub fn count(value: &Expr, id: ColumnId) -> usize {
    match value {
        Expr::Column { id: column, .. } => usize::from(*column == id),
        _ => value.children().into_iter().map(|child| count(child, id)).sum(),
    }
}

struct Columns<'a> {
    scope: &'a Scope,
    id: ColumnId,
    /// How many aggregates, window functions and queries are around what is visited.
    apart: usize,
    found: Vec<Option<usize>>,
}

impl Visitor for Columns<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.apart += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.apart -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        self.apart += usize::from(is_aggregate(expr) || is_window(expr));
        let name = name(expr);
        if let [first, ..] = name
            && self.apart == 0
            && let Ok(value) = self.scope.column(name)
        {
            // What a join has made of two columns stands nowhere.
            let position = if let Expr::Column { .. } = value { position::of_word(first) } else { None };
            self.found.extend(std::iter::repeat_n(position, count(&value, self.id)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        self.apart -= usize::from(is_aggregate(expr) || is_window(expr));
        ControlFlow::Continue(())
    }
}

fn name(expr: &ast::Expr) -> &[Ident] {
    match expr {
        ast::Expr::Identifier(name) => std::slice::from_ref(name),
        ast::Expr::CompoundIdentifier(names) => names,
        _ => &[],
    }
}

fn is_aggregate(expr: &ast::Expr) -> bool {
    let ast::Expr::Function(function) = expr else { return false };
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded);
    function.over.is_none() && name.is_some_and(|name| call::is_aggregate(&name))
}

fn is_window(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Function(function) if function.over.is_some())
}
