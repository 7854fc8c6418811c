//! Bound expressions to DataFusion's. Parts first: what an operator or a function is then told is what its operands are held as.

use super::chain::Links;
use super::constant::constant;
use super::value::{Value, function, held, together};
use super::{array, cast, function as functions, operator};
use crate::bound::{Bound, ColumnId, Expr, How, Kind, Test, Unbound, not_yet};
use crate::error::Error;
use crate::function::only;
use crate::postgres::operators::Operator;
use crate::session::{self, names};
use crate::types::Type;
use crate::{stack, stop};
use datafusion::common::Column;
use datafusion::logical_expr::expr::{Case, InList, Placeholder};
use datafusion::logical_expr::{self as logical, BinaryExpr};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a plan calls a column: nobody names it so, and nobody has to be told.
pub fn name(id: ColumnId) -> String {
    names::hidden("", id.0 as usize)
}

pub fn column(id: ColumnId) -> logical::Expr {
    logical::Expr::Column(Column::new_unqualified(name(id)))
}

/// What expressions can name, and the zone in which moments and wall clocks convert.
#[derive(Clone, Copy)]
pub struct Expressions<'a> {
    pub columns: &'a BTreeMap<ColumnId, Type>,
    pub zone: &'a str,
    /// Of the CASE whose conditions these are.
    operand: Option<&'a Value>,
}

impl<'a> Expressions<'a> {
    pub fn new(columns: &'a BTreeMap<ColumnId, Type>, zone: &'a str) -> Self {
        Self { columns, zone, operand: None }
    }

    pub fn all(&self, exprs: &[Expr]) -> Bound<Vec<Value>> {
        exprs.iter().map(|expr| self.value(expr)).collect()
    }

    pub fn condition(&self, expr: &Expr) -> Bound<logical::Expr> {
        Ok(self.value(expr)?.expr)
    }

    pub fn value(&self, expr: &Expr) -> Bound<Value> {
        stop::check()?;
        stack::level(|| self.form(expr))
    }

    fn form(&self, expr: &Expr) -> Bound<Value> {
        match expr {
            Expr::Subquery(_) => not_yet("a subquery in an expression"),
            Expr::Column { id, .. } => match self.columns.get(id) {
                Some(kind) => Ok(Value::new(column(*id), kind.clone())),
                None => Err(Unbound::Wrong(Error::internal(format!("a column {} that there is not", id.0)))),
            },
            Expr::Constant { value, kind } => constant(value.as_deref(), *kind),
            Expr::Parameter { number, kind } => {
                let kind = held(*kind)?;
                let field = Some(Arc::new(kind.field("", true)));
                let place = Placeholder::new_with_field(format!("${number}"), field);
                Ok(Value::new(logical::Expr::Placeholder(place), kind))
            }
            Expr::Call { function, arguments, kind } => {
                functions::call(function, self.all(arguments)?, *kind, self.zone)
            }
            Expr::Operation { operator, operands, kind } => {
                operator::apply(operator, self.all(operands)?, *kind, self.zone)
            }
            Expr::Cast { argument, kind, how } => cast::cast(self.value(argument)?, *kind, *how, self.zone),
            Expr::Chain { first, steps, .. } => self.chain(first, steps),
            Expr::And(operands) => self.connected(logical::Operator::And, operands),
            Expr::Or(operands) => self.connected(logical::Operator::Or, operands),
            Expr::Not(argument) => Ok(Value::truth(logical::Expr::Not(Box::new(self.condition(argument)?)))),
            Expr::Is { argument, what, negated } => Ok(Value::truth(is(self.condition(argument)?, *what, *negated))),
            Expr::Distinct { operator, left, right, negated } => self.distinct(operator, left, right, *negated),
            Expr::Case { operand, pairs, otherwise, kind } => {
                self.case(operand.as_deref(), pairs, otherwise.as_deref(), *kind)
            }
            Expr::Operand { .. } => match self.operand {
                Some(operand) => Ok(operand.clone()),
                None => Err(Unbound::Wrong(Error::internal("an operand outside of its CASE"))),
            },
            Expr::Coalesce { arguments, kind } => {
                let (arguments, kind) = together(self.all(arguments)?, &held(*kind)?, self.zone)?;
                let arguments = arguments.into_iter().map(|argument| argument.expr).collect();
                Ok(Value::new(function("coalesce")?.call(arguments), kind))
            }
            Expr::Extreme { greatest, arguments, kind } => self.extreme(*greatest, arguments, *kind),
            Expr::NullIf { operator, left, right, .. } => {
                let (left, right) = operator::sides(operator, self.value(left)?, self.value(right)?, self.zone)?;
                Ok(Value::new(function("nullif")?.call(vec![left.expr, right.expr]), left.kind))
            }
            Expr::In { operator, argument, list, negated } => self.one_of(operator, argument, list, *negated),
            Expr::Quantified { operator, left, array, all } => {
                array::quantified(operator, self.value(left)?, self.value(array)?, *all)
            }
            Expr::Only { rows, value } => {
                let (rows, value) = (self.value(rows)?, self.value(value)?);
                Ok(Value::new(function(only::NAME)?.call(vec![rows.expr, value.expr]), value.kind))
            }
            Expr::Array { elements, kind } => array::array(self.all(elements)?, *kind, self.zone),
            Expr::Subscript { array, index, kind } => {
                array::subscript(self.value(array)?, self.value(index)?, *kind, self.zone)
            }
        }
    }

    fn connected(&self, op: logical::Operator, operands: &[Expr]) -> Bound<Value> {
        let operands = operands.iter().map(|operand| self.condition(operand)).collect::<Bound<Vec<_>>>()?;
        match connected(op, operands) {
            Some(whole) => Ok(Value::truth(whole)),
            None => Err(Unbound::Wrong(Error::internal("AND or OR of nothing"))),
        }
    }

    fn chain(&self, first: &Expr, steps: &[Expr]) -> Bound<Value> {
        let mut links = Links::new(self.value(first)?)?;
        for step in steps {
            let Expr::Operation { operator, operands, kind } = step else { return not_yet("such a step of a chain") };
            let so_far = links.so_far();
            let inner = Expressions { operand: Some(&so_far), ..*self };
            let side = |side: &Expr| match conversion(side) {
                Some(_) => inner.value(side),
                None => links.operand(self.value(side)?),
            };
            let operands = operands.iter().map(side).collect::<Bound<_>>()?;
            links = links.add(operator::apply(operator, operands, *kind, self.zone)?)?;
        }
        Ok(links.value())
    }

    fn distinct(&self, operator: &Operator, left: &Expr, right: &Expr, negated: bool) -> Bound<Value> {
        let (left, right) = operator::sides(operator, self.value(left)?, self.value(right)?, self.zone)?;
        let op = if negated { logical::Operator::IsNotDistinctFrom } else { logical::Operator::IsDistinctFrom };
        Ok(Value::truth(binary(left.expr, op, right.expr)))
    }

    fn one_of(&self, operator: &Operator, argument: &Expr, list: &[Expr], negated: bool) -> Bound<Value> {
        let argument = self.value(argument)?;
        let item = |item: &Expr| Ok(operator::beside(operator, &argument, self.value(item)?)?.expr);
        let list = list.iter().map(item).collect::<Bound<Vec<_>>>()?;
        Ok(Value::truth(logical::Expr::InList(InList::new(Box::new(argument.expr), list, negated))))
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        pairs: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
        kind: Kind,
    ) -> Bound<Value> {
        let (operand, conditions) = match operand {
            Some(operand) => self.compared(self.value(operand)?, pairs)?,
            None => (None, pairs.iter().map(|(when, _)| self.condition(when)).collect::<Bound<_>>()?),
        };
        let results = pairs.iter().map(|(_, then)| then).chain(otherwise);
        let results = results.map(|result| self.value(result)).collect::<Bound<_>>()?;
        let (mut results, kind) = together(results, &held(kind)?, self.zone)?;
        let otherwise = otherwise.and_then(|_| results.pop()).map(|value| Box::new(value.expr));
        let pairs = conditions.into_iter().zip(results);
        let pairs = pairs.map(|(when, then)| (Box::new(when), Box::new(then.expr))).collect();
        let case = Case { expr: operand.map(Box::new), when_then_expr: pairs, else_expr: otherwise };
        Ok(Value::new(session::nested(case), kind))
    }

    /// Conditions on `operand`: with it in the place where they name it, if it is small, else what it is compared with, so that the analyzer
    /// has it evaluated once.
    fn compared(&self, operand: Value, pairs: &[(Expr, Expr)]) -> Bound<(Option<logical::Expr>, Vec<logical::Expr>)> {
        let inner = Expressions { operand: Some(&operand), ..*self };
        if operand.is_small() {
            let conditions = pairs.iter().map(|(when, _)| inner.condition(when)).collect::<Bound<_>>()?;
            return Ok((None, conditions));
        }
        let equalities = pairs.iter().map(|(when, _)| match when {
            Expr::Operation { operator, operands, .. } if operator.name == "=" => match &operands[..] {
                [left, right] => Some((*operator, conversion(left)?, left, right)),
                _ => None,
            },
            _ => None,
        });
        let equalities = equalities.collect::<Option<Vec<_>>>().unwrap_or_default();
        let Some((_, first, left, _)) = equalities.first().copied() else {
            return not_yet("CASE of such an expression");
        };
        if equalities.iter().any(|(_, conversion, _, _)| *conversion != first) || operand.expr.is_volatile() {
            return not_yet("CASE of such an expression");
        }
        let left = inner.value(left)?;
        let right = equalities
            .iter()
            .map(|(operator, _, _, right)| Ok(operator::beside(operator, &left, self.value(right)?)?.expr));
        let right = right.collect::<Bound<_>>()?;
        Ok((Some(left.expr), right))
    }

    /// Equal values may be shown differently, and some are not ordered by their bytes: of those one is chosen by comparisons.
    fn extreme(&self, greatest: bool, arguments: &[Expr], kind: Kind) -> Bound<Value> {
        let name = if greatest { "greatest" } else { "least" };
        let (arguments, kind) = together(self.all(arguments)?, &held(kind)?, self.zone)?;
        if session::has_extremes(&kind, name).is_err() {
            return not_yet(format!("{name} of type {kind}"));
        }
        if !crate::function::key::needed(&kind) || arguments.len() < 2 {
            let arguments = arguments.into_iter().map(|argument| argument.expr).collect();
            return Ok(Value::new(function(name)?.call(arguments), kind));
        }
        if arguments.len() > FEW || !arguments.iter().all(Value::is_small) {
            return not_yet(format!("{name} of such values of type {kind}"));
        }
        Ok(Value::new(first_of(greatest, arguments), kind))
    }
}

/// Values that GREATEST and LEAST compare each with each.
const FEW: usize = 8;

/// The first of the values that no other is beyond; NULL if all are.
fn first_of(greatest: bool, values: Vec<Value>) -> logical::Expr {
    use logical::Operator::{And, GtEq, LtEq, Or};
    let op = if greatest { GtEq } else { LtEq };
    let mut values: Vec<logical::Expr> = values.into_iter().map(|value| value.expr).collect();
    let is_first = |at: usize, own: &logical::Expr| {
        let others = values.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other.clone());
        let beats = others.map(|other| binary(other.clone().is_null(), Or, binary(own.clone(), op, other)));
        let all = std::iter::once(own.clone().is_not_null()).chain(beats).collect();
        connected(And, all).map(|holds| (Box::new(holds), Box::new(own.clone())))
    };
    let before = &values[..values.len().saturating_sub(1)];
    let pairs = before.iter().enumerate().filter_map(|(at, own)| is_first(at, own)).collect();
    let last = values.pop().map(Box::new);
    logical::Expr::Case(Case { expr: None, when_then_expr: pairs, else_expr: last })
}

/// What the operand of a CASE is converted to, if `expr` is nothing but that.
fn conversion(expr: &Expr) -> Option<Option<(Kind, How)>> {
    match expr {
        Expr::Operand { .. } => Some(None),
        Expr::Cast { argument, kind, how } if matches!(argument.as_ref(), Expr::Operand { .. }) => {
            Some(Some((*kind, *how)))
        }
        _ => None,
    }
}

fn is(argument: logical::Expr, what: Test, negated: bool) -> logical::Expr {
    match (what, negated) {
        (Test::Null, false) => argument.is_null(),
        (Test::Null, true) => argument.is_not_null(),
        (Test::True, false) => argument.is_true(),
        (Test::True, true) => argument.is_not_true(),
        (Test::False, false) => argument.is_false(),
        (Test::False, true) => argument.is_not_false(),
        (Test::Unknown, false) => argument.is_unknown(),
        (Test::Unknown, true) => argument.is_not_unknown(),
    }
}

fn binary(left: logical::Expr, op: logical::Operator, right: logical::Expr) -> logical::Expr {
    logical::Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// As a tree that is as flat as can be, the operands in their order.
fn connected(op: logical::Operator, mut operands: Vec<logical::Expr>) -> Option<logical::Expr> {
    if operands.len() < 2 {
        return operands.pop();
    }
    let right = operands.split_off(operands.len() / 2);
    Some(binary(connected(op, operands)?, op, connected(op, right)?))
}
