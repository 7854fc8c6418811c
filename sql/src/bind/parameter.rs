//! `$1`, `$2`, …: of the types the client gave them, or else of what they first stand for.

use super::position::placed;
use crate::bound::Kind;
use crate::error::{Error, Result};
use crate::postgres::types::{Oid, UNKNOWN};
use std::collections::{BTreeMap, BTreeSet};

/// As many as the protocol can number.
pub const MOST: usize = 65_535;

/// Those of a statement, by number.
#[derive(Clone, Debug)]
pub struct Parameters {
    kinds: Vec<Kind>,
    /// Where in the text each one was written last.
    written: BTreeMap<usize, Option<usize>>,
    /// Those that stand where values of any type may be, in the order in which they do, with their places in the text.
    open: Vec<(usize, Option<usize>)>,
}

impl Parameters {
    /// UNKNOWN is not given.
    pub fn new(declared: &[Kind]) -> Self {
        Self { kinds: declared.to_vec(), written: BTreeMap::new(), open: vec![] }
    }

    /// The one of a number is written there; its type so far.
    pub fn write(&mut self, number: usize, position: Option<usize>) -> Kind {
        self.written.insert(number, position);
        self.used(number)
    }

    /// One that is UNKNOWN stands where values of any type may be.
    pub fn leave(&mut self, number: usize) {
        self.open.push((number, self.written.get(&number).copied().flatten()));
    }

    /// The type so far of the one of a number, from 1 to [`MOST`].
    pub fn used(&mut self, number: usize) -> Kind {
        if self.kinds.len() < number {
            self.kinds.resize(number, Kind::UNKNOWN);
        }
        self.kinds[number - 1]
    }

    /// One that was UNKNOWN where it was used stands for a value of `target`. Error 42P08: it stood for one of another type in the
    /// meantime.
    pub fn stand_for(&mut self, number: usize, target: Oid) -> Result<()> {
        let kind = self.used(number);
        if kind.oid != UNKNOWN && kind.oid != target {
            return Err(Error::new("42P08", format!("inconsistent types deduced for parameter ${number}"))
                .detail(format!("{kind} versus {target}")));
        }
        if kind.oid == UNKNOWN {
            self.kinds[number - 1] = target.into();
        }
        Ok(())
    }

    /// The types of all; those of which nothing tells the type are text. Error 42P08: one stood where values of any type may be before its
    /// type was known; 42P18: one stood only there, or is not written at all.
    pub fn finish(&self) -> Result<Vec<Kind>> {
        let is_known = |number: usize| self.kinds.get(number - 1).is_some_and(|kind| kind.oid != UNKNOWN);
        let undetermined = |sqlstate, number: usize| {
            Error::new(sqlstate, format!("could not determine data type of parameter ${number}"))
        };
        if let Some((number, position)) = self.open.iter().find(|(number, _)| is_known(*number)) {
            return Err(placed(undetermined("42P08", *number), *position));
        }
        let open: BTreeSet<usize> = self.open.iter().map(|(number, _)| *number).collect();
        let is_told = |number: usize| is_known(number) || self.written.contains_key(&number) && !open.contains(&number);
        if let Some(number) = (1..=self.kinds.len()).find(|number| !is_told(*number)) {
            return Err(undetermined("42P18", number));
        }
        Ok(self.kinds.iter().map(|kind| if kind.oid == UNKNOWN { Kind::TEXT } else { *kind }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::types::{BOOL, TEXT};

    #[test]
    fn a_parameter_is_of_the_type_it_first_stands_for() {
        let mut parameters = Parameters::new(&[BOOL.into(), Kind::UNKNOWN]);
        assert_eq!(parameters.used(1), BOOL.into());
        assert_eq!(parameters.used(4), Kind::UNKNOWN);
        assert_eq!(parameters.stand_for(2, BOOL), Ok(()));
        assert_eq!(parameters.stand_for(2, BOOL), Ok(()));
        let error = parameters.stand_for(2, TEXT).expect_err("it is a truth value");
        assert_eq!((error.sqlstate, error.detail.as_deref()), ("42P08", Some("boolean versus text")));
        assert_eq!(parameters.finish().expect_err("3 is not written").sqlstate, "42P18");
        parameters.write(3, None);
        parameters.write(4, None);
        assert_eq!(parameters.finish(), Ok(vec![BOOL.into(), BOOL.into(), Kind::TEXT, Kind::TEXT]));
    }

    #[test]
    fn one_that_may_be_of_any_type_is_of_none() {
        let mut parameters = Parameters::new(&[]);
        assert_eq!(parameters.write(1, Some(8)), Kind::UNKNOWN);
        parameters.leave(1);
        let told = |parameters: &Parameters| parameters.finish().map_err(|error| (error.sqlstate, error.position));
        assert_eq!(told(&parameters), Err(("42P18", None)));
        assert_eq!(parameters.stand_for(1, BOOL), Ok(()));
        assert_eq!(told(&parameters), Err(("42P08", Some(8))));
    }
}
