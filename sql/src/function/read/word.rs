//! A value's text without the blanks around it, and what is said of one that cannot be read.

use crate::error::Error;

pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

pub(super) fn malformed(kind: &str) -> Error {
    Error::new("22P02", format!("invalid input syntax for type {kind}"))
}

pub(super) fn no_date(kind: &str) -> Error {
    Error::new("22007", format!("invalid input syntax for type {kind}"))
}

pub(super) fn field_range() -> Error {
    Error::new("22008", "date/time field value out of range")
}
