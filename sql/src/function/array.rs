//! The sizes of arrays, as integers, what they contain, and their order. An empty array has no dimensions, so all but its cardinality
//! is NULL.

use super::definition::{Call, Definition, Resolved, undefined};
use super::key;
use super::operands::Operands;
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringArray, make_comparator};
use arrow::buffer::OffsetBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int32Type};
use arrow::row::{RowConverter, SortField};
use std::ops::Range;
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
    Definition {
        name: CONTAINS,
        aliases: &[],
        resolve: |given| resolve_pair(CONTAINS, given),
        call: |call| contains(call, 0, 1),
        strict: true,
        fallible: false,
    },
    Definition {
        name: CONTAINED,
        aliases: &[],
        resolve: |given| resolve_pair(CONTAINED, given),
        call: |call| contains(call, 1, 0),
        strict: true,
        fallible: false,
    },
    Definition {
        name: "array_key",
        aliases: &[],
        resolve: |given| match given {
            [Some(array @ Type::Array(_))] => Ok(Resolved { arguments: vec![array.clone()], result: Type::Text }),
            _ => Err(undefined("array_key", given)),
        },
        call: order,
        strict: true,
        fallible: false,
    },
];

pub const CONTAINS: &str = "@>";
pub const CONTAINED: &str = "<@";

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

/// Two arrays, which the analyzer brings to one type.
fn resolve_pair(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    let arguments = match given {
        [Some(left @ Type::Array(_)), Some(right @ Type::Array(_))] => vec![left.clone(), right.clone()],
        [Some(array @ Type::Array(_)), None] | [None, Some(array @ Type::Array(_))] => vec![array.loose(); 2],
        [Some(Type::Jsonb), _] | [_, Some(Type::Jsonb)] => {
            return Err(Error::unsupported(format!("operator {name} of jsonb")));
        }
        _ => return Err(undefined(name, given)),
    };
    Ok(Resolved { arguments, result: Type::Bool })
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

/// Whether argument `whole` has every element of argument `part`. NULL is equal to nothing, not to NULL either.
fn contains(call: &Call, whole: usize, part: usize) -> Result<ArrayRef> {
    let ((left, left_constant), (right, right_constant)) = (call.operand(whole)?, call.operand(part)?);
    let operands = Operands { left, right, left_constant, right_constant, rows: call.rows };
    let (wholes, parts) = (operands.left.as_list::<i32>(), operands.right.as_list::<i32>());
    let (present, wanted) = (key::canonical(wholes.values())?, key::canonical(parts.values())?);
    let compare = make_comparator(present.as_ref(), wanted.as_ref(), SortOptions::default())?;
    let rows = operands.each(|whole, part| {
        let has = |element| elements(wholes, whole).any(|at| present.is_valid(at) && compare(at, element).is_eq());
        Ok(elements(parts, part).all(|element| wanted.is_valid(element) && has(element)))
    });
    Ok(Arc::new(rows.collect::<Result<BooleanArray>>()?))
}

/// Where the elements of an array are among those of all.
fn elements(lists: &ListArray, row: usize) -> Range<usize> {
    lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize
}

/// Texts that sort like the arrays: NULL comes after every other element, whichever way the arrays themselves are sorted.
fn order(call: &Call) -> Result<ArrayRef> {
    let arrays = call.column(0)?;
    let options = SortOptions { descending: false, nulls_first: false };
    let converter = RowConverter::new(vec![SortField::new_with_options(arrays.data_type().clone(), options)])?;
    let rows = converter.convert_columns(std::slice::from_ref(&arrays))?;
    // Letters sort like the bytes that they stand for.
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let texts = rows.iter().enumerate().map(|(at, row)| arrays.is_valid(at).then(|| text(row.as_ref())));
    Ok(Arc::new(texts.collect::<StringArray>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::ColumnarValue;

    fn lists(rows: Vec<Option<Vec<Option<i32>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows))
    }

    #[test]
    fn null_is_contained_in_nothing() {
        let left = lists(vec![Some(vec![Some(1), None]), Some(vec![Some(2)]), None, Some(vec![])]);
        let answer = |right: ArrayRef| {
            let right = ScalarValue::try_from_array(&right, 0).unwrap();
            let arguments = [ColumnarValue::Array(left.clone()), ColumnarValue::Scalar(right)];
            let call = Call { arguments: &arguments, rows: 4, result: &Type::Bool };
            contains(&call, 0, 1).unwrap().as_boolean().iter().collect::<Vec<_>>()
        };
        assert_eq!(answer(lists(vec![Some(vec![])])), [Some(true), Some(true), None, Some(true)]);
        assert_eq!(answer(lists(vec![Some(vec![Some(1)])])), [Some(true), Some(false), None, Some(false)]);
        assert_eq!(answer(lists(vec![Some(vec![Some(1), None])])), [Some(false), Some(false), None, Some(false)]);
        assert_eq!(answer(lists(vec![None])), [None; 4]);
    }

    #[test]
    fn null_sorts_after_other_elements() {
        let sorted = lists(vec![
            Some(vec![]),
            Some(vec![Some(-1)]),
            Some(vec![Some(1)]),
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(1), None]),
            Some(vec![Some(1), None, Some(0)]),
            Some(vec![None]),
        ]);
        let call = Call { arguments: &[ColumnarValue::Array(sorted)], rows: 7, result: &Type::Text };
        let keys = order(&call).unwrap();
        assert!(keys.as_string::<i32>().iter().is_sorted());
    }
}
