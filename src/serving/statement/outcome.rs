//! What comes of a statement.

use crate::serving::query::run::Rows;
use weir_sql::statement::copy::Format;

pub enum Outcome {
    /// The command tag.
    Done(String),
    Rows(Rows, Tag),
    /// COPY … TO STDOUT.
    Copy(Rows, Format),
}

/// The command tag after rows.
pub enum Tag {
    Select,
    /// Of DML with RETURNING, complete.
    Fixed(String),
}

impl Tag {
    pub fn counted(self, rows: usize) -> String {
        match self {
            Tag::Select => format!("SELECT {rows}"),
            Tag::Fixed(tag) => tag,
        }
    }
}
