//! A node with the filters and projections that wait above it: they are merged while they are still logical expressions, and
//! become one Map, or none, in [`Draft::finish`].
//!
//! Expressions in a draft refer to the node's columns by position: the column named `"3"` is column 3. Names of the query
//! are resolved once, against [`Draft::schema`].

use super::columns::{holds, width};
use crate::error::{Error, Result};
use crate::plan::{Node, Operator};
use crate::planner::explain::expression;
use crate::planner::fault;
use crate::scalar::{Scalar, connected};
use crate::session::names::shown;
use crate::types::{Column, Type};
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as Name, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator as Op};
use std::sync::Arc;

#[derive(Clone)]
pub struct Draft {
    node: Node,
    /// A unique key of the node's rows; empty if there is at most one row.
    key: Option<Vec<usize>>,
    /// The node's columns under their positions.
    base: Arc<DFSchema>,
    /// All of these must be true.
    filter: Vec<Expr>,
    /// The columns of `schema`, then any that only a parent asked for.
    project: Vec<Expr>,
    /// Names of the columns as the logical plan has them.
    schema: DFSchemaRef,
}

/// The node's column `index`, as draft expressions say it.
pub fn position(index: usize) -> Expr {
    Expr::Column(Name::new_unqualified(index.to_string()))
}

/// `columns` under their positions.
pub fn positional(columns: &[Column]) -> Result<DFSchema> {
    let fields =
        columns.iter().enumerate().map(|(i, c)| c.kind.field(&i.to_string(), c.nullable)).collect::<Vec<Field>>();
    DFSchema::from_unqualified_fields(fields.into(), Default::default()).map_err(fault::of)
}

fn as_position(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(Name { relation: None, name, .. }) => name.parse().ok(),
        _ => None,
    }
}

impl Draft {
    /// The first columns of `node` under the names of `schema`.
    pub fn new(node: Node, key: Option<Vec<usize>>, schema: &DFSchemaRef) -> Result<Self> {
        let project = (0..width(schema)).map(position).collect();
        Self::projected(node, key, project, schema)
    }

    /// `project` is over the positions of `node`'s columns.
    pub fn projected(node: Node, key: Option<Vec<usize>>, project: Vec<Expr>, schema: &DFSchemaRef) -> Result<Self> {
        let base = Arc::new(positional(&node.columns)?);
        Ok(Self { node, key, base, filter: vec![], project, schema: schema.clone() })
    }

    pub fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    pub fn named(mut self, schema: &DFSchemaRef) -> Self {
        self.project.truncate(width(schema));
        self.schema = schema.clone();
        self
    }

    pub fn filter(mut self, predicate: &Expr) -> Result<Self> {
        for condition in split_conjunction(predicate) {
            let condition = self.resolve(condition)?;
            self.filter.push(condition);
        }
        Ok(self)
    }

    /// Adds a condition that is already resolved.
    pub fn filter_resolved(mut self, condition: Expr) -> Self {
        self.filter.push(condition);
        self
    }

    pub fn project(mut self, exprs: &[Expr], schema: &DFSchemaRef) -> Result<Self> {
        if self.repeats_work(exprs)? {
            self = self.sealed()?;
        }
        self.project = exprs.iter().map(|expr| self.resolve(expr)).collect::<Result<_>>()?;
        self.schema = schema.clone();
        Ok(self)
    }

    /// Keeps only `exprs`, already resolved, equal ones once. Answers where each of them is now.
    pub fn select(mut self, exprs: Vec<Expr>) -> (Self, Vec<usize>) {
        self.project = vec![];
        self.schema = Arc::new(DFSchema::empty());
        let places = exprs.into_iter().map(|expr| self.column_of(expr)).collect();
        (self, places)
    }

    /// The output column that holds `expr`, already resolved; added behind the others if there is none.
    pub fn column_of(&mut self, expr: Expr) -> usize {
        self.project.iter().position(|p| *p == expr).unwrap_or_else(|| {
            self.project.push(expr);
            self.project.len() - 1
        })
    }

    /// Makes output column `i` have the type of `columns[i]`.
    pub fn cast(mut self, columns: &[Column]) -> Result<Self> {
        for (i, column) in columns.iter().enumerate() {
            let to = column.kind.arrow();
            if self.kind(i)?.arrow() != to {
                let from = std::mem::replace(&mut self.project[i], position(0));
                self.project[i] = datafusion::logical_expr::cast(from, to);
            }
        }
        Ok(self)
    }

    /// Names to positions. What is left that no row-wise expression can be is refused by name.
    pub fn resolve(&self, expr: &Expr) -> Result<Expr> {
        resolve(expr, |name| Ok(self.project[self.schema.index_of_column(name)?].clone()))
    }

    /// The type of output column `i`.
    pub fn kind(&self, i: usize) -> Result<Type> {
        self.kind_of(&self.project[i])
    }

    /// The type a resolved expression has as a column: the node's own for its columns.
    pub fn kind_of(&self, expr: &Expr) -> Result<Type> {
        match as_position(expr) {
            Some(i) => Ok(self.node.columns[i].kind.clone()),
            None => Type::of(&expr.to_field(self.base.as_ref()).map_err(fault::of)?.1),
        }
    }

    /// The node with everything that waited above it, and its key in terms of its columns.
    pub fn finish(mut self) -> Result<(Node, Option<Vec<usize>>)> {
        if self.project.is_empty() {
            // Rows without columns would be hard to count: one column stays, though nobody asks for it.
            self.project.push(position(0));
        }
        let key = self.output_key();
        if self.is_identity() {
            return Ok((self.node, key));
        }
        let project = (0..self.project.len()).map(|i| self.scalar(i)).collect::<Result<Vec<_>>>()?;
        let columns = project.iter().enumerate().map(|(i, value)| self.column(i, value)).collect::<Result<Vec<_>>>()?;
        if let Some(operator) = self.fused(&project)? {
            return Ok((Node { operator, columns }, key));
        }
        let filter = self.filter.iter().map(|condition| Scalar::from_logical(condition, &self.base));
        let mut filter = filter.collect::<Result<Vec<_>>>()?;
        let filter = if filter.len() > 1 { Some(connected(true, filter)) } else { filter.pop() };
        let input = Box::new(self.node);
        Ok((Node { operator: Operator::Map { input, filter, project }, columns }, key))
    }

    /// A draft over [`Self::finish`]'s node with nothing waiting.
    fn sealed(self) -> Result<Self> {
        let schema = self.schema.clone();
        let (node, key) = self.finish()?;
        Self::new(node, key, &schema)
    }

    /// Whether putting `exprs` on top would compute something of ours more than once.
    fn repeats_work(&self, exprs: &[Expr]) -> Result<bool> {
        let mut uses = vec![0_usize; self.project.len()];
        for expr in exprs {
            for column in count_columns(expr)? {
                uses[self.schema.index_of_column(&column).map_err(fault::of)?] += 1;
            }
        }
        let cheap = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
        Ok(uses.iter().zip(&self.project).any(|(uses, expr)| *uses > 1 && !cheap(expr)))
    }

    fn is_identity(&self) -> bool {
        let in_place = |(i, expr): (usize, &Expr)| as_position(expr) == Some(i);
        self.filter.is_empty()
            && self.project.len() == self.node.columns.len()
            && self.project.iter().enumerate().all(in_place)
    }

    /// A scan of other columns, or literal rows, instead of a Map over them.
    fn fused(&self, project: &[Scalar]) -> Result<Option<Operator>> {
        if !self.filter.is_empty() {
            return Ok(None);
        }
        match &self.node.operator {
            Operator::Scan { relation, name, projection } => {
                let wanted: Option<Vec<usize>> = self.project.iter().map(as_position).collect();
                Ok(wanted.filter(|w| (1..w.len()).all(|i| !w[..i].contains(&w[i]))).map(|wanted| Operator::Scan {
                    relation: *relation,
                    name: name.clone(),
                    projection: wanted.iter().map(|&w| projection[w]).collect(),
                }))
            }
            Operator::Values { rows } if rows.len() == 1 => {
                for expr in &self.project {
                    if holds(expr, |e| matches!(e, Expr::Column(_)))? {
                        return Ok(None);
                    }
                }
                Ok(Some(Operator::Values { rows: vec![project.to_vec()] }))
            }
            _ => Ok(None),
        }
    }

    /// Shape of output column `i`, called as the logical plan calls it; what has no name there, as the node's column that it is, or after
    /// its value.
    fn column(&self, i: usize, value: &Scalar) -> Result<Column> {
        let expr = &self.project[i];
        let known = if i < width(&self.schema) { shown(self.schema.field(i).name()) } else { "" };
        let name = match (known, as_position(expr)) {
            ("", Some(column)) => self.node.columns[column].name.clone(),
            ("", None) => expression(value, &self.node.columns),
            (known, _) => known.to_string(),
        };
        Ok(Column { name, kind: self.kind_of(expr)?, nullable: nullable(expr, &self.base) })
    }

    /// Output column `i` in the one Arrow shape of its type: DataFusion has several for some.
    fn scalar(&self, i: usize) -> Result<Scalar> {
        let expr = &self.project[i];
        let has = expr.get_type(self.base.as_ref()).map_err(fault::of)?;
        let wanted = self.kind_of(expr)?.arrow();
        match has == wanted {
            true => Scalar::from_logical(expr, &self.base),
            false => Scalar::from_logical(&datafusion::logical_expr::cast(expr.clone(), wanted), &self.base),
        }
    }

    /// Columns fixed by the filter tell no rows apart; the rest of the key must be in the output.
    fn output_key(&self) -> Option<Vec<usize>> {
        let fixed: Vec<usize> = self.filter.iter().filter_map(fixed_column).collect();
        let open = self.key.as_ref()?.iter().filter(|k| !fixed.contains(k));
        open.map(|&k| self.project.iter().position(|p| as_position(p) == Some(k))).collect()
    }
}

/// The columns `expr` refers to, as often as it does.
fn count_columns(expr: &Expr) -> Result<Vec<Name>> {
    let mut columns = vec![];
    expr.apply(|e| {
        if let Expr::Column(column) = e {
            columns.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(fault::of)?;
    Ok(columns)
}

/// The column in `column = constant`.
fn fixed_column(condition: &Expr) -> Option<usize> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Op::Eq, right }) = condition else { return None };
    match (left.as_ref(), right.as_ref()) {
        (column, Expr::Literal(..)) | (Expr::Literal(..), column) => as_position(column),
        _ => None,
    }
}

/// Replaces the columns in `expr` and takes aliases off.
pub fn resolve(expr: &Expr, column: impl Fn(&Name) -> datafusion::common::Result<Expr>) -> Result<Expr> {
    let resolved = expr.clone().transform_down(|e| {
        Ok(match e {
            Expr::Column(name) => Transformed::new(column(&name)?, true, TreeNodeRecursion::Jump),
            other => Transformed::no(other),
        })
    });
    let resolved = unaliased(resolved.data().map_err(fault::of)?)?;
    match unsupported(&resolved)? {
        None => Ok(resolved),
        Some(construct) => Err(Error::unsupported(construct)),
    }
}

/// An alias that carries metadata says what the value is; others only name it.
fn unaliased(expr: Expr) -> Result<Expr> {
    expr.transform_up(|e| {
        Ok(match e {
            Expr::Alias(alias) if alias.metadata.as_ref().is_none_or(|m| m.is_empty()) => Transformed::yes(*alias.expr),
            other => Transformed::no(other),
        })
    })
    .data()
    .map_err(fault::of)
}

fn unsupported(expr: &Expr) -> Result<Option<String>> {
    let mut found = None;
    expr.apply(|e| {
        found = match e {
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some("this subquery".to_string())
            }
            Expr::OuterReferenceColumn(..) => Some("this correlated subquery".into()),
            Expr::WindowFunction(_) => Some("a window function (OVER)".into()),
            Expr::AggregateFunction(call) => Some(format!("aggregate {} here", call.func.name())),
            Expr::GroupingSet(_) => Some("GROUPING SETS".into()),
            Expr::Placeholder(_) => Some("a parameter in a materialized view".into()),
            Expr::Unnest(_) => Some("unnest".into()),
            _ => None,
        };
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(fault::of)?;
    Ok(found)
}

/// Whether a resolved expression may be NULL. Only what is certain is trusted: a column said not to be NULL that is would fail
/// a whole batch.
fn nullable(expr: &Expr, base: &DFSchema) -> bool {
    match expr {
        Expr::Column(_) => as_position(expr).is_none_or(|i| base.field(i).is_nullable()),
        Expr::Literal(value, _) => matches!(value, ScalarValue::Null) || value.is_null(),
        Expr::Alias(alias) => nullable(&alias.expr, base),
        Expr::Cast(cast) => cast.field.data_type() == &DataType::Null || nullable(&cast.expr, base),
        Expr::Not(inner) | Expr::Negative(inner) => nullable(inner, base),
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsUnknown(_) => false,
        Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::IsNotUnknown(_) => false,
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Op::IsDistinctFrom | Op::IsNotDistinctFrom => false,
            Op::And | Op::Or | Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo => {
                nullable(left, base) || nullable(right, base)
            }
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => nullable(left, base) || nullable(right, base),
            _ => true,
        },
        _ => true,
    }
}
