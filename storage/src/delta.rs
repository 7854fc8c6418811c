//! A [`Delta`]: rows with weights. The one shape in which changes move (ARCHITECTURE.md, *Z-sets*).

use crate::error::Result;
use crate::key::row_hashes;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::ops::AddAssign;
use std::sync::{Arc, LazyLock};

/// Weighted rows: `weights[i]` copies of row `i` appear (positive) or go (negative).
///
/// Not necessarily consolidated: the same row may stand several times. Cloning is cheap, the columns are shared. No
/// weight is `i64::MIN`, so that each can be negated.
#[derive(Clone, Debug)]
pub struct Delta {
    rows: RecordBatch,
    weights: ScalarBuffer<i64>,
}

impl Delta {
    /// `rows` with one weight each. Panics if the lengths differ.
    pub fn new(rows: RecordBatch, weights: impl Into<ScalarBuffer<i64>>) -> Self {
        let weights = weights.into();
        assert_eq!(rows.num_rows(), weights.len(), "one weight per row");
        Self { rows, weights }
    }

    /// All rows with the same weight.
    pub fn uniform(rows: RecordBatch, weight: i64) -> Self {
        let weights = vec![weight; rows.num_rows()];
        Self::new(rows, weights)
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::new(RecordBatch::new_empty(schema), vec![])
    }

    /// The rows without their weights.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The weight of each row.
    pub fn weights(&self) -> &ScalarBuffer<i64> {
        &self.weights
    }

    /// Shape of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The number of rows, whatever their weights.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of its values, in bytes, also where it shares their buffers with others.
    pub fn bytes(&self) -> usize {
        size(&self.rows) + self.weights.len() * 8
    }

    /// The same rows with every weight negated.
    pub fn negate(&self) -> Self {
        Self::new(self.rows.clone(), self.weights.iter().map(|w| -w).collect::<Vec<_>>())
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Result<Self> {
        let indices = UInt32Array::from(indices.to_vec());
        let rows = take(&self.rows, &indices)?;
        let weights: Vec<i64> = indices.values().iter().map(|&i| self.weights[i as usize]).collect();
        Ok(Self::new(rows, weights))
    }

    /// `len` rows from `from` on, sharing their columns.
    pub fn slice(&self, from: usize, len: usize) -> Self {
        if len == self.len() {
            return self.clone();
        }
        Self::new(self.rows.slice(from, len), self.weights.slice(from, len))
    }

    /// One delta of all of `deltas`, in order. `schema` is what an empty list gets; of others a column may be NULL if it may be in one of
    /// them, since branches of a union differ in that.
    pub fn concat(schema: &SchemaRef, deltas: &[Delta]) -> Result<Self> {
        if let [one] = deltas {
            return Ok(one.clone());
        }
        let schema = &widest(schema, deltas);
        let rows = arrow::compute::concat_batches(schema, deltas.iter().map(Delta::rows))?;
        let weights: Vec<i64> = deltas.iter().flat_map(|d| d.weights.iter().copied()).collect();
        Ok(Self::new(rows, weights))
    }

    /// Adds up the weights of equal rows and drops what is zero. Rows are equal when every column holds the same bits
    /// (so numeric 1.0 and 1.00 are two rows); the first of equal rows keeps its place. A row that adds up to more than
    /// a weight can say stands as often as is needed to say it.
    pub fn consolidate(self) -> Result<Self> {
        if self.len() <= 1 && self.weights.iter().all(|&w| w != 0) {
            return Ok(self);
        }
        let hashes = row_hashes(&self.rows)?;
        let (rows, weights): (Vec<u32>, Vec<i64>) = net(&hashes, &self.weights).entries().into_iter().unzip();
        if rows.len() == self.len() && rows.is_sorted() {
            return Ok(Self::new(self.rows, weights));
        }
        let rows = take(&self.rows, &UInt32Array::from(rows))?;
        Ok(Self::new(rows, weights))
    }
}

/// Adds up the weights of equal rows of all `deltas`, as [`Delta::consolidate`] does. What has more than `bytes` bytes stays in several
/// batches, none of them larger than the one that its rows come from.
pub fn consolidate(deltas: Vec<Delta>, bytes: usize) -> Result<Vec<Delta>> {
    let deltas: Vec<Delta> = deltas.into_iter().filter(|delta| !delta.is_empty()).collect();
    let Some(first) = deltas.first() else { return Ok(vec![]) };
    let schema = widest(&first.schema(), &deltas);
    if deltas.len() == 1 || deltas.iter().map(Delta::bytes).sum::<usize>() <= bytes {
        let whole = Delta::concat(&schema, &deltas)?.consolidate()?;
        return Ok(if whole.is_empty() { vec![] } else { vec![whole] });
    }
    let (mut hashes, mut weights) = (vec![], vec![]);
    for delta in &deltas {
        hashes.extend(row_hashes(&delta.rows)?);
        weights.extend_from_slice(&delta.weights);
    }
    let mut kept = net(&hashes, &weights).entries();
    // By the places of their rows, those that take several entries among the others.
    kept.sort_by_key(|&(row, _)| row);
    let (mut whole, mut from, mut kept) = (vec![], 0, kept.as_slice());
    for delta in deltas {
        let here;
        (here, kept) = kept.split_at(kept.partition_point(|&(row, _)| (row as usize) < from + delta.len()));
        if !here.is_empty() {
            let (rows, weights): (Vec<u32>, Vec<i64>) = here.iter().map(|&(row, w)| (row - from as u32, w)).unzip();
            let rows = take(&delta.rows, &UInt32Array::from(rows))?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let rows = RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)?;
            whole.push(Delta::new(rows, weights));
        }
        from += delta.len();
    }
    Ok(whole)
}

/// `schema`, with columns nullable that are so in one of `deltas`.
fn widest(schema: &SchemaRef, deltas: &[Delta]) -> SchemaRef {
    let others = || deltas.iter().map(|delta| delta.rows.schema_ref()).filter(|other| !Arc::ptr_eq(other, schema));
    let is_wider = |other: &SchemaRef| {
        other.fields().iter().zip(schema.fields()).any(|(o, s)| o.is_nullable() && !s.is_nullable())
    };
    if !others().any(is_wider) {
        return schema.clone();
    }
    let nullable = |index: usize| others().any(|other| other.field(index).is_nullable());
    let fields = schema.fields().iter().enumerate();
    let fields: Vec<_> =
        fields.map(|(i, f)| f.as_ref().clone().with_nullable(f.is_nullable() || nullable(i))).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Memory that a column keeps alive beside what it uses before it is copied.
const SPARE: usize = 4096;

/// Bytes of the values of `rows`, also where they share buffers with other rows: a slice counts no more than it holds.
pub fn size(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(used).sum()
}

fn used(column: &ArrayRef) -> usize {
    let views = column.len() * size_of::<u128>();
    match column.data_type() {
        DataType::Utf8View => views + column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => views + column.as_binary_view().total_buffer_bytes_used(),
        // What has no such size has too many values to count.
        _ => column.to_data().get_slice_memory_size().unwrap_or(usize::MAX >> 8),
    }
}

/// Says where a text, or a list, ends: many empty ones take memory, too.
const OFFSET: usize = size_of::<i32>();

/// Bytes of each row's values, with their offsets.
pub fn widths(rows: &RecordBatch) -> Vec<usize> {
    let mut widths = vec![0; rows.num_rows()];
    rows.columns().iter().for_each(|column| add_widths(column, &mut widths));
    widths
}

/// Bytes of the widest row, or of all of them where they are few.
pub fn widest_row(rows: &RecordBatch) -> usize {
    const FEW: usize = 32 << 10;
    let all = size(rows);
    if all <= FEW { all } else { widths(rows).into_iter().max().unwrap_or(0) }
}

/// How many rows of `width` bytes at most go into a batch of `bytes` bytes; one always does.
pub fn rows_within(bytes: usize, width: usize) -> usize {
    (bytes / width.max(1)).max(1)
}

fn add_widths(column: &ArrayRef, widths: &mut [usize]) {
    match column.data_type() {
        DataType::Utf8 => add_lengths(column.as_string::<i32>().value_offsets(), widths),
        DataType::Binary => add_lengths(column.as_binary::<i32>().value_offsets(), widths),
        DataType::Utf8View => {
            let texts = column.as_string_view();
            add(widths, |row| size_of::<u128>() + texts.value(row).len());
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let mut items = vec![0; lists.values().len()];
            add_widths(lists.values(), &mut items);
            let offsets = lists.value_offsets();
            add(widths, |row| OFFSET + items[offsets[row] as usize..offsets[row + 1] as usize].iter().sum::<usize>());
        }
        kind => {
            let width = kind.primitive_width().unwrap_or_else(|| used(column).div_ceil(column.len().max(1)));
            add(widths, |_| width);
        }
    }
}

fn add_lengths(offsets: &[i32], widths: &mut [usize]) {
    add(widths, |row| OFFSET + (offsets[row + 1] - offsets[row]) as usize);
}

fn add(widths: &mut [usize], width: impl Fn(usize) -> usize) {
    widths.iter_mut().enumerate().for_each(|(row, sum)| *sum += width(row));
}

/// `rows` with columns copied that would keep much more memory alive than they use.
pub fn own(rows: RecordBatch) -> Result<RecordBatch> {
    let indices = LazyLock::new(|| UInt32Array::from_iter_values(0..rows.num_rows() as u32));
    let own = |column: &ArrayRef| -> Result<ArrayRef> {
        if column.get_buffer_memory_size() <= 2 * used(column) + SPARE {
            return Ok(column.clone());
        }
        Ok(match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => arrow::compute::take(column, &*indices, None)?,
        })
    };
    let columns = rows.columns().iter().map(own).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)
}

/// The rows at `indices`, also of relations without columns (for which Arrow's own loses the number of rows).
pub(crate) fn take(rows: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(|c| arrow::compute::take(c, indices, None)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)
}

/// Rows with equal ones added up.
#[derive(Default)]
pub(crate) struct Net {
    /// The first row of each hash, in order, without those that add up to zero.
    pub rows: Vec<u32>,
    pub weights: Vec<i64>,
    /// First rows whose sums are no weights.
    pub beyond: Vec<(u32, i128)>,
}

impl Net {
    /// Rows with their weights; at the end, and several times, those that add up to more than a weight can say.
    fn entries(self) -> Vec<(u32, i64)> {
        let mut entries: Vec<(u32, i64)> = self.rows.into_iter().zip(self.weights).collect();
        for (row, mut rest) in self.beyond {
            while rest != 0 {
                let weight = rest.clamp(-i128::from(i64::MAX), i128::from(i64::MAX)) as i64;
                rest -= i128::from(weight);
                entries.push((row, weight));
            }
        }
        entries
    }
}

/// Adds up the weights of equal hashes.
pub(crate) fn net(hashes: &[u128], weights: &[i64]) -> Net {
    // Every bit that any weight has: a bound of all of them that costs next to nothing.
    let bits = weights.iter().fold(0, |bits, weight| bits | weight.unsigned_abs());
    if u128::from(bits) * weights.len() as u128 <= i64::MAX as u128 {
        let mut sums = weights.to_vec();
        let repeated = add_up(hashes, &mut sums);
        if !repeated && sums.iter().all(|&weight| weight != 0) {
            return Net { rows: (0..hashes.len() as u32).collect(), weights: sums, beyond: vec![] };
        }
        let kept = (0..hashes.len() as u32).zip(sums).filter(|(_, weight)| *weight != 0);
        let (rows, weights) = kept.unzip();
        return Net { rows, weights, beyond: vec![] };
    }
    let mut sums: Vec<i128> = weights.iter().map(|&weight| weight.into()).collect();
    add_up(hashes, &mut sums);
    let mut net = Net::default();
    for (row, sum) in (0..hashes.len() as u32).zip(sums).filter(|(_, sum)| *sum != 0) {
        match i64::try_from(sum) {
            Ok(weight) if weight != i64::MIN => {
                net.rows.push(row);
                net.weights.push(weight);
            }
            _ => net.beyond.push((row, sum)),
        }
    }
    net
}

/// Moves the sums of later rows to the first of their hash. Whether there are any.
fn add_up<W: AddAssign + Default>(hashes: &[u128], sums: &mut [W]) -> bool {
    let mut repeated = false;
    let mut first: HashTable<u32> = HashTable::with_capacity(hashes.len());
    for (row, &hash) in hashes.iter().enumerate() {
        let same = |&other: &u32| hashes[other as usize] == hash;
        match first.entry(hash as u64, same, |&other| hashes[other as usize] as u64) {
            Entry::Vacant(entry) => drop(entry.insert(row as u32)),
            Entry::Occupied(entry) => {
                repeated = true;
                let sum = std::mem::take(&mut sums[row]);
                sums[*entry.get() as usize] += sum;
            }
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray, StringViewArray};
    use arrow::datatypes::{Field, Float64Type};

    fn check(values: &[f64], weights: &[i64], expected: &[(f64, i64)]) {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Float64Array::from(values.to_vec()))]).unwrap();
        let found = Delta::new(rows, weights.to_vec()).consolidate().unwrap();
        let values = found.rows().column(0).as_primitive::<Float64Type>().values();
        let found: Vec<(u64, i64)> = values.iter().map(|v| v.to_bits()).zip(found.weights().iter().copied()).collect();
        let expected: Vec<(u64, i64)> = expected.iter().map(|(v, w)| (v.to_bits(), *w)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn equal_rows_add_up_and_the_first_keeps_its_place() {
        check(&[1., 2., 1., 3., 2.], &[1, 1, 2, 1, -1], &[(1., 3), (3., 1)]);
        check(&[1., 2.], &[1, -1], &[(1., 1), (2., -1)]);
        check(&[1.], &[0], &[]);
        check(&[1., 1., 1.], &[1, -1, 1], &[(1., 1)]);
        check(&[], &[], &[]);
    }

    #[test]
    fn a_slice_counts_and_keeps_what_it_holds_and_not_what_it_shares() {
        let texts = (0..1000).map(|n| format!("{n:>100}")).collect::<Vec<_>>();
        let plain: ArrayRef = Arc::new(StringArray::from_iter_values(&texts));
        let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
        for column in [plain, views] {
            let whole = RecordBatch::try_from_iter([("t", column)]).unwrap();
            let parts: Vec<RecordBatch> = (0..100).map(|part| whole.slice(part * 10, 10)).collect();
            let counted: usize = parts.iter().map(size).sum();
            assert!((100_000..130_000).contains(&counted), "{counted}");
            let kept: usize = parts.into_iter().map(|part| own(part).unwrap().get_array_memory_size()).sum();
            assert!(kept < 400_000, "{kept}");
        }
    }

    #[test]
    fn rows_of_several_batches_add_up_without_becoming_one() {
        let texts = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from_iter_values(values)) };
        let delta = |values: &[&str], weights: &[i64]| {
            Delta::new(RecordBatch::try_from_iter([("t", texts(values))]).unwrap(), weights.to_vec())
        };
        let deltas =
            || vec![delta(&["a", "b"], &[1, 2]), delta(&["c"], &[1]), delta(&["b", "d", "c"], &[-1, i64::MAX, -1])];
        let more = || vec![delta(&["d", "e"], &[i64::MAX, 1])];
        let rows = |deltas: &[Delta]| {
            let row = |d: &Delta, row| (d.rows().column(0).as_string::<i32>().value(row).to_string(), d.weights()[row]);
            deltas.iter().flat_map(|d| (0..d.len()).map(move |r| row(d, r))).collect::<Vec<_>>()
        };
        let all = || deltas().into_iter().chain(more()).collect::<Vec<_>>();
        let (one, several) = (consolidate(all(), usize::MAX).unwrap(), consolidate(all(), 1).unwrap());
        assert_eq!((one.len(), several.len()), (1, 3));
        let sorted = |mut rows: Vec<(String, i64)>| {
            rows.sort();
            rows
        };
        let expected =
            [("a", 1), ("b", 1), ("d", i64::MAX), ("d", i64::MAX), ("e", 1)].map(|(t, w)| (t.to_string(), w));
        assert_eq!(sorted(rows(&one)), expected);
        assert_eq!(sorted(rows(&several)), expected);
        assert!(consolidate(vec![delta(&["a"], &[1]), delta(&["a"], &[-1])], 1).unwrap().is_empty());
    }

    #[test]
    fn widths_are_those_of_the_values() {
        let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        lists.append_value(["abc", "d"].map(Some));
        lists.append_null();
        lists.append_value([None, Some("efghi")]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("yyy")]));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1., 2., 3.]));
        let columns = [("l", Arc::new(lists.finish()) as ArrayRef), ("t", texts), ("n", numbers)];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(widths(&rows), [4 + 1 + 8 + 4 * OFFSET, 8 + 2 * OFFSET, 5 + 3 + 8 + 4 * OFFSET]);
        assert_eq!(widths(&rows.slice(1, 2)), widths(&rows)[1..]);
        let long: ArrayRef = Arc::new(StringArray::from_iter_values(["x".repeat(50_000), "y".into()]));
        assert_eq!(widest_row(&RecordBatch::try_from_iter([("t", long)]).unwrap()), 50_000 + OFFSET);
    }

    #[test]
    fn sums_beyond_a_weight_are_said_in_several_rows() {
        const MAX: i64 = i64::MAX;
        check(&[1., 2., 1., 1.], &[MAX, 1, MAX, -MAX], &[(1., MAX), (2., 1)]);
        check(&[1., 2., 1., 1.], &[MAX, 1, MAX, 2], &[(2., 1), (1., MAX), (1., MAX), (1., 2)]);
        check(&[1., 1., 2.], &[-MAX, -1, 0], &[(1., -MAX), (1., -1)]);
        check(&[1., 1.], &[MAX, -MAX], &[]);
    }

    #[test]
    fn rows_of_other_bits_are_other_rows() {
        check(&[0.0, -0.0], &[1, -1], &[(0.0, 1), (-0.0, -1)]);
    }

    #[test]
    fn a_column_is_nullable_if_it_is_in_one_part() {
        let part = |nullable, values: Vec<Option<f64>>| {
            let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, nullable)]));
            Delta::uniform(RecordBatch::try_new(schema, vec![Arc::new(Float64Array::from(values))]).unwrap(), 1)
        };
        let (never, maybe) = (part(false, vec![Some(1.)]), part(true, vec![None]));
        for parts in [[never.clone(), maybe.clone()], [maybe, never]] {
            assert_eq!(Delta::concat(&parts[0].schema(), &parts).unwrap().rows().column(0).null_count(), 1);
        }
    }

    #[test]
    fn rows_without_columns_add_up_to_one() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let found = Delta::new(rows, vec![1, 4, -2]).consolidate().unwrap();
        assert_eq!((found.len(), found.weights().to_vec()), (1, vec![3]));
    }
}
