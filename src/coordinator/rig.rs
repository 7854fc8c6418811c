//! A table and a view over it, for tests of what is decided about them.

use super::ledger::{Entry, Kind, Ledger, Life};
use crate::dataflow::blueprint::Body;
use crate::dataflow::relations::Relations;
use crate::dataflow::steps::Steps;
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_storage::{Epoch, Limits};

pub const TABLE: RelationId = RelationId(1);
pub const VIEW: RelationId = RelationId(2);

pub fn epoch(raw: u64) -> Epoch {
    Epoch::from_u64(raw)
}

pub fn columns() -> Vec<Column> {
    vec![Column { name: "k".into(), kind: Type::Int8, nullable: false }]
}

/// Both are live and built as of epoch 1.
pub fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for (id, kind, reads) in [(TABLE, Kind::Table { source: None }, vec![]), (VIEW, Kind::View, vec![TABLE])] {
        ledger.enter(id, Entry::new(kind, reads, epoch(1)).found(Life::Live, Epoch::ZERO, false));
    }
    ledger
}

/// Empty, and so far.
pub fn relations(table: u64, view: u64) -> Relations {
    let (relations, body) = (Relations::default(), Body::Table { columns: columns(), key: None });
    let parent = relations.insert(body.readable(TABLE, &body.arrangements(1, Limits::TINY)));
    parent.reach(0, epoch(table));
    let child = body.readable(VIEW, &body.arrangements(1, Limits::TINY));
    let child = relations.insert(child.following(epoch(1), vec![parent], Steps::new(epoch(view), None)));
    child.reach(0, epoch(view));
    relations
}
