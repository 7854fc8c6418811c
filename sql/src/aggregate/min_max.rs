//! min and max.

use super::definition::{Definition, Finished, Function, Groups, unknown};
use crate::Result;
use crate::total::Keep;
use crate::types::Type;
use arrow::compute::cast;

pub const ALL: &[Function] = &[MIN, MAX];

pub const MIN: Function = Function(&Definition {
    name: "min",
    aliases: &[],
    result: |argument| result("min", argument),
    keeps: &[Keep::Min],
    counts: false,
    nullable: true,
    finish,
});

pub const MAX: Function = Function(&Definition {
    name: "max",
    aliases: &[],
    result: |argument| result("max", argument),
    keeps: &[Keep::Max],
    counts: false,
    nullable: true,
    finish,
});

fn result(name: &str, argument: Option<&Type>) -> Result<Type> {
    Ok(match argument {
        None | Some(Type::Bool | Type::Uuid | Type::Json | Type::Jsonb) => return Err(unknown(name, argument)),
        Some(Type::Varchar(_)) => Type::Text,
        Some(kind) => kind.clone(),
    })
}

fn finish(groups: &Groups) -> Result<Finished> {
    Ok(Finished::whole(cast(&groups.kept[0], &groups.output.arrow())?))
}
