//! Expressions: one match over the forms of syntax. Here their parts are bound; what they make together is said by the other files, of
//! parts that are bound.

use super::call::{self, Written};
use super::chain::Chain;
use super::conditional;
use super::convert::Placed;
use super::form::{self, Argument, bare, is_null};
use super::group::Groups;
use super::scope::{Scope, is_function};
use super::{Binder, chain, information, kind, literal, operator, position, subquery};
use crate::bound::{Bound, Expr, Kind, Test, not_yet};
use crate::session::names::folded;
use crate::types::Type;
use crate::{stack, stop};
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CaseWhen, CastKind, Subscript, TypedString, UnaryOperator, ValueWithSpan,
};

/// Where an expression stands: what it may name, and what it may hold.
pub struct Place<'a> {
    pub scope: &'a Scope,
    /// As errors say it: `WHERE`, `HAVING`, `JOIN conditions`, `GROUP BY`, `LIMIT`, `VALUES`.
    pub clause: &'static str,
    /// Aggregates and window functions go here; `None`: they may not stand here.
    pub groups: Option<&'a mut Groups>,
}

/// Window functions within expressions.
pub trait Windowed {
    /// A call with OVER: the column that [`super::group::Groups::over`] has for it.
    fn windowed(&mut self, written: &Written, over: &ast::WindowType, place: &mut Place) -> Bound<Expr>;
}

impl Binder<'_> {
    /// `expr` at `place`. A literal or a parameter without a type stays UNKNOWN: who asked knows what it becomes. Of an aggregate it is the
    /// column that [`Groups::add`] has for it, of a window function that of [`Groups::over`].
    pub fn expression(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        stop::check()?;
        stack::level(|| self.form(expr, place))
    }

    /// A truth value: an error says `argument of WHERE must be type boolean, not type integer` (42804).
    pub fn condition(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        let clause = if place.clause == "JOIN conditions" { "JOIN/ON" } else { place.clause };
        self.truth(expr, clause, place)
    }

    /// A number of rows (int8), as of LIMIT and OFFSET, which is what `place` calls it. NULL stays NULL.
    pub fn number(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        let bound = self.expression(expr, place)?;
        let number = self.specific(bound, &Type::Int8, place.clause, position::of(expr))?;
        self.fixed(&number, expr, place.clause, place.scope)?;
        Ok(number)
    }

    fn form(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        use ast::Expr as Form;
        match expr {
            Form::Identifier(name) if is_function(name) => self.word(&folded(name)),
            Form::Identifier(name) => self.named(std::slice::from_ref(name), place.scope),
            Form::CompoundIdentifier(names) => self.named(names, place.scope),
            Form::Nested(inner) => self.expression(inner, place),
            Form::Value(value) => self.literal(value),
            Form::TypedString(typed) => self.typed(typed),
            Form::Interval(interval) => {
                let text = self.unknown(&literal::amount(interval)?, position::of(&interval.value));
                self.cast(text, Kind::of(&Type::Interval))
            }
            Form::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => self.written_cast(expr, kind::of(data_type)?, place),
            Form::Collate { expr, collation } => {
                let expr = self.expression(expr, place)?;
                self.collated(expr, collation)
            }
            Form::UnaryOp { op: UnaryOperator::Not, expr } => Ok(Expr::Not(Box::new(self.truth(expr, "NOT", place)?))),
            Form::UnaryOp { op, expr: operand } => match literal::signed(expr) {
                Some((digits, negative)) => literal::number(digits, negative),
                None => {
                    let operand = self.expression(operand, place)?;
                    self.prefixed(operator::prefix(op)?, operand)
                }
            },
            Form::BinaryOp { left, op, right } => match op {
                BinaryOperator::And | BinaryOperator::Or => self.connected(expr, op, place),
                BinaryOperator::PGCustomBinaryOperator(parts) => {
                    let name = operator::named(parts)?;
                    // An error would say the name as it is written.
                    self.binary(name, left, right, place).or_else(|_| not_yet(format!("operator {op}")))
                }
                _ => self.binary(operator::name(op)?, left, right, place),
            },
            Form::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.written_case(operand.as_deref(), conditions, else_result.as_deref(), place)
            }
            Form::Array(ast::Array { elem, named: true }) => {
                let elements = self.all(elem, place)?;
                self.array(elements, None)
            }
            Form::CompoundFieldAccess { root, access_chain } => match &access_chain[..] {
                [AccessExpr::Subscript(Subscript::Index { index })] => {
                    let array = self.placed(root, place)?;
                    let (array, element) = self.subscripted(array)?;
                    let index = self.placed(index, place)?;
                    self.subscript(array, element, index)
                }
                _ => not_yet("fields, slices and several subscripts"),
            },
            Form::Function(function) => self.written_function(function, place),
            other => match form::call(other)? {
                Some(call) => self.formed(call, place),
                None => self.predicate(other, place),
            },
        }
    }

    fn typed(&mut self, written: &TypedString) -> Bound<Expr> {
        let TypedString { data_type, value, uses_odbc_syntax } = written;
        let to = kind::of(data_type)?;
        match literal::text(&value.value) {
            Some(text) if !uses_odbc_syntax => {
                let text = self.unknown(text, position::at(value.span));
                self.cast(text, to)
            }
            _ => not_yet("this form of literal"),
        }
    }

    fn predicate(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        use ast::Expr as Form;
        match expr {
            Form::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(operator::like(false, *negated), expr, pattern, escape_char.as_ref(), place)
            }
            Form::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(operator::like(true, *negated), expr, pattern, escape_char.as_ref(), place)
            }
            Form::Like { negated, any: true, expr, pattern, escape_char: None } => {
                self.like_any(operator::like(false, *negated), expr, pattern, place)
            }
            Form::ILike { negated, any: true, expr, pattern, escape_char: None } => {
                self.like_any(operator::like(true, *negated), expr, pattern, place)
            }
            Form::Between { expr, negated, low, high } => self.between(expr, low, high, *negated, place),
            Form::InList { expr, list, negated } => {
                let value = self.expression(expr, place)?;
                let list = list.iter().map(|item| self.expression(item, place)).collect::<Bound<_>>()?;
                self.within(value, list, *negated, place.scope)
            }
            Form::AnyOp { left, compare_op, right, is_some: _ } => {
                self.any_or_all(operator::name(compare_op)?, left, right, false, place)
            }
            Form::AllOp { left, compare_op, right } => {
                self.any_or_all(operator::name(compare_op)?, left, right, true, place)
            }
            Form::Subquery(query) => self.scalar(query, place.scope),
            Form::Exists { subquery, negated } => {
                let exists = self.exists(subquery, place.scope)?;
                Ok(if *negated { Expr::Not(Box::new(exists)) } else { exists })
            }
            Form::InSubquery { expr, subquery, negated } => {
                let found = self.among_rows("=", expr, subquery, false, place)?;
                Ok(if *negated { Expr::Not(Box::new(found)) } else { found })
            }
            Form::IsDistinctFrom(left, right) => self.different(left, right, false, place),
            Form::IsNotDistinctFrom(left, right) => self.different(left, right, true, place),
            Form::IsNull(argument) => self.nullness(argument, false, place),
            Form::IsNotNull(argument) => self.nullness(argument, true, place),
            Form::IsTrue(argument) => self.test(argument, Test::True, "IS TRUE", place),
            Form::IsNotTrue(argument) => self.test(argument, Test::True, "IS NOT TRUE", place),
            Form::IsFalse(argument) => self.test(argument, Test::False, "IS FALSE", place),
            Form::IsNotFalse(argument) => self.test(argument, Test::False, "IS NOT FALSE", place),
            Form::IsUnknown(argument) => self.test(argument, Test::Unknown, "IS UNKNOWN", place),
            Form::IsNotUnknown(argument) => self.test(argument, Test::Unknown, "IS NOT UNKNOWN", place),
            Form::Tuple(_) => not_yet("a row"),
            Form::SimilarTo { .. } => not_yet("SIMILAR TO"),
            _ => not_yet("this expression"),
        }
    }

    /// An expression with where it is written.
    fn placed(&mut self, expr: &ast::Expr, place: &mut Place) -> Bound<Placed> {
        Ok((self.expression(expr, place)?, position::of(expr)))
    }

    fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e ast::Expr>, place: &mut Place) -> Bound<Vec<Placed>> {
        exprs.into_iter().map(|expr| self.placed(expr, place)).collect()
    }

    fn truth(&mut self, expr: &ast::Expr, construct: &str, place: &mut Place) -> Bound<Expr> {
        let bound = self.expression(expr, place)?;
        self.specific(bound, &Type::Bool, construct, position::of(expr))
    }

    fn binary(&mut self, name: &str, left: &ast::Expr, right: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        let (left, right) = (self.expression(left, place)?, self.expression(right, place)?);
        self.operation(name, Some(left), right)
    }

    /// `left name ANY (right)`, or ALL: of an array, or of the rows of a query.
    fn any_or_all(
        &mut self,
        name: &str,
        left: &ast::Expr,
        right: &ast::Expr,
        all: bool,
        place: &mut Place,
    ) -> Bound<Expr> {
        if let Some(query) = subquery::compared(right)? {
            return self.among_rows(name, left, query, all, place);
        }
        let (left, right) = (self.expression(left, place)?, self.expression(right, place)?);
        self.quantified(name, left, right, all)
    }

    /// The same of a query, which tells parameters of `left` their types. `(a, b)` is compared with two columns.
    fn among_rows(
        &mut self,
        name: &str,
        left: &ast::Expr,
        query: &ast::Query,
        all: bool,
        place: &mut Place,
    ) -> Bound<Expr> {
        let rows = self.rows_within(query, place.scope)?;
        let left = match bare(left) {
            ast::Expr::Tuple(values) => values.as_slice(),
            _ => std::slice::from_ref(left),
        };
        let left = left.iter().map(|value| self.expression(value, place)).collect::<Bound<_>>()?;
        self.compared(rows, name, left, all)
    }

    /// A chain of AND or of OR, however it is nested.
    fn connected(&mut self, expr: &ast::Expr, op: &BinaryOperator, place: &mut Place) -> Bound<Expr> {
        let word = op.to_string();
        let (mut open, mut operands) = (vec![expr], vec![]);
        while let Some(next) = open.pop() {
            match bare(next) {
                ast::Expr::BinaryOp { left, op: other, right } if other == op => {
                    open.extend([right.as_ref(), left.as_ref()]);
                }
                operand => operands.push(self.truth(operand, &word, place)?),
            }
        }
        Ok(if *op == BinaryOperator::And { Expr::And(operands) } else { Expr::Or(operands) })
    }

    fn like(
        &mut self,
        name: &str,
        value: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ValueWithSpan>,
        place: &mut Place,
    ) -> Bound<Expr> {
        let value = self.expression(value, place)?;
        let mut pattern = self.expression(pattern, place)?;
        if let Some(escape) = escape {
            let escape = self.literal(escape)?;
            pattern = self.function("like_escape", vec![pattern, escape]).map_err(call::qualified)?;
        }
        self.operation(name, Some(value), pattern)
    }

    fn like_any(&mut self, name: &str, value: &ast::Expr, patterns: &ast::Expr, place: &mut Place) -> Bound<Expr> {
        if let ast::Expr::Tuple(_) = patterns {
            return not_yet("LIKE ANY of a list");
        }
        let (value, patterns) = (self.expression(value, place)?, self.expression(patterns, place)?);
        self.quantified(name, value, patterns, false)
    }

    fn between(
        &mut self,
        value: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
        place: &mut Place,
    ) -> Bound<Expr> {
        let (below, above) = if negated { ("<", ">") } else { (">=", "<=") };
        let (syntax, value, low) = (value, self.expression(value, place)?, self.expression(low, place)?);
        if operator::is_large(&value) {
            return not_yet("BETWEEN of so long an expression");
        }
        let low = self.operation(below, Some(value.clone()), low)?;
        let value = match value {
            // By now it has a type.
            Expr::Parameter { number, .. } => Expr::Parameter { number, kind: self.parameters.used(number) },
            // No two subqueries have columns in common.
            other if other.has_subquery() => self.expression(syntax, place)?,
            other => other,
        };
        let high = self.expression(high, place)?;
        let both = vec![low, self.operation(above, Some(value), high)?];
        Ok(if negated { Expr::Or(both) } else { Expr::And(both) })
    }

    fn different(&mut self, left: &ast::Expr, right: &ast::Expr, negated: bool, place: &mut Place) -> Bound<Expr> {
        match (is_null(left), is_null(right)) {
            (_, true) => self.nullness(left, !negated, place),
            (true, _) => self.nullness(right, !negated, place),
            _ => {
                let (left, right) = (self.expression(left, place)?, self.expression(right, place)?);
                self.distinct(left, right, negated)
            }
        }
    }

    fn nullness(&mut self, argument: &ast::Expr, negated: bool, place: &mut Place) -> Bound<Expr> {
        let argument = self.expression(argument, place)?;
        self.null_test(argument, negated)
    }

    fn test(&mut self, argument: &ast::Expr, what: Test, words: &str, place: &mut Place) -> Bound<Expr> {
        let argument = Box::new(self.truth(argument, words, place)?);
        Ok(Expr::Is { argument, what, negated: words.contains("NOT") })
    }

    fn written_cast(&mut self, expr: &ast::Expr, to: Kind, place: &mut Place) -> Bound<Expr> {
        if let (ast::Expr::Array(ast::Array { elem, named: true }), Some(oid)) = (bare(expr), to.oid.element()) {
            let elements = self.all(elem, place)?;
            return self.array(elements, Some(Kind { oid, ..to }));
        }
        let expr = self.expression(expr, place)?;
        self.cast(expr, to)
    }

    fn written_case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&ast::Expr>,
        place: &mut Place,
    ) -> Bound<Expr> {
        let operand = match operand {
            Some(operand) => {
                let operand = self.expression(operand, place)?;
                Some(self.settled(operand)?)
            }
            None => None,
        };
        let (mut tests, mut results) = (vec![], vec![]);
        for CaseWhen { condition, result } in conditions {
            tests.push(match &operand {
                None => self.truth(condition, "CASE/WHEN", place)?,
                Some(operand) => {
                    let value = self.expression(condition, place)?;
                    self.operation("=", Some(Expr::Operand { kind: operand.kind() }), value)?
                }
            });
            results.push(self.placed(result, place)?);
        }
        let otherwise = otherwise.map(|otherwise| self.placed(otherwise, place)).transpose()?;
        self.case(operand, tests, results, otherwise)
    }

    /// A call in words of grammar.
    fn formed(&mut self, call: form::Call, place: &mut Place) -> Bound<Expr> {
        let mut arguments = vec![];
        for argument in call.arguments {
            arguments.push(match argument {
                Argument::Written(expr) => self.expression(expr, place)?,
                Argument::Integer(expr) => self.written_cast(expr, Kind::of(&Type::Int4), place)?,
                Argument::One => literal::number("1", false)?,
                Argument::Text(text) => self.unknown(&text, None),
            });
        }
        let called = self.function(call.name, arguments);
        called.map_err(|why| if call.is_plain { why } else { call::qualified(why) })
    }

    fn written_function(&mut self, function: &ast::Function, place: &mut Place) -> Bound<Expr> {
        if let Some(Chain { steps, operands }) = chain::written(function)? {
            let operands = operands.iter().map(|operand| self.expression(operand, place)).collect::<Bound<_>>()?;
            return self.chained(&steps, operands);
        }
        if let Some((query, position)) = subquery::array(function) {
            return self.collected(query, position, place.scope);
        }
        match information::word(function) {
            Some(word) => self.word(&word),
            None => self.written_call(&call::written(function)?, place),
        }
    }

    fn written_call(&mut self, written: &Written, place: &mut Place) -> Bound<Expr> {
        if let Some(over) = written.over {
            return self.windowed(written, over, place);
        }
        if call::is_aggregate(&written.name) {
            return self.aggregate(written, place);
        }
        if let Some(form) = conditional::Form::named(written) {
            let arguments = self.all(written.arguments.iter().copied(), place)?;
            return self.conditional(form, arguments);
        }
        let arguments = written.arguments.iter().map(|argument| self.expression(argument, place));
        let arguments = arguments.collect::<Bound<_>>()?;
        self.called(written, arguments)
    }

    fn aggregate(&mut self, written: &Written, place: &mut Place) -> Bound<Expr> {
        let clause = if place.groups.is_some() { call::AGGREGATE } else { place.clause };
        let mut inside = Place { scope: place.scope, clause, groups: None };
        let mut arguments = vec![];
        for argument in &written.arguments {
            arguments.push(self.expression(argument, &mut inside)?);
        }
        inside.clause = "FILTER";
        let filter = written.filter.map(|filter| self.condition(filter, &mut inside)).transpose()?;
        let mut aggregate = self.aggregated(written, arguments, filter)?;
        inside.clause = clause;
        for by in written.order {
            let bound = self.expression(&by.expr, &mut inside)?;
            let order = self.ordered(&aggregate, written, bound, by)?;
            aggregate.order.push(order);
        }
        self.told_apart(&aggregate, written)?;
        if subquery::is_around(&aggregate, place.scope) {
            return not_yet("an aggregate of a query around");
        }
        let kind = aggregate.kind;
        let fresh = self.column();
        match place.groups.as_deref_mut() {
            Some(groups) => Ok(Expr::Column { id: groups.add(aggregate, fresh), kind }),
            None => Err(written.misplaced(place.clause)),
        }
    }
}
