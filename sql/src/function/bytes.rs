//! Functions of bytea.

use super::{Definition, Resolved, undefined};
use crate::types::Type;
use arrow::array::{AsArray, BinaryBuilder};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[Definition {
    name: "byteacat",
    aliases: &[],
    resolve: |given| match given {
        [None | Some(Type::Bytea), None | Some(Type::Bytea)] => {
            Ok(Resolved { arguments: vec![Type::Bytea, Type::Bytea], result: Type::Bytea })
        }
        _ => Err(undefined("byteacat", given)),
    },
    call: |call| {
        let (left, right) = (call.column(0)?, call.column(1)?);
        let mut out = BinaryBuilder::new();
        for (left, right) in left.as_binary::<i32>().iter().zip(right.as_binary::<i32>()) {
            out.append_option(left.zip(right).map(|(left, right)| [left, right].concat()));
        }
        Ok(Arc::new(out.finish()))
    },
    strict: true,
    fallible: false,
}];
