//! Syntax that DataFusion's planner refuses for our types or reads differently becomes function calls.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Interval, ObjectName, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
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
            _ => {}
        }
        ControlFlow::Continue(())
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
