//! UPDATE and DELETE: evaluated by a query at the epoch of the writer before, then written as new rows and removed ones.

use super::Outcome;
use super::dml::{Target, count, fit, last_rows, read, take};
use super::returning::columns_of;
use crate::serving::arguments::Arguments;
use crate::serving::holding::Holding;
use crate::serving::planning::keep;
use crate::serving::prepared::Prepared;
use crate::serving::query::rewrite::null;
use crate::serving::query::template::{query, quoted};
use crate::serving::query::{Planned, Planner};
use crate::serving::session::Session;
use crate::serving::transaction::Change;
use crate::serving::value::row::Column;
use arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Ident, ObjectName, Query, TableFactor, TableWithJoins,
    Update, UpdateTableFromKind,
};
use weir_sql::bind::slots::{Slot, is_default};
use weir_sql::session::names::folded;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

/// What the query of an UPDATE or DELETE yields: columns of the old row, then (UPDATE) the whole new row.
struct Work {
    target: Target,
    /// How the statement calls the table.
    alias: Option<Ident>,
    /// Columns of the old row: the key, or all.
    old: Vec<usize>,
    query: Query,
    /// What its columns are assigned to.
    slots: Vec<Option<Slot>>,
    /// A row may come several times: other tables are joined.
    joined: bool,
}

impl Session {
    pub(super) async fn update(
        &mut self,
        update: &Update,
        arguments: &Arguments,
        prepared: Option<&Prepared>,
    ) -> Result<Outcome> {
        self.writable("UPDATE")?;
        let work = self.update_work(update)?;
        let (batches, _held) = self.run(&work, arguments, prepared).await?;
        let old_columns = pick(&work.target, &work.old);
        let each =
            |part: &dyn Fn(&RecordBatch) -> Result<RecordBatch>| batches.iter().map(part).collect::<Result<Vec<_>>>();
        let mut old = each(&|batch| read(batch, 0, &old_columns))?;
        let mut new = each(&|batch| fit(batch, work.old.len(), &work.target))?;
        if work.joined {
            let last = last_rows(&old)?;
            (old, new) = (take(&old, &last)?, take(&new, &last)?);
        }
        let tag = format!("UPDATE {}", count(&new));
        let returning = update.returning.as_deref();
        let outcome = self.returned(&work.target, work.alias, returning, &new, arguments, tag).await?;
        // A row may take the key that another one had: all go before the first one comes.
        let changes = old.into_iter().map(Change::Remove).chain(new.into_iter().map(Change::Put));
        for change in changes {
            self.transaction()?.write(&work.target.object, change)?;
        }
        Ok(outcome)
    }

    pub(super) async fn delete(
        &mut self,
        delete: &Delete,
        arguments: &Arguments,
        prepared: Option<&Prepared>,
    ) -> Result<Outcome> {
        self.writable("DELETE")?;
        let work = self.delete_work(delete)?;
        let (batches, _held) = self.run(&work, arguments, prepared).await?;
        let columns = pick(&work.target, &work.old);
        let mut old = batches.iter().map(|batch| read(batch, 0, &columns)).collect::<Result<Vec<_>>>()?;
        let whole = work.old.len() == work.target.columns.len() && work.old.is_sorted();
        let keys = |old: &[RecordBatch]| -> Result<Vec<RecordBatch>> {
            let keyed = whole && !work.target.key.is_empty();
            if keyed { old.iter().map(|old| work.target.keys(old)).collect() } else { Ok(old.to_vec()) }
        };
        if work.joined {
            let last = last_rows(&keys(&old)?)?;
            old = take(&old, &last)?;
        }
        let removed = keys(&old)?;
        let tag = format!("DELETE {}", count(&old));
        let returning = delete.returning.as_deref();
        let outcome = self.returned(&work.target, work.alias, returning, &old, arguments, tag).await?;
        for removed in removed {
            self.transaction()?.write(&work.target.object, Change::Remove(removed))?;
        }
        Ok(outcome)
    }

    pub(super) async fn describe_update(
        &mut self,
        update: &Update,
        declared: &[Option<Type>],
    ) -> Result<(Vec<Type>, Option<Vec<Column>>)> {
        let work = self.update_work(update)?;
        self.describe_work(work, update.returning.as_deref(), declared).await
    }

    pub(super) async fn describe_delete(
        &mut self,
        delete: &Delete,
        declared: &[Option<Type>],
    ) -> Result<(Vec<Type>, Option<Vec<Column>>)> {
        let work = self.delete_work(delete)?;
        self.describe_work(work, delete.returning.as_deref(), declared).await
    }

    async fn plan_work(&mut self, work: &Work, declared: &[Option<Type>]) -> Result<(Planner, Planned)> {
        let planner = self.planner()?;
        let planned = self.plan_part(&planner, work.query.clone(), "UPDATE", work.slots.clone(), declared).await?;
        Ok((planner, planned))
    }

    async fn describe_work(
        &mut self,
        work: Work,
        returning: Option<&[datafusion::sql::sqlparser::ast::SelectItem]>,
        declared: &[Option<Type>],
    ) -> Result<(Vec<Type>, Option<Vec<Column>>)> {
        let (_, planned) = self.plan_work(&work, declared).await?;
        let columns = columns_of(self, &work.target, work.alias, returning).await?;
        Ok((planned.parameters, columns))
    }

    /// Evaluates at the epoch of the table's last writer, holding the right to write it until the transaction ends.
    async fn run(
        &mut self,
        work: &Work,
        arguments: &Arguments,
        prepared: Option<&Prepared>,
    ) -> Result<(Vec<RecordBatch>, Holding)> {
        let (planner, planned) = match self.kept(prepared)? {
            Some(kept) => kept,
            None => {
                let (planner, planned) = self.plan_work(work, &arguments.types).await?;
                keep(prepared, &planner, &planned);
                (planner, planned)
            }
        };
        self.written_before_read(&planned.relations).await?;
        let epoch = self.lock(work.target.id()).await?;
        self.open(&planner, planned, arguments, epoch).await?.collect(&self.server.runtime.memory_pool).await
    }

    fn update_work(&mut self, update: &Update) -> Result<Work> {
        if update.limit.is_some() || !update.order_by.is_empty() {
            return Err(Error::unsupported("ORDER BY and LIMIT of UPDATE"));
        }
        let (name, alias) = table(&update.table)?;
        let target = Target::find(&self.catalog(), name)?;
        let others = match &update.from {
            None => vec![],
            Some(UpdateTableFromKind::BeforeSet(tables) | UpdateTableFromKind::AfterSet(tables)) => tables.clone(),
        };
        let shown = alias.clone().unwrap_or_else(|| quoted(target.name()));
        let old = if target.key.is_empty() { (0..target.columns.len()).collect() } else { target.key.clone() };
        let own = |index: usize| Expr::CompoundIdentifier(vec![shown.clone(), quoted(&target.columns[index].name)]);
        let mut items: Vec<(Expr, String)> = old.iter().map(|&i| (own(i), format!("old {i}"))).collect();
        let mut slots = vec![None; items.len()];
        for (index, value) in assigned(&update.assignments, &target)?.into_iter().enumerate() {
            slots.push(value.is_some().then(|| target.slot(index)));
            items.push((value.unwrap_or_else(|| own(index)), format!("new {index}")));
        }
        let mut work = work(target, alias, old, items, &update.table, others, update.selection.clone())?;
        work.slots = slots;
        Ok(work)
    }

    fn delete_work(&mut self, delete: &Delete) -> Result<Work> {
        if delete.limit.is_some() || !delete.order_by.is_empty() || !delete.tables.is_empty() {
            return Err(Error::unsupported("ORDER BY, LIMIT and several tables of DELETE"));
        }
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let [from] = from.as_slice() else { return Err(Error::unsupported("DELETE from several tables")) };
        let (name, alias) = table(from)?;
        let target = Target::find(&self.catalog(), name)?;
        let shown = alias.clone().unwrap_or_else(|| quoted(target.name()));
        let whole = target.key.is_empty() || delete.returning.is_some();
        let old: Vec<usize> = if whole { (0..target.columns.len()).collect() } else { target.key.clone() };
        let own = |index: usize| Expr::CompoundIdentifier(vec![shown.clone(), quoted(&target.columns[index].name)]);
        let items = old.iter().map(|&i| (own(i), format!("old {i}"))).collect();
        let others = delete.using.clone().unwrap_or_default();
        work(target, alias, old, items, from, others, delete.selection.clone())
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one query, each from another place")]
fn work(
    target: Target,
    alias: Option<Ident>,
    old: Vec<usize>,
    items: Vec<(Expr, String)>,
    table: &TableWithJoins,
    others: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Work> {
    let joined = !others.is_empty();
    if joined && target.key.is_empty() {
        return Err(Error::unsupported("joining other tables in UPDATE and DELETE of a table without a primary key"));
    }
    let from = std::iter::once(table.clone()).chain(others).collect();
    let query = query(items, from, selection)?;
    Ok(Work { target, alias, old, query, slots: vec![], joined })
}

fn pick(target: &Target, indices: &[usize]) -> Vec<weir_sql::types::Column> {
    indices.iter().map(|&i| target.columns[i].clone()).collect()
}

fn table(table: &TableWithJoins) -> Result<(&ObjectName, Option<Ident>)> {
    match &table.relation {
        TableFactor::Table { name, alias, args: None, .. } if table.joins.is_empty() => {
            Ok((name, alias.as_ref().map(|a| a.name.clone())))
        }
        _ => Err(Error::unsupported("changing anything but one table")),
    }
}

/// The value assigned to each column, if there is one.
fn assigned(assignments: &[Assignment], target: &Target) -> Result<Vec<Option<Expr>>> {
    let mut values: Vec<Option<Expr>> = vec![None; target.columns.len()];
    let mut assign = |name: &ObjectName, value: Expr| {
        let [part] = name.0.as_slice() else { return Err(Error::unsupported(format!("assignment to {name}"))) };
        let ident = part.as_ident().ok_or_else(|| Error::syntax("expected a column name"))?;
        let index = target.column(ident)?;
        match values[index].replace(if is_default(&value) { null() } else { value }) {
            None => Ok(()),
            Some(_) => Err(Error::new("42601", format!("multiple assignments to same column \"{}\"", folded(ident)))),
        }
    };
    for assignment in assignments {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => assign(name, value.clone())?,
            (AssignmentTarget::Tuple(names), Expr::Tuple(given)) => {
                if names.len() != given.len() {
                    return Err(Error::syntax("number of columns does not match number of values"));
                }
                names.iter().zip(given).try_for_each(|(name, value)| assign(name, value.clone()))?;
            }
            (AssignmentTarget::Tuple(_), _) => {
                return Err(Error::unsupported("assignment of several columns from one expression"));
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::dml::tests::target;
    use super::*;
    use datafusion::sql::sqlparser::ast::Statement;

    fn values(sql: &str) -> Result<Vec<Option<String>>> {
        let parsed = weir_sql::statement::parse(sql).expect("a statement").remove(0).statement;
        let weir_sql::statement::Statement::Update(update) = parsed else { panic!("an update") };
        let Statement::Update(update) = *update else { panic!("an update") };
        let target = target(vec![("a", Type::Int4, true), ("b", Type::Int4, true)], vec![0]);
        Ok(assigned(&update.assignments, &target)?.into_iter().map(|v| v.map(|v| v.to_string())).collect())
    }

    #[test]
    fn assignments_go_to_their_columns() {
        assert_eq!(values("UPDATE t SET b = a + 1").expect("fine"), [None, Some("a + 1".into())]);
        assert_eq!(
            values("UPDATE t SET (b, a) = (1, DEFAULT)").expect("fine"),
            [Some("NULL".into()), Some("1".into())]
        );
        assert_eq!(values("UPDATE t SET b = 1, b = 2").expect_err("twice").sqlstate, "42601");
        assert_eq!(values("UPDATE t SET c = 1").expect_err("unknown").sqlstate, "42703");
    }
}
