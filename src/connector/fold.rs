//! From changes in commit order to one final image or delete per key (ARCHITECTURE.md, *Sources*).
//!
//! A table's changes are kept as [`Segment`]s: columns of row images and a list of [`Op`]s over them. [`keyed`] folds them by these
//! rules: the last image of a key wins; a value that was not sent takes the newest earlier value of the same
//! row in the fold, along its key changes, else it names its origin, the key under which the row was stored before; a
//! TRUNCATE empties the fold. [`bag`] turns them into weighted rows.
//!
//! Of segments in files the keys are in memory, and what comes out: they are read one at a time for their keys, and once more for the rows
//! that are left.

use super::backlog::Stored;
use super::segment::{Op, Segment};
use super::{Bag, FailedRows, Fold, Partial, RowError};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take_record_batch};
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use weir_storage::delta::{size, widths};
use weir_storage::key::Keys;
use weir_storage::{Delta, Result};

/// Folds the changes of a table with a key. `key`: indices of its columns. `most`: bytes of a batch of the result, unless it has one row.
pub fn keyed(schema: &SchemaRef, key: &[usize], segments: Vec<Stored>, most: usize) -> Result<Fold> {
    let mut folding = Folding::new(schema, key, segments)?;
    folding.run();
    folding.finish(most)
}

/// Keys for which there is room from the beginning.
const MANY: usize = 1 << 20;

/// Where a row or an old key stands: segment and index in it.
type At = (u32, u32);

/// A key, by a place where its columns stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyAt {
    Row(At),
    Old(At),
}

/// Where the values come from that a row image does not have.
#[derive(Clone, Copy, Debug)]
enum Base {
    /// An earlier image of the same row in this fold, which has a base of its own.
    Image(At),
    /// The row stored before under this key.
    Stored(KeyAt),
    /// Nowhere: there is no such row.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    Image(At),
    Gone,
    /// Not stored before the fold and not there after it: as if never seen.
    Forgotten,
}

struct Entry {
    key: KeyAt,
    last: Last,
    /// Whether the key may have been stored before the fold. One that came and went within it is nothing to delete.
    stored: bool,
}

struct Folding<'a> {
    schema: &'a SchemaRef,
    key: &'a [usize],
    /// Without rows and old keys if they are in a file.
    segments: Vec<Segment>,
    /// Those that are.
    there: Vec<Option<Stored>>,
    /// Keys of each segment's rows and old keys.
    rows: Vec<Keys>,
    olds: Vec<Keys>,
    /// In order of first appearance, so that the same changes always fold to the same batches.
    entries: Vec<Entry>,
    index: HashTable<u32>,
    /// Bases of the images that have unknown values.
    bases: HashMap<At, Base>,
    truncated: bool,
}

impl<'a> Folding<'a> {
    fn new(schema: &'a SchemaRef, key: &'a [usize], stored: Vec<Stored>) -> Result<Self> {
        let all: Vec<usize> = (0..key.len()).collect();
        // Many changes may be of few keys.
        let total = stored.iter().map(Stored::count).sum::<usize>().min(MANY);
        let mut folding = Self {
            schema,
            key,
            segments: vec![],
            there: vec![],
            rows: vec![],
            olds: vec![],
            entries: Vec::with_capacity(total),
            index: HashTable::with_capacity(total),
            bases: HashMap::new(),
            truncated: false,
        };
        for stored in stored {
            let there = (!stored.is_here()).then(|| stored.clone());
            let mut segment = stored.read()?;
            folding.rows.push(Keys::of(&segment.rows, key)?);
            folding.olds.push(Keys::of(&segment.olds, &all)?);
            if there.is_some() {
                segment.rows = RecordBatch::new_empty(segment.rows.schema());
                segment.olds = RecordBatch::new_empty(segment.olds.schema());
            }
            folding.segments.push(segment);
            folding.there.push(there);
        }
        Ok(folding)
    }

    fn run(&mut self) {
        let segments = std::mem::take(&mut self.segments);
        for (number, segment) in segments.iter().enumerate() {
            let partial = segment.unknown.iter().any(Option::is_some);
            let (mut row, mut old) = (0, 0);
            for op in &segment.ops {
                let (at, from) = ((number as u32, row), (number as u32, old));
                match op {
                    Op::Insert => self.upsert(at, KeyAt::Row(at), false, partial && is_partial(segment, row)),
                    Op::Upsert => self.upsert(at, KeyAt::Row(at), true, partial && is_partial(segment, row)),
                    Op::Move => {
                        // Unless the row moved to where it was, its new key was free.
                        let moved = self.bytes(KeyAt::Old(from)) != self.bytes(KeyAt::Row(at));
                        self.upsert(at, KeyAt::Old(from), !moved, partial && is_partial(segment, row));
                        if moved {
                            self.delete(from);
                        }
                    }
                    Op::Delete => self.delete(from),
                    Op::Truncate => self.truncate(),
                    Op::Retract => unreachable!("a table with a key has no bag changes"),
                }
                let (rows, olds) = op.consumes();
                (row, old) = (row + rows as u32, old + olds as u32);
            }
        }
        self.segments = segments;
    }

    /// The entry of `key`; `stored` is what is known if it is new.
    fn entry(&mut self, key: KeyAt, stored: bool) -> usize {
        let (hash, bytes) = (self.hash(key), self.bytes(key));
        let found = self.index.find(hash, |&i| self.bytes(self.entries[i as usize].key) == bytes);
        if let Some(&i) = found {
            return i as usize;
        }
        let i = self.entries.len();
        self.entries.push(Entry { key, last: Last::Forgotten, stored });
        let (rows, olds, entries) = (&self.rows, &self.olds, &self.entries);
        self.index.insert_unique(hash, i as u32, |&i| hash_of(rows, olds, entries[i as usize].key));
        i
    }

    fn hash(&self, key: KeyAt) -> u64 {
        hash_of(&self.rows, &self.olds, key)
    }

    fn bytes(&self, key: KeyAt) -> &[u8] {
        match key {
            KeyAt::Row((segment, row)) => self.rows[segment as usize].get(row as usize),
            KeyAt::Old((segment, row)) => self.olds[segment as usize].get(row as usize),
        }
    }

    /// The image at `at` is now the row of its key; its unknown values are those of the row under `origin`.
    fn upsert(&mut self, at: At, origin: KeyAt, stored: bool, partial: bool) {
        if partial {
            let base = self.base(origin);
            self.bases.insert(at, base);
        }
        let entry = self.entry(KeyAt::Row(at), stored && !self.truncated);
        self.entries[entry].last = Last::Image(at);
    }

    fn base(&self, origin: KeyAt) -> Base {
        let bytes = self.bytes(origin);
        let found = self.index.find(self.hash(origin), |&i| self.bytes(self.entries[i as usize].key) == bytes);
        match found.map(|&i| self.entries[i as usize].last) {
            Some(Last::Image(at)) => Base::Image(at),
            Some(Last::Gone) => Base::Nothing,
            None | Some(Last::Forgotten) if self.truncated => Base::Nothing,
            None | Some(Last::Forgotten) => Base::Stored(origin),
        }
    }

    fn delete(&mut self, from: At) {
        let entry = self.entry(KeyAt::Old(from), !self.truncated);
        let entry = &mut self.entries[entry];
        entry.last = if entry.stored { Last::Gone } else { Last::Forgotten };
    }

    fn truncate(&mut self) {
        self.truncated = true;
        self.entries.clear();
        self.index.clear();
        self.bases.clear();
    }

    fn finish(mut self, most: usize) -> Result<Fold> {
        let mut sorter = Sorter::new(&self);
        for entry in &self.entries {
            match entry.last {
                Last::Image(at) => sorter.image(at),
                Last::Gone => sorter.left.deletes.push(entry.key),
                Last::Forgotten => {}
            }
        }
        let mut left = sorter.left;
        (self.rows, self.olds) = (vec![], vec![]);
        self.bring_back(&mut left)?;
        let Left { whole, composed, partial, failed, deletes } = left;
        let sizes = Sizes::new(&self.segments, most);
        let mut upserts = self.upserts(&whole, &sizes)?;
        for composed in sizes.cut(&composed, |layers| sizes.of_layers(layers)) {
            upserts.push(self.compose(composed)?);
        }
        let deletes = sizes.cut(&deletes, |key| sizes.of_key(*key));
        let partial = sizes.cut(&partial, |(layers, origin)| sizes.of_layers(layers) + sizes.of_key(*origin));
        let failed = sizes.cut(&failed, |(at, _)| sizes.of_row(*at));
        Ok(Fold {
            truncated: self.truncated,
            upserts,
            deletes: deletes.map(|keys| self.keys(keys)).collect::<Result<_>>()?,
            partial: partial.map(|rows| self.partial(rows)).collect::<Result<_>>()?,
            failed: failed.map(|rows| self.failed(rows)).collect::<Result<_>>()?,
            spilled: vec![],
        })
    }

    /// Reads of the segments in files what is left, and nothing else.
    fn bring_back(&mut self, left: &mut Left) -> Result<()> {
        if self.there.iter().all(Option::is_none) {
            return Ok(());
        }
        // Of each segment the rows and old keys that are wanted.
        let mut wanted: Vec<[Vec<u32>; 2]> = vec![<[Vec<u32>; 2]>::default(); self.segments.len()];
        left.visit(&mut |kind, at| wanted[at.0 as usize][kind as usize].push(at.1));
        for ((wanted, segment), there) in wanted.iter_mut().zip(&mut self.segments).zip(&mut self.there) {
            let Some(stored) = there.take() else { continue };
            for places in wanted.iter_mut() {
                places.sort_unstable();
                places.dedup();
            }
            if wanted.iter().all(Vec::is_empty) {
                continue;
            }
            let [rows, olds] = &*wanted;
            let read = stored.clone().read()?;
            segment.rows = take_record_batch(&read.rows, &UInt32Array::from(rows.clone()))?;
            segment.olds = take_record_batch(&read.olds, &UInt32Array::from(olds.clone()))?;
            *there = Some(stored);
        }
        left.visit(&mut |kind, at| {
            if self.there[at.0 as usize].is_some() {
                let places = &wanted[at.0 as usize][kind as usize];
                at.1 = places.binary_search(&at.1).expect("it was wanted") as u32;
            }
        });
        Ok(())
    }

    /// Segments every image of which is final go through as they are: the way of append-only streams.
    fn upserts(&self, whole: &[At], sizes: &Sizes) -> Result<Vec<RecordBatch>> {
        let rows: usize = self.segments.iter().map(|s| s.rows.num_rows()).sum();
        if whole.len() == rows {
            // All images are final, each of another key: their order means nothing.
            let segments = self.segments.iter().map(|s| s.rows.clone());
            return Ok(segments.filter(|rows| rows.num_rows() > 0).collect());
        }
        sizes.cut(whole, |at| sizes.of_row(*at)).map(|whole| self.gather(whole)).collect()
    }

    fn gather(&self, places: &[At]) -> Result<RecordBatch> {
        if let [only] = &self.segments[..] {
            let indices = UInt32Array::from_iter_values(places.iter().map(|at| at.1));
            return Ok(take_record_batch(&only.rows, &indices)?);
        }
        let columns = (0..self.schema.fields().len()).map(|c| self.column(c, places)).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn column(&self, column: usize, places: &[At]) -> Result<ArrayRef> {
        let arrays: Vec<&dyn arrow::array::Array> =
            self.segments.iter().map(|s| s.rows.column(column).as_ref()).collect();
        let places: Vec<(usize, usize)> = places.iter().map(|&(s, r)| (s as usize, r as usize)).collect();
        Ok(interleave(&arrays, &places)?)
    }

    /// The key columns of `keys`, in key order.
    fn keys(&self, keys: &[KeyAt]) -> Result<RecordBatch> {
        let fields: Vec<_> = self.key.iter().map(|&c| self.schema.fields()[c].clone()).collect();
        let n = self.segments.len();
        let places: Vec<(usize, usize)> = keys
            .iter()
            .map(|key| match *key {
                KeyAt::Row((s, r)) => (s as usize, r as usize),
                KeyAt::Old((s, r)) => (n + s as usize, r as usize),
            })
            .collect();
        let column = |(i, &c): (usize, &usize)| {
            let rows = self.segments.iter().map(|s| s.rows.column(c).as_ref());
            let arrays: Vec<_> = rows.chain(self.segments.iter().map(|s| s.olds.column(i).as_ref())).collect();
            Ok(interleave(&arrays, &places)?)
        };
        let columns = self.key.iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
    }

    fn partial(&self, rows: &[(Layers, KeyAt)]) -> Result<Partial> {
        let (layers, origins): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
        let unknown = (0..self.schema.fields().len()).map(|c| {
            let bits = BooleanBuffer::collect_bool(layers.len(), |i| layers[i].values[c].is_none());
            if bits.count_set_bits() > 0 { Some(bits) } else { None }
        });
        Ok(Partial { unknown: unknown.collect(), rows: self.compose(&layers)?, origins: self.keys(&origins)? })
    }

    /// Rows put together from several images each.
    fn compose(&self, rows: &[Layers]) -> Result<RecordBatch> {
        let column = |c: usize| {
            // Where unknown, the image itself is read: it holds NULL there.
            let places: Vec<At> = rows.iter().map(|row| row.values[c].unwrap_or(row.image)).collect();
            self.column(c, &places)
        };
        let columns = (0..self.schema.fields().len()).map(column).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn failed(&self, rows: &[(At, RowError)]) -> Result<FailedRows> {
        let (keys, causes): (Vec<_>, Vec<_>) = rows.iter().map(|(at, cause)| (KeyAt::Row(*at), cause.clone())).unzip();
        Ok(FailedRows { keys: self.keys(&keys)?, causes })
    }
}

/// How large rows are, by which what they are put together to is cut.
struct Sizes {
    /// Bytes of a batch, at most.
    most: usize,
    /// Of each segment's rows and old keys; empty if all of them together are no more than that.
    rows: Vec<Vec<usize>>,
    olds: Vec<Vec<usize>>,
}

impl Sizes {
    fn new(segments: &[Segment], most: usize) -> Self {
        let all: usize = segments.iter().map(|segment| size(&segment.rows) + size(&segment.olds)).sum();
        if all <= most {
            return Self { most, rows: vec![], olds: vec![] };
        }
        let rows = segments.iter().map(|segment| widths(&segment.rows)).collect();
        Self { most, rows, olds: segments.iter().map(|segment| widths(&segment.olds)).collect() }
    }

    fn of_row(&self, at: At) -> usize {
        self.rows[at.0 as usize][at.1 as usize]
    }

    fn of_key(&self, key: KeyAt) -> usize {
        match key {
            KeyAt::Row(at) => self.of_row(at),
            KeyAt::Old(at) => self.olds[at.0 as usize][at.1 as usize],
        }
    }

    /// No more than all images that it has values of.
    fn of_layers(&self, layers: &Layers) -> usize {
        let mut images: Vec<At> = layers.values.iter().flatten().copied().chain([layers.image]).collect();
        images.sort_unstable();
        images.dedup();
        images.into_iter().map(|at| self.of_row(at)).sum()
    }

    /// Some of `all` at a time, none of them if there are none.
    fn cut<'a, T>(&'a self, all: &'a [T], bytes: impl Fn(&T) -> usize + 'a) -> impl Iterator<Item = &'a [T]> {
        let mut rest = all;
        std::iter::from_fn(move || {
            let mut sum = 0;
            let mut fits = |one: &&T| {
                sum += bytes(one);
                sum <= self.most
            };
            let some = if self.rows.is_empty() { rest.len() } else { rest.iter().take_while(&mut fits).count().max(1) };
            let (first, others) = rest.split_at(some.min(rest.len()));
            rest = others;
            (!first.is_empty()).then_some(first)
        })
    }
}

fn hash_of(rows: &[Keys], olds: &[Keys], key: KeyAt) -> u64 {
    match key {
        KeyAt::Row((segment, row)) => rows[segment as usize].hash(row as usize),
        KeyAt::Old((segment, row)) => olds[segment as usize].hash(row as usize),
    }
}

fn is_partial(segment: &Segment, row: u32) -> bool {
    segment.unknown.iter().flatten().any(|bits| bits.value(row as usize))
}

/// A final image with values that earlier images have, or only the stored row.
#[derive(Clone)]
struct Layers {
    image: At,
    /// Per column the image that has its value; `None`: the stored row.
    values: Vec<Option<At>>,
}

/// Sorts final images into whole, partial and failed ones.
struct Sorter<'a> {
    folding: &'a Folding<'a>,
    /// Rows with failed values, by segment.
    failing: Vec<HashSet<u32>>,
    left: Left,
}

/// What a fold comes to.
#[derive(Default)]
struct Left {
    whole: Vec<At>,
    composed: Vec<Layers>,
    partial: Vec<(Layers, KeyAt)>,
    failed: Vec<(At, RowError)>,
    deletes: Vec<KeyAt>,
}

/// Of which rows of a segment a place is.
#[derive(Clone, Copy)]
enum Of {
    Rows,
    Olds,
}

impl Left {
    /// Every place of a row or an old key in it.
    fn visit(&mut self, f: &mut dyn FnMut(Of, &mut At)) {
        let of_key = |key: &mut KeyAt, f: &mut dyn FnMut(Of, &mut At)| match key {
            KeyAt::Row(at) => f(Of::Rows, at),
            KeyAt::Old(at) => f(Of::Olds, at),
        };
        self.whole.iter_mut().chain(self.failed.iter_mut().map(|(at, _)| at)).for_each(|at| f(Of::Rows, at));
        for layers in self.composed.iter_mut().chain(self.partial.iter_mut().map(|(layers, _)| layers)) {
            layers.values.iter_mut().flatten().chain([&mut layers.image]).for_each(|at| f(Of::Rows, at));
        }
        let origins = self.partial.iter_mut().map(|(_, origin)| origin);
        origins.chain(&mut self.deletes).for_each(|key| of_key(key, f));
    }
}

impl<'a> Sorter<'a> {
    fn new(folding: &'a Folding<'a>) -> Self {
        let failing = folding.segments.iter().map(|s| s.failed.iter().map(|f| f.row).collect()).collect();
        Self { folding, failing, left: Left::default() }
    }

    fn image(&mut self, at: At) {
        if self.folding.bases.contains_key(&at) {
            self.layered(at);
        } else if let Some(cause) = self.cause(at, None) {
            self.left.failed.push((at, cause));
        } else {
            self.left.whole.push(at);
        }
    }

    /// An image with unknown values: each is looked for along the earlier images of the row. An image is on the way of one
    /// final image at most, so all ways together are no longer than the changes.
    fn layered(&mut self, image: At) {
        let width = self.folding.schema.fields().len();
        let mut values = vec![None; width];
        let mut missing: Vec<usize> = (0..width).collect();
        let (mut at, mut cause) = (image, None);
        let base = loop {
            let segment = &self.folding.segments[at.0 as usize];
            missing.retain(|&c| {
                let unknown = segment.unknown[c].as_ref().is_some_and(|bits| bits.value(at.1 as usize));
                if !unknown {
                    values[c] = Some(at);
                    cause = cause.take().or_else(|| self.cause(at, Some(c)));
                }
                unknown
            });
            match self.folding.bases.get(&at) {
                Some(Base::Image(earlier)) => at = *earlier,
                base => break base,
            }
        };
        match (cause, base) {
            (Some(cause), _) => self.left.failed.push((image, cause)),
            (None, _) if missing.is_empty() => self.left.composed.push(Layers { image, values }),
            (None, Some(Base::Stored(origin))) => self.left.partial.push((Layers { image, values }, *origin)),
            (None, _) => {
                let name = self.folding.schema.field(missing[0]).name();
                self.left.failed.push((image, lost(name)));
            }
        }
    }

    /// Why the value of `column`, or any value, of an image cannot be held.
    fn cause(&self, at: At, column: Option<usize>) -> Option<RowError> {
        if !self.failing[at.0 as usize].contains(&at.1) {
            return None;
        }
        let failed = &self.folding.segments[at.0 as usize].failed;
        let first = failed.partition_point(|f| f.row < at.1);
        let of_row = failed[first..].iter().take_while(|f| f.row == at.1);
        of_row.into_iter().find(|f| column.is_none_or(|c| f.column as usize == c)).map(|f| f.cause.clone())
    }
}

/// A value that upstream did not send because it had not changed, of a row that never was.
fn lost(column: &str) -> RowError {
    RowError {
        sqlstate: "XX001".into(),
        message: "upstream left out an unchanged value of a row that is not there".into(),
        expression: format!("column \"{column}\""),
    }
}

/// Rows of a table's copy: each key stands once already, so nothing is folded. `key` and its columns' schema.
pub fn copied(key_schema: &SchemaRef, key: &[usize], begins: bool, stored: Vec<Stored>) -> Result<Fold> {
    let mut fold = Fold { truncated: begins, ..Fold::default() };
    for segment in stored {
        let segment = segment.read()?;
        if segment.failed.is_empty() {
            fold.upserts.push(segment.rows.clone());
            continue;
        }
        let causes: BTreeMap<u32, &RowError> = segment.failed.iter().rev().map(|f| (f.row, &f.cause)).collect();
        let held = (0..segment.rows.num_rows() as u32).filter(|row| !causes.contains_key(row));
        fold.upserts.push(take_record_batch(&segment.rows, &UInt32Array::from_iter_values(held))?);
        let keys =
            RecordBatch::try_new(key_schema.clone(), key.iter().map(|&c| segment.rows.column(c).clone()).collect())?;
        let keys = take_record_batch(&keys, &UInt32Array::from_iter_values(causes.keys().copied()))?;
        fold.failed.push(FailedRows { keys, causes: causes.into_values().cloned().collect() });
    }
    Ok(fold)
}

/// The changes of a table without a key, as weighted rows.
pub fn bag(stored: Vec<Stored>) -> Result<Bag> {
    let mut bag = Bag::default();
    for segment in stored {
        let segment = segment.read()?;
        let mut causes: HashMap<u32, &RowError> = HashMap::new();
        for failed in segment.failed.iter().rev() {
            causes.insert(failed.row, &failed.cause);
        }
        let (mut keep, mut weights, mut row) = (vec![], vec![], 0);
        for op in &segment.ops {
            let weight = match op {
                Op::Insert => 1,
                Op::Retract => -1,
                Op::Truncate => {
                    bag = Bag { truncated: true, ..Bag::default() };
                    (keep, weights) = (vec![], vec![]);
                    continue;
                }
                Op::Upsert | Op::Move | Op::Delete => unreachable!("a table without a key has no keyed changes"),
            };
            match causes.get(&row) {
                Some(cause) => bag.failed.push(((*cause).clone(), weight)),
                None => {
                    keep.push(row);
                    weights.push(weight);
                }
            }
            row += 1;
        }
        if keep.len() == segment.rows.num_rows() && !keep.is_empty() {
            bag.rows.push(Delta::new(segment.rows.clone(), weights));
        } else if !keep.is_empty() {
            let rows = take_record_batch(&segment.rows, &UInt32Array::from(keep))?;
            bag.rows.push(Delta::new(rows, weights));
        }
    }
    Ok(bag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::backlog::spill;
    use crate::connector::segment::Rejected;
    use arrow::array::{Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn waiting<const N: usize>(segments: [Segment; N]) -> Vec<Stored> {
        segments.into_iter().map(|segment| Stored::new(segment, 1)).collect()
    }

    /// A value sent, `-` for NULL, `?` for one that was not sent, `!` for one that cannot be held.
    type Row = [&'static str; 2];

    #[derive(Clone, Debug)]
    enum Change {
        Insert(i64, Row),
        Upsert(i64, Row),
        Move(i64, i64, Row),
        Delete(i64),
        Truncate,
    }

    use Change::*;

    fn schema() -> SchemaRef {
        let columns = [("a", DataType::Utf8, true), ("id", DataType::Int64, false), ("b", DataType::Utf8, true)];
        Arc::new(Schema::new(columns.map(|(name, kind, null)| Field::new(name, kind, null)).to_vec()))
    }

    fn cause(column: usize) -> RowError {
        RowError { sqlstate: "22003".into(), message: "too large".into(), expression: format!("column {column}") }
    }

    fn segment(changes: &[Change]) -> Segment {
        let (mut ops, mut ids, mut rows, mut olds) = (vec![], vec![], vec![], vec![]);
        for change in changes {
            let (op, new, old) = match *change {
                Insert(id, row) => (Op::Insert, Some((id, row)), None),
                Upsert(id, row) => (Op::Upsert, Some((id, row)), None),
                Move(from, id, row) => (Op::Move, Some((id, row)), Some(from)),
                Delete(id) => (Op::Delete, None, Some(id)),
                Truncate => (Op::Truncate, None, None),
            };
            ops.push(op);
            olds.extend(old);
            if let Some((id, row)) = new {
                ids.push(id);
                rows.push(row);
            }
        }
        let column = |c: usize| {
            let value = |row: &Row| Some(row[c]).filter(|v| !matches!(*v, "-" | "?" | "!"));
            Arc::new(StringArray::from_iter(rows.iter().map(value))) as ArrayRef
        };
        let unknown = |c: usize| {
            let bits = BooleanBuffer::collect_bool(rows.len(), |i| rows[i][c] == "?");
            if bits.count_set_bits() > 0 { Some(bits) } else { None }
        };
        let mut failed = vec![];
        for (i, row) in rows.iter().enumerate() {
            for (c, column) in [(0, 0), (1, 2)] {
                if row[c] == "!" {
                    failed.push(Rejected { row: i as u32, column, cause: cause(column as usize) });
                }
            }
        }
        let key = Arc::new(Schema::new(vec![schema().field(1).clone()]));
        Segment {
            ops,
            rows: RecordBatch::try_new(schema(), vec![column(0), Arc::new(Int64Array::from(ids)), column(1)]).unwrap(),
            olds: RecordBatch::try_new(key, vec![Arc::new(Int64Array::from(olds))]).unwrap(),
            unknown: vec![unknown(0), None, unknown(1)],
            failed,
        }
    }

    fn text(rows: &RecordBatch, column: usize, row: usize) -> String {
        let column = rows.column(column).as_any().downcast_ref::<StringArray>().unwrap();
        if column.is_null(row) { "-".into() } else { column.value(row).into() }
    }

    fn ids(rows: &RecordBatch, column: usize) -> Vec<i64> {
        rows.column(column).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    }

    type Table = BTreeMap<i64, [String; 2]>;

    /// What a table does with a fold: the row at each key, `!` for rows that cannot be held.
    fn apply(stored: &Table, fold: &Fold) -> Table {
        let mut table = if fold.truncated { Table::new() } else { stored.clone() };
        let mut touched = HashSet::new();
        let mut touch = |id| assert!(touched.insert(id), "key {id} stands twice in {fold:?}");
        for keys in &fold.deletes {
            for id in ids(keys, 0) {
                touch(id);
                assert!(table.remove(&id).is_some(), "key {id} is not stored but deleted by {fold:?}");
            }
        }
        for rows in &fold.upserts {
            for (i, id) in ids(rows, 1).into_iter().enumerate() {
                touch(id);
                table.insert(id, [text(rows, 0, i), text(rows, 2, i)]);
            }
        }
        for partial in &fold.partial {
            for (i, id) in ids(&partial.rows, 1).into_iter().enumerate() {
                touch(id);
                let origin = &stored[&ids(&partial.origins, 0)[i]];
                let value = |c: usize, o: usize| match &partial.unknown[c] {
                    Some(bits) if bits.value(i) => origin[o].clone(),
                    _ => text(&partial.rows, c, i),
                };
                // A partial image of a row that cannot be held is one of those, too.
                let row = [value(0, 0), value(2, 1)];
                table.insert(id, if row.contains(&"!".to_string()) { ["!".into(), "!".into()] } else { row });
            }
        }
        for failed in &fold.failed {
            for id in ids(&failed.keys, 0) {
                touch(id);
                table.insert(id, ["!".into(), "!".into()]);
            }
        }
        table
    }

    fn check(stored: &[(i64, Row)], changes: &[Change], expected: &[(i64, Row)]) -> Fold {
        let table =
            |rows: &[(i64, Row)]| -> Table { rows.iter().map(|(id, row)| (*id, row.map(str::to_string))).collect() };
        let fold = keyed(&schema(), &[1], waiting([segment(changes)]), usize::MAX).unwrap();
        assert_eq!(apply(&table(stored), &fold), table(expected), "{fold:?}");
        fold
    }

    #[test]
    fn the_last_image_of_a_key_wins() {
        let changes = [Insert(1, ["x", "y"]), Insert(2, ["p", "q"]), Upsert(1, ["z", "-"]), Delete(2)];
        check(&[], &changes, &[(1, ["z", "-"])]);
    }

    #[test]
    fn an_append_only_segment_goes_through_as_it_is() {
        let fold = check(&[], &[Upsert(1, ["x", "y"]), Upsert(2, ["p", "q"])], &[(1, ["x", "y"]), (2, ["p", "q"])]);
        assert_eq!(fold.upserts.len(), 1);
    }

    #[test]
    fn an_unsent_value_comes_from_an_earlier_image_of_the_fold() {
        let fold = check(&[], &[Upsert(1, ["big", "y"]), Upsert(1, ["?", "z"])], &[(1, ["big", "z"])]);
        assert!(fold.partial.is_empty());
    }

    #[test]
    fn an_unsent_value_names_the_key_that_holds_it() {
        let fold = check(&[(1, ["big", "y"])], &[Move(1, 2, ["?", "z"]), Upsert(2, ["?", "w"])], &[(2, ["big", "w"])]);
        assert_eq!(ids(&fold.partial[0].origins, 0), [1]);
    }

    #[test]
    fn swapped_keys_keep_their_unsent_values() {
        let stored = [(1, ["one", "-"]), (2, ["two", "-"])];
        let swap = [Move(1, 9, ["?", "-"]), Move(2, 1, ["?", "-"]), Move(9, 2, ["?", "-"])];
        check(&stored, &swap, &[(1, ["two", "-"]), (2, ["one", "-"])]);
    }

    #[test]
    fn a_key_that_came_and_went_within_the_fold_is_not_deleted() {
        let fold = check(&[(1, ["a", "b"])], &[Move(1, 9, ["?", "-"]), Move(9, 1, ["?", "-"])], &[(1, ["a", "-"])]);
        assert!(fold.deletes.is_empty(), "{fold:?}");
        check(&[], &[Insert(1, ["x", "y"]), Delete(1), Insert(1, ["x", "z"]), Delete(1)], &[]);
    }

    #[test]
    fn a_chain_of_three_moves_keeps_its_unsent_value() {
        let chain = [Move(1, 2, ["?", "a"]), Move(2, 3, ["?", "b"]), Move(3, 4, ["?", "?"])];
        check(&[(1, ["big", "-"])], &chain, &[(4, ["big", "b"])]);
    }

    #[test]
    fn truncate_empties_the_fold_and_later_rows_stay() {
        let changes = [Upsert(1, ["x", "y"]), Delete(2), Truncate, Upsert(3, ["p", "q"]), Upsert(3, ["?", "r"])];
        let fold = check(&[(2, ["-", "-"]), (5, ["-", "-"])], &changes, &[(3, ["p", "r"])]);
        assert!(fold.truncated && fold.deletes.is_empty());
    }

    #[test]
    fn a_row_that_cannot_be_held_fails_until_all_its_values_can() {
        check(&[], &[Upsert(1, ["!", "y"])], &[(1, ["!", "!"])]);
        check(&[], &[Upsert(1, ["!", "y"]), Upsert(1, ["?", "z"])], &[(1, ["!", "!"])]);
        check(&[], &[Upsert(1, ["!", "y"]), Upsert(1, ["x", "?"])], &[(1, ["x", "y"])]);
        check(&[(1, ["a", "b"])], &[Upsert(1, ["!", "?"])], &[(1, ["!", "!"])]);
        check(&[(1, ["a", "b"])], &[Upsert(1, ["!", "?"]), Upsert(1, ["x", "?"])], &[(1, ["x", "b"])]);
    }

    #[test]
    fn an_unsent_value_of_a_row_that_is_not_there_fails_that_row() {
        check(&[], &[Truncate, Upsert(1, ["?", "y"])], &[(1, ["!", "!"])]);
    }

    /// One step of the naive model, row by row.
    fn step(table: &mut Table, change: &Change) {
        let fill = |row: &Row, old: Option<[String; 2]>| {
            let old = old.unwrap_or_default();
            [0, 1].map(|c| if row[c] == "?" { old[c].clone() } else { row[c].to_string() })
        };
        match change {
            Insert(id, row) | Upsert(id, row) => {
                let row = fill(row, table.get(id).cloned());
                table.insert(*id, row);
            }
            Move(from, id, row) => {
                let row = fill(row, table.remove(from));
                table.insert(*id, row);
            }
            Delete(id) => {
                table.remove(id);
            }
            Truncate => table.clear(),
        }
    }

    /// A change that Postgres could make to `table`.
    fn any_change(random: &mut StdRng, table: &Table) -> Change {
        const VALUES: [&str; 6] = ["-", "x", "y", "z", "?", "!"];
        let existing = table.keys().copied().nth(random.random_range(0..table.len().max(1)));
        let sent = |random: &mut StdRng| [0, 1].map(|_| VALUES[random.random_range(0..4)]);
        let maybe = |random: &mut StdRng| [0, 1].map(|_| VALUES[random.random_range(0..6)]);
        let free = (0..12).find(|id| !table.contains_key(id) && random.random_bool(0.3));
        match (random.random_range(0..20), existing, free) {
            (0, ..) => Truncate,
            (1..=4, Some(id), _) => Delete(id),
            (5..=9, Some(from), Some(to)) => Move(from, to, maybe(random)),
            (10..=15, Some(id), _) => Upsert(id, maybe(random)),
            (_, _, Some(id)) => Insert(id, sent(random)),
            (_, Some(id), None) => Upsert(id, maybe(random)),
            (_, None, None) => Truncate,
        }
    }

    #[test]
    fn a_fold_equals_its_changes_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        for seed in 0..3000 {
            let random = &mut StdRng::seed_from_u64(seed);
            let mut model = Table::new();
            for _ in 0..random.random_range(0..10) {
                let change = any_change(random, &model);
                step(&mut model, &change);
            }
            let stored = model.clone();
            let changes: Vec<_> = (0..random.random_range(1..30))
                .map(|_| {
                    let change = any_change(random, &model);
                    step(&mut model, &change);
                    change
                })
                .collect();
            let (head, rest) = waiting([segment(&changes)])[0].split(random.random_range(0..=changes.len()));
            let (middle, tail) = rest.split(random.random_range(0..=rest.count()));
            // Each in memory or in a file.
            let segments = waiting([head, middle, tail].map(|part| part.read().unwrap()));
            let spilled: Vec<Stored> = segments.iter().filter(|_| random.random_bool(0.4)).cloned().collect();
            spill(folder.path(), &spilled).unwrap();
            let most = [usize::MAX, 10, 1][seed as usize % 3];
            let fold = keyed(&schema(), &[1], segments, most).unwrap();
            let visible = |table: &Table| -> Table {
                let hide = |row: &[String; 2]| match row.contains(&"!".to_string()) {
                    true => ["!".to_string(), "!".to_string()],
                    false => row.clone(),
                };
                table.iter().map(|(id, row)| (*id, hide(row))).collect()
            };
            assert_eq!(visible(&apply(&stored, &fold)), visible(&model), "seed {seed}: {stored:?} then {changes:?}");
        }
    }

    #[test]
    fn what_would_be_too_large_is_put_together_in_pieces() {
        let changes = [Upsert(1, ["a", "b"]), Upsert(1, ["c", "d"]), Upsert(2, ["e", "f"]), Upsert(3, ["g", "h"])];
        let changes = [&changes[..], &[Upsert(4, ["?", "i"]), Upsert(5, ["j", "?"]), Delete(6), Delete(7)]].concat();
        let pieces = |most| {
            let fold = keyed(&schema(), &[1], waiting([segment(&changes)]), most).unwrap();
            (fold.upserts.len(), fold.partial.len(), fold.deletes.len())
        };
        assert_eq!((pieces(usize::MAX), pieces(1), pieces(40)), ((1, 1, 1), (3, 2, 2), (2, 2, 1)));
    }

    #[test]
    fn a_bag_keeps_weights_and_forgets_what_a_truncate_clears() {
        let mut segment = segment(&[Upsert(1, ["x", "y"]), Upsert(2, ["!", "y"]), Upsert(3, ["-", "-"])]);
        segment.ops = vec![Op::Insert, Op::Retract, Op::Insert];
        let bag = super::bag(waiting([segment.clone()])).unwrap();
        assert_eq!((bag.truncated, &bag.failed), (false, &vec![(cause(0), -1)]));
        assert_eq!((ids(bag.rows[0].rows(), 1), bag.rows[0].weights().to_vec()), (vec![1, 3], vec![1, 1]));
        segment.ops.insert(2, Op::Truncate);
        let bag = super::bag(waiting([segment])).unwrap();
        assert!(bag.truncated && bag.failed.is_empty());
        assert_eq!(ids(bag.rows[0].rows(), 1), [3]);
    }
}
