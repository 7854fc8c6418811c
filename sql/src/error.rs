//! Errors as Postgres clients read them.

mod datafusion;

pub use self::datafusion::from_datafusion;

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A SQL error: five-letter SQLSTATE, message, and where there is one detail, hint and position.
/// Never holds row values or secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// 1-based character in the statement's text.
    pub position: Option<usize>,
}

impl Error {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, position: None }
    }

    /// 0A000: understood but cannot be done (yet). `construct` is named.
    pub fn unsupported(construct: impl fmt::Display) -> Self {
        Self::new("0A000", format!("{construct} is not supported"))
    }

    /// 42601
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }

    /// 42P01
    pub fn undefined_relation(name: &str) -> Self {
        Self::new("42P01", format!("relation \"{name}\" does not exist"))
    }

    /// XX000: our bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)
    }
}

impl std::error::Error for Error {}
