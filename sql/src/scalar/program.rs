//! Compiled expressions, and their evaluation row-error by row-error.
//!
//! A batch on which nothing fails is one vectorised pass without copies. Otherwise each expression that fails is evaluated on
//! halves, and halves of the failing halves, until every failing row is alone: for f failures among n rows that is
//! O(f log n) evaluations, and never more than 2n.

use super::chain::Chained;
use super::guard::{Guard, Kind};
use super::part::Let;
use super::{Operator, Scalar, Test};
use crate::error::{Error, Result, from_datafusion};
use crate::function::{self, Cast, cast, zone::Zone};
use crate::room;
use crate::types::{Column, Type};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{Operator as Theirs, ReturnFieldArgs, ScalarUDF};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column as Position, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, case, in_list,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

type Physical = Arc<dyn PhysicalExpr>;

/// Compiled expressions over one input shape.
#[derive(Debug)]
pub struct Program {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    physical: Physical,
    kind: DataType,
    text: String,
    /// Run on a stack of its own: workers' stacks are small.
    deep: bool,
}

/// Levels of an expression that any thread's stack can take, and the stack for those with more, of which only what is used is taken.
const SHALLOW: usize = 40;
pub(super) const STACK: usize = 64 << 20;

/// One row that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub row: usize,
    /// As EXPLAIN prints it.
    pub expression: String,
    pub sqlstate: &'static str,
    pub message: String,
}

pub struct Evaluated {
    /// One array per expression, over the rows that did not fail, in order.
    pub columns: Vec<ArrayRef>,
    /// The rows that are in `columns`; `None` means all of them.
    pub rows: Option<Vec<u32>>,
    /// At most one failure per row: the first expression that failed.
    pub failures: Vec<Failure>,
}

impl Program {
    pub fn compile(expressions: &[Scalar], input: &SchemaRef) -> Result<Self> {
        let names: Vec<Column> = input
            .fields()
            .iter()
            .map(|field| {
                Ok(Column { name: field.name().clone(), kind: Type::of(field)?, nullable: field.is_nullable() })
            })
            .collect::<Result<_>>()?;
        let steps = expressions.iter().map(|scalar| {
            let deep = is_deep(scalar);
            let step = || {
                let kind = scalar.kind().arrow();
                let physical = shaped(compile(scalar, input)?, &kind, input)?;
                Ok(Step { physical, kind, text: scalar.named(&names).to_string(), deep })
            };
            if deep { stacker::grow(STACK, step) } else { step() }
        });
        Ok(Self { steps: steps.collect::<Result<_>>()? })
    }

    /// Evaluates all expressions on all rows. A batch that fails is halved until the failing rows are alone.
    pub fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        self.try_evaluate(rows, None).expect("it takes as much as it takes")
    }

    /// The same of so many rows at a time that no expression makes more than `bytes` of them, or of one: `each` is told of which rows,
    /// and what became of them.
    pub fn evaluate_in_pieces(
        &self,
        rows: &RecordBatch,
        bytes: usize,
        mut each: impl FnMut(Range<usize>, Evaluated) -> Result<()>,
    ) -> Result<()> {
        let mut open = vec![0..rows.num_rows()];
        while let Some(range) = open.pop().filter(|range| !range.is_empty()) {
            let (start, middle, end) = (range.start, range.start + range.len() / 2, range.end);
            let most = (range.len() > 1).then_some(bytes);
            match self.try_evaluate(&rows.slice(start, range.len()), most) {
                Some(evaluated) => each(range, evaluated)?,
                None => open.extend([middle..end, start..middle]),
            }
        }
        Ok(())
    }

    /// `None`: some expression makes more than `most` bytes.
    fn try_evaluate(&self, rows: &RecordBatch, most: Option<usize>) -> Option<Evaluated> {
        let whole: Vec<_> = self.steps.iter().map(|step| step.run(rows, most)).collect();
        if whole.iter().all(std::result::Result::is_ok) {
            let columns = whole.into_iter().flatten().collect();
            return Some(Evaluated { columns, rows: None, failures: vec![] });
        }
        let mut failures = BTreeMap::new();
        let mut columns = vec![];
        for (step, whole) in self.steps.iter().zip(whole) {
            let mut pieces = Pieces { step, most, arrays: vec![], failed: vec![] };
            match whole {
                Ok(array) => pieces.arrays.push(array),
                Err(error) => pieces.halve(rows, 0, error)?,
            }
            for (row, error) in &pieces.failed {
                failures.entry(*row).or_insert_with(|| Failure {
                    row: *row,
                    expression: step.text.clone(),
                    sqlstate: error.sqlstate,
                    message: error.message.clone(),
                });
            }
            columns.push(pieces);
        }
        let good: Vec<u32> =
            (0..rows.num_rows()).filter(|row| !failures.contains_key(row)).map(|row| row as u32).collect();
        let columns = columns.iter().map(|pieces| pieces.keep(rows.num_rows(), &failures)).collect();
        Some(Evaluated { columns, rows: Some(good), failures: failures.into_values().collect() })
    }
}

impl Step {
    /// Whatever `most` is, one row may make as much as a column can hold.
    fn run(&self, rows: &RecordBatch, most: Option<usize>) -> Result<ArrayRef> {
        let run = || self.physical.evaluate(rows)?.into_array(rows.num_rows()).map_err(from_datafusion);
        let run = || if self.deep { stacker::grow(STACK, run) } else { run() };
        match most.filter(|_| rows.num_rows() > 1) {
            Some(most) => room::within(most, run),
            None => run(),
        }
    }
}

/// One expression's results on a batch it fails on.
struct Pieces<'a> {
    step: &'a Step,
    /// Bytes that they may have.
    most: Option<usize>,
    /// In the order of rows, without those that failed.
    arrays: Vec<ArrayRef>,
    failed: Vec<(usize, Error)>,
}

impl Pieces<'_> {
    /// Both halves of `rows`, which failed with `error` as a whole and begin at row `start`. `None`: their results are more than they
    /// may be.
    fn halve(&mut self, rows: &RecordBatch, start: usize, error: Error) -> Option<()> {
        if rows.num_rows() <= 1 {
            self.failed.push((start, error));
            return Some(());
        }
        if self.most.is_some() && room::is_exceeded(&error) {
            return None;
        }
        let middle = rows.num_rows() / 2;
        for (offset, length) in [(0, middle), (middle, rows.num_rows() - middle)] {
            let half = rows.slice(offset, length);
            match self.step.run(&half, self.most) {
                Ok(array) => self.arrays.push(array),
                Err(error) => self.halve(&half, start + offset, error)?,
            }
        }
        let bytes: usize = self.arrays.iter().map(|array| array.get_buffer_memory_size()).sum();
        self.most.is_none_or(|most| bytes <= most).then_some(())
    }

    /// The results of the rows on which no expression failed.
    fn keep(&self, rows: usize, failures: &BTreeMap<usize, Failure>) -> ArrayRef {
        let pieces: Vec<&dyn Array> = self.arrays.iter().map(|array| array.as_ref()).collect();
        let joined = match pieces[..] {
            [] => arrow::array::new_empty_array(&self.step.kind),
            _ => concat(&pieces).expect("pieces of one expression have one type"),
        };
        if failures.len() == self.failed.len() {
            return joined;
        }
        let mut own = self.failed.iter().map(|(row, _)| *row).peekable();
        let mask: BooleanArray = (0..rows)
            .filter(|row| own.next_if_eq(row).is_none())
            .map(|row| Some(!failures.contains_key(&row)))
            .collect();
        filter(&joined, &mask).expect("one verdict per result")
    }
}

/// Whether it takes a stack of its own.
pub(super) fn is_deep(scalar: &Scalar) -> bool {
    scalar.depth() > SHALLOW
}

/// `physical` in exactly the Arrow type `kind`.
pub(super) fn shaped(physical: Physical, kind: &DataType, input: &Schema) -> Result<Physical> {
    match &physical.data_type(input)? == kind {
        true => Ok(physical),
        false => Ok(Arc::new(CastExpr::new(physical, kind.clone(), None))),
    }
}

pub(super) fn compile(scalar: &Scalar, input: &SchemaRef) -> Result<Physical> {
    let all = |parts: &[Scalar]| parts.iter().map(|part| compile(part, input)).collect::<Result<Vec<_>>>();
    Ok(match scalar {
        Scalar::Column { index, .. } => {
            let field = input.fields().get(*index).ok_or_else(|| Error::internal(format!("no column #{index}")))?;
            Arc::new(Position::new(field.name(), *index))
        }
        Scalar::Literal { value, kind } => Arc::new(Literal::new(literal(value.as_deref(), kind)?)),
        Scalar::Call { function, arguments, kind } => {
            let udf = function::by_name(function)
                .ok_or_else(|| Error::internal(format!("stored function {function} is unknown")))?;
            self::call(udf, &arguments.iter().collect::<Vec<_>>(), kind, input)?
        }
        Scalar::Cast { argument, kind, zone } => {
            self::call(Cast::udf(argument.kind(), kind.clone(), zone), &[argument.as_ref()], kind, input)?
        }
        Scalar::Case { pairs, otherwise, kind } => {
            let shape = kind.arrow();
            let result = |part: &Scalar| shaped(compile(part, input)?, &shape, input);
            let pairs = pairs.iter().map(|(when, then)| Ok((compile(when, input)?, result(then)?)));
            case(None, pairs.collect::<Result<_>>()?, otherwise.as_deref().map(result).transpose()?)?
        }
        Scalar::Coalesce { arguments, kind } => {
            let shape = kind.arrow();
            let arguments = arguments.iter().map(|part| shaped(compile(part, input)?, &shape, input));
            Arc::new(Guard::new(Kind::Coalesce, arguments.collect::<Result<_>>()?))
        }
        Scalar::And { operands } => connected(Kind::And, operands, input)?,
        Scalar::Or { operands } => connected(Kind::Or, operands, input)?,
        Scalar::Not { argument } => Arc::new(NotExpr::new(compile(argument, input)?)),
        Scalar::Is { argument, what, negated } => is(compile(argument, input)?, *what, *negated),
        // Ours looks how long its results become.
        Scalar::Binary { operator: Operator::Concat, left, right, kind } if *kind == Type::Text => {
            let udf = function::lookup("||").ok_or_else(|| Error::internal("no function ||"))?;
            self::call(udf, &[left.as_ref(), right.as_ref()], kind, input)?
        }
        Scalar::Binary { operator, left, right, .. } => {
            Arc::new(BinaryExpr::new(compile(left, input)?, operator.theirs(), compile(right, input)?))
        }
        Scalar::InList { argument, list, negated } => in_list(compile(argument, input)?, all(list)?, negated, input)?,
        Scalar::Like { argument, pattern, negated, insensitive } => {
            Arc::new(LikeExpr::new(*negated, *insensitive, compile(argument, input)?, compile(pattern, input)?))
        }
        Scalar::Chain { first, steps, links, kind } => Arc::new(Chained::compile(first, steps, links, kind, input)?),
        Scalar::Let { arguments, body } => Arc::new(Let::compile(arguments, body, input)?),
    })
}

/// Operands that cannot fail first: SQL leaves the order open, and they save others from failing.
fn connected(kind: Kind, operands: &[Scalar], input: &SchemaRef) -> Result<Physical> {
    let (fallible, safe): (Vec<_>, Vec<_>) = operands.iter().partition(|operand| operand.is_fallible());
    let operator = if kind == Kind::And { Theirs::And } else { Theirs::Or };
    let mut steps = vec![];
    let safe = safe.into_iter().map(|part| compile(part, input)).collect::<Result<Vec<_>>>()?;
    steps.extend(halves(&safe, operator));
    for part in fallible {
        steps.push(compile(part, input)?);
    }
    match steps.len() {
        0 => Err(Error::internal("AND or OR of nothing")),
        1 => Ok(steps.remove(0)),
        _ => Ok(Arc::new(Guard::new(kind, steps))),
    }
}

/// A tree that is as flat as can be: it is evaluated as deep as it is.
fn halves(operands: &[Physical], operator: Theirs) -> Option<Physical> {
    if let [] | [_] = operands {
        return operands.first().cloned();
    }
    let (left, right) = operands.split_at(operands.len() / 2);
    let (left, right) = halves(left, operator).zip(halves(right, operator))?;
    Some(Arc::new(BinaryExpr::new(left, operator, right)))
}

fn is(argument: Physical, what: Test, negated: bool) -> Physical {
    let truth = |value| Arc::new(Literal::new(ScalarValue::Boolean(Some(value))));
    let compared = |value| {
        let operator = if negated { Theirs::IsDistinctFrom } else { Theirs::IsNotDistinctFrom };
        Arc::new(BinaryExpr::new(argument.clone(), operator, truth(value))) as Physical
    };
    match what {
        Test::True => compared(true),
        Test::False => compared(false),
        Test::Null | Test::Unknown if negated => Arc::new(IsNotNullExpr::new(argument)),
        Test::Null | Test::Unknown => Arc::new(IsNullExpr::new(argument)),
    }
}

/// A call with its arguments in the types the function wants.
fn call(udf: Arc<ScalarUDF>, arguments: &[&Scalar], kind: &Type, input: &SchemaRef) -> Result<Physical> {
    let mut physical = vec![];
    let mut fields: Vec<FieldRef> = vec![];
    for argument in arguments {
        let compiled = compile(argument, input)?;
        // The stored type has what the physical one may have lost: uuid, jsonb, varchar.
        let nullable = compiled.nullable(input)?;
        fields.push(Arc::new(argument.kind().field("", nullable).with_data_type(compiled.data_type(input)?)));
        physical.push(compiled);
    }
    let wanted = fields_with_udf(&fields, udf.as_ref())?;
    for (part, (has, wants)) in physical.iter_mut().zip(fields.iter().zip(&wanted)) {
        if has.data_type() != wants.data_type() {
            *part = Arc::new(CastExpr::new(part.clone(), wants.data_type().clone(), None));
        }
    }
    let constants: Vec<Option<ScalarValue>> =
        physical.iter().map(|part| part.downcast_ref::<Literal>().map(|literal| literal.value().clone())).collect();
    let scalar_arguments: Vec<Option<&ScalarValue>> = constants.iter().map(Option::as_ref).collect();
    let returns =
        udf.return_field_from_args(ReturnFieldArgs { arg_fields: &wanted, scalar_arguments: &scalar_arguments })?;
    let name = udf.name().to_string();
    let call = ScalarFunctionExpr::new(&name, udf, physical, returns, Arc::new(ConfigOptions::default()));
    shaped(Arc::new(call), &kind.arrow(), input)
}

fn literal(value: Option<&str>, kind: &Type) -> Result<ScalarValue> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let array = cast::column(&text, &Type::Text, kind, Zone::UTC)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

impl Operator {
    fn theirs(self) -> Theirs {
        match self {
            Operator::Equal => Theirs::Eq,
            Operator::NotEqual => Theirs::NotEq,
            Operator::Less => Theirs::Lt,
            Operator::LessOrEqual => Theirs::LtEq,
            Operator::Greater => Theirs::Gt,
            Operator::GreaterOrEqual => Theirs::GtEq,
            Operator::Distinct => Theirs::IsDistinctFrom,
            Operator::NotDistinct => Theirs::IsNotDistinctFrom,
            Operator::Concat => Theirs::StringConcat,
            Operator::Matches => Theirs::RegexMatch,
            Operator::MatchesInsensitive => Theirs::RegexIMatch,
            Operator::NotMatches => Theirs::RegexNotMatch,
            Operator::NotMatchesInsensitive => Theirs::RegexNotIMatch,
            Operator::BitAnd => Theirs::BitwiseAnd,
            Operator::BitOr => Theirs::BitwiseOr,
            Operator::BitXor => Theirs::BitwiseXor,
            Operator::ShiftLeft => Theirs::BitwiseShiftLeft,
            Operator::ShiftRight => Theirs::BitwiseShiftRight,
            Operator::Contains => Theirs::AtArrow,
            Operator::ContainedBy => Theirs::ArrowAt,
        }
    }
}
