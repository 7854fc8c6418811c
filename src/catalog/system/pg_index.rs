//! pg_catalog.pg_index: the primary keys of tables. (A view is stored by its key too, but nobody declared it.)

use super::table::{Cell, Facts, Kind::*, Table, row};
use crate::catalog::{Body, Object};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_index",
    columns: &[
        ("indexrelid", Oid),
        ("indrelid", Oid),
        ("indnatts", Int2),
        ("indnkeyatts", Int2),
        ("indisunique", Bool),
        ("indnullsnotdistinct", Bool),
        ("indisprimary", Bool),
        ("indisexclusion", Bool),
        ("indimmediate", Bool),
        ("indisclustered", Bool),
        ("indisvalid", Bool),
        ("indcheckxmin", Bool),
        ("indisready", Bool),
        ("indislive", Bool),
        ("indisreplident", Bool),
        ("indkey", Int2s),
        ("indcollation", Oids),
        ("indclass", Oids),
        ("indoption", Int2s),
        ("indexprs", Text),
        ("indpred", Text),
    ],
    rows,
};

/// Ids of indexes are those of their tables plus this.
pub(super) const OFFSET: i64 = 1 << 30;

/// A table's primary key.
pub(super) struct Index {
    pub id: i64,
    pub table: i64,
    pub name: String,
    /// 1-based, in key order.
    pub columns: Vec<i64>,
}

impl Index {
    pub fn of(object: &Object) -> Option<Self> {
        let Body::Table(table) = &object.body else { return None };
        let key = table.key.as_ref().filter(|key| !key.is_empty())?;
        let table = object.id as i64;
        let columns = key.iter().map(|k| *k as i64 + 1).collect();
        Some(Self { id: table + OFFSET, table, name: format!("{}_pkey", object.name), columns })
    }
}

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let one = |index: Index| {
        let count = index.columns.len() as i64;
        let zeros = vec![0i64; index.columns.len()];
        row![
            index.id,
            index.table,
            count,
            count,
            true,
            false,
            true,
            false,
            true,
            false,
            true,
            false,
            true,
            true,
            false,
            index.columns,
            zeros.clone(),
            zeros.clone(),
            zeros,
            None::<i64>,
            None::<i64>,
        ]
    };
    facts.objects().filter_map(Index::of).map(one).collect()
}
