//! Bound queries ([`crate::bound`]) to DataFusion's logical plans.

use crate::bound::{Bound, Query};
use crate::types::Type;
use datafusion::logical_expr::LogicalPlan;

/// A plan whose columns are those of the query's outputs, in order, each of a name of its own, and their types as they come out.
pub struct Planned {
    pub plan: LogicalPlan,
    pub types: Vec<Type>,
    /// Of `$1`, `$2`, …
    pub parameters: Vec<Type>,
}

/// A plan of `query`, to be analyzed by [`crate::session::analyze`]. Moments and wall clocks convert in `zone`. `Err(NotYet)` names what
/// Weir cannot run.
pub fn plan(query: &Query, zone: &str) -> Bound<Planned> {
    let _ = (query, zone);
    todo!("C")
}
