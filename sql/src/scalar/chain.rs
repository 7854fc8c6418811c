//! A chain of operators as one expression: the first value, and steps that each make the next of it and of one operand.
//!
//! Nested calls would be as deep as the chain is long, for all that store, compile, print, evaluate or drop them. Every step is an
//! expression of its own over two columns: [`SO_FAR`] and [`OPERAND`].

use super::part::typed;
use super::program::{compile, shaped};
use super::stand_in::stand_in;
use super::{Link, Scalar};
use crate::error::{Error, Result};
use crate::types::{Column, Type};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The columns of a step.
pub const SO_FAR: usize = 0;
pub const OPERAND: usize = 1;

/// What a step sees: the value so far and its operand, if that is not part of it.
pub fn columns(so_far: &Type, operand: Option<&Type>) -> Vec<Column> {
    let column = |name: &str, kind: &Type| Column { name: name.into(), kind: kind.clone(), nullable: true };
    std::iter::once(column("so far", so_far)).chain(operand.map(|kind| column("operand", kind))).collect()
}

/// The same for DataFusion's expressions.
pub fn schema(so_far: &Type, operand: Option<&Type>) -> Result<DFSchema> {
    let fields: Vec<Field> = columns(so_far, operand).iter().map(Column::field).collect();
    Ok(DFSchema::from_unqualified_fields(fields.into(), Default::default())?)
}

/// Compiled steps.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Steps(Vec<(SchemaRef, Arc<dyn PhysicalExpr>)>);

impl Steps {
    /// `links` tell, of each link, its step and the type of its operand.
    fn compile(first: &Type, steps: &[Scalar], links: &[(usize, Option<Type>)]) -> Result<Self> {
        let mut seen: Vec<Option<(SchemaRef, Arc<dyn PhysicalExpr>)>> = vec![None; steps.len()];
        let mut so_far = first.clone();
        for (index, operand) in links {
            let step = steps.get(*index).ok_or_else(|| Error::internal(format!("a chain without step {index}")))?;
            if seen[*index].is_none() {
                let fields = columns(&so_far, operand.as_ref()).iter().map(Column::field).collect::<Vec<_>>();
                let schema: SchemaRef = Arc::new(Schema::new(fields));
                let physical = shaped(compile(step, &schema)?, &step.kind().arrow(), &schema)?;
                seen[*index] = Some((schema, physical));
            }
            so_far = step.kind();
        }
        match seen.into_iter().collect::<Option<_>>() {
            Some(steps) => Ok(Self(steps)),
            None => Err(Error::internal("a chain with a step that is not taken")),
        }
    }

    /// The value after step `index`.
    fn take(&self, index: usize, so_far: ArrayRef, operand: Option<ArrayRef>) -> DataFusionResult<ArrayRef> {
        let (schema, step) = &self.0[index];
        let rows = so_far.len();
        let columns = std::iter::once(so_far).chain(operand).zip(schema.fields());
        let columns = columns.map(|(column, field)| typed(column, field.data_type())).collect::<Result<_, _>>()?;
        step.evaluate(&RecordBatch::try_new(schema.clone(), columns)?)?.into_array(rows)
    }
}

/// A stored chain, compiled.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Chained {
    /// The first value, then those of the links.
    operands: Vec<Arc<dyn PhysicalExpr>>,
    steps: Arc<Steps>,
    /// Step and, if it has one, operand of each link.
    links: Vec<(usize, Option<usize>)>,
    kind: DataType,
}

impl Chained {
    pub fn compile(first: &Scalar, steps: &[Scalar], links: &[Link], kind: &Type, input: &SchemaRef) -> Result<Self> {
        let typed: Vec<_> = links.iter().map(|link| (link.step, link.operand.as_ref().map(Scalar::kind))).collect();
        let compiled = Steps::compile(&first.kind(), steps, &typed)?;
        let mut operands = vec![compile(first, input)?];
        let links = links.iter().map(|link| {
            let Some(operand) = &link.operand else { return Ok((link.step, None)) };
            operands.push(compile(operand, input)?);
            Ok((link.step, Some(operands.len() - 1)))
        });
        let links = links.collect::<Result<_>>()?;
        Ok(Self { operands, steps: Arc::new(compiled), links, kind: kind.arrow() })
    }
}

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for Chained {
    fn return_field(&self, _: &Schema) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new("chain", self.kind.clone(), true)))
    }

    fn data_type(&self, _: &Schema) -> DataFusionResult<DataType> {
        Ok(self.kind.clone())
    }

    fn nullable(&self, _: &Schema) -> DataFusionResult<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let rows = batch.num_rows();
        let mut so_far = self.operands[0].evaluate(batch)?.into_array(rows)?;
        for (step, operand) in &self.links {
            let operand =
                operand.map(|operand| self.operands[operand].evaluate(batch)?.into_array(rows)).transpose()?;
            so_far = self.steps.take(*step, so_far, operand)?;
        }
        Ok(ColumnarValue::Array(so_far))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.operands.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        operands: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let (steps, links, kind) = (self.steps.clone(), self.links.clone(), self.kind.clone());
        Ok(Arc::new(Self { operands, steps, links, kind }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("chain(")?;
        for (index, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

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
        let compiled = Steps::compile(&first.1, &steps, &typed)?;
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

/// The text of a chain, made from its ends: every step puts something around what is there.
pub(super) struct Shown {
    before: Vec<String>,
    middle: String,
}

impl Shown {
    pub fn new(first: String) -> Self {
        Self { before: vec![], middle: first }
    }

    pub fn add(&mut self, step: &Scalar, operand: &str) {
        /// No expression is written with it.
        const HERE: &str = "\u{1}";
        let column = |name: &str| Column { name: name.into(), kind: Type::Text, nullable: true };
        let text = step.named(&[column(HERE), column(operand)]).to_string();
        let (before, after) = text.split_once(HERE).unwrap_or((&text, ""));
        // Operators that print no parentheses of their own.
        let bare = matches!(step, Scalar::Binary { .. });
        self.before.push(format!("{}{before}", if bare { "(" } else { "" }));
        self.middle.push_str(after);
        self.middle.push_str(if bare { ")" } else { "" });
    }

    pub fn text(self) -> String {
        self.before.into_iter().rev().chain([self.middle]).collect()
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
