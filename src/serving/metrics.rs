//! Every metric's name and meaning, in one place. The coordinator's facts are brought up to date when somebody asks.

use crate::catalog::Catalog;
use crate::connector::State;
use crate::coordinator::request::{Inspection, Progress};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const SESSIONS: &str = "weir_sessions";
const STATEMENTS: &str = "weir_statements_total";
const ERRORS: &str = "weir_statement_errors_total";
const SECONDS: &str = "weir_statement_seconds";
const ROWS: &str = "weir_rows_sent_total";
const EPOCH: &str = "weir_epoch";
const DURABLE_EPOCH: &str = "weir_durable_epoch";
const STOPPED: &str = "weir_stopped";
const CHECKPOINT_SECONDS: &str = "weir_checkpoint_seconds";
const CHECKPOINT_BYTES: &str = "weir_checkpoint_bytes";
const CHECKPOINT_AT: &str = "weir_checkpoint_committed_at_seconds";
const SOURCE_UP: &str = "weir_source_running";
const SOURCE_LAG_BYTES: &str = "weir_source_lag_bytes";
const SOURCE_RETAINED_BYTES: &str = "weir_source_retained_bytes";
const SOURCE_LEFT_BYTES: &str = "weir_source_safe_wal_bytes";
const SOURCE_LAG_SECONDS: &str = "weir_source_lag_seconds";
const RELATION_ROWS: &str = "weir_relation_rows";
const RELATION_ERRORS: &str = "weir_relation_errors";
const RELATION_FAILED: &str = "weir_relation_failed";
const RELATION_BYTES: &str = "weir_relation_state_bytes";
const RELATION_EPOCH: &str = "weir_relation_epoch";
const FRESHNESS: &str = "weir_relation_freshness_seconds";
const DDL: &str = "weir_ddl_jobs";
const MEMORY: &str = "weir_memory_bytes";
const MEMORY_SHARE: &str = "weir_memory_share_bytes";

/// Called once, after a recorder is installed.
pub fn describe() {
    describe_gauge!(SESSIONS, Unit::Count, "Open client connections.");
    describe_counter!(STATEMENTS, Unit::Count, "Statements by kind.");
    describe_counter!(ERRORS, Unit::Count, "Statements that failed, by SQLSTATE.");
    describe_histogram!(SECONDS, Unit::Seconds, "Time from receiving a statement to its last row, by kind.");
    describe_counter!(ROWS, Unit::Count, "Rows sent to clients.");
    describe_gauge!(EPOCH, "Last closed epoch.");
    describe_gauge!(DURABLE_EPOCH, "Epoch of the last durable checkpoint.");
    describe_gauge!(STOPPED, "1 when this process may not go on (another one took over its store).");
    describe_gauge!(CHECKPOINT_SECONDS, Unit::Seconds, "Duration of the last checkpoint.");
    describe_gauge!(CHECKPOINT_BYTES, Unit::Bytes, "Bytes uploaded by the last checkpoint.");
    describe_gauge!(
        CHECKPOINT_AT,
        Unit::Seconds,
        "When the last checkpoint became durable, seconds since 1970-01-01 UTC."
    );
    describe_gauge!(SOURCE_UP, "1 while a source is running or copying, 0 while it is not.");
    describe_gauge!(SOURCE_LAG_BYTES, Unit::Bytes, "Bytes of upstream log not read yet.");
    describe_gauge!(SOURCE_RETAINED_BYTES, Unit::Bytes, "Bytes of log that upstream keeps for the source.");
    describe_gauge!(SOURCE_LEFT_BYTES, Unit::Bytes, "Bytes until upstream gives the source's slot up.");
    describe_gauge!(
        SOURCE_LAG_SECONDS,
        Unit::Seconds,
        "Age of the newest transaction read from a source that is behind; else 0."
    );
    describe_gauge!(RELATION_ROWS, Unit::Count, "Rows of a relation.");
    describe_gauge!(RELATION_ERRORS, Unit::Count, "Errors of a relation; readers get the first of them.");
    describe_gauge!(RELATION_FAILED, Unit::Count, "1 when a relation has failed: readers get its error.");
    describe_gauge!(RELATION_BYTES, Unit::Bytes, "Memory of a relation's state.");
    describe_gauge!(RELATION_EPOCH, "Epoch a relation has reached.");
    describe_gauge!(FRESHNESS, Unit::Seconds, "Age of the data a SELECT sees now.");
    describe_gauge!(DDL, Unit::Count, "DDL that goes on.");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory in use.");
    describe_gauge!(MEMORY_SHARE, Unit::Bytes, "Memory that a use may take, of --memory-limit.");
}

/// Counts a session while it lives.
pub struct Session;

impl Session {
    pub fn open() -> Self {
        gauge!(SESSIONS).increment(1.0);
        Self
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        gauge!(SESSIONS).decrement(1.0);
    }
}

pub fn statement(kind: &'static str, micros: u64, error: Option<&'static str>) {
    counter!(STATEMENTS, "kind" => kind).increment(1);
    histogram!(SECONDS, "kind" => kind).record(micros as f64 / 1e6);
    if let Some(sqlstate) = error {
        counter!(ERRORS, "sqlstate" => sqlstate).increment(1);
    }
}

/// What is in use.
pub fn memory(bytes: usize) {
    gauge!(MEMORY).set(bytes as f64);
}

/// What a use may take.
pub fn memory_share(name: &'static str, bytes: usize) {
    gauge!(MEMORY_SHARE, "share" => name).set(bytes as f64);
}

pub fn rows(count: usize) {
    counter!(ROWS).increment(count as u64);
}

pub fn export(inspection: &Inspection, progress: &Progress, catalog: &Catalog) {
    gauge!(EPOCH).set(progress.closed.as_u64() as f64);
    gauge!(DURABLE_EPOCH).set(progress.durable.as_u64() as f64);
    gauge!(STOPPED).set(if progress.stopped.is_some() { 1.0 } else { 0.0 });
    gauge!(DDL).set(inspection.ddl.len() as f64);
    if let Some(last) = inspection.checkpoints.first() {
        gauge!(CHECKPOINT_SECONDS).set(last.duration_ms / 1e3);
        gauge!(CHECKPOINT_BYTES).set(last.bytes as f64);
        gauge!(CHECKPOINT_AT).set(last.committed_at as f64 / 1e6);
    }
    let name = |id: u32| catalog.get(id).map(|object| object.name.clone());
    for (id, status) in &inspection.sources {
        let Some(source) = name(*id) else { continue };
        let up = matches!(status.state, State::Running { .. });
        gauge!(SOURCE_UP, "source" => source.clone()).set(if up { 1.0 } else { 0.0 });
        if let Some(lag) = status.lag_bytes {
            gauge!(SOURCE_LAG_BYTES, "source" => source.clone()).set(lag as f64);
        }
        if let Some(retained) = &status.retained {
            gauge!(SOURCE_RETAINED_BYTES, "source" => source.clone()).set(retained.bytes as f64);
            // Nothing to say where upstream keeps everything for ever.
            if let Some(left) = retained.left {
                gauge!(SOURCE_LEFT_BYTES, "source" => source.clone()).set(left as f64);
            }
        }
        let behind = status.committed_at.filter(|_| status.lag_bytes != Some(0));
        let lag = behind.map_or(0.0, |at| (progress.now - at).max(0) as f64 / 1e6);
        gauge!(SOURCE_LAG_SECONDS, "source" => source).set(lag);
    }
    for facts in &inspection.relations {
        let Some(relation) = name(facts.id) else { continue };
        gauge!(RELATION_ROWS, "relation" => relation.clone()).set(facts.rows as f64);
        gauge!(RELATION_ERRORS, "relation" => relation.clone()).set(facts.errors as f64);
        gauge!(RELATION_FAILED, "relation" => relation.clone()).set(if facts.error.is_some() { 1.0 } else { 0.0 });
        gauge!(RELATION_BYTES, "relation" => relation.clone()).set(facts.state_bytes() as f64);
        gauge!(RELATION_EPOCH, "relation" => relation.clone()).set(facts.epoch.as_u64() as f64);
        gauge!(FRESHNESS, "relation" => relation).set(facts.freshness_ms / 1e3);
    }
}
