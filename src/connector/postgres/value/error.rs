//! Texts that cannot be held.

use std::borrow::Cow;

/// Why a text cannot be held. No values in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    pub sqlstate: &'static str,
    pub message: Cow<'static, str>,
}

impl ValueError {
    /// 22P02: not the text of any value of the type.
    pub(super) fn invalid(kind: &'static str) -> Self {
        Self { sqlstate: "22P02", message: format!("invalid text for type {kind}").into() }
    }

    /// A value of the type, but not one we can hold.
    pub(super) fn new(sqlstate: &'static str, message: &'static str) -> Self {
        Self { sqlstate, message: message.into() }
    }
}

/// A SQL_ASCII database can send anything.
pub(super) fn utf8(text: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(text).map_err(|_| ValueError::new("22021", "text is not valid UTF-8"))
}
