//! Frames of windows.

use super::Binder;
use super::expression::Place;
use super::position::{self, placed};
use super::scope::Scope;
use crate::bound::{Bound, Edge, Expr, Frame, Kind, Mode, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::casts::Context;
use crate::postgres::coerce::fits;
use crate::postgres::types::{Oid, UNKNOWN};
use crate::types::Type;
use datafusion::sql::sqlparser::ast::{self, WindowFrame, WindowFrameBound, WindowFrameUnits};

/// What an offset is the argument of, and the clause that it stands in.
fn words(mode: Mode) -> (&'static str, &'static str) {
    match mode {
        Mode::Rows => ("ROWS", "window ROWS"),
        Mode::Range => ("RANGE", "window RANGE"),
        Mode::Groups => ("GROUPS", "window GROUPS"),
    }
}

/// Whether it is the clause of offsets.
pub fn is_clause(clause: &str) -> bool {
    [Mode::Rows, Mode::Range, Mode::Groups].iter().any(|mode| words(*mode).1 == clause)
}

impl Binder<'_> {
    /// `order` are the types of what rows are ordered by.
    pub(super) fn frame(&mut self, written: &WindowFrame, order: &[Kind], scope: &Scope) -> Bound<Frame> {
        let WindowFrame { units, start_bound, end_bound } = written;
        check(start_bound, end_bound.as_ref())?;
        let end_bound = end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow);
        let has_offset = [start_bound, end_bound]
            .into_iter()
            .any(|bound| matches!(bound, WindowFrameBound::Preceding(Some(_)) | WindowFrameBound::Following(Some(_))));
        let mode = match units {
            WindowFrameUnits::Rows => Mode::Rows,
            WindowFrameUnits::Range => Mode::Range,
            WindowFrameUnits::Groups => Mode::Groups,
        };
        if mode == Mode::Range && has_offset && order.len() != 1 {
            return wrong("RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column");
        }
        if mode == Mode::Groups && order.is_empty() {
            return wrong("GROUPS mode requires an ORDER BY clause");
        }
        let by = order.first().copied();
        let (start, end) = (self.edge(start_bound, mode, by, scope)?, self.edge(end_bound, mode, by, scope)?);
        Ok(Frame { mode, start, end })
    }

    fn edge(&mut self, bound: &WindowFrameBound, mode: Mode, by: Option<Kind>, scope: &Scope) -> Bound<Edge> {
        Ok(match bound {
            WindowFrameBound::CurrentRow => Edge::Current,
            WindowFrameBound::Preceding(None) => Edge::UnboundedPreceding,
            WindowFrameBound::Following(None) => Edge::UnboundedFollowing,
            WindowFrameBound::Preceding(Some(offset)) => Edge::Preceding(self.offset(offset, mode, by, scope)?),
            WindowFrameBound::Following(Some(offset)) => Edge::Following(self.offset(offset, mode, by, scope)?),
        })
    }

    fn offset(&mut self, written: &ast::Expr, mode: Mode, by: Option<Kind>, scope: &Scope) -> Bound<Expr> {
        let (word, clause) = words(mode);
        let position = position::of(written);
        let bound = self.expression(written, &mut Place { scope, clause, groups: None })?;
        let offered = match (mode, by) {
            (Mode::Range, Some(by)) => added(by, position)?,
            _ => &[Type::Int8],
        };
        // The parser takes a text for an interval.
        if matches!(written, ast::Expr::Interval(_)) && !offered.contains(&Type::Interval) {
            return not_yet("this form of an offset");
        }
        let to = match (mode, by) {
            (Mode::Range, Some(by)) => chosen(bound.kind().oid, by, offered, position)?,
            _ => &Type::Int8,
        };
        let offset = self.specific(bound, to, word, position)?;
        self.fixed(&offset, written, word, scope)?;
        if offset.has_subquery() { not_yet(format!("a subquery in {word}")) } else { Ok(offset) }
    }
}

/// Which edges PostgreSQL's grammar refuses.
fn check(start: &WindowFrameBound, end: Option<&WindowFrameBound>) -> Bound<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let (message, offset) = match (start, end) {
        (Following(None), _) => ("frame start cannot be UNBOUNDED FOLLOWING", None),
        (Following(Some(offset)), None) => {
            ("frame starting from following row cannot end with current row", Some(offset))
        }
        (_, Some(Preceding(None))) => ("frame end cannot be UNBOUNDED PRECEDING", None),
        (CurrentRow, Some(Preceding(Some(offset)))) => {
            ("frame starting from current row cannot have preceding rows", Some(offset))
        }
        (Following(Some(_)), Some(Preceding(offset @ Some(_)))) => {
            ("frame starting from following row cannot have preceding rows", offset.as_ref())
        }
        (Following(Some(_)), Some(CurrentRow)) => {
            ("frame starting from following row cannot have preceding rows", None)
        }
        _ => return Ok(()),
    };
    let position = offset.and_then(|offset| position::of(offset));
    Err(Unbound::Wrong(placed(Error::new("42P20", message), position)))
}

/// The types that are added to values of type `by` in RANGE, as the support functions in_range of btree's families have them.
fn added(by: Kind, position: Option<usize>) -> Bound<&'static [Type]> {
    let name = match by.held() {
        Some(Type::Int2 | Type::Int4) => return Ok(&[Type::Int2, Type::Int4, Type::Int8]),
        Some(Type::Int8) => return Ok(&[Type::Int8]),
        Some(Type::Float4 | Type::Float8) => return Ok(&[Type::Float8]),
        Some(Type::Numeric(_)) => return Ok(&[Type::Numeric(None)]),
        Some(Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval) => {
            return Ok(&[Type::Interval]);
        }
        Some(Type::Text | Type::Varchar(_)) => "text",
        Some(Type::Bool | Type::Bytea | Type::Uuid | Type::Char(_)) => &by.to_string(),
        _ => return not_yet(format!("RANGE in the order of type {by}")),
    };
    unsupported(format!("for column type {name}"), None, position)
}

/// Which of the types that may be added an offset of type `given` is.
fn chosen(given: Oid, by: Kind, offered: &'static [Type], position: Option<usize>) -> Bound<&'static Type> {
    let preferred = if given == UNKNOWN { by.oid } else { given };
    let oid = |kind: &Type| Kind::of(kind).oid;
    let matching = offered.iter().filter(|kind| fits(given, oid(kind), Context::Implicit));
    let matching: Vec<&'static Type> = matching.collect();
    let types = format!("for column type {by} and offset type {}", Kind::from(given));
    match (matching.iter().find(|kind| oid(kind) == preferred), &matching[..]) {
        (Some(exact), _) => Ok(exact),
        (None, [one]) => Ok(one),
        (None, []) => unsupported(types, Some("Cast the offset value to an appropriate type."), position),
        (None, _) => {
            let message = format!("RANGE with offset PRECEDING/FOLLOWING has multiple interpretations {types}");
            let error = Error::new("0A000", message).hint("Cast the offset value to the exact intended type.");
            Err(Unbound::Wrong(placed(error, position)))
        }
    }
}

fn unsupported<T>(types: String, hint: Option<&str>, position: Option<usize>) -> Bound<T> {
    let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported {types}");
    let error = Error::new("0A000", message);
    let error = match hint {
        Some(hint) => error.hint(hint),
        None => error,
    };
    Err(Unbound::Wrong(placed(error, position)))
}

fn wrong<T>(message: &str) -> Bound<T> {
    Err(Unbound::Wrong(Error::new("42P20", message)))
}
