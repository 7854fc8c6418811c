//! Values on the wire: which Postgres type a column is, its text and binary formats, and parameters back to values.
//!
//! In reading order: this file ([`WireType`]: a field as Postgres clients know it), [`row`] (batches to DataRow messages; text format is
//! [`weir_sql::function::print`]), [`binary`] (one value in binary format), [`parameter`] (what a client binds), [`copy`] (rows as a
//! COPY stream).

pub mod binary;
pub mod copy;
pub mod parameter;
pub mod row;

use crate::catalog::system::{Tag, pg_type};
use arrow::datatypes::{DataType, Field};
use weir_sql::Result;
use weir_sql::types::{TYPE_KEY, Type};

/// Days from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// A column's type as clients know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireType {
    pub kind: Type,
    pub tag: Option<Tag>,
}

impl From<Type> for WireType {
    fn from(kind: Type) -> Self {
        Self { kind, tag: None }
    }
}

impl WireType {
    pub fn of(field: &Field) -> Result<Self> {
        let kind = Type::of(field)?;
        let marked = match field.data_type() {
            DataType::List(element) => element.metadata().get(TYPE_KEY),
            _ => field.metadata().get(TYPE_KEY),
        };
        Ok(Self { tag: marked.and_then(|tag| Tag::of(tag)), kind })
    }

    /// For an array, its element's.
    fn element(&self) -> Option<WireType> {
        match &self.kind {
            Type::Array(element) => Some(WireType { kind: element.as_ref().clone(), tag: self.tag }),
            _ => None,
        }
    }

    pub fn oid(&self) -> u32 {
        match (self.element(), self.tag) {
            (Some(element), _) => pg_type::array(element.oid()),
            (None, Some(Tag::Oid)) => 26,
            (None, Some(Tag::Name)) => 19,
            (None, Some(Tag::Letter)) => 18,
            (None, Some(Tag::Regproc)) => 24,
            (None, None) => pg_type::oid(&self.kind),
        }
    }

    /// pg_type.typlen
    pub fn length(&self) -> i16 {
        pg_type::length(self.oid())
    }

    /// pg_attribute.atttypmod
    pub fn modifier(&self) -> i32 {
        pg_type::modifier(&self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_postgres() {
        assert_eq!(WireType::from(Type::Varchar(Some(10))).modifier(), 14);
        assert_eq!(WireType::from(Type::Numeric(Some((10, 2)))).modifier(), 655366);
        assert_eq!(WireType::from(Type::Numeric(None)).modifier(), -1);
    }

    #[test]
    fn a_marked_field_of_the_catalogs_is_an_oid() {
        let field = Type::Int8.field("oid", false).with_metadata([(TYPE_KEY.into(), "oid".into())].into());
        let wire_type = WireType::of(&field).expect("a type");
        assert_eq!((wire_type.oid(), wire_type.length()), (26, 4));
        let field = Type::Int8.field("oprcode", false).with_metadata([(TYPE_KEY.into(), "regproc".into())].into());
        let wire_type = WireType::of(&field).expect("a type");
        assert_eq!((wire_type.oid(), wire_type.length()), (24, 4));
    }
}
