//! rw_catalog.rw_sources: RisingWave's columns, then how each source is.

use super::table::{Cell, Facts, Kind::*, OWNER, PUBLIC, Table, acl, row};
use crate::catalog::{Body, Object, TableBody};
use crate::connector::State;

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_sources",
    columns: &[
        ("id", Int4),
        ("name", Text),
        ("schema_id", Int4),
        ("owner", Int4),
        ("connector", Text),
        ("columns", Texts),
        ("format", Text),
        ("row_encode", Text),
        ("append_only", Bool),
        ("associated_table_id", Int4),
        ("connection_id", Int4),
        ("definition", Text),
        ("acl", Texts),
        ("initialized_at", Timestamptz),
        ("created_at", Timestamptz),
        ("initialized_at_cluster_version", Text),
        ("created_at_cluster_version", Text),
        ("is_shared", Bool),
        ("connector_props", Jsonb),
        ("format_encode_options", Jsonb),
        ("state", Text),
        ("position", Text),
        ("upstream_position", Text),
        ("acknowledged_position", Text),
        ("lag_bytes", Int8),
        ("lag_ms", Float8),
        ("retained_bytes", Int8),
        ("wal_status", Text),
        ("safe_wal_size", Int8),
        ("last_error", Text),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects() {
        let Body::Source(source) = &object.body else { continue };
        let mut known = facts.inspection.iter().flat_map(|known| &known.sources);
        let status = known.find(|(id, _)| *id == object.id).map(|(_, status)| status);
        let properties = serde_json::to_string(&source.options).unwrap_or_default();
        // With nothing left to read, the newest transaction's age says nothing about lag.
        let lag = status.and_then(|s| match (s.lag_bytes, s.committed_at) {
            (Some(0), _) => Some(0.0),
            (_, Some(committed)) => Some((facts.progress.now - committed).max(0) as f64 / 1000.0),
            _ => None,
        });
        let retained = status.and_then(|s| s.retained.as_ref());
        let none = None::<i64>;
        let created = object.created_at;
        rows.push(row![
            object.id,
            object.name.clone(),
            PUBLIC,
            OWNER,
            source.connector.clone(),
            Cell::List(vec![]),
            none,
            none,
            false,
            none,
            none,
            object.definition.clone(),
            acl(),
            created,
            created,
            none,
            none,
            true,
            properties,
            "{}",
            match (source.paused, status) {
                (true, _) => "paused".to_string(),
                (false, status) => status.map_or("connecting".to_string(), |s| state(&s.state)),
            },
            status.and_then(|s| s.position.clone()),
            status.and_then(|s| s.upstream_position.clone()),
            status.and_then(|s| s.acknowledged.clone()),
            status.and_then(|s| s.lag_bytes).map(|b| b as i64),
            lag,
            retained.map(|r| r.bytes as i64),
            retained.and_then(|r| r.status.clone()),
            retained.and_then(|r| r.left),
            status
                .and_then(|s| error(&s.state))
                .or_else(|| held(facts, object.id))
                .or_else(|| status?.last_error.clone()),
        ]);
    }
    rows
}

/// For which tables upstream keeps what nobody reads any more.
fn held(facts: &Facts, source: u32) -> Option<String> {
    let is_fed = |object: &&Object| matches!(&object.body, Body::Table(TableBody { upstream: Some((of, _)), .. }) if *of == source);
    let failed = facts.objects().filter(is_fed).filter_map(|object| {
        let error = facts.relation(object.id).filter(|relation| relation.status == "failed")?.error.as_ref();
        Some(format!("\"{}\" ({})", object.name, error.map_or("", String::as_str)))
    });
    let failed: Vec<String> = failed.collect();
    let tables = failed.join(", ");
    (!failed.is_empty())
        .then(|| format!("upstream keeps its log for tables that have failed: {tables}; DROP TABLE lets go of it"))
}

/// A stopped source shows the name of its trouble.
fn state(state: &State) -> String {
    match state {
        State::Connecting => "connecting".into(),
        State::Running { copying: 0 } => "running".into(),
        State::Running { .. } => "copying".into(),
        State::Retrying { .. } => "retrying".into(),
        State::Stopped { name, .. } => name.clone(),
    }
}

fn error(state: &State) -> Option<String> {
    match state {
        State::Retrying { reason } => Some(reason.clone()),
        State::Stopped { reason, remedy, .. } => Some(format!("{reason} {remedy}")),
        _ => None,
    }
}
