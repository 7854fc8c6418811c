//! The dependent join of the values that outer columns have with a subquery's rows, pushed down to where those columns are named.
//!
//! The domain is every combination of values that the outer columns have together. What comes of a node has the node's rows for each of
//! them, with its values beside; what names no outer columns is joined with the domain only if something above needs it. In groups and
//! DISTINCT the values are keys, and window functions see the rows of one of them; where a side of an outer join depends on them both
//! sides do, and agree.

use super::make::{self, Numbers, alike, extend, filter, join};
use super::risk;
use super::walk::{Names, columns as columns_of, names_any, replace};
use crate::bound::{Aggregate, Bound, ColumnId, Expr, Join, Kind, Node, Order, Set, Window, not_yet};
use crate::{stack, stop};
use std::collections::BTreeMap;

pub struct Domain<'a> {
    /// What has the outer columns.
    base: &'a Node,
    columns: Vec<(ColumnId, Kind)>,
    names: Names,
    numbers: &'a mut Numbers,
}

/// The columns that have the domain's values, in its order. `None`: a node that does not depend on them.
type Values = Option<Vec<ColumnId>>;

impl<'a> Domain<'a> {
    /// Of those columns of `base` that `rows` names.
    pub fn new(
        base: &'a Node,
        columns: BTreeMap<ColumnId, Kind>,
        rows: &Node,
        numbers: &'a mut Numbers,
    ) -> Bound<Self> {
        if !risk::is_repeatable(base) {
            return not_yet("a subquery that depends on rows that are chosen by chance");
        }
        if let Some(kind) = risk::shown_loose(rows, &columns) {
            return not_yet(format!("a subquery that depends on a value of type {kind}"));
        }
        let names = columns.keys().copied().collect();
        Ok(Self { base, columns: columns.into_iter().collect(), names, numbers })
    }

    /// The rows of `node` for each of the values, and the columns that have these.
    pub fn rows(&mut self, node: Node) -> Bound<(Node, Vec<ColumnId>)> {
        let (node, values) = self.pushed(node)?;
        self.beside(node, values)
    }

    /// That the outer columns have these values.
    pub fn matches(&self, values: &[ColumnId]) -> Bound<Vec<Expr>> {
        self.columns
            .iter()
            .zip(values)
            .map(|((outer, kind), own)| alike(make::column(*outer, *kind), make::column(*own, *kind)))
            .collect()
    }

    /// `expr` of the values instead of the outer columns.
    pub fn over(&self, mut expr: Expr, values: &[ColumnId]) -> Expr {
        let pairs = self.columns.iter().zip(values);
        let by = pairs.map(|((outer, kind), own)| (*outer, make::column(*own, *kind))).collect();
        replace(&mut expr, &by);
        expr
    }

    /// The domain itself.
    fn values(&mut self) -> Bound<(Node, Vec<ColumnId>)> {
        let (copy, renamed) = self.numbers.copy(self.base)?;
        let own: Vec<(ColumnId, Kind)> =
            self.columns.iter().map(|(id, kind)| (renamed.get(id).copied().unwrap_or(*id), *kind)).collect();
        let ids = own.iter().map(|(id, _)| *id).collect();
        Ok((Node::Distinct { input: Box::new(copy), columns: own }, ids))
    }

    fn beside(&mut self, node: Node, values: Values) -> Bound<(Node, Vec<ColumnId>)> {
        match values {
            Some(values) => Ok((node, values)),
            None => {
                let (domain, values) = self.values()?;
                match node {
                    Node::Unit => Ok((domain, values)),
                    node => Ok((join(Join::Inner, domain, node, vec![]), values)),
                }
            }
        }
    }

    fn names_outer<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> bool {
        exprs.into_iter().any(|expr| names_any(expr, &self.names))
    }

    fn pushed(&mut self, node: Node) -> Bound<(Node, Values)> {
        stop::check()?;
        stack::level(|| self.form(node))
    }

    /// A node's only input, joined with the domain if the node itself names outer columns.
    fn input(&mut self, input: Node, names_outer: bool) -> Bound<(Node, Values)> {
        let (input, values) = self.pushed(input)?;
        match values {
            None if names_outer => self.beside(input, None).map(|(input, values)| (input, Some(values))),
            values => Ok((input, values)),
        }
    }

    fn form(&mut self, node: Node) -> Bound<(Node, Values)> {
        let names_outer = self.names_outer(node.expressions());
        match node {
            Node::Unit | Node::Scan { .. } => Ok((node, None)),
            Node::Values { .. } if names_outer => not_yet("VALUES of outer columns"),
            Node::Values { .. } => Ok((node, None)),
            Node::Filter { input, condition } => {
                let (input, values) = self.input(*input, names_outer)?;
                let condition = self.renamed(condition, &values);
                Ok((filter(input, vec![condition]), values))
            }
            Node::Extend { input, columns } => {
                let (input, values) = self.input(*input, names_outer)?;
                let columns = columns.into_iter().map(|(id, expr)| (id, self.renamed(expr, &values))).collect();
                Ok((extend(input, columns), values))
            }
            Node::Join { kind, left, right, on } => self.join(kind, *left, *right, on),
            Node::Group { input, keys, aggregates, sets } => {
                let shown = |call: &Aggregate| ["array_agg", "string_agg"].contains(&call.function.name);
                if is_sorted(&input) && aggregates.iter().any(|(_, call)| shown(call) && call.order.is_empty()) {
                    return not_yet("an aggregate of rows in the order of a subquery");
                }
                let (input, values) = self.input(*input, names_outer)?;
                match values {
                    None => Ok((Node::Group { input: Box::new(input), keys, aggregates, sets }, None)),
                    Some(values) => self.group(input, (keys, aggregates, sets), values),
                }
            }
            Node::Window { input, mut calls } => {
                if is_sorted(&input) && calls.iter().any(|(_, call)| call.order.is_empty()) {
                    return not_yet("window functions of rows in the order of a subquery");
                }
                let (input, values) = self.input(*input, names_outer)?;
                for (_, call) in &mut calls {
                    self.window(call, values.as_deref());
                }
                Ok((Node::Window { input: Box::new(input), calls }, values))
            }
            Node::Distinct { input, mut columns } => {
                let (input, values) = self.pushed(*input)?;
                let kinds = self.columns.iter().map(|(_, kind)| *kind);
                columns.extend(values.iter().flatten().copied().zip(kinds));
                Ok((Node::Distinct { input: Box::new(input), columns }, values))
            }
            Node::DistinctOn { input, on, order } => {
                let (input, values) = self.input(*input, names_outer)?;
                let on = on.into_iter().map(|expr| self.renamed(expr, &values)).collect();
                let order = self.renamed_order(order, &values);
                Ok((self.first(input, on, order, values.as_deref()), values))
            }
            Node::Sort { input, order } => match self.pushed(*input)? {
                (input, None) if !names_outer => Ok((Node::Sort { input: Box::new(input), order }, None)),
                // Nobody needs an order of rows of which each belongs to one of many values.
                unsorted => Ok(unsorted),
            },
            Node::Limit { input, skip, fetch } => self.limit(*input, skip, fetch),
            Node::Combine { set, all, left, right, columns } => self.combine(set, all, [left, right], columns),
        }
    }

    fn renamed(&self, expr: Expr, values: &Values) -> Expr {
        match values {
            Some(values) => self.over(expr, values),
            None => expr,
        }
    }

    fn renamed_order(&self, order: Vec<Order>, values: &Values) -> Vec<Order> {
        order.into_iter().map(|order| Order { by: self.renamed(order.by, values), ..order }).collect()
    }

    fn join(&mut self, kind: Join, left: Node, right: Node, on: Option<Expr>) -> Bound<(Node, Values)> {
        let names_outer = self.names_outer(&on);
        let ((mut left, mut first), (mut right, mut second)) = (self.pushed(left)?, self.pushed(right)?);
        let depends = names_outer || first.is_some() || second.is_some();
        let (needs_left, needs_right) = match kind {
            Join::Inner => (names_outer && second.is_none(), false),
            Join::Left | Join::Semi | Join::Anti | Join::Mark(_) => (depends, false),
            Join::Right => (false, depends),
            Join::Full => (depends, depends),
        };
        if needs_left {
            let (node, values) = self.beside(left, first)?;
            (left, first) = (node, Some(values));
        }
        if needs_right {
            let (node, values) = self.beside(right, second)?;
            (right, second) = (node, Some(values));
        }
        let mut conditions = vec![];
        if let (Some(first), Some(second)) = (&first, &second) {
            for ((l, r), (_, kind)) in first.iter().zip(second).zip(&self.columns) {
                conditions.push(alike(make::column(*l, *kind), make::column(*r, *kind))?);
            }
        }
        let values =
            if kind == Join::Right { second.clone().or(first.clone()) } else { first.clone().or(second.clone()) };
        conditions.extend(on.map(|on| self.renamed(on, &values)));
        let node = join(kind, left, right, conditions);
        match (kind, first, second) {
            (Join::Full, Some(first), Some(second)) => {
                let (mut columns, mut values) = (vec![], vec![]);
                for ((l, r), (_, kind)) in first.into_iter().zip(second).zip(&self.columns) {
                    let value = make::coalesce(make::column(l, *kind), make::column(r, *kind));
                    let id = self.numbers.column();
                    columns.push((id, value));
                    values.push(id);
                }
                Ok((extend(node, columns), Some(values)))
            }
            _ => Ok((node, values)),
        }
    }

    fn group(
        &mut self,
        input: Node,
        (mut keys, mut aggregates, mut sets): Groups,
        values: Vec<ColumnId>,
    ) -> Bound<(Node, Values)> {
        let is_all = keys.is_empty() && sets.is_none();
        if sets.iter().flatten().any(Vec::is_empty) {
            return not_yet("GROUPING SETS of all rows in a correlated subquery");
        }
        for (_, key) in &mut keys {
            *key = self.over(key.clone(), &values);
        }
        for (_, call) in &mut aggregates {
            let Aggregate { arguments, filter, order, .. } = call;
            for expr in arguments.iter_mut().chain(filter).chain(order.iter_mut().map(|order| &mut order.by)) {
                *expr = self.over(expr.clone(), &values);
            }
        }
        let mut own = vec![];
        for (value, (_, kind)) in values.iter().zip(&self.columns) {
            let id = self.numbers.column();
            sets.iter_mut().flatten().for_each(|set| set.push(keys.len()));
            keys.push((id, make::column(*value, *kind)));
            own.push(id);
        }
        let input = Box::new(input);
        if !is_all {
            return Ok((Node::Group { input, keys, aggregates, sets }, Some(own)));
        }
        let counts = of_nothing(&mut aggregates, self.numbers)?;
        let groups = Node::Group { input, keys, aggregates, sets };
        let (domain, values) = self.values()?;
        let mut on = vec![];
        for ((l, r), (_, kind)) in values.iter().zip(&own).zip(&self.columns) {
            on.push(alike(make::column(*l, *kind), make::column(*r, *kind))?);
        }
        Ok((extend(join(Join::Left, domain, groups, on), counts), Some(values)))
    }

    /// Sees the rows of one of the values alone.
    fn window(&self, call: &mut Window, values: Option<&[ColumnId]>) {
        let Some(values) = values else { return };
        for part in call.parts_mut() {
            *part = self.over(part.clone(), values);
        }
        let pairs = values.iter().zip(&self.columns);
        call.partition.extend(pairs.map(|(id, (_, kind))| make::column(*id, *kind)));
    }

    /// The first row of each of the values that are equal in `on`.
    fn first(&self, input: Node, on: Vec<Expr>, order: Vec<Order>, values: Option<&[ColumnId]>) -> Node {
        let pairs = values.unwrap_or_default().iter().zip(&self.columns);
        let own: Vec<Expr> = pairs.map(|(id, (_, kind))| make::column(*id, *kind)).collect();
        let by = |by: Expr| Order { by, descending: false, nulls_first: false };
        let order = match order.is_empty() {
            true => order,
            false => own.iter().cloned().map(by).chain(order).collect(),
        };
        Node::DistinctOn { input: Box::new(input), on: own.into_iter().chain(on).collect(), order }
    }

    fn limit(&mut self, input: Node, skip: Option<Expr>, fetch: Option<Expr>) -> Bound<(Node, Values)> {
        let order = order_of(&input);
        let (input, values) = self.pushed(input)?;
        if values.is_none() {
            return Ok((Node::Limit { input: Box::new(input), skip, fetch }, None));
        }
        match (rows(skip.as_ref()), rows(fetch.as_ref())) {
            (Some(None | Some(0)), Some(None)) => Ok((input, values)),
            (_, Some(Some(0))) => Ok((filter(input, vec![make::truth(false)]), values)),
            (Some(None | Some(0)), Some(Some(1))) => {
                let order = self.renamed_order(order, &values);
                Ok((self.first(input, vec![], order, values.as_deref()), values))
            }
            _ => not_yet("LIMIT in a correlated subquery"),
        }
    }

    fn combine(
        &mut self,
        set: Set,
        all: bool,
        sides: [(Box<Node>, Vec<ColumnId>); 2],
        mut columns: Vec<(ColumnId, Kind)>,
    ) -> Bound<(Node, Values)> {
        let [(left, mut shown), (right, mut matching)] = sides;
        let ((left, first), (right, second)) = (self.pushed(*left)?, self.pushed(*right)?);
        if first.is_none() && second.is_none() {
            let (left, right) = ((Box::new(left), shown), (Box::new(right), matching));
            return Ok((Node::Combine { set, all, left, right, columns }, None));
        }
        let ((left, first), (right, second)) = (self.beside(left, first)?, self.beside(right, second)?);
        shown.extend(first);
        matching.extend(second);
        let mut values = vec![];
        for (_, kind) in &self.columns {
            let id = self.numbers.column();
            columns.push((id, *kind));
            values.push(id);
        }
        let (left, right) = ((Box::new(left), shown), (Box::new(right), matching));
        Ok((Node::Combine { set, all, left, right, columns }, Some(values)))
    }
}

type Groups = (Vec<(ColumnId, Expr)>, Vec<(ColumnId, Aggregate)>, Option<Vec<Vec<usize>>>);

/// What is to be computed of aggregates that are NULL where there are no rows: those that count are 0 there. They are given other columns
/// for that.
pub fn of_nothing(aggregates: &mut [(ColumnId, Aggregate)], numbers: &mut Numbers) -> Bound<Vec<(ColumnId, Expr)>> {
    let mut columns = vec![];
    for (id, call) in aggregates {
        match call.function.name {
            "count" => {
                let counted = numbers.column();
                columns.push((*id, make::coalesce(make::column(counted, call.kind), make::number("0"))));
                *id = counted;
            }
            "sum" | "avg" | "min" | "max" | "array_agg" | "string_agg" | "bool_and" | "bool_or" | "every"
            | "stddev" | "stddev_pop" | "stddev_samp" | "variance" | "var_pop" | "var_samp" => {}
            name => return not_yet(format!("aggregate {name} in a correlated subquery")),
        }
    }
    Ok(columns)
}

/// How many rows LIMIT or OFFSET says: all if nothing; `None` if it is not known.
pub fn rows(number: Option<&Expr>) -> Option<Option<i64>> {
    match number {
        None | Some(Expr::Constant { value: None, .. }) => Some(None),
        Some(Expr::Constant { value: Some(value), .. }) => value.parse().ok().map(Some),
        Some(Expr::Cast { argument, .. }) if matches!(argument.as_ref(), Expr::Constant { .. }) => rows(Some(argument)),
        Some(_) => None,
    }
}

/// Whether the first of some rows stays.
pub fn keeps_one(skip: Option<&Expr>, fetch: Option<&Expr>) -> bool {
    matches!(rows(skip), Some(None | Some(0))) && matches!(rows(fetch), Some(None | Some(1..)))
}

/// What rows are sorted by.
pub fn order_of(node: &Node) -> Vec<Order> {
    match node {
        Node::Sort { order, .. } | Node::DistinctOn { order, .. } => order.clone(),
        Node::Filter { input, .. } | Node::Extend { input, .. } | Node::Limit { input, .. } => order_of(input),
        _ => vec![],
    }
}

fn is_sorted(node: &Node) -> bool {
    !order_of(node).is_empty()
}

/// The outer columns that `node` names and `base` has.
pub fn outer(node_names: BTreeMap<ColumnId, Kind>, base: &Node) -> BTreeMap<ColumnId, Kind> {
    let own = columns_of(base);
    node_names.into_iter().filter(|(id, _)| own.contains(id)).collect()
}
