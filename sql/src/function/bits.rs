//! Integers as bits: `&`, `|`, `#`, `<<`, `>>` and to_hex.

use super::definition::{Call, Definition, Resolved, undefined};
use crate::error::Result;
use crate::types::Type;
use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray};
use arrow::compute::binary;
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    bitwise("&", |given| alike("&", given), |call| pairs(call, (|a, b| a & b, |a, b| a & b, |a, b| a & b))),
    bitwise("|", |given| alike("|", given), |call| pairs(call, (|a, b| a | b, |a, b| a | b, |a, b| a | b))),
    bitwise("#", |given| alike("#", given), |call| pairs(call, (|a, b| a ^ b, |a, b| a ^ b, |a, b| a ^ b))),
    bitwise("<<", |given| shift("<<", given), |call| shifted(call, i32::wrapping_shl, i64::wrapping_shl)),
    Definition {
        name: "to_hex",
        aliases: &[],
        resolve: |given| match given {
            [Some(number @ (Type::Int4 | Type::Int8))] => {
                Ok(Resolved { arguments: vec![number.clone()], result: Type::Text })
            }
            _ => Err(undefined("to_hex", given)),
        },
        call: |call| {
            let numbers = call.column(0)?;
            let texts: StringArray = match numbers.data_type() {
                DataType::Int32 => {
                    numbers.as_primitive::<Int32Type>().iter().map(|n| n.map(|n| format!("{n:x}"))).collect()
                }
                _ => numbers.as_primitive::<Int64Type>().iter().map(|n| n.map(|n| format!("{n:x}"))).collect(),
            };
            Ok(Arc::new(texts))
        },
        strict: true,
        fallible: false,
    },
    bitwise(">>", |given| shift(">>", given), |call| shifted(call, i32::wrapping_shr, i64::wrapping_shr)),
];

const fn bitwise(
    name: &'static str,
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: true, fallible: false }
}

fn width(kind: &Type) -> Option<u8> {
    match kind {
        Type::Int2 => Some(2),
        Type::Int4 => Some(4),
        Type::Int8 => Some(8),
        _ => None,
    }
}

/// Both sides of the wider type.
fn alike(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    let wide =
        match given {
            [Some(left), Some(right)] if width(left).is_some() && width(right).is_some() => {
                if width(left) >= width(right) { left } else { right }
            }
            [Some(known), None] | [None, Some(known)] if width(known).is_some() => known,
            _ => return Err(undefined(name, given)),
        };
    Ok(Resolved { arguments: vec![wide.clone(), wide.clone()], result: wide.clone() })
}

/// Of the left side's type, by an integer.
fn shift(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        // A number literal is a bigint while DataFusion plans.
        [Some(left), None | Some(Type::Int2 | Type::Int4 | Type::Int8)] if width(left).is_some() => {
            Ok(Resolved { arguments: vec![left.clone(), Type::Int4], result: left.clone() })
        }
        _ => Err(undefined(name, given)),
    }
}

type Pair<T> = fn(T, T) -> T;

fn pairs(call: &Call, (two, four, eight): (Pair<i16>, Pair<i32>, Pair<i64>)) -> Result<ArrayRef> {
    let (left, right) = (call.column(0)?, call.column(1)?);
    Ok(match left.data_type() {
        DataType::Int16 => each::<Int16Type>(&left, &right, two)?,
        DataType::Int32 => each::<Int32Type>(&left, &right, four)?,
        _ => each::<Int64Type>(&left, &right, eight)?,
    })
}

fn each<T: ArrowPrimitiveType>(left: &ArrayRef, right: &ArrayRef, op: Pair<T::Native>) -> Result<ArrayRef> {
    Ok(Arc::new(binary::<T, T, _, T>(left.as_primitive(), right.as_primitive(), op)?))
}

/// Distances beyond the width of a type wrap around, as they do in Postgres; two bytes are shifted as four.
fn shifted(call: &Call, narrow: fn(i32, u32) -> i32, wide: fn(i64, u32) -> i64) -> Result<ArrayRef> {
    let (values, by) = (call.column(0)?, call.column(1)?);
    let by: &PrimitiveArray<Int32Type> = by.as_primitive();
    Ok(match values.data_type() {
        DataType::Int16 => {
            let op = |value: i16, by: i32| narrow(value as i32, by as u32) as i16;
            Arc::new(binary::<_, _, _, Int16Type>(values.as_primitive::<Int16Type>(), by, op)?)
        }
        DataType::Int32 => {
            let op = |value: i32, by: i32| narrow(value, by as u32);
            Arc::new(binary::<_, _, _, Int32Type>(values.as_primitive::<Int32Type>(), by, op)?)
        }
        _ => {
            let op = |value: i64, by: i32| wide(value, by as u32);
            Arc::new(binary::<_, _, _, Int64Type>(values.as_primitive::<Int64Type>(), by, op)?)
        }
    })
}
