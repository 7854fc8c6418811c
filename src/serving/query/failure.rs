//! DataFusion's errors as Postgres clients read them, with the place in the statement when DataFusion knows it.

use crate::dataflow::errors;
use arrow::array::{AsArray, RecordBatch};
use datafusion::common::DataFusionError;
use std::sync::Arc;
use tokio::task::JoinError;
use weir_sql::{Error, Result};
use weir_storage::Delta;

pub fn failure(error: DataFusionError) -> Error {
    if is_panic(&error) {
        return panicked();
    }
    // A statement's tree has all its places on line 1, as characters.
    let position = error.diagnostic().and_then(|d| d.span).map(|span| span.start.column as usize);
    let mut failure = Error::from(error);
    failure.position = failure.position.or(position);
    failure
}

/// A part of a query failed by a bug of ours. What it said may hold values of rows: only the log has it.
pub fn panicked() -> Error {
    Error::internal("the query failed unexpectedly; the server's log says more")
}

/// DataFusion runs parts of a plan in tasks of their own, and hands on the outcome of one that panicked.
fn is_panic(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => is_panic(inner),
        DataFusionError::Shared(inner) => is_panic(inner),
        DataFusionError::Collection(errors) => errors.iter().any(is_panic),
        DataFusionError::External(inner) => inner.is::<Arc<JoinError>>() || inner.is::<JoinError>(),
        DataFusionError::ExecutionJoin(_) => true,
        _ => false,
    }
}

/// Columns of the error Z-set: operator, expression, sqlstate, message, key.
pub fn first_error(deltas: impl Iterator<Item = weir_storage::Result<Delta>>, relation: &str) -> Result<Option<Error>> {
    let text =
        |rows: &RecordBatch, column: usize, row: usize| rows.column(column).as_string::<i32>().value(row).to_string();
    for delta in deltas {
        let delta = delta.map_err(|e| Error::internal(e.to_string()))?;
        let Some(row) = delta.weights().iter().position(|w| *w > 0) else { continue };
        let rows = delta.rows();
        assert_eq!(rows.num_columns(), errors::SCHEMA.fields().len(), "an error Z-set's shape");
        let detail = format!(
            "A row of relation \"{relation}\" could not be computed: {} in {}.",
            text(rows, 1, row),
            text(rows, 0, row)
        );
        return Ok(Some(
            Error::new(Error::sqlstate(&text(rows, 2, row)), text(rows, 3, row))
                .detail(detail)
                .hint("Change or delete the offending row upstream; the relation is readable again at once."),
        ));
    }
    Ok(None)
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
