//! Taps: how a relation's change log reaches the dataflows of its children, on one worker.
//!
//! A child's queue gets the parent's packets (shared columns, no copies) and its `upper`, in epoch order (I5). A queue whose
//! reader is gone is dropped at the next push.

use super::packet::Packet;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use timely::scheduling::Activator;
use weir_storage::Epoch;

/// What a queue carries.
pub enum Event {
    Changes(Epoch, Packet),
    /// Everything up to here, inclusive, has been sent.
    Upper(Epoch),
}

/// The reading end, owned by the child's source operator.
#[derive(Default)]
pub struct Queue {
    events: RefCell<VecDeque<Event>>,
    activator: RefCell<Option<Activator>>,
    closed: std::cell::Cell<bool>,
}

impl Queue {
    pub fn wake_with(&self, activator: Activator) {
        *self.activator.borrow_mut() = Some(activator);
    }

    pub fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.wake();
    }

    pub fn pop(&self) -> Option<Event> {
        self.events.borrow_mut().pop_front()
    }

    /// The reader is to end: it lets go of everything, and its dataflow ends by itself.
    pub fn close(&self) {
        self.closed.set(true);
        self.events.borrow_mut().clear();
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
    pub fn subscribe(&self) -> Rc<Queue> {
        let queue = Rc::new(Queue::default());
        self.queues.borrow_mut().push(Rc::downgrade(&queue));
        queue
    }

    pub fn changes(&self, epoch: Epoch, packet: &Packet) {
        self.each(|queue| queue.push(Event::Changes(epoch, packet.clone())));
    }

    pub fn upper(&self, epoch: Epoch) {
        self.each(|queue| queue.push(Event::Upper(epoch)));
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
