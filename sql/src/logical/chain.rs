//! Long chains of operators: each step is an expression of its own over the value so far and an operand, so that none is as deep as the
//! chain is long.

use super::value::Value;
use crate::bound::{Bound, not_yet};
use crate::scalar::chain::{OPERAND, SO_FAR, columns};
use crate::session;
use crate::types::Type;
use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use std::collections::HashMap;

/// A chain while its steps are added to it.
pub struct Links {
    first: Value,
    so_far: Type,
    known: HashMap<Expr, usize>,
    steps: Vec<Expr>,
    links: Vec<(usize, Option<Expr>)>,
    /// Of the step that comes next, unless it is part of it.
    operand: Option<Expr>,
}

impl Links {
    pub fn new(first: Value) -> Bound<Self> {
        let so_far = first.kind.clone();
        let links = Self { first, so_far, known: HashMap::new(), steps: vec![], links: vec![], operand: None };
        links.checked()
    }

    /// What the next step has for the value so far.
    pub fn so_far(&self) -> Value {
        stand_in(SO_FAR, &self.so_far, &self.so_far)
    }

    /// What it has for `operand`: a constant is part of it.
    pub fn operand(&mut self, operand: Value) -> Bound<Value> {
        if matches!(operand.kind, Type::Array(_)) {
            return unread();
        }
        if operand.known().is_some() {
            return Ok(operand);
        }
        self.operand = Some(operand.expr);
        Ok(stand_in(OPERAND, &self.so_far, &operand.kind))
    }

    /// `step` is the next one, made of these.
    pub fn add(mut self, step: Value) -> Bound<Self> {
        let next = self.steps.len();
        let index = *self.known.entry(step.expr).or_insert_with_key(|expr| {
            self.steps.push(expr.clone());
            next
        });
        self.links.push((index, self.operand.take()));
        self.so_far = step.kind;
        self.checked()
    }

    pub fn value(self) -> Value {
        Value::new(session::linked(self.first.expr, self.steps, self.links, self.so_far.clone()), self.so_far)
    }

    /// The values of a chain are of types that a step can be stored for.
    fn checked(self) -> Bound<Self> {
        if matches!(self.so_far, Type::Array(_)) { unread() } else { Ok(self) }
    }
}

fn unread<T>() -> Bound<T> {
    not_yet("a long chain of operators on arrays")
}

fn stand_in(column: usize, so_far: &Type, kind: &Type) -> Value {
    let name = &columns(so_far, Some(kind))[column].name;
    Value::new(Expr::Column(Column::new_unqualified(name)), kind.clone())
}
