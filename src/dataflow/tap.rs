//! Taps: how a relation's change log reaches the dataflows of its children, on one worker.
//!
//! A child's queue gets the parent's packets (shared columns, no copies) and its `upper`, in epoch order (I5). What a queue holds
//! is the history kept for that child, and is counted. A queue whose reader is gone is dropped at the next push. A relation without
//! parents has one queue as well, its input.

use super::packet::Packet;
use super::relations::Readable;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use timely::scheduling::Activator;
use weir_storage::Epoch;

/// The reading end, owned by the child's source operator.
pub struct Queue {
    changes: RefCell<VecDeque<(Epoch, Packet)>>,
    /// Everything up to here, inclusive, has been pushed.
    upper: Cell<Epoch>,
    activator: RefCell<Option<Activator>>,
    closed: Cell<bool>,
    /// What comes is not kept: it will be read from the store.
    detached: Cell<bool>,
    /// Whose history this is; `None`: what a relation without parents is fed with, which is nobody's.
    reader: Option<Arc<Readable>>,
}

impl Queue {
    /// What feeds a relation without parents: no parent could say it again, so it is never given up.
    pub fn input() -> Self {
        Self::new(None)
    }

    /// The change log of a parent, for `reader`.
    pub fn of(reader: Arc<Readable>) -> Self {
        Self::new(Some(reader))
    }

    fn new(reader: Option<Arc<Readable>>) -> Self {
        Self {
            changes: RefCell::default(),
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

    pub fn upper(&self) -> Epoch {
        self.upper.get()
    }

    /// The next packet of an epoch up to `through`.
    pub fn pop(&self, through: Epoch) -> Option<(Epoch, Packet)> {
        let (epoch, packet) = self.changes.borrow_mut().pop_front_if(|(epoch, _)| *epoch <= through)?;
        self.taken(&packet);
        Some((epoch, packet))
    }

    /// Lets go of everything after `cut`, and takes nothing more until [`Queue::attach`].
    pub fn detach(&self, cut: Epoch) {
        self.detached.set(true);
        self.upper.set(self.upper.get().min(cut));
        self.changes.borrow_mut().retain(|(epoch, packet)| {
            let kept = *epoch <= cut;
            if !kept {
                self.taken(packet);
            }
            kept
        });
    }

    /// History that was read from the store.
    pub fn refill(&self, epoch: Epoch, packet: Packet) {
        if let Some(reader) = &self.reader {
            reader.history.add(packet.bytes());
        }
        self.changes.borrow_mut().push_back((epoch, packet));
    }

    fn taken(&self, packet: &Packet) {
        if let Some(reader) = &self.reader {
            reader.history.take(packet.bytes());
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

    /// The reader is to end: it lets go of everything, and its dataflow ends by itself.
    pub fn close(&self) {
        self.closed.set(true);
        while self.pop(Epoch::NEVER).is_some() {}
        self.wake();
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
#[derive(Default)]
pub struct Tap {
    queues: RefCell<Vec<Weak<Queue>>>,
}

impl Tap {
    pub fn subscribe(&self, reader: Arc<Readable>) -> Rc<Queue> {
        let queue = Rc::new(Queue::of(reader));
        self.queues.borrow_mut().push(Rc::downgrade(&queue));
        queue
    }

    pub fn changes(&self, epoch: Epoch, packet: &Packet) {
        self.each(|queue| queue.push(epoch, packet.clone()));
    }

    pub fn upper(&self, epoch: Epoch) {
        self.each(|queue| queue.advance(epoch));
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
