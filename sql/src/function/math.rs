//! Mathematical functions with Postgres' choice of type: numeric for numeric, double precision for floats and also for integers,
//! unless there is a function of numerics only. Arguments a function is not defined for are errors, not NaN.

use super::arithmetic::float;
use super::definition::{Call, Definition, Resolved, undefined};
use crate::error::{Error, Result};
use crate::numeric::{self, Numbers, Numeric};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::compute::{try_binary, try_unary};
use arrow::datatypes::{Float64Type, Int32Type};
use arrow::error::ArrowError;
use std::sync::Arc;

/// One of numeric and one of double precision.
macro_rules! either {
    ($name:literal, $aliases:expr, $numeric:expr, $float:expr) => {
        function(
            $name,
            $aliases,
            |given| either_type($name, given),
            |call| match call.result {
                Type::Float8 => floats(call, $float),
                _ => numerics(call, $numeric),
            },
        )
    };
}

/// Of double precision only.
macro_rules! float {
    ($name:literal, $float:expr) => {
        function($name, &[], |given| float_type($name, given), |call| floats(call, $float))
    };
}

pub const FUNCTIONS: &[Definition] = &[
    either!("ceil", &["ceiling"], Numeric::ceil, |x| Ok(x.ceil())),
    either!("floor", &[], Numeric::floor, |x| Ok(x.floor())),
    either!("sign", &[], |x| Ok(x.sign()), |x| Ok(sign(x))),
    either!("sqrt", &[], Numeric::sqrt, square_root),
    either!("exp", &[], Numeric::exp, |x| ranged(x.exp(), !x.is_finite(), x == f64::NEG_INFINITY)),
    either!("ln", &[], Numeric::ln, |x| logarithm(x, f64::ln)),
    either!("log10", &[], |x| x.log(&ten()), |x| logarithm(x, f64::log10)),
    function("log", &[], log_type, log),
    function(
        "round",
        &[],
        |given| places_type("round", given),
        |call| places(call, Numeric::round, f64::round_ties_even),
    ),
    function("trunc", &[], |given| places_type("trunc", given), |call| places(call, Numeric::trunc, f64::trunc)),
    function("power", &["pow"], |given| power_type("power", given), power),
    function("^", &[], |given| power_type("^", given), power),
    function("div", &[], |given| numeric_type("div", 2, given), |call| pairs(call, Numeric::div_trunc)),
    function(
        "trim_scale",
        &[],
        |given| numeric_type("trim_scale", 1, given),
        |call| numerics(call, |x| Ok(x.with_least_scale())),
    ),
    function("scale", &[], |given| scale_type("scale", given), |call| scales(call, |x| *x)),
    function("min_scale", &[], |given| scale_type("min_scale", given), |call| scales(call, Numeric::with_least_scale)),
    float!("cbrt", |x| Ok(x.cbrt())),
    float!("degrees", |x| ranged(x.to_degrees(), !x.is_finite(), true)),
    float!("radians", |x| ranged(x.to_radians(), !x.is_finite(), x == 0.0)),
    float!("sin", |x| angle(x, f64::sin)),
    float!("cos", |x| angle(x, f64::cos)),
    float!("tan", |x| angle(x, f64::tan)),
    float!("cot", |x| angle(x, |x| 1.0 / x.tan())),
    float!("asin", |x| within(x, -1.0, 1.0, f64::asin)),
    float!("acos", |x| within(x, -1.0, 1.0, f64::acos)),
    float!("atan", |x| Ok(x.atan())),
    float!("sinh", |x| Ok(x.sinh())),
    float!("cosh", |x| Ok(x.cosh())),
    float!("tanh", |x| Ok(x.tanh())),
    float!("asinh", |x| Ok(x.asinh())),
    float!("acosh", |x| within(x, 1.0, f64::INFINITY, f64::acosh)),
    float!("atanh", |x| within(x, -1.0, 1.0, f64::atanh)),
    function("atan2", &[], float_pair_type, |call| float_pairs(call, |y, x| Ok(y.atan2(x)))),
];

const fn function(
    name: &'static str,
    aliases: &'static [&'static str],
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
) -> Definition {
    Definition { name, aliases, resolve, call, strict: true, fallible: true }
}

fn either_type(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [Some(Type::Numeric(_))] => numeric_type(name, 1, given),
        _ => float_type(name, given),
    }
}

fn float_type(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [kind] if kind.as_ref().is_none_or(Type::is_number) => {
            Ok(Resolved { arguments: vec![Type::Float8], result: Type::Float8 })
        }
        _ => Err(undefined(name, given)),
    }
}

fn float_pair_type(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [left, right] if left.as_ref().is_none_or(Type::is_number) && right.as_ref().is_none_or(Type::is_number) => {
            Ok(Resolved { arguments: vec![Type::Float8; 2], result: Type::Float8 })
        }
        _ => Err(undefined("atan2", given)),
    }
}

/// `count` exact numbers, taken as they are; what is untyped is numeric.
fn numeric_type(name: &str, count: usize, given: &[Option<Type>]) -> Result<Resolved> {
    let arguments: Vec<Type> = given.iter().map(|kind| kind.clone().unwrap_or(Type::Numeric(None))).collect();
    if arguments.len() != count || !arguments.iter().all(is_exact) {
        return Err(undefined(name, given));
    }
    Ok(Resolved { arguments, result: Type::Numeric(None) })
}

fn scale_type(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    Ok(Resolved { result: Type::Int4, ..numeric_type(name, 1, given)? })
}

fn log_type(given: &[Option<Type>]) -> Result<Resolved> {
    if given.len() == 2 { numeric_type("log", 2, given) } else { either_type("log", given) }
}

fn places_type(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        // While a query is planned, integer literals are still bigint.
        [value, Some(Type::Int2 | Type::Int4 | Type::Int8) | None] => {
            let mut resolved = numeric_type(name, 1, std::slice::from_ref(value))?;
            resolved.arguments.push(Type::Int4);
            Ok(resolved)
        }
        [_] => either_type(name, given),
        _ => Err(undefined(name, given)),
    }
}

fn power_type(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    let numbers = given.iter().all(|kind| kind.as_ref().is_none_or(Type::is_number));
    let has = |wanted: fn(&Type) -> bool| given.iter().flatten().any(wanted);
    match given.len() {
        2 if has(|kind| matches!(kind, Type::Numeric(_))) && !has(|kind| !is_exact(kind)) => {
            numeric_type(name, 2, given)
        }
        2 if numbers => Ok(Resolved { arguments: vec![Type::Float8; 2], result: Type::Float8 }),
        _ => Err(undefined(name, given)),
    }
}

fn is_exact(kind: &Type) -> bool {
    matches!(kind, Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_))
}

fn log(call: &Call) -> Result<ArrayRef> {
    match (call.result, call.arguments.len()) {
        (Type::Float8, _) => floats(call, |x| logarithm(x, f64::log10)),
        (_, 1) => numerics(call, |x| x.log(&ten())),
        _ => pairs(call, |base, x| x.log(base)),
    }
}

fn power(call: &Call) -> Result<ArrayRef> {
    match call.result {
        Type::Float8 => float_pairs(call, float_power),
        _ => pairs(call, Numeric::power),
    }
}

/// round and trunc: numerics to some places, or to integers.
fn places(call: &Call, numeric: fn(&Numeric, i32) -> Result<Numeric>, float: fn(f64) -> f64) -> Result<ArrayRef> {
    match (call.result, call.arguments.len()) {
        (Type::Float8, _) => floats(call, |x| Ok(float(x))),
        (_, 1) => numerics(call, |x| numeric(x, 0)),
        _ => {
            let (values, places) = (call.column(0)?, call.column(1)?);
            let (numbers, places) = (Numbers::of(&values)?, places.as_primitive::<Int32Type>());
            rows(call.rows, &[&values, places], |row| numeric(&numbers.get(row)?, places.value(row)))
        }
    }
}

fn numerics(call: &Call, f: impl Fn(&Numeric) -> Result<Numeric>) -> Result<ArrayRef> {
    let values = call.column(0)?;
    let numbers = Numbers::of(&values)?;
    rows(call.rows, &[&values], |row| f(&numbers.get(row)?))
}

fn pairs(call: &Call, f: fn(&Numeric, &Numeric) -> Result<Numeric>) -> Result<ArrayRef> {
    let (left, right) = (call.column(0)?, call.column(1)?);
    let (lefts, rights) = (Numbers::of(&left)?, Numbers::of(&right)?);
    rows(call.rows, &[&left, &right], |row| f(&lefts.get(row)?, &rights.get(row)?))
}

/// The numerics of the rows where all `columns` have a value.
fn rows(count: usize, columns: &[&dyn Array], f: impl Fn(usize) -> Result<Numeric>) -> Result<ArrayRef> {
    let value = |row| match columns.iter().all(|column| column.is_valid(row)) {
        true => f(row).map(Some),
        false => Ok(None),
    };
    Ok(Arc::new(numeric::build((0..count).map(value))?))
}

fn scales(call: &Call, f: fn(&Numeric) -> Numeric) -> Result<ArrayRef> {
    let values = call.column(0)?;
    let numbers = Numbers::of(&values)?;
    let scale = |row| -> Result<Option<i32>> {
        if values.is_null(row) {
            return Ok(None);
        }
        let value = f(&numbers.get(row)?);
        Ok(value.is_finite().then(|| i32::from(value.scale())))
    };
    Ok(Arc::new((0..call.rows).map(scale).collect::<Result<Int32Array>>()?))
}

fn floats(call: &Call, f: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = float::<Float64Type>(&call.column(0)?)?;
    let f = |x| f(x).map_err(ArrowError::from);
    Ok(Arc::new(try_unary::<_, _, Float64Type>(values.as_primitive::<Float64Type>(), f)?))
}

fn float_pairs(call: &Call, f: fn(f64, f64) -> Result<f64>) -> Result<ArrayRef> {
    let (left, right) = (float::<Float64Type>(&call.column(0)?)?, float::<Float64Type>(&call.column(1)?)?);
    let f = |a, b| f(a, b).map_err(ArrowError::from);
    let result: Float64Array = try_binary(left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>(), f)?;
    Ok(Arc::new(result))
}

fn ten() -> Numeric {
    Numeric::from_i64(10)
}

fn sign(x: f64) -> f64 {
    match () {
        _ if x > 0.0 => 1.0,
        _ if x < 0.0 => -1.0,
        _ => 0.0,
    }
}

fn square_root(x: f64) -> Result<f64> {
    if x < 0.0 {
        return Err(Error::new("2201F", "cannot take square root of a negative number"));
    }
    Ok(x.sqrt())
}

fn logarithm(x: f64, f: fn(f64) -> f64) -> Result<f64> {
    if x == 0.0 {
        return Err(Error::new("2201E", "cannot take logarithm of zero"));
    }
    if x < 0.0 {
        return Err(Error::new("2201E", "cannot take logarithm of a negative number"));
    }
    Ok(f(x))
}

fn float_power(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(Error::new("2201F", "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(Error::new("2201F", message));
    }
    let endless = !base.is_finite() || !exponent.is_finite();
    ranged(base.powf(exponent), endless, endless || base == 0.0)
}

/// `result`, unless it is infinite or zero where it should be neither.
fn ranged(result: f64, infinite: bool, zero: bool) -> Result<f64> {
    match result {
        _ if result.is_infinite() && !infinite => Err(Error::new("22003", "value out of range: overflow")),
        0.0 if !zero => Err(Error::new("22003", "value out of range: underflow")),
        _ => Ok(result),
    }
}

fn angle(x: f64, f: fn(f64) -> f64) -> Result<f64> {
    if x.is_infinite() { Err(Error::new("22003", "input is out of range")) } else { Ok(f(x)) }
}

fn within(x: f64, least: f64, most: f64, f: fn(f64) -> f64) -> Result<f64> {
    if x < least || x > most { Err(Error::new("22003", "input is out of range")) } else { Ok(f(x)) }
}
