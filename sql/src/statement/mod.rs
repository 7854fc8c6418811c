//! What a client can say: SQL text to statements. sqlparser reads standard SQL; our DDL is read here on its tokens.
//!
//! In reading order: [`definition`] (the statements), this file (which word begins which), [`text`] (one string to the tokens of
//! each statement), [`dialect`], [`depth`] (what is nested too deeply), [`reader`] (reading tokens, syntax errors with positions),
//! [`chain`] (long expressions made flat), [`mod@call`] (what is written into a tree), [`unsupported`] (what DataFusion would pass
//! over), [`time_travel`] (FOR SYSTEM_TIME AS OF), [`table`] (TABLE t), [`create`] and [`change`] (DDL), [`kind`] (column types),
//! [`session`] (SET, SHOW, BEGIN and their kin).
//!
//! Identifiers fold to lower case unless quoted. Names may be qualified with `public`, the only schema there is.

mod call;
mod chain;
mod change;
pub mod copy;
mod create;
mod definition;
mod depth;
mod dialect;
mod format;
pub mod kind;
mod reader;
mod session;
mod table;
mod text;
mod time_travel;
mod unsupported;

use crate::error::{Error, Result};
pub use call::call;
pub use chain::{CHAIN, Step, is_chain, steps, text as chain_text, written};
use datafusion::sql::sqlparser::ast;
pub use definition::{ObjectKind, Options, Parsed, SourceChange, Statement};
pub use kind::type_name;
use reader::Reader;
pub use text::weight;

/// Splits and parses what a client sent. An error's position is in `sql`; nothing is parsed if one statement is wrong.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let mut parsed = vec![];
    for piece in text::split(sql)? {
        let offset = piece.offset;
        let statement = depth::check(&piece.tokens)
            .and_then(|()| depth::with_room(piece.tokens.len(), || one(Reader::new(piece.tokens, &piece.text))))
            .map_err(|error| Error { position: error.position.map(|position| position + offset), ..error })?;
        parsed.push(Parsed { statement, text: piece.text, offset });
    }
    Ok(parsed)
}

fn one(mut reader: Reader) -> Result<Statement> {
    let statement = statement(&mut reader)?;
    reader.end()?;
    Ok(statement)
}

/// The word a statement begins with decides who reads it.
fn statement(r: &mut Reader) -> Result<Statement> {
    match r.word(0).as_str() {
        "CREATE" => create::create(r),
        "ALTER" => change::alter(r),
        "DROP" => change::drop(r),
        "INSERT" | "UPDATE" | "DELETE" => change::dml(r),
        "EXPLAIN" => explain(r),
        "COPY" => copy::copy(r, parse),
        "REFRESH" => change::refresh(r),
        "FLUSH" => r.skip(1, Statement::Flush),
        "SHOW" => session::show(r),
        "DESCRIBE" | "DESC" => session::describe(r),
        "SET" => session::set(r),
        "RESET" => session::reset(r),
        "BEGIN" | "START" => session::begin(r),
        "COMMIT" | "END" => session::commit(r),
        "ROLLBACK" | "ABORT" => session::rollback(r),
        "SAVEPOINT" => session::savepoint(r),
        "RELEASE" => session::release(r),
        "DISCARD" | "DEALLOCATE" | "LISTEN" | "UNLISTEN" => session::accepted(r),
        "TABLE" => Ok(Statement::Query(r.query()?)),
        _ => Ok(match r.standard()? {
            ast::Statement::Query(query) => Statement::Query(query),
            other => Statement::Other(Box::new(other)),
        }),
    }
}

/// EXPLAIN [VERBOSE] [(option [value], …)] statement.
fn explain(r: &mut Reader) -> Result<Statement> {
    r.expect("EXPLAIN")?;
    if r.word(0) == "ANALYZE" {
        return Err(Error::unsupported("EXPLAIN ANALYZE"));
    }
    let _ = r.accept(&["VERBOSE"]);
    // A parenthesis begins the options or a query in parentheses.
    if r.symbol(0, "(") && !matches!(r.word(1).as_str(), "" | "SELECT" | "WITH" | "VALUES" | "TABLE") {
        r.expect_symbol("(")?;
        r.list(explain_option)?;
        r.expect_symbol(")")?;
    }
    match r.word(0).as_str() {
        "CREATE" | "INSERT" | "UPDATE" | "DELETE" | "SELECT" | "WITH" | "VALUES" | "TABLE" | "" => {
            Ok(Statement::Explain { statement: Box::new(statement(r)?) })
        }
        _ => Err(r.unexpected()),
    }
}

/// An option is honoured or refused. The plan is text; it is what it is verbosely or not, and has no costs that could be left out.
fn explain_option(r: &mut Reader) -> Result<()> {
    let position = r.position();
    let name = r.label()?;
    let value = if r.symbol(0, ",") || r.symbol(0, ")") { None } else { Some(r.value()?.to_lowercase()) };
    let on = match value.as_deref() {
        None | Some("on" | "true" | "1") => Some(true),
        Some("off" | "false" | "0") => Some(false),
        Some(_) => None,
    };
    let shown = name.to_uppercase();
    let refused = |what: String| Err(Error::unsupported(format!("EXPLAIN ({what})")).at(position));
    match (name.as_str(), on) {
        ("format", _) => match value.as_deref() {
            Some("text") => Ok(()),
            Some(format @ ("json" | "xml" | "yaml")) => refused(format!("FORMAT {}", format.to_uppercase())),
            _ => {
                let given = value.unwrap_or_default();
                Err(Error::new("22023", format!("unrecognized value for EXPLAIN option \"format\": \"{given}\""))
                    .at(position))
            }
        },
        ("verbose" | "costs", Some(_)) => Ok(()),
        (
            "analyze" | "buffers" | "generic_plan" | "memory" | "serialize" | "settings" | "summary" | "timing" | "wal",
            Some(on),
        ) => {
            if on {
                refused(shown)
            } else {
                Ok(())
            }
        }
        ("verbose" | "costs" | "analyze" | "buffers" | "settings" | "summary" | "timing" | "wal", None) => {
            Err(Error::syntax(format!("{name} requires a Boolean value")).at(position))
        }
        _ => Err(Error::syntax(format!("unrecognized EXPLAIN option \"{name}\"")).at(position)),
    }
}

#[cfg(test)]
mod tests;
