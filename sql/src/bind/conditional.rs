//! CASE, COALESCE, GREATEST, LEAST and arrays of bound expressions: values that have one type together.

use super::call::Written;
use super::convert::{clash, compares};
use super::kind::held;
use super::{Binder, position};
use crate::bound::{Bound, Expr, Kind, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::casts::Context;
use crate::postgres::types::Oid;
use crate::types::Type;

/// An expression with where it is written.
pub(super) type Placed = (Expr, Option<usize>);

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
        let (all, kind) = self.alike(all, "CASE")?;
        let mut all = all.into_iter();
        let otherwise = all.next().filter(|_| has_other).map(Box::new);
        let pairs = conditions.into_iter().zip(all).collect();
        Ok(Expr::Case { operand: operand.map(Box::new), pairs, otherwise, kind })
    }

    /// A call of `form`.
    pub(super) fn conditional(&mut self, form: Form, arguments: Vec<Placed>) -> Bound<Expr> {
        match form {
            Form::Coalesce => {
                let (arguments, kind) = self.alike(arguments, "COALESCE")?;
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
        let (arguments, kind) = self.alike(arguments, if greatest { "GREATEST" } else { "LEAST" })?;
        if !compares(kind.oid, "<") {
            let message = format!("could not identify a comparison function for type {kind}");
            return Err(Unbound::Wrong(Error::new("42883", message)));
        }
        Ok(Expr::Extreme { greatest, arguments, kind })
    }

    /// `array[index]`
    pub(super) fn subscript(&mut self, (array, at): Placed, (index, index_at): Placed) -> Bound<Expr> {
        let wrong = |message: String, at| Err(Unbound::Wrong(position::placed(Error::new("42804", message), at)));
        let kind = array.kind();
        let element = match kind.oid.element() {
            Some(oid) => held(Kind { oid, ..kind })?,
            None if kind == Kind::of(&Type::Jsonb) => return not_yet("subscripts of jsonb"),
            None => {
                return wrong(format!("cannot subscript type {kind} because it does not support subscripting"), at);
            }
        };
        match self.converted(index, Kind::of(&Type::Int4), Context::Assignment)? {
            Some(index) => Ok(Expr::Subscript { array: Box::new(array), index: Box::new(index), kind: element }),
            None => wrong("array subscript must have type integer".into(), index_at),
        }
    }

    /// `ARRAY[…]`, which is to be an array of `element`, if that is written.
    pub(super) fn array(&mut self, elements: Vec<Placed>, element: Option<Kind>) -> Bound<Expr> {
        let (elements, kind) = match element {
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
            None => self.alike(elements, "ARRAY")?,
        };
        match kind.oid.array() {
            Some(oid) if kind.oid.element().is_none() => Ok(Expr::Array { elements, kind: Kind { oid, ..kind } }),
            _ => not_yet("an array of several dimensions"),
        }
    }

    /// All as one type; an error points at what does not match.
    fn alike(&mut self, all: Vec<Placed>, construct: &str) -> Bound<(Vec<Expr>, Kind)> {
        let (exprs, places): (Vec<Expr>, Vec<Option<usize>>) = all.into_iter().unzip();
        let kinds: Vec<Oid> = exprs.iter().map(|expr| expr.kind().oid).collect();
        self.together(exprs, construct).map_err(|why| position::located(why, clash(&kinds, &places)))
    }
}
