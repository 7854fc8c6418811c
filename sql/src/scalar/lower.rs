//! DataFusion's logical expressions as stored ones.

use super::chain::Chain;
use super::expression::{Operator, Scalar, Test};
use super::part::Part;
use crate::error::{Error, Result};
use crate::function::{self, Cast, print, zone::Zone};
use crate::types::Type;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Case, InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Like, Operator as Theirs, Volatility};

impl Scalar {
    /// See [`from_logical`].
    pub fn from_logical(expr: &Expr, schema: &DFSchema) -> Result<Scalar> {
        from_logical(expr, schema)
    }
}

/// Lowers a logical DataFusion expression (after type coercion and our rewrites) whose columns are those of `schema`.
/// What cannot be stored is 0A000, named.
pub fn from_logical(expr: &Expr, schema: &DFSchema) -> Result<Scalar> {
    let boxed = |expr: &Expr| from_logical(expr, schema).map(Box::new);
    let is = |expr: &Expr, what, negated| Ok(Scalar::Is { argument: boxed(expr)?, what, negated });
    match expr {
        Expr::Alias(alias) => from_logical(&alias.expr, schema),
        Expr::Column(column) => {
            Ok(Scalar::Column { index: schema.index_of_column(column)?, kind: kind(expr, schema)? })
        }
        Expr::Literal(value, _) => literal(value, kind(expr, schema)?),
        Expr::BinaryExpr(binary) => self::binary(expr, binary, schema),
        Expr::Not(argument) => Ok(Scalar::Not { argument: boxed(argument)? }),
        Expr::IsNull(argument) => is(argument, Test::Null, false),
        Expr::IsNotNull(argument) => is(argument, Test::Null, true),
        Expr::IsTrue(argument) => is(argument, Test::True, false),
        Expr::IsNotTrue(argument) => is(argument, Test::True, true),
        Expr::IsFalse(argument) => is(argument, Test::False, false),
        Expr::IsNotFalse(argument) => is(argument, Test::False, true),
        Expr::IsUnknown(argument) => is(argument, Test::Unknown, false),
        Expr::IsNotUnknown(argument) => is(argument, Test::Unknown, true),
        Expr::Between(between) => self::between(between, schema),
        Expr::InList(InList { expr, list, negated }) => {
            let list = list.iter().map(|item| from_logical(item, schema)).collect::<Result<_>>()?;
            Ok(Scalar::InList { argument: boxed(expr)?, list, negated: *negated })
        }
        Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive }) => Ok(Scalar::Like {
            argument: boxed(expr)?,
            pattern: boxed(pattern)?,
            negated: *negated,
            insensitive: *case_insensitive,
        }),
        Expr::Case(case) => self::case(expr, case, schema),
        Expr::Cast(cast) => {
            Ok(Scalar::Cast { argument: boxed(&cast.expr)?, kind: Type::of(&cast.field)?, zone: "UTC".into() })
        }
        Expr::ScalarFunction(call) => self::call(expr, call, schema),
        Expr::Negative(argument) => Ok(Scalar::Call {
            function: "negate".into(),
            arguments: vec![from_logical(argument, schema)?],
            kind: kind(expr, schema)?,
        }),
        other => Err(Error::unsupported(construct(other))),
    }
}

/// What a user would call an expression that views cannot hold.
fn construct(expr: &Expr) -> String {
    match expr {
        Expr::Like(_) => "LIKE with ESCAPE in a materialized view".into(),
        Expr::SimilarTo(_) => "SIMILAR TO in a materialized view".into(),
        Expr::TryCast(_) => "TRY_CAST in a materialized view".into(),
        Expr::Placeholder(_) => "a parameter in a materialized view".into(),
        Expr::ScalarVariable(..) => "a variable in a materialized view".into(),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
            "this subquery".into()
        }
        Expr::OuterReferenceColumn(..) => "this correlated subquery".into(),
        Expr::AggregateFunction(call) => format!("aggregate {}() here", call.func.name()),
        Expr::WindowFunction(_) => "a window function (OVER)".into(),
        Expr::Unnest(_) => "unnest here".into(),
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => "a lambda".into(),
        other => format!("expression {other}"),
    }
}

fn kind(expr: &Expr, schema: &DFSchema) -> Result<Type> {
    Type::of(&expr.to_field(schema)?.1)
}

fn literal(value: &ScalarValue, kind: Type) -> Result<Scalar> {
    if value.is_null() {
        return Ok(Scalar::Literal { value: None, kind });
    }
    // In the one Arrow shape of its type.
    let array = arrow::compute::cast(&value.to_array()?, &kind.arrow())?;
    let mut text = String::new();
    print::printer(array.as_ref(), Zone::UTC)?(0, &mut text)?;
    Ok(Scalar::Literal { value: Some(text), kind })
}

fn binary(expr: &Expr, binary: &BinaryExpr, schema: &DFSchema) -> Result<Scalar> {
    if let Theirs::And | Theirs::Or = binary.op {
        let operands =
            chained(binary).into_iter().map(|operand| from_logical(operand, schema)).collect::<Result<_>>()?;
        return Ok(connected(binary.op == Theirs::And, operands));
    }
    let (left, right) = (from_logical(&binary.left, schema)?, from_logical(&binary.right, schema)?);
    let arithmetic = |function: &str, left, right| {
        Ok(Scalar::Call { function: function.into(), arguments: vec![left, right], kind: kind(expr, schema)? })
    };
    let operator = match binary.op {
        Theirs::Plus => return arithmetic("+", left, right),
        Theirs::Minus => return arithmetic("-", left, right),
        Theirs::Multiply => return arithmetic("*", left, right),
        Theirs::Divide => return arithmetic("/", left, right),
        Theirs::Modulo => return arithmetic("%", left, right),
        other => {
            operator(other).ok_or_else(|| Error::unsupported(format!("operator {other} in a materialized view")))?
        }
    };
    Ok(Scalar::Binary { operator, left: Box::new(left), right: Box::new(right), kind: kind(expr, schema)? })
}

/// The operands of a chain of one connective, from left to right.
fn chained(binary: &BinaryExpr) -> Vec<&Expr> {
    let (mut operands, mut open) = (vec![], vec![binary.right.as_ref(), binary.left.as_ref()]);
    while let Some(next) = open.pop() {
        match next {
            Expr::BinaryExpr(inner) if inner.op == binary.op => {
                open.extend([inner.right.as_ref(), inner.left.as_ref()])
            }
            operand => operands.push(operand),
        }
    }
    operands
}

/// Connectives within aliases are of the same chain.
pub fn connected(and: bool, operands: Vec<Scalar>) -> Scalar {
    let mut all = Vec::with_capacity(operands.len());
    for mut operand in operands {
        match operand {
            Scalar::And { ref mut operands } if and => all.append(operands),
            Scalar::Or { ref mut operands } if !and => all.append(operands),
            other => all.push(other),
        }
    }
    if and { Scalar::And { operands: all } } else { Scalar::Or { operands: all } }
}

fn operator(theirs: Theirs) -> Option<Operator> {
    Some(match theirs {
        Theirs::Eq => Operator::Equal,
        Theirs::NotEq => Operator::NotEqual,
        Theirs::Lt => Operator::Less,
        Theirs::LtEq => Operator::LessOrEqual,
        Theirs::Gt => Operator::Greater,
        Theirs::GtEq => Operator::GreaterOrEqual,
        Theirs::IsDistinctFrom => Operator::Distinct,
        Theirs::IsNotDistinctFrom => Operator::NotDistinct,
        Theirs::StringConcat => Operator::Concat,
        Theirs::RegexMatch => Operator::Matches,
        Theirs::RegexIMatch => Operator::MatchesInsensitive,
        Theirs::RegexNotMatch => Operator::NotMatches,
        Theirs::RegexNotIMatch => Operator::NotMatchesInsensitive,
        Theirs::BitwiseAnd => Operator::BitAnd,
        Theirs::BitwiseOr => Operator::BitOr,
        Theirs::BitwiseXor => Operator::BitXor,
        Theirs::BitwiseShiftLeft => Operator::ShiftLeft,
        Theirs::BitwiseShiftRight => Operator::ShiftRight,
        Theirs::AtArrow => Operator::Contains,
        Theirs::ArrowAt => Operator::ContainedBy,
        _ => return None,
    })
}

fn between(between: &Between, schema: &DFSchema) -> Result<Scalar> {
    let value = from_logical(&between.expr, schema)?;
    let side = |operator, bound: &Expr| -> Result<Scalar> {
        let (left, right) = (Box::new(value.clone()), Box::new(from_logical(bound, schema)?));
        Ok(Scalar::Binary { operator, left, right, kind: Type::Bool })
    };
    let low = side(Operator::GreaterOrEqual, &between.low)?;
    let inside = Scalar::And { operands: vec![low, side(Operator::LessOrEqual, &between.high)?] };
    Ok(if between.negated { Scalar::Not { argument: Box::new(inside) } } else { inside })
}

fn case(expr: &Expr, case: &Case, schema: &DFSchema) -> Result<Scalar> {
    let operand = case.expr.as_ref().map(|operand| from_logical(operand, schema)).transpose()?;
    let mut pairs = vec![];
    for (when, then) in &case.when_then_expr {
        let when = from_logical(when, schema)?;
        let when = match &operand {
            None => when,
            Some(operand) => Scalar::Binary {
                operator: Operator::Equal,
                left: Box::new(operand.clone()),
                right: Box::new(when),
                kind: Type::Bool,
            },
        };
        pairs.push((when, from_logical(then, schema)?));
    }
    let otherwise =
        case.else_expr.as_ref().map(|otherwise| from_logical(otherwise, schema).map(Box::new)).transpose()?;
    // DataFusion knows no metadata for CASE: the results say what they are.
    let mut results = pairs.iter().map(|(_, then)| then).chain(otherwise.as_deref());
    let kind = match results.find(|result| !matches!(result, Scalar::Literal { value: None, .. })) {
        Some(result) => result.kind(),
        None => kind(expr, schema)?,
    };
    Ok(Scalar::Case { pairs, otherwise, kind })
}

fn call(expr: &Expr, call: &ScalarFunction, schema: &DFSchema) -> Result<Scalar> {
    let name = call.func.name();
    if call.func.signature().volatility != Volatility::Immutable {
        return Err(Error::unsupported(format!("volatile function {name}() in a materialized view")));
    }
    let arguments = call.args.iter().map(|arg| from_logical(arg, schema)).collect::<Result<Vec<_>>>()?;
    if let Some(cast) = call.func.inner().downcast_ref::<Cast>() {
        let mut arguments = arguments.into_iter();
        let argument = arguments.next().ok_or_else(|| Error::internal("cast of nothing"))?;
        return Ok(Scalar::Cast { argument: Box::new(argument), kind: cast.to().clone(), zone: cast.zone().into() });
    }
    if let Some(chain) = call.func.inner().downcast_ref::<Chain>() {
        return chain.stored(arguments);
    }
    if let Some(part) = call.func.inner().downcast_ref::<Part>() {
        return Ok(part.stored(arguments));
    }
    let kind = kind(expr, schema)?;
    match name {
        "coalesce" => Ok(Scalar::Coalesce { arguments, kind }),
        _ if function::by_name(name).is_none() => {
            Err(Error::unsupported(format!("function {name}() in a materialized view")))
        }
        _ => Ok(Scalar::Call { function: name.into(), arguments, kind }),
    }
}
