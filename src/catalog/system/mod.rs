//! System tables: `rw_catalog` (as RisingWave names things), `pg_catalog` and `information_schema` (as far as clients ask).
//!
//! A table is its columns and a function from [`Facts`] to rows; one table per file, one line in [`ALL`]. They are small and made
//! anew for every query, so rows are plain cells. They stay readable whatever happens to the relations they tell about.

mod information_schema;
mod pg_am;
mod pg_attribute;
mod pg_class;
mod pg_constraint;
mod pg_database;
mod pg_depend;
mod pg_empty;
mod pg_index;
mod pg_matviews;
mod pg_namespace;
mod pg_prepared_statements;
mod pg_roles;
mod pg_settings;
mod pg_tables;
mod pg_tablespace;
mod pg_timezone_names;
pub mod pg_type;
mod rw_checkpoints;
mod rw_columns;
mod rw_databases;
mod rw_ddl_progress;
mod rw_materialized_views;
mod rw_relations;
mod rw_schemas;
mod rw_sources;
mod rw_tables;
mod rw_users;
mod rw_views;

use super::{Catalog, Object};
use crate::catalog::facts::{Inspection, Progress, RelationFacts};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::sync::Arc;
use weir_sql::types::{TYPE_KEY, Type};
use weir_sql::{Error, Result};

/// Schemas in which [`find`] looks; `public` holds the user's relations.
pub const SCHEMAS: [&str; 3] = ["pg_catalog", "rw_catalog", "information_schema"];

/// Tables that tell how the parts of the database are: an error when that is not known, rather than fewer rows (I15).
const TELLING: [&str; 5] = ["rw_checkpoints", "rw_ddl_progress", "rw_materialized_views", "rw_sources", "rw_tables"];

/// Owner of everything.
pub const OWNER: i64 = 10;
pub const PUBLIC: i64 = 2200;
/// System relations are numbered from here, in the order of [`ALL`]; the catalog's own ids begin higher.
const FIRST: i64 = 12000;

static ALL: &[&[Table]] = &[
    &[
        rw_checkpoints::TABLE,
        rw_columns::TABLE,
        rw_databases::TABLE,
        rw_ddl_progress::TABLE,
        rw_materialized_views::TABLE,
        rw_relations::TABLE,
        rw_schemas::TABLE,
        rw_sources::TABLE,
        rw_tables::TABLE,
        rw_users::TABLE,
        pg_am::TABLE,
        pg_attribute::TABLE,
        pg_class::TABLE,
        pg_constraint::TABLE,
        pg_database::TABLE,
        pg_depend::TABLE,
        pg_index::TABLE,
        pg_matviews::TABLE,
        pg_namespace::TABLE,
        pg_prepared_statements::TABLE,
        pg_roles::TABLE,
        pg_roles::USERS,
        pg_settings::TABLE,
        pg_tables::TABLE,
        pg_tablespace::TABLE,
        pg_timezone_names::TABLE,
        pg_type::TABLE,
    ],
    rw_views::TABLES,
    pg_empty::TABLES,
    information_schema::TABLES,
];

fn all() -> impl Iterator<Item = &'static Table> {
    ALL.iter().copied().flatten()
}

pub fn find(schema: &str, name: &str) -> Option<&'static Table> {
    all().find(|t| t.schema_name == schema && t.name == name)
}

/// The id in pg_class of a system table.
pub fn id(schema: &str, name: &str) -> Option<i64> {
    all().position(|t| t.schema_name == schema && t.name == name).map(|index| FIRST + index as i64)
}

pub fn schema_id(name: &str) -> Option<i64> {
    pg_namespace::SCHEMAS.iter().find(|(_, schema)| *schema == name).map(|(id, _)| *id)
}

/// The table, the name and the columns of the primary key that has `id` in pg_class.
pub fn index_of(catalog: &Catalog, id: i64) -> Option<(String, String, Vec<String>)> {
    let object = catalog.get(u32::try_from(id.checked_sub(pg_index::OFFSET)?).ok()?)?;
    let index = pg_index::Index::of(object)?;
    let columns = object.columns()?;
    let names = index.columns.iter().map(|c| columns[*c as usize - 1].name.clone()).collect();
    Some((object.name.clone(), index.name, names))
}

/// The system table that has `id` in pg_class.
pub fn by_id(id: i64) -> Option<&'static Table> {
    all().nth(usize::try_from(id.checked_sub(FIRST)?).ok()?)
}

/// Whether a system table never has rows, so that a subquery over it has none either.
pub fn is_empty(name: &str) -> bool {
    pg_empty::TABLES.iter().any(|t| t.name == name)
}

/// What the rows are made from.
#[derive(Clone, Debug, Default)]
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
    /// The server's version as clients are told.
    pub version: &'static str,
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
    fn relation(&self, id: u32) -> Option<&RelationFacts> {
        self.inspection.iter().flat_map(|known| &known.relations).find(|r| r.id == id)
    }

    /// Objects that can be named, by id.
    fn objects(&self) -> impl Iterator<Item = &Object> {
        self.catalog.objects.values().filter(|o| o.life != super::Life::Dropping).map(|o| &**o)
    }
}

pub struct Table {
    pub schema_name: &'static str,
    pub name: &'static str,
    columns: &'static [(&'static str, Kind)],
    rows: fn(&Facts) -> Vec<Vec<Cell>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
}

impl Tag {
    pub fn text(self) -> &'static str {
        match self {
            Tag::Oid => "oid",
            Tag::Name => "name",
            Tag::Letter => "\"char\"",
        }
    }

    pub fn of(text: &str) -> Option<Self> {
        [Tag::Oid, Tag::Name, Tag::Letter].into_iter().find(|tag| tag.text() == text)
    }
}

/// A system column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float8,
    Text,
    Jsonb,
    Timestamptz,
    Oid,
    Name,
    Letter,
    Int2s,
    Oids,
    Texts,
}

impl Kind {
    fn field(self, name: &str) -> Field {
        let marked = |kind: Type, tag: Tag| {
            kind.field(name, true).with_metadata([(TYPE_KEY.to_string(), tag.text().to_string())].into())
        };
        match self {
            Kind::Bool => Type::Bool.field(name, true),
            Kind::Int2 => Type::Int2.field(name, true),
            Kind::Int4 => Type::Int4.field(name, true),
            Kind::Int8 => Type::Int8.field(name, true),
            Kind::Float8 => Type::Float8.field(name, true),
            Kind::Text => Type::Text.field(name, true),
            Kind::Jsonb => Type::Jsonb.field(name, true),
            Kind::Timestamptz => Type::Timestamptz.field(name, true),
            Kind::Oid => marked(Type::Int8, Tag::Oid),
            Kind::Name => marked(Type::Text, Tag::Name),
            Kind::Letter => marked(Type::Text, Tag::Letter),
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

    fn array(self, cells: Vec<Cell>) -> ArrayRef {
        let ints = || cells.iter().map(|c| if let Cell::Int(i) = c { Some(*i) } else { None });
        match self {
            Kind::Bool => Arc::new(BooleanArray::from_iter(
                cells.iter().map(|c| if let Cell::Bool(b) = c { Some(*b) } else { None }),
            )),
            Kind::Int2 => Arc::new(Int16Array::from_iter(ints().map(|i| i.map(|i| i as i16)))),
            Kind::Int4 => Arc::new(Int32Array::from_iter(ints().map(|i| i.map(|i| i as i32)))),
            Kind::Int8 | Kind::Oid => Arc::new(Int64Array::from_iter(ints())),
            Kind::Timestamptz => Arc::new(TimestampMicrosecondArray::from_iter(ints()).with_timezone("UTC")),
            Kind::Float8 => Arc::new(Float64Array::from_iter(
                cells.iter().map(|c| if let Cell::Float(f) = c { Some(*f) } else { None }),
            )),
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
enum Cell {
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
    ($($cell:expr),* $(,)?) => { vec![$($crate::catalog::system::Cell::from($cell)),*] };
}
use row;

/// Nobody but the owner has privileges that could be listed.
fn acl() -> Cell {
    Cell::List(vec![])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Body, Life, TableBody};
    use weir_sql::types::Column;

    pub fn facts() -> Facts {
        let mut catalog = Catalog::default();
        let id = catalog.next_object();
        let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
        let body = TableBody {
            columns: vec![column("id", Type::Int4, false), column("body", Type::Varchar(Some(9)), true)],
            key: Some(vec![0]),
            arrangements: vec![],
            upstream: None,
            stopped: None,
        };
        let definition = "CREATE TABLE notes (id INT PRIMARY KEY, body VARCHAR(9))".into();
        let object =
            Object { id, name: "notes".into(), life: Life::Live, definition, created_at: 0, body: Body::Table(body) };
        catalog.objects.insert(id, object.into());
        let (catalog, inspection) = (Arc::new(catalog), Some(Inspection::default()));
        Facts { catalog, inspection, users: vec!["root".into()], database: "dev", ..Facts::default() }
    }

    #[test]
    fn what_is_not_known_is_an_error_and_not_fewer_rows() {
        let facts = Facts { inspection: None, ..facts() };
        let told = |schema, name| find(schema, name).expect("a table").batch(&facts);
        assert_eq!(told("rw_catalog", "rw_ddl_progress").expect_err("nobody says").sqlstate, "55000");
        assert_eq!(told("rw_catalog", "rw_tables").expect_err("nobody says").sqlstate, "55000");
        assert!(told("pg_catalog", "pg_class").is_ok(), "the catalog is known");
    }

    #[test]
    fn every_table_makes_rows_of_its_own_shape() {
        let facts = facts();
        for table in all() {
            let batch = table.batch(&facts).unwrap_or_else(|e| panic!("{table:?}: {e}"));
            assert_eq!(batch.schema(), table.schema(), "{table:?}");
        }
    }

    #[test]
    fn names_are_unique_and_ids_lead_back() {
        let mut names: Vec<_> = all().map(|t| (t.schema_name, t.name)).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(by_id(FIRST).map(|t| t.name), all().next().map(|t| t.name));
        assert!(by_id(FIRST + count as i64).is_none());
        assert!(FIRST + (count as i64) < crate::catalog::FIRST_OBJECT as i64);
    }

    #[test]
    fn lists_keep_their_nulls_apart_from_empty_ones() {
        let array = Kind::Texts.array(vec![Cell::Null, Cell::List(vec![]), vec!["a", "b"].into()]);
        assert_eq!((array.is_null(0), array.is_null(1), array.len()), (true, false, 3));
        assert_eq!(*array.data_type(), *Kind::Texts.field("x").data_type());
    }
}
