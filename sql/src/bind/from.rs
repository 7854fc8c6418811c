//! FROM: relations, queries and joins, to rows and to what can be named.

use super::Binder;
use super::entry::Entry;
use super::expression::Place;
use super::position::{of_name, placed};
use super::rows::{Input, Nested, Rows, Source};
use super::scope::{Column, DATABASE, Named, Scope};
use crate::bound::{Bound, Expr, Join, Kind, Node, Unbound, not_yet};
use crate::error::Error;
use crate::session::names::folded;
use crate::stop;
use datafusion::sql::sqlparser::ast::{
    Ident, Join as Joined, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins,
};
use std::rc::Rc;

impl Binder<'_> {
    /// Without anything in it: one row without columns.
    pub fn from(&mut self, from: &[TableWithJoins]) -> Bound<Input> {
        let mut known = self.nothing();
        let mut all: Option<Source> = None;
        for tables in from {
            let next = self.tables(tables, &mut known)?;
            all = Some(match all {
                None => next,
                Some(before) => {
                    apart(&before.relations, &next.relations)?;
                    joined(Join::Inner, before, next, None)
                }
            });
        }
        let Source { node, relations, order } =
            all.unwrap_or_else(|| Source { node: Node::Unit, relations: vec![], order: vec![] });
        known.relations = relations;
        Ok(Input { node, scope: known, order })
    }

    /// Relations that are joined, from left to right. `known` is what errors have to know of all that is read.
    fn tables(&mut self, tables: &TableWithJoins, known: &mut Scope) -> Bound<Source> {
        let TableWithJoins { relation, joins } = tables;
        let mut source = self.factor(relation, known)?;
        for Joined { relation, global, join_operator } in joins {
            let (kind, constraint) = operator(join_operator)?;
            if *global {
                return not_yet("GLOBAL JOIN");
            }
            let mut right = self.factor(relation, known)?;
            apart(&source.relations, &right.relations)?;
            source = match constraint {
                None => joined(kind, source, right, None),
                Some(JoinConstraint::On(condition)) => {
                    let of_left = source.relations.len();
                    known.relations = std::mem::take(&mut source.relations);
                    known.relations.append(&mut right.relations);
                    let mut place = Place { scope: known, clause: "JOIN conditions", groups: None };
                    let on = self.condition(condition, &mut place)?;
                    right.relations = known.relations.split_off(of_left);
                    source.relations = std::mem::take(&mut known.relations);
                    joined(kind, source, right, Some(on))
                }
                Some(JoinConstraint::Using(names)) => {
                    let names: Option<Vec<String>> = names.iter().map(column).collect();
                    let Some(names) = names else { return not_yet("USING of qualified names") };
                    self.using(kind, source, right, &names)?
                }
                Some(JoinConstraint::Natural) => {
                    let names = shared(&source.relations, &right.relations);
                    self.using(kind, source, right, &names)?
                }
                Some(JoinConstraint::None) => return not_yet("JOIN without a condition"),
            };
        }
        Ok(source)
    }

    fn factor(&mut self, factor: &TableFactor, known: &mut Scope) -> Bound<Source> {
        stop::check()?;
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if args.is_some() || *with_ordinality {
                    return not_yet("functions in FROM");
                }
                if sample.is_some() {
                    return not_yet("TABLESAMPLE");
                }
                let is_foreign = !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty();
                if is_foreign || version.is_some() || json_path.is_some() {
                    return not_yet("this form of a relation in FROM");
                }
                self.relation(name, alias.as_ref(), known)
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let around = known.entries.iter().chain(&self.around).cloned().collect();
                let outside = std::mem::replace(&mut self.around, around);
                let rows = self.nested(subquery);
                self.around = outside;
                self.derived(rows?, None, alias.as_ref(), known)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let source = self.tables(table_with_joins, known)?;
                match alias {
                    Some(alias) => renamed(source, alias, known),
                    None => Ok(source),
                }
            }
            TableFactor::Derived { lateral: true, .. } => not_yet("LATERAL"),
            TableFactor::Derived { .. } => not_yet("TABLESAMPLE"),
            TableFactor::Function { .. } | TableFactor::TableFunction { .. } | TableFactor::UNNEST { .. } => {
                not_yet("functions in FROM")
            }
            _ => not_yet("this form of a relation in FROM"),
        }
    }

    /// One by its name: a query of WITH, or else a table or view.
    fn relation(&mut self, name: &ObjectName, alias: Option<&TableAlias>, known: &mut Scope) -> Bound<Source> {
        let words: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
        let (schema, last) = match words.as_deref() {
            Some([last]) => (None, folded(last)),
            Some([schema, last]) => (Some(folded(schema)), folded(last)),
            Some([database, schema, last]) if folded(database) == DATABASE => (Some(folded(schema)), folded(last)),
            _ => return not_yet("this form of a relation's name"),
        };
        if schema.is_none()
            && let Some(at) = self.common.iter().rposition(|common| common.name == last)
        {
            let rows = self.common_rows(at)?;
            return self.derived(rows, Some(&last), alias, known);
        }
        let found = self.relations.relation(schema.as_deref(), &last).map_err(|error| match error {
            Unbound::Wrong(mut error) => {
                if schema.is_none() && error.sqlstate == "42P01" && self.future.contains(&last) {
                    let there = format!("There is a WITH item named \"{last}\"");
                    error = error
                        .detail(format!("{there}, but it cannot be referenced from this part of the query."))
                        .hint("Use WITH RECURSIVE, or re-order the WITH items to remove forward references.");
                }
                Unbound::Wrong(placed(error, of_name(name)))
            }
            other => other,
        })?;
        let (called, names) = self::alias(alias)?;
        let is_plain = called.is_none();
        let called = called.unwrap_or_else(|| last.clone());
        let own: Vec<(String, Kind)> = found.columns;
        available("table", &called, own.len(), names.len())?;
        let mut columns = vec![];
        let mut scanned = vec![];
        for (at, (name, kind)) in own.into_iter().enumerate() {
            let id = self.column();
            columns.push((names.get(at).cloned().unwrap_or(name), id, kind));
            scanned.push((id, at, kind));
        }
        let key = found.key.unwrap_or_default().into_iter().filter_map(|at| Some(columns.get(at)?.1)).collect();
        known.entries.push(Rc::new(Entry {
            name: called.clone(),
            relation: Some(last),
            columns: columns.iter().map(|(name, id, _)| (name.clone(), Some(*id))).collect(),
            is_around: true,
            key,
        }));
        let columns = columns.into_iter().map(|(name, id, kind)| Column { name, value: Expr::Column { id, kind } });
        let named = Named { name: Some(called), is_plain, is_shown: true, columns: columns.collect() };
        let node = Node::Scan { name: found.name, table: found.table, columns: scanned };
        Ok(Source { node, relations: vec![named], order: vec![] })
    }

    /// The rows of a query, `called` so if it has no alias.
    fn derived(
        &mut self,
        rows: Rows,
        called: Option<&str>,
        alias: Option<&TableAlias>,
        known: &mut Scope,
    ) -> Bound<Source> {
        let (node, outputs) = self.distinct_outputs(rows.node, rows.items)?;
        let (name, names) = self::alias(alias)?;
        let name = name.or(called.map(str::to_string));
        // PostgreSQL's own name for what has none.
        let told = name.clone().unwrap_or_else(|| "unnamed_subquery".into());
        available("table", &told, outputs.len(), names.len())?;
        let mut columns = vec![];
        let mut entry =
            Entry { name: told, relation: called.map(str::to_string), columns: vec![], is_around: true, key: vec![] };
        for (at, output) in outputs.into_iter().enumerate() {
            let name = names.get(at).cloned().unwrap_or(output.name);
            entry.columns.push((name.clone(), Some(output.column)));
            columns.push(Column { name, value: Expr::Column { id: output.column, kind: output.kind } });
        }
        known.entries.push(Rc::new(entry));
        let named = Named { name, is_plain: false, is_shown: true, columns: columns.into() };
        Ok(Source { node, relations: vec![named], order: rows.order })
    }
}

/// Rows of both sides, all of whose relations can still be named.
fn joined(kind: Join, left: Source, right: Source, on: Option<Expr>) -> Source {
    let node = Node::Join { kind, left: Box::new(left.node), right: Box::new(right.node), on };
    let relations = left.relations.into_iter().chain(right.relations).collect();
    Source { node, relations, order: vec![] }
}

/// A join by the name that it has been given: what is in it can be named by it alone.
fn renamed(source: Source, alias: &TableAlias, known: &mut Scope) -> Bound<Source> {
    let (name, names) = self::alias(Some(alias))?;
    let name = name.unwrap_or_default();
    let shown = source.relations.into_iter().filter(|relation| relation.is_shown);
    let mut columns: Vec<Column> = shown.flat_map(|relation| relation.columns.to_vec()).collect();
    available("join expression", &name, columns.len(), names.len())?;
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name;
    }
    known.entries.push(Rc::new(Entry {
        name: name.clone(),
        relation: None,
        columns: vec![],
        is_around: true,
        key: vec![],
    }));
    let named = Named { name: Some(name), is_plain: false, is_shown: true, columns: columns.into() };
    Ok(Source { node: source.node, relations: vec![named], order: vec![] })
}

fn operator(operator: &JoinOperator) -> Bound<(Join, Option<&JoinConstraint>)> {
    Ok(match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Join::Inner, Some(constraint)),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Join::Left, Some(constraint)),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Join::Right, Some(constraint)),
        JoinOperator::FullOuter(constraint) => (Join::Full, Some(constraint)),
        JoinOperator::CrossJoin(JoinConstraint::None) => (Join::Inner, None),
        _ => return not_yet("this form of a join"),
    })
}

/// An alias: of the relation, and of its columns, which may be fewer than there are.
fn alias(alias: Option<&TableAlias>) -> Bound<(Option<String>, Vec<String>)> {
    let Some(TableAlias { explicit: _, name, columns, at }) = alias else { return Ok((None, vec![])) };
    if at.is_some() || columns.iter().any(|column| column.data_type.is_some()) {
        return not_yet("this form of an alias");
    }
    Ok((Some(folded(name)), columns.iter().map(|column| folded(&column.name)).collect()))
}

/// 42P10 if an alias names more columns than there are.
fn available(what: &str, name: &str, has: usize, named: usize) -> Bound<()> {
    if named > has {
        let text = format!("{what} \"{name}\" has {has} columns available but {named} columns specified");
        return Err(Error::new("42P10", text).into());
    }
    Ok(())
}

/// 42712 if a name stands for two relations.
fn apart(left: &[Named], right: &[Named]) -> Bound<()> {
    let names = |relations: &[Named]| relations.iter().filter_map(|relation| relation.name.clone()).collect::<Vec<_>>();
    let right = names(right);
    match names(left).into_iter().find(|name| right.contains(name)) {
        Some(name) => Err(Error::new("42712", format!("table name \"{name}\" specified more than once")).into()),
        None => Ok(()),
    }
}

fn column(name: &ObjectName) -> Option<String> {
    match &name.0[..] {
        [word] => word.as_ident().map(folded),
        _ => None,
    }
}

/// The names of columns that both sides have, as the left one has them.
fn shared(left: &[Named], right: &[Named]) -> Vec<String> {
    let names = |relations: &[Named]| {
        let shown = relations.iter().filter(|relation| relation.is_shown);
        shown.flat_map(|relation| relation.columns.iter()).map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    let right = names(right);
    names(left).into_iter().filter(|name| right.contains(name)).collect()
}
