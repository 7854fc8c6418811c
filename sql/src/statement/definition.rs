//! What a client can say, once it is read.

use super::format::Format;
use crate::types::Column;
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::fmt;

/// Options of WITH (…), in the writer's order of names; values unquoted.
pub type Options = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    CreateSource {
        name: String,
        if_not_exists: bool,
        options: Options,
    },
    /// Plain table.
    CreateTable {
        name: String,
        if_not_exists: bool,
        columns: Vec<Column>,
        key: Vec<usize>,
    },
    /// `CREATE TABLE t (*) FROM src TABLE 'public.t'`; `columns` is None for `(*)`.
    CreateTableFrom {
        name: String,
        if_not_exists: bool,
        columns: Option<(Vec<Column>, Vec<usize>)>,
        options: Options,
        source: String,
        upstream: String,
    },
    CreateMaterializedView {
        name: String,
        if_not_exists: bool,
        columns: Vec<String>,
        query: Box<ast::Query>,
    },
    Drop {
        kind: ObjectKind,
        names: Vec<String>,
        if_exists: bool,
        cascade: bool,
    },
    AlterSource {
        name: String,
        if_exists: bool,
        change: SourceChange,
    },
    /// REFRESH MATERIALIZED VIEW name: from its parents, anew.
    RefreshMaterializedView {
        name: String,
    },
    Insert(Box<ast::Insert>),
    /// Holds an `ast::Statement::Update`.
    Update(Box<ast::Statement>),
    Delete(Box<ast::Delete>),
    Query(Box<ast::Query>),
    Explain {
        statement: Box<Statement>,
    },
    /// COPY (query) | t TO STDOUT
    CopyOut {
        query: Box<ast::Query>,
        format: Format,
    },
    /// COPY t (columns) FROM STDIN; no columns: all of them.
    CopyIn {
        table: String,
        columns: Vec<String>,
        format: Format,
    },
    Flush,
    ShowObjects(ObjectKind),
    /// SHOW CREATE TABLE | SOURCE | MATERIALIZED VIEW name
    ShowCreate {
        kind: ObjectKind,
        name: String,
    },
    /// DESCRIBE name | SHOW COLUMNS FROM name
    Describe {
        name: String,
    },
    /// SHOW var | SHOW ALL (var = "all")
    ShowVariable {
        name: String,
    },
    /// SET x = v | SET x TO DEFAULT (None) | RESET x (None) | RESET ALL (name = "all")
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// `None`: as the session's transactions are.
    Begin {
        read_only: Option<bool>,
    },
    /// SET TRANSACTION, or SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        read_only: Option<bool>,
        session: bool,
    },
    Commit,
    Rollback,
    Savepoint {
        name: String,
    },
    Release {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    /// DISCARD, DEALLOCATE ALL, UNLISTEN, …: nothing to do but for the session itself. Holds the command tag.
    Accepted(&'static str),
    /// SQL-level PREPARE / EXECUTE / DEALLOCATE, cursors: whatever sqlparser reads and the server decides on.
    Other(Box<ast::Statement>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Table,
    Source,
    MaterializedView,
}

/// ALTER SOURCE s PAUSE | RESUME | RESNAPSHOT
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChange {
    Pause,
    Resume,
    /// Copies every table again, beside the rows that are there.
    Resnapshot,
}

/// As in messages: `materialized view`.
impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Table => "table",
            ObjectKind::Source => "source",
            ObjectKind::MaterializedView => "materialized view",
        })
    }
}

/// A statement with its own text (for the catalog and for error positions). The spans in its syntax tree are on "line 1",
/// their columns are 1-based characters of `text`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub statement: Statement,
    /// The statement's text without the trailing semicolon.
    pub text: String,
    /// Character offset of `text` in what the client sent.
    pub offset: usize,
}
