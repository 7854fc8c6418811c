//! Chains of operators, which the parser hands over as calls of [`CHAIN`]: their types are settled step by step, from left to right,
//! and a call of [`scalar::chain::Chain`] is made of them.
//!
//! Trees of operators would have their types and names asked for at every level by DataFusion, each time down to the leaves.

use super::common::kind;
use crate::error::{Error, Result};
use crate::function::{self, undefined};
use crate::scalar::stand_in::stand_in;
use crate::scalar::{Scalar, chain};
use crate::statement::{CHAIN, Step, chain_text, steps};
use crate::types::Type;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The function that the parser calls; it is there until types are settled.
pub fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Raw { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// The steps and operands, if it is such a call.
pub fn taken(call: &mut ScalarFunction) -> Result<Option<(Vec<Step>, Vec<Expr>)>> {
    if call.func.name() != CHAIN {
        return Ok(None);
    }
    let mut operands = std::mem::take(&mut call.args);
    let told = match operands.first() {
        Some(Expr::Literal(ScalarValue::Utf8(Some(told)), _)) => steps(told),
        _ => None,
    };
    let told = told.filter(|told| told.len() + 2 == operands.len()).ok_or_else(garbled)?;
    operands.remove(0);
    Ok(Some((told, operands)))
}

/// A chain whose types were settled by who made it: `first`, and then what each of `links` makes of the value so far and of its operand, if
/// it has one. `steps` are expressions over [`chain::columns`]; `kind` is what comes out.
pub fn linked(first: Expr, steps: Vec<Expr>, links: Vec<(usize, Option<Expr>)>, kind: Type) -> Expr {
    let places = links.iter().map(|(step, operand)| (*step, operand.is_some())).collect();
    let signature = Signature::user_defined(Volatility::Immutable);
    let operands = std::iter::once(first).chain(links.into_iter().filter_map(|(_, operand)| operand));
    ScalarUDF::new_from_impl(Linked { steps, links: places, kind, signature }).call(operands.collect())
}

/// The same to be run, if `call` is such a chain. `settle` gives a step what our analyzer gives every expression.
pub fn relinked(
    call: &ScalarFunction,
    schema: &DFSchema,
    settle: impl Fn(Expr, &DFSchema) -> Result<Expr>,
) -> Result<Option<Expr>> {
    let Some(linked) = call.func.inner().downcast_ref::<Linked>() else { return Ok(None) };
    let mut operands = call.args.iter().map(|operand| {
        let kind = kind(operand, schema)?.unwrap_or(Type::Text);
        Ok::<_, Error>((operand.clone(), kind))
    });
    let mut next = || operands.next().ok_or_else(garbled)?;
    let first = next()?;
    let (mut so_far, mut steps, mut known, mut links) = (first.1.clone(), vec![], HashMap::new(), vec![]);
    for (step, takes) in &linked.links {
        let operand = if *takes { Some(next()?) } else { None };
        let link = (*step, so_far, operand.as_ref().map(|(_, kind)| kind.clone()));
        let index = match known.get(&link) {
            Some(index) => *index,
            None => {
                let schema = chain::schema(&link.1, link.2.as_ref())?;
                let settled = settle(linked.steps[*step].clone(), &schema)?;
                steps.push(Scalar::from_logical(&settled, &schema)?);
                known.insert(link, steps.len() - 1);
                steps.len() - 1
            }
        };
        so_far = steps[index].kind();
        links.push((index, operand));
    }
    chain::Chain::call(first, steps, links).map(Some)
}

fn garbled() -> Error {
    Error::internal("a chain that says not what its steps are")
}

/// What a step does, to what.
#[derive(PartialEq, Eq, Hash)]
struct Link {
    step: Step,
    so_far: Type,
    operand: Operand,
}

#[derive(PartialEq, Eq, Hash)]
enum Operand {
    Of(Type),
    /// It is part of the step: its type is told by what is beside it.
    Constant(Expr),
}

/// `operands` joined by `told`. `apply` makes the expression of one operator, types and all.
pub fn settled(
    told: Vec<Step>,
    operands: Vec<Expr>,
    schema: &DFSchema,
    apply: impl Fn(&'static str, Expr, Expr, &DFSchema) -> Result<Expr>,
) -> Result<Expr> {
    let join = |step: Step, so_far: Expr, operand: Expr, schema: &DFSchema| match step.left {
        true => apply(step.operator(), so_far, operand, schema),
        false => apply(step.operator(), operand, so_far, schema),
    };
    let kinds = operands.iter().map(|operand| kind(operand, schema)).collect::<Result<Vec<_>>>()?;
    let is_plain = |(operand, kind): (&Expr, &Option<Type>)| match kind {
        None => matches!(operand, Expr::Literal(..)),
        Some(kind) => !matches!(kind, Type::Array(_)),
    };
    let (mut told, mut operands) = (told.into_iter(), operands.into_iter());
    if !operands.as_slice().iter().zip(&kinds).all(is_plain) {
        // As if it were short.
        let first = operands.next().ok_or_else(garbled)?;
        return told.zip(operands).try_fold(first, |so_far, (step, operand)| join(step, so_far, operand, schema));
    }
    let (Some(innermost), Some(first), Some(second)) = (told.next(), operands.next(), operands.next()) else {
        return Err(garbled());
    };
    let first = join(innermost, first, second, schema)?;
    let Some(first_kind) = kind(&first, schema)? else { return Err(garbled()) };
    let (mut steps, mut known, mut links) = (vec![], HashMap::new(), vec![]);
    let mut so_far = first_kind.clone();
    for ((step, operand), kind) in told.zip(operands).zip(kinds.into_iter().skip(2)) {
        let (taken, operand) = match (operand, kind) {
            (constant @ Expr::Literal(..), _) | (constant, None) => (None, Operand::Constant(constant)),
            (operand, Some(kind)) => (Some((operand, kind.clone())), Operand::Of(kind)),
        };
        let link = Link { step, so_far, operand };
        let index = match known.get(&link) {
            Some(index) => *index,
            None => {
                let schema = chain::schema(&link.so_far, taken.as_ref().map(|(_, kind)| kind))?;
                let column = |index: usize| Expr::Column(Column::from(schema.qualified_field(index)));
                let operand = match &link.operand {
                    Operand::Of(_) => column(chain::OPERAND),
                    Operand::Constant(constant) => constant.clone(),
                };
                let joined = join(step, column(chain::SO_FAR), operand, &schema)?;
                steps.push(Scalar::from_logical(&joined, &schema)?);
                known.insert(link, steps.len() - 1);
                steps.len() - 1
            }
        };
        so_far = steps[index].kind();
        links.push((index, taken));
    }
    chain::Chain::call((first, first_kind), steps, links)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Raw {
    signature: Signature,
}

impl Raw {
    fn shown(&self, args: &[Expr], show: impl Fn(&Expr) -> String) -> String {
        let told = match args.first() {
            Some(Expr::Literal(ScalarValue::Utf8(Some(told)), _)) => steps(told).unwrap_or_default(),
            _ => vec![],
        };
        chain_text(&told, &args.iter().skip(1).map(show).collect::<Vec<_>>())
    }
}

/// What `left operator right` is, as far as that is known before literals have their types.
fn result(operator: &str, left: Option<Type>, right: Option<Type>) -> Result<Option<Type>> {
    if operator == "||" {
        let array = |side: &Option<Type>| matches!(side, Some(Type::Array(_)));
        return Ok(if array(&left) {
            left
        } else if array(&right) {
            right
        } else {
            Some(Type::Text)
        });
    }
    let given = [left, right];
    let definition = function::lookup(operator).and_then(|function| function::definition(&function));
    Ok(Some((definition.ok_or_else(|| undefined(operator, &given))?.resolve)(&given)?.result))
}

impl ScalarUDFImpl for Raw {
    fn name(&self) -> &str {
        CHAIN
    }

    stand_in!();

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Err(garbled().into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let told = match args.scalar_arguments.first() {
            Some(Some(ScalarValue::Utf8(Some(told)))) => steps(told).ok_or_else(garbled)?,
            _ => return Err(garbled().into()),
        };
        let given = args.arg_fields.iter().zip(args.scalar_arguments).map(|(field, value)| match value {
            Some(ScalarValue::Utf8(_)) if field.metadata().is_empty() => Ok(None),
            _ => function::given(field),
        });
        let mut given = given.skip(1);
        let mut so_far = given.next().transpose()?.flatten();
        for (step, operand) in told.iter().zip(given) {
            let operand = operand?;
            so_far = match step.left {
                true => result(step.operator(), so_far, operand)?,
                false => result(step.operator(), operand, so_far)?,
            };
        }
        Ok(Arc::new(so_far.unwrap_or(Type::Text).field(CHAIN, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal("a chain whose types are not settled".into()))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Linked {
    steps: Vec<Expr>,
    /// Step of each link, and whether it takes the next operand.
    links: Vec<(usize, bool)>,
    kind: Type,
    signature: Signature,
}

impl Linked {
    fn shown(&self, args: &[Expr], show: impl Fn(&Expr) -> String) -> String {
        let steps: Vec<String> = self.steps.iter().map(&show).collect();
        let links: Vec<String> = self.links.iter().map(|(step, _)| step.to_string()).collect();
        let operands: Vec<String> = args.iter().map(&show).collect();
        format!("chain({}; {}; {})", operands.join(", "), steps.join(", "), links.join(", "))
    }
}

impl ScalarUDFImpl for Linked {
    fn name(&self) -> &str {
        "linked"
    }

    stand_in!();

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.kind.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.kind.field("linked", true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal("a chain whose steps are not settled".into()))
    }
}
