//! Operators: pure, synchronous, one per file. They do not know timely, threads or time.
//!
//! The host (`host.rs`) gives an operator everything of one epoch that belongs to its worker, consolidated, by [`Operator::begin`]
//! (a large epoch in parts) and takes the answer in pieces by [`Operator::poll`], whose cursor may stop anywhere, also inside one
//! key. Errors that come in beside the rows are passed on by the host; an operator only adds those it makes itself, and retracts
//! them when the rows that made them go. Outputs need not be consolidated.
//!
//! State lives in arrangements that are handed in at construction (empty, or restored from a checkpoint): everything an operator
//! must know after a restart is in them. The host advances their `upper` and compacts them.

mod absent;
mod counts;
mod definition;
mod distinct;
mod group;
mod join;
mod map;
mod reduce;
mod step;
#[cfg(test)]
mod tests;
mod values;
mod weight;

pub use self::absent::Absent;
pub use self::definition::{Operator, Piece, Place, Route, Specs};

use self::distinct::Distinct;
use self::join::Join;
use self::map::Map;
use self::reduce::Reduce;
use self::step::Stepped;
use self::values::Values;
use weir_sql::Result;
use weir_sql::plan::{Node, Operator as Plan};
use weir_storage::arrangement::Arrangement;

/// What the operator of `node` keeps.
pub fn specs(node: &Node) -> Specs {
    match &node.operator {
        Plan::Join { .. } => join(node).specs(),
        Plan::Reduce { .. } => reduce(node).specs(),
        Plan::Distinct { .. } | Plan::Threshold { .. } => distinct::specs(&node.schema()),
        Plan::Scan { .. } | Plan::Values { .. } | Plan::Map { .. } | Plan::Union { .. } | Plan::Negate { .. } => vec![],
    }
}

/// For each of [`specs`] the columns by whose key its rows are placed: those that hold what the inputs are routed by. Not always
/// the arrangement's own key, which may be longer (values within a group) or another (row hashes).
pub fn placed(node: &Node) -> Vec<Vec<usize>> {
    match &node.operator {
        Plan::Join { .. } => join(node).placed(),
        Plan::Reduce { .. } => reduce(node).placed(),
        _ => specs(node).into_iter().map(|spec| spec.key).collect(),
    }
}

/// Whether [`build`] can build `node`, else the error that a client reads.
pub fn check(node: &Node) -> Result<()> {
    match &node.operator {
        Plan::Values { rows } => drop(Values::new(rows, node.schema(), ALONE, usize::MAX)?),
        Plan::Map { input, filter, project } => {
            drop(Map::new(filter.as_ref(), project, &input.schema(), node.schema(), usize::MAX)?);
        }
        Plan::Join { .. } => join(node).check()?,
        Plan::Reduce { .. } => reduce(node).check()?,
        Plan::Scan { .. }
        | Plan::Distinct { .. }
        | Plan::Union { .. }
        | Plan::Negate { .. }
        | Plan::Threshold { .. } => {}
    }
    node.inputs().into_iter().try_for_each(check)
}

const ALONE: Place = Place { worker: 0, workers: 1 };

/// Builds the operator of `node`, whose state is `arrangements` (in the order of [`specs`]). What it makes of rows at once has at most
/// `bytes` bytes, or is of one. Panics if [`check`] refuses the node, or if it is linear and the host's.
pub fn build(node: &Node, place: Place, bytes: usize, arrangements: Vec<Arrangement>) -> Box<dyn Operator> {
    let output = node.schema();
    let checked = "the plan was checked";
    match &node.operator {
        Plan::Values { rows } => Box::new(Stepped::new(Values::new(rows, output, place, bytes).expect(checked))),
        Plan::Map { input, filter, project } => {
            let map = Map::new(filter.as_ref(), project, &input.schema(), output, bytes);
            Box::new(Stepped::new(map.expect(checked)))
        }
        Plan::Join { .. } => Box::new(Stepped::new(Join::new(join(node), arrangements).expect(checked))),
        Plan::Reduce { .. } => Box::new(Stepped::new(Reduce::new(reduce(node), place, arrangements))),
        Plan::Distinct { .. } => Box::new(Stepped::new(Distinct::new(distinct::once, output, arrangements))),
        Plan::Threshold { .. } => Box::new(Stepped::new(Distinct::new(distinct::threshold, output, arrangements))),
        Plan::Scan { .. } | Plan::Union { .. } | Plan::Negate { .. } => unreachable!("linear nodes are the host's"),
    }
}

fn join(node: &Node) -> join::JoinSpec<'_> {
    let Plan::Join { kind, left, right, keys, null_equal, residual } = &node.operator else {
        unreachable!("called for joins");
    };
    let inputs = [left.schema(), right.schema()];
    let residual = residual.as_ref();
    join::JoinSpec { kind: *kind, inputs, keys, null_equal: *null_equal, residual, output: node.schema() }
}

fn reduce(node: &Node) -> reduce::ReduceSpec<'_> {
    let Plan::Reduce { input, group, aggregates } = &node.operator else { unreachable!("called for reduces") };
    reduce::ReduceSpec { input, group, aggregates, output: node.schema() }
}
