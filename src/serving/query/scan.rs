//! The leaf of a query's plan: one partition per worker's arrangement, or per share of what is stored. A row of weight n comes n times.

use super::past::{self, Vnodes};
use super::relation::{reshape, storage};
use crate::dataflow::relations::Pinned;
use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use std::fmt;
use std::sync::Arc;
use weir_storage::{Delta, Error};

/// Rows in one batch of expanded ones: a weight may be anything.
const LARGEST: i64 = 1 << 24;

pub enum Source {
    All(Arc<Pinned>),
    /// What a look-up found already.
    Found(Vec<RecordBatch>),
    /// Each partition's share of a relation as it was.
    Past(Arc<past::Relation>, Vec<Vnodes>),
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

    fn rows(&self) -> usize {
        match self.source.as_ref() {
            Source::All(pinned) => pinned.readable.rows.iter().map(|a| a.rows().max(0) as usize).sum(),
            Source::Found(batches) => batches.iter().map(RecordBatch::num_rows).sum(),
            Source::Past(relation, _) => relation.entries(),
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
        let missing = || DataFusionError::Internal(format!("no partition {partition}"));
        let batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send> = match self.source.as_ref() {
            Source::Past(relation, parts) => {
                let vnodes = parts.get(partition).ok_or_else(missing)?.clone();
                let pool = context.memory_pool().clone();
                let rows = relation.scan(vnodes, self.columns.clone(), self.schema.clone(), pool);
                return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)));
            }
            Source::Found(batches) => Box::new(batches.clone().into_iter().map(Ok)),
            Source::All(pinned) => {
                let snapshot = pinned.rows.get(partition).ok_or_else(missing)?;
                let (schema, pinned) = (self.schema.clone(), pinned.clone());
                let deltas = snapshot.scan(Some(&self.columns));
                Box::new(deltas.map(move |delta| {
                    let _held = &pinned;
                    let rows = delta.and_then(|delta| weighted(&delta)).map_err(storage)?;
                    reshape(rows, &schema)
                }))
            }
        };
        let stream = futures::stream::iter(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let partitions = self.properties.partitioning.partition_count().max(1);
        let rows = self.rows();
        statistics.num_rows = Precision::Inexact(if partition.is_some() { rows / partitions } else { rows });
        Ok(Arc::new(statistics))
    }
}

/// Each row of a delta as often as its weight says.
pub fn weighted(delta: &Delta) -> weir_storage::Result<RecordBatch> {
    expand(delta.rows().clone(), delta.weights())
}

/// Each row as often as its weight says. A negative weight is a bug upstream of here (I4).
pub fn expand(rows: RecordBatch, weights: &[i64]) -> weir_storage::Result<RecordBatch> {
    if weights.iter().all(|w| *w == 1) {
        return Ok(rows);
    }
    let total: i64 = weights.iter().fold(0, |sum, w| sum.saturating_add(*w));
    if weights.iter().any(|w| *w < 0) || total > LARGEST {
        return Err(Error::Invalid(format!("rows with weights that cannot be shown (sum {total})")));
    }
    let repeated = weights.iter().enumerate().flat_map(|(row, w)| std::iter::repeat_n(row as u32, *w as usize));
    let indices = UInt32Array::from_iter_values(repeated);
    let columns = rows.columns().iter().map(|c| arrow::compute::take(c, &indices, None)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(indices.values().len()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    fn batch(values: Vec<i32>) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(values)) as _)]).expect("a batch")
    }

    #[test]
    fn a_row_of_weight_n_comes_n_times() {
        assert_eq!(expand(batch(vec![1, 2, 3]), &[2, 0, 1]).expect("weights"), batch(vec![1, 1, 3]));
    }

    #[test]
    fn a_negative_weight_is_an_error() {
        assert!(expand(batch(vec![1]), &[-1]).is_err());
    }
}
