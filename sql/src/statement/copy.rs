//! COPY … TO STDOUT and COPY … FROM STDIN, with options in parentheses or in the older bare form.

use super::definition::{Parsed, Statement};
pub use super::format::{Format, Kind};
use super::reader::Reader;
use crate::error::{Error, Result};

/// What was said; what was not follows from the kind.
#[derive(Default)]
struct Said {
    kind: Option<Kind>,
    delimiter: Option<char>,
    null: Option<String>,
    header: Option<bool>,
    quote: Option<char>,
    escape: Option<char>,
}

/// `parse` reads the query that COPY t TO stands for.
pub fn copy(r: &mut Reader, parse: fn(&str) -> Result<Vec<Parsed>>) -> Result<Statement> {
    r.expect("COPY")?;
    if r.accept_symbol("(") {
        let query = r.query()?;
        r.expect_symbol(")")?;
        r.expect("TO")?;
        r.expect("STDOUT")?;
        return Ok(Statement::CopyOut { query, format: format(r)? });
    }
    let position = r.position();
    let table = r.name()?;
    let mut columns = vec![];
    if r.accept_symbol("(") {
        columns = r.list(Reader::identifier)?;
        r.expect_symbol(")")?;
    }
    if r.accept(&["FROM"]) {
        r.expect("STDIN")?;
        return Ok(Statement::CopyIn { table, columns, format: format(r)? });
    }
    r.expect("TO")?;
    r.expect("STDOUT")?;
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let names: Vec<String> = columns.iter().map(quoted).collect();
    let items = if names.is_empty() { "*".to_string() } else { names.join(", ") };
    let select = format!("SELECT {items} FROM {}", quoted(&table));
    let parsed = parse(&select).map_err(|error| Error { position: Some(position), ..error })?;
    match parsed.into_iter().next() {
        Some(Parsed { statement: Statement::Query(query), .. }) => Ok(Statement::CopyOut { query, format: format(r)? }),
        _ => Err(Error::internal(format!("not a query: {select}"))),
    }
}

fn format(r: &mut Reader) -> Result<Format> {
    let mut said = Said::default();
    let _ = r.accept(&["WITH"]);
    if r.accept_symbol("(") {
        r.list(|r| option(r, &mut said))?;
        r.expect_symbol(")")?;
    } else {
        while !r.at_end() {
            bare(r, &mut said)?;
        }
    }
    said.format()
}

fn option(r: &mut Reader, said: &mut Said) -> Result<()> {
    let position = r.position();
    let name = r.label()?;
    match name.as_str() {
        "format" => {
            let position = r.position();
            let kind = match r.value()?.to_ascii_lowercase().as_str() {
                "text" => Kind::Text,
                "csv" => Kind::Csv,
                "binary" => Kind::Binary,
                other => {
                    let message = format!("COPY format \"{other}\" not recognized");
                    return Err(Error::new("22023", message).at(position));
                }
            };
            once(&mut said.kind, kind, &name, position)
        }
        "delimiter" => character(r, &name).and_then(|c| once(&mut said.delimiter, c, &name, position)),
        "quote" => character(r, &name).and_then(|c| once(&mut said.quote, c, &name, position)),
        "escape" => character(r, &name).and_then(|c| once(&mut said.escape, c, &name, position)),
        "null" => r.string().and_then(|null| once(&mut said.null, null, &name, position)),
        "header" => {
            let header = match r.symbol(0, ",") || r.symbol(0, ")") {
                true => true,
                false => boolean(r, &name)?,
            };
            once(&mut said.header, header, &name, position)
        }
        // How Postgres stores the rows.
        "freeze" => match r.symbol(0, ",") || r.symbol(0, ")") {
            true => Ok(()),
            false => boolean(r, &name).map(drop),
        },
        "encoding" => {
            let encoding = r.string()?;
            match encoding.to_ascii_uppercase().replace('-', "").as_str() {
                "UTF8" => Ok(()),
                _ => Err(Error::unsupported(format!("COPY in encoding {encoding}")).at(position)),
            }
        }
        "force_quote" | "force_not_null" | "force_null" | "on_error" | "log_verbosity" | "default" => {
            Err(Error::unsupported(format!("COPY option {name}")).at(position))
        }
        _ => Err(Error::syntax(format!("option \"{name}\" not recognized")).at(position)),
    }
}

/// Postgres' form before 9.0: `CSV HEADER DELIMITER AS ';'`.
fn bare(r: &mut Reader, said: &mut Said) -> Result<()> {
    let (position, name) = (r.position(), r.word(0).to_ascii_lowercase());
    let word = |r: &mut Reader| r.label().map(drop);
    match name.as_str() {
        "csv" => word(r).and_then(|()| once(&mut said.kind, Kind::Csv, &name, position)),
        "binary" => word(r).and_then(|()| once(&mut said.kind, Kind::Binary, &name, position)),
        "header" => word(r).and_then(|()| once(&mut said.header, true, &name, position)),
        "delimiter" | "delimiters" | "null" | "quote" | "escape" => {
            word(r)?;
            let _ = r.accept(&["AS"]);
            match name.as_str() {
                "null" => r.string().and_then(|null| once(&mut said.null, null, &name, position)),
                "quote" => character(r, &name).and_then(|c| once(&mut said.quote, c, &name, position)),
                "escape" => character(r, &name).and_then(|c| once(&mut said.escape, c, &name, position)),
                _ => character(r, &name).and_then(|c| once(&mut said.delimiter, c, &name, position)),
            }
        }
        _ => Err(r.unexpected()),
    }
}

fn once<T>(place: &mut Option<T>, value: T, name: &str, position: usize) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::syntax(format!("option \"{name}\" is given more than once")).at(position)),
    }
}

fn boolean(r: &mut Reader, name: &str) -> Result<bool> {
    let position = r.position();
    match r.value()?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        other => Err(Error::syntax(format!("{name} requires a Boolean value, not \"{other}\"")).at(position)),
    }
}

fn character(r: &mut Reader, name: &str) -> Result<char> {
    let position = r.position();
    let text = r.string()?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) if c.is_ascii() && c != '\n' && c != '\r' => Ok(c),
        _ => Err(Error::new("22023", format!("COPY {name} must be a single one-byte character")).at(position)),
    }
}

impl Said {
    fn format(self) -> Result<Format> {
        let kind = self.kind.unwrap_or(Kind::Text);
        let refused = |option: &str, only: &str| {
            Err(Error::new("0A000", format!("COPY {option} is available only in {only} mode")))
        };
        if kind == Kind::Binary && (self.delimiter.is_some() || self.null.is_some() || self.header.is_some()) {
            return Err(Error::syntax("cannot specify DELIMITER, NULL or HEADER in BINARY mode"));
        }
        match kind {
            Kind::Csv => {}
            _ if self.quote.is_some() => return refused("QUOTE", "CSV"),
            _ if self.escape.is_some() => return refused("ESCAPE", "CSV"),
            _ => {}
        }
        let csv = kind == Kind::Csv;
        let quote = self.quote.unwrap_or('"');
        let format = Format {
            kind,
            delimiter: self.delimiter.unwrap_or(if csv { ',' } else { '\t' }),
            null: self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".into() }),
            header: self.header.unwrap_or(false),
            quote,
            escape: self.escape.unwrap_or(quote),
        };
        if csv && format.delimiter == format.quote {
            return Err(Error::new("22023", "COPY delimiter and quote must be different"));
        }
        if !csv && (format.delimiter.is_ascii_alphanumeric() || "\\.".contains(format.delimiter)) {
            return Err(Error::new("22023", format!("COPY delimiter cannot be \"{}\"", format.delimiter)));
        }
        if format.null.contains(format.delimiter) || format.null.contains(['\n', '\r']) {
            return Err(Error::new(
                "22023",
                "COPY null representation cannot use delimiter, newline or carriage return",
            ));
        }
        Ok(format)
    }
}
