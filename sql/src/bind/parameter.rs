//! `$1`, `$2`, …: of the types the client gave them, or else of what they first stand for.

use crate::bound::Kind;

/// Those of a statement, by number.
#[derive(Clone, Debug)]
pub struct Parameters {
    kinds: Vec<Kind>,
}

impl Parameters {
    pub fn new(declared: &[Kind]) -> Self {
        Self { kinds: declared.to_vec() }
    }
}
