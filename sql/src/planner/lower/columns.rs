//! Questions that every node asks of columns and expressions.

use crate::error::{Error, Result};
use crate::planner::fault;
use crate::types::{Column, Type};
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

/// Refuses columns whose type has no equality, as a key of `what`.
pub(super) fn comparable(columns: &[Column], what: &str) -> Result<()> {
    match columns.iter().find(|c| c.kind == Type::Json) {
        None => Ok(()),
        Some(column) => {
            let message =
                format!("could not identify an equality operator for type json (column \"{}\" of {what})", column.name);
            Err(Error::new("42883", message).hint("Use jsonb."))
        }
    }
}

/// Whether `expr` holds an expression for which `f` is true.
pub(super) fn holds(expr: &Expr, f: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    expr.apply(|e| {
        found |= f(e);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(fault::of)?;
    Ok(found)
}

pub(super) fn width(schema: &DFSchemaRef) -> usize {
    schema.fields().len()
}
