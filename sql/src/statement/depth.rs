//! How deep a statement's tree can become, told by its tokens before it is built, and how deep it is.
//!
//! sqlparser limits how deep it calls itself, but a chain of operators makes a tree that leans to the left and is as deep as the
//! chain is long. Whoever walks it, or only drops it, takes stack for each level, and a stack that overflows ends the process. What
//! [`super::chain`] makes flat is deep only until then, on a stack of its own; what stays deep is bounded for all that come after.

use crate::error::{Error, Result};
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, TableFactor, TableWithJoins, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use std::ops::ControlFlow;

/// Of what is made flat: dropping so deep a tree, if it is not, takes less than [`ROOM`].
const LIMIT: usize = 50_000;
/// What stays deep weighs as much more as the stack it takes to plan it: thousand of them are too many.
const HEAVY: usize = LIMIT / 1000;
/// Each of a chain of queries takes as much stack as three operators.
const QUERY: usize = 3 * HEAVY;
/// Levels of a tree that has been made flat. Planning takes some kilobytes of stack a level when not optimised, and threads have
/// 16 MiB.
const LEVELS: usize = 500;

/// Stack for reading long statements, of which only what is used is taken; and how many tokens are few enough to do without.
const ROOM: usize = 256 << 20;
const SHORT: usize = 300;

/// Queries of a statement, whatever they are to each other: the tree of each takes some ten kilobytes, and it is copied while it is
/// prepared.
const SELECTS: usize = 4_000;

/// Words that continue a chain of expressions; all punctuation does, too.
const OPERATORS: &[&str] = &[
    "AT", "COLLATE", "ESCAPE", "ILIKE", "IN", "IS", "ISNULL", "LIKE", "NOT", "NOTNULL", "OPERATOR", "OVERLAPS",
    "SIMILAR",
];
const CONNECTIVES: &[&str] = &["AND", "OR"];
const QUERIES: &[&str] = &["EXCEPT", "INTERSECT", "MINUS", "UNION"];

/// What stands within one pair of parentheses or brackets, or in one CASE.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Of the queries that are chained here; a comma does not end them.
    queries: usize,
    /// ANDs and ORs since the last comma: nothing binds less tightly, so each ends a chain of other operators.
    connectives: usize,
    /// Operators since the last of those, and the deepest of what is nested among them.
    operators: usize,
    within: usize,
    /// The deepest of the operands of the connectives before.
    operand: usize,
    /// BETWEENs whose AND is to come.
    between: usize,
    /// The deepest of what was before the last comma.
    before: usize,
    /// It ends with END.
    case: bool,
}

impl Level {
    fn depth(self) -> usize {
        self.queries + self.before.max(self.item())
    }

    /// Of what is between two commas.
    fn item(self) -> usize {
        self.connectives + self.operand.max(self.operators + self.within)
    }

    fn comma(&mut self) {
        let Level { queries, case, .. } = *self;
        *self = Level { queries, case, before: self.before.max(self.item()), ..Level::default() };
    }

    fn word(&mut self, word: &str) {
        let is = |words: &[&str]| words.iter().any(|other| other.eq_ignore_ascii_case(word));
        match () {
            () if is(&["BETWEEN"]) => {
                self.between += 1;
                self.operators += HEAVY;
            }
            () if is(&["AND"]) && self.between > 0 => self.between -= 1,
            () if is(CONNECTIVES) => {
                self.operand = self.operand.max(self.operators + self.within);
                (self.operators, self.within) = (0, 0);
                self.connectives += 1;
            }
            () if is(OPERATORS) => self.operators += HEAVY,
            () if is(QUERIES) => self.queries += QUERY,
            // Each begins an expression of its own.
            () if self.case && is(&["WHEN", "THEN", "ELSE"]) => self.comma(),
            () => {}
        }
    }
}

/// Refuses what is too deep.
pub fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut level, mut outer): (Level, Vec<Level>) = (Level::default(), vec![]);
    let mut selects = 0;
    for token in tokens {
        let mut open =
            |level: &mut Level, case| outer.push(std::mem::replace(level, Level { case, ..Level::default() }));
        let closes = match &token.token {
            Token::LParen => {
                open(&mut level, false);
                false
            }
            Token::LBracket => {
                level.operators += HEAVY;
                open(&mut level, false);
                false
            }
            // What closes too much is told of by the parser.
            Token::RParen | Token::RBracket => true,
            Token::Comma => {
                level.comma();
                false
            }
            Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case("CASE") => {
                open(&mut level, true);
                false
            }
            Token::Word(Word { value, quote_style: None, .. }) => {
                selects += usize::from(value.eq_ignore_ascii_case("SELECT"));
                level.word(value);
                level.case && value.eq_ignore_ascii_case("END")
            }
            Token::Number(..) | Token::Placeholder(_) | Token::Whitespace(_) | Token::Word(_) | Token::EOF => false,
            other if is_text(other) => false,
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::Caret | Token::StringConcat => {
                level.operators += 1;
                false
            }
            _ => {
                level.operators += HEAVY;
                false
            }
        };
        if closes {
            let depth = level.depth();
            level = outer.pop().unwrap_or_default();
            level.within = level.within.max(depth);
        }
        let position = token.span.start.column as usize;
        if selects > SELECTS {
            return Err(exceeded().detail(format!("It has more than {SELECTS} queries.")).at(position));
        }
        if level.depth() > LIMIT {
            let error = exceeded().detail("It has a chain of operators or of queries that is too long.");
            return Err(error.hint("Write many values as a list: x IN (1, 2, 3).").at(position));
        }
    }
    Ok(())
}

/// Runs what builds and takes apart the tree of so many tokens.
pub fn with_room<T>(tokens: usize, read: impl FnOnce() -> T) -> T {
    if tokens <= SHORT { read() } else { stacker::grow(ROOM, read) }
}

pub fn exceeded() -> Error {
    Error::new("54001", "statement is nested too deeply")
}

/// Refuses what is too deep although it has been made flat.
pub fn measure<T: Visit>(read: &T) -> Result<()> {
    match read.visit(&mut Depth(0)) {
        ControlFlow::Break(()) => Err(exceeded().detail(format!("It has more than {LEVELS} levels."))),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Depth(usize);

impl Depth {
    fn down(&mut self, levels: usize) -> ControlFlow<()> {
        self.0 += levels;
        if self.0 > LEVELS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn up(&mut self, levels: usize) -> ControlFlow<()> {
        self.0 -= levels;
        ControlFlow::Continue(())
    }
}

/// A list of relations is no deep tree, but what is made of it is one: each is joined with all before it.
fn joins(from: &[TableWithJoins]) -> usize {
    let within = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => joins(std::slice::from_ref(table_with_joins)),
        _ => 0,
    };
    let relations = |tables: &TableWithJoins| {
        let joined = tables.joins.iter().map(|join| 1 + within(&join.relation));
        1 + within(&tables.relation) + joined.sum::<usize>()
    };
    from.iter().map(relations).sum::<usize>().saturating_sub(1)
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.down(1)
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.up(1)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.down(joins(&select.from))
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.up(joins(&select.from))
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.down(1)
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.up(1)
    }
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
            Err(error) if error.sqlstate == "42601" => false,
            Err(error) => panic!("{error:?}"),
        });
        parsing.expect("a thread").join().expect("no panic")
    }

    #[test]
    fn a_chain_that_would_overflow_the_stack_is_refused_before_it_is_read() {
        for link in [
            " BETWEEN 1 AND 2",
            "+1",
            " OR b",
            "[1]",
            "::int",
            " IS NULL",
            " AT TIME ZONE 'b'",
            "->'b'",
            " UNION SELECT a",
        ] {
            assert!(refused(format!("SELECT a{}", link.repeat(200_000))), "{link}");
            assert!(!refused(format!("SELECT a{}", link.repeat(100))), "{link}");
        }
        for link in ["+1", " OR b = c", "||a", " AND b*a", "+ CASE WHEN a > 1 THEN b = c END"] {
            assert!(!refused(format!("SELECT a{}", link.repeat(20_000))), "{link}");
            assert!(!refused(format!("SELECT a{} FROM (SELECT", link.repeat(20_000))), "{link}: an error is told, too");
        }
        for link in [", t", " CROSS JOIN t", " NATURAL FULL JOIN t", " LEFT JOIN (t JOIN t ON true) ON true"] {
            assert!(refused(format!("SELECT 1 FROM t{}", link.repeat(20_000))), "{link}");
            assert!(!refused(format!("SELECT 1 FROM t{}", link.repeat(100))), "{link}");
        }
        assert!(!refused(format!("SELECT 1 FROM t, t{}", " UNION ALL SELECT 1 FROM t, t".repeat(300))));
        assert!(refused(format!("CREATE TABLE t (a int{})", "[]".repeat(200_000))));
        assert!(refused(format!("SELECT {}", "a, b UNION SELECT ".repeat(200_000))));
    }

    #[test]
    fn parentheses_add_their_depth_and_a_list_may_be_long() {
        let chain = |inner: &str| format!("({inner}{})", "::int".repeat(240));
        assert!(!refused(format!("SELECT {}", chain(&chain("a")))));
        assert!(refused(format!("SELECT {}", chain(&chain(&chain("a"))))));
        assert!(!refused(format!("SELECT {}a{}", "f(".repeat(400), ")".repeat(400))));
        for open in ["f(", "(", "- ", "NOT ", "CASE WHEN ", "ARRAY[", "(SELECT ", "x IN (", "f(x, CASE a WHEN "] {
            assert!(refused(format!("SELECT {}", open.repeat(100_000))), "{open}");
        }
        assert!(!refused(format!("SELECT 1 IN (1{})", ", 2 + 2".repeat(20_000))));
        assert!(!refused(format!("INSERT INTO t VALUES (1, -1){}", ", (-2, '-')".repeat(20_000))));
    }
}
