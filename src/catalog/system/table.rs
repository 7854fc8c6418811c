//! What a system table is, and what its rows are made from.

use crate::catalog::facts::{Inspection, Progress, RelationFacts};
use crate::catalog::{Catalog, Life, Object};
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::fmt;
use std::sync::Arc;
use weir_sql::postgres::types;
use weir_sql::types::{TYPE_KEY, Type};
use weir_sql::{Error, Result};

/// Tables that tell how the parts of the database are: an error when that is not known, rather than fewer rows (I15).
const TELLING: [&str; 5] = ["rw_checkpoints", "rw_ddl_progress", "rw_materialized_views", "rw_sources", "rw_tables"];

/// Owner of everything.
pub const OWNER: i64 = 10;
pub const PUBLIC: i64 = 2200;

/// System relations are numbered from here, in the order of [`ALL`]; the catalog's own ids begin higher.
pub(super) const FIRST: i64 = 12000;

/// What the rows are made from.
#[derive(Clone, Debug)]
pub struct Facts {
    pub catalog: Arc<Catalog>,
    /// `None`: the coordinator is busy and did not say.
    pub inspection: Option<Inspection>,
    pub progress: Progress,
    /// Who may log in.
    pub users: Vec<String>,
    pub database: &'static str,
    /// The session's variables.
    pub settings: Vec<Setting>,
    /// The session's named statements.
    pub prepared: Vec<Prepared>,
    /// Functions that the server answers itself.
    pub functions: Vec<&'static str>,
    /// The server's version as clients are told.
    pub version: &'static str,
    /// The system tables themselves.
    pub tables: &'static [&'static [Table]],
}

#[derive(Clone, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    pub about: &'static str,
    pub default: &'static str,
    /// It cannot be set.
    pub fixed: bool,
}

#[derive(Clone, Debug)]
pub struct Prepared {
    pub name: String,
    pub statement: String,
    pub parameters: Vec<Type>,
}

impl Facts {
    pub(super) fn relation(&self, id: u32) -> Option<&RelationFacts> {
        let relations = &self.inspection.as_ref()?.relations;
        relations.binary_search_by_key(&id, |relation| relation.id).ok().map(|at| &relations[at])
    }

    /// Objects that can be named, by id.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.catalog.objects.values().filter(|o| o.life != Life::Dropping).map(|o| &**o)
    }

    /// Every system table with its id.
    pub(super) fn system(&self) -> impl Iterator<Item = (i64, &'static Table)> {
        (FIRST..).zip(self.tables.iter().copied().flatten())
    }
}

pub struct Table {
    pub schema_name: &'static str,
    pub name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    pub(super) rows: fn(&Facts) -> Vec<Vec<Cell>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema_name, self.name)
    }
}

impl Table {
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|(name, kind)| kind.field(name)).collect::<Vec<_>>()))
    }

    pub fn batch(&self, facts: &Facts) -> Result<RecordBatch> {
        if facts.inspection.is_none() && TELLING.contains(&self.name) {
            let message = format!("{}.{} cannot be read: the server is too busy to say", self.schema_name, self.name);
            return Err(Error::new("55000", message).hint("Try again."));
        }
        let rows = (self.rows)(facts);
        let mut columns: Vec<Vec<Cell>> = self.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        let count = rows.len();
        for row in rows {
            assert_eq!(row.len(), self.columns.len(), "a row of {self:?}");
            columns.iter_mut().zip(row).for_each(|(column, cell)| column.push(cell));
        }
        let arrays = columns.into_iter().zip(self.columns).map(|(cells, (_, kind))| kind.array(cells));
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema(), arrays.collect(), &options)
            .map_err(|e| Error::internal(format!("{self:?}: {e}")))
    }
}

/// Types of Postgres' catalogs that no column of a user's relation has; marked in field metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Int64, four bytes on the wire.
    Oid,
    /// Utf8
    Name,
    /// `"char"`: Utf8 of one byte.
    Letter,
    /// Int64: the number of a function, shown by its name.
    Regproc,
}

impl Tag {
    pub fn text(self) -> &'static str {
        match self {
            Tag::Oid => "oid",
            Tag::Name => "name",
            Tag::Letter => "\"char\"",
            Tag::Regproc => "regproc",
        }
    }

    pub fn oid(self) -> types::Oid {
        types::Oid(match self {
            Tag::Oid => 26,
            Tag::Name => 19,
            Tag::Letter => 18,
            Tag::Regproc => 24,
        })
    }

    pub fn of(text: &str) -> Option<Self> {
        [Tag::Oid, Tag::Name, Tag::Letter, Tag::Regproc].into_iter().find(|tag| tag.text() == text)
    }
}

/// A system column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    Jsonb,
    Timestamptz,
    Oid,
    Name,
    Letter,
    Regproc,
    Int2s,
    Oids,
    Texts,
}

impl Kind {
    pub(super) fn field(self, name: &str) -> Field {
        let marked = |kind: Type, tag: Tag| {
            kind.field(name, true).with_metadata([(TYPE_KEY.to_string(), tag.text().to_string())].into())
        };
        match self {
            Kind::Bool => Type::Bool.field(name, true),
            Kind::Int2 => Type::Int2.field(name, true),
            Kind::Int4 => Type::Int4.field(name, true),
            Kind::Int8 => Type::Int8.field(name, true),
            Kind::Float4 => Type::Float4.field(name, true),
            Kind::Float8 => Type::Float8.field(name, true),
            Kind::Text => Type::Text.field(name, true),
            Kind::Jsonb => Type::Jsonb.field(name, true),
            Kind::Timestamptz => Type::Timestamptz.field(name, true),
            Kind::Oid => marked(Type::Int8, Tag::Oid),
            Kind::Name => marked(Type::Text, Tag::Name),
            Kind::Letter => marked(Type::Text, Tag::Letter),
            Kind::Regproc => marked(Type::Int8, Tag::Regproc),
            Kind::Int2s => Type::Array(Box::new(Type::Int2)).field(name, true),
            Kind::Oids => Type::Array(Box::new(Type::Int8)).field(name, true),
            Kind::Texts => Type::Array(Box::new(Type::Text)).field(name, true),
        }
    }

    fn element(self) -> Self {
        match self {
            Kind::Int2s => Kind::Int2,
            Kind::Oids => Kind::Int8,
            _ => Kind::Text,
        }
    }

    pub(super) fn array(self, cells: Vec<Cell>) -> ArrayRef {
        let ints = || cells.iter().map(|c| if let Cell::Int(i) = c { Some(*i) } else { None });
        let floats = || cells.iter().map(|c| if let Cell::Float(f) = c { Some(*f) } else { None });
        match self {
            Kind::Bool => Arc::new(BooleanArray::from_iter(
                cells.iter().map(|c| if let Cell::Bool(b) = c { Some(*b) } else { None }),
            )),
            Kind::Int2 => Arc::new(Int16Array::from_iter(ints().map(|i| i.map(|i| i as i16)))),
            Kind::Int4 => Arc::new(Int32Array::from_iter(ints().map(|i| i.map(|i| i as i32)))),
            Kind::Int8 | Kind::Oid | Kind::Regproc => Arc::new(Int64Array::from_iter(ints())),
            Kind::Timestamptz => Arc::new(TimestampMicrosecondArray::from_iter(ints()).with_timezone("UTC")),
            Kind::Float4 => Arc::new(Float32Array::from_iter(floats().map(|f| f.map(|f| f as f32)))),
            Kind::Float8 => Arc::new(Float64Array::from_iter(floats())),
            Kind::Text | Kind::Jsonb | Kind::Name | Kind::Letter => Arc::new(StringArray::from_iter(
                cells.iter().map(|c| if let Cell::Text(t) = c { Some(t.as_str()) } else { None }),
            )),
            Kind::Int2s | Kind::Oids | Kind::Texts => self.list(cells),
        }
    }

    fn list(self, cells: Vec<Cell>) -> ArrayRef {
        let nulls = cells.iter().map(|c| !matches!(c, Cell::Null)).collect::<Vec<_>>();
        let lists: Vec<Vec<Cell>> =
            cells.into_iter().map(|c| if let Cell::List(list) = c { list } else { vec![] }).collect();
        let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
        let values = self.element().array(lists.into_iter().flatten().collect());
        let element = Arc::new(self.element().field("item"));
        Arc::new(ListArray::new(element, offsets, values, Some(nulls.into())))
    }
}

/// One value; a cell of another type than its column's is NULL.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Cell>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Cell::Bool(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Cell::Int(value as i64)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Cell::Int(value as i64)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Cell::Float(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Cell::Text(value.to_string())
    }
}

impl From<char> for Cell {
    fn from(value: char) -> Self {
        Cell::Text(value.to_string())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Cell::Text(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl<T: Into<Cell>> From<Vec<T>> for Cell {
    fn from(value: Vec<T>) -> Self {
        Cell::List(value.into_iter().map(Into::into).collect())
    }
}

/// One row: `row![1, "a", None::<i64>]`.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::catalog::system::table::Cell::from($cell)),*] };
}
pub(super) use row;

/// Nobody but the owner has privileges that could be listed.
pub(super) fn acl() -> Cell {
    Cell::List(vec![])
}
