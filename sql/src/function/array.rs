//! The sizes of arrays, as integers. An empty array has no dimensions, so all but its cardinality is NULL.

use super::definition::{Call, Definition, Resolved, undefined};
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int32Type};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "array_length",
        aliases: &[],
        resolve: |given| resolve("array_length", given, &[Type::Int4]),
        call: length,
        strict: false,
        fallible: false,
    },
    Definition {
        name: "array_ndims",
        aliases: &[],
        resolve: |given| resolve("array_ndims", given, &[]),
        call: dimensions,
        strict: false,
        fallible: false,
    },
    Definition {
        name: "array_upper",
        aliases: &[],
        resolve: |given| resolve("array_upper", given, &[Type::Int4]),
        call: length,
        strict: false,
        fallible: false,
    },
    Definition {
        name: "array_or_empty",
        aliases: &[],
        resolve: |given| match given {
            [Some(array @ Type::Array(_))] => Ok(Resolved { arguments: vec![array.clone()], result: array.clone() }),
            _ => Err(undefined("array_or_empty", given)),
        },
        call: or_empty,
        strict: false,
        fallible: false,
    },
    Definition {
        name: "cardinality",
        aliases: &[],
        resolve: |given| resolve("cardinality", given, &[]),
        call: cardinality,
        strict: true,
        fallible: false,
    },
];

/// An array, and `others` after it.
fn resolve(name: &str, given: &[Option<Type>], others: &[Type]) -> Result<Resolved> {
    let [Some(array @ Type::Array(_)), rest @ ..] = given else { return Err(undefined(name, given)) };
    // A number literal is a bigint while DataFusion plans.
    let fits = |given: &Option<Type>| matches!(given, None | Some(Type::Int2 | Type::Int4 | Type::Int8));
    if rest.len() != others.len() || !rest.iter().all(fits) {
        return Err(undefined(name, given));
    }
    let arguments = std::iter::once(array).chain(others).cloned().collect();
    Ok(Resolved { arguments, result: Type::Int4 })
}

/// Elements of each array; `None` for NULL.
fn sizes(array: &ArrayRef) -> impl Iterator<Item = Option<i32>> {
    let lists = array.as_list::<i32>();
    (0..lists.len()).map(move |row| lists.is_valid(row).then(|| lists.value_length(row)))
}

/// An array without elements for NULL.
fn or_empty(call: &Call) -> Result<ArrayRef> {
    let arrays = call.column(0)?;
    let lists = arrays.as_list::<i32>();
    if lists.null_count() == 0 {
        return Ok(arrays);
    }
    let (mut elements, mut lengths) = (vec![], vec![]);
    for row in 0..lists.len() {
        let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
        let length = if lists.is_valid(row) { end - start } else { 0 };
        elements.extend(start..start + length);
        lengths.push(length as usize);
    }
    let values = arrow::compute::take(lists.values(), &Int32Array::from(elements), None)?;
    let DataType::List(field) = lists.data_type() else { return Err(Error::internal("elements of no array")) };
    Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, None)?))
}

fn cardinality(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new(sizes(&call.column(0)?).collect::<Int32Array>()))
}

fn dimensions(call: &Call) -> Result<ArrayRef> {
    let one = |size: Option<i32>| size.filter(|size| *size > 0).map(|_| 1);
    Ok(Arc::new(sizes(&call.column(0)?).map(one).collect::<Int32Array>()))
}

/// There is no dimension but the first.
fn length(call: &Call) -> Result<ArrayRef> {
    let (arrays, wanted) = (call.column(0)?, call.column(1)?);
    let wanted = wanted.as_primitive::<Int32Type>().iter();
    let one = |(size, dimension): (Option<i32>, Option<i32>)| size.filter(|size| *size > 0 && dimension == Some(1));
    Ok(Arc::new(sizes(&arrays).zip(wanted).map(one).collect::<Int32Array>()))
}
