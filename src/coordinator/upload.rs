//! Uploading: until the store has it, with everybody told while it does not answer.

use super::request::{Progress, Trouble};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use weir_storage::retry::ENDLESS;
use weir_storage::{Env, Result};

/// Told each time the store has to be asked again.
pub type OnRetry = Arc<dyn Fn(&str) + Send + Sync>;

/// What the store answers is told to everybody until a checkpoint gets through.
pub fn on_retry(env: &Env, progress: &watch::Sender<Progress>) -> OnRetry {
    let (clock, progress) = (env.clock.clone(), progress.clone());
    Arc::new(move |reason| {
        tracing::warn!(reason, "the store does not answer; checkpoints wait, nothing is acknowledged");
        progress.send_modify(|progress| {
            let since = progress.trouble.as_ref().map_or_else(|| clock.monotonic(), |trouble| trouble.since);
            progress.trouble = Some(Trouble { reason: reason.into(), since });
        });
    })
}

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

    pub fn all(&self) -> HashSet<String> {
        self.0.lock().expect("in use").clone()
    }
}

/// Until it is stored; the bytes do not change between tries, and the name is this upload's own.
pub async fn upload(env: &Env, path: &str, object: bytes::Bytes, on_retry: &OnRetry) -> Result<()> {
    ENDLESS.retry(env, &**on_retry, || env.objects.put(path, object.clone())).await
}

/// A name nobody else uses.
pub fn ulid(env: &Env) -> ulid::Ulid {
    let milliseconds = (env.clock.now() / 1000) as u64;
    let random = u128::from(env.random.next()) << 64 | u128::from(env.random.next());
    ulid::Ulid::from_parts(milliseconds, random)
}
