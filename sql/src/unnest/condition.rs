//! A subquery that is a condition by itself, or its opposite: rows of the source that have a match, or have none, and no column of that.

use super::make::{Numbers, not};
use super::source::Source;
use super::value::{Match, exists, negated, some, value};
use super::walk::{columns, names_any};
use crate::bound::{Bound, Form, Join, Subquery};

/// Keeps the rows of `source` for which `subquery` is true, or false if `opposite`. Nothing in its comparison is a subquery.
pub fn condition(subquery: Subquery, opposite: bool, source: &mut Source, numbers: &mut Numbers) -> Bound<()> {
    if source.is_single(&subquery.rows) {
        return by_value(subquery, opposite, source, numbers);
    }
    let kind = if opposite { Join::Anti } else { Join::Semi };
    match subquery.form {
        Form::Exists => {
            let pairs = source.pairs(some(&subquery.rows), numbers)?;
            let own = columns(&pairs.rows);
            if pairs.on.iter().any(|on| names_any(on, &own)) {
                source.join(kind, pairs.rows, pairs.on);
                return Ok(());
            }
            // As many for every row: they are counted once.
            let found = exists(&subquery.rows, source, numbers)?;
            source.filter(if opposite { not(found) } else { found });
            Ok(())
        }
        Form::Any(comparison) => {
            let pairs = source.pairs(&subquery.rows, numbers)?;
            matched(Match::new(comparison, pairs)?, opposite, source, numbers)
        }
        Form::All(comparison) => {
            let pairs = source.pairs(&subquery.rows, numbers)?;
            matched(Match::new(negated(comparison), pairs)?, !opposite, source, numbers)
        }
        Form::Scalar | Form::Array => by_value(subquery, opposite, source, numbers),
    }
}

fn by_value(subquery: Subquery, opposite: bool, source: &mut Source, numbers: &mut Numbers) -> Bound<()> {
    let value = value(subquery, source, numbers)?;
    source.filter(if opposite { not(value) } else { value });
    Ok(())
}

/// That a comparison is true of some pair, or false of all: then it must not be NULL of any either.
fn matched(found: Match, opposite: bool, source: &mut Source, numbers: &mut Numbers) -> Bound<()> {
    if !opposite {
        let (rows, on) = found.found();
        source.join(Join::Semi, rows, on);
        return Ok(());
    }
    let (rows, on) = if found.is_known(source) {
        found.found()
    } else if let Some(counts) = found.counts(source, numbers)? {
        source.filter(not(counts.leave_open()?));
        found.found()
    } else {
        found.open()
    };
    source.join(Join::Anti, rows, on);
    Ok(())
}
