//! `FROM t AS x (a, b)` with fewer names than columns: the others keep theirs. DataFusion wants all or none.

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
        let rest = plan.schema().fields().iter().skip(named.columns.len());
        named.columns.extend(rest.map(|field| {
            let name = Ident::with_quote('"', field.name());
            TableAliasColumnDef { name, data_type: None }
        }));
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(named)))))
    }
}
