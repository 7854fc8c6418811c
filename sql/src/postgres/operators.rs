//! PostgreSQL's operators.

use super::list::{self, lines, number, present};
use super::types::{Oid, of};
use std::sync::LazyLock;

/// An operator as pg_operator has it.
#[derive(Debug)]
pub struct Operator {
    pub oid: u32,
    pub name: &'static str,
    /// `None`: it stands before its operand.
    pub left: Option<Oid>,
    pub right: Oid,
    pub result: Oid,
    /// The function of pg_proc that it calls.
    pub function: u32,
    /// The operator of swapped operands, and the one whose answer is the opposite.
    pub commutator: Option<u32>,
    pub negator: Option<u32>,
    /// Whether joins on it may merge or hash.
    pub can_merge: bool,
    pub can_hash: bool,
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

static OPERATORS: LazyLock<Vec<Operator>> = LazyLock::new(|| {
    let read = |fields: [&'static str; 10]| {
        let [oid, name, left, right, result, function, commutator, negator, merges, hashes] = fields;
        Operator {
            oid: number(oid),
            name,
            left: present(left).map(of),
            right: of(right),
            result: of(result),
            function: number(function),
            commutator: present(commutator).map(number),
            negator: present(negator).map(number),
            can_merge: merges == "merge",
            can_hash: hashes == "hash",
        }
    };
    lines(include_str!("operators.txt")).map(read).collect()
});

/// All of them, by name.
pub fn all() -> &'static [Operator] {
    &OPERATORS
}

/// Those of a name, none if there is none.
pub fn named(name: &str) -> &'static [Operator] {
    list::named(&OPERATORS, |operator| operator.name, name)
}

#[cfg(test)]
mod tests {
    use super::super::functions;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn operators_name_what_is_listed() {
        assert!(all().windows(2).all(|pair| (pair[0].name, pair[0].oid) < (pair[1].name, pair[1].oid)));
        let functions: BTreeSet<u32> = functions::all().iter().map(|function| function.oid).collect();
        let operators: BTreeSet<u32> = all().iter().map(|operator| operator.oid).collect();
        for operator in all() {
            assert!(functions.contains(&operator.function), "{operator:?}");
            assert!([operator.commutator, operator.negator].iter().flatten().all(|oid| operators.contains(oid)));
        }
    }
}
