//! A view's backfill: how the rows of one parent reach it, on one worker.
//!
//! They come in portions, by the hashes of their keys, so that a view over much can be checkpointed before it has all of it. A portion is
//! read as of where its parent stands on this worker when the worker is told (`seen`), and counts as of the view's first step to `at` or
//! further. `at` is closed only after all workers are told: no parent can be there yet, so no source of the view can have sent a step that
//! far, and all of them take the portion with the same one.
//!
//! Of the parent's change log the view gets what concerns the portions it has. What concerns the portion that is coming is part of what is
//! read up to `seen`, and waits for the step after that. What concerns others is left out: it will be read with them.

use super::packet::Packet;
use super::relation::Relation;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use weir_storage::arrangement::{Arrangement, Kind};
use weir_storage::key::{Keys, Portion};
use weir_storage::{Delta, Epoch, Result};

/// Rows of a portion, taken lazily so that a large one does not stand in memory twice.
type Rows = Box<dyn Iterator<Item = Result<Packet>>>;

pub struct Backfill {
    rows: Columns,
    /// Portions that the view has.
    taken: Cell<Portion>,
    coming: RefCell<Option<Coming>>,
}

/// Columns of the parent's rows.
#[derive(Clone)]
struct Columns {
    /// Whose hashes say which portion a row is in.
    key: Vec<usize>,
    /// That the view gets; `None`: all.
    projection: Option<Vec<usize>>,
}

/// A portion on its way.
struct Coming {
    portion: Portion,
    rows: Rows,
    seen: Epoch,
    at: Epoch,
    /// Changes of its rows after `seen` that the source came upon before the step.
    waiting: VecDeque<Packet>,
}

impl Backfill {
    /// Of a view that has `taken` of `parent`'s rows.
    pub fn new(parent: &Arrangement, projection: Option<Vec<usize>>, taken: Portion) -> Self {
        let rows = Columns { key: key(parent), projection };
        Self { rows, taken: Cell::new(taken), coming: RefCell::default() }
    }

    /// Nothing is to be read: all that comes is passed on.
    pub fn none() -> Self {
        let rows = Columns { key: vec![], projection: None };
        Self { rows, taken: Cell::new(Portion::ALL), coming: RefCell::default() }
    }

    /// The parent's rows in `portion`, which follows on those taken, are to come with the first step to `at`, which is not closed yet.
    pub fn begin(&self, parent: &Relation, portion: Portion, at: Epoch) {
        debug_assert_eq!(self.taken.get().to(), portion.from(), "portions come in order");
        let (rows, seen) = (self.rows.read(parent, portion), parent.upper());
        *self.coming.borrow_mut() = Some(Coming { portion, rows, seen, at, waiting: VecDeque::new() });
    }

    /// Whether the first rows of all have yet to be sent. They need not wait for a step: nothing comes before them.
    pub fn is_first(&self) -> bool {
        self.taken.get() == Portion::NOTHING && self.coming.borrow().is_some()
    }

    /// What comes next of the portion that counts as of `step`, after all that the change log has up to there. `None`: that is all.
    pub fn next(&self, step: Epoch) -> Option<Packet> {
        let mut coming = self.coming.borrow_mut();
        let now = coming.as_mut().filter(|coming| coming.at <= step)?;
        if let Some(packet) = now.rows.next() {
            return Some(packet.expect("a snapshot in memory can be read"));
        }
        if let Some(packet) = now.waiting.pop_front() {
            return Some(packet);
        }
        self.taken.set(Portion::new(0, now.portion.to()));
        *coming = None;
        None
    }

    /// What the view gets now of what the parent changed by in `epoch`.
    pub fn pass(&self, epoch: Epoch, packet: Packet) -> Packet {
        match packet {
            Packet::Rows(delta) if self.taken.get() != Portion::ALL => self.sort_out(epoch, &delta),
            Packet::Rows(delta) => Packet::Rows(self.rows.project(&delta)),
            packet => packet,
        }
    }

    fn sort_out(&self, epoch: Epoch, delta: &Delta) -> Packet {
        let keys = Keys::of(delta.rows(), &self.rows.key).expect("rows that an arrangement holds have keys");
        let of = |portion| {
            let rows = self.rows.project(delta);
            Packet::Rows(part(&rows, &keys, portion).expect("rows of a packet can be picked"))
        };
        if let Some(coming) = self.coming.borrow_mut().as_mut().filter(|coming| epoch > coming.seen) {
            let packet = of(coming.portion);
            if packet.rows() > 0 {
                coming.waiting.push_back(packet);
            }
        }
        of(self.taken.get())
    }

    /// Lets go of what is read.
    pub fn end(&self) {
        *self.coming.borrow_mut() = None;
    }
}

impl Columns {
    /// The parent's rows in `portion` as of its upper, and with the first ones its errors.
    fn read(&self, parent: &Relation, portion: Portion) -> Rows {
        if parent.upper() == Epoch::ZERO {
            return Box::new(std::iter::empty());
        }
        let pinned = "the parent holds its own upper";
        let rows = parent.arrangements.rows.snapshot(parent.upper()).expect(pinned);
        let rows: Box<dyn Iterator<Item = Result<Delta>>> = match parent.arrangements.rows.spec().kind {
            Kind::Keyed => Box::new(rows.scan_portion(self.projection.as_deref(), portion)),
            _ if portion == Portion::ALL => Box::new(rows.scan(self.projection.as_deref())),
            _ => {
                let columns = self.clone();
                Box::new(rows.scan(None).map(move |delta| {
                    let delta = delta?;
                    let keys = Keys::of(delta.rows(), &columns.key)?;
                    part(&columns.project(&delta), &keys, portion)
                }))
            }
        };
        let rows = rows.map(|delta| delta.map(Packet::Rows));
        if portion.from() > 0 {
            return Box::new(rows);
        }
        let errors = parent.arrangements.errors.snapshot(parent.upper()).expect(pinned);
        Box::new(rows.chain(errors.scan(None).map(|delta| delta.map(Packet::Errors))))
    }

    fn project(&self, delta: &Delta) -> Delta {
        let Some(columns) = &self.projection else { return delta.clone() };
        let rows = delta.rows().project(columns).expect("the plan's columns are the relation's");
        Delta::new(rows, delta.weights().clone())
    }
}

/// The rows of `delta` whose keys are in `portion`.
fn part(delta: &Delta, keys: &Keys, portion: Portion) -> Result<Delta> {
    let rows: Vec<u32> = (0..keys.len()).filter(|row| portion.has(keys.hash(*row))).map(|row| row as u32).collect();
    delta.take(&rows)
}

/// The columns by whose hash the rows of an arrangement are told apart.
fn key(rows: &Arrangement) -> Vec<usize> {
    match rows.spec().kind {
        Kind::Keyed => rows.spec().key.clone(),
        _ => (0..rows.spec().schema.fields().len()).collect(),
    }
}
