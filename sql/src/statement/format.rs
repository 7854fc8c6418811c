//! How the rows of a COPY stream are written.

/// How rows are written in a COPY stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub kind: Kind,
    pub delimiter: char,
    /// What stands for NULL.
    pub null: String,
    /// Whether a first line holds the names of the columns.
    pub header: bool,
    pub quote: char,
    pub escape: char,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Csv,
    Binary,
}
