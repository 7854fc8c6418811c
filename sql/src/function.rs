//! Postgres' scalar functions for DataFusion, where its own differ or are missing. One family per file.
//!
//! A function is a [`Definition`]: a name, the choice of its types, and its evaluation over whole columns. Operators are
//! functions too, named by their sign. Everything here is a pure function of its arguments; what depends on the session
//! (time zone) is an argument, so that a stored expression means the same for ever.

mod arithmetic;
mod array;
mod bits;
mod bytes;
mod calendar;
pub mod cast;
mod definition;
mod format;
pub mod interval_sum;
pub mod key;
mod long;
mod math;
pub mod only;
mod operands;
mod part;
mod pattern;
pub mod print;
pub mod quantified;
pub mod read;
mod temporal;
mod text;
mod timestamp;
mod wall;
pub mod zone;

pub use arithmetic::decimal_of;
pub(crate) use array::{CONTAINED, CONTAINS};
pub(crate) use bytes::{ESCAPE, escaped};
pub use cast::Cast;
use definition::is_sign;
pub(crate) use definition::undefined;
pub use definition::{Call, Definition, Resolved};
pub(crate) use long::fits;
pub use long::{LONGEST, bounded};
pub use pattern::translated;
pub use text::identifier;
pub use timestamp::reads_clock;

use crate::error::Result;
use crate::stop;
use crate::types::Type;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// Every function of ours.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    [
        arithmetic::FUNCTIONS,
        array::FUNCTIONS,
        bits::FUNCTIONS,
        bytes::FUNCTIONS,
        math::FUNCTIONS,
        part::FUNCTIONS,
        timestamp::FUNCTIONS,
        format::FUNCTIONS,
        text::FUNCTIONS,
        key::FUNCTIONS,
        long::FUNCTIONS,
        pattern::FUNCTIONS,
        quantified::FUNCTIONS,
        only::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Ours by name or alias, as DataFusion takes it.
pub fn lookup(name: &str) -> Option<Arc<ScalarUDF>> {
    static UDFS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| all().map(udf).collect());
    UDFS.iter().find(|udf| udf.name() == name || udf.aliases().iter().any(|alias| alias == name)).cloned()
}

/// A function of ours or else of DataFusion's, by its own name.
pub fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    lookup(name).or_else(|| THEIRS.get(name).cloned())
}

static THEIRS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let functions = SessionStateDefaults::default_scalar_functions();
    functions.into_iter().map(|function| (function.name().to_string(), function)).collect()
});

/// The name of the function that is also called `name`.
pub fn first_name(name: &str) -> Option<&'static str> {
    static NAMES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let pairs = |function: &ScalarUDF| {
            let first = function.name().to_string();
            function.aliases().iter().map(|alias| (alias.clone(), first.clone())).collect::<Vec<_>>()
        };
        let ours = all().filter_map(|definition| lookup(definition.name));
        // What tells the time is in a session by names of its own.
        let theirs = THEIRS.values().filter(|function| function.signature().volatility == Volatility::Immutable);
        theirs.cloned().chain(ours).flat_map(|function| pairs(&function)).collect()
    });
    NAMES.get(name).map(String::as_str).filter(|_| lookup(name).is_none_or(|function| function.name() != name))
}

/// The definition behind a function of ours.
pub fn definition(function: &ScalarUDF) -> Option<&'static Definition> {
    function.inner().downcast_ref::<Function>().map(|function| function.definition)
}

fn udf(definition: &'static Definition) -> Arc<ScalarUDF> {
    // Also those of DataFusion's function of the same name: it is taken out of every session with all its names.
    let theirs = THEIRS.get(definition.name).map_or(&[][..], |function| function.aliases());
    let aliases = definition.aliases.iter().map(|alias| alias.to_string()).chain(theirs.iter().cloned()).collect();
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Function { definition, aliases, signature }))
}

/// A [`Definition`] in DataFusion's shape.
#[derive(Debug)]
pub struct Function {
    definition: &'static Definition,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String, DataFusionError> {
        let names: Vec<_> = args.iter().map(|arg| short(arg.schema_name().to_string())).collect();
        Ok(shown(self.definition.name, &names))
    }

    fn display_name(&self, args: &[Expr]) -> Result<String, DataFusionError> {
        let names: Vec<_> = args.iter().map(|arg| short(arg.to_string())).collect();
        Ok(shown(self.definition.name, &names))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let given = types.iter().map(|kind| given(&Field::new("", kind.clone(), true))).collect::<Result<Vec<_>>>()?;
        Ok((self.definition.resolve)(&given)?.arguments.iter().map(Type::arrow).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        let given = types.iter().map(|kind| given(&Field::new("", kind.clone(), true))).collect::<Result<Vec<_>>>()?;
        Ok((self.definition.resolve)(&given)?.result.arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef, DataFusionError> {
        stop::check()?;
        let given = args.arg_fields.iter().map(|field| given(field)).collect::<Result<Vec<_>>>()?;
        let nullable = !self.definition.strict || args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new((self.definition.resolve)(&given)?.result.field(self.definition.name, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let result = Type::of(&args.return_field)?;
        let array = (self.definition.call)(&Call { arguments: &args.args, rows, result: &result })?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// A name that nobody can read any more, as a short one that stands for it alone: DataFusion puts names of calls together at every
/// level of nested ones.
pub(crate) fn short(name: String) -> String {
    const READABLE: usize = 1000;
    if name.len() <= READABLE {
        return name;
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let begin: String = name.chars().take(READABLE / 10).collect();
    format!("{begin}… {:016x}", hasher.finish())
}

/// A call as it is written: operators between their operands.
pub(crate) fn shown(name: &str, arguments: &[String]) -> String {
    match (name, arguments) {
        ("negate", [value]) => format!("(-{value})"),
        ("~", [value]) => format!("(~{value})"),
        (sign, [left, right]) if is_sign(sign) => format!("({left} {sign} {right})"),
        _ => format!("{name}({})", arguments.join(", ")),
    }
}

/// The type of an argument; NULL has none.
pub fn given(field: &Field) -> Result<Option<Type>> {
    if field.data_type() == &DataType::Null {
        return Ok(None);
    }
    Type::of(field).map(Some)
}
