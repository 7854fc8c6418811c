//! What a join gives for a row by itself, beside the pairs: padded, kept or marked, depending on whether it has a match.

use crate::dataflow::operator::step::batch;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use weir_sql::Result;
use weir_sql::plan::JoinKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }
}

/// Whether the output has pairs of matching rows.
pub(super) fn pairs(kind: JoinKind) -> bool {
    !matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark)
}

/// Whether the output has rows of `side` by themselves, so that it matters if they have a match.
pub(super) fn alone(kind: JoinKind, side: Side) -> bool {
    match kind {
        JoinKind::Inner => false,
        JoinKind::Left | JoinKind::Semi | JoinKind::Anti | JoinKind::Mark => side == Side::Left,
        JoinKind::Right => side == Side::Right,
        JoinKind::Full => true,
    }
}

/// What the output has for `rows` of `side` that all have a match or all have none, if anything.
pub(super) fn by_itself(
    kind: JoinKind,
    side: Side,
    rows: &RecordBatch,
    matched: bool,
    output: &SchemaRef,
) -> Result<Option<RecordBatch>> {
    let len = rows.num_rows();
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    match kind {
        JoinKind::Inner => return Ok(None),
        JoinKind::Left | JoinKind::Right | JoinKind::Full if matched => return Ok(None),
        JoinKind::Semi if !matched => return Ok(None),
        JoinKind::Anti if matched => return Ok(None),
        JoinKind::Semi | JoinKind::Anti => {}
        JoinKind::Mark => columns.push(Arc::new(BooleanArray::from(vec![matched; len]))),
        JoinKind::Left | JoinKind::Right | JoinKind::Full => {
            let fields = output.fields();
            let own = columns.len();
            let nulls = |field: &Arc<arrow::datatypes::Field>| new_null_array(field.data_type(), len);
            match side {
                Side::Left => columns.extend(fields[own..].iter().map(nulls)),
                Side::Right => {
                    let padding = fields[..fields.len() - own].iter().map(nulls);
                    columns = padding.chain(columns).collect();
                }
            }
        }
    }
    batch(output, columns, len).map(Some)
}
