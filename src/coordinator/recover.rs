//! From a manifest back to arrangements: reads every run and adds it up (I8).

use crate::dataflow::build::Body;
use crate::dataflow::engine::{Engine, distribute};
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use weir_storage::arrangement::Arrangement;
use weir_storage::manifest::{ArrangementId, Manifest, State};
use weir_storage::run::{self, Run};
use weir_storage::{Env, Error, Result};

/// Runs read ahead of the ones being added up.
const READ_AHEAD: usize = 16;

/// The arrangements of a relation per worker, restored to the manifest's epoch. `None`: the manifest does not have all of them
/// at its epoch, so the relation is to be built anew.
pub async fn restore(
    env: &Env,
    engine: &Engine,
    manifest: &Manifest,
    body: &Body,
    ids: &[ArrangementId],
) -> Result<Option<Vec<Vec<Arrangement>>>> {
    let states: Option<Vec<&State>> =
        ids.iter().map(|id| manifest.arrangements.get(id).filter(|s| s.upper == manifest.epoch)).collect();
    let Some(states) = states.filter(|s| s.len() == body.specs().len()) else { return Ok(None) };
    let arrangements = engine.arrangements(body);
    for (index, (state, placement)) in states.into_iter().zip(body.placements()).enumerate() {
        let own: Vec<Arrangement> = arrangements.iter().map(|worker| worker[index].clone()).collect();
        let schema = own[0].spec().schema.clone();
        let mut fetched = stream::iter(state.runs.clone()).map(|run| fetch(env, run)).buffered(READ_AHEAD);
        while let Some((run, bytes)) = fetched.try_next().await? {
            let (schema, own, placement) = (schema.clone(), own.clone(), placement.clone());
            let added = tokio::task::spawn_blocking(move || {
                for entry in run::read(&run, &schema, bytes, &|_| true)? {
                    for (arrangement, part) in own.iter().zip(distribute(&placement, &entry.delta, own.len())?) {
                        if !part.is_empty() {
                            arrangement.apply(entry.epoch, &part)?;
                        }
                    }
                }
                Ok::<_, Error>(())
            });
            added.await.map_err(|e| Error::Corrupt(format!("reading runs failed: {e}")))??;
        }
        for arrangement in &own {
            arrangement.advance(manifest.epoch);
            arrangement.compact(manifest.epoch);
        }
    }
    Ok(Some(arrangements))
}

async fn fetch(env: &Env, run: Run) -> Result<(Run, bytes::Bytes)> {
    let range = run.offset..run.offset + run.length;
    loop {
        match env.objects.get_range(&run.object, range.clone()).await {
            Ok(Some(bytes)) => return Ok((run, bytes)),
            Ok(None) => {
                let name = Arc::new(run.object);
                return Err(Error::Corrupt(format!(
                    "object {name} is named by the newest manifest but is not in the store"
                )));
            }
            Err(Error::Retry(reason)) => {
                tracing::warn!(object = run.object, reason, "object store does not answer; trying again");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Err(other) => return Err(other),
        }
    }
}
