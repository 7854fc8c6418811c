//! Expressions as Postgres' precedences group them, where sqlparser's differ. What is in parentheses is a node of its own, so
//! whatever an operator holds without them was put there by precedence alone.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, VisitMut, VisitorMut};
use std::ops::ControlFlow;

/// Regroups every expression of `tree`.
pub fn group<T: VisitMut>(tree: &mut T) {
    // Nothing breaks off.
    let _ = tree.visit(&mut Groups);
}

struct Groups;

impl VisitorMut for Groups {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { .. } = expr {
            lower(expr);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        regroup(expr);
        ControlFlow::Continue(())
    }
}

/// Regroups an expression whose parts are regrouped already.
pub fn regroup(expr: &mut Expr) {
    match expr {
        // The right side of IS DISTINCT FROM ends before AND and OR; so does what stands before it.
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => {
            lift(expr_of(right), expr, looser_than_is)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr: operand } => lift(expr_of(operand), expr, looser_than_is),
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => lift(expr_of(right), expr, is_or),
        // A sign binds more closely than a power, `~` and the like less closely than a sum.
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: operand } => {
            lift(expr_of(operand), expr, is_power)
        }
        // Matches are operators like `||`, from left to right.
        Expr::BinaryOp { op, right, .. } if is_match(op) => lift(expr_of(right), expr, is_other),
        _ => {}
    }
}

type Test = fn(&BinaryOperator) -> bool;

/// Whether the operand at the right end of `whole` is an operator that `test` lets out of it.
fn expr_of(operand: &Expr) -> Option<BinaryOperator> {
    match operand {
        Expr::BinaryOp { op, .. } => Some(op.clone()),
        _ => None,
    }
}

/// `whole(a op b)` becomes `whole(a) op b`, for as long as the leftmost operand is such an operator.
fn lift(op: Option<BinaryOperator>, whole: &mut Expr, test: Test) {
    if !op.is_some_and(|op| test(&op)) {
        return;
    }
    let Some(place) = last(whole) else { return };
    let mut lifted = std::mem::replace(place, Expr::value(Value::Null));
    let mut leftmost = &mut lifted;
    loop {
        let Expr::BinaryOp { left, .. } = leftmost else { return };
        let further = matches!(left.as_ref(), Expr::BinaryOp { op, .. } if test(op));
        leftmost = left;
        if !further {
            break;
        }
    }
    *place = std::mem::replace(leftmost, Expr::value(Value::Null));
    *leftmost = std::mem::replace(whole, Expr::value(Value::Null));
    *whole = lifted;
}

/// `~ a + b - c` becomes `~ (a + b - c)`. To be called before `~` and the like are anything else.
pub fn lower(whole: &mut Expr) {
    let mut leftmost = &mut *whole;
    while let Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, .. } = leftmost {
        leftmost = left;
    }
    let Expr::UnaryOp { op, expr } = leftmost else { return };
    use UnaryOperator::*;
    if !matches!(op, BitwiseNot | PGAbs | PGSquareRoot | PGCubeRoot) {
        return;
    }
    let (op, operand) = (*op, std::mem::replace(expr.as_mut(), Expr::value(Value::Null)));
    *leftmost = operand;
    let whole_operand = std::mem::replace(whole, Expr::value(Value::Null));
    *whole = Expr::UnaryOp { op, expr: Box::new(whole_operand) };
}

/// The operand at the right end.
fn last(expr: &mut Expr) -> Option<&mut Expr> {
    match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => Some(right),
        Expr::UnaryOp { expr, .. } => Some(expr),
        Expr::BinaryOp { right, .. } => Some(right),
        _ => None,
    }
}

fn looser_than_is(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

fn is_or(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::Or)
}

fn is_power(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::PGExp)
}

fn is_match(op: &BinaryOperator) -> bool {
    use BinaryOperator::*;
    matches!(
        op,
        PGRegexMatch
            | PGRegexIMatch
            | PGRegexNotMatch
            | PGRegexNotIMatch
            | PGLikeMatch
            | PGILikeMatch
            | PGNotLikeMatch
            | PGNotILikeMatch
    )
}

fn is_other(op: &BinaryOperator) -> bool {
    use BinaryOperator::*;
    matches!(op, StringConcat | BitwiseAnd | BitwiseOr | PGBitwiseXor | PGBitwiseShiftLeft | PGBitwiseShiftRight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    /// With parentheses around what belongs together.
    fn grouped(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", grouped(left), grouped(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", grouped(expr)),
            Expr::IsDistinctFrom(left, right) => format!("({} <=> {})", grouped(left), grouped(right)),
            Expr::Nested(inner) => grouped(inner),
            other => other.to_string(),
        }
    }

    #[test]
    fn operators_bind_as_in_postgres() {
        for (written, expected) in [
            ("a IS DISTINCT FROM b AND c", "((a <=> b) AND c)"),
            ("x AND a IS DISTINCT FROM b OR c", "((x AND (a <=> b)) OR c)"),
            ("a IS DISTINCT FROM b OR c AND d", "((a <=> b) OR (c AND d))"),
            ("NOT a IS DISTINCT FROM b AND c", "((NOT (a <=> b)) AND c)"),
            ("a IS DISTINCT FROM (b AND c)", "(a <=> (b AND c))"),
            ("a IS DISTINCT FROM b + 1 AND c AND d", "(((a <=> (b + 1)) AND c) AND d)"),
            ("- 2 ^ 2", "((- 2) ^ 2)"),
            ("- 2 ^ 2 ^ 3", "(((- 2) ^ 2) ^ 3)"),
            ("a * - b ^ 2", "(a * ((- b) ^ 2))"),
            ("a ~ 'x' || 'y'", "((a ~ 'x') || 'y')"),
            ("~ 1 + 2 - 3", "(~ ((1 + 2) - 3))"),
            ("a AND b OR c", "((a AND b) OR c)"),
            ("NOT a AND b", "((NOT a) AND b)"),
        ] {
            let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(written).unwrap();
            let mut expr = parser.parse_expr().unwrap();
            group(&mut expr);
            assert_eq!(grouped(&expr), expected, "{written}");
        }
    }
}
