//! One string to the tokens of each of its statements. Places become characters of the statement's text, so that a syntax
//! tree's spans can be reported without the text they came from.

use super::dialect::POSTGRES;
use crate::error::{Error, Result};
use crate::room;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// One statement that is not empty.
pub struct Piece {
    /// Ends with [`Token::EOF`]. Spans are on line 1, columns are 1-based characters of `text`.
    pub tokens: Vec<TokenWithSpan>,
    pub text: String,
    /// Characters before `text`.
    pub offset: usize,
}

/// Bytes of SQL that are looked at before they are read.
const LONG: usize = 64 << 10;
/// Bytes that a token takes while a statement is read and planned, roughly.
const TOKEN: usize = 1 << 10;

/// Bytes that it takes to read and plan `sql`, roughly: what is quoted is one token.
pub fn weight(sql: &str) -> usize {
    let (mut tokens, mut quote, mut in_word) = (0_usize, None, false);
    for &byte in sql.as_bytes() {
        match quote {
            Some(end) if byte == end => quote = None,
            Some(_) => {}
            None => {
                let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
                tokens += usize::from(!(is_word && in_word));
                in_word = is_word;
                quote = matches!(byte, b'\'' | b'"').then_some(byte);
            }
        }
    }
    tokens.saturating_mul(TOKEN)
}

pub fn split(sql: &str) -> Result<Vec<Piece>> {
    if sql.len() > LONG {
        room::check_here(weight(sql).saturating_add(sql.len() * 2))?;
    }
    let tokens = Tokenizer::new(POSTGRES, sql).tokenize_with_location().map_err(|error| {
        let place = Cursor::new(sql).advance(error.location);
        Error::syntax(sentence(&error.message)).at(place.char + 1)
    })?;
    let mut cursor = Cursor::new(sql);
    let mut placed = vec![];
    let mut pieces = vec![];
    for token in tokens {
        let from = cursor.advance(token.span.start);
        let to = cursor.advance(token.span.end);
        match token.token {
            Token::SemiColon => pieces.extend(piece(sql, std::mem::take(&mut placed))),
            token => placed.push(Placed { token, from, to }),
        }
    }
    pieces.extend(piece(sql, placed));
    Ok(pieces)
}

struct Placed {
    token: Token,
    from: Place,
    to: Place,
}

/// `None` if there is nothing but blanks and comments.
fn piece(sql: &str, placed: Vec<Placed>) -> Option<Piece> {
    let real = |p: &Placed| !matches!(p.token, Token::Whitespace(_));
    let (first, last) = (placed.iter().position(real)?, placed.iter().rposition(real)?);
    let (start, end) = (placed[first].from, placed[last].to);
    let location = |place: Place| Location::new(1, (place.char - start.char + 1) as u64);
    let mut tokens: Vec<TokenWithSpan> = placed
        .into_iter()
        .take(last + 1)
        .skip(first)
        .map(|p| TokenWithSpan::new(p.token, Span::new(location(p.from), location(p.to))))
        .collect();
    tokens.push(TokenWithSpan::new(Token::EOF, Span::new(location(end), location(end))));
    Some(Piece { tokens, text: sql[start.byte..end.byte].to_string(), offset: start.char })
}

#[derive(Clone, Copy)]
struct Place {
    char: usize,
    byte: usize,
}

/// Turns ascending lines and columns into places, in one pass over the text.
struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    at: Location,
    place: Place,
}

impl<'a> Cursor<'a> {
    fn new(sql: &'a str) -> Self {
        Self { rest: sql.chars(), at: Location::new(1, 1), place: Place { char: 0, byte: 0 } }
    }

    fn advance(&mut self, to: Location) -> Place {
        while self.at < to {
            let Some(c) = self.rest.next() else { break };
            self.at = if c == '\n' {
                Location::new(self.at.line + 1, 1)
            } else {
                Location::new(self.at.line, self.at.column + 1)
            };
            self.place = Place { char: self.place.char + 1, byte: self.place.byte + c.len_utf8() };
        }
        self.place
    }
}

/// sqlparser's messages begin with a capital, Postgres' do not.
pub fn sentence(message: &str) -> String {
    let mut chars = message.trim().chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
