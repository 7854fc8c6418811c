//! INSERT. A row with a key that exists overwrites it, as in RisingWave, unless ON CONFLICT says otherwise.

use super::Outcome;
use super::dml::{Target, count, first_rows, fit, stored, take};
use super::returning::columns_of;
use crate::serving::arguments::Arguments;
use crate::serving::holding::Holding;
use crate::serving::query::Planner;
use crate::serving::query::rewrite::{cast, cast_to, null, written_type};
use crate::serving::query::template::{parsed_query, query, quoted};
use crate::serving::session::Session;
use crate::serving::transaction::Change;
use crate::serving::value::row::Column;
use arrow::array::{Array, RecordBatch};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, ConflictTarget, DoUpdate, Expr, Ident, Insert, ObjectName, OnConflict, OnConflictAction,
    OnInsert, Query, SetExpr, TableFactor, TableObject, TableWithJoins,
};
use std::sync::Arc;
use weir_sql::session::names::folded;
use weir_sql::types::Type;
use weir_sql::{Error, Result};
use weir_storage::Epoch;

/// The rows of the statement, as ON CONFLICT calls them.
const EXCLUDED: &str = "excluded";

impl Session {
    pub(super) async fn insert(&mut self, insert: &Insert, arguments: &Arguments) -> Result<Outcome> {
        self.writable("INSERT")?;
        let (target, source, planner) = self.insert_source(insert).await?;
        let conflict = conflict(insert, &target)?;
        let planned = planner.plan(&source, &arguments.types).await?;
        let rows = self.open(&planner, planned, arguments, Epoch::ZERO).await?;
        if conflict.is_none() && insert.returning.is_none() {
            return Ok(Outcome::Done(format!("INSERT 0 {}", self.put(&target, rows).await?)));
        }
        let (rows, _held) = rows.collect(&self.server.runtime.memory_pool).await?;
        let rows = rows.iter().map(|batch| fit(batch, 0, &target)).collect::<Result<Vec<_>>>()?;
        let rows = match conflict {
            None => rows,
            Some(action) => {
                self.written_before_read(&[target.id()]).await?;
                let epoch = self.lock(target.id()).await?;
                self.resolve(insert, &target, rows, action, arguments, epoch).await?
            }
        };
        let tag = format!("INSERT 0 {}", count(&rows));
        let outcome =
            self.returned(&target, insert_alias(insert), insert.returning.as_deref(), &rows, arguments, tag).await?;
        for rows in rows {
            self.transaction()?.write(&target.object, Change::Put(rows))?;
        }
        Ok(outcome)
    }

    pub(super) async fn describe_insert(
        &mut self,
        insert: &Insert,
        declared: &[Option<Type>],
    ) -> Result<(Vec<Type>, Option<Vec<Column>>)> {
        let (target, source, planner) = self.insert_source(insert).await?;
        let planned = planner.plan(&source, declared).await?;
        let columns = columns_of(self, &target, insert_alias(insert), insert.returning.as_deref()).await?;
        Ok((planned.parameters, columns))
    }

    /// A query that yields the table's columns, in order and of its types, and the planner for it.
    async fn insert_source(&mut self, insert: &Insert) -> Result<(Target, Query, Planner)> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(Error::unsupported("INSERT into anything but a table"));
        };
        let target = Target::find(&self.catalog(), name)?;
        let named = named_columns(insert, &target)?;
        let Some(source) = &insert.source else {
            // DEFAULT VALUES: there are no defaults but NULL.
            let items = target.columns.iter().map(|c| (cast(null(), &stored(&c.kind)), c.name.clone()));
            let source = query(items.collect(), vec![], None)?;
            return Ok((target, source, self.planner()?));
        };
        let (mut source, planner) = self.read(source).await?;
        let arity = match source.body.as_mut() {
            SetExpr::Values(values) => {
                let mut arity = None;
                let kinds: Vec<_> = named.iter().map(|c| written_type(&stored(&target.columns[*c].kind))).collect();
                for row in &mut values.rows {
                    let row = &mut row.content;
                    if *arity.get_or_insert(row.len()) != row.len() {
                        return Err(Error::syntax("VALUES lists must all be the same length"));
                    }
                    for (expr, kind) in row.iter_mut().zip(&kinds) {
                        // Every value takes its column's type by itself: one row's text must not make the others text.
                        let value = std::mem::replace(expr, null());
                        let value = if is_default(&value) { null() } else { value };
                        *expr = cast_to(value, kind.clone());
                    }
                }
                arity.unwrap_or(0)
            }
            _ => planner.plan(&source, &[]).await?.plan.schema().fields().len(),
        };
        check_arity(arity, named.len(), !insert.columns.is_empty())?;
        let source = wrapped(source, arity, &named, &target)?;
        Ok((target, source, planner))
    }

    /// What remains to be written after ON CONFLICT.
    async fn resolve(
        &mut self,
        insert: &Insert,
        target: &Target,
        rows: Vec<RecordBatch>,
        action: &OnConflictAction,
        arguments: &Arguments,
        epoch: Epoch,
    ) -> Result<Vec<RecordBatch>> {
        let keys = rows.iter().map(|rows| target.keys(rows)).collect::<Result<Vec<_>>>()?;
        let first = first_rows(&keys)?;
        let rows = match action {
            OnConflictAction::DoUpdate(_) if first.iter().map(Array::len).sum::<usize>() < count(&rows) => {
                return Err(Error::new("21000", "ON CONFLICT DO UPDATE command cannot affect row a second time")
                    .hint("Ensure that no rows proposed for insertion have duplicate keys."));
            }
            OnConflictAction::DoUpdate(_) => rows,
            // The first of equal keys is inserted, the others are in conflict with it.
            OnConflictAction::DoNothing => take(&rows, &first)?,
        };
        let table: Arc<dyn TableProvider> =
            Arc::new(MemTable::try_new(target.schema(), vec![rows]).map_err(crate::serving::query::failure::failure)?);
        let (mut written, _held) = self.evaluate(new_rows(target)?, &table, arguments, epoch).await?;
        let _more;
        if let OnConflictAction::DoUpdate(update) = action {
            let changed = changed_rows(target, update, insert_alias(insert))?;
            let rows;
            (rows, _more) = self.evaluate(changed, &table, arguments, epoch).await?;
            written.extend(rows);
        }
        written.iter().map(|batch| fit(batch, 0, target)).collect()
    }

    async fn evaluate(
        &mut self,
        query: Query,
        excluded: &Arc<dyn TableProvider>,
        arguments: &Arguments,
        epoch: Epoch,
    ) -> Result<(Vec<RecordBatch>, Holding)> {
        let query = self.readable(&query)?;
        let planner = self.planner()?.with_table(EXCLUDED, excluded.clone());
        let planned = planner.plan(&query, &arguments.types).await?;
        self.open(&planner, planned, arguments, epoch).await?.collect(&self.server.runtime.memory_pool).await
    }
}

fn insert_alias(insert: &Insert) -> Option<Ident> {
    insert.table_alias.as_ref().map(|alias| alias.alias.clone())
}

fn named_columns(insert: &Insert, target: &Target) -> Result<Vec<usize>> {
    let ident = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).cloned();
    let idents: Option<Vec<Ident>> = insert.columns.iter().map(ident).collect();
    target.named(&idents.ok_or_else(|| Error::syntax("expected a column name"))?)
}

fn check_arity(given: usize, wanted: usize, named: bool) -> Result<()> {
    if given > wanted {
        return Err(Error::syntax("INSERT has more expressions than target columns"));
    }
    if given < wanted && named {
        return Err(Error::syntax("INSERT has more target columns than expressions"));
    }
    Ok(())
}

fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// `source` with its columns cast and in the table's order; columns that are not named are NULL.
pub(super) fn wrapped(source: Query, arity: usize, named: &[usize], target: &Target) -> Result<Query> {
    let names: Vec<String> = (0..arity).map(|i| format!("c{i}")).collect();
    let items = target.columns.iter().enumerate().map(|(index, column)| {
        let given = named.iter().take(arity).position(|n| *n == index);
        let value = given.map_or_else(null, |position| Expr::Identifier(quoted(&names[position])));
        (cast(value, &stored(&column.kind)), column.name.clone())
    });
    let from = derived(source, "source", &names)?;
    query(items.collect(), vec![from], None)
}

/// `(subquery) AS alias (names)`.
fn derived(subquery: Query, alias: &str, names: &[String]) -> Result<TableWithJoins> {
    let names = names.join(", ");
    let text = format!("SELECT 1 FROM (SELECT 1) AS {alias} ({names})");
    let mut from = parsed_from(&text)?;
    if let TableFactor::Derived { subquery: place, .. } = &mut from.relation {
        **place = subquery;
    }
    Ok(from)
}

fn parsed_from(sql: &str) -> Result<TableWithJoins> {
    match *parsed_query(sql)?.body {
        SetExpr::Select(mut select) => select.from.pop().ok_or_else(|| Error::internal("a query without FROM")),
        _ => Err(Error::internal("a query without SELECT")),
    }
}

fn conflict<'a>(insert: &'a Insert, target: &Target) -> Result<Option<&'a OnConflictAction>> {
    let conflict = match &insert.on {
        None => return Ok(None),
        Some(OnInsert::OnConflict(conflict)) => conflict,
        Some(_) => return Err(Error::unsupported("ON DUPLICATE KEY UPDATE")),
    };
    let OnConflict { conflict_target, action } = conflict;
    match conflict_target {
        None if matches!(action, OnConflictAction::DoNothing) => {}
        None => return Err(Error::syntax("ON CONFLICT DO UPDATE requires inference specification or constraint name")),
        Some(ConflictTarget::Columns(columns)) => {
            let mut named = columns.iter().map(|c| target.column(c)).collect::<Result<Vec<_>>>()?;
            let mut key = target.key.clone();
            named.sort_unstable();
            key.sort_unstable();
            if named != key || key.is_empty() {
                return Err(no_constraint());
            }
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let own = format!("{}_pkey", target.name());
            if target.key.is_empty() || name.0.last().and_then(|p| p.as_ident()).map(folded) != Some(own) {
                return Err(Error::new(
                    "42704",
                    format!("constraint {name} for table \"{}\" does not exist", target.name()),
                ));
            }
        }
    }
    // Without a key nothing is ever in conflict.
    Ok((!target.key.is_empty()).then_some(action))
}

fn no_constraint() -> Error {
    Error::new("42P10", "there is no unique or exclusion constraint matching the ON CONFLICT specification")
}

fn column(table: &str, name: &str) -> String {
    format!("{}.{}", quoted(table), quoted(name))
}

fn same_key(target: &Target, table: &str) -> String {
    let pairs = target.key.iter().map(|k| &target.columns[*k].name);
    pairs.map(|name| format!("{} = {}", column(table, name), column(EXCLUDED, name))).collect::<Vec<_>>().join(" AND ")
}

/// Rows of the statement whose key is not in the table.
fn new_rows(target: &Target) -> Result<Query> {
    let columns = target.columns.iter().map(|c| column(EXCLUDED, &c.name)).collect::<Vec<_>>().join(", ");
    let table = quoted(target.name());
    let same = same_key(target, target.name());
    parsed_query(&format!(
        "SELECT {columns} FROM {EXCLUDED} WHERE NOT EXISTS (SELECT 1 FROM public.{table} AS {table} WHERE {same})"
    ))
}

/// Rows of the table that are in conflict, after DO UPDATE.
fn changed_rows(target: &Target, update: &DoUpdate, alias: Option<Ident>) -> Result<Query> {
    let name = alias.map_or_else(|| target.name().to_string(), |alias| folded(&alias));
    let mut values: Vec<Option<Expr>> = vec![None; target.columns.len()];
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(assigned) = &assignment.target else {
            return Err(Error::unsupported("assignment of several columns at once in ON CONFLICT"));
        };
        let ident =
            assigned.0.last().and_then(|p| p.as_ident()).ok_or_else(|| Error::syntax("expected a column name"))?;
        let index = target.column(ident)?;
        if target.key.contains(&index) {
            return Err(Error::unsupported("changing the primary key in ON CONFLICT"));
        }
        values[index] = Some(assignment.value.clone());
    }
    let items = target.columns.iter().zip(values).map(|(c, value)| {
        let value = value.unwrap_or_else(|| Expr::CompoundIdentifier(vec![quoted(&name), quoted(&c.name)]));
        (cast(value, &stored(&c.kind)), c.name.clone())
    });
    let (table, alias) = (quoted(target.name()), quoted(&name));
    let on = same_key(target, &name);
    let from = parsed_from(&format!("SELECT 1 FROM public.{table} AS {alias} JOIN {EXCLUDED} ON {on}"))?;
    query(items.collect(), vec![from], update.selection.clone())
}

#[cfg(test)]
mod tests {
    use super::super::dml::tests::target;
    use super::*;

    fn insert(sql: &str) -> Insert {
        match weir_sql::statement::parse(sql).expect("a statement").remove(0).statement {
            weir_sql::statement::Statement::Insert(insert) => *insert,
            other => panic!("not an insert: {other:?}"),
        }
    }

    fn t() -> Target {
        target(vec![("id", Type::Int4, false), ("body", Type::Text, true)], vec![0])
    }

    #[test]
    fn columns_are_found_by_name_and_only_once() {
        assert_eq!(named_columns(&insert("INSERT INTO t (body, id) VALUES (1, 2)"), &t()).expect("both"), [1, 0]);
        let twice = named_columns(&insert("INSERT INTO t (id, ID) VALUES (1, 2)"), &t()).expect_err("twice");
        assert_eq!(twice.sqlstate, "42701");
        let wrong = named_columns(&insert("INSERT INTO t (nope) VALUES (1)"), &t()).expect_err("unknown");
        assert_eq!(wrong.sqlstate, "42703");
    }

    #[test]
    fn a_conflict_is_about_the_key() {
        assert!(conflict(&insert("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING"), &t()).expect("fine").is_some());
        assert!(
            conflict(&insert("INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING"), &t()).expect("fine").is_some()
        );
        let other = insert("INSERT INTO t VALUES (1) ON CONFLICT (body) DO NOTHING");
        let other = conflict(&other, &t());
        assert_eq!(other.expect_err("not the key").sqlstate, "42P10");
    }

    #[test]
    fn an_update_on_conflict_reads_both_rows() {
        let insert =
            insert("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET body = excluded.body WHERE t.id > 1");
        let Some(OnConflictAction::DoUpdate(update)) = conflict(&insert, &t()).expect("fine") else {
            panic!("an update")
        };
        assert_eq!(
            changed_rows(&t(), update, None).expect("a query").to_string(),
            "SELECT CAST(\"t\".\"id\" AS INTEGER) AS \"id\", CAST(excluded.body AS TEXT) AS \"body\" \
             FROM public.\"t\" AS \"t\" JOIN excluded ON \"t\".\"id\" = \"excluded\".\"id\" WHERE t.id > 1"
        );
    }
}
