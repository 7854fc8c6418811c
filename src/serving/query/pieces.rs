//! Rows that are wide: no batch of a query has much more bytes than [`BATCH_BYTES`], since columns of text have offsets of 32 bits.
//!
//! What is read is as wide as it is: a query's batches have as many rows as go into that many bytes ([`rows`]). What functions make of a
//! batch may be anything: an output list that calls some is worked out for fewer rows at a time where they make too much ([`in_pieces`]).

use super::bound::{Bound, PinnedRelation};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;
use weir_sql::{Error, room};
use weir_storage::arrangement::Arrangement;
use weir_storage::delta::rows_within;
use weir_storage::limits::BATCH_BYTES;

/// Rows of a batch, of which there are `usual` where they are narrow: one of its rows may have a row of each relation in it.
pub fn rows(bound: &Bound, usual: usize) -> usize {
    let widest = bound.relations.values().map(|held| match held {
        PinnedRelation::Now(pinned) => pinned.readable.rows.iter().map(Arrangement::widest).max().unwrap_or(0),
        // Blocks of runs are small, unless a row is not.
        PinnedRelation::Past(_) => 0,
    });
    usual.min(rows_within(BATCH_BYTES, widest.sum()))
}

/// Puts [`InPieces`] in the place of every output list that calls functions.
pub fn in_pieces(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let replaced = plan.transform_up(|node| {
        let calls = |projection: &&ProjectionExec| projection.expr().iter().any(|output| calls(&output.expr));
        let Some(projection) = node.downcast_ref::<ProjectionExec>().filter(calls) else {
            return Ok(Transformed::no(node));
        };
        let pieces = InPieces {
            input: projection.input().clone(),
            outputs: projection.expr().into(),
            properties: projection.properties().clone(),
        };
        Ok(Transformed::yes(Arc::new(pieces) as _))
    })?;
    Ok(replaced.data)
}

fn calls(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is::<ScalarFunctionExpr>() || expr.children().into_iter().any(calls)
}

struct InPieces {
    input: Arc<dyn ExecutionPlan>,
    outputs: Arc<[ProjectionExpr]>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for InPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outputs = self.outputs.iter().map(|output| format!("{} as {}", output.expr, output.alias));
        write!(f, "InPieces: expr=[{}]", outputs.collect::<Vec<_>>().join(", "))
    }
}

impl DisplayAs for InPieces {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ExecutionPlan for InPieces {
    fn name(&self) -> &str {
        "InPieces"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for output in self.outputs.iter() {
            next = f(&output.expr)?;
            if next == TreeNodeRecursion::Stop {
                break;
            }
        }
        Ok(next)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("an output list of nothing".into()))?;
        Ok(Arc::new(Self { input, outputs: self.outputs.clone(), properties: self.properties.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (outputs, schema) = (self.outputs.clone(), self.schema());
        let shape = schema.clone();
        let made = self.input.execute(partition, context)?.flat_map(move |batch| {
            let (outputs, shape) = (outputs.clone(), shape.clone());
            let pieces = match batch {
                Ok(batch) => Pieces { open: vec![batch], outputs, shape, error: None },
                Err(error) => Pieces { open: vec![], outputs, shape, error: Some(error) },
            };
            futures::stream::iter(pieces)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, made)))
    }
}

/// What becomes of a batch, some of its rows at a time.
struct Pieces {
    /// Rows to come, the next ones last.
    open: Vec<RecordBatch>,
    outputs: Arc<[ProjectionExpr]>,
    shape: SchemaRef,
    error: Option<DataFusionError>,
}

impl Pieces {
    fn made(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let len = rows.num_rows();
        let columns = self.outputs.iter().map(|output| output.expr.evaluate(rows)?.into_array(len));
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        Ok(RecordBatch::try_new_with_options(self.shape.clone(), columns.collect::<Result<_>>()?, &options)?)
    }
}

impl Iterator for Pieces {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rows) = self.open.pop() {
            let len = rows.num_rows();
            let made = if len > 1 { room::within(BATCH_BYTES, || self.made(&rows)) } else { self.made(&rows) };
            let error = match made.map_err(Error::from) {
                Ok(made) => return Some(Ok(made)),
                Err(error) => error,
            };
            if len == 1 || !room::is_exceeded(&error) {
                self.open.clear();
                return Some(Err(error.into()));
            }
            let middle = len / 2;
            self.open.extend([rows.slice(middle, len - middle), rows.slice(0, middle)]);
        }
        self.error.take().map(Err)
    }
}
