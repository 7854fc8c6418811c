//! sum and avg with Postgres' result types: exact, and an error (22003) where the result cannot be held.
//!
//! The types and the last step of avg are plain functions, so that maintained views share them. For SELECT the two are
//! DataFusion aggregates over one kind of state: a total wide enough never to overflow, and how many values are in it.

use super::span::Span;
use super::{given, undefined};
use crate::error::{Error, Result};
use crate::numeric::{self, Numbers, Numeric, Sum};
use crate::types::Type;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, Float64Array, Int64Array,
    IntervalMonthDayNanoArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Float64Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, i256,
};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::collections::HashSet;
use std::mem::size_of;
use std::sync::Arc;

/// sum(int2|int4) is bigint, sum(int8) numeric without fraction, sum of exact decimals keeps their scale.
pub fn sum_type(argument: &Type) -> Result<Type> {
    Ok(match argument {
        Type::Int2 | Type::Int4 => Type::Int8,
        Type::Int8 => Type::Numeric(Some((38, 0))),
        Type::Numeric(Some((..=38, scale))) => Type::Numeric(Some((38, *scale))),
        Type::Numeric(Some((_, scale))) => Type::Numeric(Some((76, *scale))),
        Type::Numeric(None) | Type::Float4 | Type::Float8 | Type::Interval => argument.clone(),
        _ => return Err(undefined("sum", &[Some(argument.clone())])),
    })
}

/// avg of exact numbers is unconstrained numeric, of floats double precision, of intervals interval.
pub fn avg_type(argument: &Type) -> Result<Type> {
    Ok(match argument {
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_) => Type::Numeric(None),
        Type::Float4 | Type::Float8 => Type::Float8,
        Type::Interval => Type::Interval,
        _ => return Err(undefined("avg", &[Some(argument.clone())])),
    })
}

/// The averages: `sums` of exact numbers (as unconstrained numeric, with Postgres' display scale) or of floats, over `counts`.
/// NULL where the sum is NULL or the count 0.
pub fn average(sums: &ArrayRef, counts: &Int64Array) -> Result<ArrayRef> {
    let empty = |row: usize| sums.is_null(row) || counts.is_null(row) || counts.value(row) == 0;
    if let DataType::Float32 | DataType::Float64 = sums.data_type() {
        let sums = cast(sums, &DataType::Float64)?;
        let sums = sums.as_primitive::<Float64Type>();
        let rows = 0..sums.len();
        let averages: Float64Array =
            rows.map(|row| (!empty(row)).then(|| sums.value(row) / counts.value(row) as f64)).collect();
        return Ok(Arc::new(averages));
    }
    let numbers = Numbers::of(sums)?;
    let rows = (0..sums.len()).map(|row| match empty(row) {
        true => Ok(None),
        false => numbers.get(row)?.div(&Numeric::from_i64(counts.value(row))).map(Some),
    });
    Ok(Arc::new(numeric::build(rows)?))
}

/// Ours, under the names of DataFusion's.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    [Goal::Sum, Goal::Avg].map(|goal| Arc::new(AggregateUDF::new_from_impl(Total::new(goal)))).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Goal {
    Sum,
    Avg,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Total {
    goal: Goal,
    aliases: Vec<String>,
    signature: Signature,
}

impl Total {
    fn new(goal: Goal) -> Self {
        let aliases = if goal == Goal::Avg { vec!["mean".to_string()] } else { vec![] };
        Self { goal, aliases, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn groups(&self, input: &FieldRef, result: &FieldRef) -> Result<Groups> {
        Ok(Groups {
            goal: self.goal,
            totals: Totals::new(&Type::of(input)?)?,
            counts: vec![],
            result: Type::of(result)?,
        })
    }
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        match self.goal {
            Goal::Sum => "sum",
            Goal::Avg => "avg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        self.return_type(types)?;
        Ok(match types {
            [DataType::Null] => vec![DataType::Float64],
            _ => types.to_vec(),
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        let types = types.iter().map(|kind| given(&Field::new("", kind.clone(), true))).collect::<Result<Vec<_>>>()?;
        let [argument] = &types[..] else { return Err(undefined(self.name(), &types).into()) };
        let argument = argument.clone().unwrap_or(Type::Float8);
        Ok(match self.goal {
            Goal::Sum => sum_type(&argument)?.arrow(),
            Goal::Avg => avg_type(&argument)?.arrow(),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>, DataFusionError> {
        if args.is_distinct {
            let element = Field::new("item", args.input_fields[0].data_type().clone(), true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[distinct]", args.name), element, true))]);
        }
        let totals = Totals::new(&Type::of(&args.input_fields[0])?)?;
        let field = |what: &str, kind| Arc::new(Field::new(format!("{}[{what}]", args.name), kind, true));
        Ok(vec![field("total", totals.state_type()), field("count", DataType::Int64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>, DataFusionError> {
        let mut groups = self.groups(&args.expr_fields[0], &args.return_field)?;
        groups.grow(1);
        let kind = args.expr_fields[0].data_type().clone();
        match args.is_distinct {
            true => Ok(Box::new(Distinct { seen: HashSet::new(), kind, groups })),
            false => Ok(Box::new(One(groups))),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>, DataFusionError> {
        Ok(Box::new(self.groups(&args.expr_fields[0], &args.return_field)?))
    }
}

/// One total per group, exact except for floats.
#[derive(Debug)]
enum Totals {
    Integer(Vec<i128>),
    Decimal(Vec<i256>, i8),
    Float(Vec<f64>),
    Numeric(Vec<Sum>),
    Interval(Vec<Span>),
}

impl Totals {
    fn new(argument: &Type) -> Result<Self> {
        Ok(match argument {
            Type::Int2 | Type::Int4 | Type::Int8 => Totals::Integer(vec![]),
            Type::Numeric(Some((_, scale))) => Totals::Decimal(vec![], *scale),
            Type::Float4 | Type::Float8 => Totals::Float(vec![]),
            Type::Numeric(None) => Totals::Numeric(vec![]),
            Type::Interval => Totals::Interval(vec![]),
            other => return Err(Error::internal(format!("total of {other}"))),
        })
    }

    /// None yet, of the same kind.
    fn fresh(&self) -> Self {
        match self {
            Totals::Integer(_) => Totals::Integer(vec![]),
            Totals::Decimal(_, scale) => Totals::Decimal(vec![], *scale),
            Totals::Float(_) => Totals::Float(vec![]),
            Totals::Numeric(_) => Totals::Numeric(vec![]),
            Totals::Interval(_) => Totals::Interval(vec![]),
        }
    }

    fn state_type(&self) -> DataType {
        match self {
            Totals::Integer(_) => DataType::Decimal128(38, 0),
            Totals::Decimal(_, scale) => DataType::Decimal256(76, *scale),
            Totals::Float(_) => DataType::Float64,
            Totals::Numeric(_) | Totals::Interval(_) => DataType::Binary,
        }
    }

    fn grow(&mut self, groups: usize) {
        match self {
            Totals::Integer(totals) => totals.resize(groups, 0),
            Totals::Decimal(totals, _) => totals.resize(groups, i256::ZERO),
            Totals::Float(totals) => totals.resize(groups, 0.0),
            Totals::Numeric(totals) => totals.resize_with(groups, Sum::default),
            Totals::Interval(totals) => totals.resize(groups, Span::default()),
        }
    }

    /// Adds `values` (or takes them back, by `weight`) at the rows and groups of `at`.
    fn add(&mut self, values: &ArrayRef, weight: i64, at: impl Iterator<Item = (usize, usize)>) -> Result<()> {
        match self {
            Totals::Integer(totals) => {
                let values = cast(values, &DataType::Int64)?;
                let values = values.as_primitive::<Int64Type>().values();
                // 2^63 values of 2^63 stay below 2^127.
                at.for_each(|(row, group)| totals[group] += values[row] as i128 * weight as i128);
            }
            Totals::Decimal(totals, scale) => {
                let wide = cast(values, &DataType::Decimal256(76, *scale))?;
                let wide = wide.as_primitive::<Decimal256Type>().values();
                for (row, group) in at {
                    let value = if weight < 0 { wide[row].wrapping_neg() } else { wide[row] };
                    totals[group] = totals[group].checked_add(value).ok_or_else(numeric::overflow)?;
                }
            }
            Totals::Float(totals) => {
                let values = cast(values, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>().values();
                for (row, group) in at {
                    totals[group] = finite_sum(totals[group], values[row] * weight as f64)?;
                }
            }
            Totals::Numeric(totals) => {
                let numbers = Numbers::of(values)?;
                for (row, group) in at {
                    totals[group].add(&numbers.get(row)?, weight)?;
                }
            }
            Totals::Interval(totals) => {
                let values = values.as_primitive::<IntervalMonthDayNanoType>().values();
                at.for_each(|(row, group)| totals[group].add(values[row], weight));
            }
        }
        Ok(())
    }

    /// Adds totals that [`Totals::state`] wrote.
    fn merge(&mut self, states: &ArrayRef, groups: &[usize]) -> Result<()> {
        for (row, &group) in groups.iter().enumerate() {
            match self {
                Totals::Integer(totals) => totals[group] += states.as_primitive::<Decimal128Type>().value(row),
                Totals::Decimal(totals, _) => {
                    let part = states.as_primitive::<Decimal256Type>().value(row);
                    totals[group] = totals[group].checked_add(part).ok_or_else(numeric::overflow)?;
                }
                Totals::Float(totals) => {
                    let part = states.as_primitive::<Float64Type>().value(row);
                    totals[group] = finite_sum(totals[group], part)?;
                }
                Totals::Numeric(totals) => totals[group].merge(&Sum::decode(states.as_binary::<i32>().value(row))?)?,
                Totals::Interval(totals) => totals[group].merge(&Span::decode(states.as_binary::<i32>().value(row))?),
            }
        }
        Ok(())
    }

    /// The first `groups` totals, which are gone then.
    fn take(&mut self, emit: &EmitTo) -> Totals {
        match self {
            Totals::Integer(totals) => Totals::Integer(emit.take_needed(totals)),
            Totals::Decimal(totals, scale) => Totals::Decimal(emit.take_needed(totals), *scale),
            Totals::Float(totals) => Totals::Float(emit.take_needed(totals)),
            Totals::Numeric(totals) => Totals::Numeric(emit.take_needed(totals)),
            Totals::Interval(totals) => Totals::Interval(emit.take_needed(totals)),
        }
    }

    fn state(self) -> Result<ArrayRef> {
        let kind = self.state_type();
        Ok(match self {
            Totals::Integer(totals) => Arc::new(Decimal128Array::from(totals).with_data_type(kind)),
            Totals::Decimal(totals, _) => Arc::new(Decimal256Array::from(totals).with_data_type(kind)),
            Totals::Float(totals) => Arc::new(Float64Array::from(totals)),
            Totals::Numeric(totals) => Arc::new(BinaryArray::from_iter_values(totals.iter().map(Sum::encode))),
            Totals::Interval(totals) => Arc::new(BinaryArray::from_iter_values(totals.iter().map(Span::encode))),
        })
    }

    /// The sums as `result`; NULL where `counts` is 0.
    fn sums(&self, counts: &[i64], result: &Type) -> Result<ArrayRef> {
        let seen = |row: usize| counts[row] > 0;
        Ok(match (self, result) {
            (Totals::Integer(totals), Type::Int8) => {
                let sums: Result<Int64Array> = totals
                    .iter()
                    .enumerate()
                    .map(|(row, &total)| seen(row).then(|| bigint(total)).transpose())
                    .collect();
                Arc::new(sums?)
            }
            (Totals::Integer(totals), _) => {
                let sums: Decimal128Array =
                    totals.iter().enumerate().map(|(row, &total)| seen(row).then_some(total)).collect();
                Arc::new(sums.with_data_type(DataType::Decimal128(38, 0)))
            }
            (Totals::Decimal(totals, scale), Type::Numeric(Some((..=38, _)))) => {
                let narrow = |total: i256| {
                    let narrow = total.to_i128().filter(|n| n.unsigned_abs() < 10u128.pow(38));
                    narrow.ok_or_else(|| Error::new("22003", "numeric field overflow"))
                };
                let sums: Result<Decimal128Array> = totals
                    .iter()
                    .enumerate()
                    .map(|(row, &total)| seen(row).then(|| narrow(total)).transpose())
                    .collect();
                Arc::new(sums?.with_data_type(DataType::Decimal128(38, *scale)))
            }
            (Totals::Decimal(totals, scale), _) => {
                let sums: Decimal256Array =
                    totals.iter().enumerate().map(|(row, &total)| seen(row).then_some(total)).collect();
                Arc::new(sums.with_data_type(DataType::Decimal256(76, *scale)))
            }
            (Totals::Float(totals), _) => {
                let sums: Float64Array =
                    totals.iter().enumerate().map(|(row, &total)| seen(row).then_some(total)).collect();
                Arc::new(sums)
            }
            (Totals::Numeric(totals), _) => Arc::new(numeric::build(
                totals.iter().enumerate().map(|(row, total)| seen(row).then(|| total.value()).transpose()),
            )?),
            (Totals::Interval(totals), _) => spans(totals, counts, |total, _| total.value())?,
        })
    }
}

/// The sum, which is infinite only if an operand is.
fn finite_sum(total: f64, part: f64) -> Result<f64> {
    let sum = total + part;
    match sum.is_infinite() && total.is_finite() && part.is_finite() {
        true => Err(Error::new("22003", "value out of range: overflow")),
        false => Ok(sum),
    }
}

/// What `value` makes of the totals of something.
fn spans(totals: &[Span], counts: &[i64], value: fn(&Span, i64) -> Result<IntervalMonthDayNano>) -> Result<ArrayRef> {
    let row = |(total, &count)| (count > 0).then(|| value(total, count)).transpose();
    let spans: Result<IntervalMonthDayNanoArray> = totals.iter().zip(counts).map(row).collect();
    Ok(Arc::new(spans?))
}

fn bigint(total: i128) -> Result<i64> {
    i64::try_from(total).map_err(|_| Error::new("22003", "bigint out of range"))
}

/// Totals and counts of all groups.
#[derive(Debug)]
struct Groups {
    goal: Goal,
    totals: Totals,
    counts: Vec<i64>,
    result: Type,
}

impl Groups {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.totals.grow(groups);
    }

    fn add(&mut self, values: &ArrayRef, weight: i64, rows: impl Iterator<Item = (usize, usize)>) -> Result<()> {
        let counts = &mut self.counts;
        let valid = rows.filter(|(row, _)| values.is_valid(*row)).inspect(|(_, group)| counts[*group] += weight);
        self.totals.add(values, weight, valid)
    }

    fn finish(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (totals, counts) = (self.totals.take(&emit), emit.take_needed(&mut self.counts));
        self.goal.of(&totals, counts, &self.result)
    }
}

impl Goal {
    /// What is wanted of `totals` that have `counts` values in them.
    fn of(self, totals: &Totals, counts: Vec<i64>, result: &Type) -> Result<ArrayRef> {
        match (self, totals) {
            (Goal::Sum, _) => Ok(cast(&totals.sums(&counts, result)?, &result.arrow())?),
            (Goal::Avg, Totals::Interval(totals)) => spans(totals, &counts, Span::average),
            // Wide enough for any sum on its way to a quotient.
            (Goal::Avg, _) => average(&totals.sums(&counts, &Type::Numeric(None))?, &Int64Array::from(counts)),
        }
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<(), DataFusionError> {
        self.grow(total_groups);
        let kept = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let rows = groups.iter().copied().enumerate().filter(|(row, _)| kept(*row));
        Ok(self.add(&values[0], 1, rows)?)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        total_groups: usize,
    ) -> Result<(), DataFusionError> {
        self.grow(total_groups);
        for (&group, &count) in groups.iter().zip(states[1].as_primitive::<Int64Type>().values()) {
            self.counts[group] += count;
        }
        Ok(self.totals.merge(&states[0], groups)?)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef, DataFusionError> {
        Ok(self.finish(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>, DataFusionError> {
        let totals = self.totals.take(&emit_to);
        let counts = Int64Array::from(emit_to.take_needed(&mut self.counts));
        Ok(vec![totals.state()?, Arc::new(counts)])
    }

    /// Every row as a group of its own.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>, DataFusionError> {
        let mut alone =
            Groups { goal: self.goal, totals: self.totals.fresh(), counts: vec![], result: self.result.clone() };
        let groups: Vec<_> = (0..values[0].len()).collect();
        alone.update_batch(values, &groups, filter, groups.len())?;
        GroupsAccumulator::state(&mut alone, EmitTo::All)
    }

    fn size(&self) -> usize {
        let total = match &self.totals {
            Totals::Integer(totals) => totals.capacity() * size_of::<i128>(),
            Totals::Decimal(totals, _) => totals.capacity() * size_of::<i256>(),
            Totals::Float(totals) => totals.capacity() * size_of::<f64>(),
            // A tree node for each of the two maps.
            Totals::Numeric(totals) => totals.capacity() * (size_of::<Sum>() + 1024),
            Totals::Interval(totals) => totals.capacity() * size_of::<Span>(),
        };
        total + self.counts.capacity() * size_of::<i64>() + size_of::<Self>()
    }
}

/// A single group.
#[derive(Debug)]
struct One(Groups);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        Ok(self.0.add(&values[0], 1, (0..values[0].len()).map(|row| (row, 0)))?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<(), DataFusionError> {
        self.0.merge_batch(states, &vec![0; states[0].len()], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        Ok(self.0.add(&values[0], -1, (0..values[0].len()).map(|row| (row, 0)))?)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue, DataFusionError> {
        // Windows ask again and again: the state stays.
        let result = self.0.goal.of(&self.0.totals, self.0.counts.clone(), &self.0.result)?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>, DataFusionError> {
        let states = GroupsAccumulator::state(&mut self.0, EmitTo::All)?;
        self.0.grow(1);
        states.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }
}

/// DISTINCT: the values seen, added up at the end.
#[derive(Debug)]
struct Distinct {
    seen: HashSet<ScalarValue>,
    kind: DataType,
    groups: Groups,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        for row in (0..values[0].len()).filter(|&row| values[0].is_valid(row)) {
            self.seen.insert(ScalarValue::try_from_array(&values[0], row)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<(), DataFusionError> {
        let lists = states[0].as_list::<i32>();
        lists.iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }

    fn evaluate(&mut self) -> Result<ScalarValue, DataFusionError> {
        let mut groups = Groups {
            goal: self.groups.goal,
            totals: self.groups.totals.fresh(),
            counts: vec![],
            result: self.groups.result.clone(),
        };
        groups.grow(1);
        let mut one = One(groups);
        if !self.seen.is_empty() {
            one.update_batch(&[ScalarValue::iter_to_array(self.seen.iter().cloned())?])?;
        }
        one.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>, DataFusionError> {
        let values: Vec<_> = self.seen.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.kind))])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + ScalarValue::size_of_hashset(&self.seen)
    }
}
