//! GROUP BY, aggregates and DISTINCT: a Map that computes groups and arguments, then one node that keeps state.

use super::columns::comparable;
use super::draft::{Draft, position};
use crate::aggregate::{COUNT, Function};
use crate::error::{Error, Result};
use crate::plan::{self, Node, Operator};
use crate::types::{Column, Type};
use datafusion::logical_expr::{self as logical, Expr, expr};

pub fn aggregate(aggregate: &logical::Aggregate, input: Draft) -> Result<Draft> {
    let mut needed = aggregate.group_expr.iter().map(|e| input.resolve(e)).collect::<Result<Vec<_>>>()?;
    if aggregate.aggr_expr.is_empty() {
        let (input, places) = input.select(needed);
        let (node, key) = distinct_node(input)?;
        let project = places.into_iter().map(position).collect();
        return Draft::projected(node, key, project, &aggregate.schema);
    }
    let groups = needed.len();
    let mut calls = vec![];
    for written in &aggregate.aggr_expr {
        calls.push(Call::read(written, &input, &mut needed)?);
    }
    let (input, places) = input.select(needed);
    let (node, _) = input.finish()?;
    let group: Vec<usize> = places[..groups].to_vec();
    let mut columns: Vec<Column> = group.iter().map(|&g| node.columns[g].clone()).collect();
    comparable(&columns, "GROUP BY")?;
    let mut aggregates = vec![];
    for (i, call) in calls.into_iter().enumerate() {
        let field = aggregate.schema.field(groups + i);
        let nullable = call.function.nullable;
        let mut call = call.placed(&places, Column { name: String::new(), kind: Type::of(field)?, nullable });
        call.output.name = call.text(&node.columns);
        columns.push(call.output.clone());
        if call.distinct {
            comparable(&[node.columns[call.argument.expect("DISTINCT has an argument")].clone()], "an aggregate")?;
        }
        aggregates.push(call);
    }
    // A group is one row; equal group columns are one key column.
    let key = (0..groups).filter(|&g| !group[..g].contains(&group[g])).collect();
    let operator = Operator::Reduce { input: Box::new(node), group, aggregates };
    Draft::new(Node { operator, columns }, Some(key), &aggregate.schema)
}

/// DISTINCT of all columns.
pub fn distinct(input: Draft) -> Result<Draft> {
    let schema = input.schema().clone();
    let (node, key) = distinct_node(input)?;
    Draft::new(node, key, &schema)
}

fn distinct_node(input: Draft) -> Result<(Node, Option<Vec<usize>>)> {
    let (input, key) = input.finish()?;
    comparable(&input.columns, "DISTINCT or GROUP BY")?;
    if key.is_some() {
        // No two rows are equal anyway.
        return Ok((input, key));
    }
    let columns = input.columns.clone();
    let key = (0..columns.len()).collect();
    Ok((Node { operator: Operator::Distinct { input: Box::new(input) }, columns }, Some(key)))
}

/// An aggregate whose argument and filter are numbers of needed expressions.
struct Call {
    function: Function,
    argument: Option<usize>,
    distinct: bool,
    filter: Option<usize>,
}

impl Call {
    fn read(written: &Expr, input: &Draft, needed: &mut Vec<Expr>) -> Result<Self> {
        let call = match written {
            Expr::Alias(alias) => return Self::read(&alias.expr, input, needed),
            Expr::AggregateFunction(call) => call,
            other => return Err(Error::unsupported(format!("aggregate {other}"))),
        };
        let function = function(call)?;
        let mut need = |expr: &Expr| -> Result<usize> {
            needed.push(input.resolve(expr)?);
            Ok(needed.len() - 1)
        };
        let argument = match &call.params.args[..] {
            [] => None,
            [Expr::Literal(value, _)] if function == COUNT && !call.params.distinct && !value.is_null() => None,
            [argument] => Some(need(argument)?),
            _ => return Err(Error::unsupported(format!("{} of several arguments", call.func.name()))),
        };
        let filter = call.params.filter.as_ref().map(|f| need(f)).transpose()?;
        // The least of different values is the least of all values: min, max and their kin keep less without DISTINCT.
        Ok(Self { function, argument, distinct: call.params.distinct && function.counts, filter })
    }

    fn placed(self, places: &[usize], output: Column) -> plan::Aggregate {
        plan::Aggregate {
            function: self.function,
            argument: self.argument.map(|a| places[a]),
            distinct: self.distinct,
            filter: self.filter.map(|f| places[f]),
            output,
        }
    }
}

fn function(call: &expr::AggregateFunction) -> Result<Function> {
    let name = call.func.name();
    Function::named(name).ok_or_else(|| Error::unsupported(format!("aggregate {name}() in a materialized view")))
}
