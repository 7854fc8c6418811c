//! What a SELECT computes of each row, and which of it ORDER BY, GROUP BY and DISTINCT ON mean.

use super::Binder;
use super::expression::Place;
use super::form::bare;
use super::position::{self, placed};
use super::rows::Item;
use super::scope::is_function;
use crate::bound::{Bound, Expr, Unbound, not_yet};
use crate::error::Error;
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{self, Ident, UnaryOperator, Value, ValueWithSpan};

/// One of a select list, or, not shown and after all those, what another clause needs beside it.
pub struct Target<'q> {
    pub name: String,
    pub value: Expr,
    /// None of what `*` stands for.
    pub syntax: Option<&'q ast::Expr>,
    pub position: Option<usize>,
    pub is_shown: bool,
}

impl Target<'_> {
    /// Of the query's result, if it is shown.
    pub fn item(self) -> Option<Item> {
        let Self { name, value, position, is_shown, .. } = self;
        is_shown.then_some(Item { name, value, position })
    }
}

/// A constant as PostgreSQL's grammar knows them.
enum Constant {
    Integer(i32),
    Other,
}

impl Binder<'_> {
    /// The place of the target that `expr` means in the clause that `place` is: a name or a number of the select list, or else an expression,
    /// for which there is a target from then on. It is not UNKNOWN any more. In GROUP BY, columns of FROM come before those of the list.
    pub fn target<'q>(
        &mut self,
        expr: &'q ast::Expr,
        targets: &mut Vec<Target<'q>>,
        place: &mut Place,
    ) -> Bound<usize> {
        let expr = bare(expr);
        let listed = match (expr, constant(expr)?) {
            (ast::Expr::Identifier(name), _) => named(name, targets, place)?,
            (_, Some(constant)) => Some(numbered(constant, expr, targets, place)?),
            _ => None,
        };
        let at = match listed {
            Some(at) => at,
            None => {
                let value = self.expression(expr, place)?;
                targets.iter().position(|target| target.value == value).unwrap_or_else(|| {
                    let position = position::of(expr);
                    targets.push(Target { name: String::new(), value, syntax: Some(expr), position, is_shown: false });
                    targets.len() - 1
                })
            }
        };
        targets[at].value = self.settled(targets[at].value.clone())?;
        Ok(at)
    }
}

/// The one of the select list that is called so.
fn named(name: &Ident, targets: &[Target], place: &Place) -> Bound<Option<usize>> {
    if is_function(name) || place.clause == "GROUP BY" && place.scope.find(name)?.is_some() {
        return Ok(None);
    }
    let called = folded(name);
    let mut found = targets.iter().enumerate().filter(|(_, target)| target.is_shown && target.name == called);
    let Some((at, first)) = found.next() else { return Ok(None) };
    let mut others = found.filter(|(_, other)| other.value != first.value);
    if let Some((_, other)) = others.next() {
        if first.value.has_subquery() && other.value.has_subquery() {
            return not_yet("a name of several subqueries");
        }
        let error = Error::new("42702", format!("{} \"{called}\" is ambiguous", place.clause));
        return Err(Unbound::Wrong(placed(error, position::of_word(name))));
    }
    Ok(Some(at))
}

/// The one of a number, from 1.
fn numbered(constant: Constant, expr: &ast::Expr, targets: &[Target], place: &Place) -> Bound<usize> {
    let wrong = |error| Err(Unbound::Wrong(placed(error, position::of(expr))));
    let Constant::Integer(number) = constant else {
        return wrong(Error::syntax(format!("non-integer constant in {}", place.clause)));
    };
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    match at.filter(|at| targets.get(*at).is_some_and(|target| target.is_shown)) {
        Some(at) => Ok(at),
        None => wrong(Error::new("42P10", format!("{} position {number} is not in select list", place.clause))),
    }
}

fn constant(expr: &ast::Expr) -> Bound<Option<Constant>> {
    Ok(match bare(expr) {
        ast::Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::Placeholder(_) => None,
            Value::Number(number, false) => Some(match number.replace('_', "").parse() {
                Ok(number) => Constant::Integer(number),
                Err(_) => Constant::Other,
            }),
            Value::SingleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::DollarQuotedString(_)
            | Value::Boolean(_)
            | Value::Null => Some(Constant::Other),
            _ => return not_yet("this form of literal as a number of a column"),
        },
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match (constant(expr)?, bare(expr)) {
            (Some(Constant::Integer(number)), _) => Some(match number.checked_neg() {
                Some(number) => Constant::Integer(number),
                None => Constant::Other,
            }),
            // A sign before a text is an operator.
            (Some(Constant::Other), ast::Expr::Value(ValueWithSpan { value: Value::Number(..), .. })) => {
                Some(Constant::Other)
            }
            _ => None,
        },
        _ => None,
    })
}
