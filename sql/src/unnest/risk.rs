//! What must not be evaluated more often, elsewhere or for more rows than it was written.

use super::walk::{any, any_below, each};
use crate::bound::{Aggregate, ColumnId, Expr, How, Kind, Mode, Node, Window};
use crate::postgres::functions::{self, Function, Volatility};
use crate::types::Type;
use std::collections::BTreeMap;

/// Functions of any values that do not fail.
const SAFE: [&str; 12] = [
    "lower",
    "upper",
    "length",
    "char_length",
    "btrim",
    "ltrim",
    "rtrim",
    "replace",
    "concat",
    "extract",
    "date_part",
    "date_trunc",
];

pub fn is_volatile(expr: &Expr) -> bool {
    any(expr, &|part| matches!(part, Expr::Call { function, .. } if function.volatility == Volatility::Volatile))
}

pub fn has_volatile(node: &Node) -> bool {
    any_below(node, &|part| matches!(part, Expr::Call { function, .. } if function.volatility == Volatility::Volatile))
}

/// Whether evaluating it for a row that nobody asks for may be an error: division, casts from text, most functions. That a sum may be too
/// large for its type does not count.
pub fn can_fail(expr: &Expr) -> bool {
    any(expr, &fails)
}

pub fn can_fail_below(node: &Node) -> bool {
    any_below(node, &fails)
}

fn fails(part: &Expr) -> bool {
    match part {
        Expr::Call { function, .. } => !SAFE.contains(&function.name),
        Expr::Operation { operator, operands, .. } => {
            let may_be_zero = operands.get(1).is_none_or(|divisor| match divisor {
                Expr::Constant { value: Some(value), .. } => value.trim_matches(['0', '.', '-']).is_empty(),
                _ => true,
            });
            matches!(operator.name, "/" | "%" | "^" | "|/" | "||/") && may_be_zero
        }
        Expr::Cast { how: How::Explicit, argument, .. } => !matches!(argument.as_ref(), Expr::Constant { .. }),
        Expr::Only { .. } => true,
        _ => false,
    }
}

/// Whether a copy of `node` gives the same rows: nothing in it depends on chance, or on the order in which rows come.
pub fn is_repeatable(node: &Node) -> bool {
    let mut is_repeatable = !has_volatile(node);
    each(node, &mut |node| {
        is_repeatable &= match node {
            Node::Limit { skip, fetch, .. } => skip.is_none() && fetch.is_none(),
            Node::DistinctOn { .. } => false,
            Node::Group { aggregates, .. } => {
                aggregates.iter().all(|(_, Aggregate { function, kind, .. })| is_exact(function, *kind))
            }
            Node::Window { calls, .. } => calls.iter().all(|(_, call)| is_of_peers(call)),
            _ => true,
        };
    });
    is_repeatable
}

fn is_exact(function: &Function, kind: Kind) -> bool {
    let is_float = matches!(kind.held(), Some(Type::Float4 | Type::Float8) | None);
    let of_order = ["array_agg", "string_agg"].contains(&function.name);
    !of_order && (!is_float || ["min", "max"].contains(&function.name))
}

/// Whether it is the same for rows that are equal in what a window is ordered by, and whatever the order is in which they come.
fn is_of_peers(Window { function, frame, kind, .. }: &Window) -> bool {
    match function.kind {
        functions::Kind::Window => ["rank", "dense_rank", "percent_rank", "cume_dist"].contains(&function.name),
        _ => frame.mode != Mode::Rows && is_exact(function, *kind),
    }
}

/// Whether equal values of a type may be different ones: 1.0 and 1.00, 0 and -0, one month and 30 days.
pub fn is_loose(kind: Kind) -> bool {
    match kind.held() {
        Some(Type::Numeric(digits)) => digits.is_none(),
        Some(Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Text | Type::Varchar(_) | Type::Bytea) => false,
        Some(Type::Char(length)) => length == 0,
        Some(Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Uuid) => false,
        _ => true,
    }
}

/// A column of `columns` whose equal values may be different ones, and which does more in `node` than being compared.
pub fn shown_loose(node: &Node, columns: &BTreeMap<ColumnId, Kind>) -> Option<Kind> {
    let loose: BTreeMap<ColumnId, Kind> =
        columns.iter().filter(|(_, kind)| is_loose(**kind)).map(|(id, kind)| (*id, *kind)).collect();
    if loose.is_empty() {
        return None;
    }
    let mut found = None;
    each(node, &mut |node| {
        for expr in node.expressions() {
            found = found.or_else(|| shows(expr, &loose));
        }
    });
    found
}

fn shows(expr: &Expr, loose: &BTreeMap<ColumnId, Kind>) -> Option<Kind> {
    let compares = match expr {
        Expr::Operation { operator, .. } => matches!(operator.name, "=" | "<>" | "<" | "<=" | ">" | ">="),
        Expr::Distinct { .. } | Expr::In { .. } | Expr::Is { .. } => true,
        Expr::Column { id, .. } => return loose.get(id).copied(),
        _ => false,
    };
    let child = |child: &Expr| match child {
        Expr::Column { .. } if compares => None,
        other => crate::stack::level(|| shows(other, loose)),
    };
    expr.children().into_iter().find_map(child)
}
