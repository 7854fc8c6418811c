//! The runs of an arrangement, shared by all manifests that say the same of it: there may be thousands of arrangements, and a checkpoint
//! changes few of them.

use crate::run::Run;
use serde::{Deserialize, Deserializer};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

/// A list of runs; clones share it until one of them changes.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: Vec<Run>,
    /// Their JSON, once somebody has asked for it.
    json: OnceLock<Vec<u8>>,
}

impl Runs {
    pub(super) fn json(&self) -> &[u8] {
        self.0.json.get_or_init(|| serde_json::to_vec(&self.0.runs).expect("runs are JSON"))
    }
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self { runs: self.runs.clone(), json: OnceLock::new() }
    }
}

impl Deref for Runs {
    type Target = Vec<Run>;

    fn deref(&self) -> &Vec<Run> {
        &self.0.runs
    }
}

impl DerefMut for Runs {
    fn deref_mut(&mut self) -> &mut Vec<Run> {
        let shared = Arc::make_mut(&mut self.0);
        shared.json.take();
        &mut shared.runs
    }
}

impl PartialEq for Runs {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.runs == other.0.runs
    }
}

impl From<Vec<Run>> for Runs {
    fn from(runs: Vec<Run>) -> Self {
        Self(Arc::new(Shared { runs, json: OnceLock::new() }))
    }
}

impl FromIterator<Run> for Runs {
    fn from_iter<T: IntoIterator<Item = Run>>(runs: T) -> Self {
        runs.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Runs {
    type Item = &'a Run;
    type IntoIter = std::slice::Iter<'a, Run>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de> Deserialize<'de> for Runs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
