//! Work beside checkpoints that keeps the store small: compaction of runs and garbage collection (I10).
//!
//! Both run as tasks of their own, one at a time each, also when nothing else happens. What compaction has merged is uploaded by it and
//! becomes part of the next checkpoint's manifest; until then the merged object is in use. At rest a store comes to hold no more than
//! twice what is alive: runs that say little for their size are merged, objects of which little is needed are written anew, and what
//! only the past needs is bounded ([`weir_storage::gc::retained`]).

use super::message::{Mailbox, Message};
use super::replacement::Replacement;
use super::upload::{InUse, OnRetry, ulid, upload};
use futures::FutureExt;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::runtime::Handle;
use weir_storage::arrangement::Spec;
use weir_storage::gc::{Collector, Sparse};
use weir_storage::history::History;
use weir_storage::identity::Maker;
use weir_storage::manifest::{ArrangementId, Manifest};
use weir_storage::merge::{BUSY, REST, Tolerance, groups, merge, pick, worn};
use weir_storage::run::{self, Run, Writer};
use weir_storage::{Env, Epoch, Error, Limits, Result};

/// How often garbage is looked for while there may be some, microseconds: listing costs requests.
const COLLECT_EVERY_US: u64 = 30_000_000;
/// So much written, or so many manifests, is reason to look sooner, though no sooner than after a moment.
const COLLECT_AFTER_BYTES: u64 = 64 << 20;
const COLLECT_AFTER_MANIFESTS: u64 = 64;
const COLLECT_SOONEST_US: u64 = 2_000_000;
/// Without a checkpoint for so long there is time to tidy up more thoroughly.
const REST_AFTER_US: u64 = 5_000_000;
/// Manifests kept for their hour age also when nothing is written.
const COLLECT_LATEST_US: u64 = 3_600_000_000;

/// What housekeeping needs to know of the process.
pub struct Housekeeping {
    pub env: Env,
    pub mailbox: Mailbox,
    pub maker: Maker,
    pub in_use: InUse,
    pub on_retry: OnRetry,
    /// Where merging runs: nobody waits for it.
    pub pool: Handle,
    collector: Arc<tokio::sync::Mutex<Collector>>,
    collected_at: u64,
    collecting: bool,
    /// Published since garbage was looked for.
    manifests: u64,
    bytes: u64,
    /// Objects of which little is needed.
    sparse: BTreeMap<String, Sparse>,
    merging: Merging,
    /// A manifest, or a state of things, that nobody has looked at yet for runs to merge.
    unseen: bool,
    published_at: u64,
    at_rest: bool,
    /// What was merged at rest has been published: what it replaces is garbage, and nothing else is likely to come for which to wait.
    tidied: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merging {
    No,
    Running,
    /// What was merged waits for a manifest: until then the same runs would be found again.
    Untold,
}

/// What compaction needs to know of an arrangement.
pub struct Kept {
    pub spec: Spec,
    /// Rows that are alive.
    pub live: u64,
}

impl Housekeeping {
    /// What `history` holds is not collected.
    pub fn new(env: Env, mailbox: Mailbox, maker: Maker, on_retry: OnRetry, pool: Handle, history: History) -> Self {
        let collected_at = env.clock.monotonic();
        let (in_use, collector) = (InUse::default(), Arc::new(tokio::sync::Mutex::new(Collector::new(history))));
        Self {
            env,
            mailbox,
            maker,
            in_use,
            on_retry,
            pool,
            collector,
            collected_at,
            collecting: false,
            // What the owner before has left.
            manifests: 1,
            bytes: 0,
            sparse: BTreeMap::new(),
            merging: Merging::No,
            unseen: true,
            published_at: collected_at,
            at_rest: false,
            tidied: false,
        }
    }

    /// `all_told`: nothing that was merged waits for another manifest.
    pub fn published(&mut self, manifest: &Manifest, all_told: bool) {
        if self.merging == Merging::Untold && all_told {
            self.merging = Merging::No;
            self.tidied |= self.at_rest;
        }
        (self.published_at, self.at_rest) = (self.env.clock.monotonic(), false);
        self.manifests += 1;
        self.bytes += manifest.uploaded_bytes;
        self.unseen = true;
    }

    /// Starts what is due. `manifest` is the last one published.
    pub fn tend(&mut self, manifest: &Manifest, kept: &dyn Fn(ArrangementId) -> Option<Kept>) {
        let now = self.env.clock.monotonic();
        if !self.at_rest && now >= self.published_at + REST_AFTER_US {
            (self.at_rest, self.unseen) = (true, true);
        }
        if self.unseen && self.merging == Merging::No {
            self.unseen = false;
            let work = due(manifest, kept, &self.sparse, if self.at_rest { REST } else { BUSY }, &self.env.limits);
            if !work.is_empty() {
                self.merging = Merging::Running;
                self.merge(work);
            }
        }
        if !self.collecting && now >= self.collected_at + self.collect_interval() {
            (self.collected_at, self.collecting, self.tidied) = (now, true, false);
            (self.manifests, self.bytes) = (0, 0);
            self.collect();
        }
    }

    fn collect_interval(&self) -> u64 {
        match self.manifests {
            0 => COLLECT_LATEST_US,
            _ if self.tidied => COLLECT_SOONEST_US,
            many if many >= COLLECT_AFTER_MANIFESTS || self.bytes >= COLLECT_AFTER_BYTES => COLLECT_SOONEST_US,
            _ => COLLECT_EVERY_US,
        }
    }

    pub fn merged(&mut self, replacements: &[Replacement]) {
        self.merging = if replacements.is_empty() { Merging::No } else { Merging::Untold };
    }

    /// `None`: something went wrong, and is to be tried again.
    pub fn collected(&mut self, sparse: Option<BTreeMap<String, Sparse>>) {
        self.collecting = false;
        match sparse {
            Some(sparse) => {
                self.unseen |= !sparse.is_empty();
                self.sparse = sparse;
            }
            None => self.manifests += 1,
        }
    }

    fn merge(&self, work: Vec<Merge>) {
        let (env, mailbox, in_use, on_retry) =
            (self.env.clone(), self.mailbox.clone(), self.in_use.clone(), self.on_retry.clone());
        let path = run::path(self.maker, ulid(&env));
        // What blocks in there runs on the same pool.
        self.pool.spawn(async move {
            let merging = AssertUnwindSafe(compact(&env, work, path, &in_use, &on_retry)).catch_unwind();
            let replacements = merging.await.unwrap_or_else(|_| Err(Error::Invalid("merging panicked".into())));
            if let Err(error) = &replacements {
                tracing::warn!(%error, "runs could not be merged; trying again later");
            }
            mailbox.tell(Message::Merged(replacements.unwrap_or_default()));
        });
    }

    fn collect(&self) {
        let (env, maker, in_use, collector) =
            (self.env.clone(), self.maker, self.in_use.clone(), self.collector.clone());
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            match collector.lock().await.collect(&env, maker, &move || in_use.all()).await {
                Ok(collected) => {
                    tracing::debug!(?collected, "garbage collected");
                    mailbox.tell(Message::Collected(Some(collected.sparse)));
                }
                Err(error @ (Error::Fenced(_) | Error::Lost(_))) => mailbox.tell(Message::Confirmed(Err(error))),
                Err(error) => {
                    tracing::warn!(%error, "garbage could not be collected; trying again later");
                    mailbox.tell(Message::Collected(None));
                }
            }
        });
    }
}

/// Runs to be merged.
struct Merge {
    id: ArrangementId,
    spec: Spec,
    since: Epoch,
    old: Vec<Run>,
}

/// What is worth merging, about as much of it as is merged in one go.
fn due(
    manifest: &Manifest,
    kept: &dyn Fn(ArrangementId) -> Option<Kept>,
    sparse: &BTreeMap<String, Sparse>,
    tolerance: Tolerance,
    limits: &Limits,
) -> Vec<Merge> {
    let (mut work, mut taken) = (vec![], 0);
    // Most have nothing to be merged, and there may be thousands.
    for (&id, state) in manifest.arrangements.iter().filter(|(_, s)| s.runs.len() > 1 || !sparse.is_empty()) {
        let (runs, since) = (&state.runs, state.since);
        let is_sparse = |run: &Run| {
            let found = sparse.get(&run.object);
            found.is_some_and(|s| (s.bytes - s.needed) * 100 >= s.needed * tolerance.dead)
        };
        let scattered = || {
            let mut groups = groups(runs).into_iter().filter(|group| runs[group.clone()].iter().any(is_sparse));
            let first = groups.next()?;
            Some(first.start..groups.next_back().map_or(first.end, |last| last.end))
        };
        let range = |live| {
            let worn = || worn(runs, since, live, tolerance, limits.worthwhile_bytes);
            pick(runs).or_else(worn).or_else(scattered)
        };
        let Some(Kept { spec, live }) = range(0).and_then(|_| kept(id)) else { continue };
        let Some(range) = range(live) else { continue };
        let old = runs[range].to_vec();
        taken += old.iter().map(|run| run.length).sum::<u64>();
        work.push(Merge { id, spec, since, old });
        if taken >= limits.compacted_bytes {
            break;
        }
    }
    work
}

async fn fetched(env: &Env, runs: &[Run]) -> Result<Vec<(Run, bytes::Bytes)>> {
    let mut fetched = vec![];
    for run in runs {
        fetched.push((run.clone(), run::fetch(env, run).await?));
    }
    Ok(fetched)
}

/// Merges into one object.
async fn compact(
    env: &Env,
    work: Vec<Merge>,
    path: String,
    in_use: &InUse,
    on_retry: &OnRetry,
) -> Result<Vec<Replacement>> {
    let (mut writer, mut replacements) = (Writer::new(path.clone(), env.limits), vec![]);
    for Merge { id, spec, since, old } in work {
        let runs = match fetched(env, &old).await {
            Ok(runs) => runs,
            // Damage to one relation's state keeps nobody else's from being merged.
            Err(error @ Error::Corrupt(_)) => {
                tracing::warn!(%error, "runs are left as they are");
                continue;
            }
            Err(error) => return Err(error),
        };
        let merged = move || {
            let new = merge(&mut writer, &spec, since, &runs);
            (writer, new)
        };
        let new;
        (writer, new) = env.compute(merged).await?;
        match new {
            Ok(new) => replacements.push(Replacement { id, old, new }),
            Err(error) => tracing::warn!(%error, "runs are left as they are"),
        }
    }
    if !writer.is_empty() {
        in_use.add(&path);
        let (path, bytes) = writer.finish();
        upload(env, &path, bytes, on_retry).await?;
    }
    Ok(replacements)
}
