//! A chain of operators as one expression: the first value, and steps that each make the next of it and of one operand.
//!
//! Nested calls would be as deep as the chain is long, for all that store, compile, print, evaluate or drop them. Every step is an
//! expression of its own over two columns: [`SO_FAR`] and [`OPERAND`].

use super::chained::Steps;
pub use super::chained::{OPERAND, SO_FAR, columns, schema};
use super::compile::steps;
use super::expression::{Link, Scalar};
use super::show::Shown;
use super::stand_in::stand_in;
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A chain among DataFusion's expressions, all types settled: its arguments are the first value, then every operand.
#[derive(Debug)]
pub struct Chain {
    kinds: Vec<Type>,
    steps: Vec<Scalar>,
    /// Step of each link, and whether it takes the next operand.
    links: Vec<(usize, bool)>,
    kind: Type,
    compiled: Steps,
    signature: Signature,
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        (&self.kinds, &self.steps, &self.links) == (&other.kinds, &other.steps, &other.links)
    }
}

impl Eq for Chain {}

impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.kinds, &self.links, &self.kind).hash(state);
    }
}

impl Chain {
    /// The call that is `first` after all `links`, each a step and its operand with its type.
    pub fn call(first: (Expr, Type), steps: Vec<Scalar>, links: Vec<(usize, Option<(Expr, Type)>)>) -> Result<Expr> {
        let typed: Vec<_> =
            links.iter().map(|(step, operand)| (*step, operand.as_ref().map(|(_, kind)| kind.clone()))).collect();
        let compiled = self::steps(&first.1, &steps, &typed)?;
        let kind = links.last().map_or_else(|| first.1.clone(), |(step, _)| steps[*step].kind());
        let places = links.iter().map(|(step, operand)| (*step, operand.is_some())).collect();
        let operands = std::iter::once(first).chain(links.into_iter().filter_map(|(_, operand)| operand));
        let (arguments, kinds) = operands.unzip();
        let signature = Signature::user_defined(Volatility::Immutable);
        let chain = Self { kinds, steps, links: places, kind, compiled, signature };
        Ok(ScalarUDF::new_from_impl(chain).call(arguments))
    }

    /// To be stored, over stored arguments.
    pub(super) fn stored(&self, arguments: Vec<Scalar>) -> Result<Scalar> {
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().ok_or_else(|| Error::internal("a chain without an operand"));
        let first = Box::new(next()?);
        let links = self.links.iter().map(|(step, takes)| {
            let operand = if *takes { Some(next()?) } else { None };
            Ok(Link { step: *step, operand })
        });
        let links = links.collect::<Result<_>>()?;
        Ok(Scalar::Chain { first, steps: self.steps.clone(), links, kind: self.kind.clone() })
    }

    fn shown(&self, arguments: &[Expr], show: impl Fn(&Expr) -> String) -> String {
        let mut arguments = arguments.iter().map(show);
        let mut shown = Shown::new(arguments.next().unwrap_or_default());
        for (step, takes) in &self.links {
            let operand = if *takes { arguments.next() } else { None };
            shown.add(&self.steps[*step], &operand.unwrap_or_default());
        }
        shown.text()
    }
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    stand_in!();

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.kind.arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.kind.field("chain", nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let mut operands = args.args.into_iter().map(|value| value.into_array(rows));
        let mut next = || operands.next().unwrap_or_else(|| Err(DataFusionError::Internal("no operand".into())));
        let mut so_far = next()?;
        for (step, takes) in &self.links {
            let operand = if *takes { Some(next()?) } else { None };
            so_far = self.compiled.take(*step, so_far, operand)?;
        }
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&so_far, 0)?)),
            false => Ok(ColumnarValue::Array(so_far)),
        }
    }
}
