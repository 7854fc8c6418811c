//! What a client bound to a statement's parameters.

use super::value::parameter;
use super::value::row::Formats;
use bytes::Bytes;
use datafusion::logical_expr::Expr;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

#[derive(Clone, Default)]
pub struct Arguments {
    pub types: Vec<Option<Type>>,
    pub values: Vec<Option<Bytes>>,
    pub formats: Formats,
}

impl Arguments {
    /// One expression per parameter of the plan.
    pub fn expressions(&self, types: &[Type]) -> Result<Vec<Expr>> {
        if types.len() > self.values.len() {
            return Err(Error::new("42P02", format!("there is no parameter ${}", self.values.len() + 1)));
        }
        let one = |(index, kind): (usize, &Type)| {
            parameter::expression(kind, self.formats.code(index), self.values[index].as_deref(), index + 1)
        };
        types.iter().enumerate().map(one).collect()
    }
}
