//! What an object of the catalog is to workers and to the ledger.

use super::ledger::Kind;
use crate::catalog::{Body, Object};
use crate::dataflow::blueprint;

/// What workers need of an object; `None`: not a relation.
pub fn body(body: &Body) -> Option<blueprint::Body> {
    match body {
        Body::Source(_) => None,
        Body::Table(table) => Some(blueprint::Body::Table { columns: table.columns.clone(), key: table.key.clone() }),
        Body::View(view) => Some(blueprint::Body::View(view.plan.clone())),
    }
}

/// What kind of relation it is.
pub fn kind(object: &Object) -> Kind {
    match &object.body {
        Body::Table(table) => Kind::Table { source: table.upstream.as_ref().map(|(source, _)| *source) },
        Body::View(_) | Body::Source(_) => Kind::View,
    }
}
