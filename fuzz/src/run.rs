//! Runs: footer and blocks.
//!
//! The first byte chooses the schema, the rest is the run. Checksums are made right here, so that they do not hide what they guard.

use crate::Target;
use crate::memory::Bound;
use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use std::sync::Arc;
use weir_sql::types::{Column, Type};
use weir_storage::arrangement::{Kind, Spec};
use weir_storage::run::{Reader, Run, Writer};
use weir_storage::{Delta, Epoch, Limits};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// LZ4 makes at most 255 bytes of one, in a vector that doubles. Its decoder may take buffers of megabytes for any frame.
pub const TARGET: Target = Target { name: "run", bound: Bound { constant: 32 << 20, factor: 1024 }, seeds, run };

const HEADER: usize = 8;
const TRAILER: usize = 12;

fn run(bytes: &[u8]) {
    let Some((&which, run)) = bytes.split_first() else { return };
    let schema = schema(which);
    let mut run = run.to_vec();
    read(&run, &schema, 0);
    if let Some(rows) = seal(&mut run) {
        read(&run, &schema, rows);
    }
}

fn read(run: &[u8], schema: &SchemaRef, rows: u64) {
    let named = Run {
        object: "data/1-x.runs".into(),
        offset: 0,
        length: run.len() as u64,
        after: Epoch::ZERO,
        to: Epoch::from_u64(9),
        rows,
        vnodes: (0, 255),
    };
    let Ok(reader) = Reader::open(&named, schema, Bytes::copy_from_slice(run)) else { return };
    reader.vnodes();
    let parts = reader.parts(Kind::Bag, 1, 1).into_iter().map(|part| reader.entries(part));
    let Ok(parts) = parts.collect::<Result<Vec<_>, _>>() else { return };
    let entries: Vec<_> = parts.into_iter().flatten().collect();
    let read: usize = entries.iter().map(|entry| entry.delta.len()).sum();
    assert_eq!(read as u64, rows, "rows read, and rows announced");
    for entry in entries {
        for column in entry.delta.rows().columns() {
            column.to_data().validate_full().expect("a sound column");
        }
    }
}

/// Makes the checksums right as far as the footer can be walked through; the rows it announces.
fn seal(run: &mut [u8]) -> Option<u64> {
    let end = run.len().checked_sub(TRAILER).filter(|end| *end >= HEADER)?;
    run[..HEADER].copy_from_slice(b"WEIRRUN\x01");
    let length = u32::from_le_bytes(run[end..end + 4].try_into().ok()?) as usize;
    let start = end.checked_sub(length).filter(|start| *start >= HEADER)?;
    let rows = blocks(run, start, end).unwrap_or(0);
    let mut hash = Xxh3::new();
    hash.update(&run[..HEADER]);
    hash.update(&run[start..end]);
    run[end + 4..].copy_from_slice(&hash.digest().to_le_bytes());
    Some(rows)
}

fn blocks(run: &mut [u8], start: usize, end: usize) -> Option<u64> {
    let int = |run: &[u8], at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(run.get(at..at + 4).filter(|_| at + 4 <= end)?.try_into().ok()?) as usize)
    };
    let mut at = start.checked_add(4 + int(run, start)?)?;
    let count = int(run, at)?;
    at += 4;
    let mut rows = 0u64;
    for _ in 0..count {
        let offset = usize::try_from(u64::from_le_bytes(run.get(at..at + 8)?.try_into().ok()?)).ok()?;
        let block = offset.checked_add(int(run, at + 8)?)?;
        if let Some(bytes) = run.get(offset..block) {
            let checksum = xxh3_64(bytes);
            run.get_mut(at + 16..at + 24)?.copy_from_slice(&checksum.to_le_bytes());
        }
        at += 40;
        let vnodes = u16::from_le_bytes(run.get(at..at + 2)?.try_into().ok()?);
        at += 2;
        for _ in 0..vnodes {
            rows = rows.checked_add(int(run, at + 2)? as u64)?;
            at += 6;
        }
        for _ in 0..2 {
            at += 1 + usize::from(*run.get(at)?);
        }
    }
    Some(rows)
}

/// Few columns, or all types.
fn schema(which: u8) -> SchemaRef {
    let kinds = match which % 2 {
        0 => vec![Type::Int8, Type::Text],
        _ => vec![
            Type::Bool,
            Type::Int2,
            Type::Float8,
            Type::Numeric(None),
            Type::Numeric(Some((38, 2))),
            Type::Numeric(Some((76, 2))),
            Type::Text,
            Type::Bytea,
            Type::Date,
            Type::Time,
            Type::Timestamptz,
            Type::Interval,
            Type::Array(Box::new(Type::Text)),
            Type::Array(Box::new(Type::Numeric(None))),
        ],
    };
    let field = |(i, kind)| Column { name: format!("c{i}"), kind, nullable: true }.field();
    Arc::new(Schema::new(kinds.into_iter().enumerate().map(field).collect::<Vec<_>>()))
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[0], &include_bytes!("../../storage/src/run/golden.runs")[..]].concat()];
    for which in [0, 1] {
        for rows in [1, 3, 60] {
            let schema = schema(which);
            let columns = schema.fields().iter().map(|field| column(field.data_type(), rows)).collect();
            let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema");
            let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
            let deltas = [Delta::uniform(batch, 1)];
            let spec = Spec { kind: Kind::Bag, schema, key: vec![0] };
            writer.add(&spec, Epoch::ZERO, Epoch::from_u64(9), &deltas).expect("a run");
            seeds.push([&[which], &writer.finish().1[..]].concat());
        }
    }
    seeds
}

/// Numbers where the type has them, else nulls.
fn column(kind: &DataType, rows: usize) -> arrow::array::ArrayRef {
    use arrow::array::{Int64Array, StringArray};
    match kind {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        DataType::Utf8 => Arc::new(StringArray::from_iter((0..rows).map(|i| (i % 3 > 0).then(|| format!("row {i}"))))),
        other => new_null_array(other, rows),
    }
}
