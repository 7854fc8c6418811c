//! Reading a run.

use super::format::{Block, Footer, decode, stored, types};
use super::place::Run;
use super::rows::{Entry, Rows};
use crate::arrangement::Kind;
use crate::delta::Delta;
use crate::epoch::Epoch;
use crate::error::{Error, Result};
use crate::key::VNODES;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use std::ops::Range;

/// All of a run.
#[cfg(test)]
pub(crate) fn read(run: &Run, schema: &SchemaRef, bytes: Bytes) -> Result<Vec<Entry>> {
    let reader = Reader::open(run, schema, bytes)?;
    let parts: Vec<Vec<Entry>> = reader
        .parts(Kind::Keyed, 1000, u64::MAX)
        .into_iter()
        .map(|part| reader.entries(part))
        .collect::<Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// A run whose footer has been checked; its blocks are checked as they are read.
pub struct Reader {
    name: String,
    schema: SchemaRef,
    stored: SchemaRef,
    bytes: Bytes,
    footer: Footer,
}

impl Reader {
    pub fn open(run: &Run, schema: &SchemaRef, bytes: Bytes) -> Result<Self> {
        let (name, footer) = (run.called(), footer(run, schema, &bytes)?);
        Ok(Self { name, schema: schema.clone(), stored: stored(schema), bytes, footer })
    }

    /// Rows of each vnode.
    pub fn vnodes(&self) -> [u64; VNODES as usize] {
        let mut rows = [0; VNODES as usize];
        for &(vnode, n) in self.footer.blocks.iter().flat_map(|b| &b.vnodes) {
            rows[vnode as usize] += u64::from(n);
        }
        rows
    }

    /// Stretches of blocks of about `most_rows` rows or `most_bytes` stored bytes that can be read by themselves, one after the other: no
    /// key of a keyed arrangement has rows in two of them. Of other kinds rows of a key come in the order of epochs, and may be cut
    /// anywhere.
    pub fn parts(&self, kind: Kind, most_rows: u64, most_bytes: u64) -> Vec<Range<usize>> {
        let blocks = &self.footer.blocks;
        let (mut parts, mut start, mut rows, mut bytes) = (vec![], 0, 0, 0);
        for (next, block) in blocks.iter().enumerate() {
            // Equal as far as they are kept, they may be one.
            let is_large = rows >= most_rows || bytes >= most_bytes;
            if is_large && (kind != Kind::Keyed || blocks[next - 1].keys.1 != block.keys.0) {
                parts.push(start..next);
                (start, rows, bytes) = (next, 0, 0);
            }
            rows += block.rows();
            bytes += u64::from(block.length);
        }
        parts.extend((start < blocks.len()).then_some(start..blocks.len()));
        parts
    }

    /// Of one of the [`Reader::parts`], in the run's order, each block taken apart by epoch, so that a keyed arrangement can take them one
    /// after the other.
    pub fn entries(&self, part: Range<usize>) -> Result<Vec<Entry>> {
        let mut entries = vec![];
        for rows in retractions_first(self.rows_in(part, &|_| true)?) {
            by_epoch(rows, &mut entries)?;
        }
        Ok(entries)
    }

    /// The rows of the vnodes `keep` says, in the run's order.
    pub(crate) fn rows(&self, keep: &dyn Fn(u16) -> bool) -> Result<Vec<Rows>> {
        self.rows_in(0..self.footer.blocks.len(), keep)
    }

    fn rows_in(&self, blocks: Range<usize>, keep: &dyn Fn(u16) -> bool) -> Result<Vec<Rows>> {
        let mut kept = vec![];
        for block in &self.footer.blocks[blocks] {
            let ranges = ranges(block, keep);
            if ranges.is_empty() {
                continue;
            }
            let rows = decode(block, &self.bytes, &self.schema, &self.stored)
                .map_err(|why| Error::Corrupt(format!("{} is damaged: {why}", self.name)))?;
            kept.extend(ranges.into_iter().map(|(start, length)| rows.slice(start, length)));
        }
        Ok(kept)
    }
}

/// The footer of a run with these bytes, unless it is not what it should be.
pub(super) fn footer(run: &Run, schema: &Schema, bytes: &[u8]) -> Result<Footer> {
    let name = run.called();
    let damaged = |why: &str| Error::Corrupt(format!("{name} is damaged: {why}"));
    if bytes.len() as u64 != run.length {
        return Err(damaged(&format!("it has {} bytes and should have {}", bytes.len(), run.length)));
    }
    let footer = Footer::decode(bytes).map_err(|why| damaged(&why))?;
    let (found, expected) = (&footer.types, types(schema));
    if *found != expected {
        return Err(Error::Corrupt(format!("{name} holds columns ({found}) where ({expected}) are expected")));
    }
    let rows: u64 = footer.blocks.iter().map(Block::rows).sum();
    if rows != run.rows {
        return Err(damaged(&format!("it has {rows} rows and should have {}", run.rows)));
    }
    // One whole run in the place of another is damage, too.
    let covered = run.after.as_u64() + 1..=run.to.as_u64();
    if footer.blocks.iter().any(|b| !covered.contains(&b.epochs.0) || !covered.contains(&b.epochs.1)) {
        return Err(damaged("it is of other epochs than it should be"));
    }
    if footer.blocks.iter().flat_map(|b| &b.vnodes).any(|&(vnode, _)| vnode >= VNODES) {
        return Err(damaged("a vnode is out of range"));
    }
    Ok(footer)
}

/// Start and length of the stretches of a block's rows that are to be kept.
fn ranges(block: &Block, keep: &dyn Fn(u16) -> bool) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = vec![];
    let mut start = 0;
    for &(vnode, rows) in &block.vnodes {
        let rows = rows as usize;
        if keep(vnode) {
            match ranges.last_mut() {
                Some(last) if last.0 + last.1 == start => last.1 += rows,
                _ => ranges.push((start, rows)),
            }
        }
        start += rows;
    }
    ranges
}

/// Where a block ends with a row that comes and the next begins with one that goes in the same epoch, the latter is moved before the
/// former: the two may be of one key. Runs of earlier versions hold the rows of a key in the order of their hashes. No other rows need
/// it: a key has at most those two in an epoch.
pub(super) fn retractions_first(blocks: Vec<Rows>) -> Vec<Rows> {
    let mut ordered: Vec<Rows> = Vec::with_capacity(blocks.len());
    for mut rows in blocks {
        let last =
            |before: &Rows| (before.epochs.last().copied(), before.weights.last().is_some_and(|&weight| weight > 0));
        let first = (rows.epochs.first().copied(), rows.weights.first().is_some_and(|&weight| weight < 0));
        if let Some(before) = ordered.pop_if(|before| last(before) == (first.0, true) && first.1) {
            let end = before.len() - 1;
            ordered.extend((end > 0).then(|| before.slice(0, end)));
            ordered.extend([rows.slice(0, 1), before.slice(end, 1)]);
            rows = rows.slice(1, rows.len() - 1);
        }
        ordered.extend((rows.len() > 0).then_some(rows));
    }
    ordered
}

fn by_epoch(rows: Rows, entries: &mut Vec<Entry>) -> Result<()> {
    let Some(&first) = rows.epochs.first() else { return Ok(()) };
    let delta = Delta::new(rows.batch, rows.weights);
    if rows.epochs.iter().all(|&epoch| epoch == first) {
        entries.push(Entry { epoch: Epoch::from_u64(first), delta });
        return Ok(());
    }
    let mut order: Vec<u32> = (0..rows.epochs.len() as u32).collect();
    order.sort_by_key(|&row| rows.epochs[row as usize]);
    for same in order.chunk_by(|&a, &b| rows.epochs[a as usize] == rows.epochs[b as usize]) {
        let epoch = Epoch::from_u64(rows.epochs[same[0] as usize]);
        entries.push(Entry { epoch, delta: delta.take(same)? });
    }
    Ok(())
}
