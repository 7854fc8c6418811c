//! Who asks: what a statement can be told of the session that runs it. It does not change while the session lasts, so that it is a
//! constant of what is bound.

use crate::bound::Expr;
use crate::postgres::types::NAME;

#[derive(Clone, Debug)]
pub struct Session {
    pub user: String,
    /// As pg_backend_pid() tells it.
    pub pid: i32,
    /// As version() tells it.
    pub version: &'static str,
    /// Those that are searched for names without one and that there are, in their order, each once; pg_catalog is searched before them.
    pub schemas: Vec<String>,
}

const CATALOG: &str = "pg_catalog";

impl Session {
    /// The first one that is searched; NULL if there is none.
    pub(super) fn schema(&self) -> Expr {
        Expr::Constant { value: self.schemas.first().map(|schema| schema.as_str().into()), kind: NAME.into() }
    }

    /// An array of all that are searched, with the one that nobody has to write if `all`. `None`: one has a name that is written in quotes.
    pub(super) fn searched(&self, all: bool) -> Option<Expr> {
        let is_written = self.schemas.iter().any(|schema| schema == CATALOG);
        let before = (all && !is_written).then_some(CATALOG);
        let names: Vec<&str> = before.into_iter().chain(self.schemas.iter().map(String::as_str)).collect();
        let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let kind = NAME.array().filter(|_| names.iter().all(is_plain))?.into();
        Some(Expr::Constant { value: Some(format!("{{{}}}", names.join(",")).into()), kind })
    }
}

/// A name as a value.
pub(super) fn name(text: &str) -> Expr {
    Expr::Constant { value: Some(text.into()), kind: NAME.into() }
}
