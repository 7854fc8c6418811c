//! Functions of bytea.

use super::definition::{Definition, Resolved, undefined};
use super::long::fits;
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
        let (mut out, mut bytes) = (BinaryBuilder::new(), 0);
        for (left, right) in left.as_binary::<i32>().iter().zip(right.as_binary::<i32>()) {
            let length = left.map_or(0, <[u8]>::len) + right.map_or(0, <[u8]>::len);
            bytes += length;
            fits(length, bytes)?;
            out.append_option(left.zip(right).map(|(left, right)| [left, right].concat()));
        }
        Ok(Arc::new(out.finish()))
    },
    strict: true,
    fallible: true,
}];
