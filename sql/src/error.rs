//! Errors as Postgres clients read them.

pub(crate) mod datafusion;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Mutex;

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

    /// 53100 if a disk is full, else 58030.
    pub fn io(error: &io::Error, message: impl Into<String>) -> Self {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Self::new(if is_full { "53100" } else { "58030" }, message)
    }

    /// A code that was read from somewhere, for [`Error::new`]: those live as long as the process, and there are few different ones.
    /// XX000 for what is no SQLSTATE.
    pub fn sqlstate(code: &str) -> &'static str {
        static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if code.len() != 5 || !code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
            return "XX000";
        }
        let mut known = KNOWN.lock().expect("nobody panics holding the codes");
        if let Some(known) = known.get(code) {
            return known;
        }
        let code: &'static str = Box::leak(code.to_string().into_boxed_str());
        known.insert(code);
        code
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_code_of_its_own_however_it_is_told() {
        use ::datafusion::common::DataFusionError;
        use arrow::error::ArrowError;
        for (kind, expected) in [(io::ErrorKind::StorageFull, "53100"), (io::ErrorKind::NotFound, "58030")] {
            let error = || io::Error::from(kind);
            assert_eq!(Error::io(&error(), "it is full").sqlstate, expected);
            for told in [DataFusionError::from(error()), DataFusionError::from(ArrowError::from(error()))] {
                assert_eq!(Error::from(told).sqlstate, expected);
            }
        }
    }

    #[test]
    fn a_malformed_sqlstate_is_an_internal_error() {
        for (code, expected) in [("22012", "22012"), ("22012", "22012"), ("oops", "XX000"), ("abcde", "XX000")] {
            assert_eq!(Error::sqlstate(code), expected);
        }
    }
}
