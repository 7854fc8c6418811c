//! What expressions are made of, and when two are equal.

use super::{ColumnId, Expr, Form, How, Kind, Subquery, Test};
use crate::postgres::functions::Function;
use crate::postgres::operators::Operator;
use crate::postgres::types::BOOL;

impl Expr {
    pub fn kind(&self) -> Kind {
        match self {
            Expr::Column { kind, .. }
            | Expr::Constant { kind, .. }
            | Expr::Parameter { kind, .. }
            | Expr::Call { kind, .. }
            | Expr::Operation { kind, .. }
            | Expr::Cast { kind, .. }
            | Expr::Chain { kind, .. }
            | Expr::Case { kind, .. }
            | Expr::Operand { kind }
            | Expr::Coalesce { kind, .. }
            | Expr::Extreme { kind, .. }
            | Expr::NullIf { kind, .. }
            | Expr::Array { kind, .. }
            | Expr::Subscript { kind, .. } => *kind,
            Expr::Subquery(subquery) => subquery.kind,
            Expr::Only { value, .. } => value.kind(),
            Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::Is { .. }
            | Expr::Distinct { .. }
            | Expr::In { .. }
            | Expr::Quantified { .. } => BOOL.into(),
        }
    }

    /// The expressions it is directly made of, in the order in which they are written; of a subquery its comparison, not its rows.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::Constant { .. } | Expr::Parameter { .. } | Expr::Operand { .. } => vec![],
            Expr::Call { arguments, .. } | Expr::Coalesce { arguments, .. } | Expr::Extreme { arguments, .. } => {
                arguments.iter().collect()
            }
            Expr::Operation { operands, .. } | Expr::And(operands) | Expr::Or(operands) => operands.iter().collect(),
            Expr::Cast { argument, .. } | Expr::Is { argument, .. } => vec![argument],
            Expr::Chain { first, steps, .. } => std::iter::once(first.as_ref()).chain(steps).collect(),
            Expr::Not(argument) => vec![argument],
            Expr::Distinct { left, right, .. } | Expr::NullIf { left, right, .. } => vec![left, right],
            Expr::Case { operand, pairs, otherwise, .. } => {
                let pairs = pairs.iter().flat_map(|(when, then)| [when, then]);
                operand.as_deref().into_iter().chain(pairs).chain(otherwise.as_deref()).collect()
            }
            Expr::In { argument, list, .. } => std::iter::once(argument.as_ref()).chain(list).collect(),
            Expr::Quantified { left, array, .. } => vec![left, array],
            Expr::Array { elements, .. } => elements.iter().collect(),
            Expr::Subscript { array, index, .. } => vec![array, index],
            Expr::Only { rows, value } => vec![rows, value],
            Expr::Subquery(subquery) => match &subquery.form {
                Form::Any(comparison) | Form::All(comparison) => vec![comparison],
                Form::Exists | Form::Scalar | Form::Array => vec![],
            },
        }
    }

    /// As [`Expr::children`].
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Expr::Column { .. } | Expr::Constant { .. } | Expr::Parameter { .. } | Expr::Operand { .. } => vec![],
            Expr::Call { arguments, .. } | Expr::Coalesce { arguments, .. } | Expr::Extreme { arguments, .. } => {
                arguments.iter_mut().collect()
            }
            Expr::Operation { operands, .. } | Expr::And(operands) | Expr::Or(operands) => {
                operands.iter_mut().collect()
            }
            Expr::Cast { argument, .. } | Expr::Is { argument, .. } => vec![argument],
            Expr::Chain { first, steps, .. } => std::iter::once(first.as_mut()).chain(steps).collect(),
            Expr::Not(argument) => vec![argument],
            Expr::Distinct { left, right, .. } | Expr::NullIf { left, right, .. } => vec![left, right],
            Expr::Case { operand, pairs, otherwise, .. } => {
                let pairs = pairs.iter_mut().flat_map(|(when, then)| [when, then]);
                operand.as_deref_mut().into_iter().chain(pairs).chain(otherwise.as_deref_mut()).collect()
            }
            Expr::In { argument, list, .. } => std::iter::once(argument.as_mut()).chain(list).collect(),
            Expr::Quantified { left, array, .. } => vec![left, array],
            Expr::Array { elements, .. } => elements.iter_mut().collect(),
            Expr::Subscript { array, index, .. } => vec![array, index],
            Expr::Only { rows, value } => vec![rows, value],
            Expr::Subquery(subquery) => match &mut subquery.form {
                Form::Any(comparison) | Form::All(comparison) => vec![comparison],
                Form::Exists | Form::Scalar | Form::Array => vec![],
            },
        }
    }

    /// Itself and all that is in it, whatever contains another one first.
    pub fn any(&self, test: &impl Fn(&Expr) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|child| child.any(test))
    }
}

/// What an expression is beside its type and the expressions that it is made of.
#[derive(PartialEq)]
enum Head<'a> {
    Column(ColumnId),
    Constant(Option<&'a str>),
    Parameter(usize),
    Call(&'static Function),
    Operation(&'static Operator),
    /// Who wrote a cast makes a difference only to a length: what is too long is cut off, or an error.
    Cast(Option<How>),
    Chain,
    And,
    Or,
    Not,
    Is(Test, bool),
    Distinct(&'static Operator, bool),
    Case {
        has_operand: bool,
        has_otherwise: bool,
    },
    Operand,
    Coalesce,
    Extreme(bool),
    NullIf(&'static Operator),
    In(&'static Operator, bool),
    Quantified(&'static Operator, bool),
    Array,
    Subscript,
    Only,
    /// Equal to itself alone.
    Subquery(*const Subquery),
}

impl Expr {
    fn head(&self) -> Head<'_> {
        match self {
            Expr::Column { id, .. } => Head::Column(*id),
            Expr::Constant { value, .. } => Head::Constant(value.as_deref()),
            Expr::Parameter { number, .. } => Head::Parameter(*number),
            Expr::Call { function, .. } => Head::Call(function),
            Expr::Operation { operator, .. } => Head::Operation(operator),
            Expr::Cast { kind, how, .. } => Head::Cast((kind.modifier >= 0).then_some(*how)),
            Expr::Chain { .. } => Head::Chain,
            Expr::And(_) => Head::And,
            Expr::Or(_) => Head::Or,
            Expr::Not(_) => Head::Not,
            Expr::Is { what, negated, .. } => Head::Is(*what, *negated),
            Expr::Distinct { operator, negated, .. } => Head::Distinct(operator, *negated),
            Expr::Case { operand, otherwise, .. } => {
                Head::Case { has_operand: operand.is_some(), has_otherwise: otherwise.is_some() }
            }
            Expr::Operand { .. } => Head::Operand,
            Expr::Coalesce { .. } => Head::Coalesce,
            Expr::Extreme { greatest, .. } => Head::Extreme(*greatest),
            Expr::NullIf { operator, .. } => Head::NullIf(operator),
            Expr::In { operator, negated, .. } => Head::In(operator, *negated),
            Expr::Quantified { operator, all, .. } => Head::Quantified(operator, *all),
            Expr::Array { .. } => Head::Array,
            Expr::Subscript { .. } => Head::Subscript,
            Expr::Only { .. } => Head::Only,
            Expr::Subquery(subquery) => Head::Subquery(std::ptr::from_ref(subquery)),
        }
    }
}

/// Equal ones have equal values, row by row, if nothing in them is volatile.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.head() == other.head() && self.kind() == other.kind() && self.children() == other.children()
    }
}
