//! Operators between operands that are bound: what their names mean, and what comparisons with lists and arrays are made of.

use super::Binder;
use super::convert::relabelled;
use super::kind::held;
use super::scope::Scope;
use crate::bound::{Bound, Expr, Test, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::casts::Context;
use crate::postgres::coerce::{common, fits};
use crate::postgres::operators::Operator;
use crate::postgres::resolve::{self, Applied};
use crate::postgres::types::{BOOL, Oid, UNKNOWN};
use datafusion::sql::sqlparser::ast::{BinaryOperator, UnaryOperator};

/// Parts of an expression that is evaluated more than once, at most: copies of copies would be without end.
const COPIED: usize = 1_000;
/// Operators of which there is one for whole arrays.
const COMPARISONS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];
/// Parts that all copies of an expression may have together.
pub const COPIES: usize = 5_000;

impl Binder<'_> {
    /// `left name right`; without `left` it stands before its operand.
    pub(super) fn operation(&mut self, name: &str, left: Option<Expr>, right: Expr) -> Bound<Expr> {
        let Applied { operator, operands: wanted, result } = applied(name, left.as_ref().map(oid), oid(&right))?;
        let mut operands = Vec::with_capacity(wanted.len());
        for (operand, to) in left.into_iter().chain([right]).zip(wanted) {
            operands.push(self.operand(operand, to)?);
        }
        Ok(Expr::Operation { operator, operands, kind: held(result.into())? })
    }

    pub(super) fn prefixed(&mut self, name: &str, operand: Expr) -> Bound<Expr> {
        match self.operation(name, None, operand)? {
            // It changes nothing.
            Expr::Operation { operator, mut operands, kind } if operator.name == "+" && operands.len() == 1 => {
                Ok(relabelled(operands.remove(0), kind))
            }
            other => Ok(other),
        }
    }

    pub(super) fn null_test(&mut self, argument: Expr, negated: bool) -> Bound<Expr> {
        let argument = Box::new(self.any(argument)?);
        Ok(Expr::Is { argument, what: Test::Null, negated })
    }

    /// `left IS DISTINCT FROM right`, or `IS NOT`.
    pub(super) fn distinct(&mut self, left: Expr, right: Expr, negated: bool) -> Bound<Expr> {
        let Applied { operator, operands, .. } = applied("=", Some(oid(&left)), oid(&right))?;
        let &[to_left, to_right] = &operands[..] else { return not_yet("= before its operand") };
        let (left, right) = (self.operand(left, to_left)?, self.operand(right, to_right)?);
        Ok(Expr::Distinct { operator, left: Box::new(left), right: Box::new(right), negated })
    }

    /// NULL where `left = right`, else `left`.
    pub(super) fn null_if(&mut self, left: Expr, right: Expr) -> Bound<Expr> {
        let Applied { operator, operands, .. } = applied("=", Some(oid(&left)), oid(&right))?;
        let &[to_left, to_right] = &operands[..] else { return not_yet("= before its operand") };
        let (left, right) = (self.operand(left, to_left)?, self.operand(right, to_right)?);
        let kind = held(left.kind())?;
        Ok(Expr::NullIf { operator, left: Box::new(left), right: Box::new(right), kind })
    }

    /// `left name ANY (array)`, or ALL.
    pub(super) fn quantified(&mut self, name: &str, left: Expr, array: Expr, all: bool) -> Bound<Expr> {
        let wrong = |message: &str| Err(Unbound::Wrong(Error::new("42809", message)));
        let element = match oid(&array) {
            UNKNOWN => UNKNOWN,
            array => match array.element() {
                Some(element) => element,
                None => return wrong("op ANY/ALL (array) requires array on right side"),
            },
        };
        let Applied { operator, operands, result } = applied(name, Some(oid(&left)), element)?;
        if result != BOOL {
            return wrong("op ANY/ALL (array) requires operator to yield boolean");
        }
        let (to_left, to_array) = match operands[..] {
            [left, element] => (left, element.array()),
            _ => return not_yet(format!("{name} before its operand")),
        };
        let Some(to_array) = to_array else { return not_yet("an array of arrays") };
        let (left, array) = (self.operand(left, to_left)?, self.operand(array, to_array)?);
        if !COMPARISONS.contains(&name)
            && let Expr::Array { elements, .. } = array
        {
            return spread(operator, left, elements, all);
        }
        Ok(Expr::Quantified { operator, left: Box::new(left), array: Box::new(array), all })
    }

    /// `left IN (list)`, or NOT IN: what names no columns of its level is compared as one type, if there is one, and all else one by one.
    pub(super) fn within(&mut self, left: Expr, list: Vec<Expr>, negated: bool, scope: &Scope) -> Bound<Expr> {
        let (columns, fixed): (Vec<usize>, Vec<usize>) =
            (0..list.len()).partition(|at| names_columns(&list[*at], scope));
        let kinds: Vec<Oid> = [oid(&left)].into_iter().chain(fixed.iter().map(|at| oid(&list[*at]))).collect();
        let together = common(&kinds).ok().filter(|together| {
            let is_one = kinds.iter().all(|kind| fits(*kind, *together, Context::Implicit));
            fixed.len() > 1 && is_one && together.array().is_some()
        });
        let mut list: Vec<Option<Expr>> = list.into_iter().map(Some).collect();
        let mut taken = |at: &usize| list[*at].take();
        let mut tests = vec![];
        let alone = match together {
            Some(together) => {
                let items = fixed.iter().filter_map(&mut taken).collect();
                tests.push(self.among(left.clone(), items, together, negated)?);
                columns
            }
            None => (0..columns.len() + fixed.len()).collect(),
        };
        let tested = tests.len() + alone.len();
        if tested > 1 && (is_large(&left) || is_long(&left, tested)) {
            return not_yet("IN of so long an expression");
        }
        if tested > 1 && left.has_subquery() {
            return not_yet("IN of a subquery's value");
        }
        for item in alone.iter().filter_map(taken) {
            tests.push(self.operation(if negated { "<>" } else { "=" }, Some(left.clone()), item)?);
        }
        Ok(match (tests.len(), negated) {
            (1, _) => tests.remove(0),
            (_, true) => Expr::And(tests),
            (_, false) => Expr::Or(tests),
        })
    }

    /// `left` is equal to one of `items`, which are read as `together` first.
    fn among(&mut self, left: Expr, items: Vec<Expr>, together: Oid, negated: bool) -> Bound<Expr> {
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.push(self.operand(item, together)?);
        }
        if negated {
            applied("<>", Some(oid(&left)), together)?;
        }
        let Applied { operator, operands, .. } = applied("=", Some(oid(&left)), together)?;
        let &[to_left, to_item] = &operands[..] else { return not_yet("= before its operand") };
        let list = list.into_iter().map(|item| self.operand(item, to_item)).collect::<Bound<_>>()?;
        let argument = Box::new(self.operand(left, to_left)?);
        Ok(Expr::In { operator, argument, list, negated })
    }
}

/// `left operator ANY` of what an array is made of, or ALL: one by one.
fn spread(operator: &'static Operator, left: Expr, elements: Vec<Expr>, all: bool) -> Bound<Expr> {
    let is_copied = elements.len() > 1 && (is_large(&left) || is_long(&left, elements.len()));
    let is_one_of = |element: &Expr| element.kind().oid.element().is_none();
    if is_copied || elements.is_empty() || !elements.iter().all(is_one_of) {
        return not_yet(format!("{} {}", operator.name, if all { "ALL" } else { "ANY" }));
    }
    let test = |element| Expr::Operation { operator, operands: vec![left.clone(), element], kind: BOOL.into() };
    let mut tests: Vec<Expr> = elements.into_iter().map(test).collect();
    Ok(match (tests.len(), all) {
        (1, _) => tests.remove(0),
        (_, true) => Expr::And(tests),
        (_, false) => Expr::Or(tests),
    })
}

fn oid(expr: &Expr) -> Oid {
    expr.kind().oid
}

/// The operator of a name; of what PostgreSQL says it has none, its error.
fn applied(name: &str, left: Option<Oid>, right: Oid) -> Bound<Applied> {
    resolve::operator(name, left, right).map_err(|error| match error.sqlstate {
        "42883" | "42725" => Unbound::Wrong(error),
        _ => Unbound::NotYet(format!("operator {name} of these types")),
    })
}

/// Whether it names columns, also in subqueries, that are of no query around.
fn names_columns(expr: &Expr, scope: &Scope) -> bool {
    let (mut names, has_subquery) = (false, expr.has_subquery());
    expr.each(&mut |part| {
        if let Expr::Column { id, .. } = part {
            names |= if has_subquery { scope.has(*id) } else { !scope.is_around(*id) };
        }
    });
    names
}

/// Whether it has more than [`COPIED`] parts, too many to be there twice.
pub fn is_large(expr: &Expr) -> bool {
    parts(expr, COPIED) > COPIED
}

/// Whether it is more than a column or a constant, and its parts would be too many if it was there so many times.
fn is_long(expr: &Expr, times: usize) -> bool {
    let parts = parts(expr, COPIED);
    parts > 1 && parts.saturating_mul(times) > COPIES
}

/// How many parts it has; of more than `most` that there are more.
pub fn parts(expr: &Expr, most: usize) -> usize {
    let (mut open, mut parts) = (vec![expr], 0);
    while let Some(next) = open.pop() {
        parts += 1;
        open.extend(next.children());
        if parts > most {
            break;
        }
    }
    parts
}

/// What LIKE is called, ILIKE and NOT LIKE.
pub fn like(insensitive: bool, negated: bool) -> &'static str {
    match (insensitive, negated) {
        (false, false) => "~~",
        (false, true) => "!~~",
        (true, false) => "~~*",
        (true, true) => "!~~*",
    }
}

/// PostgreSQL's name of an operator between two operands.
pub fn name(written: &BinaryOperator) -> Bound<&'static str> {
    use BinaryOperator::*;
    Ok(match written {
        Plus => "+",
        Minus => "-",
        Multiply => "*",
        Divide => "/",
        Modulo => "%",
        PGExp => "^",
        StringConcat => "||",
        Gt => ">",
        Lt => "<",
        GtEq => ">=",
        LtEq => "<=",
        Eq => "=",
        NotEq => "<>",
        BitwiseOr => "|",
        BitwiseAnd => "&",
        PGBitwiseXor => "#",
        PGBitwiseShiftLeft => "<<",
        PGBitwiseShiftRight => ">>",
        PGOverlap => "&&",
        PGRegexMatch => "~",
        PGRegexIMatch => "~*",
        PGRegexNotMatch => "!~",
        PGRegexNotIMatch => "!~*",
        PGLikeMatch => "~~",
        PGILikeMatch => "~~*",
        PGNotLikeMatch => "!~~",
        PGNotILikeMatch => "!~~*",
        PGStartsWith => "^@",
        Arrow => "->",
        LongArrow => "->>",
        HashArrow => "#>",
        HashLongArrow => "#>>",
        HashMinus => "#-",
        AtArrow => "@>",
        ArrowAt => "<@",
        AtQuestion => "@?",
        AtAt => "@@",
        Question => "?",
        QuestionAnd => "?&",
        QuestionPipe => "?|",
        other => return not_yet(format!("operator {other}")),
    })
}

/// The name in `OPERATOR(pg_catalog.+)`.
pub fn named(parts: &[String]) -> Bound<&str> {
    match parts {
        [name] => Ok(name),
        [schema, name] if schema == "pg_catalog" => Ok(name),
        _ => not_yet("this OPERATOR()"),
    }
}

/// The same of one before its operand.
pub fn prefix(written: &UnaryOperator) -> Bound<&'static str> {
    Ok(match written {
        UnaryOperator::Plus => "+",
        UnaryOperator::Minus => "-",
        UnaryOperator::BitwiseNot => "~",
        UnaryOperator::PGAbs => "@",
        UnaryOperator::PGSquareRoot => "|/",
        UnaryOperator::PGCubeRoot => "||/",
        other => return not_yet(format!("operator {other}")),
    })
}
