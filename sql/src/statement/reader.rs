//! Reads the tokens of one statement: words, names and options by ourselves, expressions and queries by sqlparser.

use super::definition::{Options, Statement};
use super::dialect::POSTGRES;
use super::text::sentence;
use super::{chain, depth, table, time_travel, unsupported};
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use std::ops::ControlFlow;

/// How deep sqlparser may call itself: parentheses, calls, prefixes, subqueries.
const NESTED: usize = 3000;

/// Words that are no names unless quoted (Postgres' reserved key words).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

fn reserved(part: &ast::ObjectNamePart) -> Option<&ast::Ident> {
    part.as_ident()
        .filter(|ident| ident.quote_style.is_none() && RESERVED.contains(&ident.value.to_lowercase().as_str()))
}

pub struct Reader<'a> {
    parser: Parser<'static>,
    text: &'a str,
    /// Clauses whose tables have not been read yet.
    past: Vec<time_travel::Clause>,
}

impl<'a> Reader<'a> {
    pub fn new(tokens: Vec<TokenWithSpan>, text: &'a str) -> Self {
        let (tokens, past) = time_travel::take(table::spell(tokens), POSTGRES);
        let parser = Parser::new(POSTGRES).with_recursion_limit(NESTED).with_tokens_with_locations(tokens);
        Self { parser, text, past }
    }

    /// The `n`th next token, in upper case if it is an unquoted word, else empty.
    pub fn word(&self, n: usize) -> String {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(Word { value, quote_style: None, .. }) => value.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// Whether the `n`th next token is this punctuation.
    pub fn symbol(&self, n: usize, symbol: &str) -> bool {
        let token = &self.parser.peek_nth_token_ref(n).token;
        !matches!(token, Token::Word(_) | Token::EOF) && token.to_string() == symbol
    }

    /// Takes all of `words` or nothing.
    pub fn accept(&mut self, words: &[&str]) -> bool {
        let all = words.iter().enumerate().all(|(n, word)| self.word(n) == *word);
        if all {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        all
    }

    pub fn expect(&mut self, word: &str) -> Result<()> {
        if self.accept(&[word]) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn accept_symbol(&mut self, symbol: &str) -> bool {
        let here = self.symbol(0, symbol);
        if here {
            self.parser.advance_token();
        }
        here
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    pub fn end(&self) -> Result<()> {
        match self.past.first() {
            Some(clause) => Err(self.near(&clause.begins)),
            None if self.at_end() => Ok(()),
            None => Err(self.unexpected()),
        }
    }

    pub fn next(&mut self) -> Token {
        self.parser.next_token().token
    }

    /// Takes `n` tokens.
    pub fn skip(&mut self, n: usize, statement: Statement) -> Result<Statement> {
        (0..n).for_each(|_| self.parser.advance_token());
        Ok(statement)
    }

    /// 1-based character where the next token begins.
    pub fn position(&self) -> usize {
        self.parser.peek_token_ref().span.start.column as usize
    }

    pub fn if_not_exists(&mut self) -> bool {
        self.accept(&["IF", "NOT", "EXISTS"])
    }

    /// An identifier, folded to lower case unless quoted.
    pub fn identifier(&mut self) -> Result<String> {
        let name = match &self.parser.peek_token_ref().token {
            Token::Word(Word { value, quote_style: None, .. }) => value.to_ascii_lowercase(),
            Token::Word(Word { value, quote_style: Some('"'), .. }) if !value.is_empty() => value.clone(),
            _ => return Err(self.unexpected()),
        };
        if self.word(0).eq_ignore_ascii_case(&name) && RESERVED.contains(&name.as_str()) {
            return Err(self.unexpected());
        }
        self.parser.advance_token();
        Ok(name)
    }

    /// The name of an object: `t` or `public.t`.
    pub fn name(&mut self) -> Result<String> {
        let position = self.position();
        let first = self.identifier()?;
        if !self.accept_symbol(".") {
            return Ok(first);
        }
        let second = self.identifier()?;
        if self.symbol(0, ".") {
            return Err(Error::unsupported("a name with a database").at(position));
        }
        if first != "public" {
            return Err(Error::new("3F000", format!("schema \"{first}\" does not exist")).at(position));
        }
        Ok(second)
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub fn string(&mut self) -> Result<String> {
        let value = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) | Token::UnicodeStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.parser.advance_token();
        Ok(value)
    }

    /// A string, number or word (folded), as SET and WITH take them.
    pub fn value(&mut self) -> Result<String> {
        let sign = if self.accept_symbol("-") { "-" } else { "" };
        if let Token::Number(digits, _) = &self.parser.peek_token_ref().token {
            let number = format!("{sign}{digits}");
            self.parser.advance_token();
            return Ok(number);
        }
        let word = match &self.parser.peek_token_ref().token {
            _ if !sign.is_empty() => return Err(self.unexpected()),
            Token::Word(Word { value, quote_style: None, .. }) => value.to_ascii_lowercase(),
            Token::Word(Word { value, .. }) => value.clone(),
            _ => return self.string(),
        };
        self.parser.advance_token();
        Ok(word)
    }

    /// `( name.name = value, … )`, after WITH.
    pub fn options(&mut self) -> Result<Options> {
        self.expect_symbol("(")?;
        let mut options = Options::new();
        if self.accept_symbol(")") {
            return Ok(options);
        }
        self.list(|r| {
            let position = r.position();
            let mut name = r.label()?;
            while r.accept_symbol(".") {
                name = format!("{name}.{}", r.label()?);
            }
            r.expect_symbol("=")?;
            let value = r.value()?;
            match options.insert(name.clone(), value) {
                None => Ok(()),
                Some(_) => Err(Error::syntax(format!("option \"{name}\" is given more than once")).at(position)),
            }
        })?;
        self.expect_symbol(")")?;
        Ok(options)
    }

    /// Any word, reserved or not.
    pub fn label(&mut self) -> Result<String> {
        match self.word(0).as_str() {
            "" => self.identifier(),
            word => {
                self.parser.advance_token();
                Ok(word.to_ascii_lowercase())
            }
        }
    }

    /// Passes over a parenthesis and everything in it.
    pub fn parenthesis(&mut self) -> Result<()> {
        self.expect_symbol("(")?;
        let mut open = 1;
        while open > 0 {
            if self.at_end() {
                return Err(self.unexpected());
            }
            match self.next() {
                Token::LParen => open += 1,
                Token::RParen => open -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    pub fn query(&mut self) -> Result<Box<ast::Query>> {
        let query = self.parser.parse_query().map_err(|e| self.syntax(e))?;
        self.names(query)
    }

    pub fn data_type(&mut self) -> Result<ast::DataType> {
        let kind = self.parser.parse_data_type();
        kind.map_err(|e| self.syntax(e))
    }

    /// Any statement sqlparser knows.
    pub fn standard(&mut self) -> Result<ast::Statement> {
        let statement = self.parser.parse_statement().map_err(|e| self.syntax(e))?;
        self.names(statement)
    }

    /// sqlparser takes more words for names of relations than Postgres does, and reads more than is understood.
    fn names<T: ast::Visit + ast::VisitMut>(&mut self, mut read: T) -> Result<T> {
        // Before anything else walks it.
        chain::flatten(&mut read);
        depth::measure(&read)?;
        time_travel::put(&mut read, &mut self.past);
        if let Some(error) = unsupported::find(&read) {
            return Err(error);
        }
        let reserved = ast::visit_relations(&read, |name| match name.0.first().and_then(reserved) {
            Some(word) => ControlFlow::Break(self.token_at(word.span.start.column)),
            None => ControlFlow::Continue(()),
        });
        match reserved {
            ControlFlow::Break(token) => Err(self.near(token)),
            ControlFlow::Continue(()) => Ok(read),
        }
    }

    /// A syntax error at the next token.
    pub fn unexpected(&self) -> Error {
        self.near(self.parser.peek_token_ref())
    }

    fn near(&self, token: &TokenWithSpan) -> Error {
        let (from, to) = (token.span.start.column as usize, token.span.end.column as usize);
        if token.token == Token::EOF {
            let end = self.text.chars().count() + 1;
            return Error::syntax("syntax error at end of input").at(end);
        }
        let found: String = self.text.chars().skip(from.saturating_sub(1)).take(to.saturating_sub(from)).collect();
        Error::syntax(format!("syntax error at or near \"{found}\"")).at(from)
    }

    /// sqlparser's error as Postgres would say it; what was expected instead is the detail.
    fn syntax(&self, error: ParserError) -> Error {
        let message = match error {
            ParserError::RecursionLimitExceeded => return depth::exceeded(),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        let (message, column) = match message.rsplit_once(" at Line: 1, Column: ") {
            Some((message, column)) => (message, column.parse::<u64>().ok()),
            None => (message.as_str(), None),
        };
        let wanted =
            message.strip_prefix("Expected: ").and_then(|m| m.rsplit_once(", found: ")).map(|(wanted, _)| wanted);
        match (wanted, column) {
            (Some(wanted), Some(column)) => self.near(self.token_at(column)).detail(format!("Expected {wanted}.")),
            (Some(wanted), None) => self.near(self.token_at(u64::MAX)).detail(format!("Expected {wanted}.")),
            (None, column) => Error { position: column.map(|c| c as usize), ..Error::syntax(sentence(message)) },
        }
    }

    /// The token that begins at `column`; the end if none does.
    fn token_at(&self, column: u64) -> &TokenWithSpan {
        // `token_at` answers EOF beyond the last token, also of an empty statement.
        (0..)
            .map(|i| self.parser.token_at(i))
            .find(|t| {
                t.token == Token::EOF || (t.span.start.column >= column && !matches!(t.token, Token::Whitespace(_)))
            })
            .unwrap_or_else(|| self.parser.peek_token_ref())
    }
}
