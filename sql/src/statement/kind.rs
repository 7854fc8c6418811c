//! Column types, as Postgres names them, to [`Type`].

use super::reader::Reader;
use crate::error::{Error, Result};
use crate::types::Type;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

/// Digits a decimal column can hold (Arrow's Decimal256).
const MAX_PRECISION: u64 = 76;
/// Postgres' limit of `varchar(n)` and `char(n)`.
const MAX_LENGTH: u64 = 10_485_760;

pub fn read(r: &mut Reader) -> Result<Type> {
    let position = r.position();
    let written = r.data_type()?;
    of(&written).map_err(|error| error.at(position))
}

pub fn of(written: &DataType) -> Result<Type> {
    Ok(match written {
        DataType::Bool | DataType::Boolean => Type::Bool,
        DataType::Int2(None) | DataType::SmallInt(None) => Type::Int2,
        DataType::Int(None) | DataType::Int4(None) | DataType::Integer(None) => Type::Int4,
        DataType::Int8(None) | DataType::BigInt(None) => Type::Int8,
        DataType::Real | DataType::Float4 => Type::Float4,
        DataType::Float8 | DataType::DoublePrecision | DataType::Float(ExactNumberInfo::None) => Type::Float8,
        DataType::Float(ExactNumberInfo::Precision(1..=24)) => Type::Float4,
        DataType::Float(ExactNumberInfo::Precision(25..=53)) => Type::Float8,
        DataType::Float(_) => {
            return Err(Error::new("22023", "precision for type float must be between 1 and 53 bits"));
        }
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text | DataType::String(None) => Type::Text,
        DataType::Varchar(n) | DataType::CharacterVarying(n) | DataType::CharVarying(n) => {
            Type::Varchar(length(n, "varchar")?)
        }
        DataType::Char(n) | DataType::Character(n) => Type::Char(length(n, "char")?.unwrap_or(1)),
        DataType::Bytea => Type::Bytea,
        DataType::Date => Type::Date,
        DataType::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Type::Time,
        DataType::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Type::Timestamp,
        DataType::Timestamp(None | Some(6), TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => Type::Timestamptz,
        DataType::Interval { fields: None, precision: None | Some(6) } => Type::Interval,
        DataType::Uuid => Type::Uuid,
        DataType::JSON => Type::Json,
        DataType::JSONB => Type::Jsonb,
        // As in Postgres, the written size and number of dimensions change nothing.
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => match of(element)? {
            array @ Type::Array(_) => array,
            element => Type::Array(Box::new(element)),
        },
        DataType::Custom(name, modifiers) => return custom(&name.to_string().to_lowercase(), modifiers),
        other => return Err(Error::unsupported(format!("type {}", other.to_string().to_lowercase()))),
    })
}

/// Postgres' internal name of a type, which is what a column made by a cast is called.
pub fn type_name(written: &DataType) -> Option<String> {
    let name = match of(written).ok()? {
        Type::Bool => "bool",
        Type::Int2 => "int2",
        Type::Int4 => "int4",
        Type::Int8 => "int8",
        Type::Float4 => "float4",
        Type::Float8 => "float8",
        Type::Numeric(_) => "numeric",
        Type::Varchar(_) => "varchar",
        Type::Char(_) => "bpchar",
        Type::Time => "time",
        Type::Timestamp => "timestamp",
        Type::Timestamptz => "timestamptz",
        Type::Array(_) => return type_name(element(written)?),
        other => return Some(other.to_string()),
    };
    Some(name.into())
}

fn element(written: &DataType) -> Option<&DataType> {
    match written {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => Some(element),
        _ => None,
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<Type> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(Type::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(Error::new("22023", format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if precision > MAX_PRECISION {
        return Err(Error::unsupported(format!("numeric of more than {MAX_PRECISION} digits"))
            .hint("Use numeric without precision."));
    }
    if !(0..=precision as i64).contains(&scale) {
        return Err(Error::unsupported(format!(
            "numeric({precision},{scale}): a scale below 0 or beyond the precision"
        )));
    }
    Ok(Type::Numeric(Some((precision as u8, scale as i8))))
}

fn length(written: &Option<CharacterLength>, kind: &str) -> Result<Option<u32>> {
    match written {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, unit: None }) if (1..=MAX_LENGTH).contains(length) => {
            Ok(Some(*length as u32))
        }
        Some(CharacterLength::IntegerLength { length: 0, unit: None }) => {
            Err(Error::new("22023", format!("length for type {kind} must be at least 1")))
        }
        Some(CharacterLength::IntegerLength { unit: None, .. }) => {
            Err(Error::new("22023", format!("length for type {kind} cannot exceed {MAX_LENGTH}")))
        }
        Some(other) => Err(Error::unsupported(format!("length {other}"))),
    }
}

/// Names sqlparser has no key word for.
fn custom(name: &str, modifiers: &[String]) -> Result<Type> {
    let plain = name.strip_prefix("pg_catalog.").unwrap_or(name);
    match (plain, modifiers) {
        ("bpchar", []) => Ok(Type::Char(0)),
        ("serial" | "bigserial" | "smallserial" | "serial2" | "serial4" | "serial8", []) => {
            Err(Error::unsupported(format!("type {plain}")).hint("Use an integer type and give the values."))
        }
        _ => Err(Error::new("42704", format!("type \"{name}\" does not exist"))),
    }
}
