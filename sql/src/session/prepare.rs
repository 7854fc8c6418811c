//! Syntax that DataFusion's planner refuses for our types or reads differently becomes function calls.

use super::{case, names, precedence, refuse, using};
use crate::error::Result;
use crate::function;
use crate::statement::call;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, CaseWhen, CastKind, DataType, DuplicateTreatment, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, Interval, LimitClause, ObjectNamePart, Query,
    SetExpr, Subscript, UnaryOperator, Value, ValueWithSpan, Visit, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// To be called on every query before it is planned. Refuses by name what would be answered wrongly.
pub fn prepare<T: Visit + VisitMut>(query: &mut T) -> Result<()> {
    refuse::check(query)?;
    // Nothing breaks off.
    let _ = VisitMut::visit(query, &mut Prepare { cases: vec![] });
    Ok(())
}

struct Prepare {
    /// How many CASEs are nested so far in each of the expressions that are open.
    cases: Vec<usize>,
}

impl VisitorMut for Prepare {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let recursive = query.with.as_mut().filter(|with| with.recursive);
        for cte in recursive.into_iter().flat_map(|with| &mut with.cte_tables) {
            if let SetExpr::SetOperation { left, .. } = cte.query.body.as_mut() {
                first_rows(left);
            }
        }
        selects(&mut query.body);
        // FETCH FIRST n ROWS ONLY is how the standard writes LIMIT.
        if let Some(fetch) = query.fetch.take() {
            let limit = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".into(), false)));
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => offset,
                _ => None,
            };
            query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset, limit_by: vec![] });
        }
        let limit = query.limit_clause.clone();
        if let Some(subquery) = refuse::limited(query) {
            subquery.limit_clause = limit;
            query.limit_clause = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.cases.push(0);
        if let Expr::BinaryOp { .. } = expr {
            precedence::lower(expr);
        }
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } = expr
            && let Some(number) = beyond_decimal(operand)
        {
            *expr = numeric(format!("-{number}"));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(number) = beyond_decimal(expr) {
            *expr = numeric(number);
        }
        precedence::regroup(expr);
        let cases = self.cases.pop().unwrap_or_default() + usize::from(matches!(expr, Expr::Case { .. }));
        if let Some(around) = self.cases.last_mut() {
            *around = cases.max(*around);
        }
        match expr {
            Expr::Case { .. } if cases > case::FEW => case::call(expr),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } if !literal(operand) => {
                *expr = call("negate", vec![take(operand)]);
            }
            Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: operand } => {
                *expr = call("~", vec![take(operand)]);
            }
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: operand } => *expr = take(operand),
            Expr::Extract { field, expr: moment, .. } => {
                let field = string(field.to_string().trim_matches('\'').to_string());
                *expr = call("extract", vec![field, take(moment)]);
            }
            Expr::AnyOp { left, compare_op, right, .. } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
                *expr = call(format!("{compare_op} any").as_str(), vec![take(left), take(right)]);
            }
            Expr::AllOp { left, compare_op, right } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
                *expr = call(format!("{compare_op} all").as_str(), vec![take(left), take(right)]);
            }
            // There is nothing before the first element.
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Subscript(Subscript::Index { index }) = access
                        && !literal(index)
                    {
                        let place = std::mem::replace(index, Expr::value(Value::Null));
                        *index = call("greatest", vec![place, Expr::value(Value::Number("0".into(), false))]);
                    }
                }
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(escape) = escape_char.take() {
                    **pattern = call("like_escape", vec![take(pattern), Expr::Value(escape)]);
                }
            }
            Expr::Interval(interval) => {
                if let Some(text) = amount(interval) {
                    *expr = cast(string(text), DataType::Interval { fields: None, precision: None });
                }
            }
            Expr::Function(function) => self::function(function),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn function(function: &mut Function) {
    if let (Some(filter), FunctionArguments::List(list)) = (&function.filter, &mut function.args) {
        for arg in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = arg {
                guard(argument, filter);
            }
        }
        // With DISTINCT they are the arguments, and have to stay so.
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        for clause in list.clauses.iter_mut().filter(|_| distinct) {
            if let FunctionArgumentClause::OrderBy(order) = clause {
                order.iter_mut().for_each(|item| guard(&mut item.expr, filter));
            }
        }
    }
    // One that is called by another of its names is put into an alias, which asks all that is in it for its type twice.
    if let [part] = &mut function.name.0[..]
        && let Some(name) = part.as_ident().map(names::folded).and_then(|name| function::first_name(&name))
    {
        *part = ObjectNamePart::Identifier(Ident::with_quote('"', name));
    }
}

fn selects(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => using::merge(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects(left);
            selects(right);
        }
        _ => {}
    }
}

/// The types of a recursive query are those of its first rows as DataFusion plans them, before the analyzer makes number
/// literals integer.
fn first_rows(body: &mut SetExpr) {
    let mut literals = Literals;
    // Nothing breaks off.
    let _ = match body {
        SetExpr::Select(select) => VisitMut::visit(&mut select.projection, &mut literals),
        SetExpr::Values(values) => VisitMut::visit(values, &mut literals),
        _ => ControlFlow::Continue(()),
    };
}

struct Literals;

impl VisitorMut for Literals {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = expr
            && number.parse::<i32>().is_ok()
        {
            let literal = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = cast(literal, DataType::Integer(None));
        }
        ControlFlow::Continue(())
    }
}

/// FILTER guards the argument: `sum(1 / x) FILTER (WHERE x <> 0)` does not fail for x = 0. What the argument is in the other rows
/// does not matter.
fn guard(argument: &mut Expr, filter: &Expr) {
    if !matches!(argument, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
        let result = std::mem::replace(argument, Expr::value(Value::Null));
        *argument = Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen { condition: filter.clone(), result }],
            else_result: None,
        };
    }
}

fn literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Number(..), .. }))
}

/// `INTERVAL '1 day'` and `INTERVAL '1' DAY` as what we read ourselves: `1 day`.
fn amount(interval: &Interval) -> Option<String> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref() else {
        return None;
    };
    match (&interval.leading_field, &interval.last_field) {
        (None, None) => Some(text.clone()),
        (Some(field), None) if text.trim().parse::<f64>().is_ok() => Some(format!("{text} {field}")),
        (Some(_), None) => Some(text.clone()),
        _ => None,
    }
}

/// The text of a number literal that is no decimal of Arrow's: it has more digits, or a scale out of range or below zero.
fn beyond_decimal(expr: &Expr) -> Option<String> {
    /// Of Decimal256; also after the point.
    const DIGITS: i64 = 76;
    let Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = expr else { return None };
    let number = number.replace('_', "");
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((&number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // An exponent that is no i64 is for the numeric type to refuse.
    let scale = exponent.parse().map_or(i64::MIN, |exponent: i64| (fraction.len() as i64).saturating_sub(exponent));
    let digits = (whole.len() + fraction.len()) as i64;
    let held = (0..=DIGITS).contains(&scale) && digits <= DIGITS;
    (!held).then_some(number)
}

fn numeric(number: String) -> Expr {
    cast(string(number), DataType::Numeric(ExactNumberInfo::None))
}

fn string(text: String) -> Expr {
    Expr::value(Value::SingleQuotedString(text))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), Expr::value(Value::Null))
}
