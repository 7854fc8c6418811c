//! PostgreSQL's functions, aggregates and window functions.

use super::list::{self, lines, number, present};
use super::types::{Oid, of};
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Function,
    Aggregate,
    /// An aggregate WITHIN GROUP, with so many arguments that are the same for all rows.
    OrderedSet(usize),
    /// An ordered-set aggregate of a hypothetical row.
    Hypothetical(usize),
    Window,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Volatility {
    Immutable,
    /// The same in all of a statement.
    Stable,
    Volatile,
}

/// A function as pg_proc has it.
#[derive(Debug)]
pub struct Function {
    pub oid: u32,
    pub name: &'static str,
    pub kind: Kind,
    /// NULL if any argument is.
    pub is_strict: bool,
    /// Gives any number of rows.
    pub is_set: bool,
    pub volatility: Volatility,
    /// The element of its last argument, an array, in whose place any number of values may stand.
    pub variadic: Option<Oid>,
    /// So many arguments at the end may be left out.
    pub defaults: usize,
    pub result: Oid,
    pub arguments: Vec<Oid>,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| read(include_str!("functions.txt")));

static INTERNALS: LazyLock<Vec<Function>> = LazyLock::new(|| read(include_str!("internals.txt")));

static BY_OID: LazyLock<HashMap<u32, &'static Function>> =
    LazyLock::new(|| all().iter().chain(internals()).map(|function| (function.oid, function)).collect());

fn read(list: &'static str) -> Vec<Function> {
    let function = |fields: [&'static str; 10]| {
        let [oid, name, kind, strict, set, volatility, variadic, defaults, result, arguments] = fields;
        Function {
            oid: number(oid),
            name,
            kind: match kind.split_at(1) {
                ("a", _) => Kind::Aggregate,
                ("o", direct) => Kind::OrderedSet(number(direct)),
                ("h", direct) => Kind::Hypothetical(number(direct)),
                ("w", _) => Kind::Window,
                _ => Kind::Function,
            },
            is_strict: strict == "strict",
            is_set: set == "set",
            volatility: match volatility {
                "i" => Volatility::Immutable,
                "s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            variadic: present(variadic).map(of),
            defaults: number(defaults),
            result: of(result),
            arguments: arguments.split_terminator(' ').map(of).collect(),
        }
    };
    lines(list).map(function).collect()
}

/// All of them, by name.
pub fn all() -> &'static [Function] {
    &FUNCTIONS
}

/// Those that know the values of types and take or give what no statement has, by name.
pub fn internals() -> &'static [Function] {
    &INTERNALS
}

/// Of all these.
pub fn by_oid(oid: u32) -> Option<&'static Function> {
    BY_OID.get(&oid).copied()
}

/// Those of a name that statements can call, none if there is none.
pub fn named(name: &str) -> &'static [Function] {
    list::named(&FUNCTIONS, |function| function.name, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name() {
        assert!(all().windows(2).all(|pair| (pair[0].name, pair[0].oid) < (pair[1].name, pair[1].oid)));
        assert_eq!(named("abs").len(), 6);
        assert_eq!(named("no_such_function").len(), 0);
        assert_eq!(named("percentile_cont")[0].kind, Kind::OrderedSet(1));
        assert_eq!(named("concat")[0].variadic, Some(super::super::types::ANY));
        assert!(named("pi")[0].arguments.is_empty());
        assert_eq!(by_oid(1397).map(|function| function.name), Some("abs"));
    }

    #[test]
    fn types_name_functions_that_are_listed() {
        for kind in super::super::types::all() {
            for function in kind.functions.all() {
                assert!(by_oid(function).is_some(), "{} of {}", function, kind.name);
            }
        }
        assert!(internals().iter().all(|function| !all().iter().any(|other| other.oid == function.oid)));
    }
}
