//! How expressions are stored: a list, in which each comes after those it is made of and names them by their places.
//!
//! Written and read without recursion, and no deeper in JSON however deep the expression is: a decoder with a limit reads whatever
//! was written.

use super::expression::{Link, Operator, Scalar, Test};
use crate::error::{Error, Result};
use crate::types::Type;
use serde::{Deserialize, Serialize};

/// The place of an expression in the list.
pub type Place = usize;

/// As [`Scalar`], variant by variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Flat {
    Column { index: usize, kind: Type },
    Literal { value: Option<String>, kind: Type },
    Call { function: String, arguments: Vec<Place>, kind: Type },
    Cast { argument: Place, kind: Type, zone: String },
    Case { pairs: Vec<(Place, Place)>, otherwise: Option<Place>, kind: Type },
    Coalesce { arguments: Vec<Place>, kind: Type },
    And { operands: Vec<Place> },
    Or { operands: Vec<Place> },
    Not { argument: Place },
    Is { argument: Place, what: Test, negated: bool },
    Binary { operator: Operator, left: Place, right: Place, kind: Type },
    InList { argument: Place, list: Vec<Place>, negated: bool },
    Like { argument: Place, pattern: Place, negated: bool, insensitive: bool },
    Chain { first: Place, steps: Vec<Place>, links: Vec<(usize, Option<Place>)>, kind: Type },
    Let { arguments: Vec<Place>, body: Place },
}

/// Takes expressions apart.
#[derive(Default)]
pub struct Writer {
    list: Vec<Flat>,
}

impl Writer {
    pub fn finish(self) -> Vec<Flat> {
        self.list
    }

    pub fn all(&mut self, scalars: &[Scalar]) -> Vec<Place> {
        scalars.iter().map(|scalar| self.add(scalar)).collect()
    }

    pub fn add(&mut self, scalar: &Scalar) -> Place {
        let (mut open, mut places) = (vec![(scalar, false)], vec![]);
        while let Some((scalar, ready)) = open.pop() {
            let children = scalar.children();
            if !ready && !children.is_empty() {
                open.push((scalar, true));
                open.extend(children.into_iter().rev().map(|child| (child, false)));
                continue;
            }
            let own = places.split_off(places.len() - children.len());
            self.list.push(Flat::of(scalar, own));
            places.push(self.list.len() - 1);
        }
        self.list.len() - 1
    }
}

impl Flat {
    /// `children` are the places of [`Scalar::children`].
    fn of(scalar: &Scalar, children: Vec<Place>) -> Self {
        let mut children = children.into_iter();
        let mut next = || children.next().expect("as many places as children");
        let mut many = |parts: &[Scalar]| parts.iter().map(|_| next()).collect::<Vec<_>>();
        match scalar {
            Scalar::Column { index, kind } => Flat::Column { index: *index, kind: kind.clone() },
            Scalar::Literal { value, kind } => Flat::Literal { value: value.clone(), kind: kind.clone() },
            Scalar::Call { function, arguments, kind } => {
                Flat::Call { function: function.clone(), arguments: many(arguments), kind: kind.clone() }
            }
            Scalar::Cast { kind, zone, .. } => Flat::Cast { argument: next(), kind: kind.clone(), zone: zone.clone() },
            Scalar::Case { pairs, otherwise, kind } => Flat::Case {
                pairs: pairs.iter().map(|_| (next(), next())).collect(),
                otherwise: otherwise.as_ref().map(|_| next()),
                kind: kind.clone(),
            },
            Scalar::Coalesce { arguments, kind } => Flat::Coalesce { arguments: many(arguments), kind: kind.clone() },
            Scalar::And { operands } => Flat::And { operands: many(operands) },
            Scalar::Or { operands } => Flat::Or { operands: many(operands) },
            Scalar::Not { .. } => Flat::Not { argument: next() },
            Scalar::Is { what, negated, .. } => Flat::Is { argument: next(), what: *what, negated: *negated },
            Scalar::Binary { operator, kind, .. } => {
                Flat::Binary { operator: *operator, left: next(), right: next(), kind: kind.clone() }
            }
            Scalar::InList { list, negated, .. } => {
                let argument = next();
                Flat::InList { argument, list: list.iter().map(|_| next()).collect(), negated: *negated }
            }
            Scalar::Like { negated, insensitive, .. } => {
                Flat::Like { argument: next(), pattern: next(), negated: *negated, insensitive: *insensitive }
            }
            Scalar::Chain { steps, links, kind, .. } => {
                let (first, steps) = (next(), steps.iter().map(|_| next()).collect());
                let links = links.iter().map(|link| (link.step, link.operand.as_ref().map(|_| next()))).collect();
                Flat::Chain { first, steps, links, kind: kind.clone() }
            }
            Scalar::Let { arguments, .. } => Flat::Let { arguments: many(arguments), body: next() },
        }
    }
}

/// Puts expressions together again.
pub struct Reader {
    /// Each is taken once.
    list: Vec<Option<Scalar>>,
}

impl Reader {
    pub fn new(list: Vec<Flat>) -> Result<Self> {
        let mut reader = Self { list: Vec::with_capacity(list.len()) };
        for flat in list {
            let scalar = reader.scalar(flat)?;
            reader.list.push(Some(scalar));
        }
        Ok(reader)
    }

    /// What is left over is of nothing.
    pub fn finish(self) -> Result<()> {
        match self.list.iter().position(Option::is_some) {
            None => Ok(()),
            Some(place) => Err(Error::internal(format!("stored expression {place} is part of nothing"))),
        }
    }

    pub fn take(&mut self, place: Place) -> Result<Scalar> {
        let found = self.list.get_mut(place).and_then(Option::take);
        found.ok_or_else(|| Error::internal(format!("stored expression {place} is not there or used twice")))
    }

    pub fn all(&mut self, places: Vec<Place>) -> Result<Vec<Scalar>> {
        places.into_iter().map(|place| self.take(place)).collect()
    }

    fn scalar(&mut self, flat: Flat) -> Result<Scalar> {
        Ok(match flat {
            Flat::Column { index, kind } => Scalar::Column { index, kind },
            Flat::Literal { value, kind } => Scalar::Literal { value, kind },
            Flat::Call { function, arguments, kind } => {
                Scalar::Call { function, arguments: self.all(arguments)?, kind }
            }
            Flat::Cast { argument, kind, zone } => Scalar::Cast { argument: self.boxed(argument)?, kind, zone },
            Flat::Case { pairs, otherwise, kind } => {
                let pairs = pairs.into_iter().map(|(when, then)| Ok((self.take(when)?, self.take(then)?)));
                let pairs = pairs.collect::<Result<_>>()?;
                Scalar::Case { pairs, otherwise: otherwise.map(|place| self.boxed(place)).transpose()?, kind }
            }
            Flat::Coalesce { arguments, kind } => Scalar::Coalesce { arguments: self.all(arguments)?, kind },
            Flat::And { operands } => Scalar::And { operands: self.all(operands)? },
            Flat::Or { operands } => Scalar::Or { operands: self.all(operands)? },
            Flat::Not { argument } => Scalar::Not { argument: self.boxed(argument)? },
            Flat::Is { argument, what, negated } => Scalar::Is { argument: self.boxed(argument)?, what, negated },
            Flat::Binary { operator, left, right, kind } => {
                Scalar::Binary { operator, left: self.boxed(left)?, right: self.boxed(right)?, kind }
            }
            Flat::InList { argument, list, negated } => {
                Scalar::InList { argument: self.boxed(argument)?, list: self.all(list)?, negated }
            }
            Flat::Like { argument, pattern, negated, insensitive } => {
                Scalar::Like { argument: self.boxed(argument)?, pattern: self.boxed(pattern)?, negated, insensitive }
            }
            Flat::Chain { first, steps, links, kind } => {
                let (first, steps) = (self.boxed(first)?, self.all(steps)?);
                let links = links.into_iter().map(|(step, operand)| {
                    Ok(Link { step, operand: operand.map(|place| self.take(place)).transpose()? })
                });
                Scalar::Chain { first, steps, links: links.collect::<Result<_>>()?, kind }
            }
            Flat::Let { arguments, body } => Scalar::Let { arguments: self.all(arguments)?, body: self.boxed(body)? },
        })
    }

    fn boxed(&mut self, place: Place) -> Result<Box<Scalar>> {
        self.take(place).map(Box::new)
    }
}
