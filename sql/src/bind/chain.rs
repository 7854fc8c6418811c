//! Long chains of operators, which the parser hands over as calls of [`CHAIN`](crate::statement::CHAIN): bound from left to right, and as
//! flat as they come.

use super::Binder;
use crate::bound::{Bound, Expr, not_yet};
use crate::statement::{Step, is_chain, steps};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

/// A chain as it is written: operands, of which there is one more than steps, the innermost first.
pub struct Chain<'a> {
    pub steps: Vec<Step>,
    pub operands: Vec<&'a ast::Expr>,
}

/// The chain that `function` stands for, if it is such a call.
pub fn written(function: &ast::Function) -> Bound<Option<Chain<'_>>> {
    if !is_chain(function) {
        return Ok(None);
    }
    let FunctionArguments::List(list) = &function.args else { return unread() };
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let Some(arguments) = arguments.collect::<Option<Vec<_>>>() else { return unread() };
    let steps = match arguments.first() {
        Some(ast::Expr::Value(told)) => match &told.value {
            Value::SingleQuotedString(told) => steps(told),
            _ => None,
        },
        _ => None,
    };
    match steps.filter(|steps| steps.len() + 2 == arguments.len()) {
        Some(steps) => Ok(Some(Chain { steps, operands: arguments[1..].to_vec() })),
        None => unread(),
    }
}

fn unread<T>() -> Bound<T> {
    not_yet("a long chain of operators")
}

impl Binder<'_> {
    /// What `steps` make of `operands`, which are bound.
    pub(super) fn chained(&mut self, steps: &[Step], operands: Vec<Expr>) -> Bound<Expr> {
        let (mut steps, mut operands) = (steps.iter(), operands.into_iter());
        let (Some(innermost), Some(first), Some(second)) = (steps.next(), operands.next(), operands.next()) else {
            return unread();
        };
        let first = self.step(innermost, first, second)?;
        let (mut kind, mut bound) = (first.kind(), Vec::with_capacity(steps.len()));
        for (step, operand) in steps.zip(operands) {
            let next = self.step(step, Expr::Operand { kind }, operand)?;
            kind = next.kind();
            bound.push(next);
        }
        Ok(if bound.is_empty() { first } else { Expr::Chain { first: Box::new(first), steps: bound, kind } })
    }

    fn step(&mut self, step: &Step, so_far: Expr, operand: Expr) -> Bound<Expr> {
        match step.left {
            true => self.operation(step.operator(), Some(so_far), operand),
            false => self.operation(step.operator(), Some(operand), so_far),
        }
    }
}
