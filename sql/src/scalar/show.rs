//! Expressions as EXPLAIN prints them: SQL, with `#3` for a column whose name is not known.

use super::expression::{Operator, Scalar, Test};
use crate::function;
use crate::types::{Column, Type};
use std::fmt;

impl Scalar {
    /// Prints with the names of the input's columns.
    pub fn named<'a>(&'a self, columns: &'a [Column]) -> Named<'a> {
        Named { scalar: self, columns }
    }
}

/// An expression with the names of its input's columns.
pub struct Named<'a> {
    scalar: &'a Scalar,
    columns: &'a [Column],
}

impl Named<'_> {
    fn text(&self, part: &Scalar) -> String {
        Named { scalar: part, columns: self.columns }.to_string()
    }

    /// In parentheses if it is made of operators.
    fn operand(&self, part: &Scalar) -> String {
        match part {
            Scalar::And { .. } | Scalar::Or { .. } | Scalar::Not { .. } | Scalar::Binary { .. } => {
                format!("({})", self.text(part))
            }
            Scalar::Is { .. } | Scalar::InList { .. } | Scalar::Like { .. } => format!("({})", self.text(part)),
            _ => self.text(part),
        }
    }

    fn list(&self, parts: &[Scalar], separator: &str) -> String {
        parts.iter().map(|part| self.text(part)).collect::<Vec<_>>().join(separator)
    }

    fn operands(&self, parts: &[Scalar], separator: &str) -> String {
        parts.iter().map(|part| self.operand(part)).collect::<Vec<_>>().join(separator)
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self.scalar {
            Scalar::Column { index, .. } => match self.columns.get(*index) {
                Some(column) => f.write_str(&column.name),
                None => write!(f, "#{index}"),
            },
            Scalar::Literal { value, kind } => literal(value.as_deref(), kind, f),
            Scalar::Call { function, arguments, .. } => {
                let arguments: Vec<_> = arguments.iter().map(|argument| self.text(argument)).collect();
                f.write_str(&function::shown(function, &arguments))
            }
            Scalar::Cast { argument, kind, .. } => write!(f, "{}::{kind}", self.operand(argument)),
            Scalar::Case { pairs, otherwise, .. } => {
                f.write_str("CASE")?;
                for (when, then) in pairs {
                    write!(f, " WHEN {} THEN {}", self.text(when), self.text(then))?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {}", self.text(otherwise))?;
                }
                f.write_str(" END")
            }
            Scalar::Coalesce { arguments, .. } => write!(f, "coalesce({})", self.list(arguments, ", ")),
            Scalar::And { operands } => f.write_str(&self.operands(operands, " AND ")),
            Scalar::Or { operands } => f.write_str(&self.operands(operands, " OR ")),
            Scalar::Not { argument } => write!(f, "NOT {}", self.operand(argument)),
            Scalar::Is { argument, what, negated } => write!(f, "{} IS {}{what}", self.operand(argument), not(negated)),
            Scalar::Binary { operator, left, right, .. } => {
                write!(f, "{} {operator} {}", self.operand(left), self.operand(right))
            }
            Scalar::InList { argument, list, negated } => {
                write!(f, "{} {}IN ({})", self.operand(argument), not(negated), self.list(list, ", "))
            }
            Scalar::Like { argument, pattern, negated, insensitive } => {
                let like = if *insensitive { "ILIKE" } else { "LIKE" };
                write!(f, "{} {}{like} {}", self.operand(argument), not(negated), self.operand(pattern))
            }
            Scalar::Chain { first, steps, links, .. } => {
                let mut shown = Shown::new(self.operand(first));
                for link in links {
                    let operand = link.operand.as_ref().map(|operand| self.operand(operand)).unwrap_or_default();
                    shown.add(&steps[link.step], &operand);
                }
                f.write_str(&shown.text())
            }
            // What is named more than once must not become longer and longer.
            Scalar::Let { arguments, body } => {
                let column = |argument: &Scalar| Column {
                    name: function::short(self.operand(argument)),
                    kind: argument.kind(),
                    nullable: true,
                };
                let columns: Vec<_> = arguments.iter().map(column).collect();
                body.named(&columns).fmt(f)
            }
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named(&[]).fmt(f)
    }
}

fn literal(value: Option<&str>, kind: &Type, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(value) = value else { return f.write_str("NULL") };
    match kind {
        Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_) => f.write_str(value),
        _ => {
            write!(f, "'{}'", value.replace('\'', "''"))?;
            if kind == &Type::Text { Ok(()) } else { write!(f, "::{kind}") }
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Test::Null => "NULL",
            Test::True => "TRUE",
            Test::False => "FALSE",
            Test::Unknown => "UNKNOWN",
        })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Equal => "=",
            Operator::NotEqual => "<>",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::Distinct => "IS DISTINCT FROM",
            Operator::NotDistinct => "IS NOT DISTINCT FROM",
            Operator::Concat => "||",
            Operator::Matches => "~",
            Operator::MatchesInsensitive => "~*",
            Operator::NotMatches => "!~",
            Operator::NotMatchesInsensitive => "!~*",
            Operator::BitAnd => "&",
            Operator::BitOr => "|",
            Operator::BitXor => "#",
            Operator::ShiftLeft => "<<",
            Operator::ShiftRight => ">>",
            Operator::Contains => "@>",
            Operator::ContainedBy => "<@",
        })
    }
}

/// The text of a chain, made from its ends: every step puts something around what is there.
pub(super) struct Shown {
    before: Vec<String>,
    middle: String,
}

impl Shown {
    pub fn new(first: String) -> Self {
        Self { before: vec![], middle: first }
    }

    pub fn add(&mut self, step: &Scalar, operand: &str) {
        /// No expression is written with it.
        const HERE: &str = "\u{1}";
        let column = |name: &str| Column { name: name.into(), kind: Type::Text, nullable: true };
        let text = step.named(&[column(HERE), column(operand)]).to_string();
        let (before, after) = text.split_once(HERE).unwrap_or((&text, ""));
        // Operators that print no parentheses of their own.
        let bare = matches!(step, Scalar::Binary { .. });
        self.before.push(format!("{}{before}", if bare { "(" } else { "" }));
        self.middle.push_str(after);
        self.middle.push_str(if bare { ")" } else { "" });
    }

    pub fn text(self) -> String {
        self.before.into_iter().rev().chain([self.middle]).collect()
    }
}
