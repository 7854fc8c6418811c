//! PostgreSQL's types and those that Weir holds values of ([`crate::types::Type`]).

use super::Kind;
use crate::postgres::types::Oid;
use crate::types::{Column, Type};

/// What pg_attribute.atttypmod counts beside the length itself.
const HEADER: i32 = 4;

impl Kind {
    pub fn of(held: &Type) -> Self {
        let (oid, modifier) = match held {
            Type::Bool => (16, -1),
            Type::Bytea => (17, -1),
            Type::Int8 => (20, -1),
            Type::Int2 => (21, -1),
            Type::Int4 => (23, -1),
            Type::Text => (25, -1),
            Type::Json => (114, -1),
            Type::Float4 => (700, -1),
            Type::Float8 => (701, -1),
            Type::Char(0) => (1042, -1),
            Type::Char(n) => (1042, *n as i32 + HEADER),
            Type::Varchar(None) => (1043, -1),
            Type::Varchar(Some(n)) => (1043, *n as i32 + HEADER),
            Type::Date => (1082, -1),
            Type::Time => (1083, -1),
            Type::Timestamp => (1114, -1),
            Type::Timestamptz => (1184, -1),
            Type::Interval => (1186, -1),
            Type::Numeric(None) => (1700, -1),
            Type::Numeric(Some((precision, scale))) => {
                (1700, ((*precision as i32) << 16 | *scale as i32 & 0x7ff) + HEADER)
            }
            Type::Uuid => (2950, -1),
            Type::Jsonb => (3802, -1),
            Type::Array(element) => {
                let element = Kind::of(element);
                return Self { oid: element.oid.array().unwrap_or(element.oid), modifier: element.modifier };
            }
        };
        Self { oid: Oid(oid), modifier }
    }

    /// `None` of a type that Weir has no values of.
    pub fn held(self) -> Option<Type> {
        let length = || u32::try_from(self.modifier - HEADER).ok();
        Some(match self.oid.0 {
            16 => Type::Bool,
            17 => Type::Bytea,
            // "char", of a byte, and name, of 63: whoever makes one sees to that.
            18 | 19 => Type::Text,
            20 => Type::Int8,
            21 => Type::Int2,
            23 => Type::Int4,
            25 => Type::Text,
            // oid: from 0 to as many as four bytes can count.
            26 => Type::Int8,
            114 => Type::Json,
            700 => Type::Float4,
            701 => Type::Float8,
            1042 => Type::Char(length().unwrap_or(0)),
            1043 => Type::Varchar(length()),
            1082 => Type::Date,
            1083 => Type::Time,
            1114 => Type::Timestamp,
            1184 => Type::Timestamptz,
            1186 => Type::Interval,
            1700 => Type::Numeric(length().map(|bits| ((bits >> 16) as u8, (bits & 0x7ff) as i8))),
            2950 => Type::Uuid,
            3802 => Type::Jsonb,
            _ => {
                let element = Kind { oid: self.oid.element()?, modifier: self.modifier };
                Type::Array(Box::new(element.held()?))
            }
        })
    }

    /// Columns of a relation as the binder knows them.
    pub fn columns(columns: &[Column]) -> Vec<(String, Kind)> {
        columns.iter().map(|column| (column.name.clone(), Kind::of(&column.kind))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_the_same_there_and_back() {
        let array = |kind| Type::Array(Box::new(kind));
        for held in [
            Type::Int4,
            Type::Varchar(None),
            Type::Varchar(Some(7)),
            Type::Char(0),
            Type::Char(3),
            Type::Numeric(None),
            Type::Numeric(Some((38, 10))),
            Type::Numeric(Some((5, 0))),
            array(Type::Varchar(Some(4))),
            array(Type::Jsonb),
        ] {
            assert_eq!(Kind::of(&held).held(), Some(held.clone()), "{held}");
        }
        assert_eq!(Kind::from(Oid(869)).held(), None, "inet");
        assert_eq!(Kind::from(Oid(19)).held(), Some(Type::Text), "name");
    }
}
