//! Long expressions made flat before anybody walks them.
//!
//! A chain of operators is read as a tree that leans to one side and is as deep as the chain is long; all that walk trees take
//! stack for each level, and those that ask at each level for the type or the name of what is below take the square of its
//! length or worse. So once it is long, a chain of AND or OR becomes a tree that is as flat as can be, and one of arithmetic or `||` one
//! call of [`CHAIN`] with all operands side by side. What it says stays the same, and [`written`] tells it as it was.

use super::call::call;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Query,
    SetExpr, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use std::fmt::Display;
use std::ops::ControlFlow;

/// The function a chain is a call of: its first argument tells the steps as text, then come the operands, the innermost first. No
/// identifier a client sends holds such a character.
pub const CHAIN: &str = "\u{1}chain";
/// Shorter ones stay as they are: what they cost is little, and equal parts of them are found to be equal.
const LONG: usize = 24;

/// One operator of a chain, with what the steps before it gave on one of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// As it is written, but `|` for `||`.
    sign: char,
    /// The value so far is on the left.
    pub left: bool,
    /// It was written in parentheses.
    nested: bool,
}

impl Step {
    pub fn operator(self) -> &'static str {
        SIGNS.iter().find(|(sign, _, _)| *sign == self.sign).map_or("", |(_, operator, _)| operator)
    }
}

const SIGNS: &[(char, &str, BinaryOperator)] = &[
    ('+', "+", BinaryOperator::Plus),
    ('-', "-", BinaryOperator::Minus),
    ('*', "*", BinaryOperator::Multiply),
    ('/', "/", BinaryOperator::Divide),
    ('%', "%", BinaryOperator::Modulo),
    ('^', "^", BinaryOperator::PGExp),
    ('|', "||", BinaryOperator::StringConcat),
];

fn sign(op: &BinaryOperator) -> Option<char> {
    SIGNS.iter().find(|(_, _, of)| of == op).map(|(sign, _, _)| *sign)
}

/// The steps as the first argument of a call tells them; `None` if it does not.
pub fn steps(text: &str) -> Option<Vec<Step>> {
    let letters: Vec<char> = text.chars().collect();
    let step = |letters: &[char]| match *letters {
        [sign, side @ ('<' | '>'), nest @ ('(' | ' ')] if SIGNS.iter().any(|(of, _, _)| *of == sign) => {
            Some(Step { sign, left: side == '<', nested: nest == '(' })
        }
        _ => None,
    };
    letters.chunks(3).map(step).collect()
}

/// `operands` joined by `steps`, as SQL.
pub fn text(steps: &[Step], operands: &[impl Display]) -> String {
    let (mut before, mut after) = (vec![], String::new());
    for (step, operand) in steps.iter().zip(operands.iter().skip(1)) {
        if step.nested {
            before.push("(".to_string());
            after.push(')');
        }
        match step.left {
            true => after.push_str(&format!(" {} {operand}", step.operator())),
            false => before.push(format!("{operand} {} ", step.operator())),
        }
    }
    let first = operands.first().map(ToString::to_string).unwrap_or_default();
    format!("{}{first}{after}", before.into_iter().rev().collect::<String>())
}

/// Makes every long chain in `tree` flat.
pub fn flatten<T: VisitMut>(tree: &mut T) {
    // Nothing breaks off.
    let _ = tree.visit(&mut Flattener { groups: vec![] });
}

/// `tree` as SQL that can be read again by others: without calls of ours.
pub fn written<T: VisitMut + Display + Clone>(tree: &T) -> String {
    let mut tree = tree.clone();
    let _ = tree.visit(&mut Writer);
    tree.to_string()
}

/// Whether `function` stands for a chain.
pub fn is_chain(function: &Function) -> bool {
    matches!(&function.name.0[..], [part] if part.as_ident().is_some_and(|name| name.value == CHAIN))
}

struct Writer;

impl VisitorMut for Writer {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && is_chain(function)
            && let FunctionArguments::List(list) = &function.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(told))), operands @ ..] = &list.args[..]
            && let Value::SingleQuotedString(told) = &told.value
            && let Some(steps) = steps(told)
        {
            *expr = Expr::Identifier(Ident::new(text(&steps, operands)));
        }
        ControlFlow::Continue(())
    }
}

struct Flattener {
    /// What each of the queries around groups by, as far as it is an operator: parts that are equal to it stay as they are.
    groups: Vec<Vec<Expr>>,
}

impl VisitorMut for Flattener {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut found = vec![];
        groups(&query.body, &mut found);
        self.groups.push(found);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.groups.pop();
        ControlFlow::Continue(())
    }

    /// From the top: what is below has been taken apart before anybody goes there.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        while let Expr::Nested(inner) = expr
            && let Expr::Nested(inner) = inner.as_mut()
        {
            let inner = take(inner);
            *expr = Expr::Nested(Box::new(inner));
        }
        match expr {
            Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => connect(expr),
            Expr::BinaryOp { op, .. } if sign(op).is_some() => self.chain(expr),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Flattener {
    /// The part of a chain that goes on, if `expr` is one: which side it is on.
    fn side(&self, left: &Expr, right: &Expr) -> Option<bool> {
        let goes_on = |side: &Expr| {
            let side = bare(side);
            let linked = matches!(side, Expr::BinaryOp { op, .. } if sign(op).is_some());
            linked && !self.groups.iter().flatten().any(|group| group == side)
        };
        if goes_on(left) { Some(true) } else { goes_on(right).then_some(false) }
    }

    /// How many operators are chained in `expr`; `None` if one has a parameter, whose type is told by what is beside it.
    fn length(&self, expr: &Expr) -> Option<usize> {
        let (mut at, mut length) = (expr, 0);
        while let Expr::BinaryOp { left, right, .. } = at {
            if is_parameter(left) || is_parameter(right) {
                return None;
            }
            length += 1;
            at = match self.side(left, right) {
                Some(true) => bare(left),
                Some(false) => bare(right),
                None => break,
            };
        }
        Some(length)
    }

    fn chain(&self, expr: &mut Expr) {
        if self.length(expr).is_none_or(|length| length < LONG) {
            return;
        }
        let (mut told, mut operands) = (vec![], vec![]);
        let mut at = take(expr);
        let first = loop {
            let Expr::BinaryOp { left, op, right } = at else { break at };
            let side = self.side(&left, &right);
            let (held, operand) = if side == Some(false) { (*right, *left) } else { (*left, *right) };
            operands.push(operand);
            let nested = side.is_some() && matches!(held, Expr::Nested(_));
            let sign = sign(&op).unwrap_or_default();
            told.push([sign, if side == Some(false) { '>' } else { '<' }, if nested { '(' } else { ' ' }]);
            match side {
                Some(_) => at = owned(held),
                None => break held,
            }
        };
        operands.push(first);
        operands.push(Expr::value(Value::SingleQuotedString(told.into_iter().rev().flatten().collect())));
        operands.reverse();
        *expr = call(Ident::with_quote('"', CHAIN), operands);
    }
}

/// The expressions that `body` groups by and that are operators; long ones are made flat where they stand, as all others are.
fn groups(body: &SetExpr, found: &mut Vec<Expr>) {
    match body {
        SetExpr::Select(select) => {
            let GroupByExpr::Expressions(by, _) = &select.group_by else { return };
            let short = |expr: &&Expr| {
                let mut at = bare(expr);
                for _ in 0..LONG {
                    match at {
                        Expr::BinaryOp { left, op, .. } if sign(op).is_some() => at = bare(left),
                        _ => return true,
                    }
                }
                false
            };
            let operators = by.iter().map(bare).filter(|by| matches!(by, Expr::BinaryOp { .. }));
            found.extend(operators.filter(short).cloned());
        }
        SetExpr::SetOperation { left, right, .. } => {
            groups(left, found);
            groups(right, found);
        }
        _ => {}
    }
}

/// A long chain of ANDs or ORs as a tree whose halves are alike, the operands in their order.
fn connect(expr: &mut Expr) {
    let Expr::BinaryOp { op, .. } = &*expr else { return };
    let op = op.clone();
    let same = |part: &Expr| matches!(bare(part), Expr::BinaryOp { op: other, .. } if *other == op);
    let (mut open, mut count, mut depth) = (vec![(&*expr, 1)], 0_usize, 0);
    while let Some((at, level)) = open.pop() {
        match bare(at) {
            Expr::BinaryOp { left, right, .. } if same(at) => {
                open.extend([(&**left, level + 1), (&**right, level + 1)])
            }
            _ => (count, depth) = (count + 1, depth.max(level)),
        }
    }
    // One that is flat already has no more levels than a tree of so many leaves must have.
    if count < LONG || depth <= count.ilog2() as usize + 2 {
        return;
    }
    let (mut operands, mut open) = (Vec::with_capacity(count), vec![take(expr)]);
    while let Some(at) = open.pop() {
        if !same(&at) {
            operands.push(Some(at));
            continue;
        }
        if let Expr::BinaryOp { left, right, .. } = owned(at) {
            open.extend([*right, *left]);
        }
    }
    *expr = halves(&mut operands, &op);
}

fn halves(operands: &mut [Option<Expr>], op: &BinaryOperator) -> Expr {
    if let [operand] = operands {
        return operand.take().unwrap_or_else(null);
    }
    let (left, right) = operands.split_at_mut(operands.len() / 2);
    let (left, right) = (Box::new(halves(left, op)), Box::new(halves(right, op)));
    Expr::BinaryOp { left, op: op.clone(), right }
}

/// Without parentheses.
fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

fn owned(mut expr: Expr) -> Expr {
    while let Expr::Nested(inner) = expr {
        expr = *inner;
    }
    expr
}

fn is_parameter(expr: &Expr) -> bool {
    let mut at = bare(expr);
    while let Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } = at {
        at = bare(expr);
    }
    matches!(at, Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }))
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, null())
}

fn null() -> Expr {
    Expr::value(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Statement, parse};

    fn read(sql: &str) -> Query {
        match parse(sql).expect("a statement").remove(0).statement {
            Statement::Query(query) => *query,
            other => panic!("{other:?}"),
        }
    }

    /// As often as `count`, between `open` and `close`.
    fn around(open: &str, inner: &str, close: &str, count: usize) -> String {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    }

    #[test]
    fn a_chain_of_any_length_is_read_dropped_and_written_as_it_was() {
        for count in [1, 10, 23, 24, 25, 100, 20_000] {
            for sql in [
                format!("SELECT a{}", " + 1 - b".repeat(count)),
                format!("SELECT 'x'{}", " || a".repeat(count)),
                format!("SELECT a WHERE a = 1{}", " OR b = 2 AND c = 3".repeat(count)),
                format!("SELECT a WHERE a{}", " AND (b OR c)".repeat(count)),
            ] {
                assert_eq!(written(&read(&sql)), sql);
            }
        }
        for count in [1, 24, 100, 1000] {
            for sql in [
                format!("SELECT {}", around("(", "a", " + 1) * 2", count)),
                format!("SELECT {}", around("a - (", "b - c", ")", count)),
                // Nothing makes these flat: at 1,000 they are too deep.
                format!("SELECT {}", around("a || (b - (", "b - c", ") * 2)", count.min(100))),
            ] {
                assert_eq!(written(&read(&sql)), sql);
            }
        }
    }

    #[test]
    fn parentheses_that_say_nothing_go() {
        assert_eq!(written(&read(&format!("SELECT {}", around("(", "a", ")", 1000)))), "SELECT (a)");
        let chain = format!("SELECT a WHERE {}", around("a AND (", "b", ")", 1000));
        assert_eq!(written(&read(&chain)), format!("SELECT a WHERE {}(b)", "a AND ".repeat(1000)));
    }

    #[test]
    fn what_a_query_groups_by_is_left_in_it() {
        let sql = format!("SELECT a * 2{} GROUP BY a * 2", " + 1".repeat(40));
        let query = read(&sql);
        let call = query.to_string();
        assert!(call.contains("a * 2, 1, 1"), "{call}");
        assert_eq!(written(&query), sql);
    }

    #[test]
    fn a_chain_with_a_parameter_is_left_to_tell_its_type() {
        let sql = format!("SELECT a{} + $1", " + 1".repeat(40));
        let query = read(&sql);
        assert!(query.to_string().ends_with(") + $1"), "{query}");
        assert_eq!(written(&query), sql);
    }
}
