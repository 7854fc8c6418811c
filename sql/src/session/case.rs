//! CASE within CASE within CASE, as calls of [`CASE`] until types are settled: DataFusion asks a CASE once for its type and once for
//! whether it can be NULL, each time all that is in it, so that what is nested takes 2^n questions.

use crate::error::{Error, Result};
use crate::scalar::stand_in::stand_in;
use crate::statement;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{self, Ident, Value};
use std::sync::Arc;

/// The function such a CASE is a call of: its first argument tells what the others are, then come the operand, the pairs and ELSE. No
/// identifier a client sends holds such a character.
const CASE: &str = "\u{1}case";
const OPERAND: char = 'o';
const ELSE: char = 'e';
/// So many nested ones stay as they are.
pub const FEW: usize = 3;

pub fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Nested { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// A CASE of the syntax tree as a call.
pub fn call(expr: &mut ast::Expr) {
    let ast::Expr::Case { operand, conditions, else_result, .. } = expr else { return };
    let mut told = String::new();
    let mut arguments = vec![];
    if let Some(operand) = operand.take() {
        told.push(OPERAND);
        arguments.push(*operand);
    }
    for pair in std::mem::take(conditions) {
        arguments.extend([pair.condition, pair.result]);
    }
    if let Some(otherwise) = else_result.take() {
        told.push(ELSE);
        arguments.push(*otherwise);
    }
    arguments.insert(0, ast::Expr::value(Value::SingleQuotedString(told)));
    *expr = statement::call(Ident::with_quote('"', CASE), arguments);
}

/// A CASE as a call, if too many others are within each other in it.
pub fn nested(case: Case) -> Expr {
    let parts = case.when_then_expr.iter().flat_map(|(when, then)| [when, then]);
    let deepest = parts.chain(&case.expr).chain(&case.else_expr).map(|part| depth(part)).max();
    if deepest.unwrap_or_default() < FEW {
        return Expr::Case(case);
    }
    let mut told = String::new();
    let mut arguments = vec![];
    if let Some(operand) = case.expr {
        told.push(OPERAND);
        arguments.push(*operand);
    }
    arguments.extend(case.when_then_expr.into_iter().flat_map(|(when, then)| [*when, *then]));
    if let Some(otherwise) = case.else_expr {
        told.push(ELSE);
        arguments.push(*otherwise);
    }
    arguments.insert(0, Expr::Literal(ScalarValue::from(told), None));
    Expr::ScalarFunction(ScalarFunction { func: function(), args: arguments })
}

/// How many CASEs are within each other.
fn depth(expr: &Expr) -> usize {
    let mut deepest = 0;
    // Nothing breaks off.
    let _ = expr.apply_children(|part| {
        deepest = deepest.max(depth(part));
        Ok(TreeNodeRecursion::Continue)
    });
    let is_case = match expr {
        Expr::Case(_) => true,
        Expr::ScalarFunction(call) => call.func.name() == CASE,
        _ => false,
    };
    deepest + usize::from(is_case)
}

/// The CASE again, if it is such a call.
pub fn taken(call: &mut ScalarFunction) -> Result<Option<Case>> {
    if call.func.name() != CASE {
        return Ok(None);
    }
    let mut arguments = std::mem::take(&mut call.args).into_iter();
    let told = arguments.next().and_then(|told| told.as_literal().and_then(text)).ok_or_else(garbled)?;
    let expr = told.contains(OPERAND).then(|| arguments.next()).flatten().map(Box::new);
    let mut when_then_expr = vec![];
    while arguments.len() > 1 {
        let pair = arguments.next().zip(arguments.next()).ok_or_else(garbled)?;
        when_then_expr.push((Box::new(pair.0), Box::new(pair.1)));
    }
    Ok(Some(Case { expr, when_then_expr, else_expr: arguments.next().map(Box::new) }))
}

fn text(told: &ScalarValue) -> Option<String> {
    match told {
        ScalarValue::Utf8(told) => told.clone(),
        _ => None,
    }
}

fn garbled() -> Error {
    Error::internal("a CASE that says not what its parts are")
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nested {
    signature: Signature,
}

impl Nested {
    fn shown(&self, args: &[Expr], show: impl Fn(&Expr) -> String) -> String {
        let Some((told, args)) = args.split_first() else { return CASE.to_string() };
        let told = told.as_literal().and_then(text).unwrap_or_default();
        let (operand, pairs) = args.split_at(usize::from(told.contains(OPERAND)).min(args.len()));
        let operand = operand.iter().map(|operand| format!(" {}", show(operand))).collect::<String>();
        let pairs = pairs.chunks(2).map(|pair| match pair {
            [when, then] => format!(" WHEN {} THEN {}", show(when), show(then)),
            rest => rest.iter().map(|otherwise| format!(" ELSE {}", show(otherwise))).collect(),
        });
        format!("CASE{operand}{} END", pairs.collect::<String>())
    }
}

impl ScalarUDFImpl for Nested {
    fn name(&self) -> &str {
        CASE
    }

    stand_in!();

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Err(garbled().into())
    }

    /// As DataFusion sees a CASE: the type of its first result.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let told = args.scalar_arguments.first().copied().flatten().and_then(text).ok_or_else(garbled)?;
        let pairs = args.arg_fields.get(1 + usize::from(told.contains(OPERAND))..).unwrap_or_default();
        let results = pairs.chunks(2).filter_map(|pair| pair.last()).map(|result| result.data_type());
        let kind = results.into_iter().find(|kind| **kind != DataType::Null).cloned().unwrap_or(DataType::Null);
        Ok(Arc::new(Field::new(CASE, kind, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal("a CASE whose types are not settled".into()))
    }
}
