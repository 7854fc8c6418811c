//! What the binder and DataFusion's SQL planner ask: relations from our catalog, functions from a session.

use super::fault;
use crate::bind;
use crate::bound::Bound;
use crate::catalog::{Catalog, Relation};
use crate::error::{Error, Result};
use crate::session;
use crate::types::Column;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{Constraint, Constraints, Result as DataFusionResult, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

/// A relation as DataFusion sees it while it plans, and as [`super::lower`] finds it.
pub struct Table {
    pub relation: Relation,
    schema: SchemaRef,
    constraints: Constraints,
}

impl Table {
    pub fn new(relation: Relation) -> Self {
        let schema = Schema::new(relation.columns.iter().map(Column::field).collect::<Vec<_>>());
        // With a nullable column DataFusion must not take the key for a primary key: two NULLs are two keys to it. Of no columns it is one
        // that DataFusion would put in the place of every other: a group of it is there without rows.
        let constraint = relation.key.clone().filter(|key| !key.is_empty()).map(|key| {
            match key.iter().any(|&c| relation.columns[c].nullable) {
                true => Constraint::Unique(key),
                false => Constraint::PrimaryKey(key),
            }
        });
        let constraints = Constraints::new_unverified(constraint.into_iter().collect());
        Self { relation, schema: Arc::new(schema), constraints }
    }
}

impl TableSource for Table {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }
}

/// The relation a name in SQL means: `t` or `public.t`.
pub fn resolve(name: &TableReference, catalog: &dyn Catalog) -> Result<Relation> {
    match name.schema() {
        None | Some("public") => catalog.relation(name.table()),
        Some(_) => None,
    }
    .ok_or_else(|| Error::undefined_relation(&name.to_string()))
}

pub struct Context<'a> {
    state: &'a SessionState,
    catalog: &'a dyn Catalog,
    types: Arc<dyn TypePlanner>,
}

impl<'a> Context<'a> {
    pub fn new(state: &'a SessionState, catalog: &'a dyn Catalog) -> Self {
        Self { state, catalog, types: session::types() }
    }

    /// SQL to a logical plan, not yet analyzed. Names that are not found carry their position.
    pub fn plan(&self, statement: ast::Statement) -> DataFusionResult<LogicalPlan> {
        let sql = &self.state.config_options().sql_parser;
        let options = ParserOptions {
            parse_float_as_decimal: sql.parse_float_as_decimal,
            enable_ident_normalization: true,
            enable_options_value_normalization: sql.enable_options_value_normalization,
            support_varchar_with_length: sql.support_varchar_with_length,
            map_string_types_to_utf8view: sql.map_string_types_to_utf8view,
            collect_spans: true,
            default_null_ordering: sql.default_null_ordering.as_str().into(),
        };
        SqlToRel::new_with_options(self, options).sql_statement_to_plan(statement)
    }
}

impl bind::Relations for Context<'_> {
    fn relation(&self, schema: Option<&str>, name: &str) -> Bound<bind::Relation> {
        let written = match schema {
            Some(schema) => TableReference::partial(schema, name),
            None => TableReference::bare(name),
        };
        let relation = resolve(&written, self.catalog)?;
        Ok(bind::Relation::of(&relation, Arc::new(Table::new(relation.clone()))))
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let relation = resolve(&name, self.catalog).map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Arc::new(Table::new(relation)))
    }

    fn get_table_function_source(
        &self,
        name: &str,
        _: Vec<datafusion::logical_expr::Expr>,
    ) -> DataFusionResult<Arc<dyn TableSource>> {
        Err(DataFusionError::External(Box::new(match self.state.table_functions().contains_key(name) {
            true => Error::unsupported(format!("function {name} in FROM")),
            false => fault::undefined_function(name),
        })))
    }

    fn create_cte_work_table(&self, _: &str, _: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        Err(DataFusionError::External(Box::new(Error::unsupported("WITH RECURSIVE"))))
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
        self.state.scalar_functions().get(name).cloned()
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
        self.state.scalar_functions().keys().cloned().collect()
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
