//! Postgres' aggregates: what each keeps of a group's values ([`total`]) and what it makes of that. One family per
//! file.
//!
//! A view keeps it in arrangements, SELECT and windows in memory ([`select`]); the values that come out are made by one
//! function for all of them. An aggregate is a [`Definition`]: a new one is its file and a line in [`FAMILIES`].

mod average;
mod count;
mod definition;
mod min_max;
pub mod select;
mod sum;
mod truth;
mod variance;

pub use self::average::AVG;
pub use self::count::COUNT;
pub use self::definition::{Definition, Finished, Function, Groups};
pub use self::min_max::{MAX, MIN};
pub use self::sum::SUM;
pub use self::truth::{BOOL_AND, BOOL_OR};

use crate::Result;
use crate::total::state_type;
use arrow::datatypes::DataType;
use serde::{Deserialize, Deserializer};

const FAMILIES: &[&[Function]] = &[count::ALL, sum::ALL, average::ALL, min_max::ALL, truth::ALL, variance::ALL];

impl Function {
    /// `None`: there is none of this name or alias.
    pub fn named(name: &str) -> Option<Self> {
        all().find(|function| function.name == name || function.aliases.contains(&name))
    }

    /// Whether all it keeps can be kept of values of `argument`.
    pub fn is_kept_of(&self, argument: &DataType) -> bool {
        self.keeps.iter().all(|keep| state_type(*keep, argument).is_some())
    }
}

pub fn all() -> impl Iterator<Item = Function> {
    FAMILIES.iter().flat_map(|family| family.iter()).copied()
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Function::named(&name).ok_or_else(|| serde::de::Error::custom(format!("no aggregate \"{name}\"")))
    }
}
