//! Taking a delta in: check it all, then change the state in steps that cannot fail.
//!
//! Each row that comes has to be looked for in an index, and put there: a miss of all caches in one of many million entries, unless rows
//! come in the order of the index. Many rows at once, all of them new, are sorted by it ([`Order`]) by whoever prepares them.

use super::chunk::{self, Chunk};
use super::index;
use super::slot::Slot;
use super::spec::{Kind, Spec};
use super::state::State;
use crate::delta::{Delta, Net, net, own, take};
use crate::epoch::Epoch;
use crate::error::{Error, Result};
use crate::key::{Keys, row_hashes};
use crate::limits::Limits;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::ops::Range;

/// Rows unlinked, or as much work, for each row that is closed: a little more than reclaiming one costs, so that they never pile up
/// under any load.
const RECLAIMED: usize = 32;

/// Deltas of one epoch, one after the other, with what takes time and needs no lock.
pub struct Prepared {
    deltas: Vec<Incoming>,
    /// Of many rows that all come.
    order: Option<Order>,
}

/// Rows of all deltas, counted through, with hashes in the order of an index.
struct Order {
    by_key: Vec<(u64, u32)>,
    /// Bag and Ordered only.
    by_row: Vec<(u64, u32)>,
}

/// A delta in the arrangement's schema, with what the kind's index needs.
struct Incoming {
    rows: RecordBatch,
    weights: Vec<i64>,
    keys: Keys,
    /// Bag and Ordered only.
    hashes: Vec<u128>,
}

/// What a delta does: rows to close, and rows of the delta to append with their new weights.
#[derive(Default)]
struct Change {
    /// With the row of the delta that closes it.
    closes: Vec<(Slot, u32)>,
    appends: Vec<u32>,
    weights: Vec<i64>,
}

impl Prepared {
    pub(super) fn new(spec: &Spec, limits: &Limits, deltas: &[Delta]) -> Result<Self> {
        let deltas: Vec<Incoming> = deltas.iter().map(|delta| Incoming::new(spec, delta)).collect::<Result<_>>()?;
        let rows: usize = deltas.iter().map(|delta| delta.weights.len()).sum();
        let comes = |weight: &i64| if spec.kind == Kind::Keyed { *weight == 1 } else { *weight > 0 };
        let many = limits.sorted_rows;
        let is_ordered = spec.kind != Kind::Log && rows >= many && rows >= deltas.len() * many / 4;
        let all_come = is_ordered && deltas.iter().all(|delta| delta.weights.iter().all(comes));
        let order = all_come.then(|| Order {
            by_key: index::sorted(deltas.iter().flat_map(|delta| delta.keys.hashes().iter().copied())),
            by_row: index::sorted(deltas.iter().flat_map(|delta| delta.hashes.iter().map(|&hash| hash as u64))),
        });
        Ok(Self { deltas, order })
    }
}

impl Incoming {
    fn new(spec: &Spec, delta: &Delta) -> Result<Self> {
        let positive = spec.kind != Kind::Log || delta.weights().iter().all(|&weight| weight >= 0);
        assert!(positive, "a log is append-only, and got a retraction");
        let rows = conform(spec, delta.rows())?;
        let indexed = spec.kind != Kind::Log;
        let keys = if indexed { Keys::of(&rows, &spec.key)? } else { Keys::unit(rows.num_rows()) };
        let bag = matches!(spec.kind, Kind::Bag | Kind::Ordered);
        let hashes = if bag { row_hashes(&rows)? } else { vec![] };
        Ok(Self { rows, weights: delta.weights().to_vec(), keys, hashes })
    }
}

/// `rows` with exactly the columns of the arrangement: views become plain strings.
pub(super) fn conform(spec: &Spec, rows: &RecordBatch) -> Result<RecordBatch> {
    let fields = spec.schema.fields();
    if fields.len() != rows.num_columns() {
        let given = rows.num_columns();
        return Err(Error::Invalid(format!("{given} columns given for relation {}", describe(spec))));
    }
    let cast = |(array, field): (&ArrayRef, &arrow::datatypes::FieldRef)| match array.data_type() == field.data_type() {
        true => Ok(array.clone()),
        false => arrow::compute::cast(array, field.data_type()),
    };
    let columns = rows.columns().iter().zip(fields).map(cast).collect::<Result<Vec<_>, _>>();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    columns
        .and_then(|columns| RecordBatch::try_new_with_options(spec.schema.clone(), columns, &options))
        .map_err(|error| Error::Invalid(format!("rows do not fit relation {}: {error}", describe(spec))))
}

/// The relation's columns, for messages.
fn describe(spec: &Spec) -> String {
    let columns = spec.schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type()));
    format!("({})", columns.collect::<Vec<_>>().join(", "))
}

/// Applies all of each delta or, on error, nothing of it and of those after it.
pub(super) fn apply(state: &mut State, epoch: Epoch, prepared: &Prepared) -> Result<()> {
    let applied = match &prepared.order {
        Some(order) if are_new(state, order) => append(state, epoch, &prepared.deltas, order),
        _ => prepared.deltas.iter().try_for_each(|delta| one(state, epoch, delta)),
    };
    // What one step of an operator applies is put in order with it. More comes at once only when state is read back.
    if state.sorted.fresh() <= state.limits.chunk_rows {
        state.sorted.settle();
    }
    applied
}

/// Whether certainly no row has a row beside it that it must not have or has to be added to.
fn are_new(state: &State, order: &Order) -> bool {
    let by = if state.is_bag() { &order.by_row } else { &order.by_key };
    by.windows(2).all(|pair| pair[0].0 != pair[1].0) && by.iter().all(|&(hash, _)| !state.may_hold(hash))
}

fn append(state: &mut State, epoch: Epoch, deltas: &[Incoming], order: &Order) -> Result<()> {
    let all = |delta: &Incoming| {
        let rows = 0..delta.weights.len() as u32;
        let change = Change { closes: vec![], appends: rows.collect(), weights: delta.weights.clone() };
        chunks(epoch, delta, &change, &state.limits)
    };
    let chunks = deltas.iter().map(all).collect::<Result<Vec<_>>>()?;
    (state.applied, state.is_tidy) = (epoch, false);
    let mut slots = Vec::with_capacity(order.by_key.len());
    for (chunk, range) in chunks.into_iter().flatten() {
        let place = state.push(chunk);
        slots.extend((0..range.len()).map(|row| Slot::new(place, row)));
    }
    let hashes: Vec<u128> = deltas.iter().flat_map(|delta| &delta.hashes).copied().collect();
    order.by_key.iter().for_each(|&(hash, row)| state.link(slots[row as usize], hash));
    order.by_row.iter().for_each(|&(_, row)| state.enliven(slots[row as usize], hashes[row as usize]));
    state.merge_tail();
    Ok(())
}

fn one(state: &mut State, epoch: Epoch, incoming: &Incoming) -> Result<()> {
    let change = match state.spec.kind {
        Kind::Log => log(incoming),
        Kind::Keyed => keyed(state, incoming)?,
        Kind::Bag | Kind::Ordered => bag(state, incoming)?,
    };
    let chunks = chunks(epoch, incoming, &change, &state.limits)?;
    (state.applied, state.is_tidy) = (epoch, false);
    let work = change.closes.len() * RECLAIMED;
    for (slot, row) in change.closes {
        state.close(slot, epoch, incoming.hashes.get(row as usize).copied());
    }
    for (chunk, range) in chunks {
        let place = state.push(chunk);
        for (at, &row) in change.appends[range].iter().enumerate() {
            let (slot, row) = (Slot::new(place, at), row as usize);
            if state.is_indexed() {
                state.link(slot, incoming.keys.hash(row));
            }
            if let Some(&hash) = incoming.hashes.get(row) {
                state.enliven(slot, hash);
            }
        }
        state.merge_tail();
    }
    state.reclaim(work);
    Ok(())
}

fn log(incoming: &Incoming) -> Change {
    let weights = incoming.weights.iter().copied().filter(|&w| w != 0).collect();
    let rows = 0..incoming.weights.len() as u32;
    Change { closes: vec![], appends: rows.filter(|&row| incoming.weights[row as usize] != 0).collect(), weights }
}

/// A keyed delta is usually net already; only if it does not fit as it stands is it added up first.
fn keyed(state: &State, incoming: &Incoming) -> Result<Change> {
    let rows: Vec<u32> = (0..incoming.weights.len() as u32).collect();
    keyed_net(state, incoming, &rows, &incoming.weights).or_else(|_| {
        let Net { rows, weights, beyond } = net(&row_hashes(&incoming.rows)?, &incoming.weights);
        if beyond.is_empty() { keyed_net(state, incoming, &rows, &weights) } else { Err(Error::Range) }
    })
}

fn keyed_net(state: &State, incoming: &Incoming, rows: &[u32], weights: &[i64]) -> Result<Change> {
    let mut heads = vec![];
    state.heads(&incoming.keys, 0..incoming.keys.len(), &mut heads);
    let live = |row: u32| Some(heads[row as usize]).filter(|head| !head.is_none() && state.is_live(*head));
    let mut change = Change::default();
    for (&row, &weight) in rows.iter().zip(weights) {
        match weight {
            0 => {}
            1 => change.appends.push(row),
            -1 => change.closes.push((live(row).ok_or_else(|| missing(&state.spec))?, row)),
            ..0 => return Err(missing(&state.spec)),
            _ => return Err(Error::Invalid(format!("weight {weight} in keyed relation {}", describe(&state.spec)))),
        }
    }
    change.closes.sort_unstable();
    let twice = change.closes.windows(2).any(|pair| pair[0].0 == pair[1].0);
    if twice || !stored_equal(state, incoming, &change.closes)? {
        return Err(missing(&state.spec));
    }
    let closes = |slot: Slot| change.closes.binary_search_by_key(&slot, |close| close.0).is_ok();
    let taken = change.appends.iter().any(|&row| live(row).is_some_and(|slot| !closes(slot)));
    if taken || repeats(&incoming.keys, &change.appends) {
        return Err(Error::Invalid(format!("two rows of one key in keyed relation {}", describe(&state.spec))));
    }
    change.weights = vec![1; change.appends.len()];
    Ok(change)
}

/// Whether the retracted rows are the stored ones, not just rows of the same keys.
fn stored_equal(state: &State, incoming: &Incoming, closes: &[(Slot, u32)]) -> Result<bool> {
    if closes.is_empty() {
        return Ok(true);
    }
    let mut found = super::read::Matches::default();
    closes.iter().for_each(|&(slot, row)| found.push(row, slot.place(), state.chunk(slot), slot.row()));
    let stored = found.gather(&state.spec.schema, None)?;
    let given = UInt32Array::from_iter_values(closes.iter().map(|&(_, row)| row));
    let given = take(&incoming.rows, &given)?;
    Ok(row_hashes(&stored)? == row_hashes(&given)?)
}

fn repeats(keys: &Keys, rows: &[u32]) -> bool {
    let mut seen: HashTable<u32> = HashTable::with_capacity(rows.len());
    rows.iter().any(|&row| {
        let (hash, key) = (keys.hash(row as usize), keys.get(row as usize));
        let same = |&other: &u32| keys.hash(other as usize) == hash && keys.get(other as usize) == key;
        match seen.entry(hash, same, |&other| keys.hash(other as usize)) {
            Entry::Occupied(_) => true,
            Entry::Vacant(entry) => {
                entry.insert(row);
                false
            }
        }
    })
}

fn bag(state: &State, incoming: &Incoming) -> Result<Change> {
    let mut change = Change::default();
    let Net { rows, weights, beyond } = net(&incoming.hashes, &incoming.weights);
    if !beyond.is_empty() {
        return Err(Error::Range);
    }
    for (row, weight) in rows.into_iter().zip(weights) {
        let stored = state.live(incoming.hashes[row as usize]);
        let old = stored.map_or(0, |slot| state.chunk(slot).weights[slot.row()]);
        let new = old.checked_add(weight).ok_or(Error::Range)?;
        if new < 0 {
            return Err(missing(&state.spec));
        }
        change.closes.extend(stored.map(|slot| (slot, row)));
        if new > 0 {
            change.appends.push(row);
            change.weights.push(new);
        }
    }
    Ok(change)
}

fn missing(spec: &Spec) -> Error {
    Error::Invalid(format!("I4: retraction of a row that is not in relation {}", describe(spec)))
}

/// The appended rows as chunks, each with which of the appended it has.
fn chunks(epoch: Epoch, incoming: &Incoming, change: &Change, limits: &Limits) -> Result<Vec<(Chunk, Range<usize>)>> {
    let rows = &change.appends;
    let appended = match rows.len() == incoming.rows.num_rows() {
        true => incoming.rows.clone(),
        false => take(&incoming.rows, &UInt32Array::from(rows.clone()))?,
    };
    let chunk = |(start, len): (usize, usize)| {
        let range = &rows[start..start + len];
        let columns = own(appended.slice(start, len))?;
        let weights = change.weights[start..start + len].to_vec();
        let keys = incoming.keys.packed();
        let keys = if rows.len() == keys.len() { keys.slice(start, len) } else { keys.take(range)? };
        Ok((Chunk::new(columns, weights.into(), keys, vec![epoch; len]), start..start + len))
    };
    chunk::cut(&appended, limits).into_iter().map(chunk).collect()
}
