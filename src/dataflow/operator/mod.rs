//! Operators: pure, synchronous, one per file. They do not know timely, threads or time.
//!
//! The host (`host.rs`) gives an operator everything of one epoch that belongs to its worker, consolidated, by [`Operator::begin`]
//! and takes the answer in pieces by [`Operator::poll`], whose cursor may stop anywhere, also inside one key. Errors that come in
//! beside the rows are passed on by the host; an operator only adds those it makes itself, and retracts them when the rows that
//! made them go. Outputs need not be consolidated.
//!
//! State lives in arrangements that are handed in at construction (empty, or restored from a checkpoint): everything an operator
//! must know after a restart is in them. The host advances their `upper` and compacts them.

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
    Rows(Delta),
    /// In `errors::SCHEMA`.
    Errors(Delta),
    /// The epoch is done.
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

    /// Takes an epoch's input: for each input its deltas, consolidated over the whole epoch (I2). Called once per epoch in which
    /// any input has rows, and once at the first epoch of a new dataflow even without rows. Epochs ascend.
    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()>;

    /// The next piece, after about `budget` rows of work. Called until `Done`. An `Err` is a bug or a broken invariant, not a
    /// row's error: it stops the relation.
    fn poll(&mut self, budget: usize) -> Result<Piece>;
}

/// What an operator keeps, as its file declares it before it is built: the specs of its arrangements, in order.
pub type Specs = Vec<Spec>;

/// Builds the operator of `node`, whose state is `arrangements` (in the order of [`specs`]).
pub fn build(node: &weir_sql::plan::Node, place: Place, arrangements: Vec<Arrangement>) -> Box<dyn Operator> {
    let _ = (node, place, arrangements);
    todo!()
}

/// What the operator of `node` keeps.
pub fn specs(node: &weir_sql::plan::Node) -> Specs {
    let _ = node;
    todo!()
}
