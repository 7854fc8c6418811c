//! The leaf of a query's plan: one partition per worker's arrangement, or per share of what is stored. A row of weight n comes n times,
//! in batches of a bounded size, one after the other; who only counts rows gets the sum of the weights ([`Count`]).

use super::time_travel::{self, Vnodes};
use crate::dataflow::relations::Pinned;
use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::fmt;
use std::sync::Arc;
use weir_storage::arrangement::Arrangement;
use weir_storage::delta::{rows_within, widest_row};
use weir_storage::limits::BATCH_BYTES;
use weir_storage::{Delta, Error};

pub enum Source {
    All(Arc<Pinned>),
    /// What a look-up found already.
    Found(Vec<Delta>),
    /// Each partition's share of a relation as it was.
    Past(Arc<time_travel::Relation>, Vec<Vnodes>),
}

pub struct Scan {
    source: Arc<Source>,
    /// Of the relation.
    columns: Vec<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl Scan {
    pub fn new(source: Source, columns: Vec<usize>, schema: SchemaRef) -> Self {
        let partitions = match &source {
            Source::All(pinned) => pinned.rows.len(),
            Source::Found(_) => 1,
            Source::Past(_, parts) => parts.len(),
        };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { source: Arc::new(source), columns, schema, properties }
    }

    /// The rows of a partition with their weights.
    fn deltas(&self, partition: usize, context: Arc<TaskContext>) -> Result<BoxStream<'static, Result<Delta>>> {
        let missing = || DataFusionError::Internal(format!("no partition {partition}"));
        Ok(match self.source.as_ref() {
            Source::Past(relation, parts) => {
                let vnodes = parts.get(partition).ok_or_else(missing)?.clone();
                relation.scan(vnodes, self.columns.clone(), context.memory_pool().clone()).boxed()
            }
            Source::Found(deltas) => futures::stream::iter(deltas.clone().into_iter().map(Ok)).boxed(),
            Source::All(pinned) => {
                let snapshot = pinned.rows.get(partition).ok_or_else(missing)?;
                let pinned = pinned.clone();
                let deltas = snapshot.scan(Some(&self.columns)).map(move |delta| {
                    let _held = &pinned;
                    delta.map_err(storage)
                });
                futures::stream::iter(deltas).boxed()
            }
        })
    }

    /// How many there are, and, if it is known, the bytes of all their columns.
    fn rows(&self) -> (usize, Option<usize>) {
        match self.source.as_ref() {
            Source::All(pinned) => {
                let stats = pinned.readable.rows.iter().map(Arrangement::stats);
                let (rows, bytes) = stats.fold((0, 0), |sum, s| (sum.0 + s.rows.max(0) as usize, sum.1 + s.values));
                (rows, Some(bytes))
            }
            Source::Found(deltas) => (deltas.iter().map(Delta::len).sum(), Some(deltas.iter().map(Delta::bytes).sum())),
            Source::Past(relation, _) => (relation.entries(), None),
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source.as_ref() {
            Source::All(_) => "all",
            Source::Found(_) => "by key",
            Source::Past(..) => "the past",
        };
        write!(f, "Scan: {kind}, columns={:?}", self.columns)
    }
}

impl DisplayAs for Scan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema.clone();
        let at_once = context.session_config().batch_size();
        let batches = self.deltas(partition, context)?;
        let batches = batches.flat_map(move |delta| futures::stream::iter(weighted(delta, at_once)));
        let batches = batches.map(move |rows| reshape(rows?, &schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let partitions = self.properties.partitioning.partition_count().max(1);
        let (rows, bytes) = self.rows();
        let shares = if partition.is_some() { partitions } else { 1 };
        statistics.num_rows = Precision::Inexact(rows / shares);
        // By them a join chooses which side it has in memory.
        statistics.total_byte_size = bytes.map_or(Precision::Absent, |bytes| Precision::Inexact(bytes / shares));
        Ok(Arc::new(statistics))
    }
}

/// Each row of a delta as often as its weight says, in batches of at most `at_once` rows and about [`BATCH_BYTES`] bytes unless the
/// delta is larger itself. A negative weight is a bug upstream of here (I4).
pub fn weighted(delta: Result<Delta>, at_once: usize) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    let (expanded, error) = match delta {
        Ok(delta) => match delta.weights().iter().find(|weight| **weight < 0) {
            None => (Some(Expanded { delta, row: 0, shown: 0, at_once, most: 0 }), None),
            Some(weight) => (None, Some(negative(*weight))),
        },
        Err(error) => (None, Some(error)),
    };
    expanded.into_iter().flatten().chain(error.map(Err))
}

fn negative(weight: i64) -> DataFusionError {
    storage(Error::Invalid(format!("a row with weight {weight}, which cannot be shown")))
}

/// Rows that are still to come.
struct Expanded {
    delta: Delta,
    /// The next row, and how often it has come already.
    row: usize,
    shown: i64,
    /// Rows of a batch, at most: a weight may be anything.
    at_once: usize,
    /// The same where rows are wide; 0: not known yet.
    most: usize,
}

impl Iterator for Expanded {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let weights = self.delta.weights();
        if self.row == 0 && self.shown == 0 && weights.iter().all(|weight| *weight == 1) {
            self.row = weights.len();
            return (self.row > 0).then(|| Ok(self.delta.rows().clone()));
        }
        if self.most == 0 {
            self.most = self.at_once.min(rows_within(BATCH_BYTES, widest_row(self.delta.rows())));
        }
        let mut indices: Vec<u32> = vec![];
        while self.row < weights.len() && indices.len() < self.most {
            let (left, room) = (weights[self.row] - self.shown, self.most - indices.len());
            let taken = left.min(room as i64);
            indices.extend(std::iter::repeat_n(self.row as u32, taken as usize));
            self.shown += taken;
            if taken == left {
                (self.row, self.shown) = (self.row + 1, 0);
            }
        }
        (!indices.is_empty()).then(|| self.delta.take(&indices).map(|taken| taken.rows().clone()).map_err(storage))
    }
}

/// Puts [`Count`] in the place of every aggregate that only counts the rows of a scan.
pub fn counting(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let replaced = plan.transform_up(|node| {
        let count = Count::instead_of(&node);
        Ok(count.map_or_else(|| Transformed::no(node), |count| Transformed::yes(Arc::new(count) as _)))
    })?;
    Ok(replaced.data)
}

/// How many rows each partition of a scan has: the sum of their weights, without a row in memory.
struct Count {
    scan: Arc<dyn ExecutionPlan>,
    /// Of the aggregate: a count in each column.
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl Count {
    /// `count(*)`, once or several times, over all rows of a scan, as one total or as one of each partition.
    fn instead_of(node: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let aggregate = node.downcast_ref::<AggregateExec>()?;
        let scan = aggregate.input();
        let whole = match aggregate.mode() {
            AggregateMode::Partial => true,
            AggregateMode::Single => scan.output_partitioning().partition_count() == 1,
            _ => false,
        };
        let all = |filter: &Option<Arc<dyn PhysicalExpr>>| filter.is_none();
        let schema = aggregate.schema();
        let fits = whole
            && scan.is::<Scan>()
            && aggregate.group_expr().is_empty()
            && aggregate.filter_expr().iter().all(all)
            && aggregate.aggr_expr().iter().all(|call| counts_rows(call))
            && schema.fields().len() == aggregate.aggr_expr().len()
            && schema.fields().iter().all(|field| *field.data_type() == DataType::Int64);
        fits.then(|| Self { scan: scan.clone(), schema, properties: aggregate.properties().clone() })
    }
}

fn counts_rows(call: &AggregateFunctionExpr) -> bool {
    let some = |argument: &Arc<dyn PhysicalExpr>| {
        argument.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null())
    };
    call.fun().name() == "count" && !call.is_distinct() && call.expressions().iter().all(some)
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Count: {:?}", self.scan)
    }
}

impl DisplayAs for Count {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ExecutionPlan for Count {
    fn name(&self) -> &str {
        "Count"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// The scan is read by what is in it, not by its rows.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let scan = self.scan.downcast_ref::<Scan>().ok_or_else(|| DataFusionError::Internal("no scan".into()))?;
        let (schema, mut deltas) = (self.schema.clone(), scan.deltas(partition, context)?);
        let counted = async move {
            let mut count = 0i64;
            while let Some(delta) = deltas.next().await {
                // Where it can be cancelled.
                tokio::task::coop::consume_budget().await;
                for weight in delta?.weights() {
                    let sum = if *weight < 0 { return Err(negative(*weight)) } else { count.checked_add(*weight) };
                    count = sum.ok_or_else(|| weir_sql::Error::new("22003", "bigint out of range"))?;
                }
            }
            let columns = schema.fields().iter().map(|_| Arc::new(Int64Array::from(vec![count])) as _).collect();
            Ok(RecordBatch::try_new(schema, columns)?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::once(counted))))
    }
}

/// The same columns under the plan's schema: fields of a projection lose or gain metadata, never a type.
fn reshape(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)?)
}

pub fn storage(error: weir_storage::Error) -> DataFusionError {
    DataFusionError::External(Box::new(weir_sql::Error::internal(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int32Array};

    fn delta(values: Vec<i32>, weights: &[i64]) -> Delta {
        let rows = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(values)) as _)]).expect("a batch");
        Delta::new(rows, weights.to_vec())
    }

    fn shown(values: Vec<i32>, weights: &[i64]) -> Vec<i32> {
        let all = [1, 2, 3, 8192].map(|at_once| shown_by(values.clone(), weights, at_once));
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        all[0].clone()
    }

    fn shown_by(values: Vec<i32>, weights: &[i64], at_once: usize) -> Vec<i32> {
        let batches = weighted(Ok(delta(values, weights)), at_once).map(|batch| batch.expect("weights"));
        let values =
            |batch: RecordBatch| batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
        batches.flat_map(values).collect()
    }

    #[test]
    fn a_row_of_weight_n_comes_n_times() {
        assert_eq!(shown(vec![1, 2, 3], &[2, 0, 1]), [1, 1, 3]);
        assert_eq!(shown(vec![1, 2], &[1, 1]), [1, 2]);
        assert!(shown(vec![], &[]).is_empty() && shown(vec![1], &[0]).is_empty());
        let many = shown(vec![1, 2], &[20_000, 3]);
        assert_eq!((many.len(), many.iter().filter(|value| **value == 2).count()), (20_003, 3));
    }

    #[test]
    fn batches_are_bounded_whatever_the_weights() {
        let batches = weighted(Ok(delta(vec![1, 2], &[i64::MAX, 1])), 100);
        assert!(batches.take(3).all(|batch| batch.expect("weights").num_rows() == 100));
    }

    #[test]
    fn a_negative_weight_is_an_error() {
        assert!(weighted(Ok(delta(vec![1], &[-1])), 1).next().expect("a word").is_err());
    }
}
