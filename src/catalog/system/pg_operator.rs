//! pg_catalog.pg_operator: operators that a statement can apply.

use super::pg_type;
use super::table::{Cell, Facts, Kind::*, OWNER, Table, row};
use std::sync::LazyLock;
use weir_sql::postgres::operators::{self, Operator};
use weir_sql::session;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_operator",
    columns: &[
        ("oid", Oid),
        ("oprname", Name),
        ("oprnamespace", Oid),
        ("oprowner", Oid),
        ("oprkind", Letter),
        ("oprcanmerge", Bool),
        ("oprcanhash", Bool),
        ("oprleft", Oid),
        ("oprright", Oid),
        ("oprresult", Oid),
        ("oprcom", Oid),
        ("oprnegate", Oid),
        ("oprcode", Regproc),
        ("oprrest", Regproc),
        ("oprjoin", Regproc),
    ],
    rows: |_: &Facts| shown().map(one).collect(),
};

static SHOWN: LazyLock<Vec<&'static Operator>> =
    LazyLock::new(|| operators::all().iter().filter(|operator| may_apply(operator)).collect());

pub(super) fn shown() -> impl Iterator<Item = &'static Operator> {
    SHOWN.iter().copied()
}

fn may_apply(operator: &Operator) -> bool {
    let are_shown = operator.left.into_iter().chain([operator.right, operator.result]).all(pg_type::is_shown);
    let right = pg_type::stand_in(operator.right);
    let left = operator.left.map(pg_type::stand_in);
    match (left, right) {
        (Some(None), _) | (_, None) => false,
        (left, Some(right)) => are_shown && session::may_apply(operator.name, left.flatten().as_ref(), &right),
    }
}

fn one(operator: &Operator) -> Vec<Cell> {
    let known = |oid: Option<u32>| oid.filter(|oid| shown().any(|other| other.oid == *oid)).unwrap_or(0);
    row![
        operator.oid,
        operator.name,
        11,
        OWNER,
        if operator.left.is_some() { "b" } else { "l" },
        operator.can_merge,
        operator.can_hash,
        operator.left.map_or(0, |kind| kind.0),
        operator.right.0,
        operator.result.0,
        known(operator.commutator),
        known(operator.negator),
        operator.function,
        0,
        0,
    ]
}
