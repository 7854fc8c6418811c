//! Where in a statement's text what is written stands, as errors say it: the character, from 1. `None` where a syntax tree does not tell.

use crate::bound::Unbound;
use crate::error::Error;
use crate::postgres::types;
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{CastKind, Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::tokenizer::Span;
use std::collections::HashMap;
use std::sync::Arc;

/// Trees of Weir's parser have all their places on one line.
pub fn at(span: Span) -> Option<usize> {
    (span.start.line == 1).then_some(span.start.column as usize)
}

pub fn of_name(name: &ObjectName) -> Option<usize> {
    name.0.first()?.as_ident().and_then(of_word)
}

pub fn of_word(word: &Ident) -> Option<usize> {
    at(word.span)
}

/// Where PostgreSQL sees an expression: where it begins, without parentheses around it.
pub fn of(expr: &Expr) -> Option<usize> {
    let mut expr = expr;
    while let Some(part) = begin(expr) {
        expr = part;
    }
    match expr {
        Expr::Identifier(name) => of_word(name),
        Expr::CompoundIdentifier(names) => names.first().and_then(of_word),
        Expr::Value(value) => at(value.span),
        Expr::TypedString(typed) => at(typed.value.span),
        // What is a cast may be nothing but its argument.
        Expr::Function(function) if is_type(&function.name) => None,
        Expr::Function(function) => of_name(&function.name),
        Expr::Case { case_token, .. } => at(case_token.0.span),
        _ => None,
    }
}

fn begin(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Nested(inner) => Some(inner),
        other => first_part(other),
    }
}

/// The part that an expression begins with, if it is one of several and is not in parentheses.
pub fn first_part(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::BinaryOp { left: inner, .. }
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotUnknown(inner)
        | Expr::IsDistinctFrom(inner, _)
        | Expr::IsNotDistinctFrom(inner, _)
        | Expr::InList { expr: inner, .. }
        | Expr::InSubquery { expr: inner, .. }
        | Expr::Between { expr: inner, .. }
        | Expr::Like { expr: inner, .. }
        | Expr::ILike { expr: inner, .. }
        | Expr::AnyOp { left: inner, .. }
        | Expr::AllOp { left: inner, .. }
        | Expr::AtTimeZone { timestamp: inner, .. }
        | Expr::Collate { expr: inner, .. }
        | Expr::Cast { kind: CastKind::DoubleColon, expr: inner, .. }
        | Expr::CompoundFieldAccess { root: inner, .. } => Some(inner),
        _ => None,
    }
}

fn is_type(name: &ObjectName) -> bool {
    name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| types::named(&folded(name)).is_some())
}

/// `error` with a position, unless it has one or none is known.
pub fn placed(error: Error, position: Option<usize>) -> Error {
    match (error.position, position) {
        (None, Some(position)) => error.at(position),
        _ => error,
    }
}

/// The same of why something was not bound.
pub fn located(why: Unbound, position: Option<usize>) -> Unbound {
    match why {
        Unbound::Wrong(error) => Unbound::Wrong(placed(error, position)),
        other => other,
    }
}

/// The places of literals that have no type yet, by the address of their text: a text that goes leaves its address to the next.
#[derive(Default)]
pub struct Literals(HashMap<usize, Option<usize>>);

impl Literals {
    pub fn keep(&mut self, text: &Arc<str>, position: Option<usize>) {
        self.0.insert(address(text), position);
    }

    pub fn position(&self, text: &Arc<str>) -> Option<usize> {
        self.0.get(&address(text)).copied().flatten()
    }
}

fn address(text: &Arc<str>) -> usize {
    Arc::as_ptr(text).cast::<u8>() as usize
}
