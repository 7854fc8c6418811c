//! What a function is, and what it is given when it is called.

use crate::error::{Error, Result};
use crate::room;
use crate::types::Type;
use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use std::fmt;

/// A scalar function or operator.
pub struct Definition {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The types of arguments and result for what was given; `None` is an untyped NULL or string literal.
    pub resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    pub call: fn(&Call) -> Result<ArrayRef>,
    /// NULL exactly where an argument is NULL.
    pub strict: bool,
    /// Whether rows can fail. Guards are only needed for what can.
    pub fallible: bool,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

pub struct Resolved {
    pub arguments: Vec<Type>,
    pub result: Type,
}

/// One evaluation: columns and constants side by side.
pub struct Call<'a> {
    pub arguments: &'a [ColumnarValue],
    /// Rows of the result; 1 if every argument is constant.
    pub rows: usize,
    pub result: &'a Type,
}

impl Call<'_> {
    /// Argument `index` as a column of `rows` rows.
    pub fn column(&self, index: usize) -> Result<ArrayRef> {
        if let ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) = &self.arguments[index] {
            room::check(text.len().saturating_mul(self.rows))?;
        }
        Ok(self.arguments[index].to_array(self.rows)?)
    }

    /// Argument `index` as an array of one row if it is constant, and whether it is.
    pub fn operand(&self, index: usize) -> Result<(ArrayRef, bool)> {
        Ok(match &self.arguments[index] {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        })
    }
}

/// Text in any of its types, or a string literal.
pub(super) fn is_text(kind: &Option<Type>) -> bool {
    kind.as_ref().is_none_or(Type::is_text)
}

/// 42883 for an operator or function that does not take these types.
pub(crate) fn undefined(name: &str, given: &[Option<Type>]) -> Error {
    let shown: Vec<_> = given.iter().map(|kind| kind.as_ref().map_or("unknown".into(), Type::to_string)).collect();
    let message = match (is_sign(name), &shown[..]) {
        (true, [left, right]) => format!("operator does not exist: {left} {name} {right}"),
        _ => format!("function {name}({}) does not exist", shown.join(", ")),
    };
    Error::new("42883", message)
        .hint("No function or operator matches the given types. You might need to add explicit type casts.")
}

/// Whether it is an operator, which is written between its operands.
pub(super) fn is_sign(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}
