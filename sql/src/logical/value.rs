//! A value on its way into a plan: an expression of DataFusion's, and the type in which the analyzer leaves it.
//!
//! What PostgreSQL has one type for may be held in several of ours, since all of them show and compare values alike: `numeric` as decimals
//! of the one scale that all its values have, `text` as varchar, `bpchar` as char(n). Where values of several expressions meet, they are
//! brought to one of these here ([`together`]), so that the analyzer finds nothing to decide.

use crate::bound::{Bound, Kind, Unbound, not_yet};
use crate::error::Error;
use crate::function::zone::Zone;
use crate::function::{self, Cast, cast};
use crate::postgres::types::{INT2VECTOR, OIDVECTOR};
use crate::session;
use crate::types::Type;
use arrow::array::{ArrayRef, AsArray};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{Expr, ScalarUDF};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Value {
    pub expr: Expr,
    pub kind: Type,
}

impl Value {
    pub fn new(expr: Expr, kind: Type) -> Self {
        Self { expr, kind }
    }

    pub fn truth(expr: Expr) -> Self {
        Self::new(expr, Type::Bool)
    }

    /// What there is one of in `array`, of type `kind`.
    pub fn constant(array: &ArrayRef, kind: Type) -> Bound<Self> {
        // Made of an array, a value forgets what its elements are marked as.
        let value = match array.as_list_opt::<i32>() {
            Some(list) => ScalarValue::List(Arc::new(list.clone())),
            None => planned(ScalarValue::try_from_array(array, 0))?,
        };
        Ok(Self::literal(value, kind))
    }

    /// What is held as text.
    pub fn text(text: &str, kind: Type) -> Self {
        Self::literal(ScalarValue::from(text), kind)
    }

    pub fn null(kind: Type) -> Bound<Self> {
        let value = planned(ScalarValue::try_from(&kind.arrow()))?;
        Ok(Self::literal(value, kind))
    }

    /// `value`, which is held as `kind` is.
    pub fn literal(value: ScalarValue, kind: Type) -> Self {
        let marks = kind.field("", true).metadata().clone();
        // Without marks the analyzer takes text for a literal of no type, and reads small numbers as integer.
        let is_open = matches!(value, ScalarValue::Utf8(_) | ScalarValue::Int64(_));
        let marks = (is_open || !marks.is_empty()).then(|| FieldMetadata::from(marks));
        Self::new(Expr::Literal(value, marks), kind)
    }

    /// The value, if it is a literal.
    pub fn known(&self) -> Option<&ScalarValue> {
        self.expr.as_literal()
    }

    fn is_null(&self) -> bool {
        self.known().is_some_and(ScalarValue::is_null)
    }

    /// Whether it is the same for all rows.
    pub fn is_constant(&self) -> bool {
        let names = |expr: &Expr| Ok(matches!(expr, Expr::Column(_)));
        !self.expr.is_volatile() && !self.expr.exists(names).unwrap_or(true)
    }

    /// Whether it may stand in several places.
    pub fn is_small(&self) -> bool {
        let mut expr = &self.expr;
        while let Expr::ScalarFunction(call) = expr
            && call.func.inner().is::<Cast>()
            && let [argument] = call.args.as_slice()
        {
            expr = argument;
        }
        matches!(expr, Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_))
    }

    /// CAST, as PostgreSQL has it between values of these types.
    pub fn converted(self, to: &Type, zone: &str) -> Bound<Self> {
        if self.kind == *to {
            return Ok(self);
        }
        if self.is_null() {
            return Self::null(to.clone());
        }
        if cast::check(&self.kind, to).is_err() {
            return not_yet(format!("cast from {} to {to}", self.kind));
        }
        // Bytes are read with the blanks that char(n) is shown with.
        let from = match (&self.kind, to) {
            (Type::Char(1..), Type::Bytea) => return self.converted(&Type::Char(0), zone)?.converted(to, zone),
            (from, _) => from.clone(),
        };
        if let Some(value) = self.known()
            && let Ok(array) = value.to_array()
            && let Ok(array) = cast::column(&array, &from, to, Zone::parse(zone)?)
        {
            return Self::constant(&array, to.clone());
        }
        Ok(Self::new(Cast::udf(from, to.clone(), zone).call(vec![self.expr]), to.clone()))
    }

    /// The same, said to be of a type of the same shape.
    pub fn marked(self, kind: &Type) -> Self {
        Self::new(Cast::udf(kind.clone(), kind.clone(), "UTC").call(vec![self.expr]), kind.clone())
    }

    /// An integer as a decimal, which is as exact and faster than a numeric of any scale; all else as it is.
    pub fn exact(self, zone: &str) -> Bound<Self> {
        let digits = match (self.known(), &self.kind) {
            (Some(value), Type::Int2 | Type::Int4 | Type::Int8) if !value.is_null() => {
                u8::try_from(value.to_string().trim_start_matches('-').len()).ok().map(|digits| (digits, 0))
            }
            (_, kind @ (Type::Int2 | Type::Int4 | Type::Int8)) => function::decimal_of(kind),
            _ => None,
        };
        match digits {
            Some(digits) => self.converted(&Type::Numeric(Some(digits)), zone),
            None => Ok(self),
        }
    }
}

/// The type that holds values of `kind`.
pub fn held(kind: Kind) -> Bound<Type> {
    let own = Kind { oid: kind.oid.element().unwrap_or(kind.oid), modifier: kind.modifier };
    let counted = match own.held() {
        // Of numbers that are rounded in another way than decimals are.
        Some(Type::Numeric(Some((precision, scale)))) => {
            let digits = (kind.modifier - 4) >> 16;
            digits == i32::from(precision) && (1..=76).contains(&precision) && (0..=precision as i8).contains(&scale)
        }
        Some(Type::Numeric(None) | Type::Varchar(_) | Type::Char(_)) => true,
        // Vectors of the catalogs are shown in another way than arrays.
        _ => kind.modifier < 0 && ![INT2VECTOR, OIDVECTOR].contains(&kind.oid),
    };
    match kind.held().filter(|_| counted) {
        Some(held) => Ok(held),
        None => not_yet(format!("type {kind}")),
    }
}

/// Whether values of one type of PostgreSQL's are held in both.
pub fn alike(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Text | Type::Varchar(_), Type::Text | Type::Varchar(_)) => true,
        (Type::Array(left), Type::Array(right)) => alike(left, right),
        _ => left.loose() == right.loose(),
    }
}

/// `values` of one type of PostgreSQL's, `kind`, in one of ours.
pub fn together(values: Vec<Value>, kind: &Type, zone: &str) -> Bound<(Vec<Value>, Type)> {
    let known = values.iter().filter(|value| !value.is_null()).map(|value| &value.kind);
    let common = common(known, kind);
    let values = values.into_iter().map(|value| value.converted(&common, zone)).collect::<Bound<_>>()?;
    Ok((values, common))
}

/// One of our types for all of `kinds`, in which values of PostgreSQL's type `kind` are held.
pub fn common<'a>(mut kinds: impl Iterator<Item = &'a Type>, kind: &Type) -> Type {
    let Some(first) = kinds.next() else { return kind.clone() };
    kinds.try_fold(first.clone(), |so_far, next| both(&so_far, next)).unwrap_or_else(|| kind.loose())
}

/// Numbers that are shown with different scales stay so.
fn both(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        _ if left == right => Some(left.clone()),
        (Type::Numeric(_), Type::Numeric(_)) => session::unified(left, right),
        (Type::Array(left), Type::Array(right)) => Some(Type::Array(Box::new(both(left, right)?))),
        _ => None,
    }
}

/// A function that there is.
pub fn function(name: &str) -> Bound<Arc<ScalarUDF>> {
    match function::by_name(name) {
        Some(function) => Ok(function),
        None => not_yet(format!("function {name}")),
    }
}

/// What DataFusion does not plan is not known here: what it would say is not for clients. Who stops the work is heard.
pub fn planned<T>(result: Result<T, DataFusionError>) -> Bound<T> {
    result.map_err(|error| match Error::from(error) {
        stopped if stopped.sqlstate == "57014" => Unbound::Wrong(stopped),
        // What a library says may hold values.
        _ => Unbound::NotYet("a plan of this".into()),
    })
}
