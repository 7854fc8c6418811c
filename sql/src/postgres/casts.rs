//! PostgreSQL's casts.

use super::list::{lines, number, present};
use super::types::{Oid, of};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Where a value is converted; each allows what those before it allow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Context {
    /// Anywhere, without being asked for.
    Implicit,
    /// Where a value is put in a column.
    Assignment,
    /// CAST and `::`.
    Explicit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// By the function of pg_proc.
    Function(u32),
    /// The bytes are the same.
    Relabel,
    /// By its text.
    Text,
}

/// A cast as pg_cast has it.
#[derive(Debug)]
pub struct Cast {
    pub oid: u32,
    pub source: Oid,
    pub target: Oid,
    /// The first in which it is allowed.
    pub context: Context,
    pub method: Method,
}

static CASTS: LazyLock<Vec<Cast>> = LazyLock::new(|| {
    let read = |[oid, source, target, function, context, method]: [&'static str; 6]| Cast {
        oid: number(oid),
        source: of(source),
        target: of(target),
        context: match context {
            "i" => Context::Implicit,
            "a" => Context::Assignment,
            _ => Context::Explicit,
        },
        method: match (method, present(function)) {
            ("f", Some(function)) => Method::Function(number(function)),
            ("b", _) => Method::Relabel,
            _ => Method::Text,
        },
    };
    lines(include_str!("casts.txt")).map(read).collect()
});

static BY_TYPES: LazyLock<HashMap<(Oid, Oid), &'static Cast>> =
    LazyLock::new(|| CASTS.iter().map(|cast| ((cast.source, cast.target), cast)).collect());

pub fn all() -> &'static [Cast] {
    &CASTS
}

pub fn between(source: Oid, target: Oid) -> Option<&'static Cast> {
    BY_TYPES.get(&(source, target)).copied()
}
