//! now() and the like: the statement's time in SELECT, refused in views. What is bound names them before there is a time ([`untimed`]), and
//! is told it each time that it is run ([`at`]).

use crate::error::Error;
use crate::types::Type;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
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
    let time = now.map_or(Time::Never, Time::At);
    NAMES.iter().map(move |(name, kind)| function(name, kind, time))
}

/// What `name` means at a time, if it is of the clock: a session that many statements share is at none.
pub fn timed(name: &str, now: i64) -> Option<Arc<ScalarUDF>> {
    NAMES.iter().find(|(other, _)| *other == name).map(|(name, kind)| function(name, kind, Time::At(now)))
}

/// What `name` means in a plan that is told the time later, if it is of the clock.
pub fn untimed(name: &str) -> Option<Arc<ScalarUDF>> {
    NAMES.iter().find(|(other, _)| *other == name).map(|(name, kind)| function(name, kind, Time::Later))
}

/// `plan` at a time, microseconds since 1970-01-01 UTC, for whatever in it was to be told it later.
pub fn at(plan: LogicalPlan, now: i64) -> Result<LogicalPlan> {
    let timed = |expr: Expr| {
        let clock = match &expr {
            Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Clock>(),
            _ => None,
        };
        match clock.filter(|clock| clock.time == Time::Later) {
            Some(clock) => Ok(Transformed::yes(function(clock.name, &clock.kind, Time::At(now)).call(vec![]))),
            None => Ok(Transformed::no(expr)),
        }
    };
    let plan = plan.transform_up_with_subqueries(|node| node.map_expressions(|expr| expr.transform_up(timed)))?;
    Ok(plan.data)
}

fn function(name: &'static str, kind: &Type, time: Time) -> Arc<ScalarUDF> {
    let signature = Signature::nullary(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Clock { name, kind: kind.clone(), time, signature }))
}

/// What a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Time {
    At(i64),
    /// Whoever runs the plan says it ([`at`]).
    Later,
    /// There is none: a view is of no time.
    Never,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    name: &'static str,
    kind: Type,
    time: Time,
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
        match self.time {
            Time::At(_) | Time::Later => Ok(Arc::new(self.kind.field(self.name, false))),
            Time::Never => Err(Error::unsupported(format!("{}() in a materialized view", self.name)).into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = match self.time {
            Time::At(now) => now,
            Time::Later => {
                return Err(DataFusionError::Internal(format!("{}() before it was told the time", self.name)));
            }
            Time::Never => return Err(Error::unsupported(format!("{}() in a materialized view", self.name)).into()),
        };
        let moment = ScalarValue::TimestampMicrosecond(Some(now), Some("UTC".into()));
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
        let zone = crate::function::zone::Zone::parse(zone)?;
        let value = crate::function::cast::column(&moment.to_array()?, &Type::Timestamptz, &self.kind, zone)?;
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?))
    }
}
