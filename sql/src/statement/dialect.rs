//! sqlparser's dialect of PostgreSQL, without what makes it read the same text again and again.
//!
//! There a function's argument is first read as if it were the name of one, `f(expression: value)`, and then once more as what it is, and
//! what begins with a word like CAST but has an error is read once more as a call of that name: nested, either takes 2^n steps. Here only a
//! word can be the name of an argument, as in PostgreSQL; but for some precedences everything else is sqlparser's.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Word};
use std::any::TypeId;

#[derive(Debug)]
pub struct Postgres;

pub const POSTGRES: &Postgres = &Postgres;

const THEIRS: PostgreSqlDialect = PostgreSqlDialect {};

/// What PostgreSQL's dialect supports, as it says itself.
macro_rules! as_theirs {
    ($($method:ident),* $(,)?) => {
        $(fn $method(&self) -> bool {
            THEIRS.$method()
        })*
    };
}

impl Dialect for Postgres {
    /// sqlparser asks in places which dialect it is.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        THEIRS.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        THEIRS.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        THEIRS.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        THEIRS.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        THEIRS.is_custom_operator_part(ch)
    }

    /// Words that begin an expression of their own kind: read once, also if there is an error in it, not again as a name.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        matches!(keyword, Keyword::ARRAY | Keyword::CASE | Keyword::CAST | Keyword::NOT)
            || THEIRS.is_reserved_for_identifier(keyword)
    }

    /// Likewise words that are names too, unless a parenthesis follows.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Token::Word(Word { keyword, quote_style: None, .. }) = &parser.peek_token_ref().token else { return None };
        let keyword = *keyword;
        if parser.peek_nth_token_ref(1).token != Token::LParen {
            return None;
        }
        match keyword {
            Keyword::SUBSTR | Keyword::SUBSTRING => return Some(parser.parse_substring()),
            Keyword::CEIL | Keyword::FLOOR | Keyword::EXTRACT => parser.advance_token(),
            _ => return None,
        }
        Some(match keyword {
            Keyword::EXTRACT => parser.parse_extract_expr(),
            ceil => parser.parse_ceil_floor_expr(ceil == Keyword::CEIL),
        })
    }

    /// Matches, and operators by their whole name, bind as closely as `||`, not as `=`.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        let other = match &parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => true,
            Token::Word(Word { keyword: Keyword::OPERATOR, .. }) => parser.peek_nth_token_ref(1).token == Token::LParen,
            _ => false,
        };
        if other { Some(Ok(self.prec_value(Precedence::PgOther))) } else { THEIRS.get_next_precedence(parser) }
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        THEIRS.prec_value(precedence)
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        THEIRS.parse_infix(parser, expr, precedence)
    }

    as_theirs!(
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_alter_column_type_using,
        supports_array_typedef_with_brackets,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_comment_on,
        supports_comment_optimizer_hint,
        supports_create_index_with_clause,
        supports_create_table_like_parenthesized,
        supports_empty_projections,
        supports_explain_with_utility_options,
        supports_factorial_operator,
        supports_filter_during_aggregation,
        supports_geometric_types,
        supports_group_by_expr,
        supports_insert_table_alias,
        supports_interval_options,
        supports_listen_notify,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_nested_comments,
        supports_notnull_operator,
        supports_numeric_literal_underscores,
        supports_select_wildcard_with_alias,
        supports_set_names,
        supports_string_escape_constant,
        supports_unicode_string_literal,
        supports_xml_expressions,
    );
}

#[cfg(test)]
mod tests {
    use crate::statement::{Statement, parse};
    use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions_mut};
    use std::ops::ControlFlow;

    #[test]
    fn matches_bind_as_closely_as_other_operators() {
        for (written, grouped) in [
            ("a = b ~ c", "a = (b ~ c)"),
            ("a ~ b || c", "(a ~ b) || c"),
            ("a !~~* b IN (c)", "(a !~~* b) IN (c)"),
            ("a = b OPERATOR(pg_catalog.+) c", "a = (b OPERATOR(pg_catalog.+) c)"),
        ] {
            let tree = |sql: &str| {
                let parsed = parse(&format!("SELECT {sql}")).expect("fine").remove(0).statement;
                let Statement::Query(mut query) = parsed else { panic!("{sql} is a query") };
                let _ = visit_expressions_mut(&mut query, |expr| {
                    if let Expr::Nested(inner) = expr {
                        *expr = std::mem::replace(inner, Expr::value(Value::Null));
                    }
                    ControlFlow::<()>::Continue(())
                });
                query
            };
            assert_eq!(tree(written), tree(grouped), "{written}");
        }
    }

    #[test]
    fn nested_calls_are_read_once_also_if_something_in_them_is_wrong() {
        for open in [
            "f(",
            "coalesce(",
            "cast(",
            "ceil(",
            "floor(",
            "extract(day from ",
            "substring(",
            "NOT (",
            "case when ",
            "array[",
        ] {
            let sql = format!("SELECT {}", open.repeat(200));
            let error = parse(&format!("{sql} ) :")).expect_err("nothing can be read so");
            assert_eq!(error.sqlstate, "42601", "{open}");
        }
        let nested = format!("SELECT {}a{}", "replace(".repeat(100), ", 'x', 'y')".repeat(100));
        assert_eq!(parse(&nested).expect("fine").len(), 1);
        for sql in
            ["SELECT ceil, floor, extract, substring FROM t", "SELECT f(a => 1), floor(2.5), extract(day from b)"]
        {
            assert_eq!(parse(sql).expect("fine").len(), 1, "{sql}");
        }
    }
}
