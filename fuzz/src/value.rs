//! Texts of Postgres' values, and lines of its COPY.
//!
//! The first byte says which type; beyond the types, the rest is a line with a value of each.

use crate::Target;
use crate::memory::Bound;
use arrow::array::Array;
use std::iter::empty;
use std::sync::Arc;
use weir::connector::Subscription;
use weir::connector::postgres::log::Log;
use weir::connector::postgres::rows::Line;
use weir::connector::postgres::table_schema::TableSchema;
use weir::connector::postgres::value::Builder;
use weir::connector::segment::Op;
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_storage::Limits;

/// Builders of all types begin with room for a thousand values.
pub const TARGET: Target = Target { name: "value", bound: Bound { constant: 2 << 20, factor: 128 }, seeds, run };

fn kinds() -> Vec<Type> {
    let array = |element: Type| Type::Array(Box::new(element));
    vec![
        Type::Bool,
        Type::Int2,
        Type::Int4,
        Type::Int8,
        Type::Float4,
        Type::Float8,
        Type::Numeric(None),
        Type::Numeric(Some((10, 2))),
        Type::Numeric(Some((38, 38))),
        Type::Numeric(Some((76, 30))),
        Type::Text,
        Type::Varchar(Some(3)),
        Type::Char(3),
        Type::Bytea,
        Type::Date,
        Type::Time,
        Type::Timestamp,
        Type::Timestamptz,
        Type::Interval,
        Type::Uuid,
        Type::Json,
        Type::Jsonb,
        array(Type::Int4),
        array(Type::Text),
        array(Type::Numeric(None)),
        array(Type::Bytea),
        array(Type::Timestamptz),
        array(Type::Bool),
    ]
}

fn run(bytes: &[u8]) {
    let Some((&which, text)) = bytes.split_first() else { return };
    match kinds().get(usize::from(which)) {
        Some(kind) => column(kind, text),
        None => line(text),
    }
}

/// A value between two others.
fn column(kind: &Type, text: &[u8]) {
    let mut builder = Builder::new(kind);
    builder.append_null();
    let mut held = 2;
    for _ in 0..2 {
        held += usize::from(builder.append(text).is_ok());
    }
    builder.append_null();
    let column = builder.finish();
    assert_eq!((column.len(), column.data_type()), (held, &kind.arrow()), "{kind}");
    column.to_data().validate_full().expect("a sound column");
    assert_eq!(builder.finish().len(), 0, "{kind}");
}

fn line(text: &[u8]) {
    let columns = kinds().into_iter().enumerate();
    let columns = columns.map(|(i, kind)| Column { name: format!("c{i}"), kind, nullable: i != 2 }).collect();
    let table = Subscription {
        table: RelationId(1),
        schema: "public".into(),
        name: "t".into(),
        identity: 1,
        columns,
        key: Some(vec![2]),
        copied: false,
        details: serde_json::Value::Null,
    };
    let table_schema = Arc::new(TableSchema::new(&table));
    let mut log = Log::new(table_schema.clone(), Limits::default());
    let mut reader = Line::default();
    let mut rows = 0;
    for line in text.split_inclusive(|&c| c == b'\n') {
        if !reader.read(line) || reader.values(line).len() != table_schema.kinds.len() {
            continue;
        }
        let values = reader.values(line).enumerate().map(|(column, value)| (column as u16, value));
        if log.push(Op::Insert, empty(), values).is_err() {
            break;
        }
        rows += 1;
    }
    log.commit();
    let taken = log.take().into_iter().map(|stored| stored.read().expect("it is in memory").rows.num_rows());
    assert_eq!(taken.sum::<usize>(), rows);
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "t",
        "-32768",
        "2147483647",
        "-9223372036854775808",
        "1.5e-3",
        "-Infinity",
        "123456789.000001",
        "-12.30",
        "0.00000000000000000000000000000000000001",
        "1234567890123456789012345678901234567890.5",
        "text",
        "abc",
        "a  ",
        "\\x00ff",
        "0044-03-15 BC",
        "23:59:59.999999",
        "2024-02-29 12:00:00.5",
        "1999-12-31 23:59:59.25-05:30:15",
        "P-1Y-2M3DT-4H-5M-6.789S",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "{\"a\": [1, null]}",
        "[]",
        "{1,NULL,3}",
        "{a,\"b,c\",\"NULL\",NULL,\"q\\\"\\\\\"}",
        "{1.5,NaN,-Infinity}",
        "{\"\\\\x00\",\"\\\\xff\"}",
        "{\"infinity\",\"2024-01-01 00:00:00+00\"}",
        "{t,f}",
    ];
    let mut seeds: Vec<Vec<u8>> =
        texts.iter().enumerate().map(|(which, text)| [&[which as u8], text.as_bytes()].concat()).collect();
    // The types that have more texts than one worth a seed.
    for (which, text) in [(6, "NaN"), (6, "-0.00"), (14, "infinity"), (17, "0001-01-01 00:00:00+00 BC"), (18, "PT0S")] {
        seeds.push([&[which], text.as_bytes()].concat());
    }
    let escaped: Vec<_> = texts.iter().map(|text| text.replace('\\', "\\\\")).collect();
    let nulls: Vec<_> = (0..texts.len()).map(|i| if i == 2 { "7" } else { "\\N" }).collect();
    let lines = format!("{}\n{}\n", escaped.join("\t"), nulls.join("\t"));
    seeds.push([&[255], lines.as_bytes()].concat());
    seeds
}
