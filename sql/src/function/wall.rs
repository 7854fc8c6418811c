//! The wall clock that moments are read by.

use super::definition::Call;
use super::temporal::infinite_timestamp;
use super::zone::Zone;
use crate::error::{Error, Result};
use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::TimestampMicrosecondType;

/// The wall clock of row `row` of `moments`, which are in `zone` if it is given.
pub(super) fn wall(moments: &PrimitiveArray<TimestampMicrosecondType>, zone: Option<Zone>, row: usize) -> i64 {
    let at = moments.value(row);
    match zone {
        Some(zone) if !infinite_timestamp(at) => zone.local(at),
        _ => at,
    }
}

/// The zone that argument `index` names, if there is one, at a row.
pub(super) fn zone_of(call: &Call, index: usize) -> Result<Option<Zone>> {
    if call.arguments.len() <= index {
        return Ok(None);
    }
    let (names, _) = call.operand(index)?;
    let names = names.as_string::<i32>();
    if names.is_empty() || names.is_null(0) {
        return Ok(None);
    }
    let first = names.value(0);
    match names.iter().all(|name| name == Some(first)) {
        true => Zone::parse(first).map(Some),
        false => Err(Error::unsupported("time zones that differ from row to row")),
    }
}
