//! What queries go through on purpose, for tests of what that does to others.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use std::sync::Arc;

/// `broken(int)`: a function with a bug.
pub fn broken() -> Arc<ScalarUDF> {
    let body = |_: &[ColumnarValue]| panic!("broken on purpose");
    Arc::new(create_udf("broken", vec![DataType::Int32], DataType::Int32, Volatility::Volatile, Arc::new(body)))
}
