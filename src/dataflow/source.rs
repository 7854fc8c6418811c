//! The first operator of a dataflow: a parent's rows, at once or in portions, and its change log.

use super::backfill::Backfill;
use super::packet::Packet;
use super::relation::Relation;
use super::relations::Follower;
use super::tap::Queue;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use weir_storage::Epoch;

/// Batches sent per scheduling, for a relation that keeps up: about 2 ms of work downstream of them. Others send one.
const BATCHES: usize = 8;

/// Packets with more rows than this, or than a part may have, count as a batch.
const LARGE: usize = 1024;

/// What a source reads.
pub struct Reading {
    /// The first epoch there is; what comes of earlier ones counts as of it.
    pub from: Epoch,
    pub queue: Rc<Queue>,
    /// Rows beside those of the queue, and which of its rows are taken.
    pub backfill: Rc<Backfill>,
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

impl Following {
    /// The next epoch to be sent as one, once all of it is there.
    fn next(&self, sent: Epoch, queue: &Queue) -> Option<Epoch> {
        match self {
            Following::Every => Some(queue.upper()).filter(|upper| *upper > sent),
            Following::Steps(Follower { view, checkpoint_epochs }) => {
                let next = view.steps.next(sent, view.upper(), &view.parents, checkpoint_epochs)?;
                (queue.upper() >= next).then_some(next)
            }
        }
    }
}

/// Ends when the queue is closed.
pub fn source<'s>(scope: Scope<'s, u64>, name: &str, reading: Reading) -> Stream<'s, u64, Packet> {
    let Reading { from, queue, backfill, following, relation } = reading;
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
        // A step that is not sent in full yet.
        let mut step = None;
        move |_frontiers| {
            if queue.is_closed() {
                capability = None;
                backfill.end();
            }
            let Some(capability) = &mut capability else { return };
            if relation.has_failed() {
                // Nobody takes anything any more. The capability stays, so that the epoch that failed is never passed.
                backfill.end();
                return queue.clear();
            }
            let sent = |capability: &Capability<u64>| Epoch::from_u64(capability.time().saturating_sub(1));
            if !backfill.is_first() {
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
            let large = LARGE.min(relation.part().rows);
            let mut batches = 0;
            while backfill.is_first() {
                let Some(next) = relation.contain(|| Ok(backfill.next(from))) else { return };
                let Some(packet) = next else { break };
                relation.work().is_done(packet.rows());
                send(capability, packet);
                batches += 1;
                if batches >= limit {
                    return queue.wake();
                }
            }
            while let Some(to) = step.take().or_else(|| following.next(sent(capability), &queue)) {
                loop {
                    let next = relation.contain(|| {
                        let Some((epoch, packet)) = queue.pop(to) else {
                            let packet = backfill.next(to);
                            packet.iter().for_each(|packet| relation.work().is_done(packet.rows()));
                            return Ok(packet.map(|packet| (to, 1, packet)));
                        };
                        let at = match following {
                            Following::Every => epoch,
                            Following::Steps(_) => to,
                        };
                        let batch = usize::from(packet.rows() > large);
                        Ok(Some((at, batch, backfill.pass(epoch, packet))))
                    });
                    let Some(next) = next else { return };
                    let Some((at, batch, packet)) = next else { break };
                    batches += batch;
                    send(&capability.delayed(&at.as_u64().max(*capability.time())), packet);
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
