//! `FROM t AS x (a, b)` with fewer names than columns: the others keep theirs. DataFusion wants all or none.

use crate::error::Error;
use crate::session::names;
use datafusion::common::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::sql::sqlparser::ast::{Ident, TableAliasColumnDef, TableFactor};
use std::mem::take;

#[derive(Debug)]
pub struct Aliases;

impl RelationPlanner for Aliases {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), lateral: false, .. }) = &mut relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if alias.columns.is_empty() {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        let mut named = alias.clone();
        take(&mut alias.columns);
        let plan = context.plan(relation)?;
        let (there, given) = (plan.schema().fields().len(), named.columns.len());
        if given > there {
            let message =
                format!("table \"{}\" has {there} columns available but {given} columns specified", named.name.value);
            return Err(Error::new("42P10", message).into());
        }
        let rest = plan.schema().fields().iter().skip(named.columns.len());
        let given: Vec<String> = named.columns.iter().map(|c| context.normalize_ident(c.name.clone())).collect();
        named.columns.extend(rest.enumerate().map(|(index, field)| {
            let name = match given.contains(field.name()) {
                true => names::hidden(field.name(), index),
                false => field.name().clone(),
            };
            TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None }
        }));
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(named)))))
    }
}
