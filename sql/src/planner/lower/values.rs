//! Literal rows.

use super::columns::width;
use super::draft::Draft;
use crate::error::Result;
use crate::plan::{Node, Operator};
use crate::planner::fault;
use crate::scalar::Scalar;
use crate::session::names::shown;
use crate::types::{Column, Type};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::{self as logical, Expr, ExprSchemable, cast, lit};

pub fn values(values: &logical::Values) -> Result<Draft> {
    let columns = columns(&values.schema)?;
    let rows = values.values.iter().map(|row| scalars(row, &columns)).collect::<Result<Vec<_>>>()?;
    let key = (rows.len() <= 1).then(Vec::new);
    Draft::new(Node { operator: Operator::Values { rows }, columns }, key, &values.schema)
}

/// No row, or the one row of a SELECT without FROM.
pub fn empty(empty: &logical::EmptyRelation) -> Result<Draft> {
    let mut columns = columns(&empty.schema)?;
    if columns.is_empty() {
        // Rows without columns would be hard to count: they get one that nobody asks for.
        columns.push(Column { name: "row".into(), kind: Type::Bool, nullable: false });
    }
    let rows = if empty.produce_one_row { vec![scalars(&[lit(true)], &columns)?] } else { vec![] };
    Draft::new(Node { operator: Operator::Values { rows }, columns }, Some(vec![]), &empty.schema)
}

fn columns(schema: &DFSchemaRef) -> Result<Vec<Column>> {
    let column = |i: usize| {
        let field = schema.field(i);
        let name = match shown(field.name()) {
            "" => format!("column{}", i + 1),
            name => name.into(),
        };
        Ok(Column { name, kind: Type::of(field)?, nullable: true })
    };
    (0..width(schema)).map(column).collect()
}

fn scalars(row: &[Expr], columns: &[Column]) -> Result<Vec<Scalar>> {
    let nothing = DFSchema::empty();
    let of = |(expr, column): (&Expr, &Column)| {
        let wanted = column.kind.arrow();
        match expr.get_type(&nothing).map_err(fault::of)? == wanted {
            true => Scalar::from_logical(expr, &nothing),
            false => Scalar::from_logical(&cast(expr.clone(), wanted), &nothing),
        }
    };
    row.iter().zip(columns).map(of).collect()
}
