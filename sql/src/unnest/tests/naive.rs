//! What a bound query is by definition: nested loops.

use super::super::domain::rows as counted;
use crate::bound::{Aggregate, ColumnId, Expr, Form, Join, Node, Order, Query, Set, Subquery, Test};
use crate::postgres::types::BOOL;
use std::cmp::Ordering;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Int(i64),
    Bool(bool),
    List(Vec<Value>),
    /// Larger than everything.
    Null,
}

/// The rows of tables.
pub type Data = BTreeMap<String, Vec<Vec<Option<i64>>>>;

pub type Row = BTreeMap<ColumnId, Value>;

/// More than one row of a subquery that is a value.
#[derive(Debug, PartialEq)]
pub struct TooMany;

type Result<T> = std::result::Result<T, TooMany>;

pub struct Naive<'a> {
    pub data: &'a Data,
}

fn truth(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::Bool)
}

fn as_bool(value: Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(value),
        Value::Null => None,
        other => panic!("{other:?} is not a truth"),
    }
}

impl Naive<'_> {
    pub fn query(&self, query: &Query) -> Result<Vec<Vec<Value>>> {
        let rows = self.rows(&query.root, &Row::new())?;
        let shown = |row: Row| query.outputs.iter().map(|output| row[&output.column].clone()).collect();
        let mut rows: Vec<Vec<Value>> = rows.into_iter().map(shown).collect();
        rows.sort();
        Ok(rows)
    }

    /// Rows have the columns of the rows around them as well.
    fn rows(&self, node: &Node, around: &Row) -> Result<Vec<Row>> {
        Ok(match node {
            Node::Unit => vec![around.clone()],
            Node::Scan { name, columns, .. } => {
                let row = |values: &Vec<Option<i64>>| {
                    let mut row = around.clone();
                    row.extend(columns.iter().map(|(id, at, _)| (*id, values[*at].map_or(Value::Null, Value::Int))));
                    row
                };
                self.data[name].iter().map(row).collect()
            }
            Node::Values { columns, rows } => {
                let mut found = vec![];
                for values in rows {
                    let mut row = around.clone();
                    for ((id, _), value) in columns.iter().zip(values) {
                        row.insert(*id, self.value(value, around)?);
                    }
                    found.push(row);
                }
                found
            }
            Node::Filter { input, condition } => self.kept(self.rows(input, around)?, Some(condition))?,
            Node::Extend { input, columns } => {
                let mut rows = self.rows(input, around)?;
                for row in &mut rows {
                    let mut values = vec![];
                    for (id, expr) in columns {
                        values.push((*id, self.value(expr, row)?));
                    }
                    row.extend(values);
                }
                rows
            }
            Node::Join { kind, left, right, on } => self.join(*kind, [left, right], on.as_ref(), around)?,
            Node::Group { input, keys, aggregates, sets: None } => self.group(input, keys, aggregates, around)?,
            Node::Distinct { input, columns } => {
                let mut found: Vec<Row> = vec![];
                for row in self.rows(input, around)? {
                    let mut kept = around.clone();
                    kept.extend(columns.iter().map(|(id, _)| (*id, row[id].clone())));
                    if !found.contains(&kept) {
                        found.push(kept);
                    }
                }
                found
            }
            Node::Sort { input, order } => self.sorted(self.rows(input, around)?, order)?,
            Node::Limit { input, skip, fetch } => {
                let rows = self.rows(input, around)?.into_iter();
                let skip = counted(skip.as_ref()).unwrap().unwrap_or(0) as usize;
                let fetch = counted(fetch.as_ref()).unwrap().map_or(usize::MAX, |rows| rows as usize);
                rows.skip(skip).take(fetch).collect()
            }
            Node::Combine { set, all, left, right, columns } => {
                let side = |(node, ids): &(Box<Node>, Vec<ColumnId>)| -> Result<Vec<Vec<Value>>> {
                    let rows = self.rows(node, around)?;
                    Ok(rows.iter().map(|row| ids.iter().map(|id| row[id].clone()).collect()).collect())
                };
                let rows = combined(*set, *all, side(left)?, side(right)?);
                let row = |values: Vec<Value>| {
                    let mut row = around.clone();
                    row.extend(columns.iter().map(|(id, _)| *id).zip(values));
                    row
                };
                rows.into_iter().map(row).collect()
            }
            other => panic!("{other:?}"),
        })
    }

    fn kept(&self, rows: Vec<Row>, condition: Option<&Expr>) -> Result<Vec<Row>> {
        let mut kept = vec![];
        for row in rows {
            let holds = condition.map_or(Ok(Value::Bool(true)), |condition| self.value(condition, &row))?;
            if holds == Value::Bool(true) {
                kept.push(row);
            }
        }
        Ok(kept)
    }

    fn join(&self, kind: Join, sides: [&Node; 2], on: Option<&Expr>, around: &Row) -> Result<Vec<Row>> {
        let [left, right] = [self.rows(sides[0], around)?, self.rows(sides[1], around)?];
        let missing = |side: usize, row: &Row| {
            let columns = super::walk::columns(sides[side]);
            let mut row = row.clone();
            row.extend(columns.into_iter().map(|id| (id, Value::Null)));
            row
        };
        let (mut found, mut matched) = (vec![], vec![false; right.len()]);
        for l in &left {
            let mut is_matched = false;
            for (at, r) in right.iter().enumerate() {
                let pair: Row = l.iter().chain(r).map(|(id, value)| (*id, value.clone())).collect();
                let pairs = self.kept(vec![pair], on)?;
                is_matched |= !pairs.is_empty();
                matched[at] |= !pairs.is_empty();
                found.extend(pairs);
            }
            if !is_matched && matches!(kind, Join::Left | Join::Full) {
                found.push(missing(1, l));
            }
        }
        if matches!(kind, Join::Right | Join::Full) {
            found.extend(right.iter().zip(matched).filter(|(_, matched)| !matched).map(|(row, _)| missing(0, row)));
        }
        Ok(found)
    }

    fn group(
        &self,
        input: &Node,
        keys: &[(ColumnId, Expr)],
        aggregates: &[(ColumnId, Aggregate)],
        around: &Row,
    ) -> Result<Vec<Row>> {
        let mut groups: BTreeMap<Vec<Value>, Vec<Row>> = BTreeMap::new();
        if keys.is_empty() {
            groups.insert(vec![], vec![]);
        }
        for row in self.rows(input, around)? {
            let key = keys.iter().map(|(_, key)| self.value(key, &row)).collect::<Result<_>>()?;
            groups.entry(key).or_default().push(row);
        }
        let mut found = vec![];
        for (key, rows) in groups {
            let mut group = around.clone();
            group.extend(keys.iter().map(|(id, _)| *id).zip(key));
            for (id, call) in aggregates {
                let value = self.aggregate(call, &rows)?;
                group.insert(*id, value);
            }
            found.push(group);
        }
        Ok(found)
    }

    fn aggregate(&self, call: &Aggregate, rows: &[Row]) -> Result<Value> {
        let Some(argument) = call.arguments.first() else { return Ok(Value::Int(rows.len() as i64)) };
        let values = rows.iter().map(|row| self.value(argument, row)).collect::<Result<Vec<_>>>()?;
        let known = values.into_iter().filter(|value| *value != Value::Null);
        if call.function.name == "count" {
            return Ok(Value::Int(known.count() as i64));
        }
        let numbers = known.map(|value| if let Value::Int(value) = value { value } else { panic!("{value:?}") });
        let found = match call.function.name {
            "sum" => numbers.reduce(|a, b| a + b),
            "min" => numbers.min(),
            "max" => numbers.max(),
            other => panic!("{other}"),
        };
        Ok(found.map_or(Value::Null, Value::Int))
    }

    fn sorted(&self, mut rows: Vec<Row>, order: &[Order]) -> Result<Vec<Row>> {
        let mut keyed = vec![];
        for row in rows.drain(..) {
            let key = order.iter().map(|order| self.value(&order.by, &row)).collect::<Result<Vec<_>>>()?;
            keyed.push((key, row));
        }
        keyed.sort_by(|(a, _), (b, _)| {
            let pairs = a.iter().zip(b).zip(order);
            let compared = pairs.map(|((a, b), order)| if order.descending { b.cmp(a) } else { a.cmp(b) });
            compared.fold(Ordering::Equal, Ordering::then)
        });
        Ok(keyed.into_iter().map(|(_, row)| row).collect())
    }

    pub fn value(&self, expr: &Expr, row: &Row) -> Result<Value> {
        Ok(match expr {
            Expr::Column { id, .. } => row.get(id).unwrap_or_else(|| panic!("no column {id:?}")).clone(),
            Expr::Constant { value: None, .. } => Value::Null,
            Expr::Constant { value: Some(text), kind } if *kind == BOOL.into() => Value::Bool(text.as_ref() == "t"),
            Expr::Constant { value: Some(text), .. } => Value::Int(text.parse().unwrap()),
            Expr::Cast { argument, .. } => self.value(argument, row)?,
            Expr::Operation { operator, operands, .. } => {
                operation(operator.name, self.value(&operands[0], row)?, self.value(&operands[1], row)?)
            }
            Expr::And(parts) => self.connected(parts, row, false)?,
            Expr::Or(parts) => self.connected(parts, row, true)?,
            Expr::Not(inner) => truth(as_bool(self.value(inner, row)?).map(|value| !value)),
            Expr::Is { argument, what, negated } => {
                let value = self.value(argument, row)?;
                let holds = match what {
                    Test::Null | Test::Unknown => value == Value::Null,
                    Test::True => value == Value::Bool(true),
                    Test::False => value == Value::Bool(false),
                };
                Value::Bool(holds != *negated)
            }
            Expr::Case { operand: None, pairs, otherwise, .. } => {
                for (when, then) in pairs {
                    if self.value(when, row)? == Value::Bool(true) {
                        return self.value(then, row);
                    }
                }
                otherwise.as_ref().map_or(Ok(Value::Null), |otherwise| self.value(otherwise, row))?
            }
            Expr::Coalesce { arguments, .. } => {
                for argument in arguments {
                    let value = self.value(argument, row)?;
                    if value != Value::Null {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            Expr::Subquery(subquery) => self.subquery(subquery, row)?,
            other => panic!("{other:?}"),
        })
    }

    /// `decision` if one of `parts` is it.
    fn connected(&self, parts: &[Expr], row: &Row, decision: bool) -> Result<Value> {
        let (mut is_open, mut is_decided) = (false, false);
        for part in parts {
            let value = as_bool(self.value(part, row)?);
            is_open |= value.is_none();
            is_decided |= value == Some(decision);
            if is_decided {
                break;
            }
        }
        Ok(if is_decided { Value::Bool(decision) } else { truth((!is_open).then_some(!decision)) })
    }

    fn subquery(&self, subquery: &Subquery, row: &Row) -> Result<Value> {
        let rows = self.rows(&subquery.rows, row)?;
        let first = subquery.columns[0].0;
        Ok(match &subquery.form {
            Form::Exists => Value::Bool(!rows.is_empty()),
            Form::Scalar if rows.len() > 1 => return Err(TooMany),
            Form::Scalar => rows.first().map_or(Value::Null, |row| row[&first].clone()),
            Form::Array => Value::List(rows.iter().map(|row| row[&first].clone()).collect()),
            Form::Any(comparison) => self.decided(comparison, &rows, true)?,
            Form::All(comparison) => self.decided(comparison, &rows, false)?,
        })
    }

    fn decided(&self, comparison: &Expr, rows: &[Row], decision: bool) -> Result<Value> {
        let values = rows.iter().map(|row| Ok(as_bool(self.value(comparison, row)?))).collect::<Result<Vec<_>>>()?;
        Ok(match (values.contains(&Some(decision)), values.contains(&None)) {
            (true, _) => Value::Bool(decision),
            (false, true) => Value::Null,
            (false, false) => Value::Bool(!decision),
        })
    }
}

fn operation(name: &str, left: Value, right: Value) -> Value {
    let (Value::Int(left), Value::Int(right)) = (left, right) else { return Value::Null };
    Value::Bool(match name {
        "=" => left == right,
        "<>" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        "+" => return Value::Int(left + right),
        other => panic!("{other}"),
    })
}

fn combined(set: Set, all: bool, left: Vec<Vec<Value>>, right: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let rows: Vec<Vec<Value>> = match set {
        Set::Union => left.into_iter().chain(right).collect(),
        Set::Intersect => left.into_iter().filter(|row| right.contains(row)).collect(),
        Set::Except => left.into_iter().filter(|row| !right.contains(row)).collect(),
    };
    if all {
        return rows;
    }
    let mut different: Vec<Vec<Value>> = vec![];
    for row in rows {
        if !different.contains(&row) {
            different.push(row);
        }
    }
    different
}
