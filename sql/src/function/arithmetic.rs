//! `+ - * / % ~`, unary minus and abs with Postgres' types and errors: overflow is 22003, division by zero 22012, also for floats.
//!
//! Exact decimals keep exact scales; where one needs more precision than its Arrow type has, the rows that need it fail.
//! Division of decimals, and anything with an unconstrained numeric, is unconstrained numeric. Dates and intervals are in
//! [`super::temporal`].

use super::definition::{Call, Definition, Resolved, undefined};
use super::operands::Operands;
use super::temporal;
use crate::error::{Error, Result};
use crate::numeric::{self, Numbers, Numeric};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{cast, try_unary};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, i256,
};
use arrow::error::ArrowError;
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    operator("+", |given| resolve('+', given), |call| evaluate('+', call)),
    operator("-", |given| resolve('-', given), |call| evaluate('-', call)),
    operator("*", |given| resolve('*', given), |call| evaluate('*', call)),
    operator("/", |given| resolve('/', given), |call| evaluate('/', call)),
    operator("%", |given| resolve('%', given), |call| evaluate('%', call)),
    Definition { aliases: &["mod"], ..operator("mod", |given| resolve('%', given), |call| evaluate('%', call)) },
    operator("~", resolve_complement, complement),
    operator("negate", |given| resolve_unary("-", given, true), negate),
    operator("abs", |given| resolve_unary("abs", given, false), absolute),
];

const fn operator(
    name: &'static str,
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: true, fallible: true }
}

/// Digits of the integer types as decimals.
const INTEGER_DIGITS: [(Type, u8); 3] = [(Type::Int2, 5), (Type::Int4, 10), (Type::Int8, 19)];
/// Beyond 38 digits a result stays 128 bits wide while its scale leaves 20 digits before the point.
const NARROW_SCALE: i8 = 18;

fn resolve(operator: char, given: &[Option<Type>]) -> Result<Resolved> {
    let name = operator.to_string();
    let [left, right] = given else { return Err(undefined(&name, given)) };
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left.clone(), right.clone()),
        (Some(known), None) => (known.clone(), temporal::partner(operator, known).unwrap_or(known.clone())),
        (None, Some(known)) => (known.clone(), known.clone()),
        (None, None) => (Type::Int4, Type::Int4),
    };
    if let Some(resolved) = temporal::resolve(operator, &left, &right) {
        return Ok(resolved);
    }
    let result = number(operator, &left, &right).ok_or_else(|| undefined(&name, given))?;
    Ok(Resolved { arguments: vec![left, right], result })
}

/// The type of an operator's result on two numbers.
fn number(operator: char, left: &Type, right: &Type) -> Option<Type> {
    use Type::{Float4, Float8, Int2, Int4, Int8, Numeric};
    Some(match (left, right) {
        (Float4 | Float8, _) | (_, Float4 | Float8) if operator == '%' => return None,
        (Float4, Float4) => Float4,
        (Float4 | Float8, other) | (other, Float4 | Float8) if other.is_number() => Float8,
        (Int8, Int2 | Int4 | Int8) | (Int2 | Int4, Int8) => Int8,
        (Int4, Int2 | Int4) | (Int2, Int4) => Int4,
        (Int2, Int2) => Int2,
        (Numeric(None), other) | (other, Numeric(None)) if other.is_number() => Numeric(None),
        _ => decimal(operator, decimal_of(left)?, decimal_of(right)?),
    })
}

/// Precision and scale of an exact number of fixed scale.
pub fn decimal_of(kind: &Type) -> Option<(u8, i8)> {
    match kind {
        Type::Numeric(Some(decimal)) => Some(*decimal),
        _ => INTEGER_DIGITS.iter().find(|(integer, _)| integer == kind).map(|(_, digits)| (*digits, 0)),
    }
}

fn decimal(operator: char, left: (u8, i8), right: (u8, i8)) -> Type {
    let ((p1, s1), (p2, s2)) = ((left.0 as i32, left.1 as i32), (right.0 as i32, right.1 as i32));
    let whole = (p1 - s1).max(p2 - s2);
    let (precision, scale) = match operator {
        '+' | '-' => (whole + s1.max(s2) + 1, s1.max(s2)),
        '*' => (p1 + p2, s1 + s2),
        '%' => (whole + s1.max(s2), s1.max(s2)),
        _ => return Type::Numeric(None),
    };
    let wide = left.0 > 38 || right.0 > 38;
    match precision {
        _ if !(0..=60).contains(&scale) => Type::Numeric(None),
        ..=38 if !wide => Type::Numeric(Some((precision as u8, scale as i8))),
        39.. if !wide && scale <= NARROW_SCALE as i32 => Type::Numeric(Some((38, scale as i8))),
        _ => Type::Numeric(Some((precision.clamp(39, 76) as u8, scale as i8))),
    }
}

fn evaluate(operator: char, call: &Call) -> Result<ArrayRef> {
    let ((left, left_constant), (right, right_constant)) = (call.operand(0)?, call.operand(1)?);
    let operands = Operands { left, right, left_constant, right_constant, rows: call.rows };
    match call.result {
        Type::Int2 => operands.integers::<Int16Type>(operator, "smallint"),
        Type::Int4 => operands.integers::<Int32Type>(operator, "integer"),
        Type::Int8 => operands.integers::<Int64Type>(operator, "bigint"),
        Type::Float4 => operands.floats::<Float32Type>(operator),
        Type::Float8 => operands.floats::<Float64Type>(operator),
        Type::Numeric(None) => operands.numerics(operator),
        Type::Numeric(Some((..=38, scale))) => operands.decimals::<Decimal128Type>(operator, *scale, call.result),
        Type::Numeric(Some((_, scale))) => operands.decimals::<Decimal256Type>(operator, *scale, call.result),
        _ => temporal::evaluate(operator, &operands, call.result),
    }
}

impl Operands {
    fn integers<T: ArrowPrimitiveType>(&self, operator: char, name: &'static str) -> Result<ArrayRef> {
        let (left, right) = (cast(&self.left, &T::DATA_TYPE)?, cast(&self.right, &T::DATA_TYPE)?);
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        let range = move |_| ArrowError::from(Error::new("22003", format!("{name} out of range")));
        let nonzero = |value: T::Native| if value.is_zero() { Err(ArrowError::DivideByZero) } else { Ok(value) };
        let minus_one = T::Native::ZERO.sub_wrapping(T::Native::ONE);
        let result: PrimitiveArray<T> = match operator {
            '+' => self.pairs(left, right, |a, b| a.add_checked(b).map_err(range)),
            '-' => self.pairs(left, right, |a, b| a.sub_checked(b).map_err(range)),
            '*' => self.pairs(left, right, |a, b| a.mul_checked(b).map_err(range)),
            '/' => self.pairs(left, right, |a, b| a.div_checked(nonzero(b)?).map_err(range)),
            // The smallest value % -1 is 0, though its quotient overflows.
            _ => self.pairs(left, right, |a, b| match b == minus_one {
                true => Ok(T::Native::ZERO),
                false => Ok(a.mod_wrapping(nonzero(b)?)),
            }),
        }?;
        Ok(Arc::new(result))
    }

    fn floats<T: ArrowPrimitiveType>(&self, operator: char) -> Result<ArrayRef>
    where
        T::Native: Real,
    {
        let (left, right) = (float::<T>(&self.left)?, float::<T>(&self.right)?);
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        // f64 holds the product of two f32 exactly enough that rounding twice is rounding once.
        let checked = |f: fn(f64, f64) -> f64, exact_zero: fn(f64, f64) -> bool| {
            move |a: T::Native, b: T::Native| {
                let (a, b) = (a.wide(), b.wide());
                let result = f(a, b);
                // There is one NaN, whatever the processor makes of infinities.
                let result = T::Native::narrow(if result.is_nan() { f64::NAN } else { result });
                if result.wide().is_infinite() && a.is_finite() && b.is_finite() {
                    return Err(range("overflow"));
                }
                if result.wide() == 0.0 && !exact_zero(a, b) { Err(range("underflow")) } else { Ok(result) }
            }
        };
        let result: PrimitiveArray<T> = match operator {
            '+' => self.pairs(left, right, checked(|a, b| a + b, |_, _| true)),
            '-' => self.pairs(left, right, checked(|a, b| a - b, |_, _| true)),
            '*' => self.pairs(left, right, checked(|a, b| a * b, |a, b| a == 0.0 || b == 0.0)),
            _ => {
                let divide = checked(|a, b| a / b, |a, b| a == 0.0 || b.is_infinite());
                self.pairs(left, right, |a, b| {
                    if b.wide() == 0.0 && !a.wide().is_nan() { Err(ArrowError::DivideByZero) } else { divide(a, b) }
                })
            }
        }?;
        Ok(Arc::new(result))
    }

    fn numerics(&self, operator: char) -> Result<ArrayRef> {
        let (left, right) = (Numbers::of(&self.left)?, Numbers::of(&self.right)?);
        let f: fn(&Numeric, &Numeric) -> Result<Numeric> = match operator {
            '+' => Numeric::add,
            '-' => Numeric::sub,
            '*' => Numeric::mul,
            '/' => Numeric::div,
            _ => Numeric::rem,
        };
        Ok(Arc::new(numeric::build(self.each(|a, b| f(&left.get(a)?, &right.get(b)?)))?))
    }

    fn decimals<T: DecimalType + ArrowPrimitiveType>(
        &self,
        operator: char,
        scale: i8,
        result: &Type,
    ) -> Result<ArrayRef>
    where
        T::Native: Wide,
    {
        let (left, left_scale) = decimal_column::<T>(&self.left)?;
        let (right, right_scale) = decimal_column::<T>(&self.right)?;
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        let limit = T::Native::power(T::MAX_PRECISION)?;
        let held = |value: T::Native| {
            let magnitude = if value.is_lt(T::Native::ZERO) { value.neg_wrapping() } else { value };
            if magnitude.is_lt(limit) && !magnitude.is_lt(T::Native::ZERO) { Ok(value) } else { Err(too_large()) }
        };
        let (up_left, up_right) = match operator {
            '*' => (T::Native::ONE, T::Native::ONE),
            _ => (T::Native::power((scale - left_scale) as u8)?, T::Native::power((scale - right_scale) as u8)?),
        };
        let aligned = |a: T::Native, b: T::Native| -> Result<(T::Native, T::Native), ArrowError> {
            Ok((a.mul_checked(up_left).map_err(|_| too_large())?, b.mul_checked(up_right).map_err(|_| too_large())?))
        };
        let array: PrimitiveArray<T> = match operator {
            '+' => self.pairs(left, right, |a, b| {
                let (a, b) = aligned(a, b)?;
                held(a.add_checked(b).map_err(|_| too_large())?)
            }),
            '-' => self.pairs(left, right, |a, b| {
                let (a, b) = aligned(a, b)?;
                held(a.sub_checked(b).map_err(|_| too_large())?)
            }),
            '*' => self.pairs(left, right, |a, b| held(a.mul_checked(b).map_err(|_| too_large())?)),
            _ => self.pairs(left, right, |a, b| {
                let (a, b) = aligned(a, b)?;
                if b.is_zero() { Err(ArrowError::DivideByZero) } else { Ok(a.mod_wrapping(b)) }
            }),
        }?;
        Ok(Arc::new(array.with_data_type(result.arrow())))
    }
}

/// The float natives, by way of f64.
trait Real: Copy {
    fn wide(self) -> f64;
    fn narrow(value: f64) -> Self;
}

impl Real for f32 {
    fn wide(self) -> f64 {
        self as f64
    }

    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    fn wide(self) -> f64 {
        self
    }

    fn narrow(value: f64) -> Self {
        value
    }
}

/// The decimal natives: powers of ten.
trait Wide: ArrowNativeTypeOp {
    fn power(exponent: u8) -> Result<Self>;
}

impl Wide for i128 {
    fn power(exponent: u8) -> Result<Self> {
        10i128.checked_pow(exponent as u32).ok_or_else(|| Error::internal("power of ten"))
    }
}

impl Wide for i256 {
    fn power(exponent: u8) -> Result<Self> {
        i256::from_i128(10).checked_pow(exponent as u32).ok_or_else(|| Error::internal("power of ten"))
    }
}

/// An exact number column as the wanted width of decimal at its own scale.
fn decimal_column<T: DecimalType + ArrowPrimitiveType>(array: &ArrayRef) -> Result<(ArrayRef, i8)> {
    let (precision, scale) = match array.data_type() {
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        // A NULL literal.
        DataType::Null => (1, 0),
        other => return Err(Error::internal(format!("{other} in decimal arithmetic"))),
    };
    Ok((cast(array, &T::TYPE_CONSTRUCTOR(precision.min(T::MAX_PRECISION), scale))?, scale))
}

pub(super) fn float<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::FixedSizeBinary(_) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            numeric::to_column(array, &T::DATA_TYPE)
        }
        _ => Ok(cast(array, &T::DATA_TYPE)?),
    }
}

fn range(what: &str) -> ArrowError {
    Error::new("22003", format!("value out of range: {what}")).into()
}

fn too_large() -> ArrowError {
    Error::new("22003", "numeric field overflow").into()
}

fn resolve_unary(name: &str, given: &[Option<Type>], intervals: bool) -> Result<Resolved> {
    let [argument] = given else { return Err(undefined(name, given)) };
    let kind = argument.clone().unwrap_or(Type::Float8);
    let known = kind.is_number() || (intervals && kind == Type::Interval);
    if !known {
        return Err(undefined(name, given));
    }
    Ok(Resolved { arguments: vec![kind.clone()], result: kind })
}

fn resolve_complement(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [Some(kind @ (Type::Int2 | Type::Int4 | Type::Int8))] => {
            Ok(Resolved { arguments: vec![kind.clone()], result: kind.clone() })
        }
        _ => Err(undefined("~", given)),
    }
}

fn complement(call: &Call) -> Result<ArrayRef> {
    let array = call.column(0)?;
    Ok(match call.result {
        Type::Int2 => Arc::new(array.as_primitive::<Int16Type>().unary::<_, Int16Type>(|bits| !bits)),
        Type::Int4 => Arc::new(array.as_primitive::<Int32Type>().unary::<_, Int32Type>(|bits| !bits)),
        _ => Arc::new(array.as_primitive::<Int64Type>().unary::<_, Int64Type>(|bits| !bits)),
    })
}

fn negate(call: &Call) -> Result<ArrayRef> {
    let array = call.column(0)?;
    Ok(match call.result {
        Type::Int2 => Arc::new(map_checked::<Int16Type>(&array, "smallint", |v| v.neg_checked())?),
        Type::Int4 => Arc::new(map_checked::<Int32Type>(&array, "integer", |v| v.neg_checked())?),
        Type::Int8 => Arc::new(map_checked::<Int64Type>(&array, "bigint", |v| v.neg_checked())?),
        Type::Numeric(None) => unary_numeric(&array, |value| Ok(value.neg()))?,
        Type::Interval => temporal::negate(&array)?,
        _ => arrow::compute::kernels::numeric::neg(&array)?,
    })
}

fn absolute(call: &Call) -> Result<ArrayRef> {
    let array = call.column(0)?;
    Ok(match call.result {
        Type::Int2 => Arc::new(map_checked::<Int16Type>(&array, "smallint", magnitude)?),
        Type::Int4 => Arc::new(map_checked::<Int32Type>(&array, "integer", magnitude)?),
        Type::Int8 => Arc::new(map_checked::<Int64Type>(&array, "bigint", magnitude)?),
        Type::Float4 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::abs)),
        Type::Float8 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::abs)),
        Type::Numeric(None) => unary_numeric(&array, |value| Ok(value.abs()))?,
        Type::Numeric(Some((..=38, _))) => {
            let values = array.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(i128::wrapping_abs);
            Arc::new(values.with_data_type(call.result.arrow()))
        }
        _ => {
            let values = array.as_primitive::<Decimal256Type>().unary::<_, Decimal256Type>(i256::wrapping_abs);
            Arc::new(values.with_data_type(call.result.arrow()))
        }
    })
}

fn magnitude<N: ArrowNativeTypeOp>(value: N) -> Result<N, ArrowError> {
    if value.is_lt(N::ZERO) { value.neg_checked() } else { Ok(value) }
}

fn map_checked<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    name: &str,
    f: impl Fn(T::Native) -> Result<T::Native, ArrowError>,
) -> Result<PrimitiveArray<T>> {
    let range = |_| ArrowError::from(Error::new("22003", format!("{name} out of range")));
    Ok(try_unary(array.as_primitive::<T>(), |value| f(value).map_err(range))?)
}

/// `f` on every value of an unconstrained numeric column.
pub(super) fn unary_numeric(array: &ArrayRef, f: impl Fn(&Numeric) -> Result<Numeric>) -> Result<ArrayRef> {
    let numbers = Numbers::of(array)?;
    let rows = (0..array.len()).map(|row| if array.is_null(row) { Ok(None) } else { f(&numbers.get(row)?).map(Some) });
    Ok(Arc::new(numeric::build(rows)?))
}
