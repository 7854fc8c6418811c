//! Queries within expressions, and the values that are compared with their rows.
//!
//! A name in such a query means what it means there; what has no meaning there may have one at the place around, and so on outwards
//! ([`Scope::outer`]). A column of a query around is an [`Expr::Column`] like every other one: whose it is, scopes tell. Where it is named
//! is kept, for what errors have to say when the query around turns out to be grouped.

use super::Binder;
use super::form::first_name;
use super::kind::held;
use super::position::{self, placed};
use super::rows::{Nested, Rows};
use super::scope::Scope;
use crate::bound::{Aggregate, Bound, ColumnId, Expr, Form, Kind, Node, Subquery, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::types::BOOL;
use crate::session::names;
use crate::session::refuse::{NESTED, too_deep};
use datafusion::sql::sqlparser::ast::{self, FunctionArguments, Ident, visit_expressions};
use std::ops::ControlFlow;
use std::rc::Rc;

/// The query of `ARRAY(SELECT …)`, and where that stands.
pub fn array(function: &ast::Function) -> Option<(&ast::Query, Option<usize>)> {
    match &function.args {
        FunctionArguments::Subquery(query) if function.name.to_string().eq_ignore_ascii_case("array") => {
            Some((query, position::of_name(&function.name)))
        }
        _ => None,
    }
}

/// The query of `op ANY (SELECT …)`, if `right` is one and no array. NotYet if it may be either: the parser has `= ANY (SELECT a) || b` and
/// `= ANY ((SELECT a) || b)` as one tree.
pub fn compared(right: &ast::Expr) -> Bound<Option<&ast::Query>> {
    let mut first = right;
    while let ast::Expr::Nested(inner) = first {
        first = inner;
    }
    if let ast::Expr::Subquery(query) = first {
        return Ok(Some(query));
    }
    first = right;
    while let Some(part) = position::first_part(first) {
        first = part;
    }
    match first {
        ast::Expr::Subquery(_) => not_yet("ANY or ALL of what begins with a subquery"),
        // The parser has VALUES for a function there.
        ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("values") => {
            not_yet("ANY or ALL of VALUES")
        }
        _ => Ok(None),
    }
}

impl Binder<'_> {
    /// What a name means at a place.
    pub(super) fn named(&mut self, name: &[Ident], scope: &Scope) -> Bound<Expr> {
        let value = scope.column(name)?;
        self.named_outward(&value, name.first().and_then(position::of_word), scope);
        Ok(value)
    }

    /// What the column is called that `expr`, which is bound, gives without a name.
    pub(super) fn name_of(&self, expr: &ast::Expr) -> String {
        let starred = names::starred(expr).and_then(|query| self.starred.get(&std::ptr::from_ref(query)));
        starred.cloned().unwrap_or_else(|| names::of(expr))
    }

    /// Keeps where `value` is named, if it is a column of a query around.
    pub(super) fn named_outward(&mut self, value: &Expr, position: Option<usize>, scope: &Scope) {
        if let Expr::Column { id, .. } = value
            && scope.outer.is_some()
            && !scope.has(*id)
        {
            self.outward.entry(*id).or_default().push(position);
        }
    }

    /// Where in `syntax` queries name a column of one around them, if they do so in one place.
    pub(super) fn outward_place(&self, id: ColumnId, syntax: &ast::Expr) -> Option<usize> {
        let named: Vec<usize> = self.outward.get(&id)?.iter().copied().collect::<Option<_>>()?;
        let mut found = vec![];
        // Nothing breaks off.
        let _ = visit_expressions(syntax, |part| {
            let position = match part {
                ast::Expr::Identifier(name) => position::of_word(name),
                ast::Expr::CompoundIdentifier(names) => names.first().and_then(position::of_word),
                _ => None,
            };
            found.extend(position.filter(|position| named.contains(position)));
            ControlFlow::<()>::Continue(())
        });
        match found[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The rows of a query in an expression at a place.
    pub(super) fn rows_within(&mut self, query: &ast::Query, scope: &Scope) -> Bound<Rows> {
        if scope.levels().count() > NESTED {
            return Err(too_deep().into());
        }
        let around = scope.entries.iter().chain(&scope.around).cloned().collect();
        let around = std::mem::replace(&mut self.around, around);
        let outer = self.outer.replace(Rc::new(scope.clone()));
        let rows = self.nested(query);
        (self.around, self.outer) = (around, outer);
        rows
    }

    /// `EXISTS (query)`: neither columns nor order count.
    pub(super) fn exists(&mut self, query: &ast::Query, scope: &Scope) -> Bound<Expr> {
        let Rows { node, items, .. } = self.rows_within(query, scope)?;
        for item in items {
            self.settled(item.value)?;
        }
        Ok(subquery(Form::Exists, node, vec![], BOOL.into()))
    }

    /// `(query)`, the value of one column.
    pub(super) fn scalar(&mut self, query: &ast::Query, scope: &Scope) -> Bound<Expr> {
        let rows = self.rows_within(query, scope)?;
        if let ([one], true) = (&rows.items[..], names::begins_with_star(&query.body)) {
            self.starred.insert(std::ptr::from_ref(query), one.name.clone());
        }
        let (node, column) = self.one_column(rows, None)?;
        Ok(subquery(Form::Scalar, node, vec![column], held(column.1)?))
    }

    /// `ARRAY(query)`, which stands at `position`.
    pub(super) fn collected(&mut self, query: &ast::Query, position: Option<usize>, scope: &Scope) -> Bound<Expr> {
        let rows = self.rows_within(query, scope)?.sorted();
        let (node, column) = self.one_column(rows, position)?;
        let (_, element) = column;
        if element.oid.element().is_some() {
            return not_yet("an array of several dimensions");
        }
        match element.oid.array() {
            Some(oid) => Ok(subquery(Form::Array, node, vec![column], held(Kind { oid, ..element })?)),
            None => Err(Error::new("42704", format!("could not find array type for data type {element}")).into()),
        }
    }

    fn one_column(&mut self, rows: Rows, position: Option<usize>) -> Bound<(Node, (ColumnId, Kind))> {
        let (node, outputs) = self.outputs(rows.node, rows.items)?;
        match &outputs[..] {
            [one] => Ok((node, (one.column, one.kind))),
            _ => {
                let error = Error::syntax("subquery must return only one column");
                Err(Unbound::Wrong(placed(error, position)))
            }
        }
    }

    /// `left name ANY` of the rows of a query, or ALL. Several values are compared with as many columns, as a row.
    pub(super) fn compared(&mut self, rows: Rows, name: &str, left: Vec<Expr>, all: bool) -> Bound<Expr> {
        let (node, outputs) = self.outputs(rows.node, rows.items)?;
        let columns: Vec<(ColumnId, Kind)> = outputs.iter().map(|output| (output.column, output.kind)).collect();
        if left.len() < columns.len() {
            return Err(Error::syntax("subquery has too many columns").into());
        }
        if left.len() > columns.len() {
            return Err(Error::syntax("subquery has too few columns").into());
        }
        let mut tests = vec![];
        for (value, (id, kind)) in left.into_iter().zip(&columns) {
            let test = self.operation(name, Some(value), Expr::Column { id: *id, kind: *kind })?;
            if test.kind().oid != BOOL {
                let text = format!("row comparison operator must yield type boolean, not type {}", test.kind());
                return Err(Error::new("42804", text).into());
            }
            tests.push(test);
        }
        let comparison = match (tests.len(), name) {
            (1, _) => tests.remove(0),
            (_, "=") => Expr::And(tests),
            (_, "<>") => Expr::Or(tests),
            _ => return not_yet(format!("{name} of rows")),
        };
        let form = if all { Form::All(comparison) } else { Form::Any(comparison) };
        Ok(subquery(form, node, columns, BOOL.into()))
    }

    /// 42P10 if a number of rows depends on a row, which `syntax` says in `clause`.
    pub(super) fn fixed(&self, number: &Expr, syntax: &ast::Expr, clause: &str, scope: &Scope) -> Bound<()> {
        let (mut own, mut is_around) = (None, false);
        number.each(&mut |part| {
            if let Expr::Column { id, .. } = part {
                is_around |= scope.is_around(*id);
                own = own.or_else(|| scope.has(*id).then_some(*id));
            }
        });
        match own {
            Some(id) => {
                let error = Error::new("42P10", format!("argument of {clause} must not contain variables"));
                let position = self.outward_place(id, syntax).or_else(|| first_name(syntax));
                Err(Unbound::Wrong(placed(error, position)))
            }
            None if is_around => not_yet(format!("{clause} by a column of a query around")),
            None => Ok(()),
        }
    }
}

fn subquery(form: Form, rows: Node, columns: Vec<(ColumnId, Kind)>, kind: Kind) -> Expr {
    Expr::Subquery(Box::new(Subquery { form, rows, columns, kind }))
}

/// Whether all columns that an aggregate names, and it names some, are of queries around: then it is one of theirs.
pub fn is_around(aggregate: &Aggregate, scope: &Scope) -> bool {
    let (mut here, mut around) = (false, false);
    if scope.outer.is_some() {
        aggregate.expressions().for_each(|expr| {
            expr.each(&mut |part| {
                if let Expr::Column { id, .. } = part {
                    here |= scope.has(*id);
                    around |= scope.is_around(*id);
                }
            });
        });
    }
    around && !here
}
