//! `x = ANY (array)`, `x <> ALL (array)` and their kin: a comparison with every element, NULL where NULLs leave it open.

use super::definition::{Call, Definition, Resolved, undefined};
use crate::error::Result;
use crate::numeric;
use crate::types::{NUMERIC_WIDTH, Type};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, UInt32Array};
use arrow::compute::kernels::cmp::{eq, gt, gt_eq, lt, lt_eq, neq};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNanoType};
use arrow::error::ArrowError;
use std::sync::Arc;

type Test = fn(&dyn Datum, &dyn Datum) -> std::result::Result<BooleanArray, ArrowError>;

/// Named as they are written.
pub const FUNCTIONS: &[Definition] = &[
    quantified("= any", |call| some(call, eq)),
    quantified("<> any", |call| some(call, neq)),
    quantified("< any", |call| some(call, lt)),
    quantified("<= any", |call| some(call, lt_eq)),
    quantified("> any", |call| some(call, gt)),
    quantified(">= any", |call| some(call, gt_eq)),
    quantified("= all", |call| every(call, eq)),
    quantified("<> all", |call| every(call, neq)),
    quantified("< all", |call| every(call, lt)),
    quantified("<= all", |call| every(call, lt_eq)),
    quantified("> all", |call| every(call, gt)),
    quantified(">= all", |call| every(call, gt_eq)),
];

/// The operator, if `name` is one of these.
pub fn operator(name: &str) -> Option<&str> {
    name.strip_suffix(" any").or_else(|| name.strip_suffix(" all"))
}

const fn quantified(name: &'static str, call: fn(&Call) -> Result<ArrayRef>) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: false, fallible: false }
}

/// The analyzer brings value and elements to one type before anything is called.
fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [value, Some(array @ Type::Array(element))] => {
            let arguments = vec![value.clone().unwrap_or_else(|| element.as_ref().clone()), array.clone()];
            Ok(Resolved { arguments, result: Type::Bool })
        }
        // A string literal that the analyzer will read as an array.
        [value, None | Some(Type::Text)] => {
            let value = value.clone().unwrap_or(Type::Text);
            Ok(Resolved { arguments: vec![value.clone(), Type::Array(Box::new(value))], result: Type::Bool })
        }
        _ => Err(undefined("ANY or ALL", given).hint("The right side of ANY or ALL must be an array or a subquery.")),
    }
}

fn some(call: &Call, test: Test) -> Result<ArrayRef> {
    decided(call, test, true)
}

fn every(call: &Call, test: Test) -> Result<ArrayRef> {
    decided(call, test, false)
}

/// `decision` if the test of any element gives it, else NULL if any gives NULL, else the opposite.
fn decided(call: &Call, test: Test, decision: bool) -> Result<ArrayRef> {
    let (values, arrays) = (call.column(0)?, call.column(1)?);
    let arrays = arrays.as_list::<i32>();
    let (first, last) = (arrays.value_offsets()[0] as usize, arrays.value_offsets()[arrays.len()] as usize);
    let lengths = (0..arrays.len()).map(|row| arrays.value_length(row) as usize);
    let rows: UInt32Array = lengths.enumerate().flat_map(|(row, n)| std::iter::repeat_n(row as u32, n)).collect();
    let repeated = canonical(arrow::compute::take(&values, &rows, None)?)?;
    let tested = test(&repeated, &canonical(arrays.values().slice(first, last - first))?)?;
    let decide = |row: usize| {
        let start = arrays.value_offsets()[row] as usize - first;
        let mut tests =
            (start..start + arrays.value_length(row) as usize).map(|at| tested.is_valid(at).then(|| tested.value(at)));
        let open = tests.clone().any(|test| test.is_none());
        match tests.any(|test| test == Some(decision)) {
            true => Some(decision),
            false => (!open).then_some(!decision),
        }
    };
    let results = (0..arrays.len()).map(|row| if arrays.is_null(row) { None } else { decide(row) });
    Ok(Arc::new(results.collect::<BooleanArray>()))
}

/// Equal values in equal bytes.
fn canonical(array: ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::FixedSizeBinary(NUMERIC_WIDTH) => Arc::new(numeric::key(array.as_fixed_size_binary())?),
        DataType::Interval(_) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(super::key::justified))
        }
        // -0 is 0.
        DataType::Float32 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0)),
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0)),
        _ => array,
    })
}
