//! Aggregates for DataFusion, which runs SELECT: over groups, over all rows, over distinct values, and over windows
//! that move.

use super::definition::{Finished, Function, Groups};
use crate::Result;
use crate::function::{given, key};
use crate::total::{Keep, Total, retractable, state_type, total};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

/// Ours, under the names of DataFusion's.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    super::all().map(|function| Arc::new(AggregateUDF::new_from_impl(Select::new(function)))).collect()
}

/// One of them as a plan names it.
pub fn named(function: Function) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Select::new(function)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Select {
    function: Function,
    aliases: Vec<String>,
    signature: Signature,
}

type Answer<T> = Result<T, DataFusionError>;

impl Select {
    fn new(function: Function) -> Self {
        let aliases = function.aliases.iter().map(|alias| alias.to_string()).collect();
        Self { function, aliases, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn sums(&self, args: &AccumulatorArgs, total: fn(Keep, &DataType) -> Result<Box<dyn Total>>) -> Result<Sums> {
        Sums::new(self.function, args.expr_fields[0].data_type(), Type::of(&args.return_field)?, total)
    }

    fn is_distinct(&self, args: &AccumulatorArgs) -> bool {
        args.is_distinct && self.function.counts
    }
}

impl AggregateUDFImpl for Select {
    fn name(&self) -> &str {
        self.function.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Answer<Vec<DataType>> {
        self.return_type(types)?;
        Ok(match types {
            [DataType::Null] if !self.function.is_kept_of(&DataType::Null) => vec![DataType::Float64],
            _ => types.to_vec(),
        })
    }

    fn return_type(&self, types: &[DataType]) -> Answer<DataType> {
        let fields: Vec<_> = types.iter().map(|kind| Arc::new(Field::new("", kind.clone(), true))).collect();
        Ok(self.return_field(&fields)?.data_type().clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Answer<FieldRef> {
        let types = fields.iter().map(|field| given(field)).collect::<Result<Vec<_>>>()?;
        let argument = match &types[..] {
            [Some(kind)] => Some(kind.clone()),
            // What NULL alone is made of.
            [None] if self.function.is_kept_of(&DataType::Null) => Some(Type::Text),
            [None] => Some(Type::Float8),
            _ => return Err(crate::function::undefined(self.name(), &types).into()),
        };
        let result = (self.function.result)(argument.as_ref())?;
        Ok(Arc::new(result.field(self.name(), self.function.nullable)))
    }

    fn is_nullable(&self) -> bool {
        self.function.nullable
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Answer<Vec<FieldRef>> {
        let argument = args.input_fields[0].data_type();
        if args.is_distinct && self.function.counts {
            let element = Field::new("item", argument.clone(), true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[distinct]", args.name), element, true))]);
        }
        let field = |keep: &Keep| {
            let kind = state_type(*keep, argument).unwrap_or(DataType::Null);
            Arc::new(Field::new(format!("{}[{keep:?}]", args.name), kind, true))
        };
        Ok(self.function.keeps.iter().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Answer<Box<dyn Accumulator>> {
        let sums = self.sums(&args, total)?;
        Ok(match self.is_distinct(&args) {
            true => Box::new(One::new(Distinct::new(sums)?, false)),
            false => Box::new(One::new(sums, false)),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Answer<Box<dyn Accumulator>> {
        Ok(Box::new(One::new(self.sums(&args, retractable)?, true)))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Answer<Box<dyn GroupsAccumulator>> {
        let sums = self.sums(&args, total)?;
        Ok(match self.is_distinct(&args) {
            true => Box::new(Many(Distinct::new(sums)?)),
            false => Box::new(Many(sums)),
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn default_value(&self, kind: &DataType) -> Answer<ScalarValue> {
        match self.function.nullable {
            true => ScalarValue::try_from(kind),
            false => ScalarValue::new_zero(kind),
        }
    }
}

/// What all groups keep.
trait GroupStates: Debug + Send + Sync + Sized + 'static {
    /// The same without groups.
    fn fresh(&self) -> Result<Self>;

    fn groups(&self) -> usize;

    fn grow(&mut self, groups: usize);

    /// As [`Total::add`].
    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: Vec<i64>) -> Result<()>;

    /// Adds what [`GroupStates::states`] gave.
    fn merge(&mut self, groups: &[u32], states: &[ArrayRef]) -> Result<()>;

    /// Of the first groups.
    fn states(&self, groups: usize) -> Result<Vec<ArrayRef>>;

    /// Of the first groups. One that failed fails the query.
    fn values(&self, groups: usize) -> Result<ArrayRef>;

    /// Forgets the first groups.
    fn forget(&mut self, groups: usize);

    fn bytes(&self) -> usize;
}

/// Totals.
#[derive(Debug)]
struct Sums {
    function: Function,
    argument: DataType,
    result: Type,
    groups: usize,
    totals: Vec<Box<dyn Total>>,
}

impl Sums {
    fn new(
        function: Function,
        argument: &DataType,
        result: Type,
        total: fn(Keep, &DataType) -> Result<Box<dyn Total>>,
    ) -> Result<Self> {
        let totals = function.keeps.iter().map(|keep| total(*keep, argument)).collect::<Result<_>>()?;
        Ok(Self { function, argument: argument.clone(), result, groups: 0, totals })
    }
}

impl GroupStates for Sums {
    fn fresh(&self) -> Result<Self> {
        Self::new(self.function, &self.argument, self.result.clone(), total)
    }

    fn groups(&self) -> usize {
        self.groups
    }

    fn grow(&mut self, groups: usize) {
        self.groups = groups;
        self.totals.iter_mut().for_each(|total| total.grow(groups));
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: Vec<i64>) -> Result<()> {
        self.totals.iter_mut().try_for_each(|total| total.add(groups, values, &weights))
    }

    fn merge(&mut self, groups: &[u32], states: &[ArrayRef]) -> Result<()> {
        self.totals.iter_mut().zip(states).try_for_each(|(total, states)| total.absorb(groups, states))
    }

    fn states(&self, groups: usize) -> Result<Vec<ArrayRef>> {
        self.totals.iter().map(|total| total.state(0..groups)).collect()
    }

    fn values(&self, groups: usize) -> Result<ArrayRef> {
        let kept = self.states(groups)?;
        let groups = Groups { kept: &kept, argument: &self.argument, output: &self.result };
        let Finished { values, failures } = (self.function.finish)(&groups)?;
        failures.into_iter().next().map_or(Ok(values), |(_, error)| Err(error))
    }

    fn forget(&mut self, groups: usize) {
        self.groups -= groups;
        self.totals.iter_mut().for_each(|total| total.forget(groups));
    }

    fn bytes(&self) -> usize {
        self.totals.iter().map(|total| total.bytes()).sum()
    }
}

/// Totals of different values: of equal ones only the first is added.
#[derive(Debug)]
struct Distinct {
    sums: Sums,
    converter: RowConverter,
    /// Of each group, as bytes.
    seen: Vec<HashSet<Box<[u8]>>>,
    bytes: usize,
}

impl Distinct {
    fn new(sums: Sums) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(sums.argument.clone())])?;
        Ok(Self { sums, converter, seen: vec![], bytes: 0 })
    }
}

impl GroupStates for Distinct {
    fn fresh(&self) -> Result<Self> {
        Self::new(self.sums.fresh()?)
    }

    fn groups(&self) -> usize {
        self.sums.groups()
    }

    fn grow(&mut self, groups: usize) {
        self.sums.grow(groups);
        self.seen.resize_with(groups, HashSet::new);
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, mut weights: Vec<i64>) -> Result<()> {
        let rows = self.converter.convert_columns(&[key::canonical(values)?])?;
        for (row, weight) in weights.iter_mut().enumerate().filter(|(_, weight)| **weight != 0) {
            let (seen, value) = (&mut self.seen[groups[row] as usize], rows.row(row).data());
            *weight = i64::from(!seen.contains(value));
            if *weight != 0 {
                self.bytes += value.len() + size_of::<Box<[u8]>>();
                seen.insert(value.into());
            }
        }
        self.sums.add(groups, values, weights)
    }

    fn merge(&mut self, groups: &[u32], states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for (row, &group) in groups.iter().enumerate() {
            let values = lists.value(row);
            self.add(&vec![group; values.len()], &values, vec![1; values.len()])?;
        }
        Ok(())
    }

    /// A list of values for each.
    fn states(&self, groups: usize) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let seen = &self.seen[..groups];
        let rows = seen.iter().flatten().map(|bytes| parser.parse(bytes));
        let values = self.converter.convert_rows(rows)?.remove(0);
        let offsets = OffsetBuffer::from_lengths(seen.iter().map(HashSet::len));
        let element = Arc::new(Field::new("item", self.sums.argument.clone(), true));
        Ok(vec![Arc::new(ListArray::try_new(element, offsets, values, None)?)])
    }

    fn values(&self, groups: usize) -> Result<ArrayRef> {
        self.sums.values(groups)
    }

    fn forget(&mut self, groups: usize) {
        self.sums.forget(groups);
        let gone = self.seen.drain(..groups).flatten();
        self.bytes -= gone.map(|value| value.len() + size_of::<Box<[u8]>>()).sum::<usize>();
    }

    fn bytes(&self) -> usize {
        self.sums.bytes() + self.bytes + self.seen.capacity() * size_of::<HashSet<Box<[u8]>>>()
    }
}

fn numbered(groups: &[usize]) -> Vec<u32> {
    groups.iter().map(|&group| group as u32).collect()
}

/// `weight` for the rows that count, 0 for those that are NULL or filtered out.
fn weights(values: &ArrayRef, filter: Option<&BooleanArray>, weight: i64) -> Vec<i64> {
    let mut weights = vec![weight; values.len()];
    if let Some(nulls) = values.logical_nulls() {
        weights.iter_mut().zip(nulls.iter()).for_each(|(weight, valid)| *weight *= i64::from(valid));
    }
    if let Some(filter) = filter {
        weights.iter_mut().zip(filter).for_each(|(weight, passes)| *weight *= i64::from(passes == Some(true)));
    }
    weights
}

/// Many groups, whose values are asked for once.
struct Many<H>(H);

impl<H: GroupStates> Many<H> {
    fn emit<T>(&mut self, emit: EmitTo, of: fn(&H, usize) -> Result<T>) -> Answer<T> {
        let groups = match emit {
            EmitTo::All => self.0.groups(),
            EmitTo::First(groups) => groups,
        };
        let result = of(&self.0, groups)?;
        self.0.forget(groups);
        Ok(result)
    }
}

impl<H: GroupStates> GroupsAccumulator for Many<H> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Answer<()> {
        self.0.grow(count);
        Ok(self.0.add(&numbered(groups), &values[0], weights(&values[0], filter, 1))?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Answer<()> {
        self.0.grow(count);
        Ok(self.0.merge(&numbered(groups), states)?)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Answer<ArrayRef> {
        self.emit(emit, H::values)
    }

    fn state(&mut self, emit: EmitTo) -> Answer<Vec<ArrayRef>> {
        self.emit(emit, H::states)
    }

    /// Every row as a group of its own.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Answer<Vec<ArrayRef>> {
        let mut alone = Many(self.0.fresh()?);
        let groups: Vec<usize> = (0..values[0].len()).collect();
        alone.update_batch(values, &groups, filter, groups.len())?;
        Ok(alone.0.states(groups.len())?)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.bytes()
    }
}

/// A single group, whose value may be asked for again and again: a window's.
#[derive(Debug)]
struct One<H> {
    held: H,
    retractable: bool,
}

impl<H: GroupStates> One<H> {
    fn new(mut held: H, retractable: bool) -> Self {
        held.grow(1);
        Self { held, retractable }
    }

    fn add(&mut self, values: &ArrayRef, weight: i64) -> Answer<()> {
        Ok(self.held.add(&vec![0; values.len()], values, weights(values, None, weight))?)
    }
}

impl<H: GroupStates> Accumulator for One<H> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Answer<()> {
        self.add(&values[0], 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Answer<()> {
        Ok(self.held.merge(&vec![0; states[0].len()], states)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Answer<()> {
        self.add(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        self.retractable
    }

    fn evaluate(&mut self) -> Answer<ScalarValue> {
        ScalarValue::try_from_array(&self.held.values(1)?, 0)
    }

    fn state(&mut self) -> Answer<Vec<ScalarValue>> {
        self.held.states(1)?.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.held.bytes()
    }
}
