//! What moves inside the dataflow: [`Packet`], the container of every timely stream.

use super::world::Most;
use crate::connector::spilled::Spilled;
use crate::connector::{FailedRows, Partial, RowError};
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::io::Cursor;
use std::sync::Arc;
use timely::Accountable;
use timely::dataflow::channels::ContainerBytes;
use weir_storage::delta::{rows_within, size, widest_row};
use weir_storage::{Delta, Result};

/// Changes on their way. Views only see `Rows` and `Errors`; the rest is what base tables are fed with.
#[derive(Clone, Debug, Default)]
pub enum Packet {
    #[default]
    Empty,
    Rows(Delta),
    /// In `errors::SCHEMA`.
    Errors(Delta),
    /// Complete rows of a keyed table.
    Upserts(RecordBatch),
    /// Key columns of rows that are gone.
    Deletes(RecordBatch),
    /// Key columns of rows that cannot be held, then the cause: sqlstate, message, expression.
    Failed(RecordBatch),
    Partial(Partial),
    /// Everything stored before this epoch is gone. Sent to every worker, never exchanged.
    Truncate,
    /// Rows in a file, each of this weight; of a keyed table upserts, or key columns of rows that are gone. Sent to every worker, never
    /// exchanged: each takes its own rows.
    Spilled(Spilled, i64),
}

impl Packet {
    pub fn failed(failed: &FailedRows) -> Self {
        let text = |f: fn(&RowError) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(failed.causes.iter().map(f)))
        };
        let mut fields = failed.keys.schema().fields().to_vec();
        let mut columns = failed.keys.columns().to_vec();
        for (name, column) in [
            ("sqlstate", text(|c| &c.sqlstate)),
            ("message", text(|c| &c.message)),
            ("expression", text(|c| &c.expression)),
        ] {
            fields.push(Arc::new(Field::new(name, DataType::Utf8, false)));
            columns.push(column);
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("one cause per failed key");
        Packet::Failed(rows)
    }

    pub fn rows(&self) -> usize {
        match self {
            Packet::Empty => 0,
            Packet::Rows(delta) | Packet::Errors(delta) => delta.len(),
            Packet::Upserts(rows) | Packet::Deletes(rows) | Packet::Failed(rows) => rows.num_rows(),
            Packet::Partial(partial) => partial.rows.num_rows(),
            Packet::Truncate => 1,
            Packet::Spilled(spilled, _) => spilled.rows(),
        }
    }

    pub fn columns(&self) -> usize {
        self.batch().map_or(0, RecordBatch::num_columns)
    }

    /// Size of its values in memory, also where it shares their buffers with other packets.
    pub fn bytes(&self) -> usize {
        self.batch().map_or(0, size)
    }

    fn batch(&self) -> Option<&RecordBatch> {
        match self {
            Packet::Empty | Packet::Truncate | Packet::Spilled(..) => None,
            Packet::Rows(delta) | Packet::Errors(delta) => Some(delta.rows()),
            Packet::Upserts(rows) | Packet::Deletes(rows) | Packet::Failed(rows) => Some(rows),
            Packet::Partial(partial) => Some(&partial.rows),
        }
    }

    /// The rows at `indices`.
    pub fn take(&self, indices: Vec<u32>) -> Result<Self> {
        if let Packet::Rows(delta) = self {
            return Ok(Packet::Rows(delta.take(&indices)?));
        }
        if let Packet::Errors(delta) = self {
            return Ok(Packet::Errors(delta.take(&indices)?));
        }
        let indices = UInt32Array::from(indices);
        Ok(match self {
            Packet::Upserts(rows) => Packet::Upserts(take_record_batch(rows, &indices)?),
            Packet::Deletes(rows) => Packet::Deletes(take_record_batch(rows, &indices)?),
            Packet::Failed(rows) => Packet::Failed(take_record_batch(rows, &indices)?),
            Packet::Partial(partial) => {
                let pick = |bits: &arrow::buffer::BooleanBuffer| {
                    indices.values().iter().map(|&i| bits.value(i as usize)).collect()
                };
                Packet::Partial(Partial {
                    rows: take_record_batch(&partial.rows, &indices)?,
                    unknown: partial.unknown.iter().map(|u| u.as_ref().map(pick)).collect(),
                    origins: take_record_batch(&partial.origins, &indices)?,
                })
            }
            Packet::Empty | Packet::Truncate | Packet::Spilled(..) | Packet::Rows(_) | Packet::Errors(_) => {
                self.clone()
            }
        })
    }

    /// The widest of its rows, or of all of them where they are few: bytes.
    pub fn widest_row(&self) -> usize {
        self.batch().map_or(0, widest_row)
    }

    /// What feeds a keyed table, in packets of no more than `most`.
    pub fn pieces(self, most: Most) -> Vec<Packet> {
        let rows = self.rows();
        let is_wide = rows > 1 && self.bytes() > most.bytes;
        let limit = if is_wide { most.rows.min(rows_within(most.bytes, self.widest_row())) } else { most.rows };
        if rows <= limit {
            return vec![self];
        }
        let piece = |from: usize| {
            let len = limit.min(rows - from);
            match &self {
                Packet::Rows(delta) => Packet::Rows(delta.slice(from, len)),
                Packet::Errors(delta) => Packet::Errors(delta.slice(from, len)),
                Packet::Upserts(rows) => Packet::Upserts(rows.slice(from, len)),
                Packet::Deletes(rows) => Packet::Deletes(rows.slice(from, len)),
                Packet::Failed(rows) => Packet::Failed(rows.slice(from, len)),
                Packet::Partial(partial) => Packet::Partial(Partial {
                    rows: partial.rows.slice(from, len),
                    unknown: partial
                        .unknown
                        .iter()
                        .map(|bits| bits.as_ref().map(|bits| bits.slice(from, len)))
                        .collect(),
                    origins: partial.origins.slice(from, len),
                }),
                Packet::Empty | Packet::Truncate => unreachable!("more than one row"),
                Packet::Spilled(..) => unreachable!("rows in a file are read before they are cut"),
            }
        };
        (0..rows).step_by(limit).map(piece).collect()
    }

    /// A tag and record batches that say everything, for the wire.
    fn parts(&self) -> (u8, Vec<RecordBatch>) {
        let weights = |delta: &Delta| {
            let column: ArrayRef = Arc::new(Int64Array::new(delta.weights().clone(), None));
            RecordBatch::try_from_iter([("weight", column)]).expect("one column")
        };
        match self {
            Packet::Empty => (0, vec![]),
            Packet::Rows(delta) => (1, vec![delta.rows().clone(), weights(delta)]),
            Packet::Errors(delta) => (2, vec![delta.rows().clone(), weights(delta)]),
            Packet::Upserts(rows) => (3, vec![rows.clone()]),
            Packet::Deletes(rows) => (4, vec![rows.clone()]),
            Packet::Failed(rows) => (5, vec![rows.clone()]),
            Packet::Partial(partial) => {
                let none = || arrow::buffer::BooleanBuffer::new_unset(partial.rows.num_rows());
                let masks = partial.unknown.iter().enumerate().map(|(i, mask)| {
                    let column: ArrayRef = Arc::new(BooleanArray::new(mask.clone().unwrap_or_else(none), None));
                    (i.to_string(), column)
                });
                let masks = RecordBatch::try_from_iter(masks).expect("one mask per column");
                (6, vec![partial.rows.clone(), masks, partial.origins.clone()])
            }
            Packet::Truncate => (7, vec![]),
            Packet::Spilled(..) => unreachable!("rows in a file are not sent to another process"),
        }
    }

    fn from_parts(tag: u8, parts: Vec<RecordBatch>) -> Self {
        let delta = |parts: &[RecordBatch]| {
            let weights = parts[1].column(0).as_any().downcast_ref::<Int64Array>().expect("weights are int64");
            Delta::new(parts[0].clone(), weights.values().clone())
        };
        match tag {
            1 => Packet::Rows(delta(&parts)),
            2 => Packet::Errors(delta(&parts)),
            3 => Packet::Upserts(parts[0].clone()),
            4 => Packet::Deletes(parts[0].clone()),
            5 => Packet::Failed(parts[0].clone()),
            6 => {
                let mask = |column: &ArrayRef| {
                    let bits =
                        column.as_any().downcast_ref::<BooleanArray>().expect("masks are booleans").values().clone();
                    (bits.count_set_bits() > 0).then_some(bits)
                };
                let unknown = parts[1].columns().iter().map(mask).collect();
                Packet::Partial(Partial { rows: parts[0].clone(), unknown, origins: parts[2].clone() })
            }
            7 => Packet::Truncate,
            _ => Packet::Empty,
        }
    }

    /// Tag, then each batch as (length, Arrow IPC stream).
    fn encode(&self) -> Vec<u8> {
        let (tag, parts) = self.parts();
        let mut bytes = vec![tag, parts.len() as u8];
        for part in parts {
            let mut stream = vec![];
            let mut writer = StreamWriter::try_new(&mut stream, &part.schema()).expect("a batch has a schema");
            writer.write(&part).and_then(|()| writer.finish()).expect("writing to memory");
            drop(writer);
            bytes.extend((stream.len() as u64).to_le_bytes());
            bytes.extend(stream);
        }
        bytes
    }
}

impl Accountable for Packet {
    fn record_count(&self) -> i64 {
        self.rows() as i64
    }
}

/// Between processes. Inside one, timely moves packets as they are.
impl ContainerBytes for Packet {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
        let (tag, count) = (bytes[8], bytes[9]);
        let mut at = 10;
        let parts = (0..count).map(|_| {
            let length = word(at);
            let mut reader =
                StreamReader::try_new(Cursor::new(&bytes[at + 8..at + 8 + length]), None).expect("our own bytes");
            at += 8 + length;
            reader.next().expect("one batch").expect("our own bytes")
        });
        let parts = parts.collect();
        Self::from_parts(tag, parts)
    }

    fn length_in_bytes(&self) -> usize {
        8 + self.encode().len().next_multiple_of(8)
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        let bytes = self.encode();
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        let mut write = |b: &[u8]| writer.write_all(b).expect("timely gives room for length_in_bytes");
        write(&(bytes.len() as u64).to_le_bytes());
        write(&bytes);
        write(&[0u8; 8][..padding]);
    }
}
