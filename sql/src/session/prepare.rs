//! Syntax that DataFusion's planner refuses for our types or reads differently becomes function calls.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Interval, ObjectName, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// To be called on every query before it is planned.
pub fn prepare<T: VisitMut>(query: &mut T) {
    // Nothing breaks off.
    let _ = query.visit(&mut Prepare);
}

struct Prepare;

impl VisitorMut for Prepare {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } if !literal(operand) => {
                *expr = call("negate", vec![take(operand)]);
            }
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: operand } => *expr = take(operand),
            Expr::AtTimeZone { timestamp, time_zone } => {
                *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
            }
            Expr::Interval(interval) => {
                if let Some(text) = amount(interval) {
                    *expr = cast(text);
                }
            }
            Expr::Function(Function { filter: Some(filter), args: FunctionArguments::List(list), .. }) => {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = arg {
                        guard(argument, filter);
                    }
                }
            }
            _ => {}
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

fn cast(interval: String) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::value(Value::SingleQuotedString(interval))),
        data_type: DataType::Interval { fields: None, precision: None },
        array: false,
        format: None,
    }
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), Expr::value(Value::Null))
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
