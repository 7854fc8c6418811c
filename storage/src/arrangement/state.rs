//! What an arrangement's lock protects: the list of chunks, the indexes, and the log of closed rows.
//!
//! Chunks stand in places (a slab) so that a [`Slot`] finds its row in two steps; `order` lists the places in the order of the
//! rows' `from`, which makes the chunks the log of what came. `closed` is the log of what went.

use super::chunk::Chunk;
use super::closed::Closed;
use super::index::{Hashed, Index};
use super::slot::{Link, Slot};
use super::sorted::Sorted;
use super::spec::{Kind, Spec};
use crate::delta::widest_row;
use crate::epoch::Epoch;
use crate::key::{self, Keys};
use crate::limits::Limits;
use hashbrown::hash_table::Entry;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

pub(super) struct State {
    pub spec: Spec,
    pub limits: Limits,
    /// Readable up to here, inclusive.
    pub upper: Epoch,
    /// Readable from here.
    pub since: Epoch,
    /// The epoch of the last `apply`.
    pub applied: Epoch,
    /// Nothing has been applied since there was nothing to give back, now or when later epochs are released.
    pub is_tidy: bool,
    /// Sum of the live weights now, and at `upper`.
    pub applied_rows: i128,
    pub rows: i128,
    /// No weight was ever larger.
    pub heaviest: i64,
    /// No row ever had more bytes, unless all of those that came with it had few.
    pub widest: usize,
    places: Vec<Option<Piece>>,
    free: Vec<usize>,
    /// Places in the order of their rows' `from`.
    pub order: Vec<usize>,
    pub closed: Closed,
    /// Places of chunks that are to be rewritten, since most of their rows are dead; may name chunks already gone.
    pub sparse: VecDeque<usize>,
    heads: Index<Head>,
    /// The live row of each row hash (Bag, Ordered).
    live: Index<Live>,
    /// Key bytes of every head (Ordered).
    pub sorted: Sorted,
    births: u64,
}

/// A chunk and what the index and the logs know about its rows.
pub(super) struct Piece {
    pub chunk: Arc<Chunk>,
    /// Ascends along `order`.
    born: u64,
    /// Empty while every row is alone.
    links: Vec<Link>,
    /// Closed rows and the numbers of their entries in the log of closed rows; may name entries already gone.
    pub closed: Vec<(u32, u64)>,
    /// Rows that no readable epoch sees: closed, unlinked and out of the log.
    pub dead: usize,
}

/// Where the rows of a key begin: its newest row.
#[derive(Debug)]
struct Head {
    hash: u64,
    slot: Slot,
}

#[derive(Debug)]
struct Live {
    hash: u128,
    slot: Slot,
}

impl Hashed for Head {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl Hashed for Live {
    fn hash(&self) -> u64 {
        self.hash as u64
    }
}

impl State {
    pub fn new(spec: Spec, limits: Limits) -> Self {
        Self {
            spec,
            limits,
            upper: Epoch::ZERO,
            since: Epoch::ZERO,
            applied: Epoch::ZERO,
            is_tidy: true,
            applied_rows: 0,
            rows: 0,
            heaviest: 0,
            widest: 0,
            places: vec![],
            free: vec![],
            order: vec![],
            closed: Closed::new(limits.closed_entries),
            sparse: VecDeque::new(),
            heads: Index::new(limits.index_entries),
            live: Index::new(limits.index_entries),
            sorted: Sorted::default(),
            births: 0,
        }
    }

    pub fn piece(&self, place: usize) -> &Piece {
        self.places[place].as_ref().expect("a slot names a chunk that is there")
    }

    pub fn piece_mut(&mut self, place: usize) -> &mut Piece {
        self.places[place].as_mut().expect("a slot names a chunk that is there")
    }

    pub fn has(&self, place: usize) -> bool {
        self.places[place].is_some()
    }

    #[inline]
    pub fn chunk(&self, slot: Slot) -> &Arc<Chunk> {
        &self.piece(slot.place()).chunk
    }

    pub fn is_live(&self, slot: Slot) -> bool {
        self.chunk(slot).is_live(slot.row())
    }

    pub fn is_indexed(&self) -> bool {
        self.spec.kind != Kind::Log
    }

    pub fn is_bag(&self) -> bool {
        matches!(self.spec.kind, Kind::Bag | Kind::Ordered)
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        let pieces = self.order.iter().map(|&place| {
            let piece = self.piece(place);
            piece.chunk.bytes() + piece.links.capacity() * size_of::<Link>() + piece.closed.capacity() * 16
        });
        pieces.sum::<usize>() + self.heads.bytes() + self.live.bytes() + self.sorted.bytes() + self.closed.bytes()
    }

    /// Of the chunks alone.
    pub fn values(&self) -> usize {
        self.order.iter().map(|&place| self.piece(place).chunk.bytes()).sum()
    }

    /// Puts a chunk of new rows at the end. If there is an index, each is to be linked, and made live if there is one of those. Returns
    /// its place.
    pub fn push(&mut self, chunk: Chunk) -> usize {
        self.applied_rows += chunk.weights.iter().map(|&weight| i128::from(weight)).sum::<i128>();
        self.widest = self.widest.max(widest_row(&chunk.rows));
        self.heaviest = chunk.weights.iter().fold(self.heaviest, |heaviest, &weight| heaviest.max(weight));
        self.births += 1;
        let piece = Piece { chunk: Arc::new(chunk), born: self.births, links: vec![], closed: vec![], dead: 0 };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(piece);
        self.order.push(place);
        place
    }

    /// A new row is the live one with this hash (Bag, Ordered).
    pub fn enliven(&mut self, slot: Slot, hash: u128) {
        self.live.of_mut(hash as u64).insert_unique(hash as u64, Live { hash, slot }, Live::hash);
    }

    /// Takes a live row away at `epoch`. `row_hash`: of a bag's row.
    pub fn close(&mut self, slot: Slot, epoch: Epoch, row_hash: Option<u128>) {
        if let Some(hash) = row_hash {
            let entry = self.live.of_mut(hash as u64).find_entry(hash as u64, |live| live.slot == slot);
            entry.expect("a live row is in the index of live rows").remove();
        }
        let number = self.closed.push(epoch, slot);
        let piece = self.piece_mut(slot.place());
        piece.chunk.close(slot.row(), epoch);
        piece.closed.push((slot.row() as u32, number));
        self.applied_rows -= i128::from(self.chunk(slot).weights[slot.row()]);
    }

    /// The newest row of a key.
    pub fn head(&self, hash: u64, key: &[u8]) -> Slot {
        let same = |head: &Head| head.hash == hash && self.key(head.slot) == key;
        self.heads.of(hash).find(hash, same).map_or(Slot::NONE, |head| head.slot)
    }

    /// The newest rows of keys `range` of `keys`. In two passes, so that the memory latencies of many keys overlap.
    pub fn heads(&self, keys: &Keys, range: Range<usize>, found: &mut Vec<Slot>) {
        found.clear();
        found.extend(range.clone().map(|row| {
            let hash = keys.hash(row);
            self.heads.of(hash).find(hash, |head| head.hash == hash).map_or(Slot::NONE, |head| head.slot)
        }));
        for (row, slot) in range.zip(found) {
            if !slot.is_none() && self.key(*slot) != keys.get(row) {
                *slot = self.head(keys.hash(row), keys.get(row));
            }
        }
    }

    /// The live row with this hash (Bag, Ordered).
    pub fn live(&self, hash: u128) -> Option<Slot> {
        self.live.of(hash as u64).find(hash as u64, |live| live.hash == hash).map(|live| live.slot)
    }

    /// False: no row of a key with this hash is there; of a bag no live row with it.
    pub fn may_hold(&self, hash: u64) -> bool {
        match self.is_bag() {
            true => self.live.of(hash).find(hash, |live| live.hash as u64 == hash).is_some(),
            false => self.heads.of(hash).find(hash, |head| head.hash == hash).is_some(),
        }
    }

    pub fn next(&self, slot: Slot) -> Slot {
        let links = &self.piece(slot.place()).links;
        if links.is_empty() { Slot::NONE } else { links[slot.row()].next }
    }

    #[inline]
    fn key(&self, slot: Slot) -> &[u8] {
        self.chunk(slot).keys.get(slot.row())
    }

    /// Makes `slot` the newest row of its key.
    pub fn link(&mut self, slot: Slot, hash: u64) {
        let key_of = |slot: Slot| {
            let piece: &Option<Piece> = &self.places[slot.place()];
            piece.as_ref().expect("a slot names a chunk that is there").chunk.keys.get(slot.row())
        };
        let key = key_of(slot);
        let same = |head: &Head| head.hash == hash && key_of(head.slot) == key;
        match self.heads.of_mut(hash).entry(hash, same, Head::hash) {
            Entry::Vacant(entry) => {
                entry.insert(Head { hash, slot });
                if self.spec.kind == Kind::Ordered {
                    self.sorted.insert(key);
                }
            }
            Entry::Occupied(mut entry) => {
                let next = std::mem::replace(&mut entry.get_mut().slot, slot);
                self.link_mut(next).prev = slot;
                self.link_mut(slot).next = next;
            }
        }
    }

    /// Takes `slot` out of the rows of its key.
    pub fn unlink(&mut self, slot: Slot) {
        let Link { prev, next } = self.link_of(slot);
        if !next.is_none() {
            self.link_mut(next).prev = prev;
        }
        if !prev.is_none() {
            self.link_mut(prev).next = next;
            return;
        }
        let hash = key::hash(self.key(slot));
        let found = self.heads.of_mut(hash).find_entry(hash, |head| head.slot == slot);
        let mut entry = found.expect("a row without a newer one is the head of its key");
        if !next.is_none() {
            entry.get_mut().slot = next;
            return;
        }
        entry.remove();
        if self.spec.kind == Kind::Ordered {
            let chunk = self.chunk(slot).clone();
            let key = chunk.keys.get(slot.row());
            self.sorted.remove(key);
        }
    }

    fn link_of(&self, slot: Slot) -> Link {
        self.piece(slot.place()).links.get(slot.row()).copied().unwrap_or(Link::ALONE)
    }

    fn link_mut(&mut self, slot: Slot) -> &mut Link {
        let piece = self.piece_mut(slot.place());
        if piece.links.is_empty() {
            piece.links = vec![Link::ALONE; piece.chunk.len()];
        }
        &mut piece.links[slot.row()]
    }

    /// The position in `order` of the chunk at `place`.
    pub fn position(&self, place: usize) -> usize {
        let born = self.piece(place).born;
        self.order.binary_search_by_key(&born, |&p| self.piece(p).born).expect("every chunk is in the order")
    }

    /// Gives back some memory of indexes that have become far too large. Whether there is more of it.
    pub fn shrink(&mut self) -> bool {
        self.heads.shrink() || self.live.shrink()
    }

    /// Forgets a chunk of which no row is linked or in a log.
    pub fn remove(&mut self, place: usize) {
        let position = self.position(place);
        self.order.remove(position);
        self.places[place] = None;
        self.free.push(place);
    }

    /// Puts `chunk` where the chunks at `old` (neighbours, in order) were; it takes the first one's place. `maps[i][row]` is
    /// the new row of each row of `old[i]`, `u32::MAX` for dead ones. `row_hash` gives the hash of a bag's new row.
    pub fn replace(&mut self, old: &[usize], maps: &[Vec<u32>], chunk: Chunk, row_hash: &dyn Fn(usize) -> u128) {
        let place = old[0];
        let moved = |slot: Slot| match old.iter().position(|&o| !slot.is_none() && o == slot.place()) {
            Some(part) => Slot::new(place, maps[part][slot.row()] as usize),
            None => slot,
        };
        let mut links = vec![];
        if old.iter().any(|&o| !self.piece(o).links.is_empty()) {
            links.resize(chunk.len(), Link::ALONE);
        }
        for (&from, map) in old.iter().zip(maps) {
            for (row, _) in map.iter().enumerate().filter(|(_, new)| **new != u32::MAX) {
                let (slot, link) = (Slot::new(from, row), self.link_of(Slot::new(from, row)));
                let new = moved(slot);
                if !links.is_empty() {
                    links[new.row()] = Link { prev: moved(link.prev), next: moved(link.next) };
                }
                if new != slot {
                    self.follow(slot, new, link, |slot| !slot.is_none() && !old.contains(&slot.place()));
                    if self.is_bag() && chunk.is_live(new.row()) {
                        let hash = row_hash(new.row());
                        let found = self.live.of_mut(hash as u64).find_mut(hash as u64, |live| live.slot == slot);
                        found.expect("a live row is in the index of live rows").slot = new;
                    }
                }
            }
        }
        let closed = self.move_closed(old, &moved, maps);
        let born = self.piece(place).born;
        old[1..].iter().for_each(|&other| self.remove(other));
        self.places[place] = Some(Piece { chunk: Arc::new(chunk), born, links, closed, dead: 0 });
    }

    /// Corrects what points at a row that moves from `slot` to `new`: its key's head, its neighbours in other chunks.
    fn follow(&mut self, slot: Slot, new: Slot, link: Link, outside: impl Fn(Slot) -> bool) {
        if !self.is_indexed() {
            return;
        }
        if link.prev.is_none() {
            let hash = key::hash(self.key(slot));
            let found = self.heads.of_mut(hash).find_mut(hash, |head| head.slot == slot);
            found.expect("a row without a newer one is the head of its key").slot = new;
        } else if outside(link.prev) {
            self.link_mut(link.prev).next = new;
        }
        if outside(link.next) {
            self.link_mut(link.next).prev = new;
        }
    }

    /// Corrects the log of closed rows; returns what the new chunk keeps of it.
    fn move_closed(&mut self, old: &[usize], moved: &dyn Fn(Slot) -> Slot, maps: &[Vec<u32>]) -> Vec<(u32, u64)> {
        let mut kept = vec![];
        for (&from, map) in old.iter().zip(maps) {
            for (row, number) in std::mem::take(&mut self.piece_mut(from).closed) {
                if map[row as usize] != u32::MAX {
                    let new = moved(Slot::new(from, row as usize));
                    self.closed.correct(number, new);
                    kept.push((new.row() as u32, number));
                }
            }
        }
        kept
    }
}
