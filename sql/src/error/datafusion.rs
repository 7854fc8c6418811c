//! DataFusion's and Arrow's errors as Postgres would have said them.
//!
//! Our own errors travel through DataFusion as `External` and come out unchanged. Messages of theirs that may hold values of
//! rows (failed casts, failed functions) are replaced; planning errors speak of the query's text only and keep theirs.

use super::Error;
use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<Error> for ArrowError {
    fn from(error: Error) -> Self {
        ArrowError::ExternalError(Box::new(error))
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        from_arrow(&error)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        from_datafusion(error)
    }
}

/// The SQL error that `error` carries or amounts to.
pub fn from_datafusion(error: DataFusionError) -> Error {
    convert(&error)
}

fn convert(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => from_boxed(inner.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => convert(inner),
        DataFusionError::Shared(inner) => convert(inner),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| Error::internal("empty collection of errors"), convert)
        }
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::SQL(inner, _) => Error::syntax(clean(&inner.to_string())),
        DataFusionError::NotImplemented(message) => unsupported(message),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::Plan(message) => from_plan(message),
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::Configuration(message) => Error::new("22023", clean(message)),
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::IoError(inner) => Error::io(inner, inner.to_string()),
        other => Error::internal(clean(&other.strip_backtrace())),
    }
}

fn from_boxed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(theirs) = error.downcast_ref::<DataFusionError>() {
        return convert(theirs);
    }
    match error.downcast_ref::<ArrowError>() {
        Some(theirs) => from_arrow(theirs),
        None => Error::internal(error.to_string()),
    }
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => from_boxed(inner.as_ref()),
        ArrowError::IoError(message, inner) => Error::io(inner, clean(message)),
        ArrowError::DivideByZero => Error::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(_) => Error::new("22003", "value out of range"),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            let range =
                message.contains("out of range") || message.contains("too large") || message.contains("overflow");
            match range {
                true => Error::new("22003", "value out of range"),
                false => Error::new("22P02", "invalid input syntax"),
            }
        }
        ArrowError::InvalidArgumentError(message) if message.contains("precision") => {
            Error::new("22003", "numeric field overflow")
        }
        ArrowError::NotYetImplemented(message) => unsupported(message),
        ArrowError::OffsetOverflowError(_) => Error::new("54000", "a part of the query is too large")
            .detail("One of its columns has more than 2 GB in rows that are needed together.")
            .hint("Select fewer rows, or fewer of their long values."),
        other => Error::internal(clean(&other.to_string())),
    }
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => match &field.relation {
            Some(relation) if valid_fields.iter().all(|valid| valid.relation.as_ref() != Some(relation)) => {
                Error::new("42P01", format!("missing FROM-clause entry for table \"{}\"", relation.table()))
            }
            Some(relation) => Error::new("42703", format!("column {}.{} does not exist", relation.table(), field.name)),
            None => Error::new("42703", format!("column \"{}\" does not exist", field.name)),
        },
        SchemaError::AmbiguousReference { field } => {
            Error::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new("42701", format!("column name \"{name}\" specified more than once"))
        }
    }
}

/// What DataFusion has no plan for. Its messages may hold parts of plans; those it builds are named as they are written.
pub fn unsupported(message: &str) -> Error {
    const LOGICAL: &str = "Physical plan does not support logical expression ";
    let message = clean(message);
    match message.strip_prefix(LOGICAL) {
        Some(dump) => Error::unsupported(format!("{} here", written(dump))),
        None if message.contains("LIMIT expression") || message.contains("OFFSET expression") => {
            Error::unsupported("such an expression of LIMIT or OFFSET")
        }
        None if holds_plan(&message) => Error::unsupported("such an expression here"),
        None => Error::new("0A000", message),
    }
}

/// Errors of planning that are neither the query's fault nor in words that its author knows.
pub fn unplanned(message: &str) -> Option<Error> {
    if message.contains("Internal error") {
        return Some(Error::internal(clean(message)));
    }
    if message.contains("subquery can only be used in") {
        let correlated = message.starts_with("Correlated scalar");
        let what = if correlated { "a correlated scalar subquery" } else { "EXISTS or IN (subquery)" };
        return Some(Error::unsupported(format!("{what} here")));
    }
    // Of numbers that are computed: others are looked at before.
    for (begin, state, clause) in [("LIMIT must be", "2201W", "LIMIT"), ("OFFSET must be", "2201X", "OFFSET")] {
        if message.starts_with(begin) {
            return Some(Error::new(state, format!("{clause} must not be negative")));
        }
    }
    if message.contains("Invalid window frame: frame offsets for RANGE") {
        return Some(Error::unsupported("RANGE with an offset that is no number"));
    }
    message.contains("<subquery>").then(|| Error::unsupported("such an expression here"))
}

fn holds_plan(message: &str) -> bool {
    ["<subquery>", "Literal(", "Column(", "ScalarFunction(", " { "].iter().any(|part| message.contains(part))
}

/// DataFusion's expression in SQL's words.
fn written(dump: &str) -> &'static str {
    match dump.split(['(', ' ']).next().unwrap_or_default() {
        "ScalarSubquery" => "a scalar subquery",
        "InSubquery" => "IN (subquery)",
        "Exists" => "EXISTS",
        "SetComparison" => "ANY or ALL (subquery)",
        "GroupingSet" => "GROUPING SETS, ROLLUP or CUBE of such expressions",
        "OuterReferenceColumn" => "a column of an outer query",
        "AggregateFunction" => "an aggregate",
        "WindowFunction" => "a window function",
        "Unnest" => "unnest",
        _ => "such an expression",
    }
}

fn from_plan(message: &str) -> Error {
    let message = clean(message);
    if let Some(error) = unplanned(&message) {
        return error;
    }
    if let Some(name) = between(&message, "Invalid function '", "'") {
        return Error::new("42883", format!("function {name} does not exist"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    if let Some(name) = between(&message, "table '", "' not found") {
        let name = name.rsplit('.').next().unwrap_or(name);
        return Error::undefined_relation(name);
    }
    if message.contains("must appear in the GROUP BY") || message.contains("must be in GROUP BY") {
        let column = message.split('"').nth(1).unwrap_or("?");
        return Error::new(
            "42803",
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"),
        );
    }
    if message.contains("Cannot coerce") || message.contains("Cannot infer common argument type") {
        return Error::new("42883", format!("operator does not exist: {message}"));
    }
    if message.contains("Failed to coerce arguments") || message.contains("No function matches") {
        return Error::new("42883", message);
    }
    if message.contains("Cannot automatically convert") || message.contains("must be boolean") {
        return Error::new("42804", message);
    }
    Error::new("42000", message)
}

fn from_execution(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if lower.contains("overflow") || lower.contains("out of range") {
        return Error::new("22003", "value out of range");
    }
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Error::new("22012", "division by zero");
    }
    if lower.contains("returned more than one row") || lower.contains("more than one row") {
        return Error::new("21000", "more than one row returned by a subquery used as an expression");
    }
    Error::new("22000", "a function failed on its arguments")
}

/// A part of a query did not get the memory that it asked for. DataFusion tells how much that was, and the part by the name of its code.
pub fn exhausted(message: &str) -> Error {
    let error = Error::new("53200", "out of memory")
        .hint("Ask for less at once, or again when less is going on, or raise --memory-limit.");
    let told = || {
        let wanted = between(message, "Failed to allocate additional ", " for ")?;
        let held = between(message, " with ", " already allocated")?;
        let left = between(message, " - ", " remain")?;
        Some(format!(
            "A part of the query holds {held} and wants {wanted} more; of what all queries may take {left} are left."
        ))
    };
    error.detail(told().unwrap_or_else(|| clean(message)))
}

fn between<'a>(message: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// The first line without DataFusion's prefixes.
fn clean(message: &str) -> String {
    let mut line = message.lines().next().unwrap_or_default();
    for prefix in
        ["Error during planning: ", "This feature is not implemented: ", "sql parser error: ", "ParserError(\""]
    {
        line = line.strip_prefix(prefix).unwrap_or(line);
    }
    line.trim_end_matches("\")").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
    use std::sync::Arc;

    #[test]
    fn our_errors_come_back_unchanged_from_any_depth() {
        let ours = Error::new("22003", "integer out of range").hint("h");
        let wrapped = ArrowError::ExternalError(Box::new(DataFusionError::from(ours.clone())));
        let wrapped = DataFusionError::from(wrapped).context("while folding");
        assert_eq!(from_datafusion(wrapped), ours);
    }

    #[test]
    fn memory_that_was_not_there_is_told_without_names_of_code() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let theirs = MemoryConsumer::new("AggregateStream[0]").register(&pool).try_grow(2048).expect_err("too much");
        let error = from_datafusion(theirs);
        assert_eq!((error.sqlstate, error.message.as_str()), ("53200", "out of memory"));
        let detail =
            "A part of the query holds 0.0 B and wants 2.0 KB more; of what all queries may take 1000.0 B are left.";
        assert_eq!(error.detail.as_deref(), Some(detail));
    }

    #[test]
    fn plans_do_not_get_into_messages() {
        for (theirs, ours) in [
            ("Physical plan does not support logical expression ScalarSubquery(<subquery>)", "a scalar subquery here"),
            (
                "Physical plan does not support logical expression Exists(Exists { subquery: <subquery> })",
                "EXISTS here",
            ),
            ("Unsupported LIMIT expression: Some(ScalarSubquery(<subquery>))", "such an expression of LIMIT or OFFSET"),
            ("What is this: Literal(Int32(2), None)", "such an expression here"),
        ] {
            let error = from_datafusion(DataFusionError::NotImplemented(theirs.into()));
            assert_eq!((error.sqlstate, error.message), ("0A000", format!("{ours} is not supported")));
        }
        let error = from_datafusion(DataFusionError::Plan("OFFSET must be >=0, '-1' was provided".into()));
        assert_eq!((error.sqlstate, error.message.as_str()), ("2201X", "OFFSET must not be negative"));
        let error = from_datafusion(DataFusionError::Plan("Internal error: Function 'substr' failed".into()));
        assert_eq!(error.sqlstate, "XX000");
        let error = from_datafusion(DataFusionError::Plan(
            "Correlated scalar subquery can only be used in Projection, Filter, Aggregate plan nodes".into(),
        ));
        assert_eq!(error.message, "a correlated scalar subquery here is not supported");
    }

    #[test]
    fn values_of_rows_do_not_get_into_messages() {
        let cast = ArrowError::CastError("Cannot cast string 'secret' to value of Int32 type".into());
        let error = Error::from(cast);
        assert_eq!((error.sqlstate, error.message.as_str()), ("22P02", "invalid input syntax"));
        let execution = from_datafusion(DataFusionError::Execution("bad value: secret".into()));
        assert!(!execution.message.contains("secret"));
    }
}
