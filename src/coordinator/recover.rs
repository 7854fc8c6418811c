//! From a manifest back to arrangements: reads every run and adds it up (I8).
//!
//! A base table stands at the manifest's epoch C. A view stands at its own, U <= C; what its parents changed by between U and where
//! they stand is read from their runs, and the view goes through it as it would have.

use crate::dataflow::blueprint::{Body, Log};
use crate::dataflow::engine::distribute;
use crate::dataflow::packet::Packet;
use crate::dataflow::placement::Placement;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use weir_sql::catalog::RelationId;
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::manifest::{ArrangementId, Manifest, State};
use weir_storage::run::{self, Entry, Run};
use weir_storage::{Env, Epoch, Error, Result, retry};

/// Runs read ahead of the ones being added up, and of those the ones in memory: the next is taken apart while one is added up.
const READ_AHEAD: usize = 16;
const DECODED_AHEAD: usize = 2;

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
pub async fn restore(env: &Env, workers: usize, body: &Body, states: &Roles<&State>) -> Result<Restored> {
    let upper = states.iter().map(|state| state.upper).max().unwrap_or(Epoch::ZERO);
    let (arrangements, placements) = (body.arrangements(workers), body.placements());
    for ((state, placement), own) in states.iter().zip(placements.iter()).zip(arrangements.iter()) {
        let mut entries = std::pin::pin!(entries(env, own[0].spec().schema.clone(), state.runs.to_vec()));
        let mut reached = Epoch::ZERO;
        while let Some(mut entries) = entries.try_next().await? {
            // A merged run may hold several epochs of a key, and the runs of other workers the same epochs of other keys. Nobody
            // reads below `upper`, so only the order counts.
            entries.sort_by_key(|entry| entry.epoch);
            let (own, placement) = (own.clone(), placement.clone());
            let add = move || {
                for entry in entries {
                    reached = reached.max(entry.epoch);
                    for (arrangement, part) in own.iter().zip(distribute(&placement, &entry.delta, own.len())?) {
                        if !part.is_empty() {
                            arrangement.apply(reached, &part)?;
                        }
                    }
                }
                Ok::<_, Error>(reached)
            };
            reached = env.compute(add).await??;
        }
        for arrangement in own {
            arrangement.advance(upper);
            arrangement.compact(upper);
        }
    }
    Ok(Restored { arrangements, upper })
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
    let mut found: Vec<Vec<(Epoch, Packet)>> = vec![vec![]; logs.len()];
    let packets: [fn(weir_storage::Delta) -> Packet; 2] = [Packet::Rows, Packet::Errors];
    let logs_of = parent.states.log().into_iter().zip(specs.log()).zip(placements.log());
    for (((state, spec), placement), packet) in logs_of.zip(packets) {
        assert!(state.since <= after, "I8: the change log after {after} is gone, since is {}", state.since);
        let runs: Vec<Run> = state.runs.iter().filter(|run| run.to > after && run.after < to).cloned().collect();
        let mut entries = std::pin::pin!(entries(env, spec.schema.clone(), runs));
        while let Some(entries) = entries.try_next().await? {
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

/// The entries of each of `runs`, in order.
fn entries(
    env: &Env,
    schema: arrow::datatypes::SchemaRef,
    runs: Vec<Run>,
) -> impl Stream<Item = Result<Vec<Entry>>> + use<'_> {
    let fetched = stream::iter(runs).map(|run| fetch(env, run)).buffered(READ_AHEAD);
    let decoded = fetched.map(move |fetched| {
        let schema = schema.clone();
        async move {
            let (run, bytes) = fetched?;
            env.compute(move || run::read(&run, &schema, bytes, &|_| true)).await?
        }
    });
    decoded.buffered(DECODED_AHEAD)
}

async fn fetch(env: &Env, run: Run) -> Result<(Run, bytes::Bytes)> {
    let bytes = retry::ENDLESS.ask(env, &retry::warn, || run::fetch(env, &run)).await?;
    Ok((run, bytes))
}
