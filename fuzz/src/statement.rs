//! What a client says: SQL text to statements.

use crate::Target;
use crate::memory::Bound;

/// A parenthesis is a query, whose node takes some kilobytes.
pub const TARGET: Target =
    Target { name: "statement", bound: Bound { constant: 1 << 20, factor: 16 << 10 }, seeds, run };

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match weir_sql::statement::parse(text) {
        Ok(parsed) => parsed.iter().for_each(|p| assert!(text.contains(&p.text), "a text that nobody sent")),
        Err(error) => {
            let end = text.chars().count() + 1;
            assert!(error.position.is_none_or(|at| (1..=end).contains(&at)), "{error:?} in a text of {end} characters");
        }
    }
}

/// A line each.
fn seeds() -> Vec<Vec<u8>> {
    include_str!("statements.sql").lines().map(|line| line.as_bytes().to_vec()).collect()
}
