//! A plan and the columns that it has; what is put on top of one.

use super::expression::{Expressions, column, name};
use super::needed::Needed;
use super::value::planned;
use crate::bound::{Bound, ColumnId, Order, not_yet};
use crate::function::Cast;
use crate::session;
use crate::types::Type;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Columns of a plan are called [`name`], and no two of a statement are called alike.
pub struct Rows {
    pub plan: LogicalPlan,
    pub columns: Vec<ColumnId>,
}

/// How the columns of a statement are held.
pub type Columns = BTreeMap<ColumnId, Type>;

impl Rows {
    /// Those of its columns that are needed, by themselves.
    pub fn kept(&self, needed: &Needed) -> Vec<(ColumnId, Expr)> {
        let kept = self.columns.iter().filter(|id| needed.contains(id));
        kept.map(|id| (*id, column(*id))).collect()
    }

    /// `values` of each row, and nothing else.
    pub fn projected(self, values: Vec<(ColumnId, Expr)>) -> Bound<Self> {
        let columns = values.iter().map(|(id, _)| *id).collect();
        let values = values.into_iter().map(|(id, value)| match &value {
            Expr::Column(known) if known.relation.is_none() && known.name == name(id) => value,
            _ => value.alias(name(id)),
        });
        Ok(Self { plan: project(self.plan, values.collect())?, columns })
    }
}

pub fn project(input: LogicalPlan, values: Vec<Expr>) -> Bound<LogicalPlan> {
    planned(Projection::try_new(values, Arc::new(input))).map(LogicalPlan::Projection)
}

/// A column that is held as `from`, as `to`.
pub fn cast(id: ColumnId, from: &Type, to: &Type, zone: &str) -> Expr {
    Cast::udf(from.clone(), to.clone(), zone).call(vec![column(id)])
}

/// What rows are sorted by.
pub fn order(order: &[Order], expressions: &Expressions) -> Bound<Vec<Sort>> {
    let sort = |order: &Order| {
        let value = expressions.value(&order.by)?;
        match session::comparable(&value.kind, true, "<") {
            Ok(()) => Ok(Sort::new(value.expr, !order.descending, order.nulls_first)),
            Err(_) => not_yet(format!("ORDER BY of type {}", value.kind)),
        }
    };
    order.iter().map(sort).collect()
}
