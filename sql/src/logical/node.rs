//! Bound nodes to DataFusion's, from the top: what is needed of a node is known before it is planned.

use super::aggregate::shows_order;
use super::expression::Expressions;
use super::group;
use super::needed::{self, Needed};
use super::rows::{Columns, Rows, order};
use super::set::{self, Side};
use super::value::{Value, alike, held, planned, together};
use super::window;
use crate::bound::{Aggregate, Bound, ColumnId, Expr, Join, Kind, Node, Order, Set, Table, Unbound, Window, not_yet};
use crate::error::Error;
use crate::types::Type;
use crate::{stack, stop};
use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality, ScalarValue, TableReference};
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{self as logical, EmptyRelation, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Sort};
use std::sync::Arc;

/// What DataFusion calls the column that a mark join adds.
const MARK: &str = "mark";

/// The work on one statement.
pub struct Nodes<'a> {
    pub columns: Columns,
    pub zone: &'a str,
}

impl Nodes<'_> {
    pub fn expressions(&self) -> Expressions<'_> {
        Expressions::new(&self.columns, self.zone)
    }

    /// `node` with at least those of its columns that are needed.
    pub fn node(&mut self, node: &Node, needed: &Needed) -> Bound<Rows> {
        stop::check()?;
        stack::level(|| self.form(node, needed))
    }

    fn form(&mut self, node: &Node, needed: &Needed) -> Bound<Rows> {
        match node {
            Node::Unit => Ok(unit()),
            Node::Scan { name, table, columns } => self.scan(name, table, columns, needed),
            Node::Values { columns, rows } => self.values(columns, rows),
            Node::Filter { input, condition } => self.filter(input, condition, needed),
            Node::Extend { input, columns } => self.extend(input, columns, needed),
            Node::Join { kind, left, right, on } => self.join(*kind, (left, right), on.as_ref(), needed),
            Node::Group { input, keys, aggregates, sets } => {
                self.group(input, keys, aggregates, sets.as_deref(), needed)
            }
            Node::Window { input, calls } => self.window(input, calls, needed),
            Node::Distinct { input, columns } => {
                let columns: Vec<ColumnId> = columns.iter().map(|(id, _)| *id).collect();
                let rows = self.node(input, &columns.iter().copied().collect())?;
                group::distinct(rows, &columns, &self.columns)
            }
            Node::DistinctOn { input, on, order } => {
                let mut below = needed.clone();
                needed::add_all(on, &mut below);
                needed::add_order(order, &mut below);
                let rows = self.node(input, &below)?;
                group::distinct_on(rows, on, order, needed, &self.expressions())
            }
            Node::Sort { input, order } => self.sort(input, order, needed),
            Node::Limit { input, skip, fetch } => self.limit(input, skip.as_ref(), fetch.as_ref(), needed),
            Node::Combine { set, all, columns, .. } => self.combine(node, *set, *all, columns),
        }
    }

    fn scan(
        &mut self,
        table_name: &str,
        table: &Table,
        columns: &[(ColumnId, usize, Kind)],
        needed: &Needed,
    ) -> Bound<Rows> {
        let needed = columns.iter().filter(|(id, _, _)| needed.contains(id));
        let mut columns: Vec<_> = needed.chain(columns.first()).collect();
        if columns.len() > 1 {
            // Rows without any columns would be hard to count; otherwise nobody needs that one.
            columns.pop();
        }
        let fields = table.0.schema();
        let mut places: Vec<usize> = columns.iter().map(|(_, place, _)| *place).collect();
        places.sort_unstable();
        places.dedup();
        let reference = TableReference::bare(table_name);
        let scan = TableScanBuilder::new(reference.clone(), table.0.clone()).with_projection(Some(places));
        let mut values = vec![];
        for (id, place, kind) in columns {
            let Some(field) = fields.fields().get(*place) else {
                return Err(Unbound::Wrong(Error::internal(format!("no column {place} of {table_name}"))));
            };
            let own = Type::of(field).ok().filter(|own| held(*kind).is_ok_and(|kind| alike(own, &kind)));
            let Some(own) = own else { return not_yet(format!("a column of type {kind}")) };
            self.columns.insert(*id, own);
            let column = Column::new(Some(reference.clone()), field.name());
            values.push((*id, logical::Expr::Column(column)));
        }
        let plan = LogicalPlan::TableScan(planned(scan.build())?);
        Rows { plan, columns: vec![] }.projected(values)
    }

    fn values(&mut self, columns: &[(ColumnId, Kind)], rows: &[Vec<Expr>]) -> Bound<Rows> {
        if columns.is_empty() || rows.is_empty() {
            return not_yet("VALUES of nothing");
        }
        let mut values = vec![Vec::with_capacity(columns.len()); rows.len()];
        for (at, (id, kind)) in columns.iter().enumerate() {
            let one = |row: &Vec<Expr>| match row.get(at) {
                Some(expr) => self.expressions().value(expr),
                None => Err(Unbound::Wrong(Error::internal("VALUES of different lengths"))),
            };
            let column = rows.iter().map(one).collect::<Bound<Vec<Value>>>()?;
            let (column, kind) = together(column, &held(*kind)?, self.zone)?;
            values.iter_mut().zip(column).for_each(|(row, value)| row.push(value.expr));
            self.columns.insert(*id, kind);
        }
        let plan = planned(LogicalPlanBuilder::values(values).and_then(LogicalPlanBuilder::build))?;
        let called = |at: usize| logical::Expr::Column(Column::new_unqualified(format!("column{}", at + 1)));
        let values = columns.iter().enumerate().map(|(at, (id, _))| (*id, called(at))).collect();
        Rows { plan, columns: vec![] }.projected(values)
    }

    fn filter(&mut self, input: &Node, condition: &Expr, needed: &Needed) -> Bound<Rows> {
        let mut below = needed.clone();
        needed::add(condition, &mut below);
        let Rows { plan, columns } = self.node(input, &below)?;
        let condition = self.expressions().condition(condition)?;
        let plan = LogicalPlan::Filter(planned(Filter::try_new(condition, Arc::new(plan)))?);
        Ok(Rows { plan, columns })
    }

    fn extend(&mut self, input: &Node, columns: &[(ColumnId, Expr)], needed: &Needed) -> Bound<Rows> {
        let columns: Vec<_> = columns.iter().filter(|(id, _)| needed.contains(id)).collect();
        let mut below = needed.clone();
        needed::add_all(columns.iter().map(|(_, expr)| expr), &mut below);
        let rows = self.node(input, &below)?;
        if columns.is_empty() {
            return Ok(rows);
        }
        let mut values = rows.kept(needed);
        let mut kinds = vec![];
        for (id, expr) in columns {
            let value = self.expressions().value(expr)?;
            kinds.push((*id, value.kind));
            values.push((*id, value.expr));
        }
        self.columns.extend(kinds);
        rows.projected(values)
    }

    fn join(&mut self, kind: Join, (left, right): (&Node, &Node), on: Option<&Expr>, needed: &Needed) -> Bound<Rows> {
        let mut below = needed.clone();
        needed::add_all(on, &mut below);
        let (left, right) = (self.node(left, &below)?, self.node(right, &below)?);
        let on = on.map(|on| self.expressions().condition(on)).transpose()?;
        let on = match kind {
            Join::Inner => on,
            _ => Some(on.unwrap_or_else(|| logical::lit(true))),
        };
        let called = match kind {
            Join::Inner => JoinType::Inner,
            Join::Left => JoinType::Left,
            Join::Right => JoinType::Right,
            Join::Full => JoinType::Full,
            Join::Semi => JoinType::LeftSemi,
            Join::Anti => JoinType::LeftAnti,
            Join::Mark(_) => JoinType::LeftMark,
        };
        // Its keys are found when types are settled.
        let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
        let (first, second) = (Arc::new(left.plan), Arc::new(right.plan));
        let join = logical::Join::try_new(first, second, vec![], on, called, constraint, nulls, false);
        let plan = LogicalPlan::Join(planned(join)?);
        match kind {
            Join::Semi | Join::Anti => Ok(Rows { plan, columns: left.columns }),
            Join::Mark(mark) => {
                self.columns.insert(mark, Type::Bool);
                let rows = Rows { plan, columns: left.columns };
                let mut values = rows.kept(needed);
                values.push((mark, logical::Expr::Column(Column::new_unqualified(MARK))));
                rows.projected(values)
            }
            _ => Ok(Rows { plan, columns: left.columns.into_iter().chain(right.columns).collect() }),
        }
    }

    fn group(
        &mut self,
        input: &Node,
        keys: &[(ColumnId, Expr)],
        aggregates: &[(ColumnId, Aggregate)],
        sets: Option<&[Vec<usize>]>,
        needed: &Needed,
    ) -> Bound<Rows> {
        let shown = |call: &Aggregate| shows_order(call) && call.order.is_empty() && !call.distinct;
        if sorted(input) && aggregates.iter().any(|(_, call)| shown(call)) {
            return not_yet("an aggregate of rows in the order of a subquery");
        }
        let mut below = Needed::new();
        needed::add_all(keys.iter().map(|(_, key)| key), &mut below);
        let asked = aggregates.iter().filter(|(id, _)| needed.contains(id));
        asked.for_each(|(_, call)| needed::add_aggregate(call, &mut below));
        let rows = self.node(input, &below)?;
        group::group(rows, keys, aggregates, sets, needed, &mut self.columns, self.zone)
    }

    fn window(&mut self, input: &Node, calls: &[(ColumnId, Window)], needed: &Needed) -> Bound<Rows> {
        let calls: Vec<_> = calls.iter().filter(|(id, _)| needed.contains(id)).collect();
        let mut below = needed.clone();
        needed::add_all(calls.iter().flat_map(|(_, window)| window.parts()), &mut below);
        let rows = self.node(input, &below)?;
        window::over(rows, &calls, needed, &mut self.columns, self.zone)
    }

    fn sort(&mut self, input: &Node, by: &[Order], needed: &Needed) -> Bound<Rows> {
        let mut below = needed.clone();
        needed::add_order(by, &mut below);
        let Rows { plan, columns } = self.node(input, &below)?;
        let expr = order(by, &self.expressions())?;
        let plan = match expr.is_empty() {
            true => plan,
            false => LogicalPlan::Sort(Sort { expr, input: Arc::new(plan), fetch: None }),
        };
        Ok(Rows { plan, columns })
    }

    fn limit(&mut self, input: &Node, skip: Option<&Expr>, fetch: Option<&Expr>, needed: &Needed) -> Bound<Rows> {
        // DataFusion filters in several threads, and then takes rows as they come.
        if filtered(input) && sorted(input) {
            return not_yet("LIMIT of rows in the order of a subquery");
        }
        let Rows { plan, columns } = self.node(input, needed)?;
        let count = |count: Option<&Expr>, error: fn() -> Error| match count {
            Some(count) => self.count(count, error),
            None => Ok(None),
        };
        let skip = count(skip, || Error::new("2201X", "OFFSET must not be negative"))?;
        let fetch = count(fetch, || Error::new("2201W", "LIMIT must not be negative"))?;
        if skip.is_none() && fetch.is_none() {
            return Ok(Rows { plan, columns });
        }
        Ok(Rows { plan: LogicalPlan::Limit(Limit { skip, fetch, input: Arc::new(plan) }), columns })
    }

    /// A number of rows: a constant, a parameter, or what is computed of those, since the analyzer does not look at it.
    fn count(&self, count: &Expr, negative: fn() -> Error) -> Bound<Option<Box<logical::Expr>>> {
        if !is_plain(count) {
            return not_yet("such an expression of LIMIT or OFFSET");
        }
        let value = self.expressions().value(count)?;
        match value.known() {
            _ if value.kind != Type::Int8 => not_yet(format!("LIMIT or OFFSET of type {}", value.kind)),
            Some(ScalarValue::Int64(None)) => Ok(None),
            Some(ScalarValue::Int64(Some(..0))) => Err(negative().into()),
            _ => Ok(Some(Box::new(value.expr))),
        }
    }

    fn combine(&mut self, node: &Node, set: Set, all: bool, results: &[(ColumnId, Kind)]) -> Bound<Rows> {
        if results.is_empty() {
            return not_yet("a set operation of no columns");
        }
        match (set, all) {
            (Set::Union, _) => {
                let sides = branches(node).into_iter().map(|(node, ids)| self.side(node, ids));
                let sides = sides.collect::<Bound<Vec<Side>>>()?;
                set::union(sides, all, results, &mut self.columns, self.zone)
            }
            (Set::Intersect | Set::Except, all) => {
                let Node::Combine { left, right, .. } = node else { return not_yet("a set operation") };
                let sides = [self.side(&left.0, &left.1)?, self.side(&right.0, &right.1)?];
                set::matched(sides, (set == Set::Intersect, all), results, &mut self.columns, self.zone)
            }
        }
    }

    fn side(&mut self, node: &Node, ids: &[ColumnId]) -> Bound<Side> {
        Ok((self.node(node, &ids.iter().copied().collect())?, ids.to_vec()))
    }
}

fn unit() -> Rows {
    let schema = Arc::new(DFSchema::empty());
    Rows { plan: LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema }), columns: vec![] }
}

/// What a UNION is of: one of the same kind on its left is part of it.
fn branches(node: &Node) -> Vec<(&Node, &[ColumnId])> {
    let Node::Combine { set: Set::Union, all, left, right, .. } = node else { return vec![] };
    let (all, mut left) = (*all, left);
    let mut branches: Vec<(&Node, &[ColumnId])> = vec![(&right.0, &right.1)];
    while let Node::Combine { set: Set::Union, all: same, left: inner, right, columns } = left.0.as_ref()
        && *same == all
        && columns.iter().map(|(id, _)| id).eq(&left.1)
    {
        branches.push((&right.0, &right.1));
        left = inner;
    }
    branches.push((&left.0, &left.1));
    branches.reverse();
    branches
}

/// Whether rows come in an order that somebody asked for.
fn sorted(node: &Node) -> bool {
    match node {
        Node::Sort { .. } => true,
        Node::Filter { input, .. } | Node::Extend { input, .. } | Node::Limit { input, .. } => sorted(input),
        _ => false,
    }
}

/// Whether there is a condition before the order.
fn filtered(node: &Node) -> bool {
    match node {
        Node::Filter { .. } => true,
        Node::Extend { input, .. } => filtered(input),
        _ => false,
    }
}

fn is_plain(expr: &Expr) -> bool {
    let plain =
        matches!(expr, Expr::Constant { .. } | Expr::Parameter { .. } | Expr::Cast { .. } | Expr::Operation { .. });
    plain && expr.children().into_iter().all(is_plain)
}
