//! The incremental plan: what a view does, in nodes that each have a one-sentence definition over Z-sets.
//!
//! Stored in the catalog as JSON with [`VERSION`], see [`stored`]; an unknown node, kind or flag refuses to decode. Every node's
//! output is a pair of Z-sets, rows and errors; the definitions below speak of rows, errors of the inputs are always passed on.

mod stored;

use crate::aggregate::Function;
use crate::catalog::RelationId;
use crate::scalar::Scalar;
use crate::types::Column;
use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Raised when the meaning of anything stored changes, or how it is stored.
pub const VERSION: u32 = 2;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "stored::Read")]
pub struct Plan {
    pub root: Node,
    /// A unique key of the root's rows, derived from what the engine enforces; the view is stored by it (else as a bag).
    pub key: Option<Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub operator: Operator,
    /// Shape of the output rows.
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub enum Operator {
    /// The rows of a relation, some columns of it.
    Scan { relation: RelationId, name: String, projection: Vec<usize> },
    /// Literal rows, each once.
    Values { rows: Vec<Vec<Scalar>> },
    /// Rows for which `filter` is true, projected. A row whose expression fails is not in the output; the failure is an error.
    Map { input: Box<Node>, filter: Option<Scalar>, project: Vec<Scalar> },
    /// Pairs of rows that agree on the keys and satisfy `residual` (over left columns then right columns).
    Join {
        kind: JoinKind,
        left: Box<Node>,
        right: Box<Node>,
        /// Column indices (left, right); empty is a cross join, only planned where one side has at most one row.
        keys: Vec<(usize, usize)>,
        /// NULL keys match NULL keys (IS NOT DISTINCT FROM, INTERSECT).
        null_equal: bool,
        residual: Option<Scalar>,
    },
    /// One row per group: the group's columns, then one value per aggregate. Without group columns there is always one row.
    Reduce { input: Box<Node>, group: Vec<usize>, aggregates: Vec<Aggregate> },
    /// Every row with a positive weight, once.
    Distinct { input: Box<Node> },
    /// The sum of the inputs.
    Union { inputs: Vec<Node> },
    /// Every weight negated.
    Negate { input: Box<Node> },
    /// Rows of positive weight, with that weight (EXCEPT ALL).
    Threshold { input: Box<Node> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows that have a match / have none; output is the left columns.
    Semi,
    Anti,
    /// Left rows plus a boolean column: has a match.
    Mark,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    pub function: Function,
    /// Column of the input; `None` is count(*).
    pub argument: Option<usize>,
    pub distinct: bool,
    /// A boolean column of the input: FILTER (WHERE …).
    pub filter: Option<usize>,
    pub output: Column,
}

impl Aggregate {
    /// As in SQL, over an input of `columns`.
    pub fn text(&self, columns: &[Column]) -> String {
        let argument = self.argument.map_or("*", |a| &columns[a].name);
        let distinct = if self.distinct { "distinct " } else { "" };
        let filter = self.filter.map(|f| format!(" filter (where {})", columns[f].name)).unwrap_or_default();
        format!("{}({distinct}{argument}){filter}", self.function)
    }
}

impl Node {
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    pub fn inputs(&self) -> Vec<&Node> {
        match &self.operator {
            Operator::Scan { .. } | Operator::Values { .. } => vec![],
            Operator::Map { input, .. }
            | Operator::Reduce { input, .. }
            | Operator::Distinct { input }
            | Operator::Negate { input }
            | Operator::Threshold { input } => vec![input],
            Operator::Join { left, right, .. } => vec![left, right],
            Operator::Union { inputs } => inputs.iter().collect(),
        }
    }

    /// The relations read, each once, in order of first appearance.
    pub fn relations(&self) -> Vec<RelationId> {
        let mut found = vec![];
        self.visit(&mut |node| {
            if let Operator::Scan { relation, .. } = node.operator
                && !found.contains(&relation)
            {
                found.push(relation);
            }
        });
        found
    }

    /// Parents before children, left before right.
    pub fn visit(&self, f: &mut dyn FnMut(&Node)) {
        f(self);
        for input in self.inputs() {
            input.visit(f);
        }
    }
}
