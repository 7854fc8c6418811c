//! Syntax that is refused by name in every statement, because DataFusion takes it and answers otherwise than Postgres, or takes it
//! though it is not Postgres' at all.

use super::checked;
use super::join::{self, constraint};
use super::names::folded;
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, NamedWindowExpr, ObjectName,
    ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, Subscript,
    TableFactor, TableWithJoins, Value, ValueWithSpan, Visit, Visitor, WildcardAdditionalOptions, WindowType,
    visit_expressions,
};
use std::ops::ControlFlow;

/// What a function makes rows of: right in FROM, and in a select list only through unnest.
const SERIES: &str = "generate_series";

/// Subqueries within each other's expressions, at most: each is planned, optimised and at last run within the one around it, which takes
/// stack, and time that grows with the square of their number. (Those in FROM are not counted.)
pub const NESTED: usize = 64;

/// Queries that a WITH may come to, each counted as often as it is used: DataFusion writes it out as often.
const WRITTEN_OUT: usize = 2_000;

pub fn check<T: Visit>(query: &T) -> Result<()> {
    written_out(query, &mut vec![])?;
    match query.visit(&mut Refusal::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

#[derive(Default)]
struct Refusal {
    /// Calls of [`SERIES`] to come that are unnested.
    series: usize,
    /// Subqueries of expressions around what is visited.
    nested: usize,
}

/// A query of a WITH, and what it comes to.
type Named = (String, usize);

/// What `part` of a statement comes to, where the queries `named` can be used, the last of a name.
fn written_out<T: Visit>(part: &T, named: &mut Vec<Named>) -> Result<usize> {
    let mut uses = Uses { named, sum: 1, within: 0 };
    match part.visit(&mut uses) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) if uses.sum <= WRITTEN_OUT => Ok(uses.sum),
        ControlFlow::Continue(()) => {
            let message = format!("queries of WITH that use each other come to more than {WRITTEN_OUT}");
            Err(Error::new("54001", message).hint("Make a materialized view of what is used more than once."))
        }
    }
}

/// Adds up the uses of named queries.
struct Uses<'a> {
    named: &'a mut Vec<Named>,
    sum: usize,
    /// Queries with a WITH of their own around what is visited: they have been added up already.
    within: usize,
}

impl Visitor for Uses<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let Some(with) = &query.with else { return ControlFlow::Continue(()) };
        self.within += 1;
        if self.within > 1 {
            return ControlFlow::Continue(());
        }
        let outside = self.named.len();
        let own = with.cte_tables.iter().try_for_each(|cte| {
            let own = written_out(&cte.query, self.named)?;
            self.named.push((folded(&cte.alias.name), own));
            Ok(())
        });
        let own = own.and_then(|()| written_out(&query.body, self.named));
        self.named.truncate(outside);
        flow(own.map(|own| self.sum = self.sum.saturating_add(own)))
    }

    fn post_visit_query(&mut self, query: &Query) -> Flow {
        self.within -= usize::from(query.with.is_some());
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        if let TableFactor::Table { name, .. } = factor
            && let [ObjectNamePart::Identifier(name)] = &name.0[..]
            && self.within == 0
        {
            let name = folded(name);
            let used = self.named.iter().rev().find(|(other, _)| *other == name);
            self.sum = self.sum.saturating_add(used.map_or(0, |(_, own)| *own));
        }
        ControlFlow::Continue(())
    }
}

type Flow = ControlFlow<Box<Error>>;

fn flow(result: Result<()>) -> Flow {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

fn not_ours(what: &str) -> Error {
    Error::syntax(format!("syntax error at or near \"{what}\""))
}

impl Visitor for Refusal {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        flow(self::query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        flow(self::select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        flow(self::factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        if let Expr::Function(function) = expr {
            return flow(self.function(function));
        }
        self.nested += usize::from(is_subquery(expr));
        if self.nested > NESTED {
            return flow(Err(too_deep()));
        }
        flow(self::expression(expr))
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> Flow {
        self.nested -= usize::from(is_subquery(expr));
        ControlFlow::Continue(())
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. })
}

fn query(query: &Query) -> Result<()> {
    if let Some(fetch) = &query.fetch
        && (fetch.with_ties || fetch.percent)
    {
        return Err(Error::unsupported("FETCH … WITH TIES and PERCENT"));
    }
    if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
        && !limit_by.is_empty()
    {
        return Err(not_ours("BY"));
    }
    if query.order_by.as_ref().is_some_and(|order| matches!(order.kind, OrderByKind::All(_))) {
        return Err(not_ours("ALL"));
    }
    if let SetExpr::Select(select) = query.body.as_ref()
        && (query.limit_clause.is_some() || query.fetch.is_some())
        && query.order_by.is_none()
        && ordered(select).is_some()
        && !same_rows(select)
    {
        return Err(Error::unsupported("LIMIT of rows in the order of a subquery").hint("Write ORDER BY beside LIMIT."));
    }
    set_operation(&query.body)
}

/// The subquery whose order a SELECT shows, as far as Postgres is concerned: it alone is selected from. DataFusion keeps no order of
/// a subquery that has no LIMIT.
fn ordered(select: &Select) -> Option<&Query> {
    match &select.from[..] {
        [TableWithJoins { relation: TableFactor::Derived { subquery, .. }, joins }] if joins.is_empty() => {
            Some(subquery.as_ref()).filter(|q| q.order_by.is_some() && q.limit_clause.is_none() && q.fetch.is_none())
        }
        _ => None,
    }
}

/// Whether a SELECT has exactly the rows of its subquery, so that a limit of one is a limit of the other.
fn same_rows(select: &Select) -> bool {
    let column = |item: &SelectItem| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => false,
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none()
        && !grouped
        && select.projection.iter().all(column)
}

/// Where a query's limit takes the first rows in the order of its subquery: the subquery, which is to have the limit.
pub fn limited(query: &mut Query) -> Option<&mut Query> {
    if query.limit_clause.is_none() || query.order_by.is_some() {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if ordered(select).is_none() || !same_rows(select) {
        return None;
    }
    match &mut select.from[0].relation {
        TableFactor::Derived { subquery, .. } => Some(subquery),
        _ => None,
    }
}

/// DataFusion's EXCEPT ALL and INTERSECT ALL do not count rows.
fn set_operation(body: &SetExpr) -> Result<()> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    match (op, set_quantifier) {
        (SetOperator::Except | SetOperator::Intersect, SetQuantifier::All) => {
            return Err(Error::unsupported(format!("{op} ALL")));
        }
        (SetOperator::Minus, _) => return Err(not_ours("MINUS")),
        (_, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName) => {
            return Err(not_ours("BY"));
        }
        _ => {}
    }
    set_operation(left)?;
    set_operation(right)
}

fn select(select: &Select) -> Result<()> {
    let foreign = [
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE"),
        (!select.lateral_views.is_empty(), "LATERAL"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT"),
        (!select.cluster_by.is_empty(), "CLUSTER"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE"),
        (!select.sort_by.is_empty(), "SORT"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "AS"),
        (matches!(select.group_by, GroupByExpr::All(_)), "ALL"),
    ];
    if let Some((_, word)) = foreign.iter().find(|(found, _)| *found) {
        return Err(not_ours(word));
    }
    select.projection.iter().try_for_each(item)?;
    if let GroupByExpr::Expressions(by, _) = &select.group_by {
        by.iter().try_for_each(sets)?;
    }
    if ordered(select).is_some() && select.projection.iter().any(collects) {
        return Err(Error::unsupported("an aggregate of rows in the order of a subquery")
            .hint("Write ORDER BY within the aggregate."));
    }
    select.named_window.iter().try_for_each(|window| match &window.1 {
        NamedWindowExpr::WindowSpec(spec) => refined(spec.window_name.is_some()),
        NamedWindowExpr::NamedWindow(_) => refined(true),
    })?;
    joins(select)
}

/// Of more than [`NESTED`] subqueries of expressions.
pub fn too_deep() -> Error {
    Error::new("54001", format!("more than {NESTED} subqueries are within each other"))
        .hint("Join their tables, or give an inner one a view of its own.")
}

/// DataFusion makes one column of each expression in a CUBE or ROLLUP, and takes a constant of the select list for a key that is equal.
fn sets(group: &Expr) -> Result<()> {
    let (Expr::Cube(sets) | Expr::Rollup(sets) | Expr::GroupingSets(sets)) = group else { return Ok(()) };
    if sets.iter().flatten().any(is_constant) {
        return Err(Error::unsupported("CUBE, ROLLUP or GROUPING SETS of a constant"));
    }
    if let Expr::GroupingSets(_) = group {
        return Ok(());
    }
    let mut seen: Vec<&Expr> = vec![];
    for expr in sets.iter().flatten() {
        if seen.contains(&expr) {
            return Err(Error::unsupported("CUBE or ROLLUP of the same expression twice"));
        }
        seen.push(expr);
    }
    Ok(())
}

/// Whether it is a value as it is written, or a cast of one; a number alone is the place of a column.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value, .. }) => !matches!(value, Value::Number(..)),
        Expr::TypedString(_) => true,
        Expr::Nested(expr) => is_constant(expr),
        Expr::Cast { expr, .. } => is_constant(expr) || matches!(**expr, Expr::Value(_)),
        _ => false,
    }
}

/// Whether it is an aggregate that shows the order of its rows and does not say it.
fn collects(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
    let walked = visit_expressions(expr, |expr| match expr {
        Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. })
            if ["array_agg", "string_agg"].contains(&called(name).unwrap_or_default().as_str())
                && list.clauses.is_empty() =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    walked.is_break()
}

fn refined(yes: bool) -> Result<()> {
    match yes {
        true => Err(Error::unsupported("a window that refines another one").hint("Write out what it takes over.")),
        false => Ok(()),
    }
}

fn item(item: &SelectItem) -> Result<()> {
    match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)
            if *options != WildcardAdditionalOptions::default() =>
        {
            Err(not_ours("*"))
        }
        // The parser takes the operators for names.
        SelectItem::ExprWithAlias { alias, .. }
            if alias.quote_style.is_none()
                && ["isnull", "notnull"].contains(&alias.value.to_ascii_lowercase().as_str()) =>
        {
            Err(Error::unsupported(format!("{} in a select list", alias.value.to_uppercase()))
                .hint("Write IS NULL or IS NOT NULL, or quote the name."))
        }
        _ => Ok(()),
    }
}

/// Columns that a join merges are one column in Postgres, the first of all that `*` shows.
fn joins(select: &Select) -> Result<()> {
    let joins: Vec<_> = select.from.iter().flat_map(|from| &from.joins).collect();
    let named = select.from.iter().all(|from| {
        join::name(&from.relation).is_some() && from.joins.iter().all(|join| join::name(&join.relation).is_some())
    });
    let mut merging = 0;
    for join in &joins {
        let (constraint, outer) = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::CrossJoin(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => (constraint, false),
            JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint) => (constraint, true),
            _ => return Err(not_ours("JOIN")),
        };
        match constraint {
            JoinConstraint::Natural if outer => {
                return Err(Error::unsupported("NATURAL RIGHT and FULL JOIN").hint("Write ON and COALESCE."));
            }
            JoinConstraint::Using(_) if outer && (joins.len() > 1 || select.from.len() > 1 || !named) => {
                return Err(Error::unsupported("RIGHT or FULL JOIN … USING beside another relation")
                    .hint("Write ON and COALESCE."));
            }
            JoinConstraint::Using(_) | JoinConstraint::Natural => merging += 1,
            _ => {}
        }
    }
    let all = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let natural = joins.iter().any(|join| matches!(constraint(&join.join_operator), Some(JoinConstraint::Natural)));
    let single = joins.len() == 1 && select.from.len() == 1 && !natural && named;
    if merging > 0 && all && !single {
        return Err(Error::unsupported("SELECT * of NATURAL JOIN, or of JOIN … USING beside another relation")
            .hint("Name the columns."));
    }
    Ok(())
}

fn factor(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            Err(Error::unsupported("TABLESAMPLE"))
        }
        TableFactor::Table { with_ordinality: true, .. }
        | TableFactor::Function { with_ordinality: true, .. }
        | TableFactor::UNNEST { with_ordinality: true, .. } => Err(Error::unsupported("WITH ORDINALITY")),
        TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. } => {
            Err(Error::unsupported("LATERAL"))
        }
        TableFactor::Table { .. }
        | TableFactor::Derived { .. }
        | TableFactor::Function { .. }
        | TableFactor::TableFunction { .. }
        | TableFactor::UNNEST { .. }
        | TableFactor::NestedJoin { .. } => Ok(()),
        _ => Err(Error::unsupported("this kind of relation in FROM")),
    }
}

fn expression(expr: &Expr) -> Result<()> {
    let row = |expr: &Expr| matches!(expr, Expr::Tuple(_));
    match expr {
        Expr::SimilarTo { .. } => Err(Error::unsupported("SIMILAR TO").hint("Use LIKE or ~.")),
        Expr::RLike { .. } => Err(not_ours("RLIKE")),
        Expr::Lambda(_) | Expr::Map(_) | Expr::Dictionary(_) | Expr::Struct { .. } | Expr::JsonAccess { .. } => {
            Err(Error::unsupported("this expression"))
        }
        Expr::Cast { kind: CastKind::TryCast | CastKind::SafeCast, .. } => Err(not_ours("TRY_CAST")),
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::HexStringLiteral(_) => {
                Err(Error::unsupported("X'…' and 0x…").hint("Write '\\x…'::bytea or a decimal number."))
            }
            Value::SingleQuotedByteStringLiteral(_) | Value::DoubleQuotedByteStringLiteral(_) => {
                Err(Error::unsupported("bit strings (B'…')"))
            }
            _ => Ok(()),
        },
        Expr::BinaryOp { left, op, right } => {
            if row(left) || row(right) {
                return Err(Error::unsupported("comparison of row values"));
            }
            match op {
                BinaryOperator::Spaceship
                | BinaryOperator::DuckIntegerDivide
                | BinaryOperator::MyIntegerDivide
                | BinaryOperator::Xor
                | BinaryOperator::BitwiseXor
                | BinaryOperator::Custom(_)
                | BinaryOperator::Question
                | BinaryOperator::QuestionAnd
                | BinaryOperator::QuestionPipe
                | BinaryOperator::AtQuestion
                | BinaryOperator::AtAt
                | BinaryOperator::Arrow
                | BinaryOperator::LongArrow
                | BinaryOperator::HashArrow
                | BinaryOperator::HashLongArrow
                | BinaryOperator::HashMinus => Err(Error::unsupported(format!("operator {op}"))),
                _ => Ok(()),
            }
        }
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) if row(left) || row(right) => {
            Err(Error::unsupported("comparison of row values"))
        }
        Expr::InList { expr, .. } | Expr::InSubquery { expr, .. } | Expr::IsNull(expr) | Expr::IsNotNull(expr)
            if row(expr) =>
        {
            Err(Error::unsupported("comparison of row values"))
        }
        Expr::Array(array) if array.elem.iter().any(|element| matches!(element, Expr::Array(_))) => {
            Err(Error::unsupported("arrays of several dimensions"))
        }
        Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter().try_for_each(|access| match access {
            AccessExpr::Subscript(Subscript::Slice { .. }) => Err(Error::unsupported("slices of arrays")),
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// The name of a function as it is called: folded, of pg_catalog.
fn called(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(folded)
}

impl Refusal {
    fn function(&mut self, function: &Function) -> Result<()> {
        let Some(name) = called(&function.name) else { return Ok(()) };
        checked::callable(&name)?;
        if !function.within_group.is_empty() {
            return Err(Error::unsupported(format!("{name}(…) WITHIN GROUP")));
        }
        if function.null_treatment.is_some() {
            return Err(Error::unsupported("IGNORE NULLS and RESPECT NULLS"));
        }
        if let Some(WindowType::WindowSpec(spec)) = &function.over {
            refined(spec.window_name.is_some())?;
        }
        if name == SERIES {
            if self.series == 0 {
                return Err(Error::unsupported(format!("{SERIES}() outside of FROM")));
            }
            self.series -= 1;
        }
        let FunctionArguments::List(list) = &function.args else { return Ok(()) };
        for arg in &list.args {
            let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) = arg;
            match arg {
                FunctionArgExpr::QualifiedWildcard(_) => {
                    return Err(Error::unsupported("a whole row as an argument"));
                }
                FunctionArgExpr::Wildcard
                    if name != "count" || list.duplicate_treatment == Some(DuplicateTreatment::Distinct) =>
                {
                    return Err(Error::syntax(format!("{name}(*) is not an aggregate of whole rows")));
                }
                FunctionArgExpr::Expr(Expr::Function(inner)) if name == "unnest" => {
                    self.series += usize::from(called(&inner.name).as_deref() == Some(SERIES));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
