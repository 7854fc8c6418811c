//! Stored expressions.

use crate::function;
use crate::types::Type;
use serde::{Deserialize, Serialize};

/// An expression over the columns of one input, of which [`super::flat`] is Weir's own stable encoding: no name of DataFusion's is stored
/// except through function names. Read as it is only from plans of the first version, which nested expressions.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Scalar {
    Column {
        index: usize,
        kind: Type,
    },
    /// The value as Postgres prints it, moments in UTC; `None` is NULL.
    Literal {
        value: Option<String>,
        kind: Type,
    },
    /// A function or arithmetic operator by name.
    Call {
        function: String,
        arguments: Vec<Scalar>,
        kind: Type,
    },
    /// Moments and wall clocks convert in `zone`.
    Cast {
        argument: Box<Scalar>,
        kind: Type,
        zone: String,
    },
    /// The result of the first pair whose condition is true, else `otherwise`, else NULL.
    Case {
        pairs: Vec<(Scalar, Scalar)>,
        otherwise: Option<Box<Scalar>>,
        kind: Type,
    },
    /// The first argument that is not NULL; later ones are not evaluated.
    Coalesce {
        arguments: Vec<Scalar>,
        kind: Type,
    },
    And {
        operands: Vec<Scalar>,
    },
    Or {
        operands: Vec<Scalar>,
    },
    Not {
        argument: Box<Scalar>,
    },
    /// IS [NOT] NULL, TRUE, FALSE, UNKNOWN.
    Is {
        argument: Box<Scalar>,
        what: Test,
        negated: bool,
    },
    /// Comparisons and the other infix operators that are not functions of ours.
    Binary {
        operator: Operator,
        left: Box<Scalar>,
        right: Box<Scalar>,
        kind: Type,
    },
    InList {
        argument: Box<Scalar>,
        list: Vec<Scalar>,
        negated: bool,
    },
    Like {
        argument: Box<Scalar>,
        pattern: Box<Scalar>,
        negated: bool,
        insensitive: bool,
    },
    /// `first` after every link in turn: a chain of operators, which as nested calls would be as deep as it is long.
    Chain {
        first: Box<Scalar>,
        /// Over the columns [`super::chain::SO_FAR`] and [`super::chain::OPERAND`], each once however many links take it.
        steps: Vec<Scalar>,
        links: Vec<Link>,
        kind: Type,
    },
    /// `body` over the arguments as its columns: each is evaluated once, however often the body names it.
    Let {
        arguments: Vec<Scalar>,
        body: Box<Scalar>,
    },
}

/// One step of a chain, and its operand unless that is part of the step.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub step: usize,
    pub operand: Option<Scalar>,
}

/// The parts of a deep expression are dropped one after the other, not one within the other.
impl Drop for Scalar {
    fn drop(&mut self) {
        let mut open = vec![];
        take_deep(self, &mut open);
        while let Some(mut part) = open.pop() {
            take_deep(&mut part, &mut open);
        }
    }
}

/// Moves those parts of `scalar` out that have parts themselves.
fn take_deep(scalar: &mut Scalar, open: &mut Vec<Scalar>) {
    if matches!(scalar, Scalar::Column { .. } | Scalar::Literal { .. }) {
        return;
    }
    for child in scalar.children_mut() {
        if !matches!(child, Scalar::Column { .. } | Scalar::Literal { .. }) {
            open.push(std::mem::replace(child, Scalar::Literal { value: None, kind: Type::Bool }));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    Null,
    True,
    False,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Distinct,
    NotDistinct,
    Concat,
    Matches,
    MatchesInsensitive,
    NotMatches,
    NotMatchesInsensitive,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Contains,
    ContainedBy,
}

/// DataFusion's functions that cannot fail on any row.
const SAFE_FUNCTIONS: &[&str] = &[
    "ascii",
    "bit_length",
    "btrim",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "ends_with",
    "greatest",
    "initcap",
    "least",
    "length",
    "lower",
    "ltrim",
    "md5",
    "octet_length",
    "replace",
    "reverse",
    "rtrim",
    "starts_with",
    "strpos",
    "trim",
    "upper",
];

impl Scalar {
    pub fn kind(&self) -> Type {
        match self {
            Scalar::Column { kind, .. }
            | Scalar::Literal { kind, .. }
            | Scalar::Call { kind, .. }
            | Scalar::Cast { kind, .. }
            | Scalar::Case { kind, .. }
            | Scalar::Coalesce { kind, .. }
            | Scalar::Chain { kind, .. }
            | Scalar::Binary { kind, .. } => kind.clone(),
            Scalar::Let { body, .. } => body.kind(),
            Scalar::And { .. }
            | Scalar::Or { .. }
            | Scalar::Not { .. }
            | Scalar::Is { .. }
            | Scalar::InList { .. }
            | Scalar::Like { .. } => Type::Bool,
        }
    }

    /// Whether evaluating it can fail on some row.
    pub fn is_fallible(&self) -> bool {
        let own = match self {
            Scalar::Call { function, .. } => {
                match function::lookup(function).and_then(|udf| function::definition(&udf)) {
                    Some(definition) => definition.fallible,
                    None => !SAFE_FUNCTIONS.contains(&function.as_str()),
                }
            }
            Scalar::Cast { argument, kind, .. } => function::cast::fallible(&argument.kind(), kind),
            // Patterns are compiled as rows come.
            Scalar::Binary { operator, .. } => operator.is_fallible(),
            Scalar::Like { .. } => true,
            _ => false,
        };
        own || self.children().into_iter().any(Scalar::is_fallible)
    }

    /// How many levels of expressions there are in it.
    pub fn depth(&self) -> usize {
        let (mut deepest, mut open) = (0, vec![(self, 1)]);
        while let Some((scalar, depth)) = open.pop() {
            deepest = deepest.max(depth);
            open.extend(scalar.children().into_iter().map(|child| (child, depth + 1)));
        }
        deepest
    }

    /// The expressions it is directly made of, in order; also the steps of a chain and what stands over arguments.
    pub fn children(&self) -> Vec<&Scalar> {
        match self {
            Scalar::Column { .. } | Scalar::Literal { .. } => vec![],
            Scalar::Call { arguments, .. } | Scalar::Coalesce { arguments, .. } => arguments.iter().collect(),
            Scalar::And { operands } | Scalar::Or { operands } => operands.iter().collect(),
            Scalar::Cast { argument, .. } | Scalar::Not { argument } | Scalar::Is { argument, .. } => vec![argument],
            Scalar::Case { pairs, otherwise, .. } => {
                pairs.iter().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref()).collect()
            }
            Scalar::Binary { left, right, .. } => vec![left, right],
            Scalar::InList { argument, list, .. } => std::iter::once(argument.as_ref()).chain(list).collect(),
            Scalar::Like { argument, pattern, .. } => vec![argument, pattern],
            Scalar::Chain { first, steps, links, .. } => {
                let operands = links.iter().filter_map(|link| link.operand.as_ref());
                std::iter::once(first.as_ref()).chain(steps).chain(operands).collect()
            }
            Scalar::Let { arguments, body } => arguments.iter().chain([body.as_ref()]).collect(),
        }
    }

    pub(super) fn children_mut(&mut self) -> Vec<&mut Scalar> {
        match self {
            Scalar::Column { .. } | Scalar::Literal { .. } => vec![],
            Scalar::Call { arguments, .. } | Scalar::Coalesce { arguments, .. } => arguments.iter_mut().collect(),
            Scalar::And { operands } | Scalar::Or { operands } => operands.iter_mut().collect(),
            Scalar::Cast { argument, .. } | Scalar::Not { argument } | Scalar::Is { argument, .. } => vec![argument],
            Scalar::Case { pairs, otherwise, .. } => {
                pairs.iter_mut().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref_mut()).collect()
            }
            Scalar::Binary { left, right, .. } => vec![left, right],
            Scalar::InList { argument, list, .. } => std::iter::once(argument.as_mut()).chain(list).collect(),
            Scalar::Like { argument, pattern, .. } => vec![argument, pattern],
            Scalar::Chain { first, steps, links, .. } => {
                let operands = links.iter_mut().filter_map(|link| link.operand.as_mut());
                std::iter::once(first.as_mut()).chain(steps).chain(operands).collect()
            }
            Scalar::Let { arguments, body } => arguments.iter_mut().chain([body.as_mut()]).collect(),
        }
    }

    /// Those of its children that are over the same columns as itself.
    pub(super) fn inputs_mut(&mut self) -> Vec<&mut Scalar> {
        match self {
            Scalar::Chain { first, links, .. } => {
                let operands = links.iter_mut().filter_map(|link| link.operand.as_mut());
                std::iter::once(first.as_mut()).chain(operands).collect()
            }
            Scalar::Let { arguments, .. } => arguments.iter_mut().collect(),
            other => other.children_mut(),
        }
    }

    /// Puts `values` in the place of its columns.
    pub(super) fn replace_columns(&mut self, values: &[Scalar]) {
        let mut open = vec![self];
        while let Some(scalar) = open.pop() {
            match scalar {
                Scalar::Column { index, .. } => *scalar = values[*index].clone(),
                other => open.extend(other.inputs_mut()),
            }
        }
    }
}

impl Operator {
    fn is_fallible(self) -> bool {
        use Operator::*;
        matches!(self, Matches | MatchesInsensitive | NotMatches | NotMatchesInsensitive | ShiftLeft | ShiftRight)
    }
}
