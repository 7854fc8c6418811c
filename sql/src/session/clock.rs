//! now() and the like: the statement's time in SELECT, refused in views.

use crate::error::Error;
use crate::types::Type;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

type Result<T> = std::result::Result<T, DataFusionError>;

/// Every name of the clock, its type, and DataFusion's functions of the same names replaced.
const NAMES: [(&str, Type); 9] = [
    ("now", Type::Timestamptz),
    ("current_timestamp", Type::Timestamptz),
    ("transaction_timestamp", Type::Timestamptz),
    ("statement_timestamp", Type::Timestamptz),
    ("clock_timestamp", Type::Timestamptz),
    ("localtimestamp", Type::Timestamp),
    ("current_date", Type::Date),
    ("localtime", Type::Time),
    ("current_time", Type::Time),
];

/// Whether a function tells the time.
pub fn tells(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

pub fn functions(now: Option<i64>) -> impl Iterator<Item = Arc<ScalarUDF>> {
    NAMES.iter().map(move |(name, kind)| function(name, kind, now))
}

/// What `name` means at a time, if it is of the clock: a session that many statements share is at none.
pub fn timed(name: &str, now: i64) -> Option<Arc<ScalarUDF>> {
    NAMES.iter().find(|(other, _)| *other == name).map(|(name, kind)| function(name, kind, Some(now)))
}

fn function(name: &'static str, kind: &Type, now: Option<i64>) -> Arc<ScalarUDF> {
    let signature = Signature::nullary(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Clock { name, kind: kind.clone(), now, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    name: &'static str,
    kind: Type,
    now: Option<i64>,
    signature: Signature,
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.kind.arrow())
    }

    /// Already planning it in a view is an error.
    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        match self.now {
            Some(_) => Ok(Arc::new(self.kind.field(self.name, false))),
            None => Err(Error::unsupported(format!("{}() in a materialized view", self.name)).into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = self.now.ok_or_else(|| Error::unsupported(format!("{}() in a materialized view", self.name)))?;
        let moment = ScalarValue::TimestampMicrosecond(Some(now), Some("UTC".into()));
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
        let zone = crate::function::zone::Zone::parse(zone)?;
        let value = crate::function::cast::column(&moment.to_array()?, &Type::Timestamptz, &self.kind, zone)?;
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?))
    }
}
