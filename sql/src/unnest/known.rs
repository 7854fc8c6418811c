//! What is never NULL, as far as it can be told.

use crate::bound::{ColumnId, Expr, How, Join, Node, Test};
use crate::stack;

/// Whether `expr`, over the columns of `node`, is never NULL.
pub fn is_known(expr: &Expr, node: &Node) -> bool {
    stack::level(|| match expr {
        Expr::Column { id, .. } => is_known_column(*id, node),
        Expr::Constant { value, .. } => value.is_some(),
        Expr::Cast { argument, how: How::Implicit, .. } => is_known(argument, node),
        Expr::Is { .. } | Expr::Distinct { .. } => true,
        Expr::Coalesce { arguments, .. } => arguments.iter().any(|argument| is_known(argument, node)),
        _ => false,
    })
}

fn is_known_column(id: ColumnId, node: &Node) -> bool {
    stack::level(|| match node {
        Node::Unit => false,
        Node::Scan { table, columns, .. } => {
            let place = columns.iter().find(|(own, _, _)| *own == id).map(|(_, place, _)| *place);
            let schema = table.0.schema();
            place.and_then(|place| schema.fields().get(place)).is_some_and(|field| !field.is_nullable())
        }
        Node::Values { columns, rows } => match columns.iter().position(|(own, _)| *own == id) {
            Some(at) => rows.iter().all(|row| row.get(at).is_some_and(|expr| is_known(expr, &Node::Unit))),
            None => false,
        },
        Node::Filter { input, condition } => excludes_null(condition, id) || is_known_column(id, input),
        Node::Extend { input, columns } => match columns.iter().find(|(own, _)| *own == id) {
            Some((_, expr)) => is_known(expr, input),
            None => is_known_column(id, input),
        },
        Node::Join { kind, left, right, .. } => match kind {
            Join::Inner => is_known_column(id, left) || is_known_column(id, right),
            Join::Left | Join::Semi | Join::Anti => is_known_column(id, left),
            Join::Right => is_known_column(id, right),
            Join::Full => false,
            Join::Mark(mark) => *mark == id || is_known_column(id, left),
        },
        Node::Group { input, keys, aggregates, sets } => {
            let counts = || aggregates.iter().any(|(own, call)| *own == id && call.function.name == "count");
            match keys.iter().find(|(own, _)| *own == id) {
                Some((_, key)) => sets.is_none() && is_known(key, input),
                None => counts(),
            }
        }
        Node::Window { input, calls } => match calls.iter().find(|(own, _)| *own == id) {
            Some((_, call)) => ["count", "row_number", "rank", "dense_rank"].contains(&call.function.name),
            None => is_known_column(id, input),
        },
        Node::Distinct { input, .. }
        | Node::DistinctOn { input, .. }
        | Node::Sort { input, .. }
        | Node::Limit { input, .. } => is_known_column(id, input),
        Node::Combine { left, right, columns, .. } => match columns.iter().position(|(own, _)| *own == id) {
            Some(at) => {
                [left, right].into_iter().all(|(input, ids)| ids.get(at).is_some_and(|id| is_known_column(*id, input)))
            }
            None => false,
        },
    })
}

/// Whether `condition` is not true where the column is NULL.
fn excludes_null(condition: &Expr, id: ColumnId) -> bool {
    match condition {
        Expr::And(parts) => parts.iter().any(|part| excludes_null(part, id)),
        Expr::Is { argument, what: Test::Null, negated: true } => {
            matches!(argument.as_ref(), Expr::Column { id: own, .. } if *own == id)
        }
        _ => false,
    }
}
