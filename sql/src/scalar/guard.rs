//! AND, OR and COALESCE that evaluate an operand only on the rows where the ones before it leave the result open, so that
//! `a <> 0 AND b / a > 1` does not fail where a is 0.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    And,
    Or,
    Coalesce,
}

/// Operands from left to right, each only where it matters.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    kind: Kind,
    operands: Vec<Arc<dyn PhysicalExpr>>,
}

impl Guard {
    pub fn new(kind: Kind, operands: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Self { kind, operands }
    }

    /// Rows whose result an operand with these values leaves open.
    fn open(&self, so_far: &ArrayRef) -> Result<BooleanArray> {
        Ok(match self.kind {
            Kind::Coalesce => is_null(so_far)?,
            Kind::And => undecided(so_far.as_boolean(), false)?,
            Kind::Or => undecided(so_far.as_boolean(), true)?,
        })
    }

    /// `so_far` with the values of the next operand where they matter; its other rows hold anything.
    fn join(&self, so_far: &ArrayRef, next: &ArrayRef, open: &BooleanArray) -> Result<ArrayRef> {
        Ok(match self.kind {
            Kind::Coalesce => zip(open, next, so_far)?,
            Kind::And => {
                let joined = and_kleene(so_far.as_boolean(), next.as_boolean())?;
                zip(open, &joined, so_far)?
            }
            Kind::Or => {
                let joined = or_kleene(so_far.as_boolean(), next.as_boolean())?;
                zip(open, &joined, so_far)?
            }
        })
    }
}

/// Where `values` is not `decision`.
fn undecided(values: &BooleanArray, decision: bool) -> Result<BooleanArray> {
    // NULL is open: the next operand may decide.
    let decided = if decision { values.clone() } else { not(values)? };
    let decided = match decided.null_count() {
        0 => decided,
        _ => BooleanArray::new(decided.values() & is_not_null(&decided)?.values(), None),
    };
    Ok(not(&decided)?)
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for Guard {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.operands[0].return_field(schema)
    }

    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.operands[0].data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        let mut operands = self.operands.iter().map(|operand| operand.nullable(schema));
        match self.kind {
            Kind::Coalesce => operands.try_fold(true, |all, nullable| Ok(all && nullable?)),
            Kind::And | Kind::Or => operands.try_fold(false, |any, nullable| Ok(any || nullable?)),
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut so_far = self.operands[0].evaluate(batch)?.into_array(batch.num_rows())?;
        for operand in &self.operands[1..] {
            let open = self.open(&so_far)?;
            if !open.has_true() {
                break;
            }
            let next = operand.evaluate_selection(batch, &open)?.into_array(batch.num_rows())?;
            so_far = self.join(&so_far, &next, &open)?;
        }
        Ok(ColumnarValue::Array(so_far))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.operands.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, operands: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { kind: self.kind, operands }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(", self.kind)?;
        for (index, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}
