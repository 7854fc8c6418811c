//! The analyzer rule that gives every expression Postgres' types, before DataFusion's own coercion finds nothing left to do.
//!
//! Number literals get Postgres' types, untyped literals the type of what they meet, mixed numbers one common type; casts become
//! ours; arithmetic that DataFusion's planner built itself becomes ours. Values whose equal ones can differ in bytes (numeric,
//! interval) are compared, joined, grouped and sorted by their key.

use super::common::{self, all, compared, convert, keyed, kind, unified};
use super::{chain, counted, operators, regroup};
use crate::error::{Error, Result};
use crate::function::cast::Cast;
use crate::function::{self, key};
use crate::types::Type;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, ExprSchema, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Case, InList, InSubquery, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Join, Subquery};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Union,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

#[derive(Debug)]
pub struct Coerce {
    zone: String,
}

impl Coerce {
    pub fn new(zone: &str) -> Self {
        Self { zone: zone.to_string() }
    }
}

impl AnalyzerRule for Coerce {
    fn name(&self) -> &str {
        "postgres_coercion"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        Ok(self.plan(plan, &DFSchema::empty())?)
    }
}

impl Coerce {
    /// Inputs first. `outer` are the columns that a subquery may refer to.
    fn plan(&self, plan: LogicalPlan, outer: &DFSchema) -> Result<LogicalPlan> {
        let plan = plan.map_children(|child| Ok(Transformed::yes(self.plan(child, outer)?)))?.data;
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        schema.merge(outer);
        let plan = plan.map_subqueries(|subquery| Ok(Transformed::yes(self.plan(subquery, &schema)?)))?.data;
        let plan = match plan {
            // Its expressions are numbers of rows.
            LogicalPlan::Limit(_) => plan,
            LogicalPlan::Values(values) => self.values(values.values, &schema)?,
            plan => self.expressions(plan, &schema)?,
        };
        let plan = match plan {
            LogicalPlan::Join(join) => LogicalPlan::Join(self.join(self.matched_rows(join)?)?),
            LogicalPlan::Union(union) => LogicalPlan::Union(self.union(union)?),
            plan => plan,
        };
        counted::outputs(regroup::by_keys(plan.recompute_schema()?)?)
    }

    /// Every expression of a node, its name kept: it may be what a parent calls a column.
    fn expressions(&self, plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&plan);
        let sort = matches!(plan, LogicalPlan::Sort(_));
        let plan = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let mut expr = expr.transform_up(|expr| Ok(Transformed::yes(self.expression(expr, schema)?)))?.data;
            if sort {
                return Ok(Transformed::yes(keyed(expr, schema)?));
            }
            expr = name.restore(expr);
            Ok(Transformed::yes(expr))
        })?;
        Ok(plan.data)
    }

    /// One expression whose parts are done.
    fn expression(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        match expr {
            Expr::Literal(value, None) => Ok(Expr::Literal(narrowed(value), None)),
            Expr::OuterReferenceColumn(_, column) if schema.has_column(&column) => {
                let field = schema.field_from_column(&column)?.clone();
                Ok(Expr::OuterReferenceColumn(field, column))
            }
            Expr::BinaryExpr(binary) => self.binary(binary, schema),
            Expr::Negative(operand) => self.call("negate", vec![*operand], schema),
            Expr::Between(between) => self.between(between, schema),
            Expr::InList(list) => self.in_list(list, schema),
            Expr::Case(case) => self.case(case, schema),
            Expr::Cast(cast) => {
                let to = Type::of(&cast.field)?;
                if common::is_string(&to) && !matches!(to, Type::Text) {
                    return self.limited(*cast.expr, to, schema);
                }
                convert(*cast.expr, &to, schema, &self.zone)
            }
            Expr::ScalarFunction(call) => self.function(call, schema),
            Expr::AggregateFunction(call) => self.aggregate(call, schema),
            Expr::WindowFunction(call) => self.window(*call, schema),
            Expr::InSubquery(subquery) => self.in_subquery(subquery, schema),
            other => Ok(other),
        }
    }

    /// One of the operators of a chain.
    fn operator(&self, sign: &'static str, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        if sign == "||" {
            return self.concatenation(left, right, schema);
        }
        match operators::call(sign, left, right, schema)? {
            Expr::ScalarFunction(call) => self.function(call, schema),
            other => Ok(other),
        }
    }

    fn binary(&self, binary: BinaryExpr, schema: &DFSchema) -> Result<Expr> {
        let BinaryExpr { left, op, right } = binary;
        let sign = match op {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => return operators::compare(op, *left, *right, schema, &self.zone),
            Operator::StringConcat => "||",
            _ => return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        };
        self.operator(sign, *left, *right, schema)
    }

    fn concatenation(&self, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        let arrays = [&left, &right].map(|side| matches!(kind(side, schema), Ok(Some(Type::Array(_)))));
        let (left, right) = match arrays {
            [false, false] => {
                let text = |side| convert(side, &Type::Text, schema, &self.zone);
                (text(left)?, text(right)?)
            }
            _ => (left, right),
        };
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::StringConcat, Box::new(right))))
    }

    fn between(&self, between: Between, schema: &DFSchema) -> Result<Expr> {
        let Between { expr, negated, low, high } = between;
        let (mut low, mut high) = (*low, *high);
        if let Some(kind) = kind(&expr, schema)? {
            (low, high) = (common::fit(low, &kind), common::fit(high, &kind));
        }
        let common = all(&[&expr, &low, &high], schema, "BETWEEN", compared)?;
        let side = |side: Expr| -> Result<Box<Expr>> {
            let side = match &common {
                Some(common) => convert(side, common, schema, &self.zone)?,
                None => side,
            };
            Ok(Box::new(keyed(side, schema)?))
        };
        Ok(Expr::Between(Between::new(side(*expr)?, negated, side(low)?, side(high)?)))
    }

    fn in_list(&self, list: InList, schema: &DFSchema) -> Result<Expr> {
        let InList { expr, list, negated } = list;
        let list: Vec<_> = match kind(&expr, schema)? {
            Some(kind) => list.into_iter().map(|item| common::fit(item, &kind)).collect(),
            None => list,
        };
        let sides: Vec<_> = std::iter::once(expr.as_ref()).chain(&list).collect();
        let common = all(&sides, schema, "IN", compared)?;
        let side = |side: Expr| match &common {
            Some(common) => keyed(convert(side, common, schema, &self.zone)?, schema),
            None => Ok(side),
        };
        let list = list.into_iter().map(side).collect::<Result<_>>()?;
        Ok(Expr::InList(InList::new(Box::new(side(*expr)?), list, negated)))
    }

    fn case(&self, case: Case, schema: &DFSchema) -> Result<Expr> {
        let Case { mut expr, mut when_then_expr, mut else_expr } = case;
        if let Some(operand) = expr.take() {
            // Compared one by one, as Postgres defines it: each arm may need another common type.
            for (when, _) in &mut when_then_expr {
                let right = std::mem::take(when.as_mut());
                **when = operators::compare(Operator::Eq, (*operand).clone(), right, schema, &self.zone)?;
            }
        }
        let results: Vec<_> =
            when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(else_expr.as_deref()).collect();
        let Some(common) = all(&results, schema, "CASE", unified)? else {
            return Ok(Expr::Case(Case { expr, when_then_expr, else_expr }));
        };
        for (_, then) in &mut when_then_expr {
            **then = convert(std::mem::take(then.as_mut()), &common, schema, &self.zone)?;
        }
        if let Some(otherwise) = &mut else_expr {
            **otherwise = convert(std::mem::take(otherwise.as_mut()), &common, schema, &self.zone)?;
        }
        Ok(Expr::Case(Case { expr, when_then_expr, else_expr }))
    }

    /// varchar(n) and char(n) also cut and pad text.
    fn limited(&self, expr: Expr, to: Type, schema: &DFSchema) -> Result<Expr> {
        match kind(&expr, schema)? {
            Some(from) if from == to => Ok(expr),
            from => Ok(Cast::udf(from.unwrap_or(Type::Text), to, &self.zone).call(vec![expr])),
        }
    }

    fn call(&self, name: &str, args: Vec<Expr>, schema: &DFSchema) -> Result<Expr> {
        let func = function::lookup(name).ok_or_else(|| Error::internal(format!("no function {name}")))?;
        self.function(ScalarFunction { func, args }, schema)
    }

    fn function(&self, call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
        let mut call = call;
        if let Some((steps, operands)) = chain::taken(&mut call)? {
            return chain::settled(steps, operands, schema, |sign, left, right, schema| {
                self.operator(sign, left, right, schema)
            });
        }
        let ScalarFunction { func, mut args } = call;
        let mut given = args.iter().map(|arg| kind(arg, schema)).collect::<Result<Vec<_>>>()?;
        if function::reads_clock(func.name(), &given) {
            args.push(Expr::Literal(ScalarValue::Utf8(Some(self.zone.clone())), None));
            given.push(None);
        }
        if let Some(definition) = function::definition(&func) {
            let wanted = (definition.resolve)(&given)?.arguments;
            let args = args.into_iter().zip(&wanted).map(|(arg, to)| self.argument(arg, to, schema));
            return Ok(func.call(args.collect::<Result<_>>()?));
        }
        let args = match func.name() {
            "coalesce" | "greatest" | "least" => self.matched(args, &func.name().to_uppercase(), unified, schema)?,
            "nullif" => {
                let [left, right] =
                    <[Expr; 2]>::try_from(args).map_err(|_| Error::new("42601", "NULLIF takes two arguments"))?;
                return self.null_if(left, right, schema);
            }
            "cast" => match (func.inner().downcast_ref::<Cast>(), &args[..]) {
                (Some(cast), [number]) if common::unheld(number).is_some() => {
                    return convert(number.clone(), cast.to(), schema, cast.zone());
                }
                _ => args,
            },
            // The one that counts the blanks of char(n).
            "octet_length" => args,
            // DataFusion's own know no unconstrained numeric: what they compute, they compute on floats.
            _ => args.into_iter().map(|arg| self.plain(arg, schema)).collect::<Result<_>>()?,
        };
        let name = func.name().to_string();
        counted::call(Expr::ScalarFunction(ScalarFunction { func, args }), &name, schema)
    }

    /// An argument of our own function: numbers are taken as they are, the rest in the type that was resolved.
    fn argument(&self, arg: Expr, to: &Type, schema: &DFSchema) -> Result<Expr> {
        convert(arg, to, schema, &self.zone)
    }

    fn matched(
        &self,
        args: Vec<Expr>,
        construct: &str,
        join: fn(&Type, &Type) -> Option<Type>,
        schema: &DFSchema,
    ) -> Result<Vec<Expr>> {
        match all(&args.iter().collect::<Vec<_>>(), schema, construct, join)? {
            Some(common) => args.into_iter().map(|arg| convert(arg, &common, schema, &self.zone)).collect(),
            None => Ok(args),
        }
    }

    fn null_if(&self, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        let equal = operators::compare(Operator::Eq, left.clone(), right, schema, &self.zone)?;
        let null = match kind(&left, schema)? {
            Some(kind) => ScalarValue::try_from(&kind.arrow())?,
            None => ScalarValue::Null,
        };
        let when_then_expr = vec![(Box::new(equal), Box::new(Expr::Literal(null, None)))];
        Ok(Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(left)) }))
    }

    fn plain(&self, arg: Expr, schema: &DFSchema) -> Result<Expr> {
        match kind(&arg, schema)? {
            Some(Type::Numeric(None)) => convert(arg, &Type::Float8, schema, &self.zone),
            // Blanks at the end of char(n) mean nothing.
            Some(Type::Char(_)) => convert(arg, &Type::Text, schema, &self.zone),
            _ => Ok(arg),
        }
    }

    fn aggregate(&self, mut call: AggregateFunction, schema: &DFSchema) -> Result<Expr> {
        let name = call.func.name().to_string();
        let distinct = call.params.distinct;
        call.params.args = call
            .params
            .args
            .into_iter()
            .map(|arg| self.aggregated(&name, distinct, arg, schema))
            .collect::<Result<_>>()?;
        for sort in &mut call.params.order_by {
            sort.expr = keyed(std::mem::take(&mut sort.expr), schema)?;
        }
        Ok(Expr::AggregateFunction(call))
    }

    fn aggregated(&self, name: &str, distinct: bool, arg: Expr, schema: &DFSchema) -> Result<Expr> {
        match name {
            // Which of several equal values counts does not matter to these.
            "count" | "sum" | "avg" if distinct => keyed(arg, schema),
            "count" | "sum" | "avg" | "min" | "max" | "array_agg" | "first_value" | "last_value" => Ok(arg),
            _ => self.plain(arg, schema),
        }
    }

    fn window(&self, mut call: WindowFunction, schema: &DFSchema) -> Result<Expr> {
        let name = call.fun.name().to_string();
        if let ("min" | "max", [argument]) = (name.as_str(), &call.params.args[..])
            && kind(argument, schema)? == Some(Type::Interval)
        {
            return Err(Error::unsupported(format!("{name} of intervals as a window function")));
        }
        for part in &mut call.params.partition_by {
            *part = keyed(std::mem::take(part), schema)?;
        }
        for sort in &mut call.params.order_by {
            sort.expr = keyed(std::mem::take(&mut sort.expr), schema)?;
        }
        Ok(Expr::WindowFunction(Box::new(call)))
    }

    fn in_subquery(&self, subquery: InSubquery, schema: &DFSchema) -> Result<Expr> {
        let InSubquery { expr, subquery, negated } = subquery;
        let field = subquery.subquery.schema().field(0).clone();
        let theirs = function::given(&field)?.unwrap_or(Type::Text);
        let ours = kind(&expr, schema)?.unwrap_or_else(|| theirs.clone());
        let common =
            compared(&ours, &theirs).ok_or_else(|| function::undefined("=", &[Some(ours), Some(theirs.clone())]))?;
        let expr = keyed(convert(*expr, &common, schema, &self.zone)?, schema)?;
        let subquery = if common != theirs || key::needed(&common) {
            let Subquery { subquery, outer_ref_columns, spans } = subquery;
            let (qualifier, _) = subquery.schema().qualified_field(0);
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let inner = keyed(convert(column, &common, subquery.schema(), &self.zone)?, subquery.schema())?;
            let projection = Projection::try_new(vec![inner.alias(field.name())], subquery)?;
            Subquery { subquery: Arc::new(LogicalPlan::Projection(projection)), outer_ref_columns, spans }
        } else {
            subquery
        };
        Ok(Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, negated)))
    }

    /// Pairs of keys like comparisons, each side with its own columns.
    fn join(&self, mut join: Join) -> Result<Join> {
        let (left_schema, right_schema) = (join.left.schema().clone(), join.right.schema().clone());
        for (left, right) in &mut join.on {
            let (left_kind, right_kind) = (kind(left, &left_schema)?, kind(right, &right_schema)?);
            let (Some(left_kind), Some(right_kind)) = (left_kind, right_kind) else { continue };
            let common = compared(&left_kind, &right_kind)
                .ok_or_else(|| function::undefined("=", &[Some(left_kind.clone()), Some(right_kind.clone())]))?;
            let side = |side: &mut Expr, schema: &DFSchema| -> Result<Expr> {
                keyed(convert(std::mem::take(side), &common, schema, &self.zone)?, schema)
            };
            (*left, *right) = (side(left, &left_schema)?, side(right, &right_schema)?);
        }
        Ok(join)
    }

    /// Each column in one type for all inputs.
    fn union(&self, mut union: Union) -> Result<Union> {
        let width = union.schema.fields().len();
        if union.inputs.iter().any(|input| input.schema().fields().len() != width) {
            return Ok(union);
        }
        let inputs: Vec<_> = union.inputs.iter().map(Arc::as_ref).collect();
        let kinds = united(&inputs, "UNION")?;
        for input in &mut union.inputs {
            *input = self.retyped(input.clone(), &kinds)?;
        }
        // What the first input was before is in the old schema.
        Ok(Union::try_new(union.inputs)?)
    }

    /// INTERSECT and EXCEPT, which DataFusion plans as joins on all columns: of the types of both sides, like UNION.
    fn matched_rows(&self, mut join: Join) -> Result<Join> {
        let columns = |plan: &LogicalPlan| plan.schema().fields().len();
        let whole = [&join.left, &join.right].iter().all(|side| columns(side) == join.on.len());
        let rows = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) && join.filter.is_none();
        if !whole || !rows || join.null_equality != NullEquality::NullEqualsNull {
            return Ok(join);
        }
        let construct = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
        let kinds = united(&[&join.left, &join.right], construct)?;
        join.left = self.retyped(join.left, &kinds)?;
        join.right = self.retyped(join.right, &kinds)?;
        Ok(join)
    }

    /// `input` with its columns converted to `kinds`, under the same names.
    fn retyped(&self, input: Arc<LogicalPlan>, kinds: &[Option<Type>]) -> Result<Arc<LogicalPlan>> {
        let schema = input.schema().clone();
        let arrow = |kind: &Option<Type>| kind.as_ref().map_or(DataType::Null, Type::arrow);
        if schema.fields().iter().zip(kinds).all(|(field, to)| arrow(to) == *field.data_type()) {
            return Ok(input);
        }
        let columns = schema.iter().zip(kinds).map(|((qualifier, field), to)| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let Some(to) = to else { return Ok(column) };
            Ok(convert(column, to, &schema, &self.zone)?.alias_qualified(qualifier.cloned(), field.name()))
        });
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns.collect::<Result<_>>()?, input)?)))
    }

    fn values(&self, rows: Vec<Vec<Expr>>, schema: &DFSchema) -> Result<LogicalPlan> {
        let mut rows: Vec<Vec<Expr>> = rows
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|expr| {
                        let done = expr.transform_up(|expr| Ok(Transformed::yes(self.expression(expr, schema)?)))?;
                        Ok(done.data)
                    })
                    .collect::<Result<_>>()
            })
            .collect::<Result<_>>()?;
        for column in 0..rows.first().map_or(0, Vec::len) {
            let sides: Vec<_> = rows.iter().map(|row| &row[column]).collect();
            let Some(common) = all(&sides, schema, "VALUES", unified)? else { continue };
            for row in &mut rows {
                row[column] = convert(std::mem::take(&mut row[column]), &common, schema, &self.zone)?;
            }
        }
        Ok(LogicalPlanBuilder::values(rows)?.build()?)
    }
}

/// The type of each column of a set operation; `None` where all are unknown.
fn united(inputs: &[&LogicalPlan], construct: &str) -> Result<Vec<Option<Type>>> {
    let width = inputs.first().map_or(0, |input| input.schema().fields().len());
    let mut kinds: Vec<Option<Type>> = vec![None; width];
    for input in inputs {
        for (so_far, field) in kinds.iter_mut().zip(input.schema().fields()) {
            let Some(kind) = function::given(field)? else { continue };
            *so_far = Some(match so_far.take() {
                None => kind,
                Some(known) => unified(&known, &kind).ok_or_else(|| {
                    Error::new("42804", format!("{construct} types {known} and {kind} cannot be matched"))
                })?,
            });
        }
    }
    Ok(kinds)
}

/// Postgres' types of number literals: integer if it fits, then bigint, then numeric.
fn narrowed(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Int64(Some(number)) => match i32::try_from(number) {
            Ok(narrow) => ScalarValue::Int32(Some(narrow)),
            Err(_) => value,
        },
        ScalarValue::UInt64(Some(number)) => ScalarValue::Decimal128(Some(number as i128), 20, 0),
        other => other,
    }
}
