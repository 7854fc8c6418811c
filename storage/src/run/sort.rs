//! Putting rows in the order of a run, and adding up those that are equal.

use super::rows::Rows;
use crate::arrangement::Spec;
use crate::delta::widths;
use crate::error::{Error, Result};
use crate::key::{Keys, VNODES, row_hashes};
use crate::limits::Limits;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, interleave_record_batch};

/// Rows to be picked from `batches`, sorted by (vnode, key bytes), no row twice in one epoch, no weight zero. Of one key and epoch
/// retractions come first: a run is read block by block, and a keyed arrangement takes the new row only when the old one is gone.
pub(super) struct Sorted {
    batches: Vec<RecordBatch>,
    keys: Vec<Keys>,
    sizes: Vec<Vec<u32>>,
    pub picks: Vec<Pick>,
}

/// Row `row` of batch `batch`.
#[derive(Clone, Copy, Default)]
pub(super) struct Pick {
    pub vnode: u16,
    /// The key's first 8 bytes, which settle most comparisons.
    prefix: u64,
    batch: u32,
    row: u32,
    pub weight: i64,
    pub epoch: u64,
}

impl Sorted {
    pub fn of(spec: &Spec, rows: Vec<Rows>, limits: &Limits) -> Result<Self> {
        let rows = join(spec, rows, limits)?;
        let keys = rows.iter().map(|r| Keys::of(&r.batch, &spec.key)).collect::<Result<Vec<_>>>()?;
        let sizes = rows.iter().map(|r| sizes(&r.batch)).collect();
        let picks = picks(&rows, &keys);
        let mut sorted = Self { batches: rows.into_iter().map(|r| r.batch).collect(), keys, sizes, picks };
        sorted.sort();
        sorted.add_up()?;
        Ok(sorted)
    }

    /// Lets go of all columns but these; the order stays.
    pub fn project(mut self, columns: &[usize]) -> Result<Self> {
        self.batches = self.batches.iter().map(|batch| batch.project(columns)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    pub fn key(&self, pick: &Pick) -> &[u8] {
        self.keys[pick.batch as usize].get(pick.row as usize)
    }

    /// About how many bytes the row takes.
    pub fn size(&self, pick: &Pick) -> usize {
        self.sizes[pick.batch as usize][pick.row as usize] as usize
    }

    pub fn rows(&self, picks: &[Pick]) -> Result<Rows> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let indices: Vec<_> = picks.iter().map(|p| (p.batch as usize, p.row as usize)).collect();
        let batch = match batches.first().filter(|batch| batch.num_columns() == 0) {
            Some(none) => {
                let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
                RecordBatch::try_new_with_options(none.schema(), vec![], &options)?
            }
            None => interleave_record_batch(&batches, &indices)?,
        };
        Ok(Rows {
            batch,
            weights: picks.iter().map(|p| p.weight).collect(),
            epochs: picks.iter().map(|p| p.epoch).collect(),
        })
    }

    /// Picks come in order of vnode, so each vnode's few are sorted, in the processor's cache.
    fn sort(&mut self) {
        let keys = &self.keys;
        let key = |p: &Pick| keys[p.batch as usize].get(p.row as usize);
        for same in self.picks.chunk_by_mut(|a, b| a.vnode == b.vnode) {
            // The place comes last, so that equal input gives equal bytes.
            same.sort_unstable_by(|a, b| {
                let keys = || key(a).cmp(key(b));
                let place = || (a.epoch, a.batch, a.row).cmp(&(b.epoch, b.batch, b.row));
                a.prefix.cmp(&b.prefix).then_with(keys).then_with(place)
            });
        }
    }

    /// Adds up equal rows of one epoch. Equal rows have equal keys, so only rows of one key are compared, by their hashes.
    fn add_up(&mut self) -> Result<()> {
        let mut hashes: Vec<Option<Vec<u128>>> = vec![None; self.batches.len()];
        let mut kept = Vec::with_capacity(self.picks.len());
        let same_key = |a: &Pick, b: &Pick| (a.vnode, a.prefix) == (b.vnode, b.prefix) && self.key(a) == self.key(b);
        for group in self.picks.chunk_by(same_key) {
            match group {
                [one] => kept.extend((one.weight != 0).then_some(*one)),
                many => add_up_key(many, &self.batches, &mut hashes, &mut kept)?,
            }
        }
        self.picks = kept;
        Ok(())
    }
}

/// Appends the net rows of one key, in order of (epoch, retractions first, row hash).
fn add_up_key(
    group: &[Pick],
    batches: &[RecordBatch],
    hashes: &mut [Option<Vec<u128>>],
    kept: &mut Vec<Pick>,
) -> Result<()> {
    let mut hashed = Vec::with_capacity(group.len());
    for pick in group {
        let batch = pick.batch as usize;
        let hashes = match &mut hashes[batch] {
            Some(hashes) => hashes,
            none => none.insert(row_hashes(&batches[batch])?),
        };
        hashed.push((pick.epoch, hashes[pick.row as usize], *pick));
    }
    hashed.sort_by_key(|&(epoch, hash, _)| (epoch, hash));
    let first = kept.len();
    for same in hashed.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        // Changes of several epochs come in any order: only all of them together are what a weight can say.
        let sum: i128 = same.iter().map(|(.., pick)| i128::from(pick.weight)).sum();
        let weight = i64::try_from(sum).map_err(|_| Error::Range)?;
        kept.extend((weight != 0).then_some(Pick { weight, ..same[0].2 }));
    }
    kept[first..].sort_by_key(|pick| (pick.epoch, pick.weight > 0));
    Ok(())
}

/// All rows, in order of vnode.
fn picks(rows: &[Rows], keys: &[Keys]) -> Vec<Pick> {
    let mut counts = [0; VNODES as usize];
    for keys in keys {
        (0..keys.len()).for_each(|row| counts[keys.vnode(row) as usize] += 1);
    }
    let mut next = counts.iter().scan(0, |sum, n| Some(std::mem::replace(sum, *sum + n))).collect::<Vec<usize>>();
    let mut picks = vec![Pick::default(); counts.iter().sum()];
    for (batch, (rows, keys)) in rows.iter().zip(keys).enumerate() {
        for row in 0..keys.len() {
            let (weight, epoch) = (rows.weights[row], rows.epochs[row]);
            let (vnode, prefix) = (keys.vnode(row), prefix(keys.get(row)));
            let place = &mut next[vnode as usize];
            picks[*place] = Pick { vnode, prefix, batch: batch as u32, row: row as u32, weight, epoch };
            *place += 1;
        }
    }
    picks
}

/// The first 8 bytes as a number of the same order; what is shorter is filled with zeros, so equal prefixes decide nothing.
fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let n = key.len().min(8);
    bytes[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(bytes)
}

/// The same rows in few batches.
fn join(spec: &Spec, rows: Vec<Rows>, limits: &Limits) -> Result<Vec<Rows>> {
    let mut joined = vec![];
    let (mut open, mut open_rows, mut open_bytes): (Vec<Rows>, usize, u64) = (vec![], 0, 0);
    for rows in rows.into_iter().filter(|r| r.batch.num_rows() > 0) {
        if rows.batch.num_rows() >= limits.joined_rows {
            joined.push(rows);
            continue;
        }
        let bytes: u64 = sizes(&rows.batch).iter().map(|&n| u64::from(n)).sum();
        if open_rows >= limits.joined_rows || (open_bytes + bytes > limits.joined_bytes && !open.is_empty()) {
            joined.push(concat(spec, std::mem::take(&mut open))?);
            (open_rows, open_bytes) = (0, 0);
        }
        open_rows += rows.batch.num_rows();
        open_bytes += bytes;
        open.push(rows);
    }
    if !open.is_empty() {
        joined.push(concat(spec, open)?);
    }
    Ok(joined)
}

fn concat(spec: &Spec, mut rows: Vec<Rows>) -> Result<Rows> {
    if rows.len() == 1 {
        return Ok(rows.remove(0));
    }
    Ok(Rows {
        batch: concat_batches(&spec.schema, rows.iter().map(|r| &r.batch))?,
        weights: rows.iter().flat_map(|r| r.weights.iter().copied()).collect::<Vec<_>>().into(),
        epochs: rows.iter().flat_map(|r| r.epochs.iter().copied()).collect::<Vec<_>>().into(),
    })
}

/// About how many bytes each row takes, its weight and epoch included.
fn sizes(batch: &RecordBatch) -> Vec<u32> {
    widths(batch).into_iter().map(|width| u32::try_from(width + 16).unwrap_or(u32::MAX)).collect()
}
