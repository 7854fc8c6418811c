//! `TABLE t` as what it stands for, `SELECT * FROM t`: sqlparser reads the name and loses the words after it.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

const SETS: &[&str] = &["EXCEPT", "INTERSECT", "UNION"];
/// What a query may stand after, and what a parenthesis may that begins one.
const BEFORE: &[&str] = &["", ")", "AS", "EXCEPT", "EXPLAIN", "INTERSECT", "UNION", "VERBOSE"];
const OPENING: &[&str] = &[
    "",
    "(",
    ",",
    "ALL",
    "ANY",
    "ARRAY",
    "AS",
    "COPY",
    "DISTINCT",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FROM",
    "IN",
    "INTERSECT",
    "JOIN",
    "MATERIALIZED",
    "SELECT",
    "SOME",
    "UNION",
];
/// What may stand after the name.
const AFTER: &[&str] = &["", ")", "EXCEPT", "FETCH", "FOR", "INTERSECT", "LIMIT", "OFFSET", "ORDER", "UNION"];

/// Spells out each that begins a query and is nothing but a name. What else begins so is left for the parser to complain about.
pub fn spell(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| sign(token) == "TABLE") {
        return tokens;
    }
    let real: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let found: Vec<usize> = (0..real.len()).filter(|at| begins(&tokens, &real, *at)).map(|at| real[at]).collect();
    let mut spelt = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.into_iter().enumerate() {
        if found.binary_search(&at).is_err() {
            spelt.push(token);
            continue;
        }
        let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
        spelt.extend(words.map(|word| TokenWithSpan::new(word, token.span)));
    }
    spelt
}

/// Whether the `at`th of the tokens that are no blanks begins such a query.
fn begins(tokens: &[TokenWithSpan], real: &[usize], at: usize) -> bool {
    let token = |at: usize| real.get(at).map(|at| &tokens[*at]);
    let sign_at = |at: usize| token(at).map_or(String::new(), sign);
    let back = |by: usize| at.checked_sub(by).map_or(String::new(), sign_at);
    let is_name = |at: usize| token(at).is_some_and(|token| matches!(token.token, Token::Word(_)));
    if sign_at(at) != "TABLE" || !is_name(at + 1) {
        return false;
    }
    let is_query = match back(1).as_str() {
        "(" => OPENING.contains(&back(2).as_str()),
        "ALL" | "DISTINCT" => SETS.contains(&back(2).as_str()),
        before => BEFORE.contains(&before),
    };
    let is_qualified = token(at + 2).is_some_and(|token| token.token == Token::Period) && is_name(at + 3);
    let after = sign_at(if is_qualified { at + 4 } else { at + 2 });
    is_query && AFTER.contains(&after.as_str())
}

/// An unquoted word in upper case, or a sign that says something here; nothing for the end, and for others what none of these is.
fn sign(token: &TokenWithSpan) -> String {
    match &token.token {
        Token::Word(Word { value, quote_style: None, .. }) => value.to_ascii_uppercase(),
        Token::LParen => "(".into(),
        Token::RParen => ")".into(),
        Token::Comma => ",".into(),
        Token::EOF => String::new(),
        _ => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::statement::{Statement, parse};

    fn read(sql: &str) -> String {
        match parse(sql).map(|mut parsed| parsed.remove(0).statement) {
            Ok(Statement::Query(query)) => query.to_string(),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("{} {}", error.sqlstate, error.message),
        }
    }

    #[test]
    fn what_follows_the_name_of_a_table_is_read() {
        for (sql, expected) in [
            ("TABLE t", "SELECT * FROM t"),
            ("table public . \"T\" LIMIT 5", "SELECT * FROM public.\"T\" LIMIT 5"),
            ("TABLE t ORDER BY a OFFSET 1", "SELECT * FROM t ORDER BY a OFFSET 1"),
            ("TABLE t UNION ALL TABLE u", "SELECT * FROM t UNION ALL SELECT * FROM u"),
            ("(TABLE t) LIMIT 1", "(SELECT * FROM t) LIMIT 1"),
            ("WITH x AS (TABLE t) TABLE x", "WITH x AS (SELECT * FROM t) SELECT * FROM x"),
            ("SELECT * FROM (TABLE t LIMIT 1) s", "SELECT * FROM (SELECT * FROM t LIMIT 1) s"),
            ("SELECT a AS table FROM t", "SELECT a AS table FROM t"),
            ("TABLE t WHERE a = 1", "42601 syntax error at or near \"=\""),
        ] {
            assert_eq!(read(sql), expected, "{sql}");
        }
    }
}
