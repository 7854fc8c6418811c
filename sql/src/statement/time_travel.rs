//! `FROM t FOR SYSTEM_TIME AS OF time`, which is not of the dialect: taken out of the tokens, and put into the tree once it is read.

use datafusion::sql::sqlparser::ast::{Expr, TableFactor, TableVersion, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use std::ops::ControlFlow;

const WORDS: [&str; 4] = ["FOR", "SYSTEM_TIME", "AS", "OF"];

/// One such clause.
pub struct Clause {
    time: Expr,
    /// Its first word, for an error at it.
    pub begins: TokenWithSpan,
    /// The column at which the name of its table begins.
    table: u64,
}

/// Takes all clauses out of `tokens`. What follows the words but is no expression stays, for the parser to complain about.
pub fn take(tokens: Vec<TokenWithSpan>, dialect: &'static dyn Dialect) -> (Vec<TokenWithSpan>, Vec<Clause>) {
    if !tokens.iter().any(|token| is_word(token, "SYSTEM_TIME")) {
        return (tokens, vec![]);
    }
    let (mut rest, mut clauses) = (Vec::with_capacity(tokens.len()), vec![]);
    let mut at = 0;
    while at < tokens.len() {
        let before = rest.iter().rev().find(|token: &&TokenWithSpan| !is_blank(token));
        let table = before.filter(|token| matches!(token.token, Token::Word(_))).map(|token| token.span.start.column);
        match table.zip(begins(&tokens[at..])).and_then(|(table, words)| {
            let mut parser = Parser::new(dialect).with_tokens_with_locations(tokens[at + words..].to_vec());
            // A word alone is no time, but may be the one that comes next, as in `AS OF WHERE`.
            let time = parser.parse_expr().ok().filter(|time| !matches!(time, Expr::Identifier(_)))?;
            Some((Clause { time, begins: tokens[at].clone(), table }, words + parser.index()))
        }) {
            Some((clause, taken)) => {
                clauses.push(clause);
                at += taken;
            }
            None => {
                rest.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    (rest, clauses)
}

/// How many tokens the words of a clause are, if they come first.
fn begins(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut at = 0;
    for (index, word) in WORDS.iter().enumerate() {
        at += tokens[at..].iter().take_while(|token| index > 0 && is_blank(token)).count();
        if !is_word(tokens.get(at)?, word) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

fn is_blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

/// Gives the tables in `read` their clauses; those of other tables remain.
pub fn put(read: &mut impl VisitMut, clauses: &mut Vec<Clause>) {
    if !clauses.is_empty() {
        // Nothing breaks off.
        let _ = read.visit(&mut Tables(clauses));
    }
}

struct Tables<'a>(&'a mut Vec<Clause>);

impl VisitorMut for Tables<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, version, args: None, .. } = factor
            && let Some(last) = name.0.last().and_then(|part| part.as_ident())
            && let Some(found) = self.0.iter().position(|clause| clause.table == last.span.start.column)
        {
            *version = Some(TableVersion::ForSystemTimeAsOf(self.0.swap_remove(found).time));
        }
        ControlFlow::Continue(())
    }
}
