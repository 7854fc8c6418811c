//! What an aggregate is, and what it is given of the groups whose values it makes.

use crate::function::undefined;
use crate::total::Keep;
use crate::types::Type;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type};
use serde::{Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

pub struct Definition {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The type of the result; `None` is no argument, as in count(*).
    pub result: fn(Option<&Type>) -> Result<Type>,
    /// What is kept of the values, in the order in which `finish` finds it. The first counts them, unless NULL stands
    /// for no value.
    pub keeps: &'static [Keep],
    /// Whether it makes a difference that values are there several times.
    pub counts: bool,
    /// Whether the result is NULL where a group has no values.
    pub nullable: bool,
    pub finish: fn(&Groups) -> Result<Finished>,
}

/// What is kept of some groups, a row each.
pub struct Groups<'a> {
    pub kept: &'a [ArrayRef],
    pub argument: &'a DataType,
    pub output: &'a Type,
}

/// The value of each group. Where it could not be made it is NULL, and the reason is in `failures`, by row.
pub struct Finished {
    pub values: ArrayRef,
    pub failures: Vec<(usize, Error)>,
}

/// An aggregate by its name. Stored so.
#[derive(Clone, Copy)]
pub struct Function(pub(super) &'static Definition);

/// 42883 for an aggregate that does not take an argument of this type.
pub(super) fn unknown(name: &str, argument: Option<&Type>) -> Error {
    undefined(name, &argument.map(|kind| Some(kind.clone())).into_iter().collect::<Vec<_>>())
}

impl Deref for Function {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        self.0
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// As in SQL.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Function {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl Groups<'_> {
    pub(super) fn counts(&self) -> &Decimal128Array {
        self.kept[0].as_primitive::<Decimal128Type>()
    }

    /// What `value` makes of every group that has values.
    pub(super) fn each<T>(
        &self,
        value: impl Fn(usize, i128) -> Result<T>,
        failures: &mut Vec<(usize, Error)>,
    ) -> Vec<Option<T>> {
        let mut of = |(row, &count): (usize, &i128)| {
            // Below zero is a group in a difference that is not taken yet.
            if count <= 0 {
                return None;
            }
            value(row, count).map_err(|error| failures.push((row, error))).ok()
        };
        self.counts().values().iter().enumerate().map(&mut of).collect()
    }

    /// The same as a column.
    pub(super) fn column<T, A: FromIterator<Option<T>> + Array + 'static>(
        &self,
        value: impl Fn(usize, i128) -> Result<T>,
    ) -> Finished {
        let mut failures = vec![];
        let values: A = self.each(value, &mut failures).into_iter().collect();
        Finished { values: Arc::new(values), failures }
    }
}

impl Finished {
    pub(super) fn whole(values: ArrayRef) -> Self {
        Self { values, failures: vec![] }
    }
}

pub(super) fn bigint(total: i128) -> Result<i64> {
    i64::try_from(total).map_err(|_| Error::new("22003", "bigint out of range"))
}
