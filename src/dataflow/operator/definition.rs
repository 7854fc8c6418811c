//! What an operator is to its host.

use weir_sql::Result;
use weir_storage::arrangement::{Arrangement, Spec};
use weir_storage::{Delta, Epoch};

/// Which worker an input's row goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Wherever it is.
    Stay,
    /// The owner of the vnode of these columns' key; no columns: one worker has all rows.
    Key(Vec<usize>),
}

/// A piece of an epoch's answer.
pub enum Piece {
    /// Perhaps none, when the budget was spent on work that has no answer yet.
    Rows(Delta),
    /// In `errors::SCHEMA`.
    Errors(Delta),
    /// The part is done.
    Done,
}

/// Where an operator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub worker: usize,
    pub workers: usize,
}

pub trait Operator {
    /// One route per input.
    fn routes(&self) -> Vec<Route>;

    /// Its state, in the order of `specs`.
    fn arrangements(&self) -> &[Arrangement];

    /// Takes an epoch's input, or, if it is large, a part of it: for each input its deltas, consolidated (I2). A part could have been an
    /// epoch of its own. Called for each part of an epoch in which any input has rows, and once at the first epoch of a new dataflow even
    /// without rows. Epochs ascend.
    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()>;

    /// The next piece, after about `budget` rows of work. Called until `Done` before anything else. An `Err` is a bug or a broken
    /// invariant, not a row's error: it stops the relation.
    fn poll(&mut self, budget: usize) -> Result<Piece>;
}

/// What an operator keeps, as its file declares it before it is built: the specs of its arrangements, in order.
pub type Specs = Vec<Spec>;
