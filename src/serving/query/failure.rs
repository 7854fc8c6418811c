//! DataFusion's errors as Postgres clients read them, with the place in the statement when DataFusion knows it.

use datafusion::common::DataFusionError;
use weir_sql::Error;

pub fn failure(error: DataFusionError) -> Error {
    // A statement's tree has all its places on line 1, as characters.
    let position = error.diagnostic().and_then(|d| d.span).map(|span| span.start.column as usize);
    let mut failure = Error::from(error);
    failure.position = failure.position.or(position);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::{Diagnostic, Location, Span};

    #[test]
    fn the_place_comes_from_the_diagnostic() {
        let span = Span::new(Location { line: 1, column: 8 }, Location { line: 1, column: 12 });
        let error = DataFusionError::Plan("Invalid function 'nope'".into());
        let error = error.with_diagnostic(Diagnostic::new_error("Invalid function", Some(span)));
        let failure = failure(error);
        assert_eq!((failure.sqlstate, failure.position), ("42883", Some(8)));
    }
}
