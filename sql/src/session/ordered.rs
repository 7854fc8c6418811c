//! Rows that were sorted stay in their order up to the client, and up to the LIMIT or OFFSET that counts them.
//!
//! DataFusion asks for the order where the sort is. An output list above the sort that is worth being worked out in parallel gets the
//! rows dealt out in turn (round robin), and nobody puts them together again in the order they had.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_expr::Partitioning;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// Comes after rows are dealt out, and before it is forgotten that the result has an order.
#[derive(Debug)]
pub struct Ordered;

impl PhysicalOptimizerRule for Ordered {
    fn name(&self) -> &str {
        "sorted_rows_stay_in_order"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let counted = plan.transform_up(|node| match node.downcast_ref::<GlobalLimitExec>() {
            Some(_) => Ok(Transformed::yes(over(&node)?)),
            None => Ok(Transformed::no(node)),
        })?;
        undealt(&counted.data)
    }
}

/// `plan` without the places, below it down to where rows are sorted, that deal them out.
fn undealt(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(dealt) = plan.downcast_ref::<RepartitionExec>() {
        let in_turn = matches!(dealt.partitioning(), Partitioning::RoundRobinBatch(_));
        let input = dealt.input();
        let is_sorted = input.output_partitioning().partition_count() == 1 && input.output_ordering().is_some();
        return if in_turn && is_sorted { undealt(input) } else { Ok(plan.clone()) };
    }
    if let Some(together) = plan.downcast_ref::<CoalescePartitionsExec>() {
        let input = undealt(together.input())?;
        let is_one = input.output_partitioning().partition_count() == 1 && together.fetch().is_none();
        return if is_one { Ok(input) } else { Ok(plan.clone()) };
    }
    match plan.maintains_input_order().as_slice() {
        [true] => over(plan),
        _ => Ok(plan.clone()),
    }
}

/// `plan`, which has one child, over that child undealt.
fn over(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let child = plan.children().first().map(|child| undealt(child));
    let child = child.ok_or_else(|| internal_datafusion_err!("{} has no child", plan.name()))??;
    replace_children_if_necessary(plan.clone(), vec![child])
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col, lit};
    use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::projection::ProjectionExec;
    use datafusion::physical_plan::sorts::sort::SortExec;

    /// An output list that is more than columns over rows that are dealt out.
    fn listed(rows: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let dealt = Arc::new(RepartitionExec::try_new(rows, Partitioning::RoundRobinBatch(2)).expect("a plan"));
        let schema = dealt.schema();
        let sum = binary(col("a", &schema).expect("a column"), Operator::Plus, lit(1), &schema).expect("a sum");
        Arc::new(ProjectionExec::try_new(vec![(sum, "b".to_string())], dealt).expect("a plan"))
    }

    fn unsorted() -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]))))
    }

    fn sorted() -> Arc<dyn ExecutionPlan> {
        let rows = unsorted();
        let key = PhysicalSortExpr::new_default(col("a", &rows.schema()).expect("a column"));
        Arc::new(SortExec::new(LexOrdering::new([key]).expect("a key"), rows))
    }

    fn partitions(plan: Arc<dyn ExecutionPlan>) -> usize {
        let plan = Ordered.optimize(plan, &ConfigOptions::new()).expect("a plan");
        plan.output_partitioning().partition_count()
    }

    #[test]
    fn sorted_rows_are_not_dealt_out_below_an_output_list() {
        assert_eq!(partitions(listed(sorted())), 1);
        assert_eq!(partitions(listed(unsorted())), 2, "others are");
    }

    #[test]
    fn rows_that_are_counted_come_in_their_order() {
        let counted = |rows| -> Arc<dyn ExecutionPlan> {
            let one = Arc::new(CoalescePartitionsExec::new(listed(rows)));
            Arc::new(GlobalLimitExec::new(one, 2, Some(3)))
        };
        // Also where the order of the result is nobody's concern.
        let above = |rows| RepartitionExec::try_new(counted(rows), Partitioning::RoundRobinBatch(2)).expect("a plan");
        let dealt = |rows| {
            let plan = Ordered.optimize(Arc::new(above(rows)), &ConfigOptions::new()).expect("a plan");
            datafusion::physical_plan::displayable(plan.as_ref())
                .indent(false)
                .to_string()
                .matches("RoundRobin")
                .count()
        };
        assert_eq!(dealt(sorted()), 1);
        assert_eq!(dealt(unsorted()), 2);
    }
}
