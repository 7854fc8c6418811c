//! count: of rows, or of values that are not NULL.

use super::definition::{Definition, Finished, Function, Groups, bigint};
use crate::Result;
use crate::total::Keep;
use crate::types::Type;
use arrow::array::Int64Array;
use std::sync::Arc;

pub const ALL: &[Function] = &[COUNT];

pub const COUNT: Function = Function(&Definition {
    name: "count",
    aliases: &[],
    result: |_| Ok(Type::Int8),
    keeps: &[Keep::Count],
    counts: true,
    nullable: false,
    finish,
});

fn finish(groups: &Groups) -> Result<Finished> {
    let mut failures = vec![];
    let counts = groups.counts().values().iter().enumerate();
    let values: Int64Array =
        counts.map(|(row, &count)| bigint(count).map_err(|error| failures.push((row, error))).ok()).collect();
    Ok(Finished { values: Arc::new(values), failures })
}
