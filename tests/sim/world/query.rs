//! Somebody asks for a relation, and takes his time over its rows; now and then his query panics in its task.
//!
//! The rows go the way of a SELECT's from where it has been planned: a scan of what is pinned, run by [`run::execute`] in a task of its
//! own, of which the reader takes batch after batch. Planning is left out: it has threads of its own, and no seed says which is first.
//! Whatever becomes of the task, the reader gets all rows or an error (I15), everybody else goes on, and nothing stays pinned.

use super::super::ASKED_FOR;
use super::super::model::Rows;
use super::{ANY, Result, World, add, contents};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, stream};
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use weir::dataflow::relations::Pinned;
use weir::serving::pool::Pool;
use weir::serving::query::bound::Bound;
use weir::serving::query::failure::panicked;
use weir::serving::query::run;
use weir::serving::query::scan::{Scan, Source};
use weir_sql::Error;
use weir_sql::catalog::RelationId;
use weir_sql::types::Column;
use weir_storage::arrangement::Arrangement;
use weir_storage::env::Clock;
use weir_storage::{Delta, Epoch};

/// So many rows are taken slowly, and the rest at once.
const SLOWLY: usize = 8;

/// One that has been asked.
pub struct Query {
    /// Of which node.
    pub node: u64,
    name: String,
    at: Epoch,
    /// What it is to answer, unless its task panics.
    right: Rows,
    panics: bool,
    /// What it reads.
    held: Vec<Weak<Pinned>>,
    answer: oneshot::Receiver<weir_sql::Result<Rows>>,
}

impl World {
    /// Somebody asks for one of the relations; his task panics after so many rows, if that is said. As of which epoch; `None`: there is
    /// nothing to be read.
    pub(super) fn query(&mut self, which: u64, panics_after: Option<usize>) -> Result<Option<Epoch>> {
        let live = self.live();
        let Some((name, id)) = live.get(which as usize % live.len().max(1)).cloned() else { return Ok(None) };
        let Some((_, ticks)) = live.iter().find(|(name, _)| name == "ticks") else { return Ok(None) };
        // What there is as of the epoch that is pinned next is checked here: nothing happens in between.
        self.read_together(&[(name.clone(), id)], false)?;
        let Ok(pin) = self.node().handle.relations.pin(&[id, *ticks], ANY) else { return Ok(None) };
        let at = pin.epoch;
        let (right, errors) = contents(&pin.relations[&id])?;
        let held = pin.relations.values().map(Arc::downgrade).collect();
        let plan = plan(pin.relations[&id].clone(), panics_after).map_err(|e| e.to_string())?;
        let bound = Bound::from(pin);
        let refused = bound.check(&[id], |_| name.clone()).err();
        if refused.is_some() != (errors > 0) {
            return Err(format!("\"{name}\" has {errors} errors at {at}, and whoever asks for it gets {refused:?}"));
        }
        if refused.is_some() {
            return Ok(None);
        }
        let patience = self.dice.below([1, 1_000, 100_000][self.dice.below(3) as usize]);
        let config = SessionConfig::new().with_batch_size([1, 2, 3, 8192][self.dice.below(4) as usize]);
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let (clock, node) = (self.node().env.clock.clone(), self.node().id);
        let (tell, answer) = oneshot::channel();
        spawn_local(async move {
            let rows = select(bound, plan, context, &*clock, patience).await;
            let _ = tell.send(rows);
        });
        self.queries.push(Query { node, name, at, right, panics: panics_after.is_some(), held, answer });
        Ok(Some(at))
    }

    /// What has been answered is right.
    pub(super) fn check_queries(&mut self) -> Result<()> {
        for mut query in std::mem::take(&mut self.queries) {
            match query.answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => self.queries.push(query),
                Err(oneshot::error::TryRecvError::Closed) => return Err(format!("\"{}\" is not answered", query.name)),
                Ok(answer) => {
                    query.check(&answer)?;
                    let (now, name, at) = (self.time.now(), &query.name, query.at);
                    self.trace.push(format!("{now} \"{name}\" at {at}: {:?}", answer.map(|rows| rows.len())));
                    self.reads += 1;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn wait_for_queries(&mut self) -> Result<()> {
        self.until("all queries are answered", |world| world.queries.is_empty()).await
    }

    /// At rest: what a query that panicked had pinned goes with the next checkpoint.
    pub(super) async fn check_let_go(&mut self) -> Result<()> {
        let (which, panics_after) = (self.dice.below(u64::MAX), self.dice.below(3) as usize);
        let Some(at) = self.query(which, Some(panics_after))? else { return Ok(()) };
        self.wait_for_queries().await?;
        self.flush();
        self.answered().await?;
        // A table, of which every checkpoint holds everything: that every query pins it is how it is known what is to be seen.
        let Some(id) = self.catalog().by_name("ticks").map(|ticks| RelationId(ticks.id)) else { return Ok(()) };
        let goes_on = |own: &Arrangement| own.since() > at;
        let is_let_go = |world: &Self| {
            let ticks = world.node().handle.relations.get(id);
            ticks.is_none_or(|ticks| ticks.has_failed() || ticks.rows.iter().chain(&ticks.errors).all(goes_on))
        };
        self.until("what a query had pinned is let go of", is_let_go).await
    }
}

impl Query {
    fn check(&self, answer: &weir_sql::Result<Rows>) -> Result<()> {
        let (name, at) = (&self.name, self.at);
        match answer {
            Err(error) if self.panics && *error == panicked() => {}
            Ok(rows) if !self.panics && *rows == self.right => {}
            Ok(rows) if self.panics => {
                let all = self.right.len();
                return Err(format!(
                    "I15: a query of \"{name}\" at {at} panicked and ended with {} of {all} rows",
                    rows.len()
                ));
            }
            _ => return Err(format!("\"{name}\" at {at} is {answer:?}, not {:?}", self.right)),
        }
        match self.held.iter().filter(|pinned| pinned.strong_count() > 0).count() {
            0 => Ok(()),
            held => Err(format!("a query of \"{name}\" at {at} is over and still holds {held} relations")),
        }
    }
}

/// All rows, as a session takes them. Until it has them it holds what is `bound`.
async fn select(
    bound: Bound,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    clock: &dyn Clock,
    patience: u64,
) -> weir_sql::Result<Rows> {
    let _held = bound;
    let pool = Pool::of(Handle::current());
    let mut rows = run::execute(std::future::ready(Ok(plan)), None, context, &pool).await?;
    let (mut all, mut taken) = (Rows::new(), 0);
    while let Some(batch) = rows.next().await? {
        add(&mut all, &Delta::uniform(batch, 1)).map_err(Error::internal)?;
        taken += 1;
        if taken <= SLOWLY {
            clock.sleep(patience).await;
        }
    }
    Ok(all)
}

/// The scan of a relation that is pinned.
fn plan(pinned: Arc<Pinned>, panics_after: Option<usize>) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    let columns = &pinned.readable.columns;
    let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
    let all = (0..columns.len()).collect();
    let scan = Scan::new(Source::All(pinned), all, schema.clone());
    let rows: Arc<dyn PartitionStream> = Arc::new(OneByOne { scan, schema: schema.clone(), panics_after });
    Ok(Arc::new(StreamingTableExec::try_new(schema, vec![rows], None, [], false, None)?))
}

/// The rows of a scan, one by one. Whoever makes them panics after so many, at the latest where they end.
#[derive(Debug)]
struct OneByOne {
    scan: Scan,
    schema: SchemaRef,
    panics_after: Option<usize>,
}

impl PartitionStream for OneByOne {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.scan.execute(0, context).expect("there is one worker");
        let rows = batches.flat_map(|batch| stream::iter(one_by_one(batch)));
        let rows = match self.panics_after {
            None => rows.boxed(),
            Some(after) => rows.take(after).chain(stream::once(panics())).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

type Batch = datafusion::common::Result<RecordBatch>;

fn one_by_one(batch: Batch) -> Vec<Batch> {
    match batch {
        Ok(batch) => (0..batch.num_rows()).map(|row| Ok(batch.slice(row, 1))).collect(),
        Err(error) => vec![Err(error)],
    }
}

async fn panics() -> Batch {
    panic!("{ASKED_FOR}")
}
