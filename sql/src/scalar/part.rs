//! An expression as one call over a few values: what is large or deep costs DataFusion, which asks every level for the type and the
//! name of all that is below it at every rule, no more than a call of its columns; and a value that an expression names more
//! than once is evaluated once.
//!
//! Within it everything is evaluated as views evaluate it: operands of AND, OR, CASE and COALESCE only in the rows that need them.

use super::body::{Body, columns};
use super::chain::Chain;
use super::compile::body;
use super::expression::Scalar;
use super::stand_in::stand_in;
use crate::error::Result;
use crate::function;
use crate::stop;
use crate::types::{Column, Type};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as Name, DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

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
        let compiled = self::body(&body, &kinds)?;
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
        || inner.is::<Chain>()
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
