//! The host: runs a pure operator inside timely.
//!
//! It buffers an epoch's input until the frontier passes it, consolidates it (I2), begins the operator with it ([`Parts`]), sends pieces
//! on and yields after [`SLICE`](super::slice::SLICE), or at once if it is not its relation's turn: timely schedules cooperatively.
//! Errors that come in are passed on at once. Linear operators get every batch as it comes.
//!
//! An epoch that is too large for memory is begun *early*: the operator takes what has come of it, and then the rest. What has come is
//! always a change that could have been an epoch of its own, since every stream says first that a row comes and then that it goes. What
//! feeds a host that has to go through an epoch early waits for it.

use super::operator::{Operator, Piece, Route};
use super::packet::Packet;
use super::parts::{Next, Parts};
use super::placement::{Partially, Placement, Router};
use super::relation::Relation;
use super::slice::Slice;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;
use weir_sql::Result;
use weir_storage::arrangement::Arrangement;
use weir_storage::delta::{rows_within, widest_row};
use weir_storage::{Delta, Epoch};

/// Rows of work at once, for those that keep up.
pub const BUDGET: usize = 8192;

/// The same for others: small enough that a slice is not overrun by much.
const LITTLE: usize = 2048;

/// Whether every epoch at or before `epoch` is complete on all inputs.
pub fn passed(frontiers: &[MutableAntichain<u64>], epoch: u64) -> bool {
    frontiers.iter().all(|f| !f.less_equal(&epoch))
}

/// The lowest epoch that may still come on any input; `None`: nothing comes any more.
pub fn lowest(frontiers: &[MutableAntichain<u64>]) -> Option<u64> {
    frontiers.iter().filter_map(|f| f.frontier().iter().next().copied()).min()
}

struct Pending {
    capability: Capability<u64>,
    inputs: Vec<Vec<Delta>>,
    bytes: usize,
}

/// The epoch an operator is in.
struct Current {
    capability: Capability<u64>,
    parts: Parts,
    /// Rows that the operator may make at once of the part that it has begun and is not done with.
    polling: Option<usize>,
    /// More of it may come.
    early: bool,
}

/// What is known of an operator's inputs and its cursor.
struct Host {
    operator: Box<dyn Operator>,
    /// Of each input.
    placements: Rc<[Placement]>,
    pending: BTreeMap<u64, Pending>,
    current: Option<Current>,
    /// Since when a relation that is to be slow rests before its next step.
    resting: Option<Slice>,
    relation: Rc<Relation>,
    /// Its number among the relation's hosts: one that feeds it has a higher one.
    number: u32,
}

/// How an operator is to be hosted.
pub struct Hosting {
    pub name: String,
    /// Every batch is an answer of its own: no state, no consolidation.
    pub linear: bool,
    /// Among the relation's hosts; one that feeds it has a higher one.
    pub number: u32,
    /// A new dataflow's first epoch, in which `begin` is called even without rows.
    pub first: Option<Epoch>,
}

pub fn host<'s>(
    scope: Scope<'s, u64>,
    inputs: Vec<Stream<'s, u64, Packet>>,
    operator: Box<dyn Operator>,
    hosting: Hosting,
    relation: Rc<Relation>,
) -> Stream<'s, u64, Packet> {
    let mut builder = OperatorBuilder::new(hosting.name, scope);
    let worker = relation.place.worker;
    let mut handles = vec![];
    let arity = inputs.len();
    let mut placements = vec![];
    for (stream, route) in inputs.into_iter().zip(operator.routes()) {
        let rows = match route {
            Route::Stay => Placement::Stay,
            Route::Key(columns) => Placement::Key(columns),
        };
        placements.push(rows.clone());
        let router = Router { worker, rows, errors: Placement::Stay, partial: Partially::Never };
        handles.push(builder.new_input(stream, DistributorPact(move |_| router)));
    }
    let (output, stream) = builder.new_output::<Packet>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Packet>>::from(output);
    let activator = scope.activator_for(builder.operator_info().address);
    relation.watch(activator.clone());
    builder.build(move |mut capabilities| {
        let (pending, number) = (BTreeMap::new(), hosting.number);
        let mut host =
            Host { operator, placements: placements.into(), pending, current: None, resting: None, relation, number };
        if let (Some(first), Some(mut capability)) = (hosting.first, capabilities.pop()) {
            capability.downgrade(&first.as_u64());
            host.pending.insert(first.as_u64(), Pending { capability, inputs: vec![vec![]; arity], bytes: 0 });
            activator.activate();
        }
        move |frontiers| {
            let mut output = output.activate();
            for (index, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, packet| {
                    let capability = capability.retain(0);
                    let bytes = if hosting.linear { 0 } else { packet.bytes() };
                    match std::mem::take(packet) {
                        Packet::Rows(delta) if hosting.linear => {
                            let mut send = |mut packet| output.session(&capability).give_container(&mut packet);
                            host.pass(*capability.time(), delta, &mut send);
                        }
                        Packet::Rows(delta) => host.buffer(capability, index, delta, bytes),
                        mut errors => output.session(&capability).give_container(&mut errors),
                    }
                });
            }
            if host.relation.is_stopped() {
                host.abandon();
                return;
            }
            if let Some(left) = host.rest(frontiers) {
                return activator.activate_after(left);
            }
            host.relation.fill(host.number, host.is_full(frontiers));
            if !host.has_work(frontiers) {
                return;
            }
            if host.relation.is_full(host.number) {
                return activator.activate();
            }
            let Some(_turn) = host.relation.turn() else { return activator.activate() };
            let slice = Slice::begin(&host.relation.clock);
            while host.advance(frontiers, &mut |capability, mut packet| {
                output.session(capability).give_container(&mut packet);
            }) {
                if slice.is_over() {
                    activator.activate();
                    break;
                }
            }
            host.relation.fill(host.number, host.is_full(frontiers));
        }
    });
    stream
}

impl Host {
    fn buffer(&mut self, capability: Capability<u64>, index: usize, delta: Delta, bytes: usize) {
        self.relation.work().comes(delta.len());
        let (time, arity) = (*capability.time(), self.placements.len());
        let pending =
            self.pending.entry(time).or_insert_with(|| Pending { capability, inputs: vec![vec![]; arity], bytes: 0 });
        pending.bytes += bytes;
        pending.inputs[index].push(delta);
    }

    /// One batch through a linear operator.
    fn pass(&mut self, time: u64, delta: Delta, send: &mut dyn FnMut(Packet)) {
        self.relation.clone().contain(|| {
            self.operator.begin(Epoch::from_u64(time), vec![vec![delta]])?;
            loop {
                match self.operator.poll(self.relation.budget(BUDGET))? {
                    Piece::Rows(delta) if delta.is_empty() => {}
                    Piece::Rows(delta) => send(Packet::Rows(delta)),
                    Piece::Errors(delta) if delta.is_empty() => {}
                    Piece::Errors(delta) => send(Packet::Errors(delta)),
                    Piece::Done => return Ok(()),
                }
            }
        });
    }

    fn has_work(&self, frontiers: &[MutableAntichain<u64>]) -> bool {
        let complete = || self.pending.keys().next().is_some_and(|epoch| passed(frontiers, *epoch));
        self.current.is_some() || complete() || self.is_early(frontiers)
    }

    /// Whether the next epoch has to be begun before all of it is there.
    fn is_early(&self, frontiers: &[MutableAntichain<u64>]) -> bool {
        let Some((epoch, pending)) = self.pending.first_key_value() else { return false };
        pending.bytes > self.relation.limit && frontiers.iter().all(|frontier| !frontier.less_than(epoch))
    }

    /// Whether more waits than should, and it can do something about that.
    fn is_full(&self, frontiers: &[MutableAntichain<u64>]) -> bool {
        match &self.current {
            Some(_) => self.pending.values().next().is_some_and(|pending| pending.bytes > self.relation.limit),
            None => self.is_early(frontiers),
        }
    }

    /// How long a relation that is to be slow still rests before the step it could do now.
    fn rest(&mut self, frontiers: &[MutableAntichain<u64>]) -> Option<Duration> {
        let rest = self.relation.ordeal.rest;
        if rest.is_zero() || self.current.is_some() || !self.has_work(frontiers) {
            return None;
        }
        let left = self.resting.get_or_insert_with(|| Slice::begin(&self.relation.clock)).left(rest);
        if left.is_none() {
            self.resting = None;
        }
        left
    }

    fn abandon(&mut self) {
        self.pending.clear();
        self.current = None;
    }

    /// One piece of work. False: nothing to do until the frontier moves.
    fn advance(&mut self, frontiers: &[MutableAntichain<u64>], send: &mut dyn FnMut(&Capability<u64>, Packet)) -> bool {
        // After a failure the capability stays: the relation keeps its last epoch and never passes the one that failed.
        self.relation.clone().contain(|| self.work(frontiers, send)).unwrap_or(false)
    }

    fn work(
        &mut self,
        frontiers: &[MutableAntichain<u64>],
        send: &mut dyn FnMut(&Capability<u64>, Packet),
    ) -> Result<bool> {
        let Some(current) = &mut self.current else {
            let early = self.is_early(frontiers);
            let Some(mut entry) = self.pending.first_entry().filter(|e| early || passed(frontiers, *e.key())) else {
                return Ok(false);
            };
            let (capability, inputs) = if early {
                let Pending { capability, inputs, bytes } = entry.get_mut();
                *bytes = 0;
                (capability.clone(), inputs.iter_mut().map(std::mem::take).collect())
            } else {
                let Pending { capability, inputs, .. } = entry.remove();
                (capability, inputs)
            };
            let parts = Parts::new(inputs, self.placements.clone(), self.relation.part());
            self.current = Some(Current { capability, parts, polling: None, early });
            return Ok(true);
        };
        let epoch = Epoch::from_u64(*current.capability.time());
        let Some(most) = current.polling else {
            match current.parts.next()? {
                Next::Part(inputs, rows) => {
                    self.relation.work().is_done(rows);
                    // A row that is made is one of the input beside some of those that are kept.
                    let given = inputs.iter().flatten().map(|delta| widest_row(delta.rows())).max().unwrap_or(0);
                    let kept = self.operator.arrangements().iter().map(Arrangement::widest);
                    let width = kept.fold(given, usize::saturating_add);
                    self.operator.begin(epoch, inputs)?;
                    current.polling = Some(rows_within(self.relation.part().bytes, width));
                }
                Next::More => {}
                Next::Done => {
                    if !current.early {
                        self.operator.arrangements().iter().for_each(|arrangement| arrangement.advance(epoch));
                    }
                    self.current = None;
                }
            }
            return Ok(true);
        };
        let budget = if self.relation.is_behind() { LITTLE } else { BUDGET };
        match self.operator.poll(self.relation.budget(budget).min(most))? {
            Piece::Rows(delta) if delta.is_empty() => {}
            Piece::Rows(delta) => send(&current.capability, Packet::Rows(delta)),
            Piece::Errors(delta) if delta.is_empty() => {}
            Piece::Errors(delta) => send(&current.capability, Packet::Errors(delta)),
            Piece::Done => current.polling = None,
        }
        Ok(true)
    }
}
