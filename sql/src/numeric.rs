//! Unconstrained `numeric`: exact to 38 significant digits, with Postgres' display scale, NaN and infinities.
//!
//! 21 bytes, in an order-preserving layout so that Arrow's byte comparison sorts values (ties: display scale):
//! class (1 byte: -inf, negative, zero, positive, +inf, NaN, ascending as Postgres sorts), exponent (2 bytes) and
//! 38-digit normalised coefficient (16 bytes), both complemented for negatives, then display scale (2 bytes, 0..=16383).
//! The first 19 bytes are the value: equal values have equal first 19 bytes whatever their display scale.
//!
//! Trailing zeros are no significant digits. A result that would need more than 38 is SQLSTATE 22003, never rounded away
//! silently; division and friends round to the scale Postgres chooses first.

mod arithmetic;
mod array;
mod sum;
mod text;
mod transcendental;
mod value;

pub use array::{Numbers, build, from_column, key, to_column};
pub use sum::Sum;
pub use transcendental::exact;
pub(crate) use value::overflow;
pub use value::{DIGITS, MAX_SCALE, Numeric, VALUE_WIDTH, WIDTH};
