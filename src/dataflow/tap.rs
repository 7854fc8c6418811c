//! Taps: how a relation's change log reaches the dataflows of its children, on one worker.
//!
//! A child's queue gets the parent's packets (shared columns, no copies) and its `upper`, in epoch order (I5). What a queue holds
//! is the history kept for that child, and is counted. The small packets of a long queue are put together, since a batch of one row takes
//! kilobytes. A queue whose reader is gone is dropped at the next push. A relation without parents has one queue as well, its input.

use super::packet::Packet;
use super::relations::Readable;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use timely::scheduling::Activator;
use weir_sql::catalog::RelationId;
use weir_storage::{Delta, Epoch};

/// Packets that are put together: few enough to be quick, enough that what they take beside their rows is shared by many.
pub const GROUP: usize = 64;

/// Packets with more rows, or more bytes, are not worth it.
const SMALL: usize = 64;
const SMALL_BYTES: usize = 256 << 10;

/// Bytes of a packet beside its values, and of each of its columns: handles, and buffers with room for more.
const PACKET: usize = 512;
const COLUMN: usize = 512;

/// The reading end, owned by the child's source operator.
pub struct Queue {
    changes: RefCell<VecDeque<Kept>>,
    /// Packets that are put together: [`GROUP`], or fewer.
    group: usize,
    /// Packets at the end that could be.
    small: Cell<usize>,
    /// Everything up to here, inclusive, has been pushed.
    upper: Cell<Epoch>,
    activator: RefCell<Option<Activator>>,
    closed: Cell<bool>,
    /// What comes is not kept: it will be read from the store.
    detached: Cell<bool>,
    /// Whose history this is; `None`: what a relation without parents is fed with, which is nobody's.
    reader: Option<Arc<Readable>>,
}

/// A packet, or the packets of some epochs as one.
struct Kept {
    packet: Packet,
    /// The epochs that are left, and where the rows of each end.
    epochs: VecDeque<(Epoch, usize)>,
    /// Where their rows begin.
    from: usize,
    /// As it is counted.
    bytes: usize,
}

impl Kept {
    fn new(packet: Packet, epochs: VecDeque<(Epoch, usize)>) -> Self {
        let bytes = packet.bytes() + PACKET + packet.columns() * COLUMN;
        Self { packet, epochs, from: 0, bytes }
    }

    /// The packet of the first epoch.
    fn pop(&mut self) -> (Epoch, Packet) {
        let (epoch, end) = self.epochs.pop_front().expect("what is empty is not kept");
        let from = std::mem::replace(&mut self.from, end);
        let packet = match &self.packet {
            Packet::Rows(delta) if end - from < delta.len() => Packet::Rows(delta.slice(from, end - from)),
            _ => std::mem::take(&mut self.packet),
        };
        (epoch, packet)
    }
}

impl Queue {
    /// What feeds a relation without parents: no parent could say it again, so it is never given up.
    pub fn input(group: usize) -> Self {
        Self::new(None, group)
    }

    /// The change log of a parent, for `reader`.
    pub fn of(reader: Arc<Readable>, group: usize) -> Self {
        Self::new(Some(reader), group)
    }

    fn new(reader: Option<Arc<Readable>>, group: usize) -> Self {
        Self {
            changes: RefCell::default(),
            group,
            small: Cell::default(),
            upper: Cell::new(Epoch::ZERO),
            activator: RefCell::default(),
            closed: Cell::default(),
            detached: Cell::default(),
            reader,
        }
    }

    pub fn wake_with(&self, activator: Activator) {
        *self.activator.borrow_mut() = Some(activator);
    }

    pub fn push(&self, epoch: Epoch, packet: Packet) {
        if self.detached.get() || self.closed.get() {
            return;
        }
        self.refill(epoch, packet);
        self.wake();
    }

    /// Everything up to `epoch` has been pushed.
    pub fn advance(&self, epoch: Epoch) {
        if !self.detached.get() {
            self.reach(epoch);
        }
    }

    /// The same, for a reader that has nothing to do.
    pub fn pass(&self, epoch: Epoch) {
        self.upper.set(epoch);
    }

    pub fn upper(&self) -> Epoch {
        self.upper.get()
    }

    /// The next packet of an epoch up to `through`.
    pub fn pop(&self, through: Epoch) -> Option<(Epoch, Packet)> {
        let mut changes = self.changes.borrow_mut();
        let first = changes.front_mut().filter(|first| first.epochs[0].0 <= through)?;
        let popped = first.pop();
        if first.epochs.is_empty() {
            self.release(first);
            changes.pop_front();
        }
        Some(popped)
    }

    /// Lets go of everything after `cut`, and takes nothing more until [`Queue::attach`].
    pub fn detach(&self, cut: Epoch) {
        self.detached.set(true);
        self.upper.set(self.upper.get().min(cut));
        self.small.set(0);
        self.changes.borrow_mut().retain_mut(|kept| {
            while kept.epochs.pop_back_if(|(epoch, _)| *epoch > cut).is_some() {}
            if kept.epochs.is_empty() {
                self.release(kept);
            }
            !kept.epochs.is_empty()
        });
    }

    /// History that was read from the store.
    pub fn refill(&self, epoch: Epoch, packet: Packet) {
        let rows = packet.rows();
        let kept = Kept::new(packet, [(epoch, rows)].into());
        let is_small = matches!(kept.packet, Packet::Rows(_)) && rows <= SMALL && kept.bytes <= SMALL_BYTES;
        self.small.set(if is_small { self.small.get() + 1 } else { 0 });
        self.keep(kept);
        if self.small.get() == self.group {
            self.small.set(0);
            self.put_together();
        }
    }

    fn keep(&self, kept: Kept) {
        if let Some(reader) = &self.reader {
            reader.history.add(kept.bytes);
        }
        self.changes.borrow_mut().push_back(kept);
    }

    /// Makes one of the last packets of a queue whose reader does not keep up.
    fn put_together(&self) {
        let mut changes = self.changes.borrow_mut();
        let first = changes.len() - self.group.min(changes.len());
        if first < self.group {
            return;
        }
        let last: Vec<Kept> = changes.drain(first..).collect();
        drop(changes);
        let delta = |kept: &Kept| match &kept.packet {
            Packet::Rows(delta) => delta.clone(),
            _ => unreachable!("small packets are of rows"),
        };
        let deltas: Vec<Delta> = last.iter().map(delta).collect();
        let all = Delta::concat(&deltas[0].schema(), &deltas).expect("packets of one relation");
        let mut end = 0;
        let mut epochs = VecDeque::new();
        for (kept, delta) in last.iter().zip(&deltas) {
            self.release(kept);
            end += delta.len();
            epochs.push_back((kept.epochs[0].0, end));
        }
        self.keep(Kept::new(Packet::Rows(all), epochs));
    }

    fn release(&self, kept: &Kept) {
        if let Some(reader) = &self.reader {
            reader.history.take(kept.bytes);
        }
    }

    /// All history up to `epoch` has been read from the store.
    pub fn reach(&self, epoch: Epoch) {
        self.upper.set(epoch);
        self.wake();
    }

    /// Takes what comes again.
    pub fn attach(&self) {
        self.detached.set(false);
    }

    /// The reader is to end: it releases everything, and its dataflow ends by itself.
    pub fn close(&self) {
        self.closed.set(true);
        self.clear();
        self.wake();
    }

    /// Lets go of everything that waits.
    pub fn clear(&self) {
        while self.pop(Epoch::NEVER).is_some() {}
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub fn wake(&self) {
        if let Some(activator) = self.activator.borrow().as_ref() {
            activator.activate();
        }
    }
}

/// The writing end, owned by the relation.
pub struct Tap {
    queues: RefCell<Vec<Weak<Queue>>>,
    group: usize,
}

impl Tap {
    /// `group`: packets that its queues put together.
    pub fn new(group: usize) -> Self {
        Self { queues: RefCell::default(), group }
    }

    pub fn group(&self) -> usize {
        self.group
    }

    pub fn subscribe(&self, reader: Arc<Readable>) -> Rc<Queue> {
        let queue = Rc::new(Queue::of(reader, self.group));
        self.queues.borrow_mut().push(Rc::downgrade(&queue));
        queue
    }

    pub fn changes(&self, epoch: Epoch, packet: &Packet) {
        self.each(|queue| queue.push(epoch, packet.clone()));
    }

    pub fn upper(&self, epoch: Epoch) {
        self.each(|queue| queue.advance(epoch));
    }

    /// The same for a relation of which nothing was said in `epoch`: those that are `quiet` themselves are not woken.
    pub fn pass(&self, epoch: Epoch, quiet: &BTreeSet<RelationId>) {
        self.each(|queue| match queue.reader.as_ref().is_some_and(|reader| quiet.contains(&reader.id)) {
            true => queue.pass(epoch),
            false => queue.advance(epoch),
        });
    }

    fn each(&self, f: impl Fn(&Queue)) {
        self.queues.borrow_mut().retain(|queue| match queue.upgrade() {
            Some(queue) if !queue.is_closed() => {
                f(&queue);
                true
            }
            _ => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;

    fn epoch(n: usize) -> Epoch {
        Epoch::from_u64(n as u64)
    }

    /// So many rows that say `n`.
    fn packet(n: usize, rows: usize) -> Packet {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(vec![n as i64; rows]));
        Packet::Rows(Delta::uniform(RecordBatch::try_from_iter([("n", column)]).unwrap(), 1))
    }

    /// Packets of each epoch, and what each of their rows says.
    fn drain(queue: &Queue, through: usize) -> Vec<(Epoch, Vec<i64>)> {
        let rows = |packet| match packet {
            Packet::Rows(delta) => delta.rows().column(0).as_primitive::<Int64Type>().values().to_vec(),
            _ => vec![],
        };
        std::iter::from_fn(|| queue.pop(epoch(through))).map(|(epoch, packet)| (epoch, rows(packet))).collect()
    }

    #[test]
    fn packets_that_were_put_together_come_out_as_they_went_in() {
        [1, 2, 3, GROUP].into_iter().for_each(put_together);
    }

    fn put_together(group: usize) {
        let rows_of = |n: usize| if n.is_multiple_of(500) { 1000 } else { 1 + n % 3 };
        let queue = Queue::input(group);
        for n in 1..=2_000 {
            queue.push(epoch(n), packet(n, rows_of(n)));
            // Two of one epoch, and none of rows.
            if n.is_multiple_of(7) {
                queue.push(epoch(n), packet(n, 1));
            }
            if n.is_multiple_of(400) {
                queue.push(epoch(n), Packet::Truncate);
            }
        }
        let kept = queue.changes.borrow().len();
        assert!(kept < 500 || group < GROUP, "{kept} packets are kept");
        let expected = |range: std::ops::RangeInclusive<usize>| {
            let each = |n: usize| {
                let rows = std::iter::once(vec![n as i64; rows_of(n)]);
                let more = (n.is_multiple_of(7)).then(|| vec![n as i64]).into_iter();
                let none = (n.is_multiple_of(400)).then(Vec::new);
                rows.chain(more).chain(none).map(move |rows| (epoch(n), rows))
            };
            range.flat_map(each).collect::<Vec<_>>()
        };
        assert_eq!(drain(&queue, 77), expected(1..=77));
        queue.detach(epoch(1_234));
        assert_eq!(drain(&queue, 900), expected(78..=900));
        queue.refill(epoch(1_235), packet(1_235, 1));
        let last = [(epoch(1_235), vec![1_235])];
        assert_eq!(drain(&queue, 9_999), expected(901..=1_234).into_iter().chain(last).collect::<Vec<_>>());
        assert!(queue.changes.borrow().is_empty());
    }
}
