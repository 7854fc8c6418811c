//! Work beside checkpoints that keeps the store small: compaction of runs and garbage collection (I10).
//!
//! Both run as tasks of their own, one at a time each. What compaction has merged is uploaded by it and becomes part of the next
//! checkpoint's manifest; until then the merged object is in use.

use super::checkpoint::{OnRetry, ulid, upload};
use super::message::{Mailbox, Message};
use futures::FutureExt;
use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use weir_storage::arrangement::Spec;
use weir_storage::gc::Collector;
use weir_storage::history::History;
use weir_storage::manifest::{ArrangementId, Manifest, State};
use weir_storage::merge::{merge, pick};
use weir_storage::run::{self, Run, Writer};
use weir_storage::{Env, Error, Generation, Result};

/// How often garbage is looked for, microseconds: listing costs requests.
const COLLECT_EVERY_US: u64 = 30_000_000;

/// Bytes of runs merged in one go; what is left waits for the next. Bounds memory and the time until the result is published.
const MERGE_BYTES: u64 = 256 << 20;

/// Objects that are uploaded, or about to be, and not yet named by a manifest.
#[derive(Clone, Default)]
pub struct InUse(Arc<Mutex<HashSet<String>>>);

impl InUse {
    pub fn add(&self, path: &str) {
        self.0.lock().expect("in use").insert(path.to_string());
    }

    pub fn remove(&self, path: &str) {
        self.0.lock().expect("in use").remove(path);
    }

    fn all(&self) -> HashSet<String> {
        self.0.lock().expect("in use").clone()
    }
}

/// Some neighbouring runs of an arrangement that say the same as one.
#[derive(Clone, Debug)]
pub struct Replacement {
    pub id: ArrangementId,
    pub old: Vec<Run>,
    pub new: Option<Run>,
}

impl Replacement {
    /// Puts it into `state` if the old runs are still there.
    pub fn apply(&self, state: &mut State) {
        let Some(at) = state.runs.windows(self.old.len()).position(|window| window == self.old) else { return };
        state.runs.splice(at..at + self.old.len(), self.new.clone());
    }
}

/// What housekeeping needs to know of the process.
pub struct Housekeeping {
    pub env: Env,
    pub mailbox: Mailbox,
    pub generation: Generation,
    pub in_use: InUse,
    pub on_retry: OnRetry,
    /// Where merging runs: nobody waits for it.
    pub pool: Handle,
    collector: Arc<tokio::sync::Mutex<Collector>>,
    collected_at: u64,
    merging: bool,
}

impl Housekeeping {
    /// What `history` holds is not collected.
    pub fn new(
        env: Env,
        mailbox: Mailbox,
        generation: Generation,
        on_retry: OnRetry,
        pool: Handle,
        history: History,
    ) -> Self {
        let collected_at = env.clock.monotonic();
        let (in_use, collector) = (InUse::default(), Arc::new(tokio::sync::Mutex::new(Collector::new(history))));
        Self { env, mailbox, generation, in_use, on_retry, pool, collector, collected_at, merging: false }
    }

    /// Starts what is due after `manifest` was published.
    pub fn after(&mut self, manifest: &Arc<Manifest>, specs: impl FnOnce() -> BTreeMap<ArrangementId, Spec>) {
        if !self.merging && manifest.arrangements.values().any(|state| pick(&state.runs).is_some()) {
            self.merging = true;
            self.merge(manifest.clone(), specs());
        }
        let now = self.env.clock.monotonic();
        if now >= self.collected_at + COLLECT_EVERY_US {
            self.collected_at = now;
            self.collect();
        }
    }

    pub fn merged(&mut self) {
        self.merging = false;
    }

    fn merge(&self, manifest: Arc<Manifest>, specs: BTreeMap<ArrangementId, Spec>) {
        let (env, mailbox, in_use, on_retry) =
            (self.env.clone(), self.mailbox.clone(), self.in_use.clone(), self.on_retry.clone());
        let path = run::path(self.generation, ulid(&env));
        // What blocks in there runs on the same pool.
        self.pool.spawn(async move {
            let merging = AssertUnwindSafe(compact(&env, &manifest, &specs, path, &in_use, &on_retry)).catch_unwind();
            let replacements = merging.await.unwrap_or_else(|_| Err(Error::Invalid("merging panicked".into())));
            if let Err(error) = &replacements {
                tracing::warn!(%error, "runs could not be merged; trying again later");
            }
            mailbox.tell(Message::Merged(replacements.unwrap_or_default()));
        });
    }

    fn collect(&self) {
        let (env, generation, in_use, collector) =
            (self.env.clone(), self.generation, self.in_use.clone(), self.collector.clone());
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            match collector.lock().await.collect(&env, generation, &move || in_use.all()).await {
                Ok(collected) => tracing::debug!(?collected, "garbage collected"),
                Err(error @ Error::Fenced(_)) => mailbox.tell(Message::Confirmed(Err(error))),
                Err(error) => tracing::warn!(%error, "garbage could not be collected; trying again later"),
            }
        });
    }
}

/// Merges what [`pick`] says, into one object.
async fn compact(
    env: &Env,
    manifest: &Manifest,
    specs: &BTreeMap<ArrangementId, Spec>,
    path: String,
    in_use: &InUse,
    on_retry: &OnRetry,
) -> Result<Vec<Replacement>> {
    let (mut writer, mut replacements, mut taken) = (Writer::new(path.clone(), env.limits), vec![], 0);
    for (&id, state) in &manifest.arrangements {
        let (Some(range), Some(spec)) = (pick(&state.runs), specs.get(&id)) else { continue };
        let old = state.runs[range].to_vec();
        taken += old.iter().map(|run| run.length).sum::<u64>();
        let mut runs = vec![];
        for run in &old {
            runs.push((run.clone(), run::fetch(env, run).await?));
        }
        let (spec, since) = (spec.clone(), state.since);
        let merged = move || {
            let new = merge(&mut writer, &spec, since, &runs);
            (writer, new)
        };
        let new;
        (writer, new) = env.compute(merged).await?;
        replacements.push(Replacement { id, old, new: new? });
        if taken >= MERGE_BYTES {
            break;
        }
    }
    if !writer.is_empty() {
        in_use.add(&path);
        let (path, bytes) = writer.finish();
        upload(env, &path, bytes, on_retry).await?;
    }
    Ok(replacements)
}
