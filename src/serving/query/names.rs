//! Names in SQL to what they mean: relations of the catalog, system tables, functions. Notes which relations a query reads.

use super::function::{self, Functions};
use super::relation::Table;
use super::system::SystemTable;
use super::time_travel::{self, Past};
use crate::catalog::{Catalog, Object, system};
use crate::serving::value::WireType;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, DataFusionError, Result, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use weir_sql::Error;
use weir_sql::bind::session::Session;
use weir_sql::bind::{self, Relations};
use weir_sql::bound::{self, Bound, Kind};
use weir_sql::catalog::{Catalog as _, Relation, RelationId};
use weir_sql::postgres::types::OIDVECTOR;
use weir_sql::types::Type;

pub use weir_sql::bind::scope::DATABASE;

pub struct Names<'a> {
    state: &'a SessionState,
    types: Arc<dyn TypePlanner>,
    catalog: &'a Catalog,
    functions: &'a Functions,
    search_path: &'a [String],
    /// Tables that only this statement knows.
    extra: &'a [(String, Arc<dyn TableProvider>)],
    /// All relations are to be read as they were then.
    past: Option<&'a Past>,
    session: Option<&'a Session>,
    used: RefCell<Vec<RelationId>>,
    system: Cell<bool>,
    timed: Cell<bool>,
}

/// What a relation's name means.
enum Meant<'a> {
    Extra(&'a Arc<dyn TableProvider>),
    Relation(Relation),
    System(&'static system::Table),
}

impl<'a> Names<'a> {
    pub fn new(
        state: &'a SessionState,
        catalog: &'a Catalog,
        functions: &'a Functions,
        search_path: &'a [String],
        extra: &'a [(String, Arc<dyn TableProvider>)],
    ) -> Self {
        Self {
            state,
            types: weir_sql::session::types(),
            catalog,
            functions,
            search_path,
            extra,
            past: None,
            session: None,
            used: RefCell::default(),
            system: Cell::default(),
            timed: Cell::default(),
        }
    }

    /// The binder may tell of `session`, and of the time, which it does not know.
    pub fn of_session(mut self, session: Option<&'a Session>) -> Self {
        self.session = session;
        self
    }

    pub fn as_of(mut self, past: Option<&'a Past>) -> Self {
        self.past = past;
        self
    }

    /// Whether what was bound may call for the time.
    pub fn is_timed(&self) -> bool {
        self.timed.get()
    }

    /// Relations that were asked for, each once, and whether a system table was.
    pub fn used(self) -> (Vec<RelationId>, bool) {
        (self.used.into_inner(), self.system.get())
    }

    fn find(&self, schema: Option<&str>, name: &str) -> Result<Arc<dyn TableProvider>, Error> {
        Ok(match self.meant(schema, name)? {
            Meant::Extra(table) => table.clone(),
            Meant::Relation(relation) => self.table(&relation),
            Meant::System(table) => self.system(table),
        })
    }

    fn meant(&self, schema: Option<&str>, name: &str) -> Result<Meant<'a>, Error> {
        if schema.is_none()
            && let Some((_, table)) = self.extra.iter().find(|(extra, _)| extra == name)
        {
            return Ok(Meant::Extra(table));
        }
        // As in Postgres, pg_catalog comes first; rw_catalog comes last, so that it shadows nothing of the user's.
        let meant = match schema {
            None => {
                let searched = self.search_path.iter().any(|s| s == "public");
                let public = || if searched { self.of_now(name).transpose() } else { None };
                let system = |schema| system::find(schema, name).map(|table| Ok(Meant::System(table)));
                system("pg_catalog").or_else(public).or_else(|| system("rw_catalog")).transpose()?
            }
            Some("public") => self.of_now(name)?,
            Some(time_travel::SCHEMA) if self.past.is_some() => self.of_past(name)?,
            Some(schema) if system::SCHEMAS.contains(&schema) => system::find(schema, name).map(Meant::System),
            Some(schema) => return Err(Error::new("3F000", format!("schema \"{schema}\" does not exist"))),
        };
        meant.ok_or_else(|| self.missing(schema, name))
    }

    fn missing(&self, schema: Option<&str>, name: &str) -> Error {
        let error = Error::undefined_relation(&schema.map_or(name.into(), |s| format!("{s}.{name}")));
        match self.catalog.by_name(name) {
            Some(object) if object.columns().is_none() => {
                Error::new("42809", format!("\"{name}\" is a {}, which holds no rows", object.kind()))
                    .hint(format!("CREATE TABLE … (*) FROM {name} TABLE '…' and read that."))
            }
            _ => error,
        }
    }

    fn of_now(&self, name: &str) -> Result<Option<Meant<'a>>, Error> {
        let Some(relation) = self.catalog.relation(name) else { return Ok(None) };
        if self.past.is_some() {
            return Err(Error::unsupported(format!("reading \"{name}\" as it is and another relation as it was"))
                .hint("Write FOR SYSTEM_TIME AS OF with the same time after each of them."));
        }
        Ok(Some(Meant::Relation(relation)))
    }

    fn of_past(&self, name: &str) -> Result<Option<Meant<'a>>, Error> {
        match self.past.and_then(|past| past.object(name)).and_then(Object::relation) {
            Some(relation) => Ok(Some(Meant::Relation(relation))),
            None if system::SCHEMAS.iter().any(|schema| system::find(schema, name).is_some()) => {
                Err(time_travel::system_table(name))
            }
            None => Err(Error::undefined_relation(name).detail(
                "There was no such relation, or it was not readable yet, at the time that the query asks for.",
            )),
        }
    }

    fn table(&self, relation: &Relation) -> Arc<dyn TableProvider> {
        let mut used = self.used.borrow_mut();
        if !used.contains(&relation.id) {
            used.push(relation.id);
        }
        Arc::new(Table::new(relation))
    }

    fn system(&self, table: &'static system::Table) -> Arc<dyn TableProvider> {
        self.system.set(true);
        Arc::new(SystemTable::new(table))
    }
}

/// For the binder.
impl Relations for Names<'_> {
    fn relation(&self, schema: Option<&str>, name: &str) -> Bound<bind::Relation> {
        match self.meant(schema, name)? {
            Meant::Relation(relation) => Ok(bind::Relation::of(&relation, provider_as_source(self.table(&relation)))),
            Meant::Extra(table) => made(name, table.clone()),
            Meant::System(table) => {
                let provider = self.system(table);
                let schema = provider.schema();
                let columns = schema.fields().iter().map(|field| Ok((field.name().clone(), told(field)?)));
                let (name, columns) = (table.name.to_string(), columns.collect::<Bound<_>>()?);
                Ok(bind::Relation { name, columns, key: None, table: bound::Table(provider_as_source(provider)) })
            }
        }
    }

    fn session(&self) -> Option<&Session> {
        self.timed.set(true);
        self.session
    }
}

/// The type of a system table's column. Vectors are arrays here: of which kind they are, and where they begin, is not known of them.
fn told(field: &Field) -> Bound<Kind> {
    match field.data_type() {
        DataType::List(element) if element.data_type().is_integer() => Ok(OIDVECTOR.into()),
        _ => Ok(WireType::of(field)?.told),
    }
}

/// The schemas of `search_path` that there are, each once.
pub fn schemas(search_path: &[String]) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    for schema in search_path {
        let is_known = schema == "public" || system::SCHEMAS.contains(&schema.as_str());
        if is_known && !found.contains(schema) {
            found.push(schema.clone());
        }
    }
    found
}

/// A table that is made for a statement.
fn made(name: &str, table: Arc<dyn TableProvider>) -> Bound<bind::Relation> {
    let column = |field: &Arc<Field>| Ok((field.name().clone(), Kind::of(&Type::of(field)?)));
    let columns = table.schema().fields().iter().map(column).collect::<weir_sql::Result<_>>()?;
    Ok(bind::Relation { name: name.into(), columns, key: None, table: bound::Table(provider_as_source(table)) })
}

/// For DataFusion's planner.
impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let found = match name.catalog() {
            Some(database) if database != DATABASE => {
                Err(Error::new("0A000", format!("cross-database references are not supported: \"{name}\"")))
            }
            _ => self.find(name.schema(), name.table()),
        };
        found.map(provider_as_source).map_err(|e| DataFusionError::External(Box::new(e)))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self.state.table_functions().get(name).ok_or_else(|| {
            DataFusionError::External(Box::new(Error::new("42883", format!("function {name} does not exist"))))
        })?;
        let context = SimplifyContext::builder().with_config_options(self.state.config_options().clone()).build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args: Vec<Expr> = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|e| simplifier.simplify(e)))
            .collect::<Result<_>>()?;
        let table = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(table))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.types.clone())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        // Their answers come with the facts that system tables are made from.
        if function::measures(name) {
            self.system.set(true);
        }
        self.functions.find(name).or_else(|| self.state.scalar_functions().get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions
            .names()
            .chain(self.state.scalar_functions().keys().map(String::as_str))
            .map(str::to_string)
            .collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
