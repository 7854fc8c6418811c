//! Joins: keys to columns, the rest of the condition to a residual, the derived key of the result.

use super::columns::{comparable, width};
use super::draft::{Draft, position, positional, resolve};
use crate::aggregate;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, JoinKind, Node, Operator};
use crate::scalar::Scalar;
use crate::types::{Column, Type};
use datafusion::common::{Column as Name, NullEquality};
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::{self as logical, Expr, JoinType, cast, lit};

/// Refuses what [`join`] cannot do, whatever it joins.
pub fn check(join: &logical::Join) -> Result<()> {
    match join.null_aware {
        true => Err(Error::unsupported("NOT IN with a nullable column").hint("Use NOT EXISTS.")),
        false => Ok(()),
    }
}

pub fn join(join: &logical::Join, mut left: Draft, mut right: Draft) -> Result<Draft> {
    let (kind, swapped) = match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::LeftMark => (JoinKind::Mark, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::RightMark => (JoinKind::Mark, true),
    };
    let mut on: Vec<(&Expr, &Expr)> = join.on.iter().map(|(l, r)| (l, r)).collect();
    if swapped {
        std::mem::swap(&mut left, &mut right);
        on = on.into_iter().map(|(l, r)| (r, l)).collect();
    }
    let keys = on.into_iter().map(|(l, r)| key(&mut left, l, &mut right, r)).collect::<Result<Vec<_>>>()?;
    let condition = join.filter.as_ref().filter(|f| **f != lit(true));
    if keys.is_empty() && condition.is_none() && matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark) {
        right = any_row(right)?;
    }
    let sides = Sides::finish(left, right)?;
    sides.check(&keys, kind, condition.is_some())?;
    let residual = condition.map(|c| sides.residual(c)).transpose()?;
    let key = sides.key(kind, &keys);
    let project = sides.visible(kind);
    let columns = sides.columns(kind);
    let null_equal = join.null_equality == NullEquality::NullEqualsNull;
    let operator =
        Operator::Join { kind, left: Box::new(sides.left), right: Box::new(sides.right), keys, null_equal, residual };
    Draft::projected(Node { operator, columns }, key, project, &join.schema)
}

/// Makes both sides of an equality columns of one type.
fn key(left: &mut Draft, l: &Expr, right: &mut Draft, r: &Expr) -> Result<(usize, usize)> {
    let (mut l, mut r) = (left.resolve(l)?, right.resolve(r)?);
    let (from_l, from_r) = (left.kind_of(&l)?.arrow(), right.kind_of(&r)?.arrow());
    if from_l != from_r {
        let common = comparison_coercion(&from_l, &from_r)
            .ok_or_else(|| Error::new("42883", format!("operator does not exist: {from_l} = {from_r}")))?;
        if from_l != common {
            l = cast(l, common.clone());
        }
        if from_r != common {
            r = cast(r, common);
        }
    }
    Ok((left.column_of(l), right.column_of(r)))
}

/// At most one row, there is one if `draft` has any: for EXISTS without correlation.
fn any_row(draft: Draft) -> Result<Draft> {
    let schema = std::sync::Arc::new(datafusion::common::DFSchema::empty());
    let (input, _) = draft.finish()?;
    let output = Column { name: "count(*)".into(), kind: Type::Int8, nullable: false };
    let rows =
        Aggregate { function: aggregate::COUNT, argument: None, distinct: false, filter: None, output: output.clone() };
    let operator = Operator::Reduce { input: Box::new(input), group: vec![], aggregates: vec![rows] };
    let reduce = Draft::projected(Node { operator, columns: vec![output] }, Some(vec![]), vec![position(0)], &schema)?;
    Ok(reduce.filter_resolved(position(0).gt(lit(0_i64))))
}

/// Both inputs, finished.
struct Sides {
    left: Node,
    right: Node,
    left_key: Option<Vec<usize>>,
    right_key: Option<Vec<usize>>,
    /// How many columns of each side the logical plan knows; keys that had to be computed stand behind them.
    known: (usize, usize),
    names: (datafusion::common::DFSchemaRef, datafusion::common::DFSchemaRef),
}

impl Sides {
    fn finish(left: Draft, right: Draft) -> Result<Self> {
        let names = (left.schema().clone(), right.schema().clone());
        let known = (width(&names.0), width(&names.1));
        let ((left, left_key), (right, right_key)) = (left.finish()?, right.finish()?);
        Ok(Self { left, right, left_key, right_key, known, names })
    }

    fn check(&self, keys: &[(usize, usize)], kind: JoinKind, conditional: bool) -> Result<()> {
        let pick =
            |node: &Node, side: Vec<usize>| side.into_iter().map(|i| node.columns[i].clone()).collect::<Vec<_>>();
        comparable(&pick(&self.left, keys.iter().map(|k| k.0).collect()), "a join")?;
        comparable(&pick(&self.right, keys.iter().map(|k| k.1).collect()), "a join")?;
        let single = |key: &Option<Vec<usize>>| key.as_ref().is_some_and(|k| k.is_empty());
        if !keys.is_empty() || single(&self.left_key) || single(&self.right_key) {
            return Ok(());
        }
        Err(match (kind, conditional) {
            (JoinKind::Inner, false) => Error::unsupported("a cross join of relations with more than one row"),
            (JoinKind::Semi | JoinKind::Anti | JoinKind::Mark, _) => {
                Error::unsupported("EXISTS or IN without an equality between inner and outer columns")
            }
            _ => Error::unsupported("a join without an equality between columns of both sides"),
        })
    }

    /// The condition beside the keys, over left columns then right columns.
    fn residual(&self, condition: &Expr) -> Result<Scalar> {
        let shift = self.left.columns.len();
        let resolved = resolve(condition, |name: &Name| {
            Ok(match (self.names.0.maybe_index_of_column(name), self.names.1.maybe_index_of_column(name)) {
                (Some(l), _) => position(l),
                (None, Some(r)) => position(shift + r),
                (None, None) => position(self.names.0.index_of_column(name)?),
            })
        })?;
        Scalar::from_logical(&resolved, &positional(&[&self.left.columns[..], &self.right.columns[..]].concat())?)
    }

    /// If one side's key is among its join keys, a row of the other finds at most one row of it.
    fn key(&self, kind: JoinKind, keys: &[(usize, usize)]) -> Option<Vec<usize>> {
        let shift = self.left.columns.len();
        let within = |key: &Option<Vec<usize>>, joined: Vec<usize>| {
            key.as_ref().is_some_and(|key| key.iter().all(|k| joined.contains(k)))
        };
        let left_once = within(&self.left_key, keys.iter().map(|k| k.0).collect());
        let right_once = within(&self.right_key, keys.iter().map(|k| k.1).collect());
        let right_key = || self.right_key.as_ref().map(|key| key.iter().map(|k| k + shift).collect::<Vec<_>>());
        let both = || Some([self.left_key.clone()?, right_key()?].concat());
        match kind {
            JoinKind::Semi | JoinKind::Anti | JoinKind::Mark => self.left_key.clone(),
            JoinKind::Inner | JoinKind::Left if right_once && self.left_key.is_some() => self.left_key.clone(),
            JoinKind::Inner | JoinKind::Right if left_once && self.right_key.is_some() => right_key(),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right => both(),
            // The NULLs that stand for "no match" must not be taken for values; and two single rows that do not match are two rows.
            JoinKind::Full => both().filter(|key| !key.is_empty() && key.iter().all(|&k| !self.nullable(k))),
        }
    }

    fn nullable(&self, column: usize) -> bool {
        let shift = self.left.columns.len();
        if column < shift { self.left.columns[column].nullable } else { self.right.columns[column - shift].nullable }
    }

    /// All columns of the node.
    fn columns(&self, kind: JoinKind) -> Vec<Column> {
        let side = |node: &Node, padded: bool| {
            let columns = node.columns.iter().cloned();
            columns.map(|c| Column { nullable: c.nullable || padded, ..c }).collect::<Vec<_>>()
        };
        let left = side(&self.left, matches!(kind, JoinKind::Right | JoinKind::Full));
        let right = match kind {
            JoinKind::Semi | JoinKind::Anti => vec![],
            JoinKind::Mark => vec![Column { name: "mark".into(), kind: Type::Bool, nullable: false }],
            _ => side(&self.right, matches!(kind, JoinKind::Left | JoinKind::Full)),
        };
        [left, right].concat()
    }

    /// The columns the logical plan knows, without computed keys.
    fn visible(&self, kind: JoinKind) -> Vec<Expr> {
        let shift = self.left.columns.len();
        let right = match kind {
            JoinKind::Semi | JoinKind::Anti => 0,
            JoinKind::Mark => 1,
            _ => self.known.1,
        };
        (0..self.known.0).chain(shift..shift + right).map(position).collect()
    }
}
