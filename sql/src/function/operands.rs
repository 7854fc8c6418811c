//! Both sides of an operator, row by row.

use crate::error::Result;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::compute::{try_binary, try_unary};
use arrow::error::ArrowError;

/// A constant is an array of one row.
pub(super) struct Operands {
    pub left: ArrayRef,
    pub right: ArrayRef,
    pub left_constant: bool,
    pub right_constant: bool,
    pub rows: usize,
}

impl Operands {
    /// `f` on every pair of values that are both there.
    pub fn pairs<L, R, O>(
        &self,
        left: &PrimitiveArray<L>,
        right: &PrimitiveArray<R>,
        f: impl Fn(L::Native, R::Native) -> Result<O::Native, ArrowError>,
    ) -> Result<PrimitiveArray<O>>
    where
        L: ArrowPrimitiveType,
        R: ArrowPrimitiveType,
        O: ArrowPrimitiveType,
    {
        match (self.left_constant, self.right_constant) {
            (true, _) if left.is_null(0) => Ok(PrimitiveArray::new_null(self.rows)),
            (_, true) if right.is_null(0) => Ok(PrimitiveArray::new_null(self.rows)),
            (false, true) => {
                let constant = right.value(0);
                Ok(try_unary(left, |value| f(value, constant))?)
            }
            (true, false) => {
                let constant = left.value(0);
                Ok(try_unary(right, |value| f(constant, value))?)
            }
            _ => Ok(try_binary(left, right, f)?),
        }
    }

    /// Rows of a general `f`, with constants read in place.
    pub fn each<T>(&self, f: impl Fn(usize, usize) -> Result<T>) -> impl ExactSizeIterator<Item = Result<Option<T>>> {
        (0..self.rows).map(move |row| {
            let left = if self.left_constant { 0 } else { row };
            let right = if self.right_constant { 0 } else { row };
            if self.left.is_null(left) || self.right.is_null(right) {
                return Ok(None);
            }
            f(left, right).map(Some)
        })
    }
}
