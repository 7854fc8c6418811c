//! What every store refuses: paths that lead out of it, and objects that are cut short.

use crate::error::{Error, Result};
use std::ops::Range;

/// Refuses what could leave the store's root; paths in manifests come from outside.
pub(super) fn checked(path: &str) -> Result<&str> {
    let fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    if path.split('/').all(fine) {
        return Ok(path);
    }
    Err(Error::Invalid(format!("{path:?} is not the path of an object")))
}

/// A read answered with other than the bytes asked for.
pub(super) fn short(path: &str, range: &Range<u64>, got: u64) -> Error {
    Error::Corrupt(format!(
        "{path}: bytes {}..{} asked for, {got} there: the object is cut short",
        range.start, range.end
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_store() {
        for path in ["", "/etc/passwd", "data/../../x", "data//x", "data/.hidden", "..", "a\\b"] {
            assert!(matches!(checked(path), Err(Error::Invalid(_))), "{path:?}");
        }
        assert_eq!(checked("data/1-x.runs").unwrap(), "data/1-x.runs");
    }
}
