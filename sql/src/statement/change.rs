//! DROP, ALTER SOURCE, REFRESH, and INSERT, UPDATE, DELETE.

use super::definition::{ObjectKind, SourceChange, Statement};
use super::reader::Reader;
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast;

/// TABLE | SOURCE | MATERIALIZED VIEW, if that is what comes.
pub fn object_kind(r: &mut Reader) -> Option<ObjectKind> {
    let kinds: [(&[&str], ObjectKind); 3] = [
        (&["TABLE"], ObjectKind::Table),
        (&["SOURCE"], ObjectKind::Source),
        (&["MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
    ];
    kinds.into_iter().find(|(words, _)| r.accept(words)).map(|(_, kind)| kind)
}

pub fn drop(r: &mut Reader) -> Result<Statement> {
    match r.word(1).as_str() {
        "TABLE" | "SOURCE" | "MATERIALIZED" => {}
        other @ ("SINK" | "SUBSCRIPTION" | "SECRET" | "CONNECTION") => {
            return Err(Error::unsupported(format!("DROP {other}")));
        }
        _ => return Ok(Statement::Other(Box::new(r.standard()?))),
    }
    r.expect("DROP")?;
    let kind = object_kind(r).ok_or_else(|| r.unexpected())?;
    let if_exists = r.accept(&["IF", "EXISTS"]);
    let names = r.list(Reader::name)?;
    let cascade = r.accept(&["CASCADE"]);
    let _ = r.accept(&["RESTRICT"]);
    Ok(Statement::Drop { kind, names, if_exists, cascade })
}

/// ALTER SOURCE [IF EXISTS] s PAUSE | RESUME | RESNAPSHOT; anything else is whatever sqlparser reads.
pub fn alter(r: &mut Reader) -> Result<Statement> {
    if r.word(1) != "SOURCE" {
        return Ok(Statement::Other(Box::new(r.standard()?)));
    }
    let _ = r.accept(&["ALTER", "SOURCE"]);
    let if_exists = r.accept(&["IF", "EXISTS"]);
    let name = r.name()?;
    let change = match r.word(0).as_str() {
        "PAUSE" => SourceChange::Pause,
        "RESUME" => SourceChange::Resume,
        "RESNAPSHOT" => SourceChange::Resnapshot,
        other @ ("ADD" | "DROP" | "RENAME" | "OWNER" | "SET" | "FORMAT" | "REFRESH" | "SWAP" | "CONNECTOR") => {
            return Err(Error::unsupported(format!("ALTER SOURCE {other}")));
        }
        _ => return Err(r.unexpected()),
    };
    r.skip(1, Statement::AlterSource { name, if_exists, change })
}

/// REFRESH MATERIALIZED VIEW [CONCURRENTLY] v [WITH DATA]: readers are never kept out here.
pub fn refresh(r: &mut Reader) -> Result<Statement> {
    r.expect("REFRESH")?;
    r.expect("MATERIALIZED")?;
    r.expect("VIEW")?;
    let _ = r.accept(&["CONCURRENTLY"]);
    let name = r.name()?;
    if r.accept(&["WITH", "NO", "DATA"]) {
        return Err(Error::unsupported("WITH NO DATA"));
    }
    let _ = r.accept(&["WITH", "DATA"]);
    Ok(Statement::RefreshMaterializedView { name })
}

pub fn dml(r: &mut Reader) -> Result<Statement> {
    Ok(match r.standard()? {
        ast::Statement::Insert(insert) => Statement::Insert(Box::new(insert)),
        ast::Statement::Delete(delete) => Statement::Delete(Box::new(delete)),
        update @ ast::Statement::Update(_) => Statement::Update(Box::new(update)),
        other => Statement::Other(Box::new(other)),
    })
}
