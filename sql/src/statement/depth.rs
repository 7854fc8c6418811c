//! How deep a statement's tree can become, told by its tokens before it is built.
//!
//! sqlparser limits how deep parentheses go, but a chain of operators makes a tree that leans to the left and is as deep as the
//! chain is long. Whoever walks it, or only drops it, takes stack for each level, and a stack that overflows ends the process.

use crate::error::{Error, Result};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Planning takes some kilobytes of stack a level when not optimised, and threads have 16 MiB.
const LIMIT: usize = 1000;
/// Each of a chain of queries takes as much stack as three operators.
const QUERY: usize = 3;

/// Words that continue a chain of expressions; all punctuation does, too.
const OPERATORS: &[&str] = &[
    "AND", "AT", "BETWEEN", "COLLATE", "ESCAPE", "ILIKE", "IN", "IS", "ISNULL", "LIKE", "NOT", "NOTNULL", "OPERATOR",
    "OR", "OVERLAPS", "SIMILAR",
];
const QUERIES: &[&str] = &["EXCEPT", "INTERSECT", "MINUS", "UNION"];

/// What stands within one pair of parentheses or brackets.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Of the queries that are chained here; a comma does not end them.
    queries: usize,
    /// Operators since the last comma, and the deepest of the parentheses among them.
    operators: usize,
    within: usize,
    /// The deepest of what was before the last comma.
    before: usize,
}

impl Level {
    fn depth(self) -> usize {
        self.queries + self.before.max(self.operators + self.within)
    }

    fn comma(&mut self) {
        self.before = self.before.max(self.operators + self.within);
        (self.operators, self.within) = (0, 0);
    }
}

/// Refuses what is too deep.
pub fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut level, mut outer) = (Level::default(), vec![]);
    for token in tokens {
        match &token.token {
            Token::LParen => outer.push(std::mem::take(&mut level)),
            Token::LBracket => {
                level.operators += 1;
                outer.push(std::mem::take(&mut level));
            }
            Token::RParen | Token::RBracket => {
                let depth = level.depth() + 1;
                // What closes too much is told of by the parser.
                level = outer.pop().unwrap_or_default();
                level.within = level.within.max(depth);
            }
            Token::Comma => level.comma(),
            Token::Word(Word { value, quote_style: None, .. }) => {
                let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
                level.operators += usize::from(is(OPERATORS));
                level.queries += if is(QUERIES) { QUERY } else { 0 };
            }
            Token::Word(_) | Token::Number(..) | Token::Placeholder(_) | Token::Whitespace(_) | Token::EOF => {}
            other if is_text(other) => {}
            _ => level.operators += 1,
        }
        if level.depth() > LIMIT {
            let error = Error::new("54001", "statement is nested too deeply");
            let error = error.detail("It has a chain of operators or of queries that is too long.");
            return Err(error
                .hint("Write many values as a list: x IN (1, 2, 3).")
                .at(token.span.start.column as usize));
        }
    }
    Ok(())
}

fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}

#[cfg(test)]
mod tests {
    use crate::statement::parse;

    /// As the limit is meant to be met in these: on a thread with the stack that the server's have.
    fn refused(sql: String) -> bool {
        let parsing = std::thread::Builder::new().stack_size(16 << 20).spawn(move || match parse(&sql) {
            Ok(_) => false,
            Err(error) if error.sqlstate == "54001" => true,
            Err(error) => panic!("{error:?}"),
        });
        parsing.expect("a thread").join().expect("no panic")
    }

    #[test]
    fn a_chain_that_would_overflow_the_stack_is_refused_before_it_is_read() {
        for link in ["+1", " OR b", "[1]", "::int", " IS NULL", " AT TIME ZONE 'b'", "->'b'", " UNION SELECT a"] {
            assert!(refused(format!("SELECT a{}", link.repeat(200_000))), "{link}");
            assert!(!refused(format!("SELECT a{}", link.repeat(100))), "{link}");
        }
        assert!(refused(format!("CREATE TABLE t (a int{})", "[]".repeat(200_000))));
        assert!(refused(format!("SELECT {}", "a, b UNION SELECT ".repeat(200_000))));
    }

    #[test]
    fn parentheses_add_their_depth_and_a_list_may_be_long() {
        let chain = |inner: &str| format!("({inner}{})", " + a".repeat(400));
        assert!(!refused(format!("SELECT {}", chain(&chain("a")))));
        assert!(refused(format!("SELECT {}", chain(&chain(&chain("a"))))));
        assert!(!refused(format!("SELECT 1 IN (1{})", ", 2 + 2".repeat(20_000))));
        assert!(!refused(format!("INSERT INTO t VALUES (1, -1){}", ", (-2, '-')".repeat(20_000))));
    }
}
