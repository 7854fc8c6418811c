//! Whether a run is whole. Of one in the store, as far as can be told without its schema ([`verify`]): every byte is under a checksum. Of
//! one that was just written, all that a start relies on ([`read_back`]).

use super::format::{Block, Footer, checked, key_prefix, matches, stored, unpack};
use super::place::Run;
use super::read::footer;
use super::rows::Rows;
use crate::arrangement::Spec;
use crate::error::{Error, Result};
use crate::key::Keys;
use bytes::Bytes;

/// `object`: all bytes of the object that holds `run`.
pub fn verify(run: &Run, object: &Bytes) -> Result<()> {
    let damaged = |why: &str| Error::Corrupt(format!("{} is damaged: {why}", run.called()));
    let end = run.offset.checked_add(run.length).filter(|&end| end <= object.len() as u64);
    let bytes = object.slice(run.offset as usize..end.ok_or_else(|| damaged("it is cut short"))? as usize);
    let footer = Footer::decode(&bytes).map_err(|why| damaged(&why))?;
    for block in &footer.blocks {
        checked(block, &bytes).map_err(|why| damaged(&why))?;
    }
    let rows: u64 = footer.blocks.iter().map(Block::rows).sum();
    if rows != run.rows {
        return Err(damaged(&format!("it has {rows} rows and should have {}", run.rows)));
    }
    Ok(())
}

/// Takes the `bytes` of a run apart as a start does: checksums, columns, and that rows stand where the index says and in their order. What
/// it costs is unpacking, which is several times faster than packing, and one more encoding of the keys; in memory is one block at a time.
/// Less would not do: what is only known to be the bytes that were written may still be columns that nobody can read.
pub(super) fn read_back(run: &Run, spec: &Spec, bytes: &[u8]) -> Result<()> {
    let footer = footer(run, &spec.schema, bytes)?;
    let (stored, mut order) = (stored(&spec.schema), Order::default());
    let damaged = |why: String| Error::Corrupt(format!("{} cannot be read back: {why}", run.called()));
    for block in &footer.blocks {
        // The blocks lie one after the other within the run: the footer was checked for it.
        let own = &bytes[block.offset as usize..][..block.length as usize];
        matches(block, own).map_err(damaged)?;
        let rows = unpack(block, &Bytes::copy_from_slice(own), &spec.schema, &stored).map_err(damaged)?;
        let keys = Keys::of(&rows.batch, &spec.key)?;
        order.check(block, &rows, &keys).map_err(damaged)?;
    }
    Ok(())
}

/// Where the last row stands that was looked at.
#[derive(Default)]
struct Order {
    vnode: u16,
    key: Vec<u8>,
    epoch: u64,
    /// Of one key and epoch, what goes is before what comes.
    comes: bool,
}

impl Order {
    fn check(&mut self, block: &Block, rows: &Rows, keys: &Keys) -> Result<(), String> {
        let vnodes = block.vnodes.iter().flat_map(|&(vnode, rows)| std::iter::repeat_n(vnode, rows as usize));
        for (row, vnode) in vnodes.enumerate() {
            let (key, epoch, weight) = (keys.get(row), rows.epochs[row], rows.weights[row]);
            if keys.vnode(row) != vnode {
                return Err("a row is of another vnode than the index says".into());
            }
            if weight == 0 || !(block.epochs.0..=block.epochs.1).contains(&epoch) {
                return Err("a row is of another epoch than the index says, or of no weight".into());
            }
            let comes = weight > 0;
            if (vnode, key, epoch, comes) < (self.vnode, &self.key[..], self.epoch, self.comes) {
                return Err("rows are not in order".into());
            }
            if self.key != key {
                self.key.clear();
                self.key.extend_from_slice(key);
            }
            (self.vnode, self.epoch, self.comes) = (vnode, epoch, comes);
        }
        let Some(last) = keys.len().checked_sub(1) else { return Err("a block has no rows".into()) };
        match (key_prefix(keys.get(0)), key_prefix(keys.get(last))) == block.keys {
            true => Ok(()),
            false => Err("a block begins or ends with another key than the index says".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::Writer;
    use super::*;
    use crate::arrangement::Kind;
    use crate::delta::Delta;
    use crate::epoch::Epoch;
    use crate::limits::Limits;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn spec() -> Spec {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
        Spec { kind: Kind::Keyed, schema: Arc::new(Schema::new(fields)), key: vec![0] }
    }

    /// A run of some blocks, with one more before it.
    fn written() -> (Run, Vec<u8>) {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|id| format!("name {id}"))));
        let rows = Delta::uniform(RecordBatch::try_new(spec().schema, vec![ids, names]).unwrap(), 1);
        let mut writer = Writer::new("data/1-x.runs".into(), Limits { block_rows: 7, ..Limits::default() });
        let epoch = Epoch::from_u64;
        writer.add(&spec(), epoch(0), epoch(3), std::slice::from_ref(&rows)).unwrap().unwrap();
        let run = writer.add(&spec(), epoch(3), epoch(7), &[rows]).unwrap().unwrap();
        let bytes = writer.finish().1[run.offset as usize..].to_vec();
        (run, bytes)
    }

    #[test]
    fn bytes_that_are_damaged_before_they_count_are_refused() {
        let (run, bytes) = written();
        read_back(&run, &spec(), &bytes).expect("it is as it was written");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let error = read_back(&run, &spec(), &damaged).err().unwrap_or_else(|| panic!("byte {at} does not matter"));
            assert!(matches!(&error, Error::Corrupt(why) if why.contains("data/1-x.runs at ")), "{error}");
            assert!(read_back(&run, &spec(), &bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_run_that_is_whole_but_not_what_it_says_is_refused() {
        let (run, bytes) = written();
        let refused =
            |run: &Run, spec: &Spec, bytes: &[u8]| read_back(run, spec, bytes).expect_err("refused").to_string();
        let by_name = Spec { key: vec![1], ..spec() };
        assert!(refused(&run, &by_name, &bytes).contains("vnode"));
        assert!(refused(&Run { rows: 41, ..run.clone() }, &spec(), &bytes).contains("41"));
        let later = Run { after: Epoch::from_u64(7), to: Epoch::from_u64(9), ..run.clone() };
        assert!(refused(&later, &spec(), &bytes).contains("epochs"));
        // The index is changed, under a checksum of its own.
        let changed = |change: fn(&mut Vec<Block>)| {
            let mut footer = Footer::decode(&bytes).unwrap();
            let last = footer.blocks.last().unwrap();
            let end = last.offset as usize + last.length as usize;
            change(&mut footer.blocks);
            let bytes = [&bytes[..end], &footer.encode()].concat();
            refused(&Run { length: bytes.len() as u64, ..run.clone() }, &spec(), &bytes)
        };
        assert!(changed(|blocks| blocks[1].keys.0.push(0)).contains("another key"));
        assert!(changed(|blocks| blocks[1].epochs = (5, 6)).contains("another epoch"));
        assert!(changed(|blocks| blocks[0].vnodes[0].0 += 1).contains("vnode"));
    }

    #[test]
    fn rows_that_are_not_in_order_are_refused() {
        let keys = |ids: &[i64]| {
            let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
            let rows = RecordBatch::try_new(Arc::new(spec().schema.project(&[0]).unwrap()), vec![ids]).unwrap();
            (Keys::of(&rows, &[0]).unwrap(), rows)
        };
        // Two of one vnode, in their order.
        let vnode = |id: i64| keys(&[id]).0.vnode(0);
        let other = (2..).find(|&id| vnode(id) == vnode(1)).expect("there are 256");
        let check = |rows: &[(i64, u64, i64)]| {
            let (keys, batch) = keys(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
            let block = Block {
                epochs: (1, 9),
                vnodes: vec![(keys.vnode(0), rows.len() as u32)],
                keys: (keys.get(0).to_vec(), keys.get(rows.len() - 1).to_vec()),
                ..Block::default()
            };
            let (epochs, weights) = (rows.iter().map(|row| row.1), rows.iter().map(|row| row.2));
            let rows = Rows { batch, epochs: epochs.collect(), weights: weights.collect() };
            Order::default().check(&block, &rows, &keys)
        };
        assert_eq!(check(&[(1, 2, -1), (1, 2, 1), (1, 3, -1), (other, 1, 1)]), Ok(()));
        for wrong in [[(other, 2, 1), (1, 2, 1)], [(1, 3, 1), (1, 2, 1)], [(1, 2, 1), (1, 2, -1)]] {
            assert_eq!(check(&wrong), Err("rows are not in order".into()), "{wrong:?}");
        }
        assert!(check(&[(1, 2, 0)]).is_err_and(|why| why.contains("weight")));
    }
}
