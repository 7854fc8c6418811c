//! pg_catalog.pg_class: tables (`r`), materialized views (`m`), their primary keys as indexes (`i`), sources (`x`) and the system
//! tables (`v`).

use super::pg_index;
use super::pg_namespace;
use super::table::{Cell, Facts, Kind::*, OWNER, PUBLIC, Table, row};
use crate::catalog::Body;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_class",
    columns: &[
        ("oid", Oid),
        ("relname", Name),
        ("relnamespace", Oid),
        ("reltype", Oid),
        ("reloftype", Oid),
        ("relowner", Oid),
        ("relam", Oid),
        ("relfilenode", Oid),
        ("reltablespace", Oid),
        ("relpages", Int4),
        ("reltuples", Float8),
        ("relallvisible", Int4),
        ("reltoastrelid", Oid),
        ("relhasindex", Bool),
        ("relisshared", Bool),
        ("relpersistence", Letter),
        ("relkind", Letter),
        ("relnatts", Int2),
        ("relchecks", Int2),
        ("relhasrules", Bool),
        ("relhastriggers", Bool),
        ("relhassubclass", Bool),
        ("relrowsecurity", Bool),
        ("relforcerowsecurity", Bool),
        ("relispopulated", Bool),
        ("relreplident", Letter),
        ("relispartition", Bool),
        ("relrewrite", Oid),
        ("relfrozenxid", Int8),
        ("relminmxid", Int8),
        ("relacl", Texts),
        ("reloptions", Texts),
        ("relpartbound", Text),
    ],
    rows,
};

struct Class<'a> {
    id: i64,
    name: &'a str,
    namespace: i64,
    kind: &'static str,
    access_method: i64,
    tuples: i64,
    columns: usize,
    indexed: bool,
    ready: bool,
}

impl Class<'_> {
    fn row(self) -> Vec<Cell> {
        let none = None::<i64>;
        row![
            self.id,
            self.name,
            self.namespace,
            0,
            0,
            OWNER,
            self.access_method,
            self.id,
            0,
            0,
            self.tuples as f64,
            0,
            0,
            self.indexed,
            false,
            "p",
            self.kind,
            self.columns as i64,
            0,
            false,
            false,
            false,
            false,
            false,
            self.ready,
            "d",
            false,
            0,
            0,
            0,
            none,
            none,
            none,
        ]
    }
}

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects() {
        let known = facts.relation(object.id);
        let (kind, access_method) = match object.body {
            Body::Source(_) => ("x", 0),
            Body::Table(_) => ("r", 2),
            Body::View(_) => ("m", 2),
        };
        let index = pg_index::Index::of(object);
        let class = Class {
            id: object.id as i64,
            name: &object.name,
            namespace: PUBLIC,
            kind,
            access_method,
            tuples: known.map_or(-1, |r| r.rows),
            columns: object.columns().unwrap_or_default().len(),
            indexed: index.is_some(),
            ready: known.is_none_or(|r| r.status != "creating" && r.status != "backfilling"),
        };
        let (tuples, ready) = (class.tuples, class.ready);
        rows.push(class.row());
        rows.extend(index.map(|index| {
            let columns = index.columns.len();
            let name = index.name.as_str();
            let (namespace, access_method) = (PUBLIC, 403);
            Class { id: index.id, name, namespace, kind: "i", access_method, tuples, columns, indexed: false, ready }
                .row()
        }));
    }
    rows.extend(facts.system().map(|(id, table)| {
        let namespace = pg_namespace::id(table.schema_name);
        let columns = table.columns.len();
        let (kind, tuples, indexed, ready) = ("v", -1, false, true);
        Class { id, name: table.name, namespace, kind, access_method: 0, tuples, columns, indexed, ready }.row()
    }));
    rows
}
