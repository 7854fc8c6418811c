//! Stored scalar expressions, and their evaluation that turns a failing row into an error instead of failing the batch.

use crate::error::Result;
use crate::types::Type;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

/// An expression over the columns of one input, in Weir's own stable encoding: no name of DataFusion's is stored except
/// through our function names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Scalar {
    Column { index: usize, kind: Type },
    // the owner of this file completes the enum: Literal, Call, Cast, Case, And, Or, Not, IsNull, ...
}

impl Scalar {
    pub fn kind(&self) -> Type {
        match self {
            Scalar::Column { kind, .. } => kind.clone(),
        }
    }

    /// Lowers a logical DataFusion expression (after type coercion and our rewrites) whose columns are those of `schema`.
    /// What cannot be stored is 0A000, named.
    pub fn from_logical(
        expr: &datafusion::logical_expr::Expr,
        schema: &datafusion::common::DFSchema,
    ) -> Result<Scalar> {
        let _ = (expr, schema);
        todo!()
    }
}

/// Compiled expressions over one input shape.
pub struct Program {
    // private: physical expressions
}

/// One row that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub row: usize,
    /// As EXPLAIN prints it.
    pub expression: String,
    pub sqlstate: &'static str,
    pub message: String,
}

pub struct Evaluated {
    /// One array per expression, over the rows that did not fail, in order.
    pub columns: Vec<ArrayRef>,
    /// The rows that are in `columns`; `None` means all of them.
    pub rows: Option<Vec<u32>>,
    /// At most one failure per row: the first expression that failed.
    pub failures: Vec<Failure>,
}

impl Program {
    pub fn compile(expressions: &[Scalar], input: &SchemaRef) -> Result<Self> {
        let _ = (expressions, input);
        todo!()
    }

    /// Evaluates all expressions on all rows. A batch that fails is halved until the failing rows are alone.
    pub fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        let _ = rows;
        todo!()
    }
}
