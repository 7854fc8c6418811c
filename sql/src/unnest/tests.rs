//! Queries with subqueries, made by hand and by chance, through the whole of DataFusion beside what they are by definition: every subquery
//! evaluated for every row ([`naive`]).

use super::*;
use crate::bound::{Order, Output, Table, Test, Unbound};
use crate::error::Error;
use crate::logical;
use crate::postgres::functions;
use crate::postgres::operators::{self, Operator};
use crate::postgres::types::{BOOL, Oid};
use crate::session::{self, Settings};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use naive::{Data, Value};
use std::sync::Arc;

mod generate;
mod hand;
mod naive;
mod random;

const INT4: Kind = Kind { oid: Oid(23), modifier: -1 };
const INT4S: Kind = Kind { oid: Oid(1007), modifier: -1 };

/// A table of integers; a column without NULL is declared so.
fn table(rows: &[Vec<Option<i64>>], width: usize) -> Table {
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (vec![], vec![]);
    for at in 0..width {
        let values: Vec<Option<i32>> = rows.iter().map(|row| row[at].map(|value| value as i32)).collect();
        let has_null = values.iter().any(Option::is_none) || rows.len().is_multiple_of(2);
        fields.push(Field::new(format!("c{at}"), DataType::Int32, has_null));
        columns.push(Arc::new(Int32Array::from(values)));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    Table(provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())))
}

/// All columns of the table `name`, the first of them `first`.
fn scan(data: &Data, name: &str, first: u32) -> Node {
    let rows = &data[name];
    let columns = (0..3).map(|at| (ColumnId(first + at as u32), at, INT4)).collect();
    Node::Scan { name: name.into(), table: table(rows, 3), columns }
}

fn int(id: u32) -> Expr {
    make::column(ColumnId(id), INT4)
}

fn number(value: i64) -> Expr {
    Expr::Constant { value: Some(value.to_string().into()), kind: INT4 }
}

fn operator(name: &str, left: Oid, right: Oid) -> &'static Operator {
    let found = operators::named(name).iter().find(|operator| operator.left == Some(left) && operator.right == right);
    found.unwrap_or_else(|| panic!("{left} {name} {right}"))
}

fn binary(left: Expr, name: &str, right: Expr) -> Expr {
    let operator = operator(name, left.kind().oid, right.kind().oid);
    Expr::Operation { operator, kind: operator.result.into(), operands: vec![left, right] }
}

fn subquery(form: Form, rows: Node, column: Expr) -> Expr {
    let Expr::Column { id, kind } = column else { panic!("{column:?}") };
    let shown = match &form {
        Form::Exists | Form::Any(_) | Form::All(_) => BOOL.into(),
        Form::Scalar => kind,
        Form::Array => INT4S,
    };
    Expr::Subquery(Box::new(Subquery { form, rows, columns: vec![(id, kind)], kind: shown }))
}

fn aggregate(name: &str, argument: Option<Expr>) -> Aggregate {
    let wanted: Vec<Oid> = argument.iter().map(|argument| argument.kind().oid).collect();
    let takes = |function: &&functions::Function| name == "count" || function.arguments == wanted;
    let arity = |function: &&functions::Function| function.arguments.len() == wanted.len();
    let function = functions::named(name).iter().filter(takes).find(arity).unwrap();
    let arguments = argument.into_iter().collect();
    Aggregate { function, arguments, distinct: false, filter: None, order: vec![], kind: function.result.into() }
}

fn by(by: Expr) -> Order {
    Order { by, descending: false, nulls_first: false }
}

fn sort(input: Node, order: Vec<Order>) -> Node {
    Node::Sort { input: Box::new(input), order }
}

fn limit(input: Node, fetch: i64) -> Node {
    Node::Limit { input: Box::new(input), skip: None, fetch: Some(make::number(&fetch.to_string())) }
}

fn group(input: Node, keys: Vec<(u32, Expr)>, aggregates: Vec<(u32, Aggregate)>) -> Node {
    let keys = keys.into_iter().map(|(id, key)| (ColumnId(id), key)).collect();
    let aggregates = aggregates.into_iter().map(|(id, call)| (ColumnId(id), call)).collect();
    Node::Group { input: Box::new(input), keys, aggregates, sets: None }
}

/// Columns of `root`.
fn select(root: Node, outputs: &[Expr]) -> Query {
    let mut last = 0;
    walk::each(&root, &mut |node| last = walk::defined(node).into_iter().map(|id| id.0).fold(last, u32::max));
    let outputs = outputs
        .iter()
        .map(|expr| match expr {
            Expr::Column { id, kind } => Output { column: *id, name: "x".into(), kind: *kind },
            other => panic!("{other:?}"),
        })
        .collect();
    // Columns of subqueries are below this number.
    Query { root, outputs, parameters: vec![], columns: last.max(10_000) }
}

/// The rows of a query, in any order.
fn run(query: &Query) -> Result<Vec<Vec<Value>>, Unbound> {
    let planned = logical::plan(query, "UTC")?;
    let run = || -> Result<Vec<RecordBatch>, Error> {
        let state = session::state(&Settings::default(), None);
        let analyzed = session::analyze(&state, planned.plan)?;
        let optimized = session::optimize(state.optimizer(), analyzed, &state)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let context = SessionContext::new_with_state(state.clone()).task_ctx();
        Ok(runtime.block_on(async {
            let physical = state.query_planner().create_physical_plan(&optimized, &state).await;
            let physical = physical.inspect_err(|error| println!("{}\n{error}", optimized.display_indent()))?;
            collect(physical, context).await
        })?)
    };
    let batches = run().map_err(Unbound::Wrong)?;
    let mut rows: Vec<Vec<Value>> = vec![];
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| value(column, row)).collect());
        }
    }
    rows.sort();
    Ok(rows)
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            Value::List((0..values.len()).map(|at| value(&values, at)).collect())
        }
        other => panic!("{other}"),
    }
}
