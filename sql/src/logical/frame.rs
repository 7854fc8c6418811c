//! What rows are ordered by in a window, and frames.
//!
//! DataFusion adds an offset of RANGE to what rows are ordered by, in its type: here that is a type in which nothing overflows, and in
//! which the sum is as PostgreSQL compares it.

use super::expression::Expressions;
use super::value::Value;
use crate::bound::{Bound, Edge, Expr, Mode, Order, Unbound, Window, not_yet};
use crate::error::Error;
use crate::function::zone::Zone;
use crate::session;
use crate::types::Type;
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{self as logical, WindowFrame, WindowFrameBound, WindowFrameUnits};

/// More rows than there are: an offset beyond that makes no difference.
const ROWS: i64 = 1 << 40;
/// Offsets that can be added to any integer of four bytes.
const SMALL: i64 = 1 << 62;
/// Digits of a decimal that is held in 16 bytes.
const DIGITS: u8 = 38;

pub struct Sorted {
    pub order: Vec<Sort>,
    pub frame: WindowFrame,
}

/// Whether it is the same in all rows, and nothing has to be computed for that.
pub fn is_same(value: &Value) -> bool {
    matches!(value.expr, logical::Expr::Literal(..) | logical::Expr::Placeholder(_))
}

/// Of functions that do not look at it.
pub fn unused() -> WindowFrame {
    let start = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, start, WindowFrameBound::CurrentRow)
}

/// The order and the frame of `window`.
pub fn sorted(window: &Window, expressions: &Expressions) -> Bound<Sorted> {
    let (frame, mode) = (&window.frame, window.frame.mode);
    let mut values: Vec<(Value, &Order)> = vec![];
    for order in &window.order {
        let value = expressions.value(&order.by)?;
        if session::comparable(&value.kind, true, "<").is_err() {
            return not_yet(format!("ORDER BY of type {}", value.kind));
        }
        match is_same(&value) {
            true if mode == Mode::Groups => return not_yet("GROUPS in the order of a constant"),
            // All rows are peers by it.
            true => {}
            false => values.push((value, order)),
        }
    }
    let has_offset = [&frame.start, &frame.end].iter().any(|edge| offset(edge).is_some());
    let (units, start, end) = match mode {
        Mode::Range if has_offset => {
            let Some((value, _)) = values.first_mut() else { return not_yet("RANGE in the order of a constant") };
            let step = Step::of(value, [&frame.start, &frame.end], expressions)?;
            *value = value.clone().converted(&step.kind, expressions.zone)?;
            let [start, end] = step.edges;
            (WindowFrameUnits::Range, bound(&frame.start, start), bound(&frame.end, end))
        }
        Mode::Range => match values.first() {
            // All rows are peers.
            None => {
                (WindowFrameUnits::Rows, bound(&Edge::UnboundedPreceding, None), bound(&Edge::UnboundedFollowing, None))
            }
            Some((value, _)) => (units(&value.kind), bound(&frame.start, None), bound(&frame.end, None)),
        },
        Mode::Rows | Mode::Groups => {
            let units = if mode == Mode::Rows { WindowFrameUnits::Rows } else { WindowFrameUnits::Groups };
            let start = count(&frame.start, "starting", expressions)?;
            let end = count(&frame.end, "ending", expressions)?;
            (units, bound(&frame.start, start), bound(&frame.end, end))
        }
    };
    if is_inverted(&start, &end) {
        return not_yet("a frame that ends before it starts");
    }
    let order = values.into_iter().map(|(value, order)| Sort::new(value.expr, !order.descending, order.nulls_first));
    Ok(Sorted { order: order.collect(), frame: WindowFrame::new_bounds(units, start, end) })
}

/// RANGE from and to peers is the same in groups of peers, where DataFusion knows no ranges of values.
fn units(kind: &Type) -> WindowFrameUnits {
    match kind {
        Type::Numeric(None) | Type::Interval | Type::Time | Type::Bytea | Type::Array(_) => WindowFrameUnits::Groups,
        _ => WindowFrameUnits::Range,
    }
}

fn offset(edge: &Edge) -> Option<&Expr> {
    match edge {
        Edge::Preceding(offset) | Edge::Following(offset) => Some(offset),
        Edge::UnboundedPreceding | Edge::Current | Edge::UnboundedFollowing => None,
    }
}

fn bound(edge: &Edge, offset: Option<ScalarValue>) -> WindowFrameBound {
    let offset = offset.unwrap_or(ScalarValue::UInt64(None));
    match edge {
        Edge::UnboundedPreceding | Edge::Preceding(_) => WindowFrameBound::Preceding(offset),
        Edge::Current => WindowFrameBound::CurrentRow,
        Edge::Following(_) | Edge::UnboundedFollowing => WindowFrameBound::Following(offset),
    }
}

/// Whether nothing is between them. DataFusion wants offsets that it can compare.
fn is_inverted(start: &WindowFrameBound, end: &WindowFrameBound) -> bool {
    let is_interval = |offset: &ScalarValue| matches!(offset, ScalarValue::IntervalMonthDayNano(_));
    match (start, end) {
        (WindowFrameBound::Preceding(far), WindowFrameBound::Preceding(near))
        | (WindowFrameBound::Following(near), WindowFrameBound::Following(far)) => {
            !far.is_null() && (is_interval(far) || far.partial_cmp(near).is_none_or(|ordering| ordering.is_lt()))
        }
        _ => false,
    }
}

/// A number of rows or groups. `which` is what errors call it.
fn count(edge: &Edge, which: &str, expressions: &Expressions) -> Bound<Option<ScalarValue>> {
    let Some(offset) = offset(edge) else { return Ok(None) };
    let wrong = |sqlstate, what: &str| {
        Err(Unbound::Wrong(Error::new(sqlstate, format!("frame {which} offset must not be {what}"))))
    };
    match expressions.value(offset)?.known() {
        Some(ScalarValue::Int64(None)) => wrong("22004", "null"),
        Some(ScalarValue::Int64(Some(..0))) => wrong("22013", "negative"),
        Some(ScalarValue::Int64(Some(count))) => Ok(Some(ScalarValue::UInt64(Some(*count.min(&ROWS) as u64)))),
        _ => not_yet("an offset that is no constant"),
    }
}

/// The type of what rows are ordered by, and what is added to it.
struct Step {
    kind: Type,
    edges: [Option<ScalarValue>; 2],
}

impl Step {
    /// Of rows in the order of `by`.
    fn of(by: &Value, edges: [&Edge; 2], expressions: &Expressions) -> Bound<Self> {
        let known = |edge: &Edge| offset(edge).map(|offset| expressions.value(offset)).transpose();
        let [start, end] = edges;
        let offsets = [known(start)?, known(end)?];
        if offsets.iter().flatten().any(|offset| offset.known().is_none_or(ScalarValue::is_null)) {
            return not_yet("an offset that is no constant");
        }
        let kind = match &by.kind {
            Type::Int2 | Type::Int4 => Type::Int8,
            Type::Int8 => Type::Numeric(Some((DIGITS, 0))),
            Type::Float4 | Type::Float8 => Type::Float8,
            Type::Numeric(Some((precision, scale))) => wide((*precision, *scale), &offsets)?,
            Type::Date | Type::Timestamp => Type::Timestamp,
            Type::Timestamptz => Type::Timestamptz,
            kind => return not_yet(format!("RANGE with an offset in the order of type {kind}")),
        };
        let is_moment = matches!(kind, Type::Timestamp | Type::Timestamptz);
        let is_utc = kind != Type::Timestamptz || Zone::parse(expressions.zone)?.is_utc();
        let value = |offset: Option<Value>| {
            let Some(offset) = offset else { return Ok(None) };
            let offset = if is_moment { offset } else { offset.converted(&kind, expressions.zone)? };
            match offset.known().filter(|offset| may_be_added(offset, is_utc)) {
                Some(offset) => Ok(Some(offset.clone())),
                None => not_yet("such an offset of RANGE"),
            }
        };
        let [start, end] = offsets;
        Ok(Self { edges: [value(start)?, value(end)?], kind })
    }
}

/// A decimal for numbers of so many digits, these offsets, and what comes of adding them.
fn wide((precision, scale): (u8, i8), offsets: &[Option<Value>; 2]) -> Bound<Type> {
    let (mut whole, mut fraction) = (i32::from(precision) - i32::from(scale), scale);
    for offset in offsets.iter().flatten() {
        let Type::Numeric(Some((precision, scale))) = offset.kind else { return not_yet("such an offset of RANGE") };
        whole = whole.max(i32::from(precision) - i32::from(scale));
        fraction = fraction.max(scale);
    }
    match whole + 1 + i32::from(fraction) <= i32::from(DIGITS) {
        true => Ok(Type::Numeric(Some((DIGITS, fraction)))),
        false => not_yet("RANGE with an offset in the order of such wide numbers"),
    }
}

/// Whether it is not negative, and what comes of adding it is PostgreSQL's sum. Days are not always as long where clocks are changed.
fn may_be_added(offset: &ScalarValue, is_utc: bool) -> bool {
    match offset {
        ScalarValue::Int64(Some(offset)) => (0..SMALL).contains(offset),
        ScalarValue::Decimal128(Some(offset), ..) => *offset >= 0,
        ScalarValue::Float64(Some(offset)) => *offset >= 0.0 && offset.is_finite(),
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })) => {
            *months >= 0 && *days >= 0 && *nanoseconds >= 0 && (is_utc || *months == 0 && *days == 0)
        }
        _ => false,
    }
}
