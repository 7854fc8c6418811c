//! Which worker a row lives on. Depends on the row alone, so that another number of workers finds everything again.

use super::packet::Packet;
use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;
use weir_storage::Result;
use weir_storage::key::{self, Keys};

/// The column of `errors::SCHEMA` that holds the key hash.
pub const ERROR_KEY: usize = 4;

/// How rows are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Wherever they are.
    Stay,
    /// By the vnode of these columns' key; no columns: all on the owner of the empty key's vnode.
    Key(Vec<usize>),
    /// By the first eight bytes of the error's key hash.
    ErrorKey,
}

impl Placement {
    /// How a relation's rows are placed: by its key, or by all columns.
    pub fn of_relation(key: &[usize], columns: usize) -> Self {
        match key {
            [] => Placement::Key((0..columns).collect()),
            key => Placement::Key(key.to_vec()),
        }
    }

    /// For each worker the indices of its rows.
    pub fn split(&self, rows: &RecordBatch, workers: usize) -> Result<Vec<Vec<u32>>> {
        let mut split = vec![vec![]; workers];
        match self {
            Placement::Stay => unreachable!("rows that stay are not split"),
            Placement::Key(columns) => {
                let keys = Keys::of(rows, columns)?;
                for row in 0..rows.num_rows() {
                    split[key::owner(keys.vnode(row), workers)].push(row as u32);
                }
            }
            Placement::ErrorKey => {
                let hashes = rows.column(ERROR_KEY).as_any().downcast_ref::<FixedSizeBinaryArray>();
                let hashes = hashes.expect("an error's key is a 16-byte hash");
                for row in 0..hashes.len() {
                    let hash = u64::from_le_bytes(hashes.value(row)[..8].try_into().expect("eight of sixteen bytes"));
                    split[key::owner(key::vnode(hash), workers)].push(row as u32);
                }
            }
        }
        Ok(split)
    }
}

/// Sends packets to the workers that own their rows.
pub struct Router {
    pub worker: usize,
    /// Of `Rows`, and of `Upserts`.
    pub rows: Placement,
    pub errors: Placement,
    /// Of `Partial`: by the origin's key (first exchange) or by the row's own (second).
    pub partial: Partially,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partially {
    ByOrigin,
    Never,
}

impl Router {
    fn split(&self, packet: &Packet, workers: usize) -> Option<Result<Vec<Vec<u32>>>> {
        let leading = |rows: &RecordBatch, beside: usize| Placement::Key((0..rows.num_columns() - beside).collect());
        let (placement, rows) = match packet {
            Packet::Rows(delta) => (self.rows.clone(), delta.rows()),
            Packet::Errors(delta) => (self.errors.clone(), delta.rows()),
            Packet::Upserts(rows) => (self.rows.clone(), rows),
            Packet::Deletes(rows) => (leading(rows, 0), rows),
            Packet::Failed(rows) => (leading(rows, 3), rows),
            Packet::Partial(partial) => {
                assert_eq!(self.partial, Partially::ByOrigin, "partial rows are filled before the second exchange");
                (leading(&partial.origins, 0), &partial.origins)
            }
            Packet::Empty | Packet::Truncate | Packet::Spilled(..) => return None,
        };
        if placement == Placement::Stay {
            return None;
        }
        Some(placement.split(rows, workers))
    }
}

impl Distributor<Packet> for Router {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(&mut self, packet: &mut Packet, time: &T, pushers: &mut [P]) {
        let mut packet = std::mem::take(packet);
        if packet.rows() == 0 {
            return;
        }
        let Some(split) = self.split(&packet, pushers.len()) else {
            return Message::push_at(&mut packet, time.clone(), &mut pushers[self.worker]);
        };
        let split = split.expect("rows of a relation can be encoded as keys: checked when it was planned");
        for (worker, indices) in split.into_iter().enumerate() {
            if indices.len() == packet.rows() {
                return Message::push_at(&mut packet, time.clone(), &mut pushers[worker]);
            }
            if !indices.is_empty() {
                let mut part = packet.take(indices).expect("indices are of this packet");
                Message::push_at(&mut part, time.clone(), &mut pushers[worker]);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _: &T, _: &mut [P]) {}
}
