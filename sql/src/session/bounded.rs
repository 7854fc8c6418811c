//! What a query makes of a batch stays within the [`room`] of its thread: functions of ours look before they make something; here are
//! those of DataFusion's that do not, and constants, which are as long as they are once for every row.
//!
//! `within(x)` is x, once it is known that all of it fits.

use crate::function;
use crate::room;
use crate::scalar::stand_in::stand_in;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// Functions of DataFusion's whose results can be far larger than their arguments.
const GROWING: &[&str] = &["array_to_string", "regexp_replace", "translate"];

/// Bytes of a constant that is nothing special in every row of a batch.
const SHORT: usize = 4096;

/// With every call that can make much of little within bounds: `||` of texts as our function (what yields no text stays), and what is
/// of DataFusion's looked at once it is made.
pub(super) fn calls(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right })
            if is_text(&left, schema) && is_text(&right, schema) =>
        {
            let function = function::lookup("||").expect("a function of ours");
            Ok(Transformed::yes(function.call(vec![*left, *right])))
        }
        Expr::ScalarFunction(call) if GROWING.contains(&call.func.name()) || is_made_array(&call) => {
            Ok(Transformed::yes(within(Expr::ScalarFunction(call))))
        }
        expr => Ok(Transformed::no(expr)),
    })
}

/// An expression of a node that may be a constant, or aggregate one.
pub(super) fn constants(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(ref text)), _) if text.len() > SHORT => Ok(Transformed::yes(within(expr))),
        Expr::Alias(_) => expr.map_children(constants),
        Expr::AggregateFunction(mut call) => {
            // The others say how it works, and have to stay constants.
            let Some(value) = call.params.args.first_mut() else {
                return Ok(Transformed::no(Expr::AggregateFunction(call)));
            };
            let bounded = constants(std::mem::take(value))?;
            *value = bounded.data;
            Ok(Transformed::new_transformed(Expr::AggregateFunction(call), bounded.transformed))
        }
        expr => Ok(Transformed::no(expr)),
    }
}

/// ARRAY[…] of values that are made for it.
fn is_made_array(call: &ScalarFunction) -> bool {
    let is_there = |arg: &Expr| matches!(arg, Expr::Literal(..) | Expr::Column(_));
    call.func.name() == "make_array" && !call.args.iter().all(is_there)
}

fn is_text(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|kind| kind == DataType::Utf8)
}

fn within(expr: Expr) -> Expr {
    static WITHIN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Within { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    WITHIN.call(vec![expr])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Within {
    signature: Signature,
}

impl Within {
    fn shown(&self, args: &[Expr], show: impl Fn(&Expr) -> String) -> String {
        args.iter().map(show).collect()
    }
}

impl ScalarUDFImpl for Within {
    fn name(&self) -> &str {
        "within"
    }

    stand_in!();

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = args.args.swap_remove(0);
        let bytes = match &value {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => text.len().saturating_mul(args.number_rows),
            ColumnarValue::Array(array) if array.data_type() == &DataType::Utf8 => {
                let offsets = array.as_string::<i32>().value_offsets();
                offsets.last().zip(offsets.first()).map_or(0, |(last, first)| (last - first) as usize)
            }
            ColumnarValue::Array(array) if array.data_type().is_nested() => array.get_array_memory_size(),
            ColumnarValue::Scalar(ScalarValue::List(list)) => {
                list.get_array_memory_size().saturating_mul(args.number_rows)
            }
            _ => 0,
        };
        match &value {
            ColumnarValue::Array(array) => function::bounded(array)?,
            ColumnarValue::Scalar(ScalarValue::List(list)) => function::bounded(list.as_ref())?,
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => function::fits(text.len(), 0)?,
            ColumnarValue::Scalar(_) => {}
        }
        room::check(bytes)?;
        Ok(value)
    }
}
