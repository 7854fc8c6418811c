//! What is told of a relation that has failed, and of a store that is another's.

use super::ledger::Ledger;
use crate::catalog::object::Stopped;
use crate::catalog::{Body, Catalog};
use crate::dataflow::relations::Failure;
use weir_sql::Error;
use weir_sql::catalog::RelationId;

/// What a reader of `id` is told.
pub fn told(catalog: &Catalog, id: RelationId, failure: &Failure) -> Error {
    let name = |id: RelationId| match catalog.get(id.0) {
        Some(object) => format!("{} \"{}\"", object.kind(), object.name),
        None => format!("relation {id}"),
    };
    let cause = &failure.cause;
    let told = Error::new(cause.sqlstate, format!("{} has failed: {}", name(id), cause.message));
    let told = match failure.of == id {
        true => told.detail("It takes no further changes; the other relations go on."),
        false => told.detail(format!("It reads {}, which has failed.", name(failure.of))),
    };
    let read = "SET weir.read_failed = on reads what it was.";
    if let Some(hint) = catalog.unread(failure.of.0).and_then(|unread| unread.hint) {
        return told.hint(hint);
    }
    told.hint(match catalog.get(failure.of.0).map(|object| (&object.name, &object.body)) {
        Some((name, Body::View(_))) => {
            format!("REFRESH MATERIALIZED VIEW {name} builds it anew from its parents; {read}")
        }
        Some((name, Body::Table(table))) if table.upstream.is_some() => {
            format!("DROP TABLE {name} CASCADE and CREATE TABLE … FROM copy it again; {read}")
        }
        Some((name, _)) => format!("Save what it was to another table, then DROP TABLE {name} CASCADE; {read}"),
        None => read.into(),
    })
}

/// Why none of `relations` can be written or read on: what is told of the first that has failed.
pub(super) fn failed_among(
    catalog: &Catalog,
    ledger: &Ledger,
    relations: impl IntoIterator<Item = RelationId>,
) -> Option<Error> {
    let failure = |id| Some(told(catalog, id, ledger.get(id)?.failure()?));
    relations.into_iter().find_map(failure)
}

/// Another process owns the store: nothing is acknowledged, committed or read from here on.
pub(super) fn fenced(reason: &weir_storage::Error) -> Error {
    Error::new("57P01", format!("this server lost its store to another: {reason}"))
        .hint("Connect to the server that took the store over; this one has stopped.")
}

impl Stopped {
    /// As the failure of `table`.
    pub fn failure(&self, table: RelationId) -> Failure {
        Failure { of: table, cause: Error::new(Error::sqlstate(&self.sqlstate), self.message.clone()) }
    }
}
