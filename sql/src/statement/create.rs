//! CREATE SOURCE, CREATE TABLE, CREATE MATERIALIZED VIEW.

use super::definition::{Options, Statement};
use super::kind;
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::types::{Column, Type};

/// Postgres' limit; keeps the look-ups by name, which go through the list, short.
const MAX_COLUMNS: usize = 1600;

pub fn create(r: &mut Reader) -> Result<Statement> {
    match (r.word(1).as_str(), r.word(2).as_str()) {
        ("SOURCE", _) => source(r),
        ("TABLE", _) => table(r),
        ("MATERIALIZED", _) => view(r),
        ("OR", "REPLACE") => Err(Error::unsupported("CREATE OR REPLACE")),
        ("TEMP" | "TEMPORARY" | "UNLOGGED" | "LOCAL" | "GLOBAL", _) => {
            Err(Error::unsupported(format!("CREATE {}", r.word(1))))
        }
        // Nothing sqlparser would need to read: there is no such object here, whatever follows.
        (other @ ("SINK" | "SUBSCRIPTION" | "SECRET" | "CONNECTION"), _) => {
            Err(Error::unsupported(format!("CREATE {other}")))
        }
        _ => Ok(Statement::Other(Box::new(r.standard()?))),
    }
}

fn source(r: &mut Reader) -> Result<Statement> {
    r.expect("CREATE")?;
    r.expect("SOURCE")?;
    let if_not_exists = r.if_not_exists();
    let name = r.name()?;
    if r.symbol(0, "(") {
        return Err(Error::unsupported("CREATE SOURCE with columns").at(r.position()));
    }
    r.expect("WITH")?;
    let options = r.options()?;
    if r.word(0) == "FORMAT" {
        return Err(Error::unsupported("FORMAT … ENCODE").at(r.position()));
    }
    Ok(Statement::CreateSource { name, if_not_exists, options })
}

fn view(r: &mut Reader) -> Result<Statement> {
    r.expect("CREATE")?;
    r.expect("MATERIALIZED")?;
    r.expect("VIEW")?;
    let if_not_exists = r.if_not_exists();
    let name = r.name()?;
    let mut columns: Vec<String> = vec![];
    if r.accept_symbol("(") {
        r.list(|r| {
            columns.push(unique_name(r, &columns)?);
            Ok(())
        })?;
        r.expect_symbol(")")?;
    }
    if r.word(0) == "WITH" {
        return Err(Error::unsupported("WITH options of a materialized view").at(r.position()));
    }
    r.expect("AS")?;
    let query = r.query()?;
    if r.accept(&["WITH", "NO", "DATA"]) {
        return Err(Error::unsupported("WITH NO DATA"));
    }
    let _ = r.accept(&["WITH", "DATA"]);
    Ok(Statement::CreateMaterializedView { name, if_not_exists, columns, query })
}

fn table(r: &mut Reader) -> Result<Statement> {
    r.expect("CREATE")?;
    r.expect("TABLE")?;
    let if_not_exists = r.if_not_exists();
    let name = r.name()?;
    if r.word(0) == "AS" {
        return Err(Error::unsupported("CREATE TABLE AS").at(r.position()));
    }
    r.expect_symbol("(")?;
    let columns = if r.accept_symbol("*") {
        r.expect_symbol(")")?;
        None
    } else {
        Some(Definition::read(r, &name)?)
    };
    let (options, position) = table_options(r)?;
    if r.accept(&["FROM"]) {
        let source = r.name()?;
        r.expect("TABLE")?;
        let upstream = r.string()?;
        return Ok(Statement::CreateTableFrom { name, if_not_exists, columns, options, source, upstream });
    }
    let Some((columns, key)) = columns else {
        return Err(r.unexpected().hint("CREATE TABLE t (*) needs FROM source TABLE 'schema.table'."));
    };
    if !options.is_empty() {
        return Err(Error::unsupported("WITH options of a table that has no FROM source").at(position));
    }
    Ok(Statement::CreateTable { name, if_not_exists, columns, key })
}

/// What may stand between the columns and FROM.
fn table_options(r: &mut Reader) -> Result<(Options, usize)> {
    let position = r.position();
    match r.word(0).as_str() {
        "INCLUDE" | "APPEND" | "ON" | "PARTITION" | "INHERITS" | "USING" | "TABLESPACE" | "AS" | "FORMAT"
        | "ENGINE" => Err(Error::unsupported(format!("{} of a table", r.word(0))).at(position)),
        "WITH" => {
            r.expect("WITH")?;
            Ok((r.options()?, position))
        }
        _ => Ok((Options::new(), position)),
    }
}

/// The columns of a table and its key, while they are read.
#[derive(Default)]
struct Definition {
    columns: Vec<Column>,
    names: Vec<String>,
    key: Option<Vec<String>>,
}

impl Definition {
    /// After the opening parenthesis.
    fn read(r: &mut Reader, table: &str) -> Result<(Vec<Column>, Vec<usize>)> {
        let mut definition = Self::default();
        r.list(|r| definition.element(r, table))?;
        r.expect_symbol(")")?;
        definition.finish()
    }

    fn element(&mut self, r: &mut Reader, table: &str) -> Result<()> {
        // A column may be called like a constraint; a constraint's next word or symbol tells them apart.
        match (r.word(0).as_str(), r.word(1).as_str()) {
            ("CONSTRAINT", _) | ("PRIMARY", "KEY") | ("FOREIGN", "KEY") | ("LIKE" | "EXCLUDE", _) => {
                self.constraint(r, table)
            }
            ("CHECK" | "UNIQUE", _) => self.constraint(r, table),
            ("WATERMARK", "FOR") => Err(Error::unsupported("WATERMARK").at(r.position())),
            _ => self.column(r, table),
        }
    }

    fn constraint(&mut self, r: &mut Reader, table: &str) -> Result<()> {
        if r.accept(&["CONSTRAINT"]) {
            r.identifier()?;
        }
        let position = r.position();
        if r.accept(&["PRIMARY", "KEY"]) {
            r.expect_symbol("(")?;
            let names = r.list(Reader::identifier)?;
            r.expect_symbol(")")?;
            return self.set_key(names, table, position);
        }
        match r.word(0).as_str() {
            "FOREIGN" => Err(Error::unsupported("FOREIGN KEY").at(position)),
            word @ ("CHECK" | "UNIQUE" | "EXCLUDE" | "LIKE") => Err(Error::unsupported(word).at(position)),
            _ => Err(r.unexpected()),
        }
    }

    fn column(&mut self, r: &mut Reader, table: &str) -> Result<()> {
        let name = unique_name(r, &self.names)?;
        self.names.push(name.clone());
        let kind = kind::read(r)?;
        self.columns.push(Column { name: name.clone(), kind, nullable: true });
        loop {
            let position = r.position();
            if r.accept(&["PRIMARY", "KEY"]) {
                self.set_key(vec![name.clone()], table, position)?;
            } else if r.accept(&["NOT", "NULL"]) {
                self.columns.last_mut().expect("pushed above").nullable = false;
            } else if r.accept(&["CONSTRAINT"]) {
                r.identifier()?;
            } else if r.accept(&["NULL"]) {
            } else if r.symbol(0, ",") || r.symbol(0, ")") {
                return Ok(());
            } else {
                return Err(match r.word(0).as_str() {
                    "REFERENCES" => Error::unsupported("FOREIGN KEY").at(position),
                    word @ ("DEFAULT" | "CHECK" | "UNIQUE" | "GENERATED" | "COLLATE" | "AS") => {
                        Error::unsupported(format!("{word} of a column")).at(position)
                    }
                    _ => r.unexpected(),
                });
            }
        }
    }

    fn set_key(&mut self, names: Vec<String>, table: &str, position: usize) -> Result<()> {
        match self.key.replace(names) {
            None => Ok(()),
            Some(_) => {
                let message = format!("multiple primary keys for table \"{table}\" are not allowed");
                Err(Error::new("42P16", message).at(position))
            }
        }
    }

    /// Key columns are found and become NOT NULL.
    fn finish(mut self) -> Result<(Vec<Column>, Vec<usize>)> {
        let mut key = vec![];
        for name in self.key.unwrap_or_default() {
            let Some(index) = self.names.iter().position(|n| *n == name) else {
                return Err(Error::new("42703", format!("column \"{name}\" named in key does not exist")));
            };
            if key.contains(&index) {
                let message = format!("column \"{name}\" appears twice in primary key constraint");
                return Err(Error::new("42701", message));
            }
            if self.columns[index].kind == Type::Json {
                return Err(Error::new("42704", "data type json cannot be part of a primary key"));
            }
            self.columns[index].nullable = false;
            key.push(index);
        }
        Ok((self.columns, key))
    }
}

fn unique_name(r: &mut Reader, taken: &[impl AsRef<str>]) -> Result<String> {
    let position = r.position();
    let name = r.identifier()?;
    if taken.len() == MAX_COLUMNS {
        return Err(Error::new("54011", format!("tables can have at most {MAX_COLUMNS} columns")).at(position));
    }
    if taken.iter().any(|t| t.as_ref() == name) {
        return Err(Error::new("42701", format!("column \"{name}\" specified more than once")).at(position));
    }
    Ok(name)
}
