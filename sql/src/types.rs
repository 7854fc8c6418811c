//! Postgres types and the Arrow shapes that hold them. On disk: a change here is a change of the run format.
//!
//! | type | Arrow |
//! |---|---|
//! | bool, int2/4/8, float4/8 | Boolean, Int16/32/64, Float32/64 |
//! | numeric(p,s), p <= 38 / <= 76 | Decimal128(p,s) / Decimal256(p,s) |
//! | numeric | FixedSizeBinary(21): see [`crate::numeric`]; the width itself says "numeric" |
//! | text, varchar, char(n) | Utf8 (varchar and char with field metadata); char(n) without the blanks it is shown with |
//! | uuid, json, jsonb | Utf8 with metadata `weir.type`; uuid in canonical lower case, jsonb as Postgres prints it |
//! | bytea | Binary |
//! | date | Date32; infinity = i32::MAX, -infinity = i32::MIN |
//! | time | Time64(us) |
//! | timestamp, timestamptz | Timestamp(us), Timestamp(us, "UTC"); infinity = i64::MAX, -infinity = i64::MIN |
//! | interval | Interval(MonthDayNano) |
//! | T[] | List(T), element nullable; one dimension, lower bound 1 |
//!
//! Enums are text, domains their base type.

use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Field metadata key that tells apart types of one Arrow shape.
pub const TYPE_KEY: &str = "weir.type";
/// Bytes of an unconstrained numeric.
pub const NUMERIC_WIDTH: i32 = 21;

/// Whether `kind` is an unconstrained numeric.
pub fn is_numeric(kind: &DataType) -> bool {
    *kind == DataType::FixedSizeBinary(NUMERIC_WIDTH)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Precision and scale, or neither.
    Numeric(Option<(u8, i8)>),
    Text,
    Varchar(Option<u32>),
    /// char(n), held without blanks at its end. 0 is bpchar without a length: what the values of several lengths are together,
    /// held with the blanks they are shown with.
    Char(u32),
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Array(Box<Type>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub kind: Type,
    pub nullable: bool,
}

impl Column {
    pub fn field(&self) -> Field {
        self.kind.field(&self.name, self.nullable)
    }
}

impl Type {
    pub fn arrow(&self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::Int2 => DataType::Int16,
            Type::Int4 => DataType::Int32,
            Type::Int8 => DataType::Int64,
            Type::Float4 => DataType::Float32,
            Type::Float8 => DataType::Float64,
            Type::Numeric(None) => DataType::FixedSizeBinary(NUMERIC_WIDTH),
            Type::Numeric(Some((precision, scale))) if *precision <= 38 => DataType::Decimal128(*precision, *scale),
            Type::Numeric(Some((precision, scale))) => DataType::Decimal256(*precision, *scale),
            Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Uuid | Type::Json | Type::Jsonb => DataType::Utf8,
            Type::Bytea => DataType::Binary,
            Type::Date => DataType::Date32,
            Type::Time => DataType::Time64(TimeUnit::Microsecond),
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Type::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Type::Array(element) => DataType::List(Arc::new(element.field("item", true))),
        }
    }

    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow(), nullable);
        let tag = match self {
            Type::Varchar(None) => "varchar".to_string(),
            Type::Varchar(Some(n)) => format!("varchar({n})"),
            Type::Char(n) => format!("char({n})"),
            Type::Uuid => "uuid".into(),
            Type::Json => "json".into(),
            Type::Jsonb => "jsonb".into(),
            _ => return field,
        };
        field.with_metadata(HashMap::from([(TYPE_KEY.to_string(), tag)]))
    }

    pub fn is_text(&self) -> bool {
        matches!(self, Type::Text | Type::Varchar(_) | Type::Char(_))
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 | Type::Numeric(_))
    }

    /// Without length, precision and scale: what a literal or a parameter is read as that meets this type.
    pub fn loose(&self) -> Self {
        match self {
            Type::Numeric(_) => Type::Numeric(None),
            Type::Varchar(_) => Type::Varchar(None),
            Type::Char(_) => Type::Char(0),
            Type::Array(element) => Type::Array(Box::new(element.loose())),
            other => other.clone(),
        }
    }

    /// As a cast to it is written: `character` without a length would be of one letter.
    pub fn written(&self) -> String {
        match self {
            Type::Char(0) => "bpchar".into(),
            Type::Array(element) => format!("{}[]", element.written()),
            other => other.to_string(),
        }
    }

    /// The type a field of DataFusion's or ours holds; `Error` 0A000 names what we have no type for.
    pub fn of(field: &Field) -> Result<Self> {
        if let Some(tag) = field.metadata().get(TYPE_KEY) {
            let length =
                |prefix: &str| tag.strip_prefix(prefix).and_then(|t| t.strip_suffix(')')).and_then(|n| n.parse().ok());
            match tag.as_str() {
                "varchar" => return Ok(Type::Varchar(None)),
                "uuid" => return Ok(Type::Uuid),
                "json" => return Ok(Type::Json),
                "jsonb" => return Ok(Type::Jsonb),
                _ => {}
            }
            if let Some(n) = length("varchar(") {
                return Ok(Type::Varchar(Some(n)));
            }
            if let Some(n) = length("char(") {
                return Ok(Type::Char(n));
            }
        }
        Ok(match field.data_type() {
            DataType::Boolean => Type::Bool,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::Int2,
            DataType::UInt16 | DataType::Int32 => Type::Int4,
            // DataFusion counts in UInt64, never beyond an Int64.
            DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Type::Int8,
            DataType::Float16 | DataType::Float32 => Type::Float4,
            DataType::Float64 => Type::Float8,
            DataType::FixedSizeBinary(NUMERIC_WIDTH) => Type::Numeric(None),
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => Type::Numeric(Some((*p, *s))),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Type::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::Bytea,
            DataType::Date32 | DataType::Date64 => Type::Date,
            DataType::Time32(_) | DataType::Time64(_) => Type::Time,
            DataType::Timestamp(_, None) => Type::Timestamp,
            DataType::Timestamp(_, Some(_)) => Type::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => Type::Interval,
            DataType::List(f) | DataType::LargeList(f) | DataType::ListView(f) | DataType::FixedSizeList(f, _) => {
                Type::Array(Box::new(Type::of(f)?))
            }
            DataType::Dictionary(_, value) => return Type::of(&Field::new(field.name(), value.as_ref().clone(), true)),
            other => return Err(Error::unsupported(format!("type {other} of column \"{}\"", field.name()))),
        })
    }
}

/// As Postgres prints it: `character varying(10)`, `numeric(10,2)`, `integer[]`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("boolean"),
            Type::Int2 => f.write_str("smallint"),
            Type::Int4 => f.write_str("integer"),
            Type::Int8 => f.write_str("bigint"),
            Type::Float4 => f.write_str("real"),
            Type::Float8 => f.write_str("double precision"),
            Type::Numeric(None) => f.write_str("numeric"),
            Type::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            Type::Text => f.write_str("text"),
            Type::Varchar(None) => f.write_str("character varying"),
            Type::Varchar(Some(n)) => write!(f, "character varying({n})"),
            Type::Char(0) => f.write_str("character"),
            Type::Char(n) => write!(f, "character({n})"),
            Type::Bytea => f.write_str("bytea"),
            Type::Date => f.write_str("date"),
            Type::Time => f.write_str("time without time zone"),
            Type::Timestamp => f.write_str("timestamp without time zone"),
            Type::Timestamptz => f.write_str("timestamp with time zone"),
            Type::Interval => f.write_str("interval"),
            Type::Uuid => f.write_str("uuid"),
            Type::Json => f.write_str("json"),
            Type::Jsonb => f.write_str("jsonb"),
            Type::Array(element) => write!(f, "{element}[]"),
        }
    }
}
