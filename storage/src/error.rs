//! Errors sorted by what the caller must do.

use thiserror::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Error)]
pub enum Error {
    /// The store did not answer or answered "later": try again, nothing is lost.
    #[error("object store unavailable: {0}")]
    Retry(String),
    /// Another process owns the store: stop at once, acknowledge nothing more.
    #[error("fenced: {0}")]
    Fenced(String),
    /// What was read is damaged or written by a newer Weir: stop and name it, never guess.
    #[error("{0}")]
    Corrupt(String),
    /// The store itself is gone, or is not the one that was opened: stop at once, nothing that is written counts.
    #[error("{0}")]
    Lost(String),
    /// The caller or the operator asked for something that cannot be: explain and stop.
    #[error("{0}")]
    Invalid(String),
    /// A row would be there more often than a weight can say: the relation that holds it cannot go on (SQLSTATE 22003).
    #[error("bigint out of range: there are more equal rows than can be counted")]
    Range,
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::Corrupt(error.to_string())
    }
}
