//! WITH: queries that others read by their names.

use super::Binder;
use super::position::{of_word, placed};
use super::rows::{Common, Item, Nested, Rows};
use crate::bound::{Bound, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::functions::{self, Volatility};
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{self, Ident, TableAlias, Visit, Visitor};
use std::ops::ControlFlow;
use std::rc::Rc;

impl Binder<'_> {
    /// Adds the queries of `with` to those that can be read by name. Each is bound at once, whether it is read or not.
    pub fn with(&mut self, with: &ast::With) -> Bound<()> {
        let ast::With { with_token: _, recursive, cte_tables } = with;
        if *recursive {
            return not_yet("WITH RECURSIVE");
        }
        let names: Vec<String> = cte_tables.iter().map(|cte| folded(&cte.alias.name)).collect();
        for (at, cte) in cte_tables.iter().enumerate() {
            if names[..at].contains(&names[at]) {
                let text = format!("WITH query name \"{}\" specified more than once", names[at]);
                return Err(wrong(Error::new("42712", text), &cte.alias.name));
            }
        }
        let first = self.future.len();
        self.future.extend(names);
        for cte in cte_tables {
            let common = self.common(cte)?;
            self.common.push(common);
            self.future.remove(first);
        }
        Ok(())
    }

    fn common(&mut self, cte: &ast::Cte) -> Bound<Common> {
        let ast::Cte { alias, query, from, materialized: _, closing_paren_token: _ } = cte;
        let TableAlias { explicit: _, name, columns, at } = alias;
        if from.is_some() || at.is_some() || columns.iter().any(|column| column.data_type.is_some()) {
            return not_yet("this form of WITH");
        }
        let columns: Vec<String> = columns.iter().map(|column| folded(&column.name)).collect();
        let rows = self.nested(query)?;
        let (has, named) = (rows.items.len(), columns.len());
        if named > has {
            let name = folded(name);
            let text = format!("WITH query \"{name}\" has {has} columns available but {named} columns specified");
            return Err(wrong(Error::new("42P10", text), &alias.name));
        }
        let rows = self.readable(rows, &columns)?;
        let (query, outside) = (Rc::new(query.as_ref().clone()), self.nothing());
        Ok(Common { name: folded(name), columns, query, first: Some(rows), outside })
    }

    /// The rows of the query at a place of those that can be read by name, for one more of its readers.
    pub fn common_rows(&mut self, at: usize) -> Bound<Rows> {
        if let Some(rows) = self.common[at].first.take() {
            return Ok(rows);
        }
        let Common { query, outside, .. } = &self.common[at];
        let (query, outside) = (query.clone(), outside.clone());
        if is_volatile(query.as_ref()) {
            return not_yet("a volatile query of WITH that is read twice");
        }
        // It reads those before it, and names what can be named where it is written.
        let later = self.common.split_off(at);
        let (around, outer) = (outside.around, outside.outer);
        let here = (std::mem::replace(&mut self.around, around), std::mem::replace(&mut self.outer, outer));
        let rows = self.nested(&query);
        (self.around, self.outer) = here;
        self.common.extend(later);
        let columns = self.common[at].columns.clone();
        self.readable(rows?, &columns)
    }

    /// `rows` as another query reads them: called by `names`, as far as there are any, and no more UNKNOWN.
    fn readable(&mut self, rows: Rows, names: &[String]) -> Bound<Rows> {
        let Rows { node, mut items, order, is_sorted } = rows;
        for (item, name) in items.iter_mut().zip(names) {
            item.name.clone_from(name);
        }
        for Item { value, .. } in &mut items {
            *value = self.settled(value.clone())?;
        }
        let node = self.extended(node, items.iter_mut().map(|item| &mut item.value));
        Ok(Rows { node, items, order, is_sorted })
    }
}

fn wrong(error: Error, name: &Ident) -> Unbound {
    Unbound::Wrong(placed(error, of_word(name)))
}

/// Whether it calls what may give another value each time: what is read twice is one value.
fn is_volatile(query: &ast::Query) -> bool {
    query.visit(&mut Volatile).is_break()
}

struct Volatile;

impl Visitor for Volatile {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        let ast::Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        match functions::named(&name).iter().any(|function| function.volatility == Volatility::Volatile) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}
