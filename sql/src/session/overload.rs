//! Functions of DataFusion's that take text, or bytea if Postgres has one of that name for it. DataFusion reads any value as text: of
//! bytea that is no text it would say so row by row.
//!
//! While SQL becomes a logical plan a call takes what it is given, since types are not settled yet; [`super::coerce`] puts in its
//! place what it stands for: DataFusion's own, or ours of bytea, or 42883.

use crate::error::{Error, Result};
use crate::function::{self, Definition, undefined};
use crate::types::Type;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::{Arc, LazyLock};

/// A function of text, and ours of bytea.
const NAMES: &[(&str, Option<&str>)] = &[
    ("ascii", None),
    ("bit_length", Some("byteabits")),
    ("btrim", Some("byteatrim")),
    ("character_length", Some("bytealength")),
    ("left", None),
    ("ltrim", Some("bytealtrim")),
    ("octet_length", Some("bytealength")),
    ("regexp_like", None),
    ("regexp_replace", None),
    ("reverse", None),
    ("right", None),
    ("rtrim", Some("byteartrim")),
    ("split_part", None),
    ("starts_with", None),
    ("strpos", Some("byteapos")),
    ("substr", Some("byteasubstr")),
    ("translate", None),
];

static UDFS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let made = NAMES.iter().filter_map(|&(name, bytes)| {
        let (theirs, bytes) = (function::by_name(name)?, bytes.and_then(function::lookup));
        let signature = Signature::user_defined(theirs.signature().volatility);
        Some(Arc::new(ScalarUDF::new_from_impl(Overload { theirs, bytes, signature })))
    });
    made.collect()
});

/// For a session, in the place of DataFusion's of these names.
pub fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    UDFS.iter().cloned()
}

/// The one of a name.
pub fn overloaded(name: &str) -> Option<Arc<ScalarUDF>> {
    UDFS.iter().find(|function| function.name() == name).cloned()
}

/// A call of the one of a name, which is there (asserted).
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    overloaded(name).expect("a function by its name").call(args)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Overload {
    theirs: Arc<ScalarUDF>,
    bytes: Option<Arc<ScalarUDF>>,
    signature: Signature,
}

impl Overload {
    /// What it stands for, given these types.
    pub fn chosen(&self, given: &[Option<Type>]) -> Result<Arc<ScalarUDF>> {
        if !given.contains(&Some(Type::Bytea)) {
            return Ok(self.theirs.clone());
        }
        let takes = |definition: &Definition| (definition.resolve)(given).is_ok();
        let ours = self.bytes.as_ref().filter(|ours| function::definition(ours).is_some_and(takes));
        ours.cloned().ok_or_else(|| undefined(self.theirs.name(), given))
    }

    /// The type of what comes of bytea, if it is given any. Other arguments may have no type yet.
    fn of_bytes(&self, fields: &[FieldRef]) -> Option<FieldRef> {
        if !fields.iter().any(|field| field.data_type() == &DataType::Binary) {
            return None;
        }
        let kind = |definition: &Definition| {
            let given: Vec<_> = fields.iter().map(|_| None).collect();
            (definition.resolve)(&given).ok().map(|resolved| resolved.result)
        };
        // What is refused has no type; the analyzer says so when those of all arguments are settled.
        let kind = self.bytes.as_ref().and_then(|ours| function::definition(ours)).and_then(kind).unwrap_or(Type::Text);
        Some(Arc::new(kind.field(self.theirs.name(), true)))
    }
}

impl ScalarUDFImpl for Overload {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn aliases(&self) -> &[String] {
        self.theirs.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String, DataFusionError> {
        self.theirs.schema_name(args)
    }

    /// What nothing takes is refused with its type below, in Postgres' words.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let fields: Vec<FieldRef> = types.iter().map(|kind| Arc::new(Field::new("", kind.clone(), true))).collect();
        if self.of_bytes(&fields).is_some() {
            return Ok(types.to_vec());
        }
        match fields_with_udf(&fields, self.theirs.as_ref()) {
            Ok(fields) => Ok(fields.iter().map(|field| field.data_type().clone()).collect()),
            Err(_) => Ok(types.to_vec()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Err(Error::internal("a type without its field").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef, DataFusionError> {
        if let Some(field) = self.of_bytes(args.arg_fields) {
            return Ok(field);
        }
        match fields_with_udf(args.arg_fields, self.theirs.as_ref()) {
            Ok(fields) => self.theirs.return_field_from_args(ReturnFieldArgs {
                arg_fields: &fields,
                scalar_arguments: args.scalar_arguments,
            }),
            Err(_) => {
                let given = args.arg_fields.iter().map(|field| function::given(field)).collect::<Result<Vec<_>>>()?;
                Err(undefined(self.theirs.name(), &given).into())
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        self.theirs.invoke_with_args(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_and_stands_for_what_its_arguments_say() {
        assert_eq!(UDFS.len(), NAMES.len());
        for (function, (name, bytes)) in UDFS.iter().zip(NAMES) {
            assert_eq!(function.name(), *name);
            let overload = function.inner().downcast_ref::<Overload>().unwrap();
            assert_eq!(overload.bytes.as_ref().map(|ours| ours.name()), *bytes);
            assert_eq!(overload.chosen(&[Some(Type::Text), None]).unwrap().name(), *name);
            let error = overload.chosen(&[Some(Type::Bytea), Some(Type::Date)]).unwrap_err();
            assert_eq!(
                (error.sqlstate, error.message),
                ("42883", format!("function {name}(bytea, date) does not exist"))
            );
        }
    }
}
