//! One checkpoint: seal what changed, upload it, publish the manifest (ARCHITECTURE.md, *Checkpoints and manifests*). Runs beside
//! the event loop.

use super::replacement::Replacement;
use super::upload::{InUse, OnRetry, ulid, upload};
use crate::catalog::Catalog;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::Mutex;
use weir_sql::catalog::RelationId;
use weir_storage::arrangement::Arrangement;
use weir_storage::manifest::{ArrangementId, Laid, Manifest, State, page};
use weir_storage::publish::{Durable, Publisher};
use weir_storage::run::{self, Run, Writer};
use weir_storage::{Env, Epoch, Error, Limits, Result};

/// An arrangement to be sealed.
pub struct Part {
    pub relation: RelationId,
    pub id: ArrangementId,
    /// Sealed up to here by an earlier checkpoint; [`Epoch::ZERO`]: never.
    pub after: Epoch,
    /// To be sealed up to here: the checkpoint's epoch, or an earlier one's if the view is behind.
    pub to: Epoch,
    /// From here on somebody reads its change log.
    pub since: Epoch,
    /// One per worker; none if nothing has changed.
    pub handles: Vec<Arrangement>,
    /// For tests.
    pub panics: bool,
}

/// Everything a checkpoint says, as of its epoch.
pub struct Draft {
    pub epoch: Epoch,
    /// `now` of the epoch, microseconds since 1970-01-01 UTC.
    pub now: i64,
    pub positions: BTreeMap<u32, serde_json::Value>,
    pub catalog: Arc<Catalog>,
    pub parts: Vec<Part>,
    /// Arrangements whose state stays as the last manifest has it.
    pub kept: Vec<ArrangementId>,
    /// Of those the ones that nothing can have changed since: they are as whole as they were.
    pub still: BTreeSet<ArrangementId>,
    /// Runs merged since the last checkpoint.
    pub merged: Vec<Replacement>,
    /// Told what is uploaded and not published yet.
    pub in_use: InUse,
    /// Monotonic microseconds.
    pub began: u64,
}

pub struct Published {
    pub manifest: Manifest,
    pub proof: Durable,
}

/// Why a checkpoint was not made.
pub enum Unmade {
    /// A relation cannot be sealed, for a reason of its own. Nothing has been written. `merged` was the draft's, and is still to be told.
    Unsealed { relation: RelationId, cause: Error, merged: Vec<Replacement> },
    /// The store, or what concerns all. `Fenced` means: stop at once.
    Store(Error),
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Unmade::Store(error)
    }
}

/// Seals, uploads and publishes `draft` on top of `last`.
pub async fn make(
    env: Env,
    publisher: Arc<Mutex<Publisher>>,
    last: Arc<Manifest>,
    draft: Draft,
    on_retry: OnRetry,
) -> Result<Published, Unmade> {
    let mut publisher = publisher.lock().await;
    let maker = publisher.maker();
    let workers = draft.parts.iter().map(|p| p.handles.len()).max().unwrap_or(0);
    let objects: Vec<String> = (0..workers).map(|_| run::path(maker, ulid(&env))).collect();
    let in_use = draft.in_use.clone();
    objects.iter().for_each(|path| in_use.add(path));
    let uploads = objects.clone();
    let limits = env.limits;
    let seal = move || {
        let sealed = seal(&draft, objects, limits);
        let catalog = draft.catalog.records();
        (draft, catalog, sealed)
    };
    let (draft, catalog, sealed) = env.compute(seal).await?;
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err((relation, cause)) => {
            uploads.iter().for_each(|path| in_use.remove(path));
            return Err(Unmade::Unsealed { relation, cause, merged: draft.merged });
        }
    };
    // Refuses to publish what a start could not read: it would be the end of the store.
    let catalog = catalog.map_err(|error| Error::Corrupt(error.to_string()))?;
    let mut bytes = 0;
    for (path, object) in sealed.objects {
        bytes += object.len() as u64;
        upload(&env, &path, object, &on_retry).await?;
    }
    let mut arrangements: BTreeMap<ArrangementId, State> = BTreeMap::new();
    let merge = |id: ArrangementId, state: &mut State| {
        draft.merged.iter().filter(|merged| merged.id == id).for_each(|merged| merged.apply(state));
    };
    for id in &draft.kept {
        if let Some(mut state) = last.arrangements.get(id).cloned() {
            merge(*id, &mut state);
            if draft.still.contains(id) && state.upper == last.epoch {
                state.upper = draft.epoch;
            }
            arrangements.insert(*id, state);
        }
    }
    for (part, runs) in draft.parts.iter().zip(sealed.runs) {
        // What was rebuilt says everything itself.
        let fresh = part.after == Epoch::ZERO;
        let mut state = last.arrangements.get(&part.id).filter(|_| !fresh).cloned().unwrap_or_default();
        merge(part.id, &mut state);
        state.upper = part.to;
        state.since = part.since;
        state.runs.extend(runs);
        arrangements.insert(part.id, state);
    }
    let manifest = Manifest {
        epoch: draft.epoch,
        committed_at: env.clock.now(),
        now: draft.now,
        positions: draft.positions,
        catalog,
        arrangements,
        uploaded_bytes: bytes,
        duration_us: env.clock.monotonic() - draft.began,
        ..Manifest::default()
    };
    let pages = page::path(maker, ulid(&env));
    in_use.add(&pages);
    let (path, before) = (pages.clone(), last.clone());
    let (laid, object) = env.compute(move || Laid::new(manifest, &before.pages, &path, limits)).await??;
    if let Some(object) = object {
        upload(&env, &pages, object, &on_retry).await?;
    }
    let (manifest, proof) = publisher.publish(laid, &|reason| on_retry(reason)).await?;
    let merged = draft.merged.iter().filter_map(|merged| merged.new.as_ref()).map(|run| &run.object);
    uploads.iter().chain([&pages]).chain(merged).for_each(|path| in_use.remove(path));
    Ok(Published { manifest, proof })
}

struct Sealed {
    objects: Vec<(String, bytes::Bytes)>,
    /// Of each part.
    runs: Vec<Vec<Run>>,
}

/// All changes of every part since it was last sealed: one object per worker. The store has no part in it yet: what fails is the failure of
/// the relation whose part it is.
fn seal(draft: &Draft, objects: Vec<String>, limits: Limits) -> Result<Sealed, (RelationId, Error)> {
    let mut runs: Vec<Vec<Run>> = vec![vec![]; draft.parts.len()];
    let mut sealed = vec![];
    for (worker, path) in objects.into_iter().enumerate() {
        let mut writer = Writer::new(path, limits);
        for (part, runs) in draft.parts.iter().zip(&mut runs).filter(|(p, _)| worker < p.handles.len()) {
            // Sound: of what is written after a failure nothing is kept.
            let run = catch_unwind(AssertUnwindSafe(|| part.seal(worker, &mut writer)));
            let run = run.unwrap_or_else(|_| Err(Error::Invalid("it panicked; the server's log says more".into())));
            runs.extend(run.map_err(|cause| (part.relation, cause))?);
        }
        if !writer.is_empty() {
            sealed.push(writer.finish());
        }
    }
    Ok(Sealed { objects: sealed, runs })
}

impl Part {
    /// What one worker's share of it has changed by, as a run.
    fn seal(&self, worker: usize, writer: &mut Writer) -> Result<Option<Run>> {
        assert!(!self.panics, "a panic was asked for");
        let arrangement = &self.handles[worker];
        let deltas = arrangement.changes(self.after, self.to)?;
        if deltas.is_empty() {
            return Ok(None);
        }
        writer.add(arrangement.spec(), self.after, self.to, &deltas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use weir_storage::Delta;
    use weir_storage::arrangement::{Kind, Spec};

    /// A part of this relation, with a row that has yet to be sealed.
    fn part(relation: u32) -> Part {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::from(relation)]));
        let rows = RecordBatch::try_from_iter([("n", column)]).expect("one column");
        let arrangement = Arrangement::new(Spec { kind: Kind::Bag, schema: rows.schema(), key: vec![] }, Limits::TINY);
        let (after, to) = (Epoch::ZERO, Epoch::from_u64(2));
        arrangement.apply(to, &Delta::uniform(rows, 1)).expect("it is applied");
        arrangement.advance(to);
        let (relation, id) = (RelationId(relation), ArrangementId(u64::from(relation)));
        Part { relation, id, after, to, since: to, handles: vec![arrangement], panics: false }
    }

    fn sealed(parts: Vec<Part>) -> Result<Sealed, (RelationId, Error)> {
        let draft = Draft {
            epoch: Epoch::from_u64(2),
            now: 0,
            positions: BTreeMap::new(),
            catalog: Arc::default(),
            parts,
            kept: vec![],
            still: BTreeSet::new(),
            merged: vec![],
            in_use: InUse::default(),
            began: 0,
        };
        seal(&draft, vec!["object".into()], Limits::default())
    }

    #[test]
    fn what_cannot_be_sealed_of_a_relation_is_told_with_its_name() {
        let Ok(Sealed { objects, runs }) = sealed(vec![part(1), part(2)]) else { panic!("all of it is sound") };
        assert_eq!((objects.len(), runs.iter().map(Vec::len).collect::<Vec<_>>()), (1, vec![1, 1]));
        let panics = Part { panics: true, ..part(2) };
        // History that is gone.
        let gone = part(2);
        gone.handles[0].compact(gone.to);
        for (bad, why) in [(panics, "it panicked"), (gone, "not readable")] {
            let Err((relation, cause)) = sealed(vec![part(1), bad, part(3)]) else { panic!("{why}") };
            assert!(relation == RelationId(2) && cause.to_string().contains(why), "{relation}: {cause}");
        }
    }
}
