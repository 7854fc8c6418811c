//! The waiting changes of one table: rows under construction, and how far they are committed.
//!
//! Values go from the socket's buffer straight into column builders. Full builders become [`Segment`]s, so that no column
//! outgrows its offsets. What follows the last commit can be taken back when the connection breaks inside a transaction.
//! Segments that cannot be taken yet may be moved to the spill folder meanwhile.

use super::decode::Value;
use super::table_schema::TableSchema;
use super::value::Builder;
use crate::connector::RowError;
use crate::connector::backlog::{Backlog, Stored};
use crate::connector::segment::{Op, Rejected, Segment};
use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use weir_storage::Limits;

/// What a value costs beside its text, about.
const VALUE_BYTES: usize = 8;

pub struct Log {
    table_schema: Arc<TableSchema>,
    limits: Limits,
    done: Backlog,
    open: Open,
    /// Changes in `done` and `open`.
    total: Size,
    /// Of these, the changes of whole transactions.
    committed: Size,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub changes: usize,
    pub bytes: usize,
}

/// A segment under construction.
struct Open {
    ops: Vec<Op>,
    rows: Vec<Builder>,
    olds: Vec<Builder>,
    row_count: u32,
    old_count: u32,
    unknown: Vec<Option<BooleanBufferBuilder>>,
    failed: Vec<Rejected>,
    bytes: usize,
}

impl Log {
    pub fn new(table_schema: Arc<TableSchema>, limits: Limits) -> Self {
        let (done, open, total) = (Backlog::default(), Open::new(&table_schema), Size::default());
        Self { table_schema, limits, done, open, total, committed: total }
    }

    /// An empty one of the same table.
    pub fn anew(&self) -> Self {
        Self::new(self.table_schema.clone(), self.limits)
    }

    pub fn table_schema(&self) -> &Arc<TableSchema> {
        &self.table_schema
    }

    pub fn committed(&self) -> Size {
        self.committed
    }

    pub fn total(&self) -> Size {
        self.total
    }

    /// A change. `old` are the key's values by place in the key, `new` the row's by column; which of them are needed depends
    /// on `op`. A value of the key that cannot be held is an error, after which nothing more may be added.
    #[inline]
    pub fn push<'a>(
        &mut self,
        op: Op,
        old: impl Iterator<Item = (u16, Value<'a>)>,
        new: impl Iterator<Item = (u16, Value<'a>)>,
    ) -> Result<(), RowError> {
        let before = self.open.bytes;
        let (rows, olds) = op.consumes();
        if olds > 0 {
            self.open.old(&self.table_schema, old)?;
        }
        if rows > 0 {
            self.open.row(&self.table_schema, new)?;
        }
        self.open.row_count += rows as u32;
        self.open.old_count += olds as u32;
        self.open.ops.push(op);
        self.open.bytes += 1;
        self.total.changes += 1;
        self.total.bytes += self.open.bytes - before;
        if self.open.ops.len() >= self.limits.segment_rows || self.open.bytes >= self.limits.segment_bytes {
            self.close();
        }
        Ok(())
    }

    /// Everything so far belongs to whole transactions.
    #[inline]
    pub fn commit(&mut self) {
        self.committed = self.total;
    }

    /// Takes back what follows the last commit.
    pub fn rollback(&mut self) {
        let (keep, committed) = (self.prefix(self.committed.changes), self.committed);
        self.done = Backlog::default();
        keep.into_iter().for_each(|stored| self.done.push(stored));
        self.open = Open::new(&self.table_schema);
        (self.total, self.committed) = (committed, committed);
    }

    /// The changes of whole transactions.
    pub fn take(&mut self) -> Vec<Stored> {
        if self.committed.changes == 0 {
            return vec![];
        }
        let committed = std::mem::take(&mut self.committed);
        self.total.changes -= committed.changes;
        self.total.bytes -= committed.bytes;
        self.prefix(committed.changes)
    }

    /// Drops the first `changes` changes, which are committed.
    pub fn discard(&mut self, changes: usize) {
        self.prefix(changes);
        // What a change costs is not known any more; on average is right enough for limits.
        let bytes = self.committed.bytes / self.committed.changes.max(1) * changes;
        for size in [&mut self.committed, &mut self.total] {
            size.bytes -= bytes;
            size.changes -= changes;
        }
    }

    /// Bytes in memory.
    pub fn bytes_here(&mut self) -> usize {
        self.done.bytes_here() + self.open.bytes
    }

    /// What is in memory and worth a place in a file; `least` bytes are.
    pub fn here(&mut self, least: usize) -> impl Iterator<Item = &Stored> {
        if self.open.bytes > least.min(self.limits.spilled_bytes) {
            self.close();
        }
        self.done.here()
    }

    /// Removes and returns the first `changes` changes.
    fn prefix(&mut self, changes: usize) -> Vec<Stored> {
        if changes > self.done.changes() {
            self.close();
        }
        self.done.take(changes)
    }

    fn close(&mut self) {
        let open = std::mem::replace(&mut self.open, Open::new(&self.table_schema));
        if !open.ops.is_empty() {
            let bytes = open.bytes;
            self.done.push(Stored::new(open.finish(&self.table_schema), bytes));
        }
    }
}

impl Open {
    fn new(table_schema: &TableSchema) -> Self {
        Self {
            ops: vec![],
            rows: table_schema.kinds.iter().map(Builder::new).collect(),
            olds: table_schema.key.iter().map(|&c| Builder::new(&table_schema.kinds[c])).collect(),
            row_count: 0,
            old_count: 0,
            unknown: table_schema.kinds.iter().map(|_| None).collect(),
            failed: vec![],
            bytes: 0,
        }
    }

    #[inline]
    fn row<'a>(
        &mut self,
        table_schema: &TableSchema,
        values: impl Iterator<Item = (u16, Value<'a>)>,
    ) -> Result<(), RowError> {
        for (column, value) in values {
            let column = usize::from(column);
            self.bytes += VALUE_BYTES;
            match value {
                Value::Text(text) => {
                    self.bytes += text.len();
                    if let Err(reject) = self.rows[column].append(text) {
                        self.reject(table_schema, column, reject.sqlstate, &reject.message)?;
                    }
                }
                Value::Null if table_schema.is_key(column) => return Err(table_schema.cause(column, "22004", NULL_KEY)),
                Value::Null => self.rows[column].append_null(),
                Value::Unchanged if table_schema.is_key(column) => {
                    return Err(table_schema.cause(column, "XX001", UNSENT_KEY));
                }
                Value::Unchanged => self.leave_out(column),
            }
        }
        Ok(())
    }

    fn old<'a>(
        &mut self,
        table_schema: &TableSchema,
        values: impl Iterator<Item = (u16, Value<'a>)>,
    ) -> Result<(), RowError> {
        for (place, value) in values {
            let place = usize::from(place);
            self.bytes += VALUE_BYTES;
            let column = table_schema.key[place];
            match value {
                Value::Text(text) => self.olds[place]
                    .append(text)
                    .map_err(|reject| table_schema.cause(column, reject.sqlstate, &reject.message))?,
                Value::Null => return Err(table_schema.cause(column, "22004", NULL_KEY)),
                Value::Unchanged => return Err(table_schema.cause(column, "XX001", UNSENT_KEY)),
            }
        }
        Ok(())
    }

    #[cold]
    fn reject(
        &mut self,
        table_schema: &TableSchema,
        column: usize,
        sqlstate: &str,
        message: &str,
    ) -> Result<(), RowError> {
        let cause = table_schema.cause(column, sqlstate, message);
        if table_schema.is_key(column) {
            return Err(cause);
        }
        self.rows[column].append_null();
        self.failed.push(Rejected { row: self.row_count, column: column as u32, cause });
        Ok(())
    }

    /// Marks a value that was not sent.
    fn leave_out(&mut self, column: usize) {
        self.rows[column].append_null();
        let bits = self.unknown[column].get_or_insert_with(|| BooleanBufferBuilder::new(0));
        bits.append_n(self.row_count as usize - bits.len(), false);
        bits.append(true);
    }

    fn finish(mut self, table_schema: &TableSchema) -> Segment {
        let rows = self.row_count as usize;
        let unknown = self.unknown.into_iter().map(|bits| {
            let mut bits = bits?;
            bits.append_n(rows.saturating_sub(bits.len()), false);
            // The bits of a row that failed half way go with it.
            Some(bits.finish().slice(0, rows)).filter(|bits| bits.count_set_bits() > 0)
        });
        self.failed.retain(|f| f.row < self.row_count);
        Segment {
            unknown: unknown.collect(),
            rows: batch(&table_schema.schema, &mut self.rows, rows),
            olds: batch(&table_schema.key_schema, &mut self.olds, self.old_count as usize),
            ops: self.ops,
            failed: self.failed,
        }
    }
}

/// The first `rows` rows: a row that failed half way left values in some columns.
fn batch(schema: &SchemaRef, builders: &mut [Builder], rows: usize) -> RecordBatch {
    let columns: Vec<ArrayRef> = builders.iter_mut().map(|b| b.finish().slice(0, rows)).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .expect("each value went to the column of its type, and no key is null")
}

const NULL_KEY: &str = "upstream sent a null in the key";
const UNSENT_KEY: &str = "upstream left out a value of the key";

impl TableSchema {
    #[inline]
    fn is_key(&self, column: usize) -> bool {
        self.key.contains(&column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Subscription;
    use weir_sql::catalog::RelationId;
    use weir_sql::types::{Column, Type};

    fn log() -> Log {
        within(Limits::default())
    }

    fn within(limits: Limits) -> Log {
        let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
        let table = Subscription {
            table: RelationId(1),
            schema: "public".into(),
            name: "t".into(),
            identity: 1,
            columns: vec![
                column("id", Type::Int4, false),
                column("n", Type::Int4, true),
                column("t", Type::Text, true),
            ],
            key: Some(vec![0]),
            copied: true,
            details: serde_json::Value::Null,
        };
        Log::new(Arc::new(TableSchema::new(&table)), limits)
    }

    fn upsert(log: &mut Log, id: &str, n: &str) -> Result<(), RowError> {
        let value = |text: &'static str| Value::Text(text.as_bytes());
        let row = [(0, Value::Text(id.as_bytes())), (1, Value::Text(n.as_bytes())), (2, value("x"))];
        log.push(Op::Upsert, [].into_iter(), row.into_iter())
    }

    fn read(stored: Vec<Stored>) -> Vec<Segment> {
        stored.into_iter().map(|stored| stored.read().unwrap()).collect()
    }

    fn ids(segments: &[Segment]) -> Vec<i32> {
        use arrow::array::AsArray;
        let ids = |s: &Segment| s.rows.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
        segments.iter().flat_map(ids).collect()
    }

    #[test]
    fn only_whole_transactions_are_taken() {
        [Limits::default(), Limits::TINY].into_iter().for_each(take_whole_transactions);
    }

    fn take_whole_transactions(limits: Limits) {
        let mut log = within(limits);
        upsert(&mut log, "1", "1").unwrap();
        log.commit();
        upsert(&mut log, "2", "2").unwrap();
        assert_eq!(ids(&read(log.take())), [1]);
        assert_eq!(ids(&read(log.take())), [0; 0]);
        upsert(&mut log, "3", "3").unwrap();
        log.commit();
        assert_eq!(ids(&read(log.take())), [2, 3]);
        assert_eq!(log.total(), Size::default());
    }

    #[test]
    fn a_broken_transaction_is_taken_back() {
        [Limits::default(), Limits::TINY].into_iter().for_each(take_back);
    }

    fn take_back(limits: Limits) {
        let mut log = within(limits);
        upsert(&mut log, "1", "1").unwrap();
        log.commit();
        upsert(&mut log, "2", "x").unwrap();
        log.rollback();
        upsert(&mut log, "3", "3").unwrap();
        log.commit();
        let segments = read(log.take());
        assert_eq!(ids(&segments), [1, 3]);
        assert!(segments.iter().all(|s| s.failed.is_empty()));
    }

    #[test]
    fn segments_close_and_split_at_commits() {
        for limits in [Limits::default(), Limits { segment_rows: 50, ..Limits::default() }] {
            close_and_split(within(limits), limits.segment_rows);
        }
    }

    fn close_and_split(mut log: Log, rows: usize) {
        let n = 2 * rows as i32 + 110;
        for id in 0..n {
            upsert(&mut log, &id.to_string(), "1").unwrap();
            if id == 100 {
                log.commit();
            }
        }
        assert_eq!(ids(&read(log.take())).len(), 101);
        log.commit();
        log.discard(rows);
        let rest = ids(&read(log.take()));
        assert_eq!((rest[0], rest.len()), (101 + rows as i32, (n - 101) as usize - rows));
    }

    #[test]
    fn what_is_discarded_leaves_the_size_of_an_open_transaction_as_it_was() {
        let mut log = log();
        upsert(&mut log, "1", "1").unwrap();
        upsert(&mut log, "22", "1").unwrap();
        log.commit();
        upsert(&mut log, "333333", "1").unwrap();
        let open = |log: &Log| log.total().bytes - log.committed().bytes;
        let before = open(&log);
        log.discard(1);
        assert_eq!(open(&log), before);
    }

    #[test]
    fn a_value_that_cannot_be_held_is_noted_and_one_of_the_key_is_an_error() {
        let mut log = log();
        upsert(&mut log, "1", "x").unwrap();
        log.commit();
        let cause = upsert(&mut log, "2147483648", "1").unwrap_err();
        assert_eq!((cause.sqlstate.as_str(), cause.expression.as_str()), ("22003", "column \"id\""));
        let segments = read(log.take());
        assert_eq!((segments[0].failed[0].row, segments[0].failed[0].column), (0, 1));
        assert_eq!(ids(&segments), [1]);
    }

    #[test]
    fn values_not_sent_are_marked() {
        let mut log = log();
        upsert(&mut log, "1", "1").unwrap();
        let row = [(0, Value::Text(b"2")), (1, Value::Null), (2, Value::Unchanged)];
        log.push(Op::Upsert, [].into_iter(), row.into_iter()).unwrap();
        upsert(&mut log, "3", "3").unwrap();
        log.commit();
        let segment = &read(log.take())[0];
        let bits = segment.unknown[2].as_ref().unwrap();
        assert_eq!((0..3).map(|i| bits.value(i)).collect::<Vec<_>>(), [false, true, false]);
        assert!(segment.unknown[1].is_none());
    }
}
