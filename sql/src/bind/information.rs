//! What tells of who asks, and of the time: words that grammar has for it (`current_user`, `current_date`), and functions.
//!
//! The time is that of the transaction; a bound query calls for it, and does not know it.

use super::scope::{DATABASE, is_function};
use super::session::name;
use super::{Binder, literal};
use crate::bound::{Bound, Expr, Kind, not_yet};
use crate::postgres::functions::{self, Function};
use crate::postgres::types::BOOL;
use crate::session;
use crate::session::names::folded;
use crate::types::Type;
use datafusion::sql::sqlparser::ast::{self, FunctionArguments};

/// Functions that tell of the session and that are answered here.
const FUNCTIONS: &[&str] =
    &["current_database", "current_schema", "current_schemas", "getdatabaseencoding", "pg_backend_pid", "version"];

/// The word that `function` is, in lower case, if grammar has it without parentheses.
pub fn word(function: &ast::Function) -> Option<String> {
    match (&function.name.0[..], &function.args) {
        ([word], FunctionArguments::None) => word.as_ident().filter(|word| is_function(word)).map(folded),
        _ => None,
    }
}

impl Binder<'_> {
    /// What a word without parentheses means that is no column's name.
    pub(super) fn word(&mut self, word: &str) -> Bound<Expr> {
        let unknown = || not_yet(word.to_uppercase());
        let Some(session) = self.relations.session() else { return unknown() };
        let kind = match word {
            "current_user" | "current_role" | "session_user" | "user" => return Ok(name(&session.user)),
            "current_catalog" => return Ok(name(DATABASE)),
            "current_schema" => return Ok(session.schema()),
            "current_timestamp" => Type::Timestamptz,
            "current_date" => Type::Date,
            "localtime" => Type::Time,
            "localtimestamp" => Type::Timestamp,
            _ => return unknown(),
        };
        match functions::named("now") {
            [function] => self.cast(time(function), Kind::of(&kind)),
            _ => unknown(),
        }
    }

    /// A call of a function that tells of the session or of the time; `None` of every other one.
    pub(super) fn told(&self, function: &'static Function, arguments: &[Expr]) -> Bound<Option<Expr>> {
        let is_clock = session::tells(function.name);
        if !is_clock && !FUNCTIONS.contains(&function.name) {
            return Ok(None);
        }
        let unknown = || not_yet(format!("function {}", function.name));
        let Some(session) = self.relations.session() else { return unknown() };
        Ok(Some(match (function.name, arguments) {
            (_, []) if is_clock => time(function),
            ("current_database", []) => name(DATABASE),
            ("current_schema", []) => session.schema(),
            ("current_schemas", [Expr::Constant { value: Some(all), kind }]) if kind.oid == BOOL => {
                match session.searched(&**all == "true") {
                    Some(schemas) => schemas,
                    None => return unknown(),
                }
            }
            ("getdatabaseencoding", []) => name("UTF8"),
            ("pg_backend_pid", []) => literal::constant(&session.pid.to_string(), &Type::Int4),
            ("version", []) => literal::constant(session.version, &Type::Text),
            _ => return unknown(),
        }))
    }
}

fn time(function: &'static Function) -> Expr {
    Expr::Call { function, arguments: vec![], kind: function.result.into() }
}
