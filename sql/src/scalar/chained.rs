//! A chain as it is run: every operand is evaluated over the input, every step over the value so far and its operand.

use super::body::typed;
use crate::error::Result;
use crate::types::{Column, Type};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use std::fmt;
use std::sync::Arc;

/// The columns of a step.
pub const SO_FAR: usize = 0;
pub const OPERAND: usize = 1;

/// What a step sees: the value so far and its operand, if that is not part of it.
pub fn columns(so_far: &Type, operand: Option<&Type>) -> Vec<Column> {
    let column = |name: &str, kind: &Type| Column { name: name.into(), kind: kind.clone(), nullable: true };
    std::iter::once(column("so far", so_far)).chain(operand.map(|kind| column("operand", kind))).collect()
}

/// The same for DataFusion's expressions.
pub fn schema(so_far: &Type, operand: Option<&Type>) -> Result<DFSchema> {
    let fields: Vec<Field> = columns(so_far, operand).iter().map(Column::field).collect();
    Ok(DFSchema::from_unqualified_fields(fields.into(), Default::default())?)
}

/// Compiled steps.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Steps(pub(super) Vec<(SchemaRef, Arc<dyn PhysicalExpr>)>);

impl Steps {
    /// The value after step `index`.
    pub(super) fn take(&self, index: usize, so_far: ArrayRef, operand: Option<ArrayRef>) -> DataFusionResult<ArrayRef> {
        let (schema, step) = &self.0[index];
        let rows = so_far.len();
        let columns = std::iter::once(so_far).chain(operand).zip(schema.fields());
        let columns = columns.map(|(column, field)| typed(column, field.data_type())).collect::<Result<_, _>>()?;
        step.evaluate(&RecordBatch::try_new(schema.clone(), columns)?)?.into_array(rows)
    }
}

/// A stored chain, compiled.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Chained {
    /// The first value, then those of the links.
    pub(super) operands: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) steps: Arc<Steps>,
    /// Step and, if it has one, operand of each link.
    pub(super) links: Vec<(usize, Option<usize>)>,
    pub(super) kind: DataType,
}

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for Chained {
    fn return_field(&self, _: &Schema) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new("chain", self.kind.clone(), true)))
    }

    fn data_type(&self, _: &Schema) -> DataFusionResult<DataType> {
        Ok(self.kind.clone())
    }

    fn nullable(&self, _: &Schema) -> DataFusionResult<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let rows = batch.num_rows();
        let mut so_far = self.operands[0].evaluate(batch)?.into_array(rows)?;
        for (step, operand) in &self.links {
            let operand =
                operand.map(|operand| self.operands[operand].evaluate(batch)?.into_array(rows)).transpose()?;
            so_far = self.steps.take(*step, so_far, operand)?;
        }
        Ok(ColumnarValue::Array(so_far))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.operands.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        operands: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let (steps, links, kind) = (self.steps.clone(), self.links.clone(), self.kind.clone());
        Ok(Arc::new(Self { operands, steps, links, kind }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("chain(")?;
        for (index, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}
