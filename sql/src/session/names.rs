//! Output columns named as Postgres names them: `count`, `?column?`, the type of a cast.
//!
//! DataFusion names an unnamed expression by its text. Here such expressions get Postgres' name as an alias before planning,
//! in the outermost SELECT and wherever names can be referred to (WITH, subqueries in FROM). A name that would stand twice in
//! one SELECT is made unique by a suffix that [`shown`] takes off again: SQL allows twice, DataFusion does not.

use crate::statement::{is_chain, type_name};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, TrimWhereField,
};
use std::collections::HashMap;

/// Begins the suffix of a name made unique. No identifier a client sends holds it: it is not a printable character.
const MARK: char = '\u{1}';

/// The name to show for a field of a plan made from a query that went through [`name_outputs`].
pub fn shown(field: &str) -> &str {
    field.split(MARK).next().unwrap_or(field)
}

/// `name` for the `index`th column where another one has it already: not to be referred to, and shown as it is. Without a name it is what
/// nobody has named.
pub fn hidden(name: &str, index: usize) -> String {
    format!("{name}{MARK}{index}")
}

pub fn name_outputs(query: &mut Query) {
    for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
        name_outputs(&mut cte.query);
    }
    body(&mut query.body);
}

/// The same for a query that is answered, not stored: in its outermost SELECT, names that are not written count for nothing but
/// ORDER BY, and only where they stand alone. `SELECT a::text FROM t ORDER BY a + 1` sorts by the table's column.
pub fn name_results(query: &mut Query) {
    let order = query.order_by.iter().flat_map(|order| match &order.kind {
        OrderByKind::Expressions(expressions) => expressions.as_slice(),
        OrderByKind::All(_) => &[],
    });
    let sorted: Vec<String> = order
        .filter_map(|by| match &by.expr {
            Expr::Identifier(name) => Some(folded(name)),
            _ => None,
        })
        .collect();
    let unnamed: Vec<bool> = match query.body.as_ref() {
        SetExpr::Select(select) => {
            select.projection.iter().map(|item| matches!(item, SelectItem::UnnamedExpr(_))).collect()
        }
        _ => vec![],
    };
    name_outputs(query);
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for (index, (item, unnamed)) in select.projection.iter_mut().zip(unnamed).enumerate() {
        if let SelectItem::ExprWithAlias { alias, .. } = item
            && unnamed
            && !sorted.contains(&alias.value)
        {
            alias.value = hidden(shown(&alias.value), index);
        }
    }
}

fn body(expr: &mut SetExpr) {
    match expr {
        SetExpr::Select(select) => name_select(select),
        SetExpr::Query(query) => name_outputs(query),
        SetExpr::SetOperation { left, right, .. } => {
            body(left);
            body(right);
        }
        _ => {}
    }
}

fn name_select(select: &mut Select) {
    select.from.iter_mut().for_each(from);
    let mut taken: HashMap<String, Vec<Option<Expr>>> = HashMap::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let (name, plain) = match item {
            SelectItem::UnnamedExpr(expr) => (of(expr), is_column(expr).then(|| expr.clone())),
            SelectItem::ExprWithAlias { alias, .. } => (folded(alias), None),
            _ => continue,
        };
        // Two columns of one name but of different tables are told apart by their table.
        let others = taken.entry(name.clone()).or_default();
        let twice = !others.is_empty() && (plain.is_none() || others.iter().any(|o| o.is_none() || *o == plain));
        let unique = if twice { hidden(&name, i) } else { name.clone() };
        let alias = Ident::with_quote('"', unique);
        match item {
            SelectItem::UnnamedExpr(expr) if plain.is_none() || twice => {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            SelectItem::ExprWithAlias { alias: written, .. } if twice => *written = alias,
            _ => {}
        }
        others.push(plain);
    }
}

fn from(table: &mut TableWithJoins) {
    let joined = table.joins.iter_mut().map(|join| &mut join.relation);
    for factor in std::iter::once(&mut table.relation).chain(joined) {
        match factor {
            TableFactor::Derived { subquery, .. } => name_outputs(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => from(table_with_joins),
            _ => {}
        }
    }
}

/// What an identifier stands for: in lower case unless it is quoted.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Postgres' name for a column that computes `expr`.
pub fn of(expr: &Expr) -> String {
    name(expr).map_or_else(|| UNNAMED.into(), |Name { text, .. }| text)
}

const UNNAMED: &str = "?column?";

struct Name {
    text: String,
    /// A type's, or `case`: a cast or a CASE around it has a name of its own.
    is_weak: bool,
}

fn name(expr: &Expr) -> Option<Name> {
    let strong = |text: String| Some(Name { text, is_weak: false });
    let weak = |text: String| Some(Name { text, is_weak: true });
    let fixed = |text: &str| strong(text.into());
    match expr {
        Expr::Identifier(ident) => strong(folded(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(folded).and_then(strong),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name(inner),
        Expr::CompoundFieldAccess { root, .. } => name(root),
        Expr::Function(function) if is_chain(function) => None,
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map(folded).and_then(strong)
        }
        Expr::Cast { expr, data_type, .. } => match name(expr) {
            Some(inner) if !inner.is_weak => Some(inner),
            inner => type_name(data_type).and_then(weak).or(inner),
        },
        Expr::TypedString(typed) => type_name(&typed.data_type).and_then(weak),
        Expr::Interval(_) => weak("interval".into()),
        Expr::Case { else_result, .. } => match else_result.as_ref().and_then(|result| name(result)) {
            Some(inner) if !inner.is_weak => Some(inner),
            _ => weak("case".into()),
        },
        Expr::Exists { negated: false, .. } => fixed("exists"),
        Expr::Subquery(query) => strong(first_name(&query.body).unwrap_or_else(|| UNNAMED.into())),
        Expr::Extract { .. } => fixed("extract"),
        Expr::Ceil { .. } => fixed("ceil"),
        Expr::Floor { .. } => fixed("floor"),
        Expr::Position { .. } => fixed("position"),
        Expr::Substring { shorthand: true, .. } => fixed("substr"),
        Expr::Substring { .. } => fixed("substring"),
        Expr::Overlay { .. } => fixed("overlay"),
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => fixed("ltrim"),
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => fixed("rtrim"),
        Expr::Trim { .. } => fixed("btrim"),
        Expr::Array(_) => fixed("array"),
        Expr::Tuple(_) => fixed("row"),
        Expr::AtTimeZone { .. } => fixed("timezone"),
        _ => None,
    }
}

fn first_name(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => Some(of(expr)),
            SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
            _ => None,
        },
        SetExpr::Query(query) => first_name(&query.body),
        SetExpr::SetOperation { left, .. } => first_name(left),
        SetExpr::Values(_) => Some("column1".into()),
        _ => None,
    }
}

/// The subquery whose column a column that computes `expr` is called after, if that is a `*` there: [`of`] cannot tell its name.
pub fn starred(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => begins_with_star(&query.body).then_some(query),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } | Expr::Cast { expr: inner, .. } => starred(inner),
        Expr::CompoundFieldAccess { root, .. } => starred(root),
        Expr::Case { else_result, .. } => else_result.as_ref().and_then(|result| starred(result)),
        _ => None,
    }
}

/// Whether the first column of a query is called as one of a `*`, or of one in a subquery.
pub fn begins_with_star(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => match select.projection.first() {
            Some(SelectItem::UnnamedExpr(expr)) => starred(expr).is_some(),
            Some(SelectItem::ExprWithAlias { .. }) | None => false,
            Some(_) => true,
        },
        SetExpr::Query(query) => begins_with_star(&query.body),
        SetExpr::SetOperation { left, .. } => begins_with_star(left),
        _ => false,
    }
}
