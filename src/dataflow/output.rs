//! The last operators of a dataflow: what makes a relation readable and its change log followable.

use super::host::{Slice, consolidate, lowest, passed};
use super::packet::Packet;
use super::placement::{Partially, Placement, Router};
use super::table::{Applied, Table, fill};
use super::worker::Relation;
use crate::connector::Partial;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use weir_sql::Result;
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
    let router = Router { worker: relation.place.worker, rows, errors, partial: Partially::Never };
    let mut builder = OperatorBuilder::new("output".into(), scope);
    let mut input = builder.new_input(stream, DistributorPact(move |_| router));
    let activator = scope.activator_for(builder.operator_info().address);
    relation.watch(activator.clone());
    builder.build(move |_capabilities| {
        let mut pending: BTreeMap<u64, Vec<Packet>> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, packet| {
                pending.entry(*capability.time()).or_default().push(std::mem::take(packet))
            });
            if relation.is_stopped() || relation.has_failed() {
                pending.clear();
                return;
            }
            let slice = Slice::begin(&relation.clock);
            while let Some(entry) = pending.first_entry().filter(|e| passed(frontiers, *e.key())) {
                let (epoch, packets) = entry.remove_entry();
                let epoch = Epoch::from_u64(epoch);
                match apply(&table, &relation, epoch, packets) {
                    Ok(applied) => publish(&relation, epoch, applied),
                    Err(error) => return relation.fail(error),
                }
                // Before the next epoch is applied: what is applied but not reached is in no reader's and no count's sight.
                relation.reach(epoch);
                if slice.is_over() && !pending.is_empty() {
                    activator.activate();
                    return;
                }
            }
            // An empty frontier means the dataflow was told to end: nothing more is reached.
            if let Some(next) = lowest(frontiers) {
                relation.reach(Epoch::from_u64(next.saturating_sub(1)));
            }
        }
    });
}

fn apply(table: &Table, relation: &Relation, epoch: Epoch, packets: Vec<Packet>) -> Result<Applied> {
    if relation.is_table && table.key.is_some() {
        return table.apply(epoch, packets);
    }
    let (mut rows, mut errors, mut rest) = (vec![], vec![], vec![]);
    for packet in packets {
        match packet {
            Packet::Rows(delta) => rows.push(delta),
            Packet::Errors(delta) => errors.push(delta),
            other => rest.push(other),
        }
    }
    rest.extend(consolidate(rows)?.into_iter().map(Packet::Rows));
    rest.extend(consolidate(errors)?.into_iter().map(Packet::Errors));
    table.apply(epoch, rest)
}

fn publish(relation: &Relation, epoch: Epoch, applied: Applied) {
    let send = |packet: Packet| relation.tap.changes(epoch, &packet);
    applied.rows.into_iter().filter(|d| !d.is_empty()).map(Packet::Rows).for_each(send);
    applied.errors.into_iter().filter(|d| !d.is_empty()).map(Packet::Errors).for_each(send);
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
                let stored = relation.rows.latest();
                for partial in partials {
                    match fill(&partial, &key, &stored) {
                        Ok(packets) => {
                            for mut packet in packets.into_iter().filter(|p| p.rows() > 0) {
                                output.session(&capability).give_container(&mut packet);
                            }
                        }
                        Err(error) => return relation.fail(error),
                    }
                }
            }
        }
    });
    filled
}

/// Weights of both Z-sets turned around: EXCEPT's right side.
pub fn negate(packet: Packet) -> Packet {
    match packet {
        Packet::Rows(delta) => Packet::Rows(Delta::negate(&delta)),
        other => other,
    }
}
