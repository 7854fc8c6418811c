//! The loop of one worker: commands in one order, timely's steps, rest.

use super::blueprint::{BuildContext, Log};
use super::build;
use super::operator::Place;
use super::packet::Packet;
use super::relation::Relation;
use super::running::{Feed, Running};
use super::scheduler::Scheduler;
use super::slice::Slice;
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;
use timely::worker::Worker as Timely;
use weir_sql::Result;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::arrangement::Arrangement;
use weir_storage::key::Portion;

/// What the coordinator tells a worker. Every worker gets the same commands in the same order.
pub enum Command {
    /// An epoch closes: this worker's share of what the base tables changed by.
    Epoch {
        epoch: Epoch,
        changes: Vec<(RelationId, Vec<Packet>)>,
        /// Relations that are there at once.
        quiet: Arc<BTreeSet<RelationId>>,
    },
    Build(Box<BuildContext>),
    /// Ends a relation's dataflow. Its children have been dropped before.
    Drop(RelationId),
    /// A view's history is to be read from the store after `cut`: nothing later is kept for it here.
    Detach {
        id: RelationId,
        cut: Epoch,
    },
    /// What a detached view's parents changed by up to `to`. If they have released nothing after that, it follows them again.
    Refill {
        id: RelationId,
        log: Log,
        to: Epoch,
        attach: bool,
    },
    /// A view gets the next portion of its parents' rows, with its first step to `at`, which is not closed yet.
    Backfill {
        id: RelationId,
        portion: Portion,
        at: Epoch,
    },
    /// History below these epochs is not needed any more.
    Compact(Arc<BTreeMap<RelationId, Epoch>>),
    Stop,
}

/// A worker's end of the queue of commands.
pub struct Commands {
    receiver: Receiver<Command>,
    world: World,
}

impl Commands {
    pub fn new(receiver: Receiver<Command>, world: World) -> Self {
        Self { receiver, world }
    }
}

/// The relations of one worker.
pub struct Worker {
    commands: Commands,
    running: BTreeMap<RelationId, Running>,
    /// Those that may have yet to reach the last epoch; all others have, since they were at rest when it closed.
    late: BTreeSet<RelationId>,
    scheduler: Rc<Scheduler>,
    /// Arrangements of relations that may have memory to give back, and the one whose turn it is.
    reclaim_queue: BTreeSet<(RelationId, usize)>,
    reclaiming: (RelationId, usize),
}

/// Who gives memory back takes turns under this name.
const RECLAIMING: u32 = u32::MAX;

/// How long a worker rests that has memory to give back and has to let others go first.
const POLL: Duration = Duration::from_millis(1);

impl Worker {
    pub fn new(commands: Commands) -> Self {
        let scheduler = Rc::new(Scheduler::new(commands.world.clock.clone(), commands.world.jump_after));
        let (running, late, reclaim_queue) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { commands, running, late, scheduler, reclaim_queue, reclaiming: (RelationId(0), 0) }
    }

    /// Carries out what was told since the last step. False: the end, everything is dropped.
    pub fn obey(&mut self, timely: &mut Timely) -> bool {
        self.reclaim();
        loop {
            match self.commands.receiver.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    end(timely);
                    return false;
                }
                Ok(command) => {
                    if let Command::Epoch { epoch, .. } = &command {
                        self.scheduler.close(*epoch);
                    }
                    self.carry_out(timely, command);
                }
                Err(TryRecvError::Empty) => {
                    if !self.late.is_empty() {
                        self.late = self.unfinished().map(|relation| relation.id).collect();
                    }
                    self.scheduler.step(self.is_waited_for());
                    return true;
                }
            }
        }
    }

    /// Gives memory back for a slice, if it is its turn.
    fn reclaim(&mut self) {
        if self.reclaim_queue.is_empty() {
            return;
        }
        let Some(_turn) = self.scheduler.take(RECLAIMING, true) else { return };
        let slice = Slice::begin(&self.commands.world.clock);
        while let Some(&next) =
            self.reclaim_queue.range(self.reclaiming..).next().or_else(|| self.reclaim_queue.first())
        {
            self.reclaiming = next;
            let reclaim = |own: &Running| {
                let arrangement = own.relation.arrangements.iter().nth(next.1);
                own.relation.contain(|| Ok(arrangement.is_some_and(Arrangement::reclaim)))
            };
            if !self.running.get(&next.0).and_then(reclaim).unwrap_or(false) {
                self.reclaim_queue.remove(&next);
            }
            if slice.is_over() {
                break;
            }
        }
    }

    /// Whether some relation has yet to reach the last epoch that was closed.
    pub fn is_behind(&self) -> bool {
        self.unfinished().next().is_some()
    }

    /// Whether some of those are relations that keep up.
    fn is_waited_for(&self) -> bool {
        self.unfinished().any(|relation| !relation.is_behind())
    }

    fn unfinished(&self) -> impl Iterator<Item = &Relation> {
        let closed = self.scheduler.closed();
        let relations = self.late.iter().filter_map(|id| Some(&*self.running.get(id)?.relation));
        relations.filter(move |relation| relation.upper() < closed && !relation.has_failed())
    }

    /// Runs until `Stop` or until the coordinator is gone. Whoever sends a command unparks this thread.
    pub fn run(mut self, timely: &mut Timely) {
        while self.obey(timely) {
            timely.step_or_park((!self.reclaim_queue.is_empty()).then_some(POLL));
        }
    }

    fn carry_out(&mut self, timely: &mut Timely, command: Command) {
        let running = &mut self.running;
        match command {
            Command::Epoch { epoch, changes, quiet } => {
                for (id, packets) in changes {
                    if let Some(table) = running.get(&id) {
                        packets.into_iter().for_each(|packet| table.feeds[0].queue.push(epoch, packet));
                    }
                }
                for (id, Running { relation, feeds }) in running.iter() {
                    match (quiet.contains(id), relation.is_root) {
                        (true, is_root) => {
                            if is_root {
                                feeds[0].queue.pass(epoch);
                            }
                            relation.pass(epoch, &quiet);
                        }
                        (false, is_root) => {
                            if is_root {
                                feeds[0].queue.advance(epoch);
                            }
                            self.late.insert(*id);
                        }
                    }
                }
            }
            Command::Build(context) => {
                let place = Place { worker: timely.index(), workers: timely.peers() };
                let relation = Rc::new(Relation::new(&context, place, &self.commands.world, self.scheduler.clone()));
                let feeds = build::dataflow(timely, *context, &relation, running);
                self.reclaim_queue.extend((0..relation.arrangements.iter().count()).map(|index| (relation.id, index)));
                self.late.insert(relation.id);
                running.insert(relation.id, Running { relation, feeds });
            }
            Command::Drop(id) => {
                if let Some(gone) = running.remove(&id) {
                    gone.relation.stop();
                    gone.feeds.iter().for_each(|feed| feed.queue.close());
                }
            }
            Command::Detach { id, cut } => {
                for feed in running.get(&id).iter().flat_map(|view| &view.feeds) {
                    feed.queue.detach(cut);
                }
            }
            Command::Refill { id, log, to, attach } => {
                if let Some(view) = self.running.get(&id) {
                    view.relation.contain(|| refill(&self.running, view, &log, to, attach));
                }
            }
            Command::Backfill { id, portion, at } => {
                if let Some(view) = self.running.get(&id) {
                    view.relation.contain(|| backfill(&self.running, view, portion, at));
                }
            }
            Command::Compact(since) => {
                for (id, since) in since.iter() {
                    let Some(Running { relation, .. }) = running.get(id) else { continue };
                    let compact = || {
                        let arrangements = relation.arrangements.iter().enumerate();
                        let reclaimable = arrangements.filter(|(_, arrangement)| arrangement.compact(*since));
                        Ok(reclaimable.map(|(index, _)| (*id, index)).collect::<Vec<_>>())
                    };
                    self.reclaim_queue.extend(relation.contain(compact).into_iter().flatten());
                }
            }
            Command::Stop => unreachable!("ends the loop"),
        }
    }
}

/// Gives `view` what its parents changed by up to `to`.
fn refill(running: &BTreeMap<RelationId, Running>, view: &Running, log: &Log, to: Epoch, attach: bool) -> Result<()> {
    for Feed { of, queue, .. } in &view.feeds {
        for (epoch, packet) in log.get(of).into_iter().flatten() {
            queue.refill(*epoch, packet.clone());
        }
        queue.reach(to);
        if attach {
            queue.attach();
            parent(running, *of).tell(queue, to)?;
        }
    }
    Ok(())
}

/// Gives `view` the next portion of its parents' rows.
fn backfill(running: &BTreeMap<RelationId, Running>, view: &Running, portion: Portion, at: Epoch) -> Result<()> {
    for Feed { of, queue, backfill } in &view.feeds {
        backfill.begin(parent(running, *of), portion, at);
        queue.wake();
    }
    Ok(())
}

fn parent(running: &BTreeMap<RelationId, Running>, id: RelationId) -> &Relation {
    &running.get(&id).expect("parents outlive their children").relation
}

/// Sources keep their capabilities, so nothing ends by itself: drop every dataflow, or the worker never returns.
fn end(timely: &mut Timely) {
    for dataflow in timely.installed_dataflows() {
        timely.drop_dataflow(dataflow);
    }
}
