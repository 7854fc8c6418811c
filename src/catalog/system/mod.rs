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
mod table;

pub use table::{Facts, OWNER, PUBLIC, Prepared, Setting, Table, Tag};

use super::Catalog;
use crate::catalog::facts::Progress;
use std::sync::Arc;
use table::FIRST;

/// Schemas in which [`find`] looks; `public` holds the user's relations.
pub const SCHEMAS: [&str; 3] = ["pg_catalog", "rw_catalog", "information_schema"];

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

/// Of a database of which nothing else is known.
impl Default for Facts {
    fn default() -> Self {
        Self {
            catalog: Arc::default(),
            inspection: None,
            progress: Progress::default(),
            users: vec![],
            database: "",
            settings: vec![],
            prepared: vec![],
            version: "",
            tables: ALL,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::table::{Cell, Kind};
    use super::*;
    use crate::catalog::facts::Inspection;
    use crate::catalog::{Body, Life, Object, TableBody};
    use arrow::array::Array;
    use weir_sql::types::{Column, Type};

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
