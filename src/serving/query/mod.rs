//! SELECT: SQL over relations and system tables, run by DataFusion at one epoch. What it means is settled by Weir's binder or, if that does
//! not know something of it, by DataFusion's planner.
//!
//! In reading order: [`apart`] (planning is work for the queries' threads), [`time_travel`] (FOR SYSTEM_TIME AS OF), [`names`] (what names
//! mean), this file (planning, parameters), [`settled`] (by the binder), [`rewrite`] (what Postgres' clients write and DataFusion does not
//! read), [`bound`] (the pinned epoch and the error check), [`relation`] and [`scan`] (reading arrangements), [`system`] (system tables),
//! [`run`] (running, batch by batch), [`pieces`] (rows that are wide), [`function`] (functions of Postgres' catalogs), [`template`]
//! (queries of ours), [`failure`] (errors).

pub mod apart;
pub mod bound;
pub mod failure;
pub mod function;
pub mod names;
pub mod pieces;
pub mod relation;
pub mod rewrite;
pub mod run;
pub mod scan;
pub mod settled;
pub mod system;
pub mod template;
pub mod time_travel;

use super::pool::Pool;
use super::value::row::{self, Column};
use crate::catalog::Catalog;
use crate::catalog::facts::Inspection;
use apart::Waited;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::logical_plan::LogicalPlan;
use datafusion::logical_expr::{Expr, ScalarUDF, expr::Placeholder};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use failure::failure;
use function::Functions;
use names::Names;
use settled::{Settled, settled};
use std::collections::BTreeMap;
use std::sync::Arc;
use time_travel::Past;
use tracing::debug;
use weir_sql::bind::Statement;
use weir_sql::bind::session::Session;
use weir_sql::bound::Unbound;
use weir_sql::catalog::RelationId;
use weir_sql::session::Settings;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

/// Postgres' limit on parameters of a statement.
const MAX_PARAMETERS: usize = 65_535;

/// Functions of Postgres' catalogs that clients are answered.
pub fn answered() -> Vec<&'static str> {
    function::names().chain(rewrite::FUNCTIONS).collect()
}

/// What plans: a session's DataFusion state and the catalog as of now.
#[derive(Clone)]
pub struct Planner {
    ground: Arc<Ground>,
    settings: Settings,
    extra: Vec<(String, Arc<dyn TableProvider>)>,
    past: Option<Arc<Past>>,
    /// Who asks; `None`: nothing that is bound may tell of it.
    session: Option<Arc<Session>>,
    pool: Pool,
}

/// What a statement is planned over.
pub struct Ground {
    /// Of all statements with these settings.
    session: Arc<SessionState>,
    catalog: Arc<Catalog>,
    functions: Functions,
}

impl Ground {
    /// `now`: of the transaction, microseconds since 1970-01-01 UTC. `functions`: beside the server's own.
    pub fn new(session: Arc<SessionState>, now: i64, catalog: Arc<Catalog>, functions: Vec<Arc<ScalarUDF>>) -> Self {
        let functions = Functions::new(now, catalog.clone(), functions);
        Self { session, catalog, functions }
    }
}

/// A planned query, before its parameters are known and its relations pinned.
#[derive(Clone)]
pub struct Planned {
    pub plan: LogicalPlan,
    /// As the binder has settled them; `None` of DataFusion's planner, whose plans have their columns once they are analyzed.
    pub columns: Option<Vec<Column>>,
    /// Types of `$1`, `$2`, …
    pub parameters: Vec<Type>,
    pub relations: Vec<RelationId>,
    /// Whether it reads system tables.
    pub system: bool,
    /// Whether it is to be told the time when it is run ([`weir_sql::session::at`]).
    pub timed: bool,
}

impl Planned {
    /// Whether it holds for as long as the catalog and the settings are the same: nothing in a bound query knows a time.
    pub fn is_lasting(&self) -> bool {
        self.columns.is_some()
    }
}

impl Planner {
    /// It works on the threads of `pool`. `settings`: those that the ground's session is of.
    pub fn new(ground: Ground, settings: Settings, pool: Pool) -> Self {
        Self { ground: Arc::new(ground), settings, extra: vec![], past: None, session: None, pool }
    }

    /// Lets the statement read `table` by `name`.
    pub fn with_table(mut self, name: &str, table: Arc<dyn TableProvider>) -> Self {
        self.extra.push((name.to_string(), table));
        self
    }

    /// What is bound may tell of `session`, and is told the time when it is run.
    pub fn of_session(mut self, session: Session) -> Self {
        self.session = Some(Arc::new(session));
        self
    }

    /// Relations are to be read as they were then.
    pub fn as_of(mut self, past: Arc<Past>) -> Self {
        self.past = Some(past);
        self
    }

    pub fn past(&self) -> Option<&Arc<Past>> {
        self.past.as_ref()
    }

    /// Tells functions how large relations are; before a plan is run.
    pub fn measure(&self, inspection: &Inspection) {
        self.ground.functions.measure(inspection);
    }

    pub fn state(&self) -> &SessionState {
        &self.ground.session
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.ground.catalog
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Plans `statement`, as it was written, by the binder; `None`: there is something in it that the binder does not know. `declared` are
    /// the types the client gave to parameters, which may be fewer than there are.
    pub async fn settle(&self, statement: Statement, declared: &[Option<Type>]) -> Result<Option<Planned>> {
        let (planner, declared) = (self.clone(), declared.to_vec());
        apart::run(&self.pool, move |waited| planner.settled(&statement, &declared, waited)).await
    }

    /// Plans `query`, brought into the form that DataFusion's planner reads, by that. A type of a parameter that neither the client nor the
    /// query tells is text, as in Postgres.
    pub async fn plan(&self, query: &ast::Query, declared: &[Option<Type>]) -> Result<Planned> {
        let (planner, query, declared) = (self.clone(), query.clone(), declared.to_vec());
        apart::run(&self.pool, move |waited| planner.planned(&query, &declared, waited)).await
    }

    /// The columns of `query`, which is one for [`Planner::plan`] and has no parameters.
    pub async fn describe(&self, query: &ast::Query) -> Result<Vec<Column>> {
        let planned = self.plan(query, &[]).await?;
        self.columns(&planned).await
    }

    /// The columns that a plan will yield.
    pub async fn columns(&self, planned: &Planned) -> Result<Vec<Column>> {
        if let Some(columns) = &planned.columns {
            return Ok(columns.clone());
        }
        let (planner, plan) = (self.clone(), planned.plan.clone());
        // After our rules have settled their types.
        apart::run(&self.pool, move |_| row::columns(planner.analyzed(&plan)?.schema().as_arrow())).await
    }

    /// What the one expression of `query`, which reads no relation, gives; `None` if that differs from time to time.
    pub async fn evaluate(&self, query: &ast::Query) -> Result<Option<ScalarValue>> {
        let (planner, query) = (self.clone(), query.clone());
        apart::run(&self.pool, move |waited| planner.constant(&planner.planned(&query, &[], waited)?.plan)).await
    }

    fn settled(&self, statement: &Statement, declared: &[Option<Type>], waited: &Waited) -> Result<Option<Planned>> {
        if let Some(query) = statement.query() {
            parameters(query, declared)?;
        }
        let names = self.names();
        match settled(statement, declared, &names, &self.settings, waited) {
            Ok(Settled { plan, columns, parameters }) => {
                let timed = names.is_timed();
                let (relations, system) = names.used();
                Ok(Some(Planned { plan, columns: Some(columns), parameters, relations, system, timed }))
            }
            Err(Unbound::NotYet(construct)) => {
                debug!(%construct, "planned by DataFusion's planner");
                Ok(None)
            }
            Err(Unbound::Wrong(error)) => Err(error),
        }
    }

    fn planned(&self, query: &ast::Query, declared: &[Option<Type>], waited: &Waited) -> Result<Planned> {
        let count = parameters(query, declared)?;
        let mut known: Vec<Option<Type>> = declared.to_vec();
        known.resize(count, None);
        if known.iter().all(Option::is_some) {
            return self.plan_with(query, &known);
        }
        let guess = |mut known: Vec<Option<Type>>| {
            known.iter_mut().for_each(|kind| *kind = Some(kind.take().unwrap_or(Type::Text)));
            known
        };
        match self.plan_with(query, &known) {
            Ok(planned) => {
                waited.check()?;
                infer(&planned.plan, &mut known)?;
                self.plan_with(query, &guess(known))
            }
            // Some functions cannot be planned over a parameter without a type.
            Err(error) => self.plan_with(query, &guess(known)).map_err(|_| error),
        }
    }

    fn names(&self) -> Names<'_> {
        let Ground { session, catalog, functions } = &*self.ground;
        let names = Names::new(session, catalog, functions, &self.settings.search_path, &self.extra);
        names.as_of(self.past.as_deref()).of_session(self.session.as_deref())
    }

    fn plan_with(&self, query: &ast::Query, parameters: &[Option<Type>]) -> Result<Planned> {
        let names = self.names();
        let mut query = query.clone();
        weir_sql::session::prepare(&mut query)?;
        let statement = ast::Statement::Query(Box::new(query));
        let fields = parameters.iter().map(|kind| kind.as_ref().map(|k| FieldRef::new(k.field("", true)))).collect();
        let mut context = PlannerContext::new().with_prepare_param_data_types(fields);
        let plan = SqlToRel::new_with_options(&names, self.options())
            .sql_statement_to_plan_with_context(statement, &mut context)
            .and_then(weir_sql::session::rewrite_subqueries)
            .map_err(failure)?;
        let (relations, system) = names.used();
        let parameters = parameters.iter().map(|kind| kind.clone().unwrap_or(Type::Text)).collect();
        Ok(Planned { plan, columns: None, parameters, relations, system, timed: false })
    }

    fn options(&self) -> ParserOptions {
        let options = &self.state().config_options().sql_parser;
        ParserOptions::new()
            .with_parse_float_as_decimal(options.parse_float_as_decimal)
            .with_enable_ident_normalization(options.enable_ident_normalization)
            .with_enable_options_value_normalization(options.enable_options_value_normalization)
            .with_support_varchar_with_length(options.support_varchar_with_length)
            .with_map_string_types_to_utf8view(options.map_string_types_to_utf8view)
            .with_collect_spans(true)
            .with_default_null_ordering(options.default_null_ordering.as_str().into())
    }

    fn constant(&self, plan: &LogicalPlan) -> Result<Option<ScalarValue>> {
        let LogicalPlan::Projection(projection) = self.analyzed(plan)? else { return Ok(None) };
        let [expr] = projection.expr.as_slice() else { return Ok(None) };
        if expr.is_volatile() {
            return Ok(None);
        }
        let row = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &row);
        let value = self.state().create_physical_expr(expr.clone(), &DFSchema::empty()).and_then(|expr| {
            let value = expr.evaluate(&row?)?.into_array(1)?;
            ScalarValue::try_from_array(&value, 0)
        });
        value.map(Some).map_err(failure)
    }

    fn analyzed(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        weir_sql::session::analyze(self.state(), plan.clone()).map_err(failure)
    }
}

/// How many there are.
fn parameters(query: &ast::Query, declared: &[Option<Type>]) -> Result<usize> {
    match rewrite::parameters(query).max(declared.len()) {
        count @ ..=MAX_PARAMETERS => Ok(count),
        _ => Err(Error::new("54023", format!("at most {MAX_PARAMETERS} parameters are allowed"))),
    }
}

/// Fills in the types that the plan tells: of an operator's other side, or of the cast around a parameter.
fn infer(plan: &LogicalPlan, known: &mut [Option<Type>]) -> Result<()> {
    let mut found: BTreeMap<usize, Type> = BTreeMap::new();
    let mut note = |id: &str, field: &FieldRef| {
        if let (Some(number), Ok(kind)) = (id.strip_prefix('$').and_then(|n| n.parse().ok()), Type::of(field)) {
            found.entry(number).or_insert(kind.loose());
        }
    };
    let count: FieldRef = Arc::new(Type::Int8.field("", true));
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for number in [&limit.skip, &limit.fetch].into_iter().flatten() {
                number.apply(|expr| {
                    if let Expr::Placeholder(Placeholder { id, .. }) = expr {
                        note(id, &count);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        let schema = node.inputs().first().map_or_else(|| node.schema().clone(), |input| input.schema().clone());
        node.apply_expressions(|expr| {
            let (expr, _) = expr.clone().infer_placeholder_types(&schema)?;
            expr.apply(|expr| {
                match expr {
                    Expr::Placeholder(Placeholder { id, field: Some(field) }) => note(id, field),
                    Expr::Cast(cast) => {
                        if let Expr::Placeholder(Placeholder { id, field: None }) = cast.expr.as_ref() {
                            note(id, &cast.field);
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(failure)?;
    for (number, kind) in found {
        if let Some(unknown) = known.get_mut(number.wrapping_sub(1)).filter(|kind| kind.is_none()) {
            *unknown = Some(kind);
        }
    }
    Ok(())
}

/// Puts `arguments` in the place of `$1`, `$2`, …
pub fn bind(plan: LogicalPlan, arguments: &[Expr]) -> Result<LogicalPlan> {
    if arguments.is_empty() {
        return Ok(plan);
    }
    let replace = |expr: Expr| {
        let Expr::Placeholder(Placeholder { id, .. }) = &expr else { return Ok(Transformed::no(expr)) };
        let number = id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        match number.and_then(|n| arguments.get(n.checked_sub(1)?)) {
            Some(argument) => Ok(Transformed::yes(argument.clone())),
            None => Err(datafusion::common::DataFusionError::External(Box::new(Error::new(
                "42P02",
                format!("there is no parameter {id}"),
            )))),
        }
    };
    let bound = plan.transform_up_with_subqueries(|node| {
        let names = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&node);
        let bound = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(replace)?.update_data(|expr| name.restore(expr)))
        })?;
        if bound.transformed { bound.map_data(LogicalPlan::recompute_schema) } else { Ok(bound) }
    });
    let bound = bound.map_err(failure)?.data;
    bound.apply_with_subqueries(counted).map_err(failure)?;
    Ok(bound)
}

/// Numbers of rows are not negative.
fn counted(node: &LogicalPlan) -> datafusion::common::Result<TreeNodeRecursion> {
    if let LogicalPlan::Limit(limit) = node {
        for (number, code, clause) in [(&limit.fetch, "2201W", "LIMIT"), (&limit.skip, "2201X", "OFFSET")] {
            if let Some(Expr::Literal(ScalarValue::Int64(Some(..0)), _)) = number.as_deref() {
                let error = Error::new(code, format!("{clause} must not be negative"));
                return Err(datafusion::common::DataFusionError::External(Box::new(error)));
            }
        }
    }
    Ok(TreeNodeRecursion::Continue)
}
