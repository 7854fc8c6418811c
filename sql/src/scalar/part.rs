//! An expression as one call over a few values: what is large or deep costs DataFusion, which asks every level for the type and the
//! name of all that is below it at every rule, no more than a call of its columns; and a value that an expression names more
//! than once is evaluated once.
//!
//! Within it everything is evaluated as views evaluate it: operands of AND, OR, CASE and COALESCE only in the rows that need them.

use super::Scalar;
use super::program::{STACK, compile, is_deep, shaped};
use super::stand_in::stand_in;
use crate::error::Result;
use crate::function;
use crate::stop;
use crate::types::{Column, Type};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as Name, DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// An expression over columns of its own, compiled.
#[derive(Debug)]
pub(super) struct Body {
    schema: SchemaRef,
    physical: Arc<dyn PhysicalExpr>,
    deep: bool,
}

impl Body {
    pub fn compile(body: &Scalar, kinds: &[Type]) -> Result<Self> {
        let fields = columns(kinds).iter().map(Column::field).collect::<Vec<_>>();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let deep = is_deep(body);
        let make = || shaped(compile(body, &schema)?, &body.kind().arrow(), &schema);
        let physical = if deep { stacker::grow(STACK, make)? } else { make()? };
        Ok(Self { schema, physical, deep })
    }

    pub fn evaluate(&self, values: Vec<ArrayRef>, rows: usize) -> DataFusionResult<ArrayRef> {
        let values = values.into_iter().zip(self.schema.fields());
        let values = values.map(|(value, field)| typed(value, field.data_type())).collect::<Result<_, _>>()?;
        let rows_are = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), values, &rows_are)?;
        let run = || self.physical.evaluate(&batch)?.into_array(rows);
        if self.deep { stacker::grow(STACK, run) } else { run() }
    }

    /// Whether it can be NULL, of arguments that can or cannot.
    fn nullable(&self, arguments: &[bool]) -> DataFusionResult<bool> {
        let fields = self.schema.fields().iter().zip(arguments);
        let fields = fields.map(|(field, nullable)| field.as_ref().clone().with_nullable(*nullable));
        self.physical.nullable(&Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        (&self.schema, &self.physical) == (&other.schema, &other.physical)
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.schema.hash(state);
    }
}

/// What a body sees.
fn columns(kinds: &[Type]) -> Vec<Column> {
    let column = |(index, kind): (usize, &Type)| Column { name: index.to_string(), kind: kind.clone(), nullable: true };
    kinds.iter().enumerate().map(column).collect()
}

/// DataFusion has several Arrow types for some of ours.
pub(super) fn typed(column: ArrayRef, kind: &DataType) -> DataFusionResult<ArrayRef> {
    match column.data_type() == kind {
        true => Ok(column),
        false => Ok(cast_with_options(&column, kind, &CastOptions { safe: false, ..Default::default() })?),
    }
}

/// A stored [`Scalar::Let`], compiled.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Let {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    body: Arc<Body>,
}

impl Let {
    pub fn compile(arguments: &[Scalar], body: &Scalar, input: &SchemaRef) -> Result<Self> {
        let kinds: Vec<Type> = arguments.iter().map(Scalar::kind).collect();
        let body = Arc::new(Body::compile(body, &kinds)?);
        let arguments = arguments.iter().map(|argument| compile(argument, input)).collect::<Result<_>>()?;
        Ok(Self { arguments, body })
    }
}

impl fmt::Display for Let {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for Let {
    fn data_type(&self, _: &Schema) -> DataFusionResult<DataType> {
        self.body.physical.data_type(&self.body.schema)
    }

    fn nullable(&self, input: &Schema) -> DataFusionResult<bool> {
        let arguments: Vec<bool> = self.arguments.iter().map(|part| part.nullable(input)).collect::<Result<_, _>>()?;
        self.body.nullable(&arguments)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let rows = batch.num_rows();
        let values = self.arguments.iter().map(|part| part.evaluate(batch)?.into_array(rows));
        Ok(ColumnarValue::Array(self.body.evaluate(values.collect::<Result<_, _>>()?, rows)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.arguments.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { arguments, body: self.body.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("let(")?;
        for (index, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

/// The same among DataFusion's expressions: a call whose arguments are the values its body sees.
#[derive(Debug)]
pub struct Part {
    kinds: Vec<Type>,
    body: Scalar,
    compiled: Body,
    /// Tells different ones apart.
    text: String,
    /// The last answer to whether it can be NULL, and for which arguments.
    nullable: OnceLock<(Vec<bool>, bool)>,
    signature: Signature,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && (&self.kinds, &self.body) == (&other.kinds, &other.body)
    }
}

impl Eq for Part {}

impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.text, &self.kinds).hash(state);
    }
}

impl Part {
    /// `expr` as one call over the columns and other values that it reads; `None` if it holds what cannot be stored.
    pub fn of(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        Self::with(expr, schema, None)
    }

    /// `build` of `value`, which is evaluated once; `None` if what comes out cannot be stored. `build` is handed the column
    /// that stands for the value, and the columns there are.
    pub fn sharing(
        value: &Expr,
        kind: &Type,
        schema: &DFSchema,
        build: impl FnOnce(Expr, &DFSchema) -> Result<Expr>,
    ) -> Result<Option<Expr>> {
        /// No column a client names is called so.
        const VALUE: &str = "\u{1}value";
        let nullable = value.nullable(schema)?;
        let field = Column { name: VALUE.into(), kind: kind.clone(), nullable }.field();
        let mut wider = DFSchema::from_unqualified_fields(vec![field].into(), Default::default())?;
        let place = Expr::Column(Name::from(wider.qualified_field(0)));
        wider.merge(schema);
        let built = build(place.clone(), &wider)?;
        Self::with(&built, &wider, Some((&place, value)))
    }

    fn with(expr: &Expr, schema: &DFSchema, shared: Option<(&Expr, &Expr)>) -> Result<Option<Expr>> {
        let mut leaves: Vec<Expr> = vec![];
        let mut known = true;
        let own = expr.clone().transform_down(|expr| match &expr {
            Expr::Column(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(Placeholder { field: Some(_), .. }) => {
                let index = leaves.iter().position(|leaf| *leaf == expr).unwrap_or_else(|| {
                    leaves.push(expr.clone());
                    leaves.len() - 1
                });
                let place = Expr::Column(Name::new_unqualified(index.to_string()));
                Ok(Transformed::new(place, true, TreeNodeRecursion::Jump))
            }
            // What has our name for it, but is something else.
            Expr::ScalarFunction(call) if !call.func.inner().is::<Part>() && !is_known(&call.func) => {
                known = false;
                Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        if !known {
            return Ok(None);
        }
        let mut kinds = vec![];
        for leaf in &leaves {
            let Some(kind) = function::given(leaf.to_field(schema)?.1.as_ref())? else { return Ok(None) };
            kinds.push(kind);
        }
        let fields: Vec<_> = columns(&kinds).iter().map(Column::field).collect();
        let fields = DFSchema::from_unqualified_fields(fields.into(), Default::default())?;
        let body = match Scalar::from_logical(&own.data, &fields) {
            Ok(body) => body,
            Err(error) if error.sqlstate == "0A000" => return Ok(None),
            Err(error) => return Err(error),
        };
        let arguments = leaves.into_iter().map(|leaf| match shared {
            Some((place, value)) if leaf == *place => value.clone(),
            _ => leaf,
        });
        Ok(Some(Self::call(body, kinds, arguments.collect())?))
    }

    fn call(body: Scalar, kinds: Vec<Type>, arguments: Vec<Expr>) -> Result<Expr> {
        let compiled = Body::compile(&body, &kinds)?;
        let text = function::short(body.named(&columns(&kinds)).to_string());
        let signature = Signature::user_defined(Volatility::Immutable);
        let part = Self { kinds, body, compiled, text, nullable: OnceLock::new(), signature };
        Ok(ScalarUDF::new_from_impl(part).call(arguments))
    }

    /// To be stored, over stored arguments: what is no larger than a column stands in its place.
    pub(super) fn stored(&self, arguments: Vec<Scalar>) -> Scalar {
        let is_leaf = |argument: &Scalar| matches!(argument, Scalar::Column { .. } | Scalar::Literal { .. });
        let mut body = self.body.clone();
        if arguments.iter().all(is_leaf) {
            body.replace_columns(&arguments);
            return body;
        }
        Scalar::Let { arguments, body: Box::new(body) }
    }

    pub fn kind(&self) -> Type {
        self.body.kind()
    }

    /// Whether there are only calls, casts and comparisons in it.
    pub fn is_plain(&self) -> bool {
        let mut open = vec![&self.body];
        while let Some(scalar) = open.pop() {
            match scalar {
                Scalar::Case { .. } | Scalar::And { .. } | Scalar::Or { .. } | Scalar::Not { .. } => return false,
                Scalar::Is { .. } | Scalar::InList { .. } | Scalar::Like { .. } => return false,
                other => open.extend(other.children()),
            }
        }
        true
    }

    fn shown(&self, arguments: &[Expr], show: impl Fn(&Expr) -> String) -> String {
        let arguments: Vec<String> = arguments.iter().map(show).collect();
        if self.text.len() > LONG {
            return format!("{}({})", function::short(self.text.clone()), arguments.join(", "));
        }
        let names = arguments.into_iter().zip(&self.kinds);
        let names: Vec<_> = names
            .map(|(name, kind)| Column { name: function::short(name), kind: kind.clone(), nullable: true })
            .collect();
        self.body.named(&names).to_string()
    }
}

/// One with a longer text is not shown as it is written: it would be put together whenever DataFusion asks for its name.
const LONG: usize = 500;

/// Whether views call the same by its name.
fn is_known(function: &Arc<ScalarUDF>) -> bool {
    let inner = function.inner();
    inner.is::<function::Cast>()
        || inner.is::<super::chain::Chain>()
        || function::by_name(function.name()).is_some_and(|known| known.as_ref() == function.as_ref())
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        "part"
    }

    stand_in!();

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.body.kind().arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        stop::check()?;
        let nullable: Vec<bool> = args.arg_fields.iter().map(|field| field.is_nullable()).collect();
        let nullable = match self.nullable.get() {
            Some((known, answer)) if *known == nullable => *answer,
            _ => {
                let answer = self.compiled.nullable(&nullable)?;
                let _ = self.nullable.set((nullable, answer));
                answer
            }
        };
        Ok(Arc::new(self.body.kind().field("part", nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let values =
            args.args.into_iter().map(|value| value.into_array(rows)).collect::<Result<_, DataFusionError>>()?;
        let result = self.compiled.evaluate(values, rows)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}
