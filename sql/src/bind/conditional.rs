//! CASE, COALESCE, GREATEST, LEAST and arrays of bound expressions: values that have one type together.

use super::call::Written;
use super::convert::{Placed, compares};
use super::kind::held;
use super::{Binder, position};
use crate::bound::{Bound, Expr, Kind, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::casts::Context;
use crate::types::Type;

/// What grammar writes like a call.
pub(super) enum Form {
    Coalesce,
    NullIf,
    Greatest,
    Least,
}

impl Form {
    pub fn named(written: &Written) -> Option<Self> {
        Some(match written.word()? {
            "coalesce" => Form::Coalesce,
            "nullif" => Form::NullIf,
            "greatest" => Form::Greatest,
            "least" => Form::Least,
            _ => return None,
        })
    }
}

impl Binder<'_> {
    /// `pairs` of condition and result. Of a CASE with an operand the conditions are comparisons with it.
    pub(super) fn case(
        &mut self,
        operand: Option<Expr>,
        conditions: Vec<Expr>,
        results: Vec<Placed>,
        otherwise: Option<Placed>,
    ) -> Bound<Expr> {
        let has_other = otherwise.is_some();
        let null = (Expr::Constant { value: None, kind: Kind::UNKNOWN }, None);
        // What is given otherwise counts first for the type, also where it is not written.
        let all = [otherwise.unwrap_or(null)].into_iter().chain(results).collect();
        let (all, kind) = self.alike(all, "CASE", |at| if at == 0 { "CASE/ELSE" } else { "CASE/WHEN" })?;
        let mut all = all.into_iter();
        let otherwise = all.next().filter(|_| has_other).map(Box::new);
        let pairs = conditions.into_iter().zip(all).collect();
        Ok(Expr::Case { operand: operand.map(Box::new), pairs, otherwise, kind })
    }

    /// A call of `form`.
    pub(super) fn conditional(&mut self, form: Form, arguments: Vec<Placed>) -> Bound<Expr> {
        match form {
            Form::Coalesce => {
                let (arguments, kind) = self.alike(arguments, "COALESCE", |_| "COALESCE")?;
                Ok(Expr::Coalesce { arguments, kind })
            }
            Form::Greatest => self.extreme(true, arguments),
            Form::Least => self.extreme(false, arguments),
            Form::NullIf => match <[Placed; 2]>::try_from(arguments) {
                Ok([(left, _), (right, _)]) => self.null_if(left, right),
                Err(_) => not_yet("NULLIF of other than two values"),
            },
        }
    }

    fn extreme(&mut self, greatest: bool, arguments: Vec<Placed>) -> Bound<Expr> {
        let word = if greatest { "GREATEST" } else { "LEAST" };
        let (arguments, kind) = self.alike(arguments, word, |_| word)?;
        // An error, but only of a row.
        if !compares(kind.oid, "<") {
            return not_yet(format!("{word} of {kind}"));
        }
        Ok(Expr::Extreme { greatest, arguments, kind })
    }

    /// What is before a subscript, and what its elements are.
    pub(super) fn subscripted(&self, (array, place): Placed) -> Bound<(Expr, Kind)> {
        let kind = array.kind();
        match kind.oid.element() {
            Some(oid) => Ok((array, held(Kind { oid, ..kind })?)),
            None if kind == Kind::of(&Type::Jsonb) => not_yet("subscripts of jsonb"),
            None => {
                let message = format!("cannot subscript type {kind} because it does not support subscripting");
                Err(Unbound::Wrong(position::placed(Error::new("42804", message), place)))
            }
        }
    }

    pub(super) fn subscript(&mut self, array: Expr, kind: Kind, (index, place): Placed) -> Bound<Expr> {
        match self.converted(index, Kind::of(&Type::Int4), Context::Assignment)? {
            Some(index) => Ok(Expr::Subscript { array: Box::new(array), index: Box::new(index), kind }),
            None => {
                let error = Error::new("42804", "array subscript must have type integer");
                Err(Unbound::Wrong(position::placed(error, place)))
            }
        }
    }

    /// `ARRAY[…]`, which is to be an array of `element`, if that is written.
    pub(super) fn array(&mut self, elements: Vec<Placed>, element: Option<Kind>) -> Bound<Expr> {
        let (elements, kind) = match element {
            Some(_) if elements.iter().any(|(element, _)| element.kind().oid.element().is_some()) => {
                return not_yet("an array of several dimensions");
            }
            Some(element) => {
                let mut found = Vec::with_capacity(elements.len());
                for (expr, place) in elements {
                    found.push(self.cast(expr, element).map_err(|why| position::located(why, place))?);
                }
                (found, element)
            }
            None if elements.is_empty() => {
                let error = Error::new("42P18", "cannot determine type of empty array");
                let hint = "Explicitly cast to the desired type, for example ARRAY[]::integer[].";
                return Err(Unbound::Wrong(error.hint(hint)));
            }
            None => self.alike(elements, "ARRAY", |_| "ARRAY")?,
        };
        match kind.oid.array() {
            Some(oid) if kind.oid.element().is_none() => Ok(Expr::Array { elements, kind: Kind { oid, ..kind } }),
            _ => not_yet("an array of several dimensions"),
        }
    }
}
