//! A table's initial copy, while the stream runs on.
//!
//! A temporary slot gives a snapshot and the exact place it stands at in commit order: the copy is what committed before,
//! the stream, kept meanwhile, what commits from there on. The slot is made after the table is published, and waits for
//! every transaction that runs, so no change falls between. The table is locked (as SELECT does) before, because TRUNCATE
//! and rewrites do not heed snapshots. Several readers share the snapshot, each with ranges of pages.
//!
//! Any failure makes the copy begin again with another snapshot: its rows are of one point in time or void.

use super::client::{Client, Frame, Purpose};
use super::control;
use super::error::{Result, UpstreamError, Verdict};
use super::feed::Attempt;
use super::log::Log;
use super::rows::Line;
use super::shared::{Shared, ended};
use super::table_schema::{Details, TableSchema};
use crate::connector::segment::Op;
use crate::connector::{RowError, Subscription};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use std::iter::empty;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

/// More readers than that take more from the customer's server than they gain.
const READERS: usize = 4;
/// Pages (of 8 KiB, mostly) in a range: enough that starting a COPY does not weigh, few enough that readers end together.
const RANGE: u64 = 4096;
/// Rows handed over at a time, by number and bytes.
const BATCH_ROWS: usize = 16 * 1024;
const BATCH_BYTES: usize = 2 << 20;
/// How long to wait for running transactions before the snapshot is given up and tried anew.
const SLOT_TIMEOUT: Duration = Duration::from_secs(120);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How a try ended that did not fail.
enum End {
    Done,
    /// Another try, or nobody, is responsible for the table now.
    Superseded,
    /// The table cannot be copied as it is.
    Hopeless(RowError),
}

/// Copies a table, trying again until it succeeds, cannot, or is no longer wanted.
pub fn run(shared: &Arc<Shared>, mut attempt: Attempt) {
    let mut pause = FIRST_RETRY;
    loop {
        let failure = match copy(shared, attempt) {
            _ if shared.ended() => return,
            Ok(End::Done) => return shared.wake(),
            Ok(End::Superseded) => return,
            Ok(End::Hopeless(cause)) => {
                shared.feed().stop(attempt.table, cause);
                return shared.wake();
            }
            Err(failure) => failure,
        };
        warn!(source = shared.options.application, table = %attempt.table, reason = %failure, "copy failed, beginning again");
        let Some(next) = shared.feed().copy_fails(attempt) else { return };
        attempt = next;
        shared.wake();
        shared.sleep(pause);
        pause = (pause * 2).min(LAST_RETRY);
    }
}

fn copy(shared: &Arc<Shared>, attempt: Attempt) -> Result<End> {
    let options = &shared.options;
    let Some((table, table_schema)) = shared.feed().subscription(attempt).map(|(t, s)| (t.clone(), s.clone())) else {
        return Ok(End::Superseded);
    };
    let mut holder = Client::connect(options, Purpose::Sql)?;
    let _holder = shared.register(&holder)?;
    if control::membership(&mut holder, &options.publication, table.identity as u32)?.is_none() {
        match control::publish(&mut holder, &options.publication, &table.schema, &table.name) {
            Err(failure) if definite(&failure) => return Ok(End::Hopeless(cause(&table, &failure))),
            other => other?,
        }
    }
    match lock(&mut holder, &table) {
        Err(failure) if definite(&failure) => return Ok(End::Hopeless(cause(&table, &failure))),
        other => other?,
    }
    if let Some(cause) = changed(&mut holder, &table)? {
        return Ok(End::Hopeless(cause));
    }
    let mut exporter = Client::connect(options, Purpose::Replication)?;
    let _exporter = shared.register(&exporter)?;
    let slot = export(shared, &mut holder, &mut exporter, attempt)?;
    let (pages, estimate) = control::size(&mut holder, table.identity as u32)?;
    if !shared.feed().copy_begins(attempt, slot.consistent, estimate) {
        return Ok(End::Superseded);
    }
    shared.status_timer.notify(|due| due.awaited = true);
    info!(source = options.application, table = %attempt.table, consistent = %slot.consistent, pages, "copy begins");
    let snapshot = slot.snapshot.ok_or_else(|| UpstreamError::Protocol("a slot without its snapshot".into()))?;
    let ranges = ranges(pages, control::server(&mut holder)?.version);
    let job = Job { shared, attempt, table: &table, table_schema: &table_schema, snapshot: &snapshot, ranges: &ranges };
    let end = job.run()?;
    if let End::Done = end {
        if !shared.feed().copy_ends(attempt) {
            return Ok(End::Superseded);
        }
        shared.status_timer.notify(|due| due.awaited = true);
        info!(source = options.application, table = %attempt.table, "copy is complete");
    }
    Ok(end)
}

/// Whether trying again cannot help.
fn definite(failure: &UpstreamError) -> bool {
    matches!(failure.sqlstate(), Some("42P01" | "42703" | "42501" | "42809" | "3F000" | "42704"))
        || matches!(failure.verdict(""), Verdict::Stop(_)) && failure.sqlstate().is_some_and(|s| s.starts_with("42"))
}

fn cause(table: &Subscription, failure: &UpstreamError) -> RowError {
    RowError {
        sqlstate: "55000".into(),
        message: format!("the table cannot be copied: {failure}"),
        expression: format!("table \"{}\".\"{}\"", table.schema, table.name),
    }
}

/// Keeps TRUNCATE and rewrites away until the session ends. Takes no transaction id, so no snapshot waits for it.
fn lock(holder: &mut Client, table: &Subscription) -> Result<()> {
    holder.query("BEGIN READ ONLY")?;
    let name = control::qualified(&table.schema, &table.name);
    holder.query(&format!("LOCK TABLE ONLY {name} IN ACCESS SHARE MODE")).map(drop)
}

/// Why the table is not the one that was subscribed any more. It cannot change while it is locked.
fn changed(holder: &mut Client, table: &Subscription) -> Result<Option<RowError>> {
    let of_table = |message: &str| RowError {
        sqlstate: "55000".into(),
        message: message.into(),
        expression: format!("table \"{}\".\"{}\"", table.schema, table.name),
    };
    let found = control::relation(holder, &table.schema, &table.name)?;
    if found.is_none_or(|relation| u64::from(relation.oid) != table.identity) {
        return Ok(Some(of_table("the table was dropped upstream and another has its name")));
    }
    let details = Details::of(table).map_err(|e| UpstreamError::Protocol(e.to_string()))?;
    let now = control::attributes(holder, table.identity as u32)?;
    let same = |(column, attribute): (&weir_sql::types::Column, &super::table_schema::Attribute)| {
        let found = now.iter().find(|a| a.name == column.name);
        found.is_some_and(|a| (a.number, a.kind, a.modifier) == (attribute.number, attribute.kind, attribute.modifier))
    };
    Ok(match table.columns.iter().zip(&details.columns).all(same) {
        true => None,
        false => Some(of_table("a column in use was dropped, renamed or changed its type upstream")),
    })
}

/// The snapshot, after every transaction that runs has ended.
fn export(shared: &Shared, holder: &mut Client, exporter: &mut Client, attempt: Attempt) -> Result<control::NewSlot> {
    let name = format!("weir_{:016x}", shared.env.random.next());
    exporter.set_timeout(SLOT_TIMEOUT)?;
    control::create_slot(exporter, &name, "TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT").inspect_err(|failure| {
        if failure.timed_out()
            && let Ok(running) = control::running(holder)
        {
            let message = format!("the copy waits for transactions upstream to end: {running}");
            shared.feed().notice(attempt.table, message);
            shared.wake();
        }
    })
}

/// Conditions on `ctid`, the last without an end. Before Postgres 14 each would scan the whole table.
fn ranges(pages: u64, version: u32) -> Vec<String> {
    if version < 140_000 || pages <= RANGE {
        return vec!["true".into()];
    }
    let count = pages.div_ceil(RANGE);
    let range = |i| {
        let start = format!("ctid >= '({},0)'", i * RANGE);
        if i + 1 == count { start } else { format!("{start} AND ctid < '({},0)'", (i + 1) * RANGE) }
    };
    (0..count).map(range).collect()
}

struct Job<'a> {
    shared: &'a Arc<Shared>,
    attempt: Attempt,
    table: &'a Subscription,
    table_schema: &'a Arc<TableSchema>,
    snapshot: &'a str,
    ranges: &'a [String],
}

impl Job<'_> {
    fn run(&self) -> Result<End> {
        let next = AtomicUsize::new(0);
        let readers = READERS.min(self.ranges.len()).min(thread::available_parallelism().map_or(2, usize::from).max(2));
        let ends: Vec<Result<End>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..readers).map(|_| scope.spawn(|| self.read(&next))).collect();
            let panicked = || Err(UpstreamError::Protocol("a reader of the copy panicked".into()));
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| panicked())).collect()
        });
        for end in ends {
            let end = end?;
            if !matches!(end, End::Done) {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }

    /// Ranges until there are none left, or one of the readers failed.
    fn read(&self, next: &AtomicUsize) -> Result<End> {
        let mut client = Client::connect(&self.shared.options, Purpose::Sql)?;
        let _registered = self.shared.register(&client)?;
        client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        client.query(&format!("SET TRANSACTION SNAPSHOT {}", escape_literal(self.snapshot)))?;
        let columns: Vec<_> = self.table.columns.iter().map(|c| escape_identifier(&c.name)).collect();
        let (columns, table) = (columns.join(", "), control::qualified(&self.table.schema, &self.table.name));
        while let Some(range) = self.ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            let copied = client
                .copy_out(&format!("COPY (SELECT {columns} FROM ONLY {table} WHERE {range}) TO STDOUT"))
                .and_then(|()| self.read_range(&mut client));
            match copied {
                Ok(End::Done) => {}
                other => {
                    // The others need not go on.
                    next.store(self.ranges.len(), Ordering::Relaxed);
                    return other;
                }
            }
        }
        Ok(End::Done)
    }

    fn read_range(&self, client: &mut Client) -> Result<End> {
        let mut log = Log::new(self.table_schema.clone(), self.shared.env.limits);
        let mut line = Line::default();
        loop {
            while let Some(frame) = client.frame()? {
                let Frame::Data(data) = frame else {
                    client.finish()?;
                    return Ok(if self.hand_over(&mut log)? { End::Done } else { End::Superseded });
                };
                if !line.read(data) || line.values(data).len() != self.table_schema.kinds.len() {
                    return Err(UpstreamError::Protocol("a line that is none of the copy's".into()));
                }
                let values = line.values(data).enumerate().map(|(column, value)| (column as u16, value));
                if let Err(cause) = log.push(Op::Insert, empty(), values) {
                    return Ok(End::Hopeless(cause));
                }
            }
            let size = log.total();
            if (size.changes >= BATCH_ROWS || size.bytes >= BATCH_BYTES) && !self.hand_over(&mut log)? {
                return Ok(End::Superseded);
            }
            client.fill()?;
        }
    }

    /// Waits for room and gives the rows so far; false when nobody wants them any more.
    fn hand_over(&self, log: &mut Log) -> Result<bool> {
        log.commit();
        let bytes = log.committed().bytes;
        for rows in log.take() {
            self.shared.hold(|feed| feed.copied_bytes() > self.shared.buffer.bytes() / 2)?;
            if !self.shared.feed().copy_rows(self.attempt, rows, bytes) {
                return Ok(false);
            }
            self.shared.spill()?;
            self.shared.wake();
        }
        if self.shared.ended() { Err(ended()) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_pages_and_the_last_has_no_end() {
        assert_eq!(ranges(10 * RANGE, 130_000), ["true"]);
        assert_eq!(ranges(7, 150_000), ["true"]);
        let two = ranges(RANGE + 1, 150_000);
        assert_eq!(two, [format!("ctid >= '(0,0)' AND ctid < '({RANGE},0)'"), format!("ctid >= '({RANGE},0)'")]);
    }
}
