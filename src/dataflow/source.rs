//! The first operator of a dataflow: a parent's rows as of an epoch, then its change log.

use super::packet::Packet;
use super::relations::Readable;
use super::steps::Marks;
use super::tap::Queue;
use super::worker::Relation;
use std::rc::Rc;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use weir_storage::{Delta, Epoch, Result};

/// Rows of a snapshot, taken lazily so that a large one does not stand in memory twice.
pub type Rows = Box<dyn Iterator<Item = Result<Packet>>>;

/// Batches sent per scheduling, for a relation that keeps up: about 2 ms of work downstream of them. Others send one.
const BATCHES: usize = 8;

/// Packets with more rows than this count as a batch.
const LARGE: usize = 1024;

/// What a source reads.
pub struct Reading {
    /// Sent first, at epoch `from`; projected already.
    pub snapshot: Rows,
    pub from: Epoch,
    /// Then what this carries; epochs before `from` count as `from`.
    pub queue: Rc<Queue>,
    /// Columns of the queue's rows to send; `None`: all.
    pub projection: Option<Vec<usize>>,
    pub following: Following,
    /// Whose dataflow it begins.
    pub relation: Rc<Relation>,
}

/// Which epochs a source goes through.
pub enum Following {
    /// All that its queue has: the epochs themselves come through it.
    Every,
    /// The steps of the view it feeds.
    Steps(Follower),
}

/// A view and where it may leap to.
#[derive(Clone)]
pub struct Follower {
    pub view: Arc<Readable>,
    pub marks: Arc<Marks>,
}

impl Following {
    /// The next epoch to be sent as one, once all of it is there.
    fn next(&self, sent: Epoch, queue: &Queue) -> Option<Epoch> {
        match self {
            Following::Every => Some(queue.upper()).filter(|upper| *upper > sent),
            Following::Steps(Follower { view, marks }) => {
                let next = view.steps.next(sent, view.upper(), &view.parents, marks)?;
                (queue.upper() >= next).then_some(next)
            }
        }
    }
}

/// Ends when the queue is closed.
pub fn source<'s>(scope: Scope<'s, u64>, name: &str, reading: Reading) -> Stream<'s, u64, Packet> {
    let Reading { snapshot, from, queue, projection, following, relation } = reading;
    let mut builder = OperatorBuilder::new(format!("source {name}"), scope);
    let (output, stream) = builder.new_output::<Packet>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Packet>>::from(output);
    let address = builder.operator_info().address;
    if let Following::Steps(Follower { view, .. }) = &following {
        let watcher = || scope.worker().sync_activator_for(address.to_vec());
        view.watch(view.id, watcher());
        // A step waits for all parents, on all workers; the queue tells of one of them, on this worker.
        view.parents.iter().for_each(|parent| parent.watch(view.id, watcher()));
    }
    let activator = scope.activator_for(address);
    activator.activate();
    queue.wake_with(activator);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        if let Some(capability) = &mut capability {
            capability.downgrade(&from.as_u64());
        }
        let mut snapshot = Some(snapshot);
        // A step that is not sent in full yet.
        let mut step = None;
        move |_frontiers| {
            if queue.is_closed() {
                capability = None;
                snapshot = None;
            }
            let Some(capability) = &mut capability else { return };
            let sent = |capability: &Capability<u64>| Epoch::from_u64(capability.time().saturating_sub(1));
            if snapshot.is_none() {
                step = step.take().or_else(|| following.next(sent(capability), &queue));
                if step.is_none() {
                    return;
                }
            }
            if relation.is_full(u32::MAX) {
                return queue.wake();
            }
            let Some(_turn) = relation.turn() else { return queue.wake() };
            let mut output = output.activate();
            let mut send = |at: &Capability<u64>, mut packet: Packet| {
                if packet.rows() > 0 {
                    output.session(at).give_container(&mut packet);
                }
            };
            let limit = if relation.is_behind() { 1 } else { BATCHES };
            for _ in 0..limit {
                let Some(rows) = &mut snapshot else { break };
                match rows.next() {
                    Some(packet) => {
                        let packet = packet.expect("a snapshot in memory can be read");
                        relation.work().is_done(packet.rows());
                        send(capability, packet);
                    }
                    None => snapshot = None,
                }
            }
            if snapshot.is_some() {
                return queue.wake();
            }
            let mut batches = 0;
            while let Some(to) = step.take().or_else(|| following.next(sent(capability), &queue)) {
                while let Some((epoch, packet)) = queue.pop(to) {
                    let at = match following {
                        Following::Every => epoch.as_u64().max(*capability.time()),
                        Following::Steps(_) => to.as_u64(),
                    };
                    batches += usize::from(packet.rows() > LARGE);
                    send(&capability.delayed(&at), project(packet, projection.as_deref()));
                    if batches >= limit && matches!(following, Following::Steps(_)) {
                        step = Some(to);
                        return queue.wake();
                    }
                }
                capability.downgrade(&(to.as_u64() + 1));
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
