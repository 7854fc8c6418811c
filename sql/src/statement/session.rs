//! Statements about the session: SHOW, DESCRIBE, SET, transactions, and what is accepted without effect.

use super::change::object_kind;
use super::definition::{ObjectKind, Statement};
use super::reader::Reader;
use crate::error::{Error, Result};

pub fn show(r: &mut Reader) -> Result<Statement> {
    r.expect("SHOW")?;
    let lists: [(&[&str], ObjectKind); 3] = [
        (&["TABLES"], ObjectKind::Table),
        (&["SOURCES"], ObjectKind::Source),
        (&["MATERIALIZED", "VIEWS"], ObjectKind::MaterializedView),
    ];
    if let Some((_, kind)) = lists.into_iter().find(|(words, _)| r.accept(words)) {
        if r.accept(&["FROM"]) {
            in_public(r)?;
        }
        return Ok(Statement::ShowObjects(kind));
    }
    if r.accept(&["CREATE"]) {
        let kind = object_kind(r).ok_or_else(|| r.unexpected())?;
        return Ok(Statement::ShowCreate { kind, name: r.name()? });
    }
    if r.accept(&["COLUMNS", "FROM"]) {
        return Ok(Statement::Describe { name: r.name()? });
    }
    let name = match r.accept(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        true => "transaction_isolation".into(),
        false => variable(r)?,
    };
    Ok(Statement::ShowVariable { name })
}

fn in_public(r: &mut Reader) -> Result<()> {
    let position = r.position();
    match r.identifier()?.as_str() {
        "public" => Ok(()),
        other => Err(Error::new("3F000", format!("schema \"{other}\" does not exist")).at(position)),
    }
}

pub fn describe(r: &mut Reader) -> Result<Statement> {
    r.next();
    Ok(Statement::Describe { name: r.name()? })
}

/// `x`, `x.y`, TIME ZONE, SESSION AUTHORIZATION.
fn variable(r: &mut Reader) -> Result<String> {
    if r.accept(&["TIME", "ZONE"]) {
        return Ok("timezone".into());
    }
    if r.accept(&["SESSION", "AUTHORIZATION"]) {
        return Ok("session_authorization".into());
    }
    let mut name = r.label()?;
    while r.accept_symbol(".") {
        name = format!("{name}.{}", r.label()?);
    }
    Ok(name)
}

pub fn set(r: &mut Reader) -> Result<Statement> {
    r.expect("SET")?;
    if r.accept(&["TRANSACTION"]) {
        return Ok(Statement::SetTransaction { read_only: modes(r)?, session: false });
    }
    if r.accept(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return Ok(Statement::SetTransaction { read_only: modes(r)?, session: true });
    }
    let local = r.accept(&["LOCAL"]);
    if r.word(1) != "AUTHORIZATION" && !local {
        let _ = r.accept(&["SESSION"]);
    }
    if r.accept(&["NAMES"]) {
        return Ok(Statement::Set { name: "client_encoding".into(), value: value(r)?, local });
    }
    // These take their value without TO.
    let bare = matches!(r.word(0).as_str(), "ROLE") || matches!(r.word(1).as_str(), "ZONE" | "AUTHORIZATION");
    let name = variable(r)?;
    if !bare && !r.accept_symbol("=") {
        r.expect("TO")?;
    }
    Ok(Statement::Set { name, value: value(r)?, local })
}

/// `None` is DEFAULT.
fn value(r: &mut Reader) -> Result<Option<String>> {
    if r.accept(&["DEFAULT"]) || r.accept(&["LOCAL"]) {
        return Ok(None);
    }
    if r.word(0) == "INTERVAL" {
        return Err(Error::unsupported("SET with an interval").at(r.position()));
    }
    Ok(Some(r.list(Reader::value)?.join(", ")))
}

pub fn reset(r: &mut Reader) -> Result<Statement> {
    r.expect("RESET")?;
    Ok(Statement::Set { name: variable(r)?, value: None, local: false })
}

pub fn begin(r: &mut Reader) -> Result<Statement> {
    if r.accept(&["START"]) {
        r.expect("TRANSACTION")?;
    } else {
        r.expect("BEGIN")?;
        let _ = r.accept(&["WORK"]) || r.accept(&["TRANSACTION"]);
    }
    Ok(Statement::Begin { read_only: modes(r)? })
}

/// Transaction modes, comma or blank between them. Isolation is what it is: accepted at any level.
fn modes(r: &mut Reader) -> Result<Option<bool>> {
    let mut read_only = None;
    while !r.at_end() {
        if r.accept(&["READ", "ONLY"]) {
            read_only = Some(true);
        } else if r.accept(&["READ", "WRITE"]) {
            read_only = Some(false);
        } else if r.accept(&["ISOLATION", "LEVEL"]) {
            let level = r.accept(&["SERIALIZABLE"])
                || r.accept(&["REPEATABLE", "READ"])
                || r.accept(&["READ", "COMMITTED"])
                || r.accept(&["READ", "UNCOMMITTED"]);
            if !level {
                return Err(r.unexpected());
            }
        } else if !(r.accept(&["DEFERRABLE"]) || r.accept(&["NOT", "DEFERRABLE"])) {
            return Err(r.unexpected());
        }
        if r.accept_symbol(",") && r.at_end() {
            return Err(r.unexpected());
        }
    }
    Ok(read_only)
}

pub fn commit(r: &mut Reader) -> Result<Statement> {
    r.next();
    chain(r)?;
    Ok(Statement::Commit)
}

pub fn rollback(r: &mut Reader) -> Result<Statement> {
    r.next();
    if r.word(0) == "TO" || r.word(1) == "TO" {
        let _ = r.accept(&["WORK"]) || r.accept(&["TRANSACTION"]);
        r.expect("TO")?;
        let _ = r.accept(&["SAVEPOINT"]);
        return Ok(Statement::RollbackTo { name: r.identifier()? });
    }
    chain(r)?;
    Ok(Statement::Rollback)
}

pub fn savepoint(r: &mut Reader) -> Result<Statement> {
    r.expect("SAVEPOINT")?;
    Ok(Statement::Savepoint { name: r.identifier()? })
}

pub fn release(r: &mut Reader) -> Result<Statement> {
    r.expect("RELEASE")?;
    let _ = r.accept(&["SAVEPOINT"]);
    Ok(Statement::Release { name: r.identifier()? })
}

/// [WORK | TRANSACTION] [AND NO CHAIN]
fn chain(r: &mut Reader) -> Result<()> {
    let _ = r.accept(&["WORK"]) || r.accept(&["TRANSACTION"]);
    if r.accept(&["AND", "CHAIN"]) {
        return Err(Error::unsupported("AND CHAIN"));
    }
    let _ = r.accept(&["AND", "NO", "CHAIN"]);
    Ok(())
}

/// Statements with nothing to do: there is nothing to unlisten to, as LISTEN is refused. DEALLOCATE of one name is the server's.
pub fn accepted(r: &mut Reader) -> Result<Statement> {
    let forms: [(&[&str], &'static str); 8] = [
        (&["DISCARD", "ALL"], "DISCARD ALL"),
        (&["DISCARD", "PLANS"], "DISCARD PLANS"),
        (&["DISCARD", "SEQUENCES"], "DISCARD SEQUENCES"),
        (&["DISCARD", "TEMP"], "DISCARD TEMP"),
        (&["DISCARD", "TEMPORARY"], "DISCARD TEMP"),
        (&["DEALLOCATE", "ALL"], "DEALLOCATE ALL"),
        (&["DEALLOCATE", "PREPARE", "ALL"], "DEALLOCATE ALL"),
        (&["UNLISTEN"], "UNLISTEN"),
    ];
    if let Some((_, tag)) = forms.into_iter().find(|(words, _)| r.accept(words)) {
        if tag == "UNLISTEN" && !r.accept_symbol("*") {
            r.identifier()?;
        }
        return Ok(Statement::Accepted(tag));
    }
    if r.word(0) == "LISTEN" {
        return Err(Error::unsupported("LISTEN").at(r.position()));
    }
    Ok(Statement::Other(Box::new(r.standard()?)))
}
