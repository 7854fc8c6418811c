//! Runs that were merged, and what takes their place.

use weir_storage::manifest::{ArrangementId, State};
use weir_storage::run::Run;

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
