//! The optimised logical plan to nodes of the incremental plan, bottom up.
//!
//! In reading order: [`draft`] (a node with the filters and projections that wait to become one Map), this file (one match
//! over DataFusion's nodes), [`join`], [`reduce`], [`values`].

mod columns;
mod draft;
mod join;
mod reduce;
mod values;

use crate::error::{Error, Result};
use crate::plan::{Node, Operator};
use crate::planner::context::Table;
use crate::session::names::shown;
use crate::types::{Column, Type};
use datafusion::logical_expr::{self as logical, LogicalPlan};
use draft::Draft;

/// The root with its columns called `outputs`, and its unique key if one follows from what the engine enforces.
pub fn lower(plan: &LogicalPlan, outputs: &[String]) -> Result<(Node, Option<Vec<usize>>)> {
    let (mut root, key) = rows(plan)?.finish()?;
    for (column, name) in root.columns.iter_mut().zip(outputs) {
        column.name.clone_from(name);
    }
    Ok((root, key))
}

fn rows(plan: &LogicalPlan) -> Result<Draft> {
    match plan {
        LogicalPlan::TableScan(scan) => table(scan),
        LogicalPlan::Projection(projection) => rows(&projection.input)?.project(&projection.expr, &projection.schema),
        LogicalPlan::Filter(filter) => rows(&filter.input)?.filter(&filter.predicate),
        // Order is no property of a set of rows; a limit would have been refused.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => rows(&sort.input),
        LogicalPlan::SubqueryAlias(alias) => Ok(rows(&alias.input)?.named(&alias.schema)),
        LogicalPlan::Join(join) => {
            join::check(join)?;
            join::join(join, rows(&join.left)?, rows(&join.right)?)
        }
        LogicalPlan::Aggregate(aggregate) => reduce::aggregate(aggregate, rows(&aggregate.input)?),
        LogicalPlan::Distinct(logical::Distinct::All(input)) => reduce::distinct(rows(input)?),
        LogicalPlan::Union(union) => self::union(union),
        LogicalPlan::Values(rows) => values::values(rows),
        LogicalPlan::EmptyRelation(empty) => values::empty(empty),
        other => Err(Error::unsupported(other.display().to_string().split(':').next().unwrap_or_default())),
    }
}

fn table(scan: &logical::TableScan) -> Result<Draft> {
    let table = scan.source.downcast_ref::<Table>().ok_or_else(|| Error::internal("scan of a foreign table"))?;
    if scan.fetch.is_some() {
        return Err(Error::unsupported("LIMIT"));
    }
    let (all, key) = (&table.relation.columns, &table.relation.key);
    let wanted = scan.projection.clone().unwrap_or_else(|| (0..all.len()).collect());
    // Rows without columns would be hard to count: one column stays, though nobody asks for it.
    let projection = if wanted.is_empty() { vec![0] } else { wanted.clone() };
    let columns = projection.iter().map(|&c| all[c].clone()).collect();
    let key = key.as_ref().and_then(|key| key.iter().map(|k| projection.iter().position(|p| p == k)).collect());
    let operator = Operator::Scan { relation: table.relation.id, name: table.relation.name.clone(), projection };
    let mut draft = Draft::new(Node { operator, columns }, key, &scan.projected_schema)?;
    for filter in &scan.filters {
        draft = draft.filter(filter)?;
    }
    Ok(draft)
}

fn union(union: &logical::Union) -> Result<Draft> {
    let mut columns = vec![];
    let mut drafts = union.inputs.iter().map(|input| rows(input)).collect::<Result<Vec<_>>>()?;
    if union.schema.fields().is_empty() {
        // Nobody asks for a column; the inputs need not have one of the same type.
        drafts = drafts.into_iter().map(|d| d.select(vec![logical::lit(true)]).0).collect();
        columns.push(Column { name: "row".into(), kind: Type::Bool, nullable: false });
    }
    for (i, field) in union.schema.fields().iter().enumerate() {
        let kinds = drafts.iter().map(|d| d.kind(i)).collect::<Result<Vec<_>>>()?;
        let common = if kinds.windows(2).all(|w| w[0] == w[1]) { kinds[0].clone() } else { Type::of(field)? };
        columns.push(Column { name: shown(field.name()).into(), kind: common, nullable: false });
    }
    let drafts = drafts.into_iter().map(|draft| draft.cast(&columns)).collect::<Result<Vec<_>>>()?;
    let mut inputs = vec![];
    for draft in drafts {
        let (input, _) = draft.finish()?;
        for (column, from) in columns.iter_mut().zip(&input.columns) {
            column.nullable |= from.nullable;
            if column.name.is_empty() {
                column.name.clone_from(&from.name);
            }
        }
        inputs.push(input);
    }
    Draft::new(Node { operator: Operator::Union { inputs }, columns }, None, &union.schema)
}
