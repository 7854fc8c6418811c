//! A relation as DataFusion sees it: scanned per worker at the query's epoch, or looked up by its whole key.

use super::bound::{Bound, PinnedRelation};
use super::scan::{Scan, Source, storage};
use super::time_travel::Vnodes;
use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;
use weir_sql::catalog::{Relation, RelationId};
use weir_storage::Delta;
use weir_storage::key::{Keys, owner};

/// Keys looked up at once; beyond that reading everything is as fast.
const MAX_KEYS: usize = 1000;

/// Entries of the past that are worth a partition of their own.
const PART: usize = 1 << 17;

#[derive(Debug)]
pub struct Table {
    id: RelationId,
    schema: SchemaRef,
    key: Vec<usize>,
}

impl Table {
    pub fn new(relation: &Relation) -> Self {
        let fields: Vec<FieldRef> = relation.columns.iter().map(|c| Arc::new(c.field())).collect();
        Self { id: relation.id, schema: Arc::new(Schema::new(fields)), key: relation.key.clone().unwrap_or_default() }
    }

    /// The values a filter allows for a key column: `key = literal`, `key IN (literals)`.
    fn wanted<'a>(&self, filter: &'a Expr) -> Option<(usize, Vec<&'a ScalarValue>)> {
        let (column, values) = match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                    (column, vec![value])
                }
                _ => return None,
            },
            Expr::InList(InList { expr, list, negated: false }) => {
                let Expr::Column(column) = expr.as_ref() else { return None };
                let literal = |e: &'a Expr| match e {
                    Expr::Literal(value, _) => Some(value),
                    _ => None,
                };
                (column, list.iter().map(literal).collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        };
        let index = self.schema.index_of(column.name()).ok()?;
        let same_type = values.iter().all(|v| v.data_type() == *self.schema.field(index).data_type());
        (self.key.contains(&index) && same_type).then_some((index, values))
    }

    /// Key columns of the rows that `filters` can let pass, if they name every key column.
    fn look_up(&self, filters: &[Expr]) -> Result<Option<Vec<ArrayRef>>> {
        let mut choices: Vec<Vec<&ScalarValue>> = vec![];
        let mut combinations = 1usize;
        for &column in &self.key {
            // The first filter on a column is enough: the others are applied above.
            let Some((_, mut values)) = filters.iter().filter_map(|f| self.wanted(f)).find(|(c, _)| *c == column)
            else {
                return Ok(None);
            };
            // Each row once, however often the list names its key; NULL equals nothing.
            let mut seen = std::collections::HashSet::new();
            values.retain(|v| !v.is_null() && seen.insert(*v));
            combinations = combinations.saturating_mul(values.len());
            choices.push(values);
        }
        if self.key.is_empty() || combinations > MAX_KEYS {
            return Ok(None);
        }
        let mut columns = vec![];
        let mut repeat = combinations;
        for (values, &column) in choices.iter().zip(&self.key) {
            repeat = repeat.checked_div(values.len()).unwrap_or(0);
            let cycle = (0..combinations).map(|row| values[row / repeat % values.len()].clone());
            columns.push(match combinations {
                0 => arrow::array::new_empty_array(self.schema.field(column).data_type()),
                _ => ScalarValue::iter_to_array(cycle)?,
            });
        }
        Ok(Some(columns))
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Inexact: key bytes make equal what SQL need not, so the filter stays above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.wanted(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bound = Bound::of(state.config())?;
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let keys = self.look_up(filters)?;
        let fields: Vec<FieldRef> = self.key.iter().map(|&k| self.schema.fields()[k].clone()).collect();
        let source = match (bound.relation(self.id)?.clone(), keys) {
            // The index is the one the relation was arranged by, which is the catalog's key.
            (PinnedRelation::Now(pinned), Some(values)) if pinned.readable.key == self.key => {
                Source::Found(find(&pinned.rows, &fields, &values, &columns).map_err(storage)?)
            }
            (PinnedRelation::Now(pinned), _) => Source::All(pinned),
            (PinnedRelation::Past(past), Some(values)) => {
                let keys = Keys::encode(&fields, &values).map_err(storage)?;
                Source::Past(past, vec![Vnodes::of((0..keys.len()).map(|key| keys.vnode(key)))])
            }
            (PinnedRelation::Past(past), None) => {
                let parts = past.entries().div_ceil(PART).clamp(1, state.config().target_partitions());
                Source::Past(past, (0..parts).map(|part| Vnodes::share(part, parts)).collect())
            }
        };
        Ok(Arc::new(Scan::new(source, columns, schema)))
    }
}

/// Rows whose key is one of `values`, from the worker that owns it.
fn find(
    workers: &[weir_storage::arrangement::Snapshot],
    fields: &[FieldRef],
    values: &[ArrayRef],
    columns: &[usize],
) -> weir_storage::Result<Vec<Delta>> {
    let keys = Keys::encode(fields, values)?;
    let mut found = vec![];
    for (worker, snapshot) in workers.iter().enumerate() {
        let mine: Vec<u32> =
            (0..keys.len()).filter(|&k| owner(keys.vnode(k), workers.len()) == worker).map(|k| k as u32).collect();
        if mine.is_empty() {
            continue;
        }
        let indices = arrow::array::UInt32Array::from(mine);
        let own: Vec<ArrayRef> =
            values.iter().map(|v| arrow::compute::take(v, &indices, None)).collect::<std::result::Result<_, _>>()?;
        let own = Keys::encode(fields, &own)?;
        let mut next = Some(0);
        while let Some(from) = next {
            let (matches, rest) = snapshot.probe(&own, from, 8192);
            found.push(Delta::new(snapshot.gather(&matches, Some(columns))?, matches.weights));
            next = rest;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};
    use weir_sql::types::{Column, Type};

    fn table() -> Table {
        let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false };
        Table::new(&Relation {
            id: RelationId(1),
            name: "t".into(),
            columns: vec![column("a", Type::Int4), column("b", Type::Text), column("c", Type::Int8)],
            key: Some(vec![1, 0]),
        })
    }

    fn keys(filters: &[Expr]) -> Option<Vec<String>> {
        let columns = table().look_up(filters).expect("literals")?;
        let text = |c: &ArrayRef, row| arrow::util::display::array_value_to_string(c, row).expect("a value");
        Some((0..columns[0].len()).map(|r| columns.iter().map(|c| text(c, r)).collect::<Vec<_>>().join("/")).collect())
    }

    #[test]
    fn a_whole_key_is_looked_up() {
        assert_eq!(keys(&[col("a").eq(lit(1i32)), col("b").eq(lit("x"))]), Some(vec!["x/1".into()]));
        assert_eq!(
            keys(&[col("a").in_list(vec![lit(1i32), lit(2i32), lit(1i32)], false), lit("x").eq(col("b"))]),
            Some(vec!["x/1".into(), "x/2".into()])
        );
    }

    #[test]
    fn part_of_a_key_or_another_type_is_not() {
        assert_eq!(keys(&[col("a").eq(lit(1i32))]), None);
        assert_eq!(keys(&[col("a").eq(lit(1i64)), col("b").eq(lit("x"))]), None);
        assert_eq!(keys(&[col("a").not_eq(lit(1i32)), col("b").eq(lit("x"))]), None);
    }

    #[test]
    fn a_null_key_finds_nothing() {
        let null = Expr::Literal(ScalarValue::Int32(None), None);
        assert_eq!(keys(&[col("a").eq(null), col("b").eq(lit("x"))]), Some(vec![]));
    }
}
