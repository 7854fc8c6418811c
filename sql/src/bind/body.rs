//! Bodies of queries that are no combination of others: SELECT, VALUES, TABLE.

use super::Binder;
use super::order::Tail;
use super::rows::Rows;
use super::select::Clauses;
use crate::bound::{Bound, not_yet};
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, SelectItem, SetExpr, Table, TableFactor, TableWithJoins, WildcardAdditionalOptions,
};

impl Binder<'_> {
    pub fn simple(&mut self, body: &SetExpr, tail: &Tail) -> Bound<Rows> {
        match body {
            SetExpr::Select(select) => self.select(&Clauses::of(select)?, tail),
            SetExpr::Values(values) => self.values(values, tail),
            SetExpr::Table(table) => self.table(table, tail),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                not_yet("changes of data within a query")
            }
            SetExpr::Query(_) | SetExpr::SetOperation { .. } => not_yet("this form of a query's body"),
        }
    }

    /// `TABLE t` is `SELECT * FROM t`.
    fn table(&mut self, table: &Table, tail: &Tail) -> Bound<Rows> {
        let Table { table_name, schema_name } = table;
        let words: Vec<&String> = schema_name.iter().chain(table_name).collect();
        // The parser does not tell whether a word was quoted.
        if table_name.is_none() || words.iter().any(|word| word.to_lowercase() != **word) {
            return not_yet("this form of TABLE");
        }
        let words: Vec<Ident> = words.into_iter().map(|word| Ident::with_quote('"', word)).collect();
        let relation = TableFactor::Table {
            name: ObjectName::from(words),
            alias: None,
            args: None,
            with_hints: vec![],
            version: None,
            with_ordinality: false,
            partitions: vec![],
            json_path: None,
            sample: None,
            index_hints: vec![],
        };
        let from = [TableWithJoins { relation, joins: vec![] }];
        let list = [SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        let clauses = Clauses { list: &list, distinct: None, from: &from, condition: None, group: None, having: None };
        self.select(&clauses, tail)
    }
}
