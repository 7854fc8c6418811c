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
use weir_sql::bound::Kind;
use weir_sql::types::{TYPE_KEY, Type};

/// Days from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// A column's type as clients know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireType {
    /// How values are held.
    pub kind: Type,
    /// What clients are told of them.
    pub told: Kind,
}

impl From<Type> for WireType {
    fn from(kind: Type) -> Self {
        Self { told: Kind::of(&kind), kind }
    }
}

impl WireType {
    pub fn of(field: &Field) -> Result<Self> {
        let mut wire_type = WireType::from(Type::of(field)?);
        let (marked, is_array) = match field.data_type() {
            DataType::List(element) => (element.metadata().get(TYPE_KEY), true),
            _ => (field.metadata().get(TYPE_KEY), false),
        };
        if let Some(tag) = marked.and_then(|tag| Tag::of(tag)) {
            wire_type.told.oid = if is_array { tag.oid().array().unwrap_or(tag.oid()) } else { tag.oid() };
        }
        Ok(wire_type)
    }

    /// For an array, its element's.
    fn element(&self) -> Option<WireType> {
        let Type::Array(element) = &self.kind else { return None };
        let oid = self.told.oid.element().unwrap_or(Kind::of(element).oid);
        Some(WireType { kind: element.as_ref().clone(), told: Kind { oid, modifier: self.told.modifier } })
    }

    /// Whether it is a type that only catalogs have.
    fn is(&self, tag: Tag) -> bool {
        self.told.oid == tag.oid()
    }

    pub fn oid(&self) -> u32 {
        self.told.oid.0
    }

    /// pg_type.typlen
    pub fn length(&self) -> i16 {
        pg_type::length(self.oid())
    }

    /// pg_attribute.atttypmod
    pub fn modifier(&self) -> i32 {
        self.told.modifier
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
