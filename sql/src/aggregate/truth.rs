//! bool_and, which the standard calls every, and bool_or.

use super::definition::{Definition, Finished, Function, Groups, unknown};
use crate::Result;
use crate::total::Keep;
use crate::types::Type;
use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Decimal128Type;

pub const ALL: &[Function] = &[BOOL_AND, BOOL_OR];

pub const BOOL_AND: Function = Function(&Definition {
    name: "bool_and",
    aliases: &["every"],
    result: |argument| result("bool_and", argument),
    keeps: &[Keep::Count, Keep::Trues],
    counts: false,
    nullable: true,
    finish: |groups| Ok(finish(groups, |trues, count| trues == count)),
});

pub const BOOL_OR: Function = Function(&Definition {
    name: "bool_or",
    aliases: &[],
    result: |argument| result("bool_or", argument),
    keeps: &[Keep::Count, Keep::Trues],
    counts: false,
    nullable: true,
    finish: |groups| Ok(finish(groups, |trues, _| trues > 0)),
});

fn result(name: &str, argument: Option<&Type>) -> Result<Type> {
    match argument {
        Some(Type::Bool) => Ok(Type::Bool),
        _ => Err(unknown(name, argument)),
    }
}

fn finish(groups: &Groups, truth: fn(i128, i128) -> bool) -> Finished {
    let trues = groups.kept[1].as_primitive::<Decimal128Type>();
    groups.column::<bool, BooleanArray>(|row, count| Ok(truth(trues.value(row), count)))
}
