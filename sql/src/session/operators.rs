//! Operators and type names while SQL becomes a logical plan.
//!
//! Arithmetic and what arrays contain become calls of our functions at once: they take any types, so nothing is decided here that a
//! later change of a column's type could make wrong. Comparisons of types that DataFusion cannot compare are converted to a common one.

use super::{common, overload};
use crate::error::{Error, Result};
use crate::function::{self, undefined};
use crate::statement::kind;
use crate::types::Type;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DFSchema, DataFusionError, TableReference};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use std::sync::Arc;

#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        if let Some(sign) = called(&raw.op) {
            return Ok(PlannerResult::Planned(call(sign, raw.left, raw.right, schema)?));
        }
        if let Some(operator) = comparison(&raw.op)
            && !comparable(&raw, operator, schema)
        {
            return Ok(PlannerResult::Planned(compare(operator, raw.left, raw.right, schema, "UTC")?));
        }
        Ok(PlannerResult::Original(raw))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>, DataFusionError> {
        Ok(PlannerResult::Planned(overload::call("strpos", args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>, DataFusionError> {
        Ok(PlannerResult::Planned(overload::call("substr", args)))
    }

    /// `x.y` where x is a column, maybe of the same name as a table outside of the subquery. What is outside is known later.
    fn plan_compound_identifier(
        &self,
        field: &Field,
        _: Option<&TableReference>,
        names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>, DataFusionError> {
        if matches!(field.data_type(), DataType::Struct(_)) {
            return Ok(PlannerResult::Original(vec![]));
        }
        let column = Column::new(Some(TableReference::bare(field.name().as_str())), names.join("."));
        let field = Arc::new(Field::new(FIELD, DataType::Null, true));
        Ok(PlannerResult::Planned(Expr::OuterReferenceColumn(field, column)))
    }
}

/// The name of what is planned for a field of a column: our types have none.
pub const FIELD: &str = "\u{1}field";

/// Refuses a field of a column. `schema`: with what is outside of the subquery.
pub fn no_field(named: &Column, schema: &DFSchema) -> Error {
    let table = named.relation.as_ref().map_or("", TableReference::table);
    match schema.has_column(named) {
        true => Error::unsupported(format!("{table}.{} of an outer table beside a column {table}", named.name))
            .hint("Give the outer table another alias."),
        false => Error::new("42P01", format!("missing FROM-clause entry for table \"{table}\"")),
    }
}

/// Our function for it.
fn called(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::PGExp => "^",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::PGBitwiseXor => "#",
        BinaryOperator::PGBitwiseShiftLeft => "<<",
        BinaryOperator::PGBitwiseShiftRight => ">>",
        BinaryOperator::AtArrow => function::CONTAINS,
        BinaryOperator::ArrowAt => function::CONTAINED,
        _ => return None,
    })
}

/// Whether DataFusion has a type for it; the analyzer sees to the right one when all types are known.
fn comparable(raw: &RawBinaryExpr, operator: Operator, schema: &DFSchema) -> bool {
    match (raw.left.get_type(schema), raw.right.get_type(schema)) {
        (Ok(left), Ok(right)) => BinaryTypeCoercer::new(&left, &operator, &right).get_input_types().is_ok(),
        _ => true,
    }
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// A call of one of our functions, with untyped literals converted to what it resolves them to.
pub fn call(name: &str, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let function = function::lookup(name).ok_or_else(|| Error::internal(format!("no operator {name}")))?;
    let given = [common::kind(&left, schema)?, common::kind(&right, schema)?];
    let resolved = (function::definition(&function).ok_or_else(|| undefined(name, &given))?.resolve)(&given)?;
    let mut arguments = vec![];
    for ((expr, given), to) in [left, right].into_iter().zip(given).zip(resolved.arguments) {
        arguments.push(if given.is_none() { common::convert(expr, &to, schema, "UTC")? } else { expr });
    }
    Ok(function.call(arguments))
}

/// `left operator right` on a common type, by key where the type has one.
pub fn compare(operator: Operator, left: Expr, right: Expr, schema: &DFSchema, zone: &str) -> Result<Expr> {
    let (left, right) = match (common::kind(&left, schema)?, common::kind(&right, schema)?) {
        (Some(kind), None) => (left, common::read(right, &kind, schema, zone)?),
        (None, Some(kind)) => (common::read(left, &kind, schema, zone)?, right),
        _ => fitted(left, right, schema)?,
    };
    let given = [common::kind(&left, schema)?, common::kind(&right, schema)?];
    let ordered = matches!(operator, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    given.iter().flatten().try_for_each(|kind| common::comparable(kind, ordered, operator))?;
    let common = match &given {
        [Some(left), Some(right)] => {
            Some(common::compared(left, right).ok_or_else(|| undefined(&operator.to_string(), &given))?)
        }
        [Some(known), None] | [None, Some(known)] => Some(known.clone()),
        [None, None] => None,
    };
    let (mut left, mut right) = (left, right);
    if let Some(common) = common {
        (left, right) = (common::convert(left, &common, schema, zone)?, common::convert(right, &common, schema, zone)?);
        let key = if ordered { common::ordered } else { common::keyed };
        (left, right) = (key(left, schema)?, key(right, schema)?);
    }
    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right))))
}

/// A number literal takes the type of the other side where it loses nothing by it.
fn fitted(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    match (common::kind(&left, schema)?, common::kind(&right, schema)?) {
        (Some(left_kind), Some(right_kind)) if left_kind != right_kind => {
            Ok((common::fit(left, &right_kind), common::fit(right, &left_kind)))
        }
        _ => Ok((left, right)),
    }
}

/// Our types by Postgres' names.
#[derive(Debug)]
pub struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, written: &ast::DataType) -> Result<Option<FieldRef>, DataFusionError> {
        let kind: Type = kind::of(written)?;
        // With a name, or DataFusion would keep the metadata of what is cast.
        Ok(Some(Arc::new(kind.field("cast", true))))
    }
}
