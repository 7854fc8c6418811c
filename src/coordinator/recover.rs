//! From a manifest back to arrangements: reads every run and adds it up (I8).
//!
//! A base table stands at the manifest's epoch C. A view stands at its own, U <= C; what its parents changed by between U and where
//! they stand is read from their runs, and the view goes through it as it would have.

use crate::dataflow::blueprint::{Body, Log};
use crate::dataflow::engine::distribute;
use crate::dataflow::packet::Packet;
use crate::dataflow::placement::Placement;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_sql::catalog::RelationId;
use weir_storage::arrangement::{Arrangement, Prepared, Roles, Spec};
use weir_storage::manifest::{ArrangementId, Manifest, State};
use weir_storage::run::{self, Entry, Reader, Run};
use weir_storage::{Env, Epoch, Result, retry};

/// Runs of an arrangement read ahead of the one being added up, and parts of runs taken apart.
const READ_AHEAD: usize = 16;
const DECODED_AHEAD: usize = 3;

/// A part has this share of the rows that are held in memory while runs are merged.
const PARTS: u64 = 8;

/// Kilobytes of runs in memory at a time, and what one counts as at least: so no store is asked for too much at once.
const KILOBYTES: usize = 128 << 10;
const LEAST: u64 = 2 << 10;

/// Cores that a start keeps busy, at most: sessions read meanwhile.
const CORES: usize = 3;

/// Relations are read side by side; this is what they share.
pub struct Reading<'a> {
    env: &'a Env,
    kilobytes: Arc<Semaphore>,
    cores: Arc<Cores>,
}

/// Cores that are free. Whoever works takes one, and not whoever waits for work: what nobody polls would keep it.
struct Cores {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Cores {
    fn with_one<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.freed.wait_while(self.lock(), |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        // Also after a panic.
        let _core = Core(self);
        work()
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Core<'a>(&'a Cores);

impl Drop for Core<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

/// A run in memory, with its room.
struct LoadedRun {
    reader: Reader,
    _room: OwnedSemaphorePermit,
}

impl<'a> Reading<'a> {
    pub fn new(env: &'a Env) -> Self {
        Self {
            env,
            kilobytes: Arc::new(Semaphore::new(KILOBYTES)),
            cores: Arc::new(Cores { free: Mutex::new(CORES), freed: Condvar::new() }),
        }
    }

    /// Room for a run, which is kept until all of it has been added up. The runs of a relation ask in their order: one that comes later
    /// must not hold what an earlier one waits for.
    async fn room(&self, run: Run) -> (Run, OwnedSemaphorePermit) {
        let kilobytes = (run.length >> 10).clamp(LEAST, KILOBYTES as u64) as u32;
        let room = self.kilobytes.clone().acquire_many_owned(kilobytes).await.expect("it is never closed");
        (run, room)
    }

    async fn fetch(&self, run: Run, room: OwnedSemaphorePermit) -> Result<(Run, Bytes, OwnedSemaphorePermit)> {
        let bytes = retry::ENDLESS.retry(self.env, &retry::warn, || run::fetch(self.env, &run)).await?;
        Ok((run, bytes, room))
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let cores = self.cores.clone();
        self.env.compute(move || cores.with_one(work)).await?
    }
}

/// A relation as a manifest has it.
pub struct Restored {
    /// Each per worker.
    pub arrangements: Roles<Vec<Arrangement>>,
    pub upper: Epoch,
}

/// What a manifest says of a relation, if it has all of it at one epoch.
pub fn states<'a>(manifest: &'a Manifest, body: &Body, ids: &Roles<ArrangementId>) -> Option<Roles<&'a State>> {
    let states = ids.try_map(|id| manifest.arrangements.get(id))?;
    let are_all = states.operators.len() == body.specs().operators.len();
    let whole = are_all && states.iter().all(|state| state.upper == states.rows.upper);
    whole.then_some(states)
}

/// The relation that `states` describe.
pub async fn restore(reading: &Reading<'_>, workers: usize, body: &Body, states: &Roles<&State>) -> Result<Restored> {
    let upper = states.iter().map(|state| state.upper).max().unwrap_or(Epoch::ZERO);
    let (arrangements, placements) = (body.arrangements(workers, reading.env.limits), body.placements());
    for ((state, placement), own) in states.iter().zip(placements.iter()).zip(arrangements.iter()) {
        let prepare = {
            let (own, placement) = (own.clone(), placement.clone());
            move |entries| prepare(entries, &own, &placement)
        };
        let mut parts = std::pin::pin!(parts(reading, own[0].spec().clone(), state.runs.to_vec(), prepare));
        let mut reached = Epoch::ZERO;
        let mut next = parts.try_next().await?;
        while let Some((part, held)) = next {
            let own = own.clone();
            let add = reading.compute(move || {
                let _held = held;
                for Apart { epoch, of } in part {
                    reached = reached.max(epoch);
                    for (arrangement, prepared) in own.iter().zip(of) {
                        arrangement.apply_prepared(reached, &prepared)?;
                    }
                }
                Ok(reached)
            });
            // A stream that is not asked begins nothing new.
            let (added, following) = future::join(add, parts.try_next()).await;
            (reached, next) = (added?, following?);
        }
        let filled = own.clone();
        let settle = move || {
            filled.iter().for_each(Arrangement::settle);
            Ok(())
        };
        reading.compute(settle).await?;
        for arrangement in own {
            arrangement.advance(upper);
            arrangement.compact(upper);
        }
    }
    Ok(Restored { arrangements, upper })
}

/// Entries of an epoch: what of them belongs to each worker.
struct Apart {
    epoch: Epoch,
    of: Vec<Prepared>,
}

/// A merged run may hold several epochs of a key, and the runs of other workers the same epochs of other keys. Nobody reads below where
/// the arrangement will stand, so only the order counts.
fn prepare(mut entries: Vec<Entry>, own: &[Arrangement], placement: &Placement) -> Result<Vec<Apart>> {
    entries.sort_by_key(|entry| entry.epoch);
    let apart = |same: &[Entry]| {
        let mut of = vec![vec![]; own.len()];
        for entry in same {
            for (of, part) in of.iter_mut().zip(distribute(placement, &entry.delta, own.len())?) {
                of.extend((!part.is_empty()).then_some(part));
            }
        }
        let of = own.iter().zip(of).map(|(own, deltas)| own.prepare(&deltas)).collect::<Result<_>>()?;
        Ok(Apart { epoch: same[0].epoch, of })
    };
    entries.chunk_by(|a, b| a.epoch == b.epoch).map(apart).collect()
}

/// A parent whose changes are wanted.
pub struct Parent<'a> {
    pub id: RelationId,
    pub body: &'a Body,
    pub states: &'a Roles<&'a State>,
}

/// What `parent` changed by in `(after, to]`, added to the logs of the workers in the order of epochs. The manifest has to hold its
/// change log from `after` on.
pub async fn changes(env: &Env, parent: &Parent<'_>, after: Epoch, to: Epoch, logs: &mut [Log]) -> Result<()> {
    let (specs, placements) = (parent.body.specs(), parent.body.placements());
    // One of its own: what others have read meanwhile waits, and keeps its room.
    let reading = Reading::new(env);
    let mut found: Vec<Vec<(Epoch, Packet)>> = vec![vec![]; logs.len()];
    let packets: [fn(weir_storage::Delta) -> Packet; 2] = [Packet::Rows, Packet::Errors];
    let logs_of = parent.states.log().into_iter().zip(specs.log()).zip(placements.log());
    for (((state, spec), placement), packet) in logs_of.zip(packets) {
        assert!(state.since <= after, "I8: the change log after {after} is gone, since is {}", state.since);
        let runs: Vec<Run> = state.runs.iter().filter(|run| run.to > after && run.after < to).cloned().collect();
        let mut parts = std::pin::pin!(parts(&reading, spec.clone(), runs, Ok));
        while let Some((entries, _held)) = parts.try_next().await? {
            for entry in entries.into_iter().filter(|entry| entry.epoch > after && entry.epoch <= to) {
                add(&mut found, placement, entry, packet)?;
            }
        }
    }
    for (log, mut found) in logs.iter_mut().zip(found) {
        found.sort_by_key(|(epoch, _)| *epoch);
        log.insert(parent.id, found);
    }
    Ok(())
}

fn add(
    found: &mut [Vec<(Epoch, Packet)>],
    placement: &Placement,
    entry: Entry,
    packet: fn(weir_storage::Delta) -> Packet,
) -> Result<()> {
    let parts = distribute(placement, &entry.delta, found.len())?;
    for (found, part) in found.iter_mut().zip(parts).filter(|(_, part)| !part.is_empty()) {
        found.push((entry.epoch, packet(part)));
    }
    Ok(())
}

/// What `work` makes of the entries of each part of `runs`, in order, with what holds their room.
fn parts<T: Send + 'static>(
    reading: &Reading<'_>,
    spec: Spec,
    runs: Vec<Run>,
    work: impl Fn(Vec<Entry>) -> Result<T> + Clone + Send + 'static,
) -> impl Stream<Item = Result<(T, Arc<LoadedRun>)>> {
    let fetched = stream::iter(runs).then(|run| reading.room(run));
    let fetched = fetched.map(|(run, room)| reading.fetch(run, room)).buffered(READ_AHEAD);
    let (most_rows, most_bytes) = ((reading.env.limits.merged_rows / PARTS).max(1), reading.env.limits.part_bytes);
    let parts = fetched.and_then(move |(run, bytes, room)| {
        let (kind, schema) = (spec.kind, spec.schema.clone());
        async move {
            let reader = reading.compute(move || Reader::open(&run, &schema, bytes)).await?;
            let (parts, reader) =
                (reader.parts(kind, most_rows, most_bytes), Arc::new(LoadedRun { reader, _room: room }));
            Ok(stream::iter(parts.into_iter().map(move |part| Ok((reader.clone(), part)))))
        }
    });
    let decoded = parts.try_flatten().map_ok(move |(reader, part)| {
        let work = work.clone();
        reading.compute(move || Ok((work(reader.reader.entries(part)?)?, reader)))
    });
    decoded.try_buffered(DECODED_AHEAD)
}
