//! The analyzer rule that gives every expression Postgres' types, before DataFusion's own coercion finds nothing left to do.
//!
//! Number literals get Postgres' types, untyped literals the type of what they meet, mixed numbers one common type; casts become
//! ours; arithmetic that DataFusion's planner built itself becomes ours. Values whose equal ones can differ in bytes (numeric,
//! interval) are compared, joined, grouped and sorted by their key.

use super::common::{self, all, compared, convert, keyed, kind, ordered, unified};
use super::overload::Overload;
use super::{case, chain, group_key, operators, result_types};
use crate::aggregate;
use crate::error::{Error, Result};
use crate::function::cast::Cast;
use crate::function::zone::Zone;
use crate::function::{self, key, quantified};
use crate::scalar::part::Part;
use crate::types::Type;
use crate::{stack, stop};
use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, DataFusionError, ExprSchema, JoinConstraint, JoinType, NullEquality, ScalarValue,
};
use datafusion::logical_expr::expr::{AggregateFunction, Case, InList, InSubquery, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Distinct, DistinctOn, Join, Subquery};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, Like, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Union, WindowFrame,
    WindowFrameBound, WindowFrameUnits,
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
        stack::level(|| self.node(plan, outer))
    }

    fn node(&self, plan: LogicalPlan, outer: &DFSchema) -> Result<LogicalPlan> {
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
            plan => self.expressions(group_key::once(plan), &schema)?,
        };
        let plan = match plan {
            LogicalPlan::Join(join) => LogicalPlan::Join(self.join(self.matched_rows(join)?)?),
            LogicalPlan::Union(union) => LogicalPlan::Union(self.union(union)?),
            plan => plan,
        };
        result_types::outputs(group_key::by_keys(plan.recompute_schema()?, group_key::everywhere)?)
    }

    /// Every expression of a node, its name kept: it may be what a parent calls a column.
    fn expressions(&self, plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&plan);
        let sort = matches!(plan, LogicalPlan::Sort(_));
        let settle = |expr: Expr| -> Result<Transformed<Expr>, DataFusionError> {
            let name = names.save(&expr);
            let expr = self.settled(expr, schema)?.0;
            if sort {
                return Ok(Transformed::yes(self.sorted(expr, schema)?));
            }
            Ok(Transformed::yes(name.restore(apart(expr, schema)?)))
        };
        let plan = plan.map_expressions(|expr| match expr {
            // Each of its keys is a column. DataFusion knows no alias around all of them.
            Expr::GroupingSet(_) => expr.map_children(settle),
            expr => settle(expr),
        })?;
        match plan.data {
            LogicalPlan::Distinct(Distinct::On(on)) => {
                Ok(LogicalPlan::Distinct(Distinct::On(self.firsts(on, schema)?)))
            }
            plan => Ok(plan),
        }
    }

    /// DISTINCT ON: the first row of those that are equal by their keys.
    fn firsts(&self, mut on: DistinctOn, schema: &DFSchema) -> Result<DistinctOn> {
        for expr in &mut on.on_expr {
            if let Some(kind) = kind(expr, schema)? {
                common::groupable(&kind)?;
            }
            // What they are sorted by has to be the same expression.
            *expr = ordered(std::mem::take(expr).unalias(), schema)?;
        }
        for sort in on.sort_expr.iter_mut().flatten() {
            sort.expr = self.sorted(std::mem::take(&mut sort.expr).unalias(), schema)?;
        }
        Ok(on)
    }

    /// An expression and all its parts, those that are large as one call each, and how large that is.
    fn settled(&self, expr: Expr, schema: &DFSchema) -> Result<(Expr, Extent)> {
        stop::check()?;
        let mut extent = Extent::default();
        let parts = expr.map_children(|part| {
            let (part, its) = self.settled(part, schema)?;
            extent.add(its);
            Ok(Transformed::yes(part))
        })?;
        let expr = self.expression(parts.data, schema)?;
        if extent.is_large() && closes(&expr) {
            extent = Extent::default();
            if let Some(part) = Part::of(&expr, schema)? {
                return Ok((part, extent));
            }
        }
        Ok((expr, extent))
    }

    /// `build` of `value`, evaluated once however often it is named in what comes out.
    fn once(&self, value: Expr, schema: &DFSchema, build: impl Fn(Expr, &DFSchema) -> Result<Expr>) -> Result<Expr> {
        if let Some(kind) = kind(&value, schema)?.filter(|_| !is_small(&value))
            && let Some(part) = Part::sharing(&value, &kind, schema, &build)?
        {
            return Ok(part);
        }
        build(value, schema)
    }

    /// One expression whose parts are done.
    fn expression(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        match expr {
            Expr::Literal(value, None) => Ok(Expr::Literal(narrowed(value), None)),
            Expr::OuterReferenceColumn(field, column) if field.name() == operators::FIELD => {
                Err(operators::no_field(&column, schema))
            }
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
                match cast.expr.as_ref() {
                    // No literal of unknown type any more.
                    Expr::Literal(ScalarValue::Utf8(Some(_)), None) if to == Type::Text => {
                        Ok(Cast::udf(Type::Text, Type::Text, &self.zone).call(vec![*cast.expr]))
                    }
                    _ if to == Type::Bytea => convert(common::blanks(*cast.expr, schema)?, &to, schema, &self.zone),
                    _ => convert(*cast.expr, &to, schema, &self.zone),
                }
            }
            Expr::ScalarFunction(call) => self.function(call, schema),
            Expr::AggregateFunction(call) => self.aggregate(call, schema),
            Expr::WindowFunction(call) => self.window(*call, schema),
            Expr::InSubquery(subquery) => self.in_subquery(subquery, schema),
            Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }) => {
                let sign = if case_insensitive { "~~*" } else { "~~" };
                let (mut expr, mut pattern) = self.matching(sign, *expr, *pattern, schema)?;
                if case_insensitive {
                    // Letters beyond ASCII have no case.
                    (expr, pattern) =
                        (self.call("lower", vec![expr], schema)?, self.call("lower", vec![pattern], schema)?);
                }
                Ok(Expr::Like(Like::new(negated, Box::new(expr), Box::new(pattern), escape_char, false)))
            }
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
            Operator::StringConcat => return self.concatenation(*left, *right, schema),
            Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch
            | Operator::LikeMatch
            | Operator::ILikeMatch
            | Operator::NotLikeMatch
            | Operator::NotILikeMatch => {
                let (left, mut right) = self.matching(&op.to_string(), *left, *right, schema)?;
                if !matches!(
                    op,
                    Operator::LikeMatch | Operator::ILikeMatch | Operator::NotLikeMatch | Operator::NotILikeMatch
                ) {
                    let function = match op {
                        Operator::RegexIMatch | Operator::RegexNotIMatch => "regex_of_any_case",
                        _ => "regex",
                    };
                    right = self.call(function, vec![right], schema)?;
                }
                return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
            }
            _ => return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        };
        self.operator(sign, *left, *right, schema)
    }

    fn concatenation(&self, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        let given = [kind(&left, schema)?, kind(&right, schema)?];
        let text = |side| convert(side, &Type::Text, schema, &self.zone);
        let (left, right) = match &given {
            [Some(Type::Array(_)), _] | [_, Some(Type::Array(_))] => (left, right),
            [Some(Type::Bytea), Some(Type::Bytea) | None] | [None, Some(Type::Bytea)] => {
                return self.call("byteacat", vec![left, right], schema);
            }
            [Some(Type::Jsonb), Some(Type::Jsonb) | None] | [None, Some(Type::Jsonb)] => {
                return Err(Error::unsupported("jsonb || jsonb"));
            }
            [Some(a), Some(b)] if !common::is_string(a) && !common::is_string(b) => {
                return Err(function::undefined("||", &given));
            }
            _ => (text(left)?, text(right)?),
        };
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::StringConcat, Box::new(right))))
    }

    fn between(&self, between: Between, schema: &DFSchema) -> Result<Expr> {
        let Between { expr, negated, low, high } = between;
        let (mut low, mut high) = (*low, *high);
        if let Some(kind) = kind(&expr, schema)? {
            common::comparable(&kind, true, "<=")?;
            let read = |side| Ok::<_, Error>(common::fit(common::read(side, &kind, schema, &self.zone)?, &kind));
            (low, high) = (read(low)?, read(high)?);
        }
        let common = all(&[&expr, &low, &high], schema, "BETWEEN", compared)?;
        let side = |side: Expr| -> Result<Expr> {
            let side = match &common {
                Some(common) => convert(side, common, schema, &self.zone)?,
                None => side,
            };
            ordered(side, schema)
        };
        let (low, high) = (side(low)?, side(high)?);
        self.once(side(*expr)?, schema, |value, _| {
            let (low, high) = (Box::new(low.clone()), Box::new(high.clone()));
            Ok(Expr::Between(Between::new(Box::new(value), negated, low, high)))
        })
    }

    fn in_list(&self, list: InList, schema: &DFSchema) -> Result<Expr> {
        let InList { expr, list, negated } = list;
        let list: Vec<_> = match kind(&expr, schema)? {
            Some(kind) => {
                common::comparable(&kind, false, "=")?;
                let read = |item| Ok(common::fit(common::read(item, &kind, schema, &self.zone)?, &kind));
                list.into_iter().map(read).collect::<Result<_>>()?
            }
            None => list,
        };
        let sides: Vec<_> = std::iter::once(expr.as_ref()).chain(&list).collect();
        let common = all(&sides, schema, "IN", compared)?;
        let side = |side: Expr| match &common {
            Some(common) => keyed(convert(side, common, schema, &self.zone)?, schema),
            None => Ok(side),
        };
        let list: Vec<Expr> = list.into_iter().map(side).collect::<Result<_>>()?;
        let expr = side(*expr)?;
        if list.iter().all(is_constant) {
            return listed(expr, list, negated);
        }
        self.once(expr, schema, |value, _| listed(value, list.clone(), negated))
    }

    fn case(&self, case: Case, schema: &DFSchema) -> Result<Expr> {
        let Case { expr, mut when_then_expr, mut else_expr } = case;
        if let Some(operand) = expr {
            return self.once(*operand, schema, |operand, schema| {
                let mut arms = when_then_expr.clone();
                // Compared one by one, as Postgres defines it: each arm may need another common type.
                for (when, _) in &mut arms {
                    let right = std::mem::take(when.as_mut());
                    **when = operators::compare(Operator::Eq, operand.clone(), right, schema, &self.zone)?;
                }
                self.case(Case { expr: None, when_then_expr: arms, else_expr: else_expr.clone() }, schema)
            });
        }
        // The one of ELSE comes first.
        let results: Vec<_> =
            else_expr.as_deref().into_iter().chain(when_then_expr.iter().map(|(_, then)| then.as_ref())).collect();
        let Some(common) = all(&results, schema, "CASE", unified)? else {
            return Ok(Expr::Case(Case { expr: None, when_then_expr, else_expr }));
        };
        for (_, then) in &mut when_then_expr {
            **then = convert(std::mem::take(then.as_mut()), &common, schema, &self.zone)?;
        }
        if let Some(otherwise) = &mut else_expr {
            **otherwise = convert(std::mem::take(otherwise.as_mut()), &common, schema, &self.zone)?;
        }
        common::tagged(Expr::Case(Case { expr: None, when_then_expr, else_expr }), &common, schema)
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
        if let Some(chain) = chain::relinked(&call, schema, |step, schema| Ok(self.settled(step, schema)?.0))? {
            return Ok(chain);
        }
        if let Some((steps, operands)) = chain::taken(&mut call)? {
            return chain::settled(steps, operands, schema, |sign, left, right, schema| {
                self.operator(sign, left, right, schema)
            });
        }
        if let Some(case) = case::taken(&mut call)? {
            return self.case(case, schema);
        }
        let ScalarFunction { mut func, mut args } = call;
        let mut given = args.iter().map(|arg| kind(arg, schema)).collect::<Result<Vec<_>>>()?;
        if let Some(overload) = func.inner().downcast_ref::<Overload>() {
            func = overload.chosen(&given)?;
        }
        if function::reads_clock(func.name(), &given) {
            args.push(Expr::Literal(ScalarValue::Utf8(Some(self.zone.clone())), None));
            given.push(None);
        }
        if matches!(func.name(), "+" | "-") {
            self.by_the_clock(&args, &given)?;
        }
        if let Some(operator) = quantified::operator(func.name()) {
            return Ok(func.call(self.elements(operator, args, schema)?));
        }
        if let name @ (function::CONTAINS | function::CONTAINED) = func.name() {
            let args = self.arrays(name, args, &given, schema)?;
            return Ok(func.call(args));
        }
        // They print what they are given.
        if matches!(func.name(), "format" | "concat" | "concat_ws") {
            args = args.into_iter().map(|arg| self.printed(arg, schema)).collect::<Result<_>>()?;
        }
        if let Some(definition) = function::definition(&func) {
            let wanted = (definition.resolve)(&given)?.arguments;
            let args = args.into_iter().zip(&wanted).map(|(arg, to)| self.argument(arg, to, schema));
            return Ok(func.call(args.collect::<Result<_>>()?));
        }
        let args = match func.name() {
            "coalesce" | "greatest" | "least" => {
                let construct = func.name().to_uppercase();
                let args = self.matched(args, &construct, unified, schema)?;
                let common = all(&args.iter().collect::<Vec<_>>(), schema, &construct, unified)?;
                // DataFusion names each argument of COALESCE twice.
                let doubled = construct == "COALESCE" && !args.iter().all(is_small);
                let call = func.call(args);
                let Some(common) = common else { return Ok(call) };
                if construct != "COALESCE" {
                    common::has_extremes(&common, &construct)?;
                }
                let call = common::tagged(call, &common, schema)?;
                return match doubled.then(|| Part::of(&call, schema)).transpose()?.flatten() {
                    Some(part) => Ok(part),
                    None => Ok(call),
                };
            }
            "make_array" => {
                let common = all(&args.iter().collect::<Vec<_>>(), schema, "ARRAY", unified)?;
                let call = func.call(self.matched(args, "ARRAY", unified, schema)?);
                return Ok(match common {
                    // DataFusion knows only what holds the elements.
                    Some(element @ (Type::Char(_) | Type::Varchar(_))) => {
                        let (text, array) = (Type::Array(Box::new(Type::Text)), Type::Array(Box::new(element)));
                        Cast::udf(text, array, &self.zone).call(vec![call])
                    }
                    _ => call,
                });
            }
            "array_append" | "array_prepend" | "array_concat" | "array_remove"
                if given.iter().flatten().any(is_padded) =>
            {
                return Err(
                    Error::unsupported("|| and array_remove of arrays of character").hint("CAST to text or text[].")
                );
            }
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
            // The ones that see the blanks of char(n).
            "octet_length" => args.into_iter().map(|arg| common::blanks(arg, schema)).collect::<Result<_>>()?,
            "array_remove" => {
                // DataFusion's takes away the first one only, and what it does with NULL was not compared.
                if !matches!(args.get(1), Some(Expr::Literal(value, _)) if !value.is_null()) {
                    return Err(Error::unsupported("array_remove of what is no constant"));
                }
                func = function::by_name("array_remove_all").ok_or_else(|| Error::internal("no array_remove_all"))?;
                args
            }
            "array_to_string" => self.joining(args, schema)?,
            "regexp_replace" | "regexp_like" => self.regexp(func.name(), args, schema)?,
            // DataFusion's own know no unconstrained numeric: what they compute, they compute on floats.
            _ => args.into_iter().map(|arg| self.plain(arg, schema)).collect::<Result<_>>()?,
        };
        let name = func.name().to_string();
        result_types::call(Expr::ScalarFunction(ScalarFunction { func, args }), &name, schema)
    }

    /// A day is not always 24 hours where clocks are changed: only times are added to moments there.
    fn by_the_clock(&self, args: &[Expr], given: &[Option<Type>]) -> Result<()> {
        let has = |kind: &Type| given.iter().flatten().any(|given| given == kind);
        let only_time = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), _) if span.months == 0 && span.days == 0);
        if !has(&Type::Timestamptz) || !has(&Type::Interval) || args.iter().any(only_time) {
            return Ok(());
        }
        match Zone::parse(&self.zone)?.is_utc() {
            true => Ok(()),
            false => Err(Error::unsupported("timestamptz and days of an interval in a time zone other than UTC")
                .hint("SET TimeZone = 'UTC', or compute with AT TIME ZONE.")),
        }
    }

    /// A value and the array with whose elements it is compared, in one type.
    fn elements(&self, operator: &str, args: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
        let [value, array] = <[Expr; 2]>::try_from(args).map_err(|_| Error::internal("ANY of not two arguments"))?;
        let given = [kind(&value, schema)?, kind(&array, schema)?];
        let common = match &given {
            [Some(value), Some(Type::Array(element))] => {
                compared(value, element).ok_or_else(|| function::undefined(operator, &given))?
            }
            [None, Some(Type::Array(element))] => element.as_ref().clone(),
            [Some(value), None] => value.loose(),
            [None, None] => Type::Text,
            _ => return Err(function::undefined(operator, &given)),
        };
        if matches!(common, Type::Json | Type::Jsonb | Type::Array(_)) {
            return Err(Error::unsupported(format!("{operator} ANY or ALL (array) of type {common}[]")));
        }
        // Blanks at the end mean nothing.
        let common = if matches!(common, Type::Char(_)) { Type::Text } else { common };
        let list = Type::Array(Box::new(common.clone()));
        Ok(vec![convert(value, &common, schema, &self.zone)?, convert(array, &list, schema, &self.zone)?])
    }

    /// Two arrays whose elements are compared with each other, of one type.
    fn arrays(&self, name: &str, args: Vec<Expr>, given: &[Option<Type>], schema: &DFSchema) -> Result<Vec<Expr>> {
        let undefined = || function::undefined(name, given);
        let known = given.iter().flatten().next().ok_or_else(undefined)?.loose();
        let Type::Array(element) = &known else { return Err(undefined()) };
        if given.iter().flatten().any(|kind| kind.loose() != known) {
            return Err(undefined());
        }
        let element = match element.as_ref() {
            Type::Json | Type::Jsonb => {
                return Err(Error::unsupported(format!("operator {name} of values of type {known}")));
            }
            // Blanks at the end mean nothing.
            Type::Char(_) => Type::Text,
            element => element.clone(),
        };
        let common = match given {
            [Some(left), Some(right)] if left == right && element != Type::Text => left.clone(),
            _ => Type::Array(Box::new(element)),
        };
        args.into_iter().map(|arg| convert(arg, &common, schema, &self.zone)).collect()
    }

    /// `arg` as text, as clients would see it.
    fn printed(&self, arg: Expr, schema: &DFSchema) -> Result<Expr> {
        match kind(&arg, schema)? {
            None => Ok(arg),
            Some(Type::Bool) => self.once(arg, schema, |arg, _| {
                let letter = |text: &str| Box::new(Expr::Literal(ScalarValue::from(text), None));
                let when_then_expr =
                    vec![(Box::new(arg.clone()), letter("t")), (Box::new(Expr::Not(Box::new(arg))), letter("f"))];
                Ok(Expr::Case(Case { expr: None, when_then_expr, else_expr: None }))
            }),
            // With its blanks, which a cast to text would take.
            Some(Type::Char(length)) => {
                let function = function::lookup("padded").ok_or_else(|| Error::internal("no function padded"))?;
                let length = Expr::Literal(ScalarValue::Int32(Some(length as i32)), None);
                Ok(function.call(vec![arg, length]))
            }
            Some(_) => convert(arg, &Type::Text, schema, &self.zone),
        }
    }

    /// An array as its elements' texts, and what stands between them.
    fn joining(&self, mut args: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
        let Some(array) = args.first_mut() else { return Ok(args) };
        match kind(array, schema)? {
            Some(Type::Array(element)) if matches!(*element, Type::Bool | Type::Char(_)) => {
                return Err(Error::unsupported(format!("array_to_string of type {element}[]")));
            }
            Some(Type::Array(_)) => {
                *array = convert(std::mem::take(array), &Type::Array(Box::new(Type::Text)), schema, &self.zone)?;
            }
            None => {}
            given => return Err(function::undefined("array_to_string", &[given])),
        }
        Ok(args)
    }

    /// A regular expression whose matches do not depend on which of several is taken.
    fn regexp(&self, name: &str, mut args: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
        let refused = || {
            Err(Error::unsupported(format!("{name}() with this pattern, replacement or flags"))
                .hint("A constant pattern without alternatives and with at most one repetition is matched."))
        };
        args = args.into_iter().map(|arg| self.plain(arg, schema)).collect::<Result<_>>()?;
        let text = |index: usize| match args.get(index) {
            Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => Some(text.clone()),
            _ => None,
        };
        let replaces = name == "regexp_replace";
        let Some(pattern) = text(1) else { return refused() };
        let repeats = pattern.chars().filter(|c| matches!(c, '*' | '+' | '?' | '{')).count();
        let plain = |text: Option<String>| text.is_some_and(|text| !text.contains(['$', '\\']));
        let wanted = if replaces { 3..=4 } else { 2..=2 };
        let flagged = args.len() > 3 && text(3).as_deref() != Some("g");
        if pattern.contains('|')
            || repeats > 1
            || !wanted.contains(&args.len())
            || flagged
            || replaces && !plain(text(2))
        {
            return refused();
        }
        args[1] = Expr::Literal(ScalarValue::Utf8(Some(function::translated(&pattern)?)), None);
        Ok(args)
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
        self.once(left, schema, |left, schema| self.null_where_equal(left, right.clone(), schema))
    }

    fn null_where_equal(&self, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
        // It is compared as text then, and the one that was compared is shown.
        let left = match (kind(&left, schema)?, kind(&right, schema)?) {
            (Some(Type::Char(_)), Some(Type::Text)) => convert(left, &Type::Text, schema, &self.zone)?,
            _ => left,
        };
        let equal = operators::compare(Operator::Eq, left.clone(), right, schema, &self.zone)?;
        let null = match kind(&left, schema)? {
            Some(kind) => ScalarValue::try_from(&kind.arrow())?,
            None => ScalarValue::Null,
        };
        let when_then_expr = vec![(Box::new(equal), Box::new(Expr::Literal(null, None)))];
        let known = kind(&left, schema)?;
        let case = Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(left)) });
        match known {
            Some(kind) => common::tagged(case, &kind, schema),
            None => Ok(case),
        }
    }

    fn plain(&self, arg: Expr, schema: &DFSchema) -> Result<Expr> {
        match kind(&arg, schema)? {
            Some(Type::Numeric(None)) => convert(arg, &Type::Float8, schema, &self.zone),
            // Blanks at the end of char(n) mean nothing.
            Some(Type::Char(_)) => convert(arg, &Type::Text, schema, &self.zone),
            _ => Ok(arg),
        }
    }

    /// A value by which rows are sorted.
    fn sorted(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        if let Some(kind) = kind(&expr, schema)? {
            common::comparable(&kind, true, "<")?;
        }
        ordered(expr, schema)
    }

    /// Text and a pattern for it; blanks at the end of char(n) are there for patterns.
    fn matching(&self, sign: &str, text: Expr, pattern: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
        let given = [kind(&text, schema)?, kind(&pattern, schema)?];
        if !given.iter().flatten().all(common::is_string) {
            return Err(function::undefined(sign, &given));
        }
        let text = match &given[0] {
            Some(Type::Char(_)) => self.printed(text, schema)?,
            _ => text,
        };
        Ok((text, convert(pattern, &Type::Text, schema, &self.zone)?))
    }

    fn aggregate(&self, mut call: AggregateFunction, schema: &DFSchema) -> Result<Expr> {
        let name = call.func.name().to_string();
        let distinct = call.params.distinct;
        if let ("min" | "max", [argument]) = (name.as_str(), &call.params.args[..])
            && let Some(kind) = kind(argument, schema)?
        {
            common::has_extremes(&kind, &name)?;
        }
        let written = if distinct { call.params.args.clone() } else { vec![] };
        if distinct && call.params.order_by.iter().any(|sort| !written.contains(&sort.expr)) {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(Error::new("42P10", message));
        }
        group_key::different(&mut call.params.order_by, |sort| &sort.expr);
        if name == "string_agg" {
            let ordered = distinct && !call.params.order_by.is_empty();
            call.params.args = self.gathered(call.params.args, ordered, schema)?;
        }
        call.params.args = call
            .params
            .args
            .into_iter()
            .map(|arg| self.aggregated(&name, distinct, arg, schema))
            .collect::<Result<_>>()?;
        for sort in &mut call.params.order_by {
            let argument = written.iter().zip(&call.params.args).find(|(written, _)| **written == sort.expr);
            sort.expr = match argument {
                // They are sorted by what they put together.
                Some((_, argument)) if name == "string_agg" => argument.clone(),
                _ => self.sorted(std::mem::take(&mut sort.expr), schema)?,
            };
        }
        Ok(Expr::AggregateFunction(call))
    }

    /// Bytes that string_agg puts together, as text: it knows no others. What comes out is made bytes again by [`counted::outputs`].
    fn gathered(&self, args: Vec<Expr>, ordered: bool, schema: &DFSchema) -> Result<Vec<Expr>> {
        let given = args.iter().map(|arg| kind(arg, schema)).collect::<Result<Vec<_>>>()?;
        if !given.contains(&Some(Type::Bytea)) {
            return Ok(args);
        }
        if given.len() != 2 || !given.iter().flatten().all(|kind| *kind == Type::Bytea) {
            return Err(function::undefined("string_agg", &given));
        }
        if ordered {
            // They would have to be in the order of the texts.
            return Err(Error::unsupported("string_agg(DISTINCT … ORDER BY …) of bytea"));
        }
        let text = |arg| match convert(arg, &Type::Bytea, schema, &self.zone)? {
            Expr::Literal(ScalarValue::Binary(Some(bytes)), _) => {
                Ok(Expr::Literal(ScalarValue::Utf8(Some(function::escaped(&bytes))), None))
            }
            bytes => self.call(function::ESCAPE, vec![bytes], schema),
        };
        args.into_iter().map(text).collect()
    }

    fn aggregated(&self, name: &str, distinct: bool, arg: Expr, schema: &DFSchema) -> Result<Expr> {
        match (name, aggregate::Function::named(name)) {
            // Which of several equal values counts does not matter to these.
            (_, Some(function)) if distinct && function.counts => keyed(arg, schema),
            ("array_agg", _) if distinct => collected(arg, schema),
            (_, Some(_)) | ("array_agg" | "first_value" | "last_value", _) => Ok(arg),
            _ => self.plain(arg, schema),
        }
    }

    fn window(&self, mut call: WindowFunction, schema: &DFSchema) -> Result<Expr> {
        if call.params.distinct {
            return Err(Error::new("0A000", "DISTINCT is not implemented for window functions"));
        }
        if call.fun.name() == "string_agg" {
            call.params.args = self.gathered(call.params.args, false, schema)?;
        }
        for part in &mut call.params.partition_by {
            if let Some(kind) = kind(part, schema)? {
                common::groupable(&kind)?;
            }
            *part = keyed(std::mem::take(part), schema)?;
        }
        for sort in &mut call.params.order_by {
            sort.expr = self.sorted(std::mem::take(&mut sort.expr), schema)?;
        }
        if let Some(first) = call.params.order_by.first() {
            let kind = kind(&first.expr, schema)?;
            call.params.window_frame = framed(call.params.window_frame, kind.as_ref())?;
        }
        Ok(Expr::WindowFunction(Box::new(call)))
    }

    fn in_subquery(&self, subquery: InSubquery, schema: &DFSchema) -> Result<Expr> {
        let InSubquery { expr, subquery, negated } = subquery;
        let field = subquery.subquery.schema().field(0).clone();
        let theirs = function::given(&field)?.unwrap_or(Type::Text);
        let ours = kind(&expr, schema)?.unwrap_or_else(|| theirs.clone());
        common::comparable(&theirs, false, "=")?;
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
            common::comparable(&left_kind, false, "=")?;
            if join.join_constraint == JoinConstraint::Using
                && matches!(join.join_type, JoinType::Inner | JoinType::Left)
            {
                mergeable(&left_kind, &right_kind)?;
            }
            let common = compared(&left_kind, &right_kind)
                .ok_or_else(|| function::undefined("=", &[Some(left_kind.clone()), Some(right_kind.clone())]))?;
            let side = |side: &mut Expr, schema: &DFSchema| -> Result<Expr> {
                keyed(convert(std::mem::take(side), &common, schema, &self.zone)?, schema)
            };
            (*left, *right) = (side(left, &left_schema)?, side(right, &right_schema)?);
        }
        // Its rules take for granted that USING joins by columns. What those are called was settled before.
        if join.on.iter().any(|(left, right)| [left, right].into_iter().any(|key| key.try_as_col().is_none())) {
            join.join_constraint = JoinConstraint::On;
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
        let same = |field: &Field, to: &Option<Type>| match (function::given(field), to) {
            (Ok(Some(from)), Some(to)) => from == *to || common::alike(&from, to),
            (Ok(None), None) => true,
            _ => false,
        };
        if schema.fields().iter().zip(kinds).all(|(f, to)| arrow(to) == *f.data_type() && same(f, to)) {
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
        for expr in rows.iter().flatten() {
            // They are evaluated before any subquery is.
            if expr.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_))))? {
                return Err(Error::unsupported("a subquery in VALUES").hint("Write it as SELECT."));
            }
        }
        let mut rows: Vec<Vec<Expr>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(|expr| Ok(self.settled(expr, schema)?.0)).collect::<Result<_>>())
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

/// An argument of array_agg of which equal values count once: DataFusion compares their bytes.
fn collected(arg: Expr, schema: &DFSchema) -> Result<Expr> {
    match kind(&arg, schema)? {
        Some(Type::Float4 | Type::Float8) => keyed(arg, schema),
        Some(kind) if key::needed(&kind) => {
            Err(Error::unsupported(format!("array_agg(DISTINCT …) of values of type {kind}"))
                .hint("Aggregate a subquery with SELECT DISTINCT."))
        }
        _ => Ok(arg),
    }
}

/// DataFusion knows no ranges of values of some types. Where a frame ends with peers of a row it is the same in groups of peers.
fn framed(frame: WindowFrame, ordered: Option<&Type>) -> Result<WindowFrame> {
    let (WindowFrameUnits::Range, Some(kind @ (Type::Numeric(None) | Type::Interval | Type::Bytea))) =
        (frame.units, ordered)
    else {
        return Ok(frame);
    };
    let whole = |bound: &WindowFrameBound| *bound == WindowFrameBound::CurrentRow || bound.is_unbounded();
    match whole(&frame.start_bound) && whole(&frame.end_bound) {
        true => Ok(WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound, frame.end_bound)),
        false => Err(Error::unsupported(format!("RANGE with an offset in the order of values of type {kind}"))),
    }
}

/// Refuses to show the left one of two columns for what they are merged to, if that is of another type. Integers are shown alike.
fn mergeable(left: &Type, right: &Type) -> Result<()> {
    let integer = |kind: &Type| matches!(kind, Type::Int2 | Type::Int4 | Type::Int8);
    let merged = unified(left, right);
    if integer(left) && integer(right) || merged.is_none_or(|merged| merged.loose() == left.loose()) {
        return Ok(());
    }
    Err(Error::unsupported(format!("USING or NATURAL JOIN of columns of types {left} and {right}"))
        .hint("Write ON, and CAST where the column is used."))
}

/// `expr [NOT] IN (list)` for a simplifier that compares lists: NULL beside a list of constants, all else as comparisons.
fn listed(expr: Expr, list: Vec<Expr>, negated: bool) -> Result<Expr> {
    /// Comparisons make a tree as deep as there are of them.
    const MOST: usize = 500;
    let whole = |list| Expr::InList(InList::new(Box::new(expr.clone()), list, negated));
    if expr.is_volatile() || list.iter().all(is_constant) {
        return Ok(whole(list));
    }
    let (constants, others): (Vec<_>, Vec<_>) = list.into_iter().partition(is_constant);
    if others.len() > MOST {
        let message = format!("more than {MOST} elements of IN that are no constants");
        return Err(Error::new("54001", message));
    }
    let (op, chain) = if negated { (Operator::NotEq, Operator::And) } else { (Operator::Eq, Operator::Or) };
    let pair = |left, op, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    let others = others.into_iter().map(|item| match constant(&item) {
        Some(_) => Expr::Literal(ScalarValue::Boolean(None), None),
        None => pair(expr.clone(), op, item),
    });
    let constants = (!constants.is_empty()).then(|| whole(constants));
    let all = constants.into_iter().chain(others).reduce(|left, right| pair(left, chain, right));
    all.ok_or_else(|| Error::internal("IN of nothing"))
}

fn is_constant(item: &Expr) -> bool {
    constant(item).is_some_and(|value| !value.is_null())
}

/// The value of a literal, or of the key of one.
fn constant(item: &Expr) -> Option<&ScalarValue> {
    match item {
        Expr::Literal(value, _) => Some(value),
        Expr::ScalarFunction(call) if common::is_key(item) => call.args.first().and_then(constant),
        _ => None,
    }
}

/// Keeps the simplifier from joining lists of one expression: what it makes of them is false where NULL is right.
fn apart(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let mut seen: Vec<Expr> = vec![];
    let apart = expr.transform_up(|expr| {
        let Expr::InList(mut list) = expr else { return Ok(Transformed::no(expr)) };
        while let Some(kind) = kind(&list.expr, schema)?.filter(|_| seen.contains(&list.expr)) {
            let inner = std::mem::take(list.expr.as_mut());
            *list.expr = Cast::udf(kind.clone(), kind, "UTC").call(vec![inner]);
        }
        seen.push(list.expr.as_ref().clone());
        Ok(Transformed::yes(Expr::InList(list)))
    })?;
    Ok(apart.data)
}

/// The type of each column of a set operation; `None` where all are unknown.
fn united(inputs: &[&LogicalPlan], construct: &str) -> Result<Vec<Option<Type>>> {
    let width = inputs.first().map_or(0, |input| input.schema().fields().len());
    let mut kinds: Vec<Option<Type>> = vec![None; width];
    let mut literals = vec![false; width];
    for input in inputs {
        for (column, (so_far, field)) in kinds.iter_mut().zip(input.schema().fields()).enumerate() {
            let Some(kind) = function::given(field)? else { continue };
            if is_untyped(input, column) {
                literals[column] = true;
                continue;
            }
            *so_far = Some(match so_far.take() {
                None => kind,
                Some(known) => unified(&known, &kind).ok_or_else(|| {
                    Error::new("42804", format!("{construct} types {known} and {kind} cannot be matched"))
                })?,
            });
        }
    }
    for (kind, _) in kinds.iter_mut().zip(literals).filter(|(_, literal)| *literal) {
        *kind = Some(kind.as_ref().map_or(Type::Text, Type::loose));
    }
    Ok(kinds)
}

/// Whether a column of a SELECT is a string literal, which takes the type of what it is united with.
fn is_untyped(input: &LogicalPlan, column: usize) -> bool {
    let LogicalPlan::Projection(projection) = input else { return false };
    let mut expr = projection.expr.get(column);
    while let Some(Expr::Alias(alias)) = expr {
        expr = Some(&alias.expr);
    }
    matches!(expr, Some(Expr::Literal(ScalarValue::Utf8(Some(_)), None)))
}

/// How much DataFusion has to walk: levels, and expressions in all.
#[derive(Clone, Copy, Default)]
struct Extent {
    depth: usize,
    count: usize,
}

impl Extent {
    /// What it asks of one level it asks of the level below twice.
    const DEPTH: usize = 6;
    const COUNT: usize = 100;

    fn add(&mut self, part: Extent) {
        self.depth = self.depth.max(part.depth + 1);
        self.count += part.count + 1;
    }

    fn is_large(self) -> bool {
        self.depth > Self::DEPTH || self.count > Self::COUNT
    }
}

/// Whether `expr` can be one call, for all that rules make of it. They take conditions apart.
fn closes(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => !matches!(binary.op, Operator::And | Operator::Or) && binary.op.negate().is_none(),
        Expr::ScalarFunction(_) | Expr::Case(_) | Expr::Cast(_) => true,
        Expr::InList(list) => !is_small(&list.expr),
        Expr::Between(between) => !is_small(&between.expr),
        Expr::Like(like) => !is_small(&like.expr),
        _ => false,
    }
}

/// Whether values are shown, or have elements that are shown, with blanks at the end.
fn is_padded(kind: &Type) -> bool {
    match kind {
        Type::Array(element) => is_padded(element),
        kind => matches!(kind, Type::Char(_)),
    }
}

/// Whether it may stand in several places: a value, or one call of values. What has become one call only looks so.
fn is_small(expr: &Expr) -> bool {
    let mut small = !matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<Part>());
    let _ = expr.apply_children(|child| {
        small &= matches!(child, Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_))
            || matches!(child, Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_));
        Ok(TreeNodeRecursion::Continue)
    });
    small
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
