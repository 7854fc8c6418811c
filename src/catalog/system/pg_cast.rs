//! pg_catalog.pg_cast: between which types values are converted.

use super::pg_type;
use super::table::{Cell, Facts, Kind::*, Table, row};
use std::sync::LazyLock;
use weir_sql::function::cast::check;
use weir_sql::postgres::casts::{self, Cast, Context, Method};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_cast",
    columns: &[
        ("oid", Oid),
        ("castsource", Oid),
        ("casttarget", Oid),
        ("castfunc", Oid),
        ("castcontext", Letter),
        ("castmethod", Letter),
    ],
    rows: |_: &Facts| shown().map(one).collect(),
};

static SHOWN: LazyLock<Vec<&'static Cast>> =
    LazyLock::new(|| casts::all().iter().filter(|cast| converts(cast)).collect());

pub(super) fn shown() -> impl Iterator<Item = &'static Cast> {
    SHOWN.iter().copied()
}

/// What converts the values, if PostgreSQL has a function for it.
pub(super) fn function(cast: &Cast) -> Option<u32> {
    match cast.method {
        Method::Function(function) => Some(function),
        Method::Relabel | Method::Text => None,
    }
}

fn converts(cast: &Cast) -> bool {
    let are_shown = [cast.source, cast.target].into_iter().all(pg_type::is_shown);
    match (pg_type::kind(cast.source.0), pg_type::kind(cast.target.0)) {
        (Some(source), Some(target)) => are_shown && check(&source, &target).is_ok(),
        _ => false,
    }
}

fn one(cast: &Cast) -> Vec<Cell> {
    row![
        cast.oid,
        cast.source.0,
        cast.target.0,
        function(cast).unwrap_or(0),
        match cast.context {
            Context::Implicit => "i",
            Context::Assignment => "a",
            Context::Explicit => "e",
        },
        match cast.method {
            Method::Function(_) => "f",
            Method::Relabel => "b",
            Method::Text => "i",
        },
    ]
}
