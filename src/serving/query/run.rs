//! Running a plan: on the queries' own threads, batch by batch, no further ahead than the client reads.
//!
//! No result is shorter than it says (I15): rows end only with the word of the task that makes them, never because nothing comes any more.

use super::apart;
use super::bound::Bound;
use super::failure::{failure, panicked};
use super::pieces::{self, in_pieces};
use super::scan::counting;
use crate::serving::holding::Holding;
use crate::serving::pool::Pool;
use crate::serving::value::row::{self, Column};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use weir_sql::function::bounded;
use weir_sql::{Error, Result, session};
use weir_storage::delta::{own, size};

/// Batches computed before the client has taken the first: one being sent, one ready.
const PREFETCH: usize = 2;
/// Bytes of rows that a statement may write whatever others hold.
const UNCOUNTED: usize = 64 << 10;

/// Rows of a result, in order.
pub struct Rows {
    pub columns: Vec<Column>,
    ready: VecDeque<RecordBatch>,
    rest: Rest,
}

/// What comes after the rows that are ready.
enum Rest {
    /// Nothing.
    End,
    Coming(Running),
    /// Who asks again hears it again.
    Failed(Error),
}

struct Running {
    batches: mpsc::Receiver<RecordBatch>,
    /// The channel closes when the task has ended, whatever way: only its outcome says whether that was all.
    task: JoinHandle<Result<()>>,
}

/// A query whose result nobody waits for any more ends.
impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// `None` if the task says that there are no more. Safe to cancel.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.batches.recv().await {
            Some(batch) => Ok(Some(batch)),
            None => outcome((&mut self.task).await).map(|()| None),
        }
    }
}

fn outcome(ended: std::result::Result<Result<()>, JoinError>) -> Result<()> {
    match ended {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => Err(panicked()),
        Err(_) => Err(Error::new("57014", "canceling statement due to user request")),
    }
}

impl Rows {
    pub fn ready(batch: RecordBatch) -> Result<Self> {
        let columns = row::columns(&batch.schema())?;
        Ok(Self { columns, ready: VecDeque::from([batch]), rest: Rest::End })
    }

    /// `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.ready.pop_front() {
            return Ok(Some(batch));
        }
        let next = match &mut self.rest {
            Rest::End => return Ok(None),
            Rest::Failed(error) => return Err(error.clone()),
            Rest::Coming(running) => running.next().await,
        };
        // Some aggregates make values that nobody has looked at.
        let next = next.and_then(|batch| {
            batch.iter().flat_map(RecordBatch::columns).try_for_each(|column| bounded(column))?;
            Ok(batch)
        });
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.rest = Rest::End,
            Err(error) => self.rest = Rest::Failed(error.clone()),
        }
        next
    }

    /// What was taken with [`Rows::next`] but not used up.
    pub fn put_back(&mut self, rest: RecordBatch) {
        if rest.num_rows() > 0 {
            self.ready.push_front(rest);
        }
    }

    /// All rows, and the memory that they take of `pool`. None of them keeps more than it needs.
    pub async fn collect(mut self, pool: &Arc<dyn MemoryPool>) -> Result<(Vec<RecordBatch>, Holding)> {
        let holding = Holding::new(pool, "The rows that a statement writes", UNCOUNTED);
        let mut batches = vec![];
        let mut bytes = 0;
        while let Some(batch) = self.next().await? {
            let batch = own(batch).map_err(|error| Error::internal(error.to_string()))?;
            bytes += size(&batch);
            holding.set(bytes)?;
            batches.push(batch);
        }
        Ok((batches, holding))
    }
}

/// Starts `plan` over what `bound` holds; returns when its first rows or its error are there. `columns`: as clients know them; `None`: they
/// are as they come out.
pub async fn start(
    mut state: SessionState,
    plan: LogicalPlan,
    columns: Option<Vec<Column>>,
    bound: Arc<Bound>,
    runtime: Arc<RuntimeEnv>,
    pool: &Pool,
) -> Result<Rows> {
    let rows = pieces::rows(&bound, state.config().batch_size());
    *state.config_mut() = state.config().clone().with_batch_size(rows);
    state.config_mut().set_extension(bound);
    let (context, threads) = (context(&state, runtime), pool.clone());
    // Planning does not yield: here it would keep other queries from running.
    let planned = async move {
        let work = move |_: &apart::Waited| {
            let plan = session::analyze(&state, plan).map_err(failure)?;
            let plan = session::optimize(state.optimizer(), plan, &state).map_err(failure)?;
            Handle::current().block_on(state.query_planner().create_physical_plan(&plan, &state)).map_err(failure)
        };
        apart::run(&threads, work).await
    };
    execute(planned, columns, context, pool).await
}

/// Runs what `planned` comes to, in a task of its own; returns when its first rows or its error are there. `columns`: as of [`start`]. A
/// panic in the task is the error of whoever takes its rows, and lets go of all that it held.
pub async fn execute(
    planned: impl Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'static,
    columns: Option<Vec<Column>>,
    context: Arc<TaskContext>,
    pool: &Pool,
) -> Result<Rows> {
    let (told, shape) = oneshot::channel();
    let (sender, batches) = mpsc::channel(PREFETCH);
    let task = pool.spawn(async move { produce(planned.await?, context, told, sender).await });
    let mut running = Running { batches, task };
    let Ok(schema) = shape.await else {
        return match outcome((&mut running.task).await) {
            Err(error) => Err(error),
            Ok(()) => Err(Error::internal("a query without a shape")),
        };
    };
    let columns = columns.map_or_else(|| row::columns(&schema), Ok)?;
    let mut rows = Rows { columns, ready: VecDeque::new(), rest: Rest::Coming(running) };
    // Most errors show before the first row: then the client gets nothing but the error.
    if let Some(first) = rows.next().await? {
        rows.ready.push_back(first);
    }
    Ok(rows)
}

/// What operators are given while they run. Functions they have already: whoever planned has looked them up.
fn context(state: &SessionState, runtime: Arc<RuntimeEnv>) -> Arc<TaskContext> {
    let none = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
    let (session, config) = (state.session_id().to_string(), state.config().clone());
    Arc::new(TaskContext::new(None, session, config, none.0, none.1, none.2, none.3, runtime))
}

async fn produce(
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    told: oneshot::Sender<SchemaRef>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<()> {
    let physical = counting(physical).and_then(in_pieces).and_then(yielding).map_err(failure)?;
    let _ = told.send(physical.schema());
    let mut stream = execute_stream(physical, context).map_err(failure)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failure)?;
        if batch.num_rows() > 0 && sender.send(batch).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::catalog::streaming::StreamingTable;
    use datafusion::datasource::provider_as_source;
    use datafusion::execution::SendableRecordBatchStream;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::logical_expr::LogicalPlanBuilder;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::physical_plan::streaming::PartitionStream;
    use datafusion::prelude::{SessionConfig, SessionContext, col};

    /// Yields `batches` batches of one row, then panics.
    #[derive(Debug)]
    struct Breaking {
        schema: SchemaRef,
        batches: i32,
    }

    impl PartitionStream for Breaking {
        fn schema(&self) -> &SchemaRef {
            &self.schema
        }

        fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
            let (schema, batches) = (self.schema.clone(), self.batches);
            let stream = futures::stream::iter(0..).map(move |n| {
                assert!(n < batches, "broken on purpose");
                Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(Int32Array::from(vec![n]))])?)
            });
            Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
        }
    }

    /// Rows of a table that breaks after so many batches, grouped by their value or as they come.
    async fn run(batches: i32, grouped: bool) -> Result<usize> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]));
        let partition = || Arc::new(Breaking { schema: schema.clone(), batches }) as Arc<dyn PartitionStream>;
        let table = StreamingTable::try_new(schema.clone(), vec![partition(), partition()]).expect("a table");
        let mut plan = LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(table)), None).expect("a scan");
        if grouped {
            plan = plan.aggregate([col("n")], Vec::<datafusion::logical_expr::Expr>::new()).expect("groups");
        }
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(4));
        let bound = Arc::new(Bound::default());
        let plan = plan.build().expect("a plan");
        let pool = Pool::of(Handle::current());
        let mut rows = start(context.state(), plan, None, bound, context.runtime_env(), &pool).await?;
        let mut count = 0;
        loop {
            match rows.next().await {
                Ok(Some(batch)) => count += batch.num_rows(),
                Ok(None) => return Ok(count),
                Err(error) => {
                    assert_eq!(rows.next().await.expect_err("still"), error, "an end after an error");
                    return Err(error);
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_of_a_task_that_panics_do_not_end_but_fail() {
        for (batches, grouped) in [(0, false), (1, false), (100, false), (0, true), (100, true)] {
            let error = run(batches, grouped).await.expect_err("no end");
            assert_eq!(error, panicked(), "after {batches} batches");
        }
    }

    #[tokio::test]
    async fn rows_of_a_task_that_is_aborted_do_not_end_but_fail() {
        let (sender, batches) = mpsc::channel(PREFETCH);
        let task = tokio::spawn(async move {
            let _open = sender;
            std::future::pending().await
        });
        task.abort();
        let mut rows = Rows { columns: vec![], ready: VecDeque::new(), rest: Rest::Coming(Running { batches, task }) };
        assert_eq!(rows.next().await.expect_err("no end").sqlstate, "57014");
    }

    #[tokio::test]
    async fn rows_are_counted_by_what_they_hold_not_by_what_they_share() {
        let whole: RecordBatch =
            RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from_iter_values(0..8000)) as _)]).expect("a batch");
        let ready = (0..8).map(|part| whole.slice(part * 1000, 1000)).collect();
        let rows = Rows { columns: vec![], ready, rest: Rest::End };
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1));
        let (kept, _held) = rows.collect(&pool).await.expect("four bytes a row");
        assert_eq!(kept.iter().map(RecordBatch::num_rows).sum::<usize>(), 8000);
        assert!(kept.iter().all(|batch| batch.get_array_memory_size() < 8000), "a slice keeps the whole");
    }
}
