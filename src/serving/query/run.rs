//! Running a plan: on the queries' own threads, batch by batch, no further ahead than the client reads.

use super::apart;
use super::bound::Bound;
use super::failure::failure;
use crate::serving::value::row::{self, Column};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use weir_sql::{Error, Result};

/// Batches computed before the client has taken the first: one being sent, one ready.
const AHEAD: usize = 2;

/// Rows of a result, in order.
pub struct Rows {
    pub columns: Vec<Column>,
    ready: VecDeque<RecordBatch>,
    running: Option<Running>,
}

struct Running {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    task: AbortHandle,
}

/// A query whose result nobody waits for any more ends.
impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rows {
    pub fn ready(batch: RecordBatch) -> Result<Self> {
        let columns = row::columns(&batch.schema())?;
        Ok(Self { columns, ready: VecDeque::from([batch]), running: None })
    }

    /// `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.ready.pop_front() {
            return Ok(Some(batch));
        }
        match &mut self.running {
            None => Ok(None),
            Some(running) => running.batches.recv().await.transpose(),
        }
    }

    /// What was taken with [`Rows::next`] but not used up.
    pub fn put_back(&mut self, rest: RecordBatch) {
        if rest.num_rows() > 0 {
            self.ready.push_front(rest);
        }
    }

    /// All rows, if they take no more than `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<RecordBatch>> {
        let mut batches = vec![];
        let mut bytes = 0;
        while let Some(batch) = self.next().await? {
            bytes += batch.get_array_memory_size();
            if bytes > limit {
                return Err(Error::new("53200", format!("a statement can write at most {limit} bytes"))
                    .hint("Write fewer rows at once."));
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// Starts `plan` over what `bound` holds; returns when its first rows or its error are there.
pub async fn start(mut state: SessionState, plan: LogicalPlan, bound: Arc<Bound>, pool: &Handle) -> Result<Rows> {
    state.config_mut().set_extension(bound);
    let (state, threads) = (Arc::new(state), pool.clone());
    let (told, shape) = oneshot::channel();
    let (sender, batches) = mpsc::channel(AHEAD);
    let task = pool.spawn(async move {
        if let Err(error) = produce(state, plan, threads, told, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let mut running = Running { batches, task: task.abort_handle() };
    let Ok(schema) = shape.await else {
        return match running.batches.recv().await {
            Some(Err(error)) => Err(error),
            _ => Err(ended(task.await)),
        };
    };
    let columns = row::columns(&schema)?;
    let mut rows = Rows { columns, ready: VecDeque::new(), running: Some(running) };
    // Most errors show before the first row: then the client gets nothing but the error.
    if let Some(first) = rows.next().await? {
        rows.ready.push_back(first);
    }
    Ok(rows)
}

async fn produce(
    state: Arc<SessionState>,
    plan: LogicalPlan,
    pool: Handle,
    told: oneshot::Sender<SchemaRef>,
    sender: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    // Planning does not yield: here it would keep other queries from running.
    let (planner, threads) = (state.clone(), pool.clone());
    let physical = apart::run(&pool, move |_| threads.block_on(planner.create_physical_plan(&plan)).map_err(failure));
    let physical = yielding(physical.await?).map_err(failure)?;
    let _ = told.send(physical.schema());
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(failure)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failure)?;
        if batch.num_rows() > 0 && sender.send(Ok(batch)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A task can be cancelled only where it yields. DataFusion lets leaves yield, but a product of two tables makes batches without end
/// from one batch of each, so what multiplies rows yields too.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        let multiplies = node.children().len() > 1 || node.is::<UnnestExec>();
        Ok(if multiplies { Transformed::yes(Arc::new(CooperativeExec::new(node)) as _) } else { Transformed::no(node) })
    })?;
    Ok(wrapped.data)
}

fn ended(outcome: Result<(), tokio::task::JoinError>) -> Error {
    match outcome {
        Err(error) if error.is_panic() => Error::internal("the query failed unexpectedly; the server's log says more"),
        _ => Error::new("57014", "canceling statement due to user request"),
    }
}
