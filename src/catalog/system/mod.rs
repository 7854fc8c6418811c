//! System tables: `rw_catalog` (as RisingWave names things), `pg_catalog` and `information_schema` (as far as clients ask).
//!
//! A table is its columns and a function from [`Facts`] to rows; one table per file, one line in [`ALL`]. They are small and made
//! anew for every query, so rows are plain cells. They stay readable whatever happens to the relations they tell about.

mod information_schema;
mod pg_aggregate;
mod pg_am;
mod pg_attribute;
mod pg_cast;
mod pg_class;
mod pg_constraint;
mod pg_database;
mod pg_depend;
mod pg_empty;
mod pg_index;
mod pg_language;
mod pg_matviews;
mod pg_namespace;
mod pg_operator;
mod pg_prepared_statements;
pub mod pg_proc;
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
        pg_aggregate::TABLE,
        pg_am::TABLE,
        pg_attribute::TABLE,
        pg_cast::TABLE,
        pg_class::TABLE,
        pg_constraint::TABLE,
        pg_database::TABLE,
        pg_depend::TABLE,
        pg_index::TABLE,
        pg_language::TABLE,
        pg_matviews::TABLE,
        pg_namespace::TABLE,
        pg_operator::TABLE,
        pg_prepared_statements::TABLE,
        pg_proc::TABLE,
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
            functions: vec![],
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
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int64Type;
    use std::collections::BTreeSet;
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
        let (users, functions) = (vec!["root".into()], vec!["format_type"]);
        Facts { catalog, inspection, users, functions, database: "dev", ..Facts::default() }
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

    /// The values of columns of numbers, all rows of them.
    fn numbers(table: &str, columns: &[&str]) -> Vec<i64> {
        let rows = find("pg_catalog", table).expect("a table").batch(&facts()).expect("rows");
        assert!(rows.num_rows() > 0, "{table}");
        let mut found = vec![];
        for name in columns {
            let column = rows.column_by_name(name).unwrap_or_else(|| panic!("{table}.{name}"));
            let values = column.as_list_opt::<i32>().map_or(column, |lists| lists.values());
            found.extend(values.as_primitive::<Int64Type>().iter().flatten());
        }
        found
    }

    #[test]
    fn catalogs_name_what_they_show() {
        let ids = |table| numbers(table, &["oid"]).into_iter().chain([0]).collect::<BTreeSet<_>>();
        let (types, functions, operators) = (ids("pg_type"), ids("pg_proc"), ids("pg_operator"));
        let are_of = |known: &BTreeSet<i64>, table, columns: &[&str]| {
            let lost: Vec<_> = numbers(table, columns).into_iter().filter(|id| !known.contains(id)).collect();
            assert!(lost.is_empty(), "{columns:?} of {table}: {lost:?}");
        };
        are_of(&types, "pg_type", &["typelem", "typarray"]);
        are_of(&types, "pg_proc", &["provariadic", "prorettype", "proargtypes", "proallargtypes"]);
        are_of(&types, "pg_operator", &["oprleft", "oprright", "oprresult"]);
        are_of(&types, "pg_cast", &["castsource", "casttarget"]);
        are_of(&types, "pg_aggregate", &["aggtranstype", "aggmtranstype"]);
        are_of(&functions, "pg_type", &["typsubscript", "typinput", "typoutput", "typreceive", "typsend"]);
        are_of(&functions, "pg_type", &["typmodin", "typmodout", "typanalyze"]);
        are_of(&functions, "pg_operator", &["oprcode"]);
        are_of(&functions, "pg_cast", &["castfunc"]);
        are_of(&functions, "pg_aggregate", &["aggfnoid"]);
        are_of(&operators, "pg_operator", &["oprcom", "oprnegate"]);
    }

    #[test]
    fn functions_are_shown_that_can_be_called() {
        let functions = numbers("pg_proc", &["oid"]);
        // abs(integer), now(), count(*), row_number(), int4pl, array_in, format_type.
        for shown in [1397, 1299, 2803, 3100, 177, 750, 1081] {
            assert!(functions.contains(&shown), "{shown}");
        }
        // area(box), corr, what pg_get_viewdef is unless the server answers it.
        for absent in [975, 2829, 1640] {
            assert!(!functions.contains(&absent), "{absent}");
        }
        let sorted: BTreeSet<i64> = functions.iter().copied().collect();
        assert_eq!(sorted.len(), functions.len(), "each once");
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
