//! DataFusion's errors as Postgres clients read them: SQLSTATE, Postgres' words where it has them, and a position.

use crate::error::Error;
use crate::error::datafusion::{exhausted, unplanned, unsupported};
use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

pub fn of(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(ours) => match ours.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::internal(other.to_string()),
        },
        DataFusionError::Diagnostic(diagnostic, cause) => {
            let error = of(*cause);
            // Only trees of our own parser have all their places on line 1; see `statement::Parsed`.
            match diagnostic.span.filter(|span| span.start.line == 1 && error.position.is_none()) {
                Some(span) => error.at(span.start.column as usize),
                None => error,
            }
        }
        DataFusionError::Context(_, cause) => of(*cause),
        DataFusionError::Shared(cause) => shared(&cause),
        DataFusionError::Collection(mut causes) if !causes.is_empty() => of(causes.swap_remove(0)),
        DataFusionError::SchemaError(error, _) => schema(&error),
        DataFusionError::Plan(message) => plan(&message),
        DataFusionError::NotImplemented(message) => unsupported(&message),
        DataFusionError::SQL(error, _) => Error::syntax(error.to_string()),
        DataFusionError::ArrowError(error, _) => arrow(&error),
        DataFusionError::ResourcesExhausted(message) => exhausted(&message),
        DataFusionError::Execution(message) => Error::new("22000", first_line(&message)),
        other => Error::internal(first_line(&other.to_string())),
    }
}

pub fn undefined_function(name: &str) -> Error {
    Error::new("42883", format!("function {name} does not exist"))
}

/// A shared error cannot be taken apart, its texts can be read.
fn shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(ours) => match ours.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => Error::internal(ours.to_string()),
        },
        DataFusionError::Diagnostic(_, cause) | DataFusionError::Context(_, cause) => shared(cause),
        DataFusionError::Shared(cause) => shared(cause),
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::Plan(message) => plan(message),
        DataFusionError::NotImplemented(message) => unsupported(message),
        DataFusionError::ArrowError(error, _) => arrow(error),
        other => Error::internal(first_line(&other.to_string())),
    }
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => undefined_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            Error::new("42712", format!("table name \"{}\" specified more than once", qualifier.table()))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new("42701", format!("column \"{name}\" specified more than once"))
        }
    }
}

fn undefined_column(field: &Column, valid: &[Column]) -> Error {
    let Some(table) = &field.relation else {
        return Error::new("42703", format!("column \"{}\" does not exist", field.name));
    };
    if valid.iter().any(|v| v.relation.as_ref().is_some_and(|r| r.table() == table.table())) {
        return Error::new("42703", format!("column {}.{} does not exist", table.table(), field.name));
    }
    Error::new("42P01", format!("missing FROM-clause entry for table \"{}\"", table.table()))
}

/// DataFusion has one kind of error for everything that planning finds; its texts tell them apart.
fn plan(message: &str) -> Error {
    let message = first_line(message);
    if let Some(name) = message.strip_prefix("Invalid function '").and_then(|m| m.split('\'').next()) {
        return undefined_function(name);
    }
    if let Some(error) = unplanned(&message) {
        return error;
    }
    let has = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let state = if has(&["orrelated", "outer reference", "Unsupported Subquery"]) {
        return Error::unsupported("this correlated subquery").detail(message);
    } else if has(&["GROUP BY", "aggregate function"]) {
        "42803"
    } else if has(&["Projections require unique expression names"]) {
        "42701"
    } else if has(&["oerc", "argument type", "signature", "operator", "No function matches"]) {
        "42883"
    } else if has(&["data type", "types", "Boolean"]) {
        "42804"
    } else {
        "42000"
    };
    Error::new(state, message)
}

fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(_) => Error::new("22003", "value out of range"),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => Error::new("22P02", first_line(message)),
        ArrowError::NotYetImplemented(message) => unsupported(message),
        other => Error::internal(first_line(&other.to_string())),
    }
}

/// What follows are hints for DataFusion's users.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_end().to_string()
}
