//! Writing runs.

use super::format::{Block, Encoder, Footer, header, key_prefix, types};
use super::place::Run;
use super::rows::Rows;
use super::sort::{Pick, Sorted};
use super::verify::read_back;
use crate::arrangement::Spec;
use crate::delta::Delta;
use crate::epoch::Epoch;
use crate::error::Result;
use crate::limits::Limits;
use bytes::Bytes;

/// Builds one object of many runs.
pub struct Writer {
    object: String,
    limits: Limits,
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new(object: String, limits: Limits) -> Self {
        Self { object, limits, bytes: vec![] }
    }

    /// Appends a run of `deltas` (unsorted, unconsolidated) covering `(after, to]`. `None` if they add up to nothing.
    pub fn add(&mut self, spec: &Spec, after: Epoch, to: Epoch, deltas: &[Delta]) -> Result<Option<Run>> {
        let rows = deltas.iter().map(|delta| Rows {
            batch: delta.rows().clone(),
            weights: delta.weights().clone(),
            epochs: vec![to.as_u64(); delta.len()].into(),
        });
        self.build(spec, after, to, std::iter::once(Ok(rows.collect())))
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The object's path and bytes.
    pub fn finish(self) -> (String, Bytes) {
        (self.object, self.bytes.into())
    }

    /// Appends a run of `pieces`: each may be unsorted, but has higher vnodes than the one before. What was written is read back.
    pub(crate) fn build(
        &mut self,
        spec: &Spec,
        after: Epoch,
        to: Epoch,
        pieces: impl Iterator<Item = Result<Vec<Rows>>>,
    ) -> Result<Option<Run>> {
        let start = self.bytes.len();
        // What a start could not read must not come into a manifest.
        let run = self.try_build(spec, after, to, pieces).and_then(|run| {
            run.iter().try_for_each(|run| read_back(run, spec, &self.bytes[start..]))?;
            Ok(run)
        });
        if !matches!(run, Ok(Some(_))) {
            self.bytes.truncate(start);
        }
        run
    }

    fn try_build(
        &mut self,
        spec: &Spec,
        after: Epoch,
        to: Epoch,
        pieces: impl Iterator<Item = Result<Vec<Rows>>>,
    ) -> Result<Option<Run>> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&header());
        let mut footer = Footer { types: types(&spec.schema), blocks: vec![] };
        let mut encoder = Encoder::new(&spec.schema);
        for piece in pieces {
            let sorted = Sorted::of(spec, piece?, &self.limits)?;
            for picks in cut(&sorted, &self.limits) {
                let bytes = picks.iter().map(|p| sorted.size(p)).sum();
                let offset = (self.bytes.len() - start) as u64;
                let (message, length, checksum) = encoder.encode(sorted.rows(picks)?, bytes, &mut self.bytes)?;
                footer.blocks.push(Block { offset, length, message, checksum, ..describe(&sorted, picks) });
            }
        }
        let vnodes = || footer.blocks.iter().flat_map(|b| &b.vnodes).map(|&(vnode, _)| vnode);
        let (Some(lowest), Some(highest)) = (vnodes().min(), vnodes().max()) else { return Ok(None) };
        self.bytes.extend_from_slice(&footer.encode());
        Ok(Some(Run {
            object: self.object.clone(),
            offset: start as u64,
            length: (self.bytes.len() - start) as u64,
            after,
            to,
            rows: footer.blocks.iter().map(Block::rows).sum(),
            vnodes: (lowest, highest),
        }))
    }
}

/// The picks of each block.
pub(super) fn cut<'a>(sorted: &'a Sorted, limits: &Limits) -> impl Iterator<Item = &'a [Pick]> {
    let (rows, limit) = (limits.block_rows, limits.block_bytes);
    let mut rest = &sorted.picks[..];
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |pick: &&Pick| {
            bytes += sorted.size(pick);
            bytes <= limit
        };
        let n = rest.iter().take(rows).take_while(fits).count();
        // One row is a block whatever its size.
        let (block, after) = rest.split_at(n.max(1).min(rest.len()));
        rest = after;
        (!block.is_empty()).then_some(block)
    })
}

/// What the index says of a block of `picks`, but for where it is.
fn describe(sorted: &Sorted, picks: &[Pick]) -> Block {
    let epochs = || picks.iter().map(|p| p.epoch);
    let key = |pick: Option<&Pick>| pick.map(|p| key_prefix(sorted.key(p))).unwrap_or_default();
    let vnodes = picks.chunk_by(|a, b| a.vnode == b.vnode).map(|same| (same[0].vnode, same.len() as u32));
    Block {
        epochs: (epochs().min().unwrap_or(0), epochs().max().unwrap_or(0)),
        vnodes: vnodes.collect(),
        keys: (key(picks.first()), key(picks.last())),
        ..Block::default()
    }
}
