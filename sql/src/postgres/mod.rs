//! What PostgreSQL has: its types, functions, operators and casts, and its rules for choosing among them.
//!
//! The lists beside this file are facts of PostgreSQL 18's own catalogs, one entry a line, names instead of numbers where they are
//! unique: what takes or gives `internal` or `cstring` is left out, since no statement can call it, or a list of its own. Whether Weir can
//! run an entry is another question; what an expression *means* depends on all of them.
//!
//! [`types`], [`functions`], [`operators`] and [`casts`] are the lists; [`coerce`] says which value can stand for which type,
//! [`polymorphic`] what `anyelement` and its like are in a call, [`resolve`] which entry a name and its arguments mean.

pub mod casts;
pub mod coerce;
pub mod functions;
pub mod operators;
pub mod polymorphic;
pub mod resolve;
pub mod types;

pub use types::Oid;

/// The fields of each line of a list.
fn lines<const N: usize>(list: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    list.lines().map(|line| {
        let mut fields = line.split('\t');
        let found = std::array::from_fn(|_| fields.next().expect("a line has all its fields"));
        assert!(fields.next().is_none(), "a line has no more fields: {line}");
        found
    })
}

/// A field that may be empty.
fn present(field: &'static str) -> Option<&'static str> {
    (field != "-").then_some(field)
}

fn number<T: std::str::FromStr>(field: &str) -> T {
    field.parse().ok().expect("a number")
}
