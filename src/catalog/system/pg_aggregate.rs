//! pg_catalog.pg_aggregate: the aggregates of pg_proc. What they keep of a group is no value that functions could pass on.

use super::pg_proc;
use super::table::{Cell, Facts, Kind::*, Table, row};
use weir_sql::postgres::functions::{self, Kind};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_aggregate",
    columns: &[
        ("aggfnoid", Regproc),
        ("aggkind", Letter),
        ("aggnumdirectargs", Int2),
        ("aggtransfn", Regproc),
        ("aggfinalfn", Regproc),
        ("aggcombinefn", Regproc),
        ("aggserialfn", Regproc),
        ("aggdeserialfn", Regproc),
        ("aggmtransfn", Regproc),
        ("aggminvtransfn", Regproc),
        ("aggmfinalfn", Regproc),
        ("aggfinalextra", Bool),
        ("aggmfinalextra", Bool),
        ("aggfinalmodify", Letter),
        ("aggmfinalmodify", Letter),
        ("aggsortop", Oid),
        ("aggtranstype", Oid),
        ("aggtransspace", Int4),
        ("aggmtranstype", Oid),
        ("aggmtransspace", Int4),
        ("agginitval", Text),
        ("aggminitval", Text),
    ],
    rows: |facts: &Facts| pg_proc::shown(facts).filter_map(one).collect(),
};

/// internal
const KEPT: i64 = 2281;

fn one(function: &functions::Function) -> Option<Vec<Cell>> {
    let (kind, direct) = match function.kind {
        Kind::Aggregate => ("n", 0),
        Kind::OrderedSet(direct) => ("o", direct),
        Kind::Hypothetical(direct) => ("h", direct),
        Kind::Function | Kind::Window => return None,
    };
    let none = None::<i64>;
    Some(row![
        function.oid,
        kind,
        direct as i64,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        false,
        false,
        "r",
        "r",
        0,
        KEPT,
        0,
        0,
        0,
        none,
        none,
    ])
}
