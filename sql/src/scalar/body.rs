//! An expression over columns of its own as it is run: once for all that name its values.

use super::stack::on_stack;
use crate::types::{Column, Type};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// An expression over columns of its own, compiled.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) schema: SchemaRef,
    pub(super) physical: Arc<dyn PhysicalExpr>,
    pub(super) deep: bool,
}

impl Body {
    pub fn evaluate(&self, values: Vec<ArrayRef>, rows: usize) -> DataFusionResult<ArrayRef> {
        let values = values.into_iter().zip(self.schema.fields());
        let values = values.map(|(value, field)| typed(value, field.data_type())).collect::<Result<_, _>>()?;
        let rows_are = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), values, &rows_are)?;
        let run = || self.physical.evaluate(&batch)?.into_array(rows);
        on_stack(self.deep, run)
    }

    /// Whether it can be NULL, of arguments that can or cannot.
    pub fn nullable(&self, arguments: &[bool]) -> DataFusionResult<bool> {
        let fields = self.schema.fields().iter().zip(arguments);
        let fields = fields.map(|(field, nullable)| field.as_ref().clone().with_nullable(*nullable));
        self.physical.nullable(&Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        (&self.schema, &self.physical) == (&other.schema, &other.physical)
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.schema.hash(state);
    }
}

/// What a body sees.
pub(super) fn columns(kinds: &[Type]) -> Vec<Column> {
    let column = |(index, kind): (usize, &Type)| Column { name: index.to_string(), kind: kind.clone(), nullable: true };
    kinds.iter().enumerate().map(column).collect()
}

/// DataFusion has several Arrow types for some of ours.
pub(super) fn typed(column: ArrayRef, kind: &DataType) -> DataFusionResult<ArrayRef> {
    match column.data_type() == kind {
        true => Ok(column),
        false => Ok(cast_with_options(&column, kind, &CastOptions { safe: false, ..Default::default() })?),
    }
}

/// A stored [`Scalar::Let`], compiled.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Let {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    body: Arc<Body>,
}

impl Let {
    pub fn new(arguments: Vec<Arc<dyn PhysicalExpr>>, body: Body) -> Self {
        Self { arguments, body: Arc::new(body) }
    }
}

impl fmt::Display for Let {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for Let {
    fn data_type(&self, _: &Schema) -> DataFusionResult<DataType> {
        self.body.physical.data_type(&self.body.schema)
    }

    fn nullable(&self, input: &Schema) -> DataFusionResult<bool> {
        let arguments: Vec<bool> = self.arguments.iter().map(|part| part.nullable(input)).collect::<Result<_, _>>()?;
        self.body.nullable(&arguments)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let rows = batch.num_rows();
        let values = self.arguments.iter().map(|part| part.evaluate(batch)?.into_array(rows));
        Ok(ColumnarValue::Array(self.body.evaluate(values.collect::<Result<_, _>>()?, rows)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.arguments.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { arguments, body: self.body.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("let(")?;
        for (index, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}
