//! A base table: turns folded upserts into exact changes (ARCHITECTURE.md, *Sources*), as pure functions over its arrangements.

use super::errors;
use super::packet::Packet;
use super::placement::ERROR_KEY;
use crate::connector::{Partial, RowError};
use arrow::array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, UInt32Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::take;
use std::sync::Arc;
use weir_sql::{Error, Result};
use weir_storage::arrangement::{Arrangement, Snapshot};
use weir_storage::delta::rows_within;
use weir_storage::key::Keys;
use weir_storage::{Delta, Epoch};

/// One worker's part of a base table.
pub struct Table {
    pub rows: Arrangement,
    pub errors: Arrangement,
    /// `None`: a bag.
    pub key: Option<Vec<usize>>,
}

/// What is known of the rows that are stored.
#[derive(Clone, Copy)]
struct Stored {
    /// There are none from before the epoch.
    is_cleared: bool,
    /// Bytes of them that are put together, at most.
    most: usize,
}

/// What some packets changed.
#[derive(Default)]
pub struct Applied {
    pub rows: Vec<Delta>,
    pub errors: Vec<Delta>,
}

impl Table {
    /// Applies some packets of `epoch`, which have all that the epoch says of their keys, and says what changed. After an `Err` the table
    /// is broken. `is_cleared`: nothing is stored from before the epoch. Batches of more than `most` bytes are not put together.
    pub fn apply(&self, epoch: Epoch, packets: Vec<Packet>, is_cleared: bool, most: usize) -> Result<Applied> {
        let mut applied = Applied::default();
        let stored = Stored { is_cleared, most };
        for packet in packets {
            match packet {
                Packet::Upserts(rows) => self.upsert(rows, stored, &mut applied)?,
                Packet::Deletes(keys) => self.delete(keys, stored, &mut applied)?,
                Packet::Failed(rows) => self.fail(rows, stored, &mut applied)?,
                Packet::Rows(delta) => applied.rows.push(delta),
                Packet::Errors(delta) => applied.errors.push(delta),
                Packet::Partial(_) => return Err(Error::internal("a partial row came unfilled")),
                Packet::Spilled(..) => return Err(Error::internal("rows in a file came unread")),
                Packet::Truncate => self.clear(&mut applied)?,
                Packet::Empty => {}
            }
        }
        self.store(epoch, &applied, most)?;
        Ok(applied)
    }

    /// All deltas at once, or all retractions before all insertions: a key has at most one of each in them.
    fn store(&self, epoch: Epoch, applied: &Applied, most: usize) -> Result<()> {
        for (arrangement, deltas) in [(&self.rows, &applied.rows), (&self.errors, &applied.errors)] {
            if deltas.is_empty() {
                continue;
            }
            if deltas.len() == 1 || deltas.iter().map(Delta::bytes).sum::<usize>() <= most {
                let whole = Delta::concat(&arrangement.spec().schema, deltas).map_err(super::internal)?;
                arrangement.apply(epoch, &whole).map_err(super::internal)?;
                continue;
            }
            let is_out: fn(i64) -> bool = |weight| weight < 0;
            for side in [is_out, |weight| weight >= 0] {
                for delta in deltas {
                    let rows = (0..delta.len() as u32).filter(|&row| side(delta.weights()[row as usize]));
                    let rows: Vec<u32> = rows.collect();
                    let part = match rows.len() {
                        0 => continue,
                        all if all == delta.len() => delta.clone(),
                        _ => delta.take(&rows).map_err(super::internal)?,
                    };
                    arrangement.apply(epoch, &part).map_err(super::internal)?;
                }
            }
        }
        Ok(())
    }

    fn clear(&self, applied: &mut Applied) -> Result<()> {
        for (arrangement, deltas) in [(&self.rows, &mut applied.rows), (&self.errors, &mut applied.errors)] {
            for delta in arrangement.latest().scan(None) {
                let delta = delta.map_err(super::internal)?;
                deltas.push(delta.negate());
            }
        }
        Ok(())
    }

    fn upsert(&self, rows: RecordBatch, stored: Stored, applied: &mut Applied) -> Result<()> {
        let key = self.keyed()?;
        let keys = Keys::of(&rows, key).map_err(super::internal)?;
        self.retract(&keys, stored, applied)?;
        applied.rows.push(Delta::uniform(rows, 1));
        Ok(())
    }

    fn delete(&self, rows: RecordBatch, stored: Stored, applied: &mut Applied) -> Result<()> {
        let columns: Vec<usize> = (0..rows.num_columns()).collect();
        let keys = Keys::of(&rows, &columns).map_err(super::internal)?;
        let found = self.retract(&keys, stored, applied)?;
        let missing: Vec<u32> = (0..keys.len() as u32).filter(|&row| !found[row as usize]).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let cause = RowError {
            sqlstate: "XX001".into(),
            message: "a row was deleted upstream that this table does not hold".into(),
            expression: "primary key".into(),
        };
        applied.errors.push(failures(&keys, &missing, &|_| cause.clone())?);
        Ok(())
    }

    fn fail(&self, rows: RecordBatch, stored: Stored, applied: &mut Applied) -> Result<()> {
        let width = rows.num_columns() - 3;
        let columns: Vec<usize> = (0..width).collect();
        let keys = Keys::of(&rows, &columns).map_err(super::internal)?;
        self.retract(&keys, stored, applied)?;
        let text = |column: usize, row: u32| {
            let column: &StringArray = rows.column(width + column).as_any().downcast_ref().expect("a cause is text");
            column.value(row as usize).to_string()
        };
        let all: Vec<u32> = (0..keys.len() as u32).collect();
        let cause = |row| RowError { sqlstate: text(0, row), message: text(1, row), expression: text(2, row) };
        applied.errors.push(failures(&keys, &all, &cause)?);
        Ok(())
    }

    /// Takes back rows and errors stored under `keys`; says which keys were found.
    fn retract(&self, keys: &Keys, Stored { is_cleared, most }: Stored, applied: &mut Applied) -> Result<Vec<bool>> {
        let mut found = vec![false; keys.len()];
        if is_cleared {
            return Ok(vec![true; keys.len()]);
        }
        let mut taken = |arrangement: &Arrangement, keys: &Keys, deltas: &mut Vec<Delta>| -> Result<()> {
            let latest = arrangement.latest();
            let (matches, _) = latest.probe(keys, 0, usize::MAX);
            matches.probes.iter().for_each(|&probe| found[probe as usize] = true);
            let piece = rows_within(most, arrangement.widest());
            for from in (0..matches.len()).step_by(piece) {
                let len = piece.min(matches.len() - from);
                let piece = if len == matches.len() { &matches } else { &matches.slice(from, len) };
                let rows = latest.gather(piece, None).map_err(super::internal)?;
                deltas.push(Delta::new(rows, piece.weights.iter().map(|w| -w).collect::<Vec<_>>()));
            }
            Ok(())
        };
        taken(&self.rows, keys, &mut applied.rows)?;
        if self.errors.rows() > 0 {
            taken(&self.errors, &error_keys(keys)?, &mut applied.errors)?;
        }
        Ok(found)
    }

    fn keyed(&self) -> Result<&[usize]> {
        self.key.as_deref().ok_or_else(|| Error::internal("upserts need a table with a key"))
    }
}

/// Fills the unknown columns of `partial` from the rows stored under their origins in `stored`; complete rows and failures.
pub fn fill(partial: &Partial, key: &[usize], stored: &Snapshot) -> Result<Vec<Packet>> {
    let columns: Vec<usize> = (0..partial.origins.num_columns()).collect();
    let origins = Keys::of(&partial.origins, &columns).map_err(super::internal)?;
    let (matches, _) = stored.probe(&origins, 0, usize::MAX);
    let old = stored.gather(&matches, None).map_err(super::internal)?;
    let mut place: Vec<Option<u32>> = vec![None; origins.len()];
    for (at, &probe) in matches.probes.iter().enumerate() {
        place[probe as usize] = Some(at as u32);
    }
    let place = UInt32Array::from(place);
    let mut filled = vec![];
    for (index, column) in partial.rows.columns().iter().enumerate() {
        filled.push(match &partial.unknown[index] {
            None => column.clone(),
            Some(unknown) => {
                let old = take(old.column(index), &place, None).map_err(|e| Error::internal(e.to_string()))?;
                let mask = BooleanArray::new(unknown.clone(), None);
                zip(&mask, &old, column).map_err(|e| Error::internal(e.to_string()))?
            }
        });
    }
    let rows = RecordBatch::try_new(partial.rows.schema(), filled).map_err(|e| Error::internal(e.to_string()))?;
    let (known, lost): (Vec<u32>, Vec<u32>) = (0..place.len() as u32).partition(|&row| place.is_valid(row as usize));
    if lost.is_empty() {
        return Ok(vec![Packet::Upserts(rows)]);
    }
    let keys = rows.project(key).map_err(|e| Error::internal(e.to_string()))?;
    let cause = RowError {
        sqlstate: "XX001".into(),
        message: "an unchanged value was not sent, and the row that holds it is not stored".into(),
        expression: "unchanged TOAST value".into(),
    };
    let keys = arrow::compute::take_record_batch(&keys, &UInt32Array::from(lost.clone()))
        .map_err(|e| Error::internal(e.to_string()))?;
    let failed = crate::connector::FailedRows { keys, causes: vec![cause; lost.len()] };
    Ok(vec![Packet::Upserts(rows).take(known).map_err(super::internal)?, Packet::failed(&failed)])
}

/// Error rows for some of `keys`.
fn failures(keys: &Keys, rows: &[u32], cause: &dyn Fn(u32) -> RowError) -> Result<Delta> {
    let causes: Vec<RowError> = rows.iter().map(|&row| cause(row)).collect();
    let keys: Vec<[u8; 16]> = rows.iter().map(|&r| error_key(keys.hash(r as usize), keys.get(r as usize))).collect();
    Ok(Delta::uniform(error_rows(&causes.iter().collect::<Vec<_>>(), keys.iter()), 1))
}

/// Rows of a table without a key that cannot be held.
pub fn bag_failures(failed: &[(RowError, i64)]) -> Option<Delta> {
    if failed.is_empty() {
        return None;
    }
    let bytes = |cause: &RowError| format!("{} {} {}", cause.sqlstate, cause.expression, cause.message).into_bytes();
    let causes: Vec<&RowError> = failed.iter().map(|(cause, _)| cause).collect();
    let keys: Vec<[u8; 16]> =
        causes.iter().map(|c| error_key(xxhash_rust::xxh3::xxh3_64(&bytes(c)), &bytes(c))).collect();
    let batch = error_rows(&causes, keys.iter());
    Some(Delta::new(batch, failed.iter().map(|(_, weight)| *weight).collect::<Vec<_>>()))
}

fn error_rows<'a>(causes: &[&RowError], keys: impl Iterator<Item = &'a [u8; 16]>) -> RecordBatch {
    let text =
        |f: fn(&RowError) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(causes.iter().map(|c| f(c)))) };
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(causes.len(), 16);
    keys.for_each(|key| hashes.append_value(key).expect("sixteen bytes"));
    let operator: ArrayRef = Arc::new(StringArray::from_iter_values(causes.iter().map(|_| "table")));
    let hashes: ArrayRef = Arc::new(hashes.finish());
    let columns = vec![operator, text(|c| &c.expression), text(|c| &c.sqlstate), text(|c| &c.message), hashes];
    RecordBatch::try_new(errors::SCHEMA.clone(), columns).expect("columns of the error schema")
}

/// The error key of a row's key: its first eight bytes are the key's hash, which decides the worker.
fn error_key(hash: u64, key: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..].copy_from_slice(&(xxhash_rust::xxh3::xxh3_64_with_seed(key, 1)).to_le_bytes());
    bytes
}

fn error_keys(keys: &Keys) -> Result<Keys> {
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(keys.len(), 16);
    for row in 0..keys.len() {
        hashes.append_value(error_key(keys.hash(row), keys.get(row))).expect("sixteen bytes");
    }
    let field = errors::SCHEMA.fields()[ERROR_KEY].clone();
    let column: ArrayRef = Arc::new(hashes.finish());
    Keys::encode(&[field], &[column]).map_err(super::internal)
}
