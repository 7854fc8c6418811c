//! Casts: those that nobody writes, and those that are written; the type that several values have together.

use super::kind::held;
use super::{Binder, internal, literal, position};
use crate::bound::{Bound, Expr, How, Kind, Unbound, not_yet};
use crate::error::Error;
use crate::function::zone::Zone;
use crate::postgres::casts::Context;
use crate::postgres::coerce::{common, way};
use crate::postgres::resolve;
use crate::postgres::types::{ANY, Oid, UNKNOWN};
use crate::session::names::folded;
use crate::types::Type;
use datafusion::sql::sqlparser::ast::ObjectName;

/// An expression with where it is written.
pub(super) type Placed = (Expr, Option<usize>);

impl Binder<'_> {
    /// `expr` as a value of `to`, by what `context` allows. UNKNOWN constants are read as `to` (22P02 and its like are errors of now, not
    /// of a row), UNKNOWN parameters become of it. Length and precision of `to` apply. `None` if PostgreSQL has no such conversion there.
    pub fn converted(&mut self, expr: Expr, to: Kind, context: Context) -> Bound<Option<Expr>> {
        if to.oid == ANY {
            return self.any(expr).map(Some);
        }
        let to = held(to)?;
        let from = expr.kind();
        let expr = match from.oid {
            UNKNOWN => self.known(expr, to)?,
            same if same == to.oid => expr,
            other if way(other, to.oid, context).is_none() => return Ok(None),
            other if !internal::converts(other, to.oid) => match internal::number(&expr, to.oid) {
                Some(number) => number,
                None => return not_yet(format!("{from} as {to}")),
            },
            // Floats become numerics of few digits, which are rounded then.
            other if is_float(other) => cast(expr, to.oid.into(), context),
            _ => cast(expr, to, context),
        };
        let is_so = expr.kind().modifier == to.modifier || (to.modifier < 0 && context == Context::Implicit);
        Ok(Some(if is_so { expr } else { cast(expr, to, context) }))
    }

    /// UNKNOWN becomes text, all else stays.
    pub fn settled(&mut self, expr: Expr) -> Bound<Expr> {
        if expr.kind().oid == UNKNOWN { self.known(expr, Kind::TEXT) } else { Ok(expr) }
    }

    /// `expr` where values of any type may be: that tells nothing of a parameter.
    pub(super) fn any(&mut self, expr: Expr) -> Bound<Expr> {
        match expr {
            Expr::Parameter { number, kind: Kind::UNKNOWN } => {
                self.parameters.leave(number);
                Ok(expr)
            }
            expr => self.settled(expr),
        }
    }

    /// An UNKNOWN constant or parameter as a value of `to`, whose length or precision applies only to NULL.
    fn known(&mut self, expr: Expr, to: Kind) -> Bound<Expr> {
        match expr {
            Expr::Constant { value: None, .. } => Ok(Expr::Constant { value: None, kind: to }),
            Expr::Constant { value: Some(text), .. } => {
                let Some(kind) = to.held() else { return not_yet(format!("type {to}")) };
                let value = match internal::read(&text, to.oid)? {
                    Some(value) => Ok(value),
                    None => literal::read(&text, &kind, Zone::parse(&self.settings.timezone)?),
                };
                let value = value.map_err(|why| position::located(why, self.literals.position(&text)))?;
                Ok(Expr::Constant { value: Some(value), kind: to.oid.into() })
            }
            Expr::Parameter { number, .. } if !internal::stands_for(to.oid) => not_yet(format!("${number} as {to}")),
            Expr::Parameter { number, .. } => {
                self.parameters.stand_for(number, to.oid)?;
                Ok(Expr::Parameter { number, kind: to.oid.into() })
            }
            _ => not_yet("an expression without a type"),
        }
    }

    /// What is written as a cast. 42846 if there is none.
    pub(super) fn cast(&mut self, expr: Expr, to: Kind) -> Bound<Expr> {
        let from = expr.kind();
        match self.converted(expr, to, Context::Explicit)? {
            Some(expr) => Ok(expr),
            None => Err(Unbound::Wrong(Error::new("42846", format!("cannot cast type {from} to {to}")))),
        }
    }

    /// `expr COLLATE collation`. Texts compare by their bytes, which is what these collations say.
    pub(super) fn collated(&mut self, expr: Expr, collation: &ObjectName) -> Bound<Expr> {
        let parts: Vec<String> = collation.0.iter().filter_map(|part| part.as_ident().map(folded)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if !matches!(parts[..], ["C" | "POSIX" | "default" | "ucs_basic"] | ["pg_catalog", "C" | "POSIX" | "default"]) {
            return not_yet(format!("COLLATE {collation}"));
        }
        let kind = expr.kind();
        if kind != Kind::UNKNOWN && kind.oid.entry().is_none_or(|entry| entry.collation.is_none()) {
            return Err(Unbound::Wrong(Error::new("42804", format!("collations are not supported by type {kind}"))));
        }
        Ok(expr)
    }

    /// `expr` as `to`, which it can stand for: so it was found.
    pub(super) fn operand(&mut self, expr: Expr, to: Oid) -> Bound<Expr> {
        let from = expr.kind();
        match self.converted(expr, to.into(), Context::Implicit)? {
            Some(expr) => Ok(expr),
            None => not_yet(format!("{from} as {to}")),
        }
    }

    /// `expr` as `to`, as a value is put in a column. 42804 `argument of WHERE must be type boolean, not type integer`.
    pub(super) fn specific(&mut self, expr: Expr, to: &Type, construct: &str, position: Option<usize>) -> Bound<Expr> {
        let from = expr.kind();
        match self.converted(expr, Kind::of(to), Context::Assignment)? {
            Some(expr) => Ok(expr),
            None => {
                let message = format!("argument of {construct} must be type {to}, not type {from}");
                Err(Unbound::Wrong(position::placed(Error::new("42804", message), position)))
            }
        }
    }

    /// All values as one type; `construct` is what an error says: `CASE types integer and text cannot be matched` (42804). The modifier is
    /// kept where all have the same.
    pub fn together(&mut self, exprs: Vec<Expr>, construct: &str) -> Bound<(Vec<Expr>, Kind)> {
        self.alike(exprs.into_iter().map(|expr| (expr, None)).collect(), construct, |_| construct)
    }

    /// The same of what is written somewhere, to which errors point; the part at a place of them is called `part` there.
    pub(super) fn alike<'c>(
        &mut self,
        all: Vec<Placed>,
        construct: &str,
        part: impl Fn(usize) -> &'c str,
    ) -> Bound<(Vec<Expr>, Kind)> {
        let oids: Vec<Oid> = all.iter().map(|(expr, _)| expr.kind().oid).collect();
        let oid = common(&oids).map_err(|(one, other)| {
            let at = (1..oids.len()).find(|at| common(&oids[..=*at]).is_err());
            let message = format!("{construct} types {one} and {other} cannot be matched");
            position::placed(Error::new("42804", message), at.and_then(|at| all[at].1))
        })?;
        let mut found = Vec::with_capacity(all.len());
        for (at, (expr, place)) in all.into_iter().enumerate() {
            let from = expr.kind();
            match self.converted(expr, oid.into(), Context::Implicit)? {
                Some(expr) => found.push(expr),
                None => {
                    let message = format!("{} could not convert type {from} to {oid}", part(at));
                    return Err(Unbound::Wrong(position::placed(Error::new("42846", message), place)));
                }
            }
        }
        let modifier = found.first().map_or(-1, |first| first.kind().modifier);
        let is_one = found.iter().all(|expr| expr.kind().modifier == modifier);
        let kind = Kind { oid, modifier: if is_one { modifier } else { -1 } };
        Ok((found.into_iter().map(|expr| relabelled(expr, kind)).collect(), kind))
    }

    /// 42883 `could not identify an equality operator for type json` of what cannot be told apart, for GROUP BY, DISTINCT, UNION.
    pub fn groupable(&self, kind: Kind) -> Bound<()> {
        match compares(kind.oid, "=") {
            true => Ok(()),
            false => {
                let message = format!("could not identify an equality operator for type {kind}");
                Err(Unbound::Wrong(Error::new("42883", message)))
            }
        }
    }

    /// 42883 `could not identify an ordering operator for type json`, for ORDER BY.
    pub fn sortable(&self, kind: Kind) -> Bound<()> {
        match compares(kind.oid, "<") {
            true => Ok(()),
            false => {
                let message = format!("could not identify an ordering operator for type {kind}");
                let hint = "Use an explicit ordering operator or modify the query.";
                Err(Unbound::Wrong(Error::new("42883", message).hint(hint)))
            }
        }
    }
}

/// `expr`, whose type is that of `kind`, without the length or precision that `kind` has not.
pub(super) fn relabelled(expr: Expr, kind: Kind) -> Expr {
    if expr.kind() == kind { expr } else { cast(expr, kind, Context::Implicit) }
}

/// Whether values of a type can be compared so; arrays as far as their elements can.
pub(super) fn compares(oid: Oid, operator: &str) -> bool {
    match oid.element() {
        Some(element) => compares(element, operator),
        None => oid == UNKNOWN || resolve::operator(operator, Some(oid), oid).is_ok(),
    }
}

fn is_float(oid: Oid) -> bool {
    [Type::Float4, Type::Float8].iter().any(|float| Kind::of(float).oid == oid.element().unwrap_or(oid))
}

fn cast(expr: Expr, kind: Kind, context: Context) -> Expr {
    let how = if context == Context::Explicit { How::Explicit } else { How::Implicit };
    Expr::Cast { argument: Box::new(expr), kind, how }
}
