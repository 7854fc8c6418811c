//! Columns of a table that values are assigned to.

use super::position::{of_word, placed};
use crate::bound::{Bound, Kind, Unbound};
use crate::error::Error;
use crate::session::names::folded;
use crate::types::Type;
use datafusion::sql::sqlparser::ast::{self, Ident};

/// A column of a table that values are assigned to.
#[derive(Clone, Debug)]
pub struct Slot {
    pub name: String,
    pub kind: Kind,
}

/// Which columns of a table an INSERT gives values to.
#[derive(Clone, Debug)]
pub struct Slots {
    /// All of the table, in order.
    pub table: Vec<Slot>,
    /// Places of those that are given, in the order in which they are.
    pub given: Vec<usize>,
    /// How the statement names them; none if it does not.
    pub names: Vec<Ident>,
}

impl Slot {
    /// What a value of it is before its length is looked at: an assignment that is too long is an error of its own.
    pub fn assigned(&self) -> Kind {
        match self.kind.held() {
            Some(Type::Varchar(_) | Type::Char(_)) => Kind::TEXT,
            _ => self.kind,
        }
    }
}

impl Slots {
    pub fn given(&self) -> impl Iterator<Item = &Slot> {
        self.given.iter().map(|place| &self.table[*place])
    }

    /// 42601 of more values than there are columns, or of fewer than were named. `values` are where they stand.
    pub fn check(&self, values: &[Option<usize>]) -> Bound<()> {
        let (text, position) = if let Some(position) = values.get(self.given.len()) {
            ("INSERT has more expressions than target columns", *position)
        } else if let Some(name) = self.names.get(values.len()) {
            ("INSERT has more target columns than expressions", of_word(name))
        } else {
            return Ok(());
        };
        Err(Unbound::Wrong(placed(Error::syntax(text), position)))
    }
}

/// DEFAULT in the place of a value.
pub fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(name) if name.quote_style.is_none() && folded(name) == "default")
}
