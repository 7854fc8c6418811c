//! Relations as an earlier manifest has them.

use super::object::body;
use super::recover;
use crate::catalog::Object;
use weir_storage::Epoch;
use weir_storage::arrangement::{Roles, Spec};
use weir_storage::manifest::{Manifest, State};
use weir_storage::run::Run;

/// A relation in the store, as of `upper`.
pub struct Stored {
    pub upper: Epoch,
    pub kept: Roles<Arranged>,
}

/// All runs of an arrangement.
pub struct Arranged {
    pub spec: Spec,
    pub runs: Vec<Run>,
}

impl Arranged {
    /// Stored bytes.
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// Rows as stored: those that cancel each other are counted, too.
    pub fn entries(&self) -> u64 {
        self.runs.iter().map(|run| run.rows).sum()
    }
}

/// `None`: not a relation, or one that `manifest` does not hold in full.
pub fn stored(manifest: &Manifest, object: &Object) -> Option<Stored> {
    let body = body(&object.body)?;
    let states = recover::states(manifest, &body, &object.roles()?)?;
    let upper = states.rows.upper;
    let arranged = |(spec, state): (&Spec, &&State)| Arranged { spec: spec.clone(), runs: state.runs.to_vec() };
    let kept = Roles::of(body.specs().iter().zip(states.iter()).map(arranged))?;
    Some(Stored { upper, kept })
}
