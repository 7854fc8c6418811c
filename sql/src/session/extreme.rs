//! min and max of intervals in SELECT, where DataFusion's compare months before days: the first by key, as Postgres sorts them.

use super::common::{keyed, kind};
use crate::types::Type;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::Expr;

/// `first_value(x ORDER BY key(x), x)` for `min(x)` and the like for max, wherever x is an interval.
pub fn of_intervals(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        let Expr::AggregateFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let [argument] = &call.params.args[..] else { return Ok(Transformed::no(Expr::AggregateFunction(call))) };
        let lowest = call.func.name() == "min";
        if !(lowest || call.func.name() == "max") || kind(argument, schema)? != Some(Type::Interval) {
            return Ok(Transformed::no(Expr::AggregateFunction(call)));
        }
        let nulls_first = false;
        call.params.order_by =
            vec![keyed(argument.clone(), schema)?.sort(lowest, nulls_first), argument.clone().sort(true, nulls_first)];
        call.params.distinct = false;
        call.func = first_value_udaf();
        Ok(Transformed::yes(Expr::AggregateFunction(call)))
    })
}
