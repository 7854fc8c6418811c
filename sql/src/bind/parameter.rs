//! `$1`, `$2`, …: of the types the client gave them, or else of what they first stand for.

use super::position::placed;
use crate::bound::Kind;
use crate::error::{Error, Result};
use crate::postgres::types::{Oid, UNKNOWN};

/// As many as the protocol can number.
pub const MOST: usize = 65_535;

/// Those of a statement, by number.
#[derive(Clone, Debug)]
pub struct Parameters {
    kinds: Vec<Kind>,
    /// Where each was seen last.
    places: Vec<Option<usize>>,
}

impl Parameters {
    /// UNKNOWN is not given.
    pub fn new(declared: &[Kind]) -> Self {
        Self { kinds: declared.to_vec(), places: vec![None; declared.len()] }
    }

    /// One is used at `position`.
    pub fn see(&mut self, number: usize, position: Option<usize>) {
        self.used(number);
        self.places[number - 1] = position;
    }

    /// The type so far of the one of a number, from 1 to [`MOST`].
    pub fn used(&mut self, number: usize) -> Kind {
        if self.kinds.len() < number {
            self.kinds.resize(number, Kind::UNKNOWN);
            self.places.resize(number, None);
        }
        self.kinds[number - 1]
    }

    /// One that was UNKNOWN where it was used stands for a value of `target`. Error 42P08: it stood for one of another type in the meantime.
    pub fn stand_for(&mut self, number: usize, target: Oid) -> Result<()> {
        let kind = self.used(number);
        if kind.oid != UNKNOWN && kind.oid != target {
            let error = Error::new("42P08", format!("inconsistent types deduced for parameter ${number}"));
            let error = error.detail(format!("{kind} versus {target}"));
            return Err(placed(error, self.places[number - 1]));
        }
        if kind.oid == UNKNOWN {
            self.kinds[number - 1] = target.into();
        }
        Ok(())
    }

    /// The types of all; those of which nothing tells the type are text.
    pub fn finish(&self) -> Vec<Kind> {
        self.kinds.iter().map(|kind| if kind.oid == UNKNOWN { Kind::TEXT } else { *kind }).collect()
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
        assert_eq!(parameters.finish(), [BOOL.into(), BOOL.into(), Kind::TEXT, Kind::TEXT]);
    }
}
