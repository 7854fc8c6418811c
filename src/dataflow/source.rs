//! The first operator of a dataflow: a parent's rows as of an epoch, then its change log.

use super::packet::Packet;
use super::tap::{Event, Queue};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use weir_storage::{Delta, Epoch, Result};

/// Rows of a snapshot, taken lazily so that a large one does not stand in memory twice.
pub type Rows = Box<dyn Iterator<Item = Result<Packet>>>;

/// Batches of a snapshot sent per scheduling: about 2 ms of work downstream of it.
const SNAPSHOT_BATCHES: usize = 8;

/// What a source reads.
pub struct Reading {
    /// Sent first, at epoch `from`; projected already.
    pub snapshot: Rows,
    pub from: Epoch,
    /// Then what this carries; epochs before `from` count as `from`.
    pub queue: Rc<Queue>,
    /// Columns of the queue's rows to send; `None`: all.
    pub projection: Option<Vec<usize>>,
}

/// Ends when the queue is closed.
pub fn source<'s>(scope: Scope<'s, u64>, name: &str, reading: Reading) -> Stream<'s, u64, Packet> {
    let Reading { snapshot, from, queue, projection } = reading;
    let mut builder = OperatorBuilder::new(format!("source {name}"), scope);
    let (output, stream) = builder.new_output::<Packet>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Packet>>::from(output);
    let activator = scope.activator_for(builder.operator_info().address);
    activator.activate();
    queue.wake_with(activator);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        if let Some(capability) = &mut capability {
            capability.downgrade(&from.as_u64());
        }
        let mut snapshot = Some(snapshot);
        move |_frontiers| {
            if queue.is_closed() {
                capability = None;
                snapshot = None;
            }
            let Some(capability) = &mut capability else { return };
            let mut output = output.activate();
            let mut send = |at: &Capability<u64>, mut packet: Packet| {
                if packet.rows() > 0 {
                    output.session(at).give_container(&mut packet);
                }
            };
            for _ in 0..SNAPSHOT_BATCHES {
                let Some(rows) = &mut snapshot else { break };
                match rows.next() {
                    Some(packet) => send(capability, packet.expect("a snapshot in memory can be read")),
                    None => snapshot = None,
                }
            }
            if snapshot.is_some() {
                return queue.wake();
            }
            while let Some(event) = queue.pop() {
                match event {
                    Event::Changes(epoch, packet) => {
                        let packet = project(packet, projection.as_deref());
                        let at = capability.delayed(&epoch.as_u64().max(*capability.time()));
                        send(&at, packet);
                    }
                    Event::Upper(epoch) if epoch.as_u64() >= *capability.time() => {
                        capability.downgrade(&(epoch.as_u64() + 1));
                    }
                    Event::Upper(_) => {}
                }
            }
        }
    });
    stream
}

fn project(packet: Packet, projection: Option<&[usize]>) -> Packet {
    match (packet, projection) {
        (Packet::Rows(delta), Some(columns)) => {
            let rows = delta.rows().project(columns).expect("the plan's columns are the relation's");
            Packet::Rows(Delta::new(rows, delta.weights().clone()))
        }
        (packet, _) => packet,
    }
}
