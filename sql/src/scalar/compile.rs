//! Stored expressions to DataFusion's physical ones.

use super::body::{self, Body, Let};
use super::chained::{self, Chained, Steps};
use super::expression::{Link, Operator, Scalar, Test};
use super::guard::{Guard, Kind};
use super::stack::{is_deep, on_stack};
use crate::error::{Error, Result};
use crate::function::{self, Cast, cast, zone::Zone};
use crate::types::{Column, Type};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{Operator as Theirs, ReturnFieldArgs, ScalarUDF};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column as Position, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, case, in_list,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::sync::Arc;

pub(super) type Physical = Arc<dyn PhysicalExpr>;

/// `physical` in exactly the Arrow type `kind`.
pub(super) fn shaped(physical: Physical, kind: &DataType, input: &Schema) -> Result<Physical> {
    match &physical.data_type(input)? == kind {
        true => Ok(physical),
        false => Ok(Arc::new(CastExpr::new(physical, kind.clone(), None))),
    }
}

pub(super) fn compile(scalar: &Scalar, input: &SchemaRef) -> Result<Physical> {
    let all = |parts: &[Scalar]| parts.iter().map(|part| compile(part, input)).collect::<Result<Vec<_>>>();
    Ok(match scalar {
        Scalar::Column { index, .. } => {
            let field = input.fields().get(*index).ok_or_else(|| Error::internal(format!("no column #{index}")))?;
            Arc::new(Position::new(field.name(), *index))
        }
        Scalar::Literal { value, kind } => Arc::new(Literal::new(literal(value.as_deref(), kind)?)),
        Scalar::Call { function, arguments, kind } => {
            let udf = function::by_name(function)
                .ok_or_else(|| Error::internal(format!("stored function {function} is unknown")))?;
            self::call(udf, &arguments.iter().collect::<Vec<_>>(), kind, input)?
        }
        Scalar::Cast { argument, kind, zone } => {
            self::call(Cast::udf(argument.kind(), kind.clone(), zone), &[argument.as_ref()], kind, input)?
        }
        Scalar::Case { pairs, otherwise, kind } => {
            let shape = kind.arrow();
            let result = |part: &Scalar| shaped(compile(part, input)?, &shape, input);
            let pairs = pairs.iter().map(|(when, then)| Ok((compile(when, input)?, result(then)?)));
            case(None, pairs.collect::<Result<_>>()?, otherwise.as_deref().map(result).transpose()?)?
        }
        Scalar::Coalesce { arguments, kind } => {
            let shape = kind.arrow();
            let arguments = arguments.iter().map(|part| shaped(compile(part, input)?, &shape, input));
            Arc::new(Guard::new(Kind::Coalesce, arguments.collect::<Result<_>>()?))
        }
        Scalar::And { operands } => connected(Kind::And, operands, input)?,
        Scalar::Or { operands } => connected(Kind::Or, operands, input)?,
        Scalar::Not { argument } => Arc::new(NotExpr::new(compile(argument, input)?)),
        Scalar::Is { argument, what, negated } => is(compile(argument, input)?, *what, *negated),
        // Ours looks how long its results become.
        Scalar::Binary { operator: Operator::Concat, left, right, kind } if *kind == Type::Text => {
            let udf = function::lookup("||").ok_or_else(|| Error::internal("no function ||"))?;
            self::call(udf, &[left.as_ref(), right.as_ref()], kind, input)?
        }
        Scalar::Binary { operator, left, right, .. } => {
            Arc::new(BinaryExpr::new(compile(left, input)?, operator.theirs(), compile(right, input)?))
        }
        Scalar::InList { argument, list, negated } => in_list(compile(argument, input)?, all(list)?, negated, input)?,
        Scalar::Like { argument, pattern, negated, insensitive } => {
            Arc::new(LikeExpr::new(*negated, *insensitive, compile(argument, input)?, compile(pattern, input)?))
        }
        Scalar::Chain { first, steps, links, kind } => Arc::new(chained(first, steps, links, kind, input)?),
        Scalar::Let { arguments, body } => Arc::new(shared(arguments, body, input)?),
    })
}

/// Operands that cannot fail first: SQL leaves the order open, and they save others from failing.
fn connected(kind: Kind, operands: &[Scalar], input: &SchemaRef) -> Result<Physical> {
    let (fallible, safe): (Vec<_>, Vec<_>) = operands.iter().partition(|operand| operand.is_fallible());
    let operator = if kind == Kind::And { Theirs::And } else { Theirs::Or };
    let mut steps = vec![];
    let safe = safe.into_iter().map(|part| compile(part, input)).collect::<Result<Vec<_>>>()?;
    steps.extend(halves(&safe, operator));
    for part in fallible {
        steps.push(compile(part, input)?);
    }
    match steps.len() {
        0 => Err(Error::internal("AND or OR of nothing")),
        1 => Ok(steps.remove(0)),
        _ => Ok(Arc::new(Guard::new(kind, steps))),
    }
}

/// A tree that is as flat as can be: it is evaluated as deep as it is.
fn halves(operands: &[Physical], operator: Theirs) -> Option<Physical> {
    if let [] | [_] = operands {
        return operands.first().cloned();
    }
    let (left, right) = operands.split_at(operands.len() / 2);
    let (left, right) = halves(left, operator).zip(halves(right, operator))?;
    Some(Arc::new(BinaryExpr::new(left, operator, right)))
}

fn is(argument: Physical, what: Test, negated: bool) -> Physical {
    let truth = |value| Arc::new(Literal::new(ScalarValue::Boolean(Some(value))));
    let compared = |value| {
        let operator = if negated { Theirs::IsDistinctFrom } else { Theirs::IsNotDistinctFrom };
        Arc::new(BinaryExpr::new(argument.clone(), operator, truth(value))) as Physical
    };
    match what {
        Test::True => compared(true),
        Test::False => compared(false),
        Test::Null | Test::Unknown if negated => Arc::new(IsNotNullExpr::new(argument)),
        Test::Null | Test::Unknown => Arc::new(IsNullExpr::new(argument)),
    }
}

/// A call with its arguments in the types the function wants.
fn call(udf: Arc<ScalarUDF>, arguments: &[&Scalar], kind: &Type, input: &SchemaRef) -> Result<Physical> {
    let mut physical = vec![];
    let mut fields: Vec<FieldRef> = vec![];
    for argument in arguments {
        let compiled = compile(argument, input)?;
        // The stored type has what the physical one may have lost: uuid, jsonb, varchar.
        let nullable = compiled.nullable(input)?;
        fields.push(Arc::new(argument.kind().field("", nullable).with_data_type(compiled.data_type(input)?)));
        physical.push(compiled);
    }
    let wanted = fields_with_udf(&fields, udf.as_ref())?;
    for (part, (has, wants)) in physical.iter_mut().zip(fields.iter().zip(&wanted)) {
        if has.data_type() != wants.data_type() {
            *part = Arc::new(CastExpr::new(part.clone(), wants.data_type().clone(), None));
        }
    }
    let constants: Vec<Option<ScalarValue>> =
        physical.iter().map(|part| part.downcast_ref::<Literal>().map(|literal| literal.value().clone())).collect();
    let scalar_arguments: Vec<Option<&ScalarValue>> = constants.iter().map(Option::as_ref).collect();
    let returns =
        udf.return_field_from_args(ReturnFieldArgs { arg_fields: &wanted, scalar_arguments: &scalar_arguments })?;
    let name = udf.name().to_string();
    let call = ScalarFunctionExpr::new(&name, udf, physical, returns, Arc::new(ConfigOptions::default()));
    shaped(Arc::new(call), &kind.arrow(), input)
}

fn literal(value: Option<&str>, kind: &Type) -> Result<ScalarValue> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let array = cast::column(&text, &Type::Text, kind, Zone::UTC)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

/// The steps of a chain. `links` tell, of each link, its step and the type of its operand.
pub(super) fn steps(first: &Type, steps: &[Scalar], links: &[(usize, Option<Type>)]) -> Result<Steps> {
    let mut seen: Vec<Option<(SchemaRef, Arc<dyn PhysicalExpr>)>> = vec![None; steps.len()];
    let mut so_far = first.clone();
    for (index, operand) in links {
        let step = steps.get(*index).ok_or_else(|| Error::internal(format!("a chain without step {index}")))?;
        if seen[*index].is_none() {
            let fields = chained::columns(&so_far, operand.as_ref()).iter().map(Column::field).collect::<Vec<_>>();
            let schema: SchemaRef = Arc::new(Schema::new(fields));
            let physical = shaped(compile(step, &schema)?, &step.kind().arrow(), &schema)?;
            seen[*index] = Some((schema, physical));
        }
        so_far = step.kind();
    }
    match seen.into_iter().collect::<Option<_>>() {
        Some(steps) => Ok(Steps(steps)),
        None => Err(Error::internal("a chain with a step that is not taken")),
    }
}

fn chained(first: &Scalar, steps: &[Scalar], links: &[Link], kind: &Type, input: &SchemaRef) -> Result<Chained> {
    let typed: Vec<_> = links.iter().map(|link| (link.step, link.operand.as_ref().map(Scalar::kind))).collect();
    let compiled = self::steps(&first.kind(), steps, &typed)?;
    let mut operands = vec![compile(first, input)?];
    let links = links.iter().map(|link| {
        let Some(operand) = &link.operand else { return Ok((link.step, None)) };
        operands.push(compile(operand, input)?);
        Ok((link.step, Some(operands.len() - 1)))
    });
    let links = links.collect::<Result<_>>()?;
    Ok(Chained { operands, steps: Arc::new(compiled), links, kind: kind.arrow() })
}

fn shared(arguments: &[Scalar], body: &Scalar, input: &SchemaRef) -> Result<Let> {
    let body = self::body(body, &arguments.iter().map(Scalar::kind).collect::<Vec<_>>())?;
    let arguments = arguments.iter().map(|argument| compile(argument, input)).collect::<Result<_>>()?;
    Ok(Let::new(arguments, body))
}

/// `body` over columns of `kinds`.
pub(super) fn body(body: &Scalar, kinds: &[Type]) -> Result<Body> {
    let fields = body::columns(kinds).iter().map(Column::field).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let deep = is_deep(body);
    let physical = on_stack(deep, || shaped(compile(body, &schema)?, &body.kind().arrow(), &schema))?;
    Ok(Body { schema, physical, deep })
}

impl Operator {
    fn theirs(self) -> Theirs {
        match self {
            Operator::Equal => Theirs::Eq,
            Operator::NotEqual => Theirs::NotEq,
            Operator::Less => Theirs::Lt,
            Operator::LessOrEqual => Theirs::LtEq,
            Operator::Greater => Theirs::Gt,
            Operator::GreaterOrEqual => Theirs::GtEq,
            Operator::Distinct => Theirs::IsDistinctFrom,
            Operator::NotDistinct => Theirs::IsNotDistinctFrom,
            Operator::Concat => Theirs::StringConcat,
            Operator::Matches => Theirs::RegexMatch,
            Operator::MatchesInsensitive => Theirs::RegexIMatch,
            Operator::NotMatches => Theirs::RegexNotMatch,
            Operator::NotMatchesInsensitive => Theirs::RegexNotIMatch,
            Operator::BitAnd => Theirs::BitwiseAnd,
            Operator::BitOr => Theirs::BitwiseOr,
            Operator::BitXor => Theirs::BitwiseXor,
            Operator::ShiftLeft => Theirs::BitwiseShiftLeft,
            Operator::ShiftRight => Theirs::BitwiseShiftRight,
            Operator::Contains => Theirs::AtArrow,
            Operator::ContainedBy => Theirs::ArrowAt,
        }
    }
}
