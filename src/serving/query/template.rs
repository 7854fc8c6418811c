//! Queries of ours, to be filled in.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, TableWithJoins};
use weir_sql::{Error, Result};

pub fn parsed_query(sql: &str) -> Result<Query> {
    match weir_sql::statement::parse(sql)?.pop().map(|parsed| parsed.statement) {
        Some(weir_sql::statement::Statement::Query(query)) => Ok(*query),
        _ => Err(Error::internal(format!("not a query: {sql}"))),
    }
}

/// SELECT of one value.
pub fn constant(value: Expr) -> Result<Query> {
    query(vec![(value, "value".into())], vec![], None)
}

/// `SELECT items FROM from WHERE selection`.
pub fn query(items: Vec<(Expr, String)>, from: Vec<TableWithJoins>, selection: Option<Expr>) -> Result<Query> {
    let mut query = parsed_query("SELECT 1")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("a template without SELECT")) };
    select.projection =
        items.into_iter().map(|(expr, alias)| SelectItem::ExprWithAlias { expr, alias: quoted(&alias) }).collect();
    select.from = from;
    select.selection = selection;
    Ok(query)
}

pub fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}
