//! What Postgres' clients write and DataFusion does not read, on the syntax tree before planning: qualified functions and operators,
//! COLLATE, casts to catalog types, constants of the session, subqueries over catalog tables that are always empty.

use super::function::relation_id;
use super::template;
use crate::catalog::system::pg_proc;
use crate::catalog::{Catalog, system};
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TableFactor, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;
use weir_sql::bind::slots::Slot;
use weir_sql::session::names::folded;
use weir_sql::statement::call;
use weir_sql::{Error, Result};

/// What constants of the session stand for.
pub struct Scope<'a> {
    pub catalog: &'a Catalog,
    pub user: &'a str,
    pub pid: i32,
    pub version: &'a str,
    pub search_path: &'a [String],
    /// A session variable's value.
    pub setting: &'a dyn Fn(&str) -> Option<String>,
}

/// Functions that are replaced by what they stand for.
pub const FUNCTIONS: [&str; 8] = [
    "current_schema",
    "current_schemas",
    "version",
    "pg_backend_pid",
    "pg_postmaster_start_time",
    "pg_conf_load_time",
    "current_setting",
    "generate_subscripts",
];

pub fn rewrite(query: &mut Query, scope: &Scope) -> Result<()> {
    match query.visit(&mut Rewriter { scope }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// The highest number among the parameters.
pub fn parameters(query: &Query) -> usize {
    let mut highest = 0;
    let _ = ast::visit_expressions(query, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix('$').and_then(|n| n.parse().ok())
        {
            highest = highest.max(number);
        }
        ControlFlow::<()>::Continue(())
    });
    highest
}

struct Rewriter<'a> {
    scope: &'a Scope<'a>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<Error>;

    /// Before the children: a subquery that is replaced needs no rewriting.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some((query, constant)) = subquery(expr)
            && reads_nothing(query)
        {
            *expr = constant;
        }
        if let Expr::Subquery(query) = expr {
            one_row(query);
        }
        ControlFlow::Continue(())
    }

    /// There is no row for which a subquery in the SELECT list of such a query could be asked.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        ask_nothing(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match self.replace(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, args, .. } = factor
            && args.as_ref().is_some_and(|args| args.args.is_empty())
            && catalog_name(name)
            && last(name).is_some_and(|name| system::find("pg_catalog", &name).is_some())
        {
            // pg_timezone_names() and the like are tables here.
            *args = None;
        }
        // pg_catalog.generate_series(…) in FROM.
        if let TableFactor::Table { name, args: Some(args), .. } = factor {
            unqualify(name);
            // Its ends are bigint, and may be computed.
            let series = last(name).as_deref() == Some("generate_series");
            for arg in args.args.iter_mut().filter(|_| series) {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr @ Expr::Function(_))) = arg {
                    *expr = cast(std::mem::replace(expr, null()), "BIGINT");
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn replace(&self, expr: &mut Expr) -> Result<()> {
        match expr {
            Expr::Collate { expr: inner, collation } => {
                match last(collation).map(|name| name.to_lowercase()).as_deref() {
                    Some("default" | "c" | "posix" | "c.utf-8" | "ucs_basic") => {}
                    _ => return Err(Error::unsupported(format!("COLLATE {collation}"))),
                }
                *expr = std::mem::replace(inner, null());
            }
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                    *op = operator(parts)?;
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice()
                    && let Some(replaced) = expanded(root, &field.value.to_ascii_lowercase())
                {
                    *expr = replaced;
                }
            }
            Expr::Function(function) => {
                if let Some(replaced) = self.function(function)? {
                    *expr = replaced;
                }
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } => {
                if let Some(replaced) = self.cast(inner, data_type)? {
                    *expr = replaced;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn function(&self, function: &mut Function) -> Result<Option<Expr>> {
        let Some(name) = last(&function.name) else { return Ok(None) };
        unqualify(&mut function.name);
        let scope = self.scope;
        Ok(Some(match name.as_str() {
            "current_database" | "current_catalog" => text(super::names::DATABASE),
            "current_user" | "session_user" | "user" | "current_role" => text(scope.user),
            "current_schema" => text(scope.search_path.first().map_or("public", String::as_str)),
            "current_schemas" => {
                let with_catalog =
                    matches!(argument(function, 0), Some(Expr::Value(v)) if v.value == Value::Boolean(true));
                let mut names: Vec<Expr> = scope.search_path.iter().map(|s| text(s)).collect();
                if with_catalog {
                    names.insert(0, text("pg_catalog"));
                }
                Expr::Array(ast::Array { elem: names, named: true })
            }
            "version" => text(scope.version),
            "pg_backend_pid" => number(scope.pid as i64),
            "pg_postmaster_start_time" | "pg_conf_load_time" | "inet_server_addr" | "inet_client_addr" => null(),
            "current_setting" => {
                let Some(name) = argument(function, 0) else { return Ok(None) };
                let written = match name {
                    Expr::Value(value) => value.value.clone().into_string(),
                    _ => None,
                };
                let Some(written) = written else { return setting(name.clone()).map(Some) };
                let name = written;
                match (scope.setting)(&name) {
                    Some(value) => text(&value),
                    None if argument(function, 1).is_some() => null(),
                    None => {
                        let message = format!("unrecognized configuration parameter \"{name}\"");
                        return Err(Error::new("42704", message));
                    }
                }
            }
            "generate_subscripts" => match argument(function, 0) {
                Some(array) => positions(array.clone()),
                None => return Ok(None),
            },
            // JDBC asks for the columns of a key so. The pairs of element and position that it gives are no type of ours: alone it
            // stands for the elements, see [`expanded`].
            "_pg_expandarray" => match argument(function, 0) {
                Some(array) => call("unnest", vec![array.clone()]),
                None => return Ok(None),
            },
            // A subquery as an array: its one column, aggregated.
            "array" => return Ok(self.array(function)),
            _ => return Ok(None),
        }))
    }

    fn array(&self, function: &Function) -> Option<Expr> {
        let FunctionArguments::Subquery(query) = &function.args else { return None };
        let plain = match query.body.as_ref() {
            SetExpr::Select(select) => {
                let grouped = !matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty());
                let bounded = query.limit_clause.is_some() || query.fetch.is_some();
                (select.distinct.is_none() && !grouped && !bounded).then_some(select)
            }
            _ => None,
        };
        let Some(select) = plain else {
            return subselect(&format!("SELECT array_agg(x) FROM ({query}) AS a (x)")).map(or_empty);
        };
        let [ast::SelectItem::UnnamedExpr(item) | ast::SelectItem::ExprWithAlias { expr: item, .. }] =
            select.projection.as_slice()
        else {
            return None;
        };
        let mut query = query.as_ref().clone();
        let mut order = match query.order_by.take().map(|order| order.kind) {
            Some(ast::OrderByKind::Expressions(order)) => order,
            _ => vec![],
        };
        // ORDER BY 1
        let numbered = order.iter_mut().filter(|by| matches!(by.expr, Expr::Value(_)));
        numbered.for_each(|by| by.expr = item.clone());
        let mut array = call("array_agg", vec![item.clone()]);
        if let (false, Expr::Function(Function { args: FunctionArguments::List(list), .. })) =
            (order.is_empty(), &mut array)
        {
            list.clauses.push(ast::FunctionArgumentClause::OrderBy(order));
        }
        let mut aggregate = select.as_ref().clone();
        aggregate.projection = vec![ast::SelectItem::UnnamedExpr(array)];
        query.body = Box::new(SetExpr::Select(Box::new(aggregate)));
        Some(or_empty(Expr::Subquery(Box::new(query))))
    }

    fn cast(&self, inner: &mut Expr, data_type: &mut DataType) -> Result<Option<Expr>> {
        let name = match data_type {
            DataType::Custom(name, _) => last(name).unwrap_or_default(),
            DataType::Regclass => "regclass".into(),
            _ => return Ok(None),
        };
        let inner = std::mem::replace(inner, null());
        let written = match &inner {
            Expr::Value(value) => value.value.clone().into_string(),
            _ => None,
        };
        Ok(Some(match (name.as_str(), written) {
            ("regclass", Some(written)) => match relation_id(self.scope.catalog, &written) {
                Some(id) => number(id),
                None => return Err(Error::undefined_relation(&written)),
            },
            // A parameter is a name.
            ("regclass", None) if is_parameter(&inner) => call("to_regclass", vec![cast(inner, "TEXT")]),
            ("regclass", None) => call("regclass_name", vec![inner]),
            ("regproc", Some(written)) => number(pg_proc::by_name(&written)?.into()),
            ("regproc", None) if is_parameter(&inner) => call("to_regproc", vec![cast(inner, "TEXT")]),
            ("regproc", None) => call("regproc_name", vec![inner]),
            ("regprocedure", Some(written)) => number(pg_proc::by_signature(&written)?.into()),
            ("regtype", Some(written)) => text(&written),
            ("regtype", None) => call("format_type", vec![inner, null()]),
            ("regnamespace", Some(written)) => match system::schema_id(&written) {
                Some(id) => number(id),
                None => return Err(Error::new("3F000", format!("schema \"{written}\" does not exist"))),
            },
            (
                "oid" | "xid" | "cid" | "regrole" | "regnamespace" | "regprocedure" | "regoperator" | "regcollation"
                | "regconfig" | "regdictionary",
                _,
            ) => cast(inner, "BIGINT"),
            ("name" | "char" | "\"char\"" | "regoper" | "pg_node_tree" | "aclitem" | "cstring", _) => {
                cast(inner, "TEXT")
            }
            // pg_catalog.text and the like: the plain name is the type.
            (name, _) => cast(inner, name),
        }))
    }
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// The variable of a name that is not known yet.
/// The table's alias is one that a query around it does not use.
fn setting(name: Expr) -> Result<Expr> {
    let template = "SELECT first_value(current_setting.setting) FROM pg_catalog.pg_settings AS current_setting \
                    WHERE current_setting.name = NULL";
    let mut query = template::parsed_query(template)?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(Expr::BinaryOp { right, .. }) = &mut select.selection
    {
        **right = cast(name, "TEXT");
    }
    Ok(Expr::Subquery(Box::new(query)))
}

/// The positions of an array's elements, as rows.
fn positions(array: Expr) -> Expr {
    let length = call("array_length", vec![array, number(1)]);
    call("unnest", vec![call("generate_series", vec![number(1), length])])
}

/// `(_pg_expandarray(a)).x`, the elements, and `.n`, their positions; `(result.keys).x`, where keys is such a call.
fn expanded(root: &Expr, field: &str) -> Option<Expr> {
    let Expr::Nested(root) = root else { return None };
    match (root.as_ref(), field) {
        (Expr::CompoundIdentifier(parts), "x") => {
            parts.last().filter(|name| name.value.eq_ignore_ascii_case("keys")).map(|_| root.as_ref().clone())
        }
        (Expr::Function(function), "x" | "n") if last(&function.name).as_deref() == Some("unnest") => match field {
            "x" => Some(root.as_ref().clone()),
            _ => argument(function, 0).cloned().map(positions),
        },
        _ => None,
    }
}

fn ask_nothing(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) if selects_nothing(select) => {
            let _ = ast::visit_expressions_mut(&mut select.projection, |expr| {
                if let Some((_, constant)) = subquery(expr) {
                    *expr = constant;
                }
                ControlFlow::<()>::Continue(())
            });
        }
        SetExpr::SetOperation { left, right, .. } => {
            ask_nothing(left);
            ask_nothing(right);
        }
        _ => {}
    }
}

/// A subquery, and what it is without any rows.
fn subquery(expr: &Expr) -> Option<(&Query, Expr)> {
    match expr {
        Expr::Subquery(query) => Some((query, null())),
        Expr::Exists { subquery, negated } => Some((subquery, Expr::Value(Value::Boolean(*negated).into()))),
        Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. })
            if last(name).as_deref() == Some("array") =>
        {
            Some((query, cast(text("{}"), "TEXT[]")))
        }
        _ => None,
    }
}

/// DataFusion wants a correlated subquery aggregated. Those that clients ask of catalogs look up one row by its oid.
fn one_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let [ast::SelectItem::UnnamedExpr(item) | ast::SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_mut_slice()
    else {
        return;
    };
    let catalog = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            catalog_name(name) && last(name).is_some_and(|name| system::find("pg_catalog", &name).is_some())
        }
        _ => false,
    };
    let from = &select.from;
    let catalogs = !from.is_empty() && from.iter().all(|from| from.joins.is_empty() && catalog(&from.relation));
    if catalogs && query.limit_clause.is_none() && !aggregates(item) && refers_outside(from, &select.selection) {
        *item = call("first_value", vec![std::mem::replace(item, null())]);
    }
}

/// Whether a condition names a column of a relation that is not in `from`.
fn refers_outside(from: &[ast::TableWithJoins], condition: &Option<Expr>) -> bool {
    let inside = |name: &str| {
        from.iter().any(|from| match &from.relation {
            TableFactor::Table { alias: Some(alias), .. } => alias.name.value.eq_ignore_ascii_case(name),
            TableFactor::Table { name: table, .. } => last(table).is_some_and(|table| table.eq_ignore_ascii_case(name)),
            _ => false,
        })
    };
    let walked = ast::visit_expressions(condition, |expr| match expr {
        // `table.column`, or with the schema before it.
        Expr::CompoundIdentifier(parts) if parts.len() > 1 && !inside(&parts[parts.len() - 2].value) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    walked.is_break()
}

fn aggregates(item: &Expr) -> bool {
    let Expr::Function(function) = item else { return false };
    matches!(
        last(&function.name).as_deref(),
        Some("count" | "array_agg" | "string_agg" | "max" | "min" | "sum" | "bool_or" | "bool_and")
    )
}

/// Whether a plain SELECT without aggregates reads an always empty table by inner joins.
fn reads_nothing(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if selects_nothing(select))
}

fn selects_nothing(select: &ast::Select) -> bool {
    let aggregates = select
        .projection
        .iter()
        .any(|item| matches!(item, ast::SelectItem::UnnamedExpr(item) if self::aggregates(item)));
    let nothing = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            last(name).is_some_and(|name| system::is_empty(&name)) && catalog_name(name)
        }
        // reloptions and the like are always NULL.
        TableFactor::Table { name, args: Some(_), .. } => {
            last(name).as_deref() == Some("unnest") && name.0.len() == 2 && catalog_name(name)
        }
        TableFactor::Function { name, .. } => last(name).as_deref() == Some("unnest") && name.0.len() == 2,
        _ => false,
    };
    !aggregates
        && select.from.iter().any(|from| {
            nothing(&from.relation)
                || from.joins.iter().any(|join| {
                    matches!(
                        join.join_operator,
                        ast::JoinOperator::Inner(_) | ast::JoinOperator::Join(_) | ast::JoinOperator::CrossJoin(_)
                    ) && nothing(&join.relation)
                })
        })
}

/// Unqualified, or in pg_catalog.
fn catalog_name(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [_] => true,
        [schema, _] => schema.as_ident().is_some_and(|s| s.value.eq_ignore_ascii_case("pg_catalog")),
        _ => false,
    }
}

fn operator(parts: &[String]) -> Result<BinaryOperator> {
    Ok(match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("~~*") => BinaryOperator::PGILikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("!~~*") => BinaryOperator::PGNotILikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some(">") => BinaryOperator::Gt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">=") => BinaryOperator::GtEq,
        Some("||") => BinaryOperator::StringConcat,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("*") => BinaryOperator::Multiply,
        Some("/") => BinaryOperator::Divide,
        _ => return Err(Error::unsupported(format!("OPERATOR({})", parts.join(".")))),
    })
}

/// Drops `pg_catalog.` from a function's name.
fn unqualify(name: &mut ObjectName) {
    if name.0.len() == 2 && name.0[0].as_ident().is_some_and(|s| s.value.eq_ignore_ascii_case("pg_catalog")) {
        name.0.remove(0);
    }
}

/// The name without its schema, folded; `None` for `other.name`.
fn last(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(folded)
}

fn argument(function: &Function, index: usize) -> Option<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.get(index)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

pub fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_string()).into())
}

fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

pub fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// `kind` as it is written in SQL.
pub fn cast(expr: Expr, kind: &str) -> Expr {
    cast_to(expr, written_type(kind))
}

/// What `kind` says. Who casts many values reads it once.
pub fn written_type(kind: &str) -> DataType {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(kind).and_then(|mut p| p.parse_data_type());
    parsed.unwrap_or_else(|_| DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(Ident::new(kind))]), vec![]))
}

pub fn cast_to(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// Casts columns of a SELECT to what the slots at their places take.
pub fn cast_columns(query: &mut Query, slots: &[Option<Slot>]) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for (item, slot) in select.projection.iter_mut().zip(slots) {
        let (SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }) = item else { continue };
        if let Some(kind) = slot.as_ref().and_then(|slot| slot.assigned().held()) {
            *value = cast(std::mem::replace(value, null()), &kind.to_string());
        }
    }
}

/// An array without elements where there are no rows to aggregate.
fn or_empty(array: Expr) -> Expr {
    call("array_or_empty", vec![array])
}

fn subselect(sql: &str) -> Option<Expr> {
    let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut p| p.parse_query()).ok()?;
    Some(Expr::Subquery(query))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(sql: &str) -> Query {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).expect("tokens");
        *parser.parse_query().expect("a query")
    }

    fn rewritten(sql: &str) -> String {
        let mut query = query(sql);
        let scope = Scope {
            catalog: &Catalog::default(),
            user: "ann",
            pid: 7,
            version: "PostgreSQL",
            search_path: &["public".to_string()],
            setting: &|name| (name == "timezone").then(|| "UTC".into()),
        };
        rewrite(&mut query, &scope).map_or_else(|e| e.to_string(), |()| query.to_string())
    }

    #[test]
    fn qualified_operators_and_collations_become_plain() {
        assert_eq!(
            rewritten("SELECT a OPERATOR(pg_catalog.~) '^(v)$' COLLATE pg_catalog.default FROM t"),
            "SELECT a ~ '^(v)$' FROM t"
        );
        assert!(rewritten("SELECT a COLLATE \"de_DE\" FROM t").contains("0A000"));
    }

    #[test]
    fn constants_of_the_session_are_filled_in() {
        assert_eq!(rewritten("SELECT pg_catalog.current_database()"), "SELECT 'dev'");
        assert_eq!(rewritten("SELECT current_user, current_setting('timezone')"), "SELECT 'ann', 'UTC'");
        assert_eq!(rewritten("SELECT current_schemas(true)"), "SELECT ARRAY['pg_catalog', 'public']");
        assert!(rewritten("SELECT current_setting('nope')").contains("42704"));
    }

    #[test]
    fn a_subquery_over_an_empty_catalog_table_is_null() {
        assert_eq!(
            rewritten("SELECT (SELECT x FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.b) FROM a"),
            "SELECT NULL FROM a"
        );
        assert_eq!(rewritten("SELECT EXISTS (SELECT 1 FROM pg_inherits)"), "SELECT false");
        let kept = "SELECT (SELECT count(*) FROM pg_inherits)";
        assert_eq!(rewritten(kept), kept);
    }

    #[test]
    fn a_look_up_in_a_catalog_is_aggregated() {
        assert_eq!(
            rewritten("SELECT (SELECT c.relname FROM pg_class c WHERE c.oid = t.a) FROM t"),
            "SELECT (SELECT first_value(c.relname) FROM pg_class c WHERE c.oid = t.a) FROM t"
        );
        for kept in ["SELECT (SELECT relname FROM pg_class)", "SELECT (SELECT u.a FROM u WHERE u.b = t.a) FROM t"] {
            assert_eq!(rewritten(kept), kept);
        }
    }

    #[test]
    fn a_query_without_rows_asks_no_subqueries() {
        assert_eq!(
            rewritten("SELECT array_to_string(ARRAY(SELECT r FROM u WHERE u.a = ANY(p.b)), ',') FROM pg_policy p"),
            "SELECT array_to_string(CAST('{}' AS TEXT[]), ',') FROM pg_policy p"
        );
    }

    #[test]
    fn an_array_subquery_is_an_aggregate() {
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT b FROM t WHERE t.c = u.c) FROM u"),
            "SELECT array_or_empty((SELECT array_agg(b) FROM t WHERE t.c = u.c)) FROM u"
        );
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT b + 1 FROM t ORDER BY 1 DESC, c)"),
            "SELECT array_or_empty((SELECT array_agg(b + 1 ORDER BY b + 1 DESC, c) FROM t))"
        );
        assert_eq!(
            rewritten("SELECT ARRAY(SELECT b FROM t ORDER BY c LIMIT 2)"),
            "SELECT array_or_empty((SELECT array_agg(x) FROM (SELECT b FROM t ORDER BY c LIMIT 2) AS a (x)))"
        );
    }

    #[test]
    fn casts_to_catalog_types_become_numbers_and_text() {
        assert_eq!(rewritten("SELECT 'public'::regnamespace"), "SELECT 2200");
        assert_eq!(
            rewritten("SELECT a::pg_catalog.regtype::pg_catalog.text FROM t"),
            "SELECT CAST(format_type(a, NULL) AS TEXT) FROM t"
        );
        assert_eq!(rewritten("SELECT x::name FROM t"), "SELECT CAST(x AS TEXT) FROM t");
        assert_eq!(
            rewritten("SELECT a::regproc FROM t WHERE a = 'pg_catalog.array_in'::regproc"),
            "SELECT regproc_name(a) FROM t WHERE a = 750"
        );
        assert_eq!(rewritten("SELECT 'abs(integer)'::regprocedure"), "SELECT 1397");
        assert!(rewritten("SELECT 'abs'::regproc").contains("42725"));
        assert!(rewritten("SELECT 'nope'::regproc").contains("42883"));
    }

    #[test]
    fn functions_that_stand_for_something_are_listed() {
        for name in FUNCTIONS {
            let asked = format!("SELECT {name}('timezone')");
            assert_ne!(rewritten(&asked), asked);
        }
    }

    #[test]
    fn parameters_are_counted_by_their_highest_number() {
        assert_eq!(parameters(&query("SELECT $2 FROM t WHERE a = $1 AND b IN (SELECT $7)")), 7);
    }
}
