//! What checks find: all of it in one error, each finding naming the offending thing.

use weir_sql::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationError {
    pub sqlstate: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct ValidationErrors(Vec<ValidationError>);

impl ValidationErrors {
    pub fn add(&mut self, sqlstate: &'static str, message: impl Into<String>) -> &mut ValidationError {
        self.0.push(ValidationError { sqlstate, message: message.into(), hint: None });
        self.0.last_mut().expect("just pushed")
    }

    pub fn extend(&mut self, findings: impl IntoIterator<Item = ValidationError>) {
        self.0.extend(findings);
    }

    /// One finding is the error itself; several are listed in the detail, under the SQLSTATE of the first.
    pub fn result(self, subject: &str) -> Result<()> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let mut hints: Vec<&str> = vec![];
        for hint in self.0.iter().filter_map(|f| f.hint.as_deref()) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        let mut error = match self.0.as_slice() {
            [only] => Error::new(only.sqlstate, &only.message),
            all => {
                let list: Vec<_> = all.iter().map(|f| f.message.as_str()).collect();
                Error::new(first.sqlstate, format!("{} problems with {subject}", all.len())).detail(list.join("\n"))
            }
        };
        if !hints.is_empty() {
            error = error.hint(hints.join("\n"));
        }
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finding_is_the_error_and_several_are_listed() {
        let mut findings = ValidationErrors::default();
        assert!(findings.clone().result("x").is_ok());
        findings.add("42P01", "table \"a\" does not exist");
        assert_eq!(findings.clone().result("x").unwrap_err().message, "table \"a\" does not exist");
        findings.add("0A000", "column \"b\" has type point").hint = Some("Leave it out.".into());
        let error = findings.result("table \"a\"").unwrap_err();
        assert_eq!(error.message, "2 problems with table \"a\"");
        assert_eq!(error.detail.as_deref(), Some("table \"a\" does not exist\ncolumn \"b\" has type point"));
        assert_eq!((error.sqlstate, error.hint.as_deref()), ("42P01", Some("Leave it out.")));
    }
}
