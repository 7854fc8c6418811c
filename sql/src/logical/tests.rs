//! Bound queries, written by hand, through the whole of DataFusion; what is expected is PostgreSQL's answer.

use super::*;
use crate::bound::{Aggregate, ColumnId, Expr, How, Join, Kind, Node, Order, Output, Query, Set, Table, Test, Unbound};
use crate::error::Error;
use crate::function::cast::column as converted;
use crate::function::print;
use crate::function::zone::Zone;
use crate::postgres::functions::{self, Function};
use crate::postgres::operators::{self, Operator};
use crate::postgres::types::{self, Oid};
use crate::session::{self, Settings};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

mod calls;
mod expressions;
mod groups;
mod queries;
mod windows;
mod written;

/// A row each of the columns of `t`; ∅ is NULL.
const ROWS: &[(&str, Type, [Option<&str>; 3])] = &[
    ("i2", Type::Int2, [Some("1"), Some("32767"), None]),
    ("i4", Type::Int4, [Some("7"), Some("2147483647"), None]),
    ("i8", Type::Int8, [Some("-3"), Some("9223372036854775807"), None]),
    ("f4", Type::Float4, [Some("0.5"), Some("3e38"), None]),
    ("f8", Type::Float8, [Some("2.5"), Some("1e308"), None]),
    ("d", Type::Numeric(Some((10, 2))), [Some("1.50"), Some("-12345678.90"), None]),
    ("n", Type::Numeric(None), [Some("1.50"), Some("1.5"), None]),
    ("s", Type::Text, [Some("abc"), Some(""), None]),
    ("v", Type::Varchar(Some(5)), [Some("abc"), Some("b"), None]),
    ("c", Type::Char(4), [Some("ab"), Some("abcd"), None]),
    ("b", Type::Bool, [Some("t"), Some("f"), None]),
    ("dt", Type::Date, [Some("2024-01-31"), Some("1999-12-31"), None]),
    ("ts", Type::Timestamp, [Some("2024-01-31 12:30:00"), Some("1999-12-31 23:59:59.5"), None]),
    ("tz", Type::Timestamptz, [Some("2024-01-31 12:30:00Z"), Some("2024-07-01 00:00:00Z"), None]),
    ("iv", Type::Interval, [Some("1 mon"), Some("30 days"), None]),
    ("u", Type::Uuid, [Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), None, None]),
    ("j", Type::Jsonb, [Some(r#"{"a": 1.0}"#), Some(r#"{"a": 1}"#), None]),
    ("y", Type::Bytea, [Some("\\x01ff"), Some("\\x"), None]),
];

fn table() -> Result<Table, Error> {
    let mut fields = vec![];
    let mut columns = vec![];
    for (name, kind, texts) in ROWS {
        let strings: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        columns.push(converted(&strings, &Type::Text, kind, Zone::UTC)?);
        fields.push(kind.field(name, true));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Table(provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))))
}

/// The rows of `t`, its columns counted from `first`.
fn t(first: u32) -> Node {
    let column =
        |(place, (_, kind, _)): (usize, &(&str, Type, _))| (ColumnId(first + place as u32), place, Kind::of(kind));
    Node::Scan { name: "t".into(), table: table().unwrap(), columns: ROWS.iter().enumerate().map(column).collect() }
}

/// A column of `t`, whose columns are counted from `first`.
fn of(first: u32, name: &str) -> Expr {
    let place = ROWS.iter().position(|(known, _, _)| *known == name).unwrap();
    Expr::Column { id: ColumnId(first + place as u32), kind: Kind::of(&ROWS[place].1) }
}

fn c(name: &str) -> Expr {
    of(0, name)
}

fn id(expr: &Expr) -> ColumnId {
    match expr {
        Expr::Column { id, .. } => *id,
        other => panic!("{other:?}"),
    }
}

fn oid(name: &str) -> Oid {
    types::named(name).unwrap_or_else(|| panic!("type {name}")).oid
}

fn kind(name: &str) -> Kind {
    oid(name).into()
}

/// `int4 7`, `text a b`, `int4` for NULL.
fn lit(written: &str) -> Expr {
    let (name, value) = written.split_once(' ').map_or((written, None), |(name, value)| (name, Some(value)));
    Expr::Constant { value: value.map(Arc::from), kind: kind(name) }
}

fn operator(name: &str, operands: &[Expr]) -> &'static Operator {
    let wanted: Vec<Oid> = operands.iter().map(|operand| operand.kind().oid).collect();
    let same = |declared: Oid, given: Oid| {
        let name = declared.entry().unwrap().name;
        declared == given
            || name == "anyarray" && given.element().is_some()
            || name == "anycompatiblearray" && given.element().is_some()
            || name == "anycompatible" && given.element().is_none()
            || name == "anynonarray" && given.element().is_none()
            || name == "text" && given == oid("varchar")
    };
    let takes = |operator: &&Operator| match (&wanted[..], operator.left) {
        ([right], None) => same(operator.right, *right),
        ([left, right], Some(first)) => same(first, *left) && same(operator.right, *right),
        _ => false,
    };
    operators::named(name).iter().find(takes).unwrap_or_else(|| panic!("{name} {operands:?}"))
}

/// Of the operands' own types.
fn op(name: &str, operands: Vec<Expr>) -> Expr {
    let operator = operator(name, &operands);
    let array = || operands.iter().map(Expr::kind).find(|kind| kind.oid.element().is_some());
    let result: Kind = operator.result.into();
    let kind = if result.held().is_some() { result } else { array().unwrap() };
    Expr::Operation { operator, operands, kind }
}

fn binary(left: Expr, name: &str, right: Expr) -> Expr {
    op(name, vec![left, right])
}

/// `name(types)`
fn function(written: &str) -> &'static Function {
    let (name, arguments) = written.trim_end_matches(')').split_once('(').unwrap();
    let taken: Vec<Oid> = arguments.split_terminator(' ').map(oid).collect();
    functions::named(name).iter().find(|function| function.arguments == taken).unwrap_or_else(|| panic!("{written}"))
}

/// What the function gives must not depend on its arguments.
fn call(written: &str, arguments: Vec<Expr>) -> Expr {
    let function = function(written);
    Expr::Call { function, arguments, kind: function.result.into() }
}

fn cast(argument: Expr, to: Kind, how: How) -> Expr {
    Expr::Cast { argument: Box::new(argument), kind: to, how }
}

fn explicit(argument: Expr, to: &str) -> Expr {
    cast(argument, kind(to), How::Explicit)
}

fn implicit(argument: Expr, to: &str) -> Expr {
    cast(argument, kind(to), How::Implicit)
}

/// A query for all of `outputs`, columns of `root` or what is computed of them.
fn select(root: Node, outputs: Vec<Expr>) -> Query {
    let (mut columns, mut shown) = (vec![], vec![]);
    for (index, expr) in outputs.into_iter().enumerate() {
        let kind = expr.kind();
        let column = ColumnId(1000 + index as u32);
        columns.push((column, expr));
        shown.push(Output { column, name: "x".into(), kind });
    }
    Query { root: Node::Extend { input: Box::new(root), columns }, outputs: shown, parameters: vec![], columns: 1000 }
}

fn settings(zone: &str) -> Settings {
    Settings { timezone: zone.into(), ..Settings::default() }
}

/// Rows as text: separated by `|`, columns by a blank; ∅ is NULL. `(SQLSTATE)` for errors, `?construct` for what is not known.
fn run(query: &Query, zone: &str) -> String {
    let planned = match plan(query, zone) {
        Ok(planned) => planned,
        Err(Unbound::NotYet(construct)) => return format!("?{construct}"),
        Err(Unbound::Wrong(error)) => return format!("({} {})", error.sqlstate, error.message),
    };
    match rows(planned, zone) {
        Ok(rows) => rows,
        Err(error) => format!("({})", error.sqlstate),
    }
}

fn rows(planned: Planned, zone: &str) -> Result<String, Error> {
    let state = session::state(&settings(zone), None);
    let names: Vec<String> = planned.plan.schema().fields().iter().map(|field| field.name().clone()).collect();
    let analyzed = session::analyze(&state, planned.plan)?;
    let fields = analyzed.schema().fields().clone();
    assert_eq!(names, fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>());
    for (field, kind) in fields.iter().zip(&planned.types) {
        assert_eq!((&Type::of(field)?, field.data_type()), (kind, &kind.arrow()), "{analyzed}");
    }
    let optimized = session::optimize(state.optimizer(), analyzed, &state)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = SessionContext::new_with_state(state.clone()).task_ctx();
    let batches = runtime.block_on(async {
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        collect(physical, context).await
    })?;
    let zone = Zone::parse(zone)?;
    let mut rows = vec![];
    for batch in &batches {
        let shown = batch.columns().iter().zip(&planned.types);
        let shown =
            shown.map(|(column, kind)| crate::function::cast::shown(column, kind)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let mut values = vec![];
            for column in &shown {
                let mut text = String::new();
                match column.logical_nulls().is_some_and(|nulls| nulls.is_null(row)) {
                    true => text.push('∅'),
                    false => print::printer(column, zone)?(row, &mut text)?,
                }
                values.push(text);
            }
            rows.push(values.join(" "));
        }
    }
    Ok(rows.join("|"))
}

fn check_in(zone: &str, cases: Vec<(&str, Query, &str)>) {
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(name, query, expected)| {
            let shown = run(&query, zone);
            (shown != expected).then(|| format!("{name}\n  is    {shown}\n  not   {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One expression each, of the rows of `t`, or of one row if it names no column.
fn check(cases: Vec<(&str, Expr, &str)>) {
    let query = |expr: Expr| {
        let mut named = needed::Needed::new();
        needed::add(&expr, &mut named);
        select(if named.is_empty() { Node::Unit } else { t(0) }, vec![expr])
    };
    check_in("UTC", cases.into_iter().map(|(name, expr, expected)| (name, query(expr), expected)).collect());
}

/// Columns that there is nothing of yet.
fn new(at: u32, name: &str) -> Expr {
    Expr::Column { id: ColumnId(at), kind: kind(name) }
}

/// Rows of int4 and text.
fn pairs(first: u32, rows: &[(&str, &str)]) -> Node {
    let value = |name: &str, text: &str| if text == "∅" { lit(name) } else { lit(&format!("{name} {text}")) };
    let rows = rows.iter().map(|(number, text)| vec![value("int4", number), value("text", text)]).collect();
    Node::Values { columns: vec![(ColumnId(first), kind("int4")), (ColumnId(first + 1), kind("text"))], rows }
}

fn left() -> Node {
    pairs(100, &[("1", "a"), ("2", "b"), ("2", "c"), ("∅", "d")])
}

fn right() -> Node {
    pairs(200, &[("2", "x"), ("3", "y"), ("∅", "z")])
}

fn filter(input: Node, condition: Expr) -> Node {
    Node::Filter { input: Box::new(input), condition }
}

fn by(by: Expr, descending: bool, nulls_first: bool) -> Order {
    Order { by, descending, nulls_first }
}

fn sort(input: Node, order: Vec<Order>) -> Node {
    Node::Sort { input: Box::new(input), order }
}

fn aggregate(written: &str, arguments: Vec<Expr>) -> Aggregate {
    let function = function(written);
    Aggregate { function, arguments, distinct: false, filter: None, order: vec![], kind: function.result.into() }
}

fn group(input: Node, keys: Vec<Expr>, aggregates: Vec<Aggregate>, sets: Option<Vec<Vec<usize>>>) -> Query {
    let named = |base: u32, at: usize| ColumnId(base + at as u32);
    let mut outputs: Vec<Expr> = vec![];
    let keys: Vec<_> = keys.into_iter().enumerate().map(|(at, key)| (named(400, at), key)).collect();
    outputs.extend(keys.iter().map(|(id, key)| Expr::Column { id: *id, kind: key.kind() }));
    let aggregates: Vec<_> = aggregates.into_iter().enumerate().map(|(at, call)| (named(500, at), call)).collect();
    outputs.extend(aggregates.iter().map(|(id, call)| Expr::Column { id: *id, kind: call.kind }));
    let order = outputs.iter().map(|key| by(key.clone(), false, false)).take(keys.len()).collect();
    select(sort(Node::Group { input: Box::new(input), keys, aggregates, sets }, order), outputs)
}
