//! One type for several expressions: what comparisons, CASE, COALESCE, IN and set operations convert to, as Postgres chooses.

use crate::error::{Error, Result};
use crate::function::cast::Cast;
use crate::function::key;
use crate::function::zone::Zone;
use crate::function::{self, decimal_of};
use crate::numeric::Numeric;
use crate::scalar::part::Part;
use crate::types::Type;
use arrow::datatypes::Field;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, ExprSchemable};
use std::fmt::Display;
use std::sync::Arc;

/// A type that can hold and compare the values of both exactly; integers and decimals meet in a decimal that is wide enough.
pub fn compared(left: &Type, right: &Type) -> Option<Type> {
    use Type::{Char, Date, Float4, Float8, Int2, Int4, Int8, Numeric, Timestamp, Timestamptz, Varchar};
    Some(match (left, right) {
        _ if left == right => left.clone(),
        // Blanks at the end count beside text and nowhere else.
        (Char(1..), Char(1..)) => Type::Text,
        (Char(_), Char(_) | Varchar(_)) | (Varchar(_), Char(_)) => Char(0),
        _ if is_string(left) && is_string(right) => Type::Text,
        (Float4 | Float8, other) | (other, Float4 | Float8) if is_number(other) => Float8,
        (Numeric(None), other) | (other, Numeric(None)) if is_number(other) => Numeric(None),
        (Int8, Int2 | Int4) | (Int2 | Int4, Int8) => Int8,
        (Int4, Int2) | (Int2, Int4) => Int4,
        (Timestamptz, Date | Timestamp) | (Date | Timestamp, Timestamptz) => Timestamptz,
        (Timestamp, Date) | (Date, Timestamp) => Timestamp,
        (Type::Array(left), Type::Array(right)) => Type::Array(Box::new(compared(left, right)?)),
        _ => {
            let ((p1, s1), (p2, s2)) = (decimal_of(left)?, decimal_of(right)?);
            let scale = s1.max(s2) as i32;
            let precision = (p1 as i32 - s1 as i32).max(p2 as i32 - s2 as i32) + scale;
            match precision {
                ..=76 => Numeric(Some((precision as u8, scale as i8))),
                _ => Numeric(None),
            }
        }
    })
}

/// A type for values of both side by side: like [`compared`], but numbers that are shown with different scales stay so.
pub fn unified(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Numeric(Some((_, s1))), Type::Numeric(Some((_, s2)))) if s1 != s2 => Some(Type::Numeric(None)),
        (Type::Numeric(Some((_, 1..))), Type::Int2 | Type::Int4 | Type::Int8) => Some(Type::Numeric(None)),
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Numeric(Some((_, 1..)))) => Some(Type::Numeric(None)),
        (Type::Numeric(_), Type::Float4) | (Type::Float4, Type::Numeric(_)) => Some(Type::Float8),
        (Type::Float4, Type::Int2 | Type::Int4 | Type::Int8) => Some(Type::Float4),
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Float4) => Some(Type::Float4),
        // Of types that become each other, the first.
        (Type::Char(_) | Type::Varchar(_) | Type::Text, other) if left != other && is_string(other) => {
            Some(left.loose())
        }
        _ => compared(left, right),
    }
}

pub fn is_string(kind: &Type) -> bool {
    matches!(kind, Type::Text | Type::Varchar(_) | Type::Char(_))
}

pub fn is_number(kind: &Type) -> bool {
    matches!(kind, Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 | Type::Numeric(_))
}

/// The type of an expression; `None` for what Postgres calls unknown: NULL, a string literal, an untyped parameter.
pub fn kind(expr: &Expr, schema: &DFSchema) -> Result<Option<Type>> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None) => Ok(None),
        Expr::Placeholder(Placeholder { field: None, .. }) => Ok(None),
        _ => typed(expr, schema),
    }
}

/// The type of an expression, of a string literal too. DataFusion asks at each level for the name of what is below; here calls of
/// our own functions are asked for nothing but their types.
fn typed(expr: &Expr, schema: &DFSchema) -> Result<Option<Type>> {
    let Expr::ScalarFunction(call) = expr else { return function::given(expr.to_field(schema)?.1.as_ref()) };
    if let Some(cast) = call.func.inner().downcast_ref::<Cast>() {
        return Ok(Some(cast.to().clone()));
    }
    if let Some(part) = call.func.inner().downcast_ref::<Part>() {
        return Ok(Some(part.kind()));
    }
    match function::definition(&call.func) {
        Some(definition) => {
            let given = call.args.iter().map(|arg| typed(arg, schema)).collect::<Result<Vec<_>>>()?;
            Ok(Some((definition.resolve)(&given)?.result))
        }
        None => function::given(expr.to_field(schema)?.1.as_ref()),
    }
}

/// The one type of all `exprs` by `join`; `None` if all are unknown. No common type is 42804, said with `construct`.
/// What a literal or parameter of no type is read as has no length, precision or scale, so neither has the common type then.
pub fn all(
    exprs: &[&Expr],
    schema: &DFSchema,
    construct: &str,
    join: fn(&Type, &Type) -> Option<Type>,
) -> Result<Option<Type>> {
    let mut common: Option<Type> = None;
    let mut loose = false;
    for expr in exprs {
        let Some(kind) = kind(expr, schema)? else {
            loose |= !matches!(expr, Expr::Literal(value, _) if value.is_null());
            continue;
        };
        common = Some(match common {
            None => kind,
            Some(so_far) => join(&so_far, &kind).ok_or_else(|| {
                Error::new("42804", format!("{construct} types {so_far} and {kind} cannot be matched"))
            })?,
        });
    }
    Ok(if loose { common.map(|kind| kind.loose()) } else { common })
}

/// `expr`, if it is an untyped literal, read as what it is compared with: a value of `kind` if there is such a one.
pub fn read(expr: Expr, kind: &Type, schema: &DFSchema, zone: &str) -> Result<Expr> {
    match (&expr, kind) {
        (Expr::Literal(ScalarValue::Utf8(Some(_)), None), Type::Numeric(Some(_))) => {
            Ok(fit(convert(expr, &Type::Numeric(None), schema, zone)?, kind))
        }
        (Expr::Literal(ScalarValue::Utf8(Some(text)), None), Type::Char(length @ 1..)) => {
            let text = text.trim_end_matches(' ');
            // What is longer than any value of the type is not to be cut to one.
            let fits = text.chars().count() <= *length as usize;
            literal(ScalarValue::from(text), if fits { kind } else { &Type::Char(0) })
        }
        _ => Ok(expr),
    }
}

/// `expr` of the type `kind`, said so where DataFusion does not know it any more: the results of CASE and the like.
pub fn tagged(expr: Expr, kind: &Type, schema: &DFSchema) -> Result<Expr> {
    match function::given(expr.to_field(schema)?.1.as_ref())? {
        Some(known) if &known != kind && known.arrow() == kind.arrow() => {
            Ok(Cast::udf(kind.clone(), kind.clone(), "UTC").call(vec![expr]))
        }
        _ => Ok(expr),
    }
}

/// `expr` as functions see it that look at the blanks at the end of char(n).
pub fn blanks(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match kind(&expr, schema)? {
        Some(Type::Char(1..)) => convert(expr, &Type::Char(0), schema, "UTC"),
        _ => Ok(expr),
    }
}

/// `expr` as `to`: unchanged if it is already, converted now if it is a literal (whose errors are the query's), else a cast.
pub fn convert(expr: Expr, to: &Type, schema: &DFSchema, zone: &str) -> Result<Expr> {
    if let (Some(number), Type::Float4 | Type::Float8) = (unheld(&expr), to) {
        return convert(number, to, schema, zone);
    }
    let from = match &expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Some(Arc::new(to.loose().field("", true)));
            return Ok(Expr::Placeholder(Placeholder { id: id.clone(), field }));
        }
        Expr::Literal(value @ ScalarValue::Utf8(_), None) if matches!(to, Type::Char(0)) => {
            return literal(value.clone(), to);
        }
        Expr::Literal(ScalarValue::Utf8(_), None) if is_string(to) => return Ok(expr),
        _ => typed(&expr, schema)?,
    };
    match (&expr, &from) {
        (Expr::Literal(..), None) => return literal(ScalarValue::try_from(&to.arrow())?, to),
        (_, Some(from)) if from == to || alike(from, to) => return Ok(expr),
        (Expr::Literal(value, _), Some(from)) => match (converted(value, from, to, zone), to) {
            // It may yet be read as a float.
            (Err(error), Type::Numeric(None)) if error.sqlstate == "22003" && is_string(from) => {}
            (value, _) => return literal(value?, to),
        },
        _ => {}
    }
    let from = from.unwrap_or(Type::Text);
    function::cast::check(&from, to)?;
    Ok(Cast::udf(from, to.clone(), zone).call(vec![expr]))
}

/// The text of a number literal that a numeric cannot hold.
pub fn unheld(expr: &Expr) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let cast = call.func.inner().downcast_ref::<Cast>()?;
    match &call.args[..] {
        [number @ Expr::Literal(ScalarValue::Utf8(Some(_)), _)] if cast.to() == &Type::Numeric(None) => {
            Some(number.clone())
        }
        _ => None,
    }
}

/// Strings without limits or padding are text.
pub fn alike(from: &Type, to: &Type) -> bool {
    to == &Type::Text && matches!(from, Type::Varchar(_))
}

fn literal(value: ScalarValue, kind: &Type) -> Result<Expr> {
    let metadata = kind.field("", true).metadata().clone();
    Ok(Expr::Literal(value, (!metadata.is_empty()).then(|| FieldMetadata::from(metadata))))
}

fn converted(value: &ScalarValue, from: &Type, to: &Type, zone: &str) -> Result<ScalarValue> {
    let array = function::cast::column(&value.to_array()?, from, to, Zone::parse(zone)?)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

/// A number literal in exactly the type of what it is compared with, so that the other side needs no conversion.
pub fn fit(expr: Expr, to: &Type) -> Expr {
    let Expr::Literal(value, _) = &expr else { return expr };
    let Ok(Some(from)) = function::given(&Field::new("", value.data_type(), true)) else { return expr };
    if !is_number(&from) || !is_number(to) || value.is_null() || matches!(from, Type::Float4 | Type::Float8) {
        return expr;
    }
    // real meets other numbers in double precision: 0.1::real is not 0.1.
    if matches!(to, Type::Float4) {
        return expr;
    }
    let exact = Type::Numeric(None);
    let same = || -> Result<Option<ScalarValue>> {
        let fitted = converted(value, &from, to, "UTC")?;
        let (before, after) = (converted(value, &from, &exact, "UTC")?, converted(&fitted, to, &exact, "UTC")?);
        let number = |value: &ScalarValue| match value {
            ScalarValue::FixedSizeBinary(_, Some(bytes)) => Numeric::decode(bytes),
            _ => Err(Error::internal("numeric literal")),
        };
        // Floats are compared as floats, whatever they lose.
        let equal = matches!(to, Type::Float8) || number(&before)?.compare(&number(&after)?).is_eq();
        Ok(equal.then_some(fitted))
    };
    match same() {
        Ok(Some(fitted)) => Expr::Literal(fitted, None),
        _ => expr,
    }
}

/// Refuses to compare values of a type whose order, or whose equality, is not the one of their bytes or keys.
pub fn comparable(kind: &Type, ordered: bool, operator: impl Display) -> Result<()> {
    match kind {
        Type::Json => Err(function::undefined(&operator.to_string(), &[Some(Type::Json), Some(Type::Json)])),
        Type::Jsonb if ordered => {
            Err(Error::unsupported("ordering of jsonb values")
                .hint("Order by what is in them, as text or as a number."))
        }
        Type::Array(element) => match element.as_ref() {
            element if key::needed(element) || matches!(element, Type::Float4 | Type::Float8 | Type::Json) => {
                Err(Error::unsupported(format!("comparison of values of type {kind}")))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// `expr` by its key, if values of its type are compared so.
pub fn keyed(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if is_key(&expr) {
        return Ok(expr);
    }
    match typed(&expr, schema)? {
        Some(kind) if key::needed(&kind) => key_of(expr, &kind),
        _ => Ok(expr),
    }
}

/// `expr` by what its values are put in order by: their key, or themselves.
pub fn ordered(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match typed(&expr, schema)? {
        Some(kind @ Type::Array(_)) => key_of(expr, &kind),
        _ => keyed(expr, schema),
    }
}

/// Refuses to group by what has no equality of ours.
pub fn groupable(kind: &Type) -> Result<()> {
    match kind {
        Type::Json => {
            let message = "could not identify an equality operator for type json";
            Err(Error::new("42883", message).hint("Use jsonb."))
        }
        kind => comparable(kind, false, "="),
    }
}

/// Refuses min and max, and their kin, of types that have no greatest value in Postgres, or one that we do not find.
pub fn has_extremes(kind: &Type, name: &str) -> Result<()> {
    let missing = || function::undefined(name, &[Some(kind.clone())]);
    match kind {
        Type::Bool | Type::Bytea | Type::Uuid | Type::Json | Type::Jsonb if matches!(name, "min" | "max") => {
            Err(missing())
        }
        Type::Json => Err(missing()),
        Type::Jsonb | Type::Array(_) => Err(Error::unsupported(format!("{name} of values of type {kind}"))),
        _ => Ok(()),
    }
}

pub fn is_key(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => ["key", "char_key", "jsonb_key", "array_key"].contains(&call.func.name()),
        Expr::Alias(alias) => is_key(&alias.expr),
        _ => false,
    }
}

pub fn key_of(expr: Expr, kind: &Type) -> Result<Expr> {
    let function = function::lookup(key::function(kind)).ok_or_else(|| Error::internal("no function key"))?;
    Ok(function.call(vec![expr]))
}

/// Whether a field's values are compared by their key.
pub fn field_needs_key(field: &Field) -> bool {
    matches!(function::given(field), Ok(Some(kind)) if key::needed(&kind))
}
