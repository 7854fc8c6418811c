//! Calls that PostgreSQL's grammar writes in words of their own: EXTRACT, POSITION, SUBSTRING, TRIM, OVERLAY, AT TIME ZONE, CEIL; and what
//! can be said of syntax without knowing what it means.

use super::position;
use crate::bound::{Bound, not_yet};
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, ExtractSyntax, Query, TrimWhereField, Value, ValueWithSpan, Visit, Visitor,
};
use std::ops::ControlFlow;

/// A call of a function by its name in pg_proc.
pub struct Call<'a> {
    pub name: &'static str,
    /// Without words of grammar in it: of the functions that a name means, not only those of pg_catalog.
    pub is_plain: bool,
    pub arguments: Vec<Argument<'a>>,
}

pub enum Argument<'a> {
    Written(&'a Expr),
    /// Converted to integer.
    Integer(&'a Expr),
    /// The number 1.
    One,
    Text(String),
}

use Argument::{Integer, One, Text, Written};

/// The call that `expr` stands for, if it is such a form.
pub fn call(expr: &Expr) -> Bound<Option<Call<'_>>> {
    let mut is_plain = false;
    let (name, arguments) = match expr {
        Expr::AtTimeZone { timestamp, time_zone } => ("timezone", vec![Written(time_zone), Written(timestamp)]),
        Expr::Extract { field, syntax: ExtractSyntax::From, expr } => {
            ("extract", vec![Text(unit(field)?), Written(expr)])
        }
        Expr::Position { expr, r#in } => ("position", vec![Written(r#in), Written(expr)]),
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            is_plain = true;
            ("ceil", vec![Written(expr)])
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            is_plain = true;
            ("floor", vec![Written(expr)])
        }
        Expr::Substring { expr, substring_from, substring_for, special, shorthand } => {
            let mut arguments = vec![Written(expr)];
            match (substring_from, substring_for) {
                (Some(from), None) => arguments.push(Written(from)),
                (Some(from), Some(length)) => arguments.extend([Written(from), Written(length)]),
                (None, Some(length)) if !special => arguments.extend([One, Integer(length)]),
                _ => {}
            }
            is_plain = *special || arguments.len() == 1;
            (if *shorthand { "substr" } else { "substring" }, arguments)
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                None | Some(TrimWhereField::Both) => "btrim",
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
            };
            let others =
                trim_what.iter().map(|what| Written(what)).chain(trim_characters.iter().flatten().map(Written));
            (name, [Written(expr)].into_iter().chain(others).collect())
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let length = overlay_for.iter().map(|length| Written(length));
            let fixed = [Written(expr), Written(overlay_what), Written(overlay_from)];
            ("overlay", fixed.into_iter().chain(length).collect())
        }
        _ => return Ok(None),
    };
    Ok(Some(Call { name, is_plain, arguments }))
}

/// What EXTRACT takes of a moment.
fn unit(field: &DateTimeField) -> Bound<String> {
    match field {
        DateTimeField::Week(Some(_)) | DateTimeField::NoDateTime => not_yet(format!("EXTRACT({field} FROM …)")),
        DateTimeField::Custom(name) => Ok(folded(name)),
        plain => Ok(plain.to_string().to_ascii_lowercase()),
    }
}

/// Without parentheses.
pub fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

pub fn is_null(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::Value(ValueWithSpan { value: Value::Null, .. }))
}

/// Where the first name in `expr` is, but for those in subqueries.
pub fn first_name(expr: &Expr) -> Option<usize> {
    first(expr, |part| matches!(part, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
}

/// Where the first part of `expr` is that `is_it` knows, but for those in subqueries.
pub fn first(expr: &Expr, is_it: impl Fn(&Expr) -> bool) -> Option<usize> {
    expr.visit(&mut First { is_it, queries: 0 }).break_value().flatten()
}

struct First<F> {
    is_it: F,
    /// How many are around what is visited.
    queries: usize,
}

impl<F: Fn(&Expr) -> bool> Visitor for First<F> {
    type Break = Option<usize>;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, part: &Expr) -> ControlFlow<Self::Break> {
        match self.queries == 0 && (self.is_it)(part) {
            true => ControlFlow::Break(position::of(part)),
            false => ControlFlow::Continue(()),
        }
    }
}
