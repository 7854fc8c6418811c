//! Queries that Weir's binder understands: their names, types and columns are settled before DataFusion has a plan of them.

use super::apart::Waited;
use super::names::Names;
use crate::serving::value::WireType;
use crate::serving::value::row::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};
use weir_sql::bound::{Bound, Kind, Output};
use weir_sql::session::Settings;
use weir_sql::types::Type;
use weir_sql::{bind, logical};

pub struct Settled {
    /// To be analyzed. It has as many columns as there are here.
    pub plan: LogicalPlan,
    pub columns: Vec<Column>,
    /// Types of `$1`, `$2`, …
    pub parameters: Vec<Type>,
}

/// `statement` as `names` and `settings` have it mean. `declared` are the types the client gave to parameters.
pub fn settled(
    statement: &bind::Statement,
    declared: &[Option<Type>],
    names: &Names,
    settings: &Settings,
    waited: &Waited,
) -> Bound<Settled> {
    let declared: Vec<Kind> = declared.iter().map(|kind| kind.as_ref().map_or(Kind::UNKNOWN, Kind::of)).collect();
    let query = bind::statement(statement, &declared, names, settings)?;
    waited.check()?;
    let logical::Planned { plan, types, parameters } = logical::plan(&query, &settings.timezone)?;
    let columns = query.outputs.into_iter().zip(types).map(column).collect();
    Ok(Settled { plan, columns, parameters })
}

/// Values of parameters, each of its type and no other.
pub fn arguments(values: Vec<Expr>, kinds: &[Type]) -> Vec<Expr> {
    let argument = |(value, kind): (Expr, &Type)| match value {
        Expr::Literal(value, None) => logical::argument(value, kind.clone()),
        other => other,
    };
    values.into_iter().zip(kinds).map(argument).collect()
}

/// What a client is told, and how the plan holds it.
fn column((output, kind): (Output, Type)) -> Column {
    Column { name: output.name, wire_type: WireType { kind, told: output.kind } }
}
