//! The last operators of a dataflow: what makes a relation readable and its change log followable.

use super::host::{lowest, passed};
use super::operator::Place;
use super::packet::Packet;
use super::parts::{Next, Parts};
use super::placement::{Partially, Placement, Router};
use super::relation::Relation;
use super::slice::Slice;
use super::table::{Applied, Table, fill};
use super::world::Most;
use crate::connector::Partial;
use crate::connector::spilled::Spilled;
use arrow::array::RecordBatch;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use weir_sql::Result;
use weir_storage::delta::rows_within;
use weir_storage::{Delta, Epoch};

/// Applies each epoch to the relation when it is complete, then offers it to children and readers (I5).
pub fn output<'s>(
    scope: Scope<'s, u64>,
    stream: Stream<'s, u64, Packet>,
    relation: Rc<Relation>,
    table: Table,
    rows: Placement,
) {
    let errors = if table.key.is_some() && relation.is_table { Placement::Stay } else { Placement::ErrorKey };
    // A relation of one row has the empty key, wherever the row is.
    let of_keys = if table.key.as_ref().is_some_and(Vec::is_empty) { Placement::Key(vec![]) } else { rows.clone() };
    let placements: Rc<[_]> = [of_keys, Placement::ErrorKey].into();
    let router = Router { worker: relation.place.worker, rows, errors, partial: Partially::Never };
    let mut builder = OperatorBuilder::new("output".into(), scope);
    let mut input = builder.new_input(stream, DistributorPact(move |_| router));
    let activator = scope.activator_for(builder.operator_info().address);
    relation.watch(activator.clone());
    builder.build(move |_capabilities| {
        let mut pending: BTreeMap<u64, Vec<Packet>> = BTreeMap::new();
        let mut current: Option<Applying> = None;
        move |frontiers| {
            input.for_each(|capability, packet| {
                relation.work().comes(packet.rows());
                pending.entry(*capability.time()).or_default().push(std::mem::take(packet))
            });
            if relation.is_stopped() || relation.has_failed() {
                pending.clear();
                current = None;
                return;
            }
            let is_complete = |epoch: &u64| passed(frontiers, *epoch);
            if current.is_some() || pending.keys().next().is_some_and(is_complete) {
                let Some(_turn) = relation.turn() else { return activator.activate() };
                let slice = Slice::begin(&relation.clock);
                loop {
                    let Some(applying) = &mut current else {
                        let Some(entry) = pending.first_entry().filter(|e| is_complete(e.key())) else { break };
                        let (epoch, packets) = entry.remove_entry();
                        let epoch = Epoch::from_u64(epoch);
                        current = Some(Applying::new(epoch, packets, &relation, &table, &placements));
                        continue;
                    };
                    match relation.contain(|| applying.advance(&table, &relation)) {
                        Some(true) => {}
                        Some(false) => {
                            // Before the next epoch is applied: what is applied but not reached is in no reader's and no count's sight.
                            relation.reach(applying.epoch);
                            current = None;
                        }
                        None => return,
                    }
                    if slice.is_over() {
                        break;
                    }
                }
                if current.is_some() || pending.keys().next().is_some_and(is_complete) {
                    return activator.activate();
                }
            }
            // An empty frontier means the dataflow was told to end: nothing more is reached.
            if let Some(next) = lowest(frontiers) {
                relation.reach(Epoch::from_u64(next.saturating_sub(1)));
            }
        }
    });
}

/// An epoch on its way into the relation. Until all of it is there, nobody sees it; nor do children hear of it, since one that comes in
/// between reads the relation as of the epoch before, and then all that follows.
struct Applying {
    epoch: Epoch,
    /// What it has changed by so far, unless that is too much to be kept beside what is stored.
    applied: Vec<Applied>,
    is_large: bool,
    /// Everything from before the epoch goes, and whether it has gone.
    truncates: bool,
    cleared: bool,
    pieces: Pieces,
    /// Rows in files, which are read one after the other when the pieces are through.
    spilled: VecDeque<(Spilled, i64)>,
    /// By what rows and errors come to a worker.
    placements: Rc<[Placement]>,
}

enum Pieces {
    /// What feeds a keyed table, each key once.
    Keyed(VecDeque<Packet>),
    /// Rows and errors.
    Deltas(Parts),
}

impl Applying {
    fn new(
        epoch: Epoch,
        packets: Vec<Packet>,
        relation: &Relation,
        table: &Table,
        placements: &Rc<[Placement]>,
    ) -> Self {
        let truncates = packets.iter().any(|packet| matches!(packet, Packet::Truncate));
        let mut spilled = VecDeque::new();
        let mut here = |packet: Packet| match packet {
            Packet::Truncate => None,
            Packet::Spilled(rows, weight) => {
                spilled.push_back((rows, weight));
                None
            }
            packet => Some(packet),
        };
        let packets: Vec<Packet> = packets.into_iter().filter_map(&mut here).collect();
        let pieces = if relation.is_table && table.key.is_some() {
            Pieces::Keyed(packets.into_iter().flat_map(|packet| packet.pieces(relation.small_batch())).collect())
        } else {
            let mut inputs = vec![vec![], vec![]];
            for packet in packets {
                match packet {
                    Packet::Rows(delta) => inputs[0].push(delta),
                    Packet::Errors(delta) => inputs[1].push(delta),
                    other => assert_eq!(other.rows(), 0, "only a keyed table is fed with anything else"),
                }
            }
            Pieces::Deltas(Parts::of_keys(inputs, placements.clone(), relation.part()))
        };
        let placements = placements.clone();
        let is_large = !spilled.is_empty();
        Self { epoch, applied: vec![], is_large, truncates, cleared: false, pieces, spilled, placements }
    }

    /// Applies a piece; false: all is there, and offered to children.
    fn advance(&mut self, table: &Table, relation: &Relation) -> Result<bool> {
        if self.truncates && !self.cleared {
            let cleared = table.apply(self.epoch, vec![Packet::Truncate], false, relation.part().bytes)?;
            self.keep(cleared);
            self.cleared = true;
            return Ok(true);
        }
        let packets: Vec<Packet> = match &mut self.pieces {
            Pieces::Keyed(packets) if packets.is_empty() => return self.read_on(relation),
            Pieces::Keyed(packets) => {
                let (mut rows, mut bytes, most) = (0, 0, relation.small_batch());
                let mut fits = |packet: &mut Packet| {
                    let is_first = rows == 0;
                    (rows, bytes) = (rows + packet.rows(), bytes + packet.bytes());
                    is_first || rows <= most.rows && bytes <= most.bytes
                };
                std::iter::from_fn(|| packets.pop_front_if(&mut fits)).collect()
            }
            Pieces::Deltas(parts) => match parts.next()? {
                Next::Part(part, rows) => {
                    relation.work().is_done(rows);
                    let [rows, errors] = part.try_into().expect("rows and errors");
                    rows.into_iter().map(Packet::Rows).chain(errors.into_iter().map(Packet::Errors)).collect()
                }
                Next::More => return Ok(true),
                Next::Done => return self.read_on(relation),
            },
        };
        let applied = table.apply(self.epoch, packets, self.cleared, relation.part().bytes)?;
        self.keep(applied);
        Ok(true)
    }

    fn keep(&mut self, applied: Applied) {
        if !self.is_large {
            self.applied.push(applied);
        }
    }

    /// Makes pieces of the next rows that are in a file. If there are none, all of it is offered to children: false.
    fn read_on(&mut self, relation: &Relation) -> Result<bool> {
        let Some((spilled, weight)) = self.spilled.pop_front() else { return self.publish(relation) };
        let rows = spilled.read().unwrap_or_else(|error| {
            // Other tables may have taken their part of the transaction: rather none of it than some (I1).
            tracing::error!(relation = %relation.id, %error, "ending: rows of a transaction that was committed cannot be read");
            std::process::abort()
        });
        let rows = self.own(&Delta::uniform(rows, weight), relation)?;
        if rows.num_rows() == 0 {
            return Ok(true);
        }
        match &mut self.pieces {
            Pieces::Keyed(packets) => {
                let packet = if weight > 0 { Packet::Upserts(rows) } else { Packet::Deletes(rows) };
                // What is cut again would be kept as a whole for the sake of each piece.
                packets.extend(packet.pieces(relation.part()));
            }
            Pieces::Deltas(parts) => {
                let inputs = vec![vec![Delta::uniform(rows, weight)], vec![]];
                *parts = Parts::of_keys(inputs, self.placements.clone(), relation.part());
            }
        }
        Ok(true)
    }

    /// This worker's rows of what all of them read. A copy even of all of them: what is read shares its memory with the whole batch.
    fn own(&self, delta: &Delta, relation: &Relation) -> Result<RecordBatch> {
        let Place { worker, workers } = relation.place;
        let is_gone = matches!(self.pieces, Pieces::Keyed(_)) && delta.weights().iter().any(|&weight| weight < 0);
        let by = match is_gone {
            // They have nothing but the key's columns.
            true => Placement::Key((0..delta.rows().num_columns()).collect()),
            false => self.placements[0].clone(),
        };
        let mine: Vec<u32> = match workers {
            1 => (0..delta.len() as u32).collect(),
            _ => by.split(delta.rows(), workers).map_err(super::internal)?.swap_remove(worker),
        };
        Ok(delta.take(&mine).map_err(super::internal)?.rows().clone())
    }

    /// Offers all of it to children. There is no more: false.
    fn publish(&mut self, relation: &Relation) -> Result<bool> {
        let send = |packet: Packet| relation.tap.changes(self.epoch, &packet);
        if self.is_large {
            // What is stored says it as well, and most of it shares its memory.
            let [rows, errors] = relation.changed(self.epoch)?;
            self.applied = vec![Applied { rows, errors }];
        }
        for Applied { rows, errors } in self.applied.drain(..) {
            rows.into_iter().filter(|d| !d.is_empty()).map(Packet::Rows).for_each(send);
            errors.into_iter().filter(|d| !d.is_empty()).map(Packet::Errors).for_each(send);
        }
        Ok(false)
    }
}

/// The first stage of a keyed table: partial rows go to the owner of their origin and are filled from what is stored there
/// before their epoch; everything else passes.
pub fn filler<'s>(
    scope: Scope<'s, u64>,
    stream: Stream<'s, u64, Packet>,
    relation: Rc<Relation>,
    key: Vec<usize>,
) -> Stream<'s, u64, Packet> {
    let router = Router {
        worker: relation.place.worker,
        rows: Placement::Stay,
        errors: Placement::Stay,
        partial: Partially::ByOrigin,
    };
    let mut builder = OperatorBuilder::new("fill".into(), scope);
    let mut input = builder.new_input(stream, DistributorPact(move |_| router));
    let (output, filled) = builder.new_output::<Packet>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Packet>>::from(output);
    relation.watch(scope.activator_for(builder.operator_info().address));
    builder.build(move |_capabilities| {
        let mut pending: BTreeMap<u64, (Capability<u64>, Vec<Partial>)> = BTreeMap::new();
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, packet| match std::mem::take(packet) {
                Packet::Partial(partial) => {
                    let capability = capability.retain(0);
                    pending.entry(*capability.time()).or_insert_with(|| (capability, vec![])).1.push(partial);
                }
                mut other => output.session(&capability).give_container(&mut other),
            });
            if relation.is_stopped() || relation.has_failed() {
                return pending.clear();
            }
            // Rows of an epoch are filled from the one before: the table must have applied that, and nothing later. It cannot
            // have: the capability held here keeps the epoch open. `Relation::reach` wakes this operator.
            while let Some(entry) = pending.first_entry().filter(|e| relation.upper().as_u64() + 1 >= *e.key()) {
                let (capability, partials) = entry.remove();
                let stored = relation.arrangements.rows.latest();
                let whole = |partial| cut(partial, relation.arrangements.rows.widest(), relation.part().bytes);
                for partial in partials.into_iter().flat_map(whole) {
                    let Some(packets) = relation.contain(|| fill(&partial, &key, &stored)) else { return };
                    for mut packet in packets.into_iter().filter(|p| p.rows() > 0) {
                        output.session(&capability).give_container(&mut packet);
                    }
                }
            }
        }
    });
    filled
}

/// `partial` in pieces that are no more than `bytes` when they are filled of rows that are no wider than `stored`.
fn cut(partial: Partial, stored: usize, bytes: usize) -> Vec<Partial> {
    let packet = Packet::Partial(partial);
    let most = Most { rows: rows_within(bytes, packet.widest_row().saturating_add(stored)), bytes: usize::MAX };
    let partial = |packet| match packet {
        Packet::Partial(partial) => partial,
        _ => unreachable!("a piece of a packet is of its kind"),
    };
    packet.pieces(most).into_iter().map(partial).collect()
}

/// Weights of both Z-sets turned around: EXCEPT's right side.
pub fn negate(packet: Packet) -> Packet {
    match packet {
        Packet::Rows(delta) => Packet::Rows(Delta::negate(&delta)),
        other => other,
    }
}
