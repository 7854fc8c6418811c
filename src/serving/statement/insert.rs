//! INSERT. A row with a key that exists overwrites it, as in RisingWave, unless ON CONFLICT says otherwise.

use super::Outcome;
use super::dml::{Target, count, first_rows, fit, stored, take};
use super::returning::columns_of;
use crate::catalog::Catalog;
use crate::serving::arguments::Arguments;
use crate::serving::holding::Holding;
use crate::serving::planning::keep;
use crate::serving::prepared::Prepared;
use crate::serving::query::rewrite::{cast, cast_to, null, written_type};
use crate::serving::query::template::{parsed_query, query, quoted};
use crate::serving::query::{Planned, Planner};
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
use weir_sql::bind::Statement;
use weir_sql::bind::slots::{Slot, Slots, is_default};
use weir_sql::session::names::folded;
use weir_sql::types::Type;
use weir_sql::{Error, Result};
use weir_storage::Epoch;

/// The rows of the statement, as ON CONFLICT calls them.
const EXCLUDED: &str = "excluded";

impl Session {
    pub(super) async fn insert(
        &mut self,
        insert: &Insert,
        arguments: &Arguments,
        prepared: Option<&Prepared>,
    ) -> Result<Outcome> {
        self.writable("INSERT")?;
        let target = into(&self.catalog(), insert)?;
        let (planner, planned) = match self.kept(prepared)? {
            Some(kept) => kept,
            None => {
                let (planner, planned) = self.plan_insert(insert, &target, &arguments.types).await?;
                keep(prepared, &planner, &planned);
                (planner, planned)
            }
        };
        let conflict = conflict(insert, &target)?;
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
        let target = into(&self.catalog(), insert)?;
        let (_, planned) = self.plan_insert(insert, &target, declared).await?;
        let columns = columns_of(self, &target, insert_alias(insert), insert.returning.as_deref()).await?;
        Ok((planned.parameters, columns))
    }

    /// Plans the rows that are given, whole and in the table's order.
    async fn plan_insert(
        &mut self,
        insert: &Insert,
        target: &Target,
        declared: &[Option<Type>],
    ) -> Result<(Planner, Planned)> {
        let (given, names) = named_columns(insert, target)?;
        let (source, planner) = match &insert.source {
            Some(source) => {
                let (source, planner) = self.timed(source).await?;
                (Some(Arc::new(source)), planner)
            }
            None => (None, self.planner()?),
        };
        if planner.past().is_none() {
            let table = (0..target.columns.len()).map(|index| target.slot(index)).collect();
            let slots = Slots { table, given: given.clone(), names };
            if let Some(planned) = planner.settle(Statement::Inserted(source.clone(), slots), declared).await? {
                return Ok((planner, planned));
            }
        }
        let source = match source {
            Some(source) => self.rewritten(Arc::unwrap_or_clone(source))?,
            None => {
                // DEFAULT VALUES: there are no defaults but NULL.
                let items = target.columns.iter().map(|c| (cast(null(), &stored(&c.kind)), c.name.clone()));
                let planned = planner.plan(&query(items.collect(), vec![], None)?, declared).await?;
                return Ok((planner, planned));
            }
        };
        let source = whole_rows(&planner, source, &given, !insert.columns.is_empty(), target).await?;
        let planned = planner.plan(&source, declared).await?;
        Ok((planner, planned))
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
        let (mut written, _held) = self.evaluate(new_rows(target)?, vec![], &table, arguments, epoch).await?;
        let _more;
        if let OnConflictAction::DoUpdate(update) = action {
            let (changed, slots) = changed_rows(target, update, insert_alias(insert))?;
            let rows;
            (rows, _more) = self.evaluate(changed, slots, &table, arguments, epoch).await?;
            written.extend(rows);
        }
        written.iter().map(|batch| fit(batch, 0, target)).collect()
    }

    async fn evaluate(
        &mut self,
        query: Query,
        slots: Vec<Option<Slot>>,
        excluded: &Arc<dyn TableProvider>,
        arguments: &Arguments,
        epoch: Epoch,
    ) -> Result<(Vec<RecordBatch>, Holding)> {
        let planner = self.planner()?.with_table(EXCLUDED, excluded.clone());
        let planned = self.plan_part(&planner, query, "UPDATE", slots, &arguments.types).await?;
        self.open(&planner, planned, arguments, epoch).await?.collect(&self.server.runtime.memory_pool).await
    }
}

/// `source`, a query for DataFusion's planner, with the table's columns, in order and of its types.
async fn whole_rows(
    planner: &Planner,
    mut source: Query,
    named: &[usize],
    are_named: bool,
    target: &Target,
) -> Result<Query> {
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
    check_arity(arity, named.len(), are_named)?;
    wrapped(source, arity, named, target)
}

/// The table that is written.
fn into(catalog: &Catalog, insert: &Insert) -> Result<Target> {
    match &insert.table {
        TableObject::TableName(name) => Target::find(catalog, name),
        _ => Err(Error::unsupported("INSERT into anything but a table")),
    }
}

fn insert_alias(insert: &Insert) -> Option<Ident> {
    insert.table_alias.as_ref().map(|alias| alias.alias.clone())
}

/// Places of the columns that are given, and how the statement names them.
fn named_columns(insert: &Insert, target: &Target) -> Result<(Vec<usize>, Vec<Ident>)> {
    let ident = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).cloned();
    let idents: Option<Vec<Ident>> = insert.columns.iter().map(ident).collect();
    let idents = idents.ok_or_else(|| Error::syntax("expected a column name"))?;
    Ok((target.named(&idents)?, idents))
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

/// Rows of the table that are in conflict, after DO UPDATE, and what their columns are assigned to.
fn changed_rows(target: &Target, update: &DoUpdate, alias: Option<Ident>) -> Result<(Query, Vec<Option<Slot>>)> {
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
    let slots = values.iter().enumerate().map(|(index, value)| value.is_some().then(|| target.slot(index))).collect();
    let items = target.columns.iter().zip(values).map(|(c, value)| {
        let value = value.unwrap_or_else(|| Expr::CompoundIdentifier(vec![quoted(&name), quoted(&c.name)]));
        (value, c.name.clone())
    });
    let (table, alias) = (quoted(target.name()), quoted(&name));
    let on = same_key(target, &name);
    let from = parsed_from(&format!("SELECT 1 FROM public.{table} AS {alias} JOIN {EXCLUDED} ON {on}"))?;
    Ok((query(items.collect(), vec![from], update.selection.clone())?, slots))
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
        assert_eq!(named_columns(&insert("INSERT INTO t (body, id) VALUES (1, 2)"), &t()).expect("both").0, [1, 0]);
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
            changed_rows(&t(), update, None).expect("a query").0.to_string(),
            "SELECT \"t\".\"id\" AS \"id\", excluded.body AS \"body\" \
             FROM public.\"t\" AS \"t\" JOIN excluded ON \"t\".\"id\" = \"excluded\".\"id\" WHERE t.id > 1"
        );
    }
}
