//! Functions of Postgres' system catalogs that clients call: privileges, definitions, type names.

use crate::catalog::Catalog;
use crate::catalog::facts::{Inspection, RelationFacts};
use crate::catalog::system::{self, pg_proc, pg_type};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use weir_sql::function::identifier;

type Row<'a> = &'a [Option<Cell>];

/// What an argument holds: clients call these with numbers and with text.
#[derive(Clone, Debug)]
enum Cell {
    Number(i64),
    Text(String),
}

impl Cell {
    fn number(&self) -> Option<i64> {
        match self {
            Cell::Number(n) => Some(*n),
            Cell::Text(text) => text.parse().ok(),
        }
    }
}

enum Answer {
    Text(fn(&Catalog, Row) -> Option<String>),
    Bool(fn(&Catalog, Row) -> Option<bool>),
    Number(fn(&Catalog, Row) -> Option<i64>),
    /// Bytes.
    Size(fn(&Sizes, &Catalog, Row) -> Option<i64>),
}

use Answer::{Bool, Number, Size, Text};

/// What each relation keeps; known when a query is bound, after it was planned.
#[derive(Clone, Debug, Default)]
struct Sizes(Arc<OnceLock<HashMap<i64, RelationFacts>>>);

impl Sizes {
    fn know(&self, inspection: &Inspection) {
        self.0.get_or_init(|| inspection.relations.iter().map(|r| (r.id.into(), r.clone())).collect());
    }

    fn of(&self, catalog: &Catalog, row: Row) -> Option<i64> {
        let id = match row.first()?.as_ref()? {
            Cell::Number(id) => *id,
            Cell::Text(name) => relation_id(catalog, name)?,
        };
        Some(self.0.get().and_then(|known| known.get(&id)).map_or(0, |relation| relation.state_bytes() as i64))
    }

    fn all(&self) -> i64 {
        self.0.get().map_or(0, |known| known.values().map(|relation| relation.state_bytes() as i64).sum())
    }
}

/// Whether a function asks for sizes.
pub fn measures(name: &str) -> bool {
    FUNCTIONS.iter().any(|(function, answer)| *function == name && matches!(answer, Size(_)))
}

/// What each is called.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

/// One line each: name and what it answers.
const FUNCTIONS: &[(&str, Answer)] = &[
    ("format_type", Text(|_, row| Some(pg_type::format(number(row, 0)?, number(row, 1))))),
    ("pg_get_userbyid", Text(|_, _| Some("root".into()))),
    ("pg_get_viewdef", Text(definition)),
    (
        "pg_get_indexdef",
        Text(|catalog, row| match number(row, 1) {
            // One of its columns.
            Some(column @ 1..) => {
                let (.., columns) = system::index_of(catalog, number(row, 0)?)?;
                columns.get(column as usize - 1).map(|name| identifier(name))
            }
            _ => index(catalog, number(row, 0)?, "CREATE UNIQUE INDEX"),
        }),
    ),
    ("pg_get_constraintdef", Text(|catalog, row| index(catalog, number(row, 0)?, "PRIMARY KEY"))),
    ("pg_get_expr", Text(|_, _| None)),
    ("pg_get_function_arguments", Text(|_, row| pg_proc::arguments(number(row, 0)?))),
    ("pg_get_function_identity_arguments", Text(|_, row| pg_proc::arguments(number(row, 0)?))),
    ("pg_get_function_result", Text(|_, row| pg_proc::result(number(row, 0)?))),
    ("pg_get_function_sqlbody", Text(|_, _| None)),
    ("pg_get_statisticsobjdef_columns", Text(|_, _| None)),
    ("pg_get_partkeydef", Text(|_, _| None)),
    ("pg_get_serial_sequence", Text(|_, _| None)),
    ("pg_partition_ancestors", Number(|_, _| None)),
    ("obj_description", Text(|_, _| None)),
    ("col_description", Text(|_, _| None)),
    ("shobj_description", Text(|_, _| None)),
    ("getdatabaseencoding", Text(|_, _| Some("UTF8".into()))),
    ("pg_encoding_to_char", Text(|_, _| Some("UTF8".into()))),
    ("pg_char_to_encoding", Number(|_, row| Some(if text(row, 0)?.eq_ignore_ascii_case("utf8") { 6 } else { -1 }))),
    ("pg_tablespace_location", Text(|_, _| Some(String::new()))),
    ("quote_ident", Text(|_, row| Some(identifier(&text(row, 0)?)))),
    ("pg_relation_filepath", Text(|_, _| None)),
    ("pg_size_pretty", Text(|_, row| Some(pretty(number(row, 0)?)))),
    ("to_regtype", Number(|_, row| pg_type::by_name(&text(row, 0)?).map(i64::from))),
    ("to_regproc", Number(|_, row| pg_proc::by_name(&text(row, 0)?).ok().map(i64::from))),
    ("to_regclass", Number(|catalog, row| relation_id(catalog, &text(row, 0)?))),
    ("pg_relation_size", Size(Sizes::of)),
    ("pg_table_size", Size(Sizes::of)),
    ("pg_total_relation_size", Size(Sizes::of)),
    // A key is how a table is stored, nothing beside it.
    ("pg_indexes_size", Number(|_, _| Some(0))),
    ("pg_database_size", Size(|sizes, _, _| Some(sizes.all()))),
    ("pg_tablespace_size", Size(|sizes, _, _| Some(sizes.all()))),
    ("pg_my_temp_schema", Number(|_, _| Some(0))),
    ("regclass_name", Text(|catalog, row| name(catalog, row.first()?.as_ref()?))),
    (
        "regproc_name",
        Text(|_, row| {
            Some(match row.first()?.as_ref()? {
                Cell::Number(oid) => pg_proc::name(*oid),
                Cell::Text(name) => name.clone(),
            })
        }),
    ),
    ("pg_table_is_visible", Bool(|_, row| Some(visible(number(row, 0)?)))),
    ("pg_type_is_visible", Bool(|_, _| Some(true))),
    ("pg_function_is_visible", Bool(|_, _| Some(true))),
    ("pg_conversion_is_visible", Bool(|_, _| Some(true))),
    ("pg_ts_config_is_visible", Bool(|_, _| Some(true))),
    ("pg_ts_dict_is_visible", Bool(|_, _| Some(true))),
    ("pg_ts_parser_is_visible", Bool(|_, _| Some(true))),
    ("pg_ts_template_is_visible", Bool(|_, _| Some(true))),
    ("pg_operator_is_visible", Bool(|_, _| Some(true))),
    ("pg_collation_is_visible", Bool(|_, _| Some(true))),
    ("pg_statistics_obj_is_visible", Bool(|_, _| Some(true))),
    ("pg_relation_is_publishable", Bool(|_, _| Some(false))),
    ("pg_is_other_temp_schema", Bool(|_, _| Some(false))),
    ("pg_is_in_recovery", Bool(|_, _| Some(false))),
    ("has_table_privilege", Bool(|_, _| Some(true))),
    ("has_any_column_privilege", Bool(|_, _| Some(true))),
    ("has_column_privilege", Bool(|_, _| Some(true))),
    ("has_schema_privilege", Bool(|_, _| Some(true))),
    ("has_database_privilege", Bool(|_, _| Some(true))),
    ("has_function_privilege", Bool(|_, _| Some(true))),
    ("pg_has_role", Bool(|_, _| Some(true))),
];

/// What a statement may call beside the functions of its session: those that tell the time, the catalog or the sizes of relations.
/// Each is made when it is called.
pub struct Functions {
    now: i64,
    catalog: Arc<Catalog>,
    sizes: Sizes,
    /// Of the server's configuration.
    others: Vec<Arc<ScalarUDF>>,
}

impl Functions {
    pub fn new(now: i64, catalog: Arc<Catalog>, others: Vec<Arc<ScalarUDF>>) -> Self {
        Self { now, catalog, sizes: Sizes::default(), others }
    }

    /// Tells functions how large relations are; before a plan is run.
    pub fn measure(&self, inspection: &Inspection) {
        self.sizes.know(inspection);
    }

    pub fn find(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let ours = || {
            let index = FUNCTIONS.iter().position(|(other, _)| *other == name)?;
            let function = Function::new(index, self.catalog.clone(), self.sizes.clone());
            Some(Arc::new(ScalarUDF::new_from_impl(function)))
        };
        let other = || self.others.iter().find(|other| other.name() == name).cloned();
        weir_sql::session::timed(name, self.now).or_else(ours).or_else(other)
    }

    /// Of those that its session does not name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        FUNCTIONS.iter().map(|(name, _)| *name).chain(self.others.iter().map(|other| other.name()))
    }
}

/// `'name'::regclass`: the id a name stands for, also written as a number.
pub fn relation_id(catalog: &Catalog, written: &str) -> Option<i64> {
    if let Ok(number) = written.parse() {
        return Some(number);
    }
    let mut parts: Vec<String> = written.split('.').map(unquoted).collect();
    let name = parts.pop()?;
    let own = || catalog.by_name(&name).map(|object| object.id as i64);
    match parts.pop().as_deref() {
        None => system::id("pg_catalog", &name).or_else(own),
        Some("public") => own(),
        Some(schema) => system::id(schema, &name),
    }
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    }
}

/// `oid::regclass` as text.
fn name(catalog: &Catalog, cell: &Cell) -> Option<String> {
    let Some(id) = cell.number() else {
        return match cell {
            Cell::Text(text) => Some(text.clone()),
            Cell::Number(_) => None,
        };
    };
    if let Some(object) = u32::try_from(id).ok().and_then(|id| catalog.get(id)) {
        return Some(identifier(&object.name));
    }
    if let Some(table) = system::by_id(id) {
        let qualified = table.schema_name != "pg_catalog";
        return Some(if qualified { format!("{}.{}", table.schema_name, table.name) } else { table.name.into() });
    }
    Some(system::index_of(catalog, id).map_or_else(|| id.to_string(), |(_, index, _)| identifier(&index)))
}

fn number(row: Row, argument: usize) -> Option<i64> {
    row.get(argument)?.as_ref()?.number()
}

fn text(row: Row, argument: usize) -> Option<String> {
    match row.get(argument)?.as_ref()? {
        Cell::Text(text) => Some(text.clone()),
        Cell::Number(number) => Some(number.to_string()),
    }
}

fn definition(catalog: &Catalog, row: Row) -> Option<String> {
    catalog.get(u32::try_from(number(row, 0)?).ok()?)?.query()
}

/// A primary key as an index or as a constraint.
fn index(catalog: &Catalog, id: i64, kind: &str) -> Option<String> {
    let (table, index, columns) = system::index_of(catalog, id)?;
    let columns = columns.iter().map(|c| identifier(c)).collect::<Vec<_>>().join(", ");
    Some(match kind {
        "PRIMARY KEY" => format!("PRIMARY KEY ({columns})"),
        _ => format!("{kind} {} ON public.{} USING btree ({columns})", identifier(&index), identifier(&table)),
    })
}

/// As Postgres rounds: to the unit that leaves fewer than five digits.
fn pretty(bytes: i64) -> String {
    if bytes.unsigned_abs() < 10 * 1024 {
        return format!("{bytes} bytes");
    }
    // Halves of a unit, cut off; at last rounded.
    let (mut halves, mut units) = (bytes / 512, ["kB", "MB", "GB", "TB"].into_iter());
    let unit = units.find(|_| {
        let found = halves.unsigned_abs() < 20 * 1024 - 1;
        if !found {
            halves /= 1024;
        }
        found
    });
    format!("{} {}", (halves + halves.signum()) / 2, unit.unwrap_or("PB"))
}

/// Without a schema's name: what is in public or pg_catalog.
fn visible(id: i64) -> bool {
    system::by_id(id).is_none_or(|table| table.schema_name == "pg_catalog")
}

#[derive(Debug)]
struct Function {
    index: usize,
    catalog: Arc<Catalog>,
    sizes: Sizes,
    signature: Signature,
}

/// Two functions of one name over one catalog are the same.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && Arc::ptr_eq(&self.catalog, &other.catalog)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl Function {
    fn new(index: usize, catalog: Arc<Catalog>, sizes: Sizes) -> Self {
        let volatility = Volatility::Stable;
        let signature = Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::VariadicAny,
                datafusion::logical_expr::TypeSignature::Nullary,
            ],
            volatility,
        );
        Self { index, catalog, sizes, signature }
    }

    fn answer(&self) -> &'static Answer {
        &FUNCTIONS[self.index].1
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        FUNCTIONS[self.index].0
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.answer() {
            Text(_) => DataType::Utf8,
            Bool(_) => DataType::Boolean,
            Number(_) | Size(_) => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<Vec<Option<Cell>>> =
            args.args.iter().map(|arg| cells(&arg.to_array(args.number_rows)?)).collect::<Result<_>>()?;
        let rows = (0..args.number_rows).map(|row| columns.iter().map(|c| c[row].clone()).collect::<Vec<_>>());
        let array: ArrayRef = match self.answer() {
            Text(f) => Arc::new(rows.map(|row| f(&self.catalog, &row)).collect::<StringArray>()),
            Bool(f) => Arc::new(rows.map(|row| f(&self.catalog, &row)).collect::<BooleanArray>()),
            Number(f) => Arc::new(rows.map(|row| f(&self.catalog, &row)).collect::<Int64Array>()),
            Size(f) => Arc::new(rows.map(|row| f(&self.sizes, &self.catalog, &row)).collect::<Int64Array>()),
        };
        // Constant arguments give a constant, so that the planner can fold it.
        if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) && array.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

fn cells(array: &ArrayRef) -> Result<Vec<Option<Cell>>> {
    if array.data_type().is_integer() {
        let numbers = arrow::compute::cast(array, &DataType::Int64)?;
        return Ok(numbers.as_primitive::<Int64Type>().iter().map(|n| n.map(Cell::Number)).collect());
    }
    if matches!(array.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) {
        let texts = arrow::compute::cast(array, &DataType::Utf8)?;
        return Ok(texts.as_string::<i32>().iter().map(|t| t.map(|t| Cell::Text(t.to_string()))).collect());
    }
    Ok(vec![None; array.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unquoted_and_folded_as_in_sql() {
        assert_eq!(unquoted("Notes"), "notes");
        assert_eq!(unquoted("\"No\"\"tes\""), "No\"tes");
        assert_eq!(identifier("a_1"), "a_1");
        assert_eq!(identifier("A"), "\"A\"");
        assert_eq!(identifier("select"), "\"select\"");
        assert_eq!(identifier("name"), "name");
    }

    #[test]
    fn a_statement_finds_what_depends_on_it_and_leaves_the_rest_to_its_session() {
        let functions = Functions::new(7, Arc::default(), vec![]);
        for name in ["now", "current_date", "pg_size_pretty", "pg_database_size", "format_type"] {
            assert_eq!(functions.find(name).map(|function| function.name().to_string()).as_deref(), Some(name));
        }
        assert!(functions.find("upper").is_none() && functions.find("nope").is_none());
        assert_eq!(functions.find("now"), functions.find("now"), "one and the same to the optimizer");
        assert_ne!(functions.find("now"), Functions::new(8, Arc::default(), vec![]).find("now"));
    }

    #[test]
    fn sizes_are_printed_as_postgres_prints_them() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-10_240, "-10 kB"),
            (20 * 1024 * 1024 - 1, "20 MB"),
            (10_484_736, "10239 kB"),
            (10_485_248, "10 MB"),
            (1 << 40, "1024 GB"),
            (i64::MAX, "8192 PB"),
        ] {
            assert_eq!(pretty(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn a_system_table_has_an_id_and_its_id_a_name() {
        let catalog = Catalog::default();
        let id = relation_id(&catalog, "pg_catalog.pg_class").expect("a system table");
        assert_eq!(name(&catalog, &Cell::Number(id)).as_deref(), Some("pg_class"));
        assert_eq!(relation_id(&catalog, "nope"), None);
        assert_eq!(relation_id(&catalog, "17000"), Some(17000));
    }
}
