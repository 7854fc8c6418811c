//! From a relation's blueprint to its dataflow. Everything is checked before workers are told, so building should not fail. If it does, it
//! is the relation's failure ([`Relation::contain`]), and what is built has the shape that it has on the other workers: they number
//! channels alike, so that no call of timely's may be left out.

use super::backfill::Backfill;
use super::blueprint::{Blueprint, Body, BuildContext, Log};
use super::host::{Hosting, host};
use super::operator::{self, Absent};
use super::output::{filler, negate, output};
use super::packet::Packet;
use super::placement::Placement;
use super::relation::Relation;
use super::relations::Follower;
use super::running::{Feed, Running};
use super::source::{Following, Reading, source};
use super::table::Table;
use super::tap::Queue;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::{Scope, Stream};
use timely::worker::Worker;
use weir_sql::catalog::RelationId;
use weir_sql::plan::{Node, Operator};
use weir_storage::arrangement::{Arrangement, Roles};
use weir_storage::key::Portion;

/// Builds the dataflow on this worker; returns what feeds it.
pub fn dataflow(
    worker: &mut Worker,
    context: BuildContext,
    relation: &Rc<Relation>,
    running: &BTreeMap<RelationId, Running>,
) -> Vec<Feed> {
    let BuildContext { blueprint, follower, log, .. } = context;
    let blueprint = &blueprint;
    let Roles { operators, rows, errors } = &relation.arrangements;
    let table = Table { rows: rows.clone(), errors: errors.clone(), key: blueprint.body.key().cloned() };
    let rows = match &blueprint.body {
        Body::Table { key: Some(key), .. } => Placement::Key(key.clone()),
        body => Placement::of_relation(body.key().map_or(&[][..], Vec::as_slice), body.columns().len()),
    };
    worker.dataflow_named::<u64, _, _>(&blueprint.name, |scope| match &blueprint.body {
        Body::Table { key, .. } => {
            let (queue, reading) = from_now_on(blueprint, relation);
            let mut stream = source(scope, &blueprint.name, reading);
            if let Some(key) = key {
                stream = filler(scope, stream, relation.clone(), key.clone());
            }
            output(scope, stream, relation.clone(), table, rows);
            vec![Feed::of(blueprint.id, queue)]
        }
        Body::View(plan) => {
            let mut states = VecDeque::from(operators.clone());
            let mut builder = Builder {
                scope,
                blueprint,
                relation,
                running,
                follower: &follower,
                log: &log,
                states: &mut states,
                feeds: vec![],
                hosts: 0,
            };
            let mut stream = builder.build(&plan.root);
            if relation.is_root {
                stream = builder.clock(stream);
            }
            let feeds = builder.feeds;
            output(scope, stream, relation.clone(), table, rows);
            feeds
        }
    })
}

fn name(node: &Node) -> &'static str {
    match node.operator {
        Operator::Scan { .. } => "scan",
        Operator::Values { .. } => "values",
        Operator::Map { .. } => "map",
        Operator::Join { .. } => "join",
        Operator::Reduce { .. } => "reduce",
        Operator::Distinct { .. } => "distinct",
        Operator::Union { .. } => "union",
        Operator::Negate { .. } => "negate",
        Operator::Threshold { .. } => "threshold",
    }
}

struct Builder<'a, 's> {
    scope: Scope<'s, u64>,
    blueprint: &'a Blueprint,
    relation: &'a Rc<Relation>,
    running: &'a BTreeMap<RelationId, Running>,
    follower: &'a Follower,
    log: &'a Log,
    states: &'a mut VecDeque<Arrangement>,
    feeds: Vec<Feed>,
    /// Hosts so far.
    hosts: u32,
}

impl<'s> Builder<'_, 's> {
    fn build(&mut self, node: &Node) -> Stream<'s, u64, Packet> {
        match &node.operator {
            Operator::Scan { relation, projection, .. } => self.scan(*relation, projection),
            Operator::Union { inputs } => {
                let streams: Vec<_> = inputs.iter().map(|input| self.build(input)).collect();
                self.scope.concatenate(streams)
            }
            Operator::Negate { input } => {
                let stream = self.build(input);
                each(stream, "negate", self.relation.clone(), negate)
            }
            _ => self.operator(node),
        }
    }

    fn operator(&mut self, node: &Node) -> Stream<'s, u64, Packet> {
        // Parents take their arrangements before children, as `Body::specs` visits them.
        let own: Vec<Arrangement> = self.states.drain(..operator::specs(node).len()).collect();
        let linear = matches!(node.operator, Operator::Map { .. });
        let built =
            self.relation.contain(|| Ok(operator::build(node, self.relation.place, self.relation.part().bytes, own)));
        let number = self.hosts;
        self.hosts += 1;
        let inputs: Vec<_> = node.inputs().into_iter().map(|input| self.build(input)).collect();
        let operator = built.unwrap_or_else(|| Box::new(Absent { inputs: inputs.len() }));
        let first = (self.blueprint.fresh && !linear).then_some(self.blueprint.from);
        let hosting = Hosting { name: name(node).into(), linear, number, first };
        host(self.scope, inputs, operator, hosting, self.relation.clone())
    }

    /// Constants never change, so nothing else would take a view of them from epoch to epoch.
    fn clock(&mut self, stream: Stream<'s, u64, Packet>) -> Stream<'s, u64, Packet> {
        let (queue, reading) = from_now_on(self.blueprint, self.relation);
        if self.blueprint.fresh {
            queue.advance(self.blueprint.from);
        }
        self.feeds.push(Feed::of(self.blueprint.id, queue));
        let ticks = source(self.scope, &self.blueprint.name, reading);
        self.scope.concatenate([stream, ticks])
    }

    /// A parent as of its upper on this worker, counted as of `from`, then its change log.
    fn scan(&mut self, parent: RelationId, projection: &[usize]) -> Stream<'s, u64, Packet> {
        let parent = &self.running.get(&parent).expect("parents are built before their children").relation;
        let queue = parent.tap.subscribe(self.follower.view.clone());
        let width = parent.arrangements.rows.spec().schema.fields().len();
        let projection = (!projection.iter().copied().eq(0..width)).then(|| projection.to_vec());
        let Blueprint { fresh, portion, .. } = *self.blueprint;
        let taken = if fresh { Portion::NOTHING } else { portion };
        let backfill = Rc::new(Backfill::new(&parent.arrangements.rows, projection, taken));
        let from = self.blueprint.start();
        if fresh {
            self.relation.contain(|| {
                backfill.begin(parent, portion, from);
                Ok(())
            });
        }
        if taken != Portion::ALL {
            let rows = parent.arrangements.rows.rows() as usize;
            self.relation.work().comes(rows);
            self.relation.work().is_done(rows / Portion::PARTS as usize * taken.to() as usize);
        }
        self.feeds.push(Feed { of: parent.id, queue: queue.clone(), backfill: backfill.clone() });
        // A fresh view has the parent's rows as of now. The log of another leads to where the parent was restored: one that was behind
        // itself may have gone on since, while this view was being read back.
        let after = if self.blueprint.fresh { parent.upper() } else { parent.restored_at };
        self.relation.contain(|| {
            for (epoch, packet) in self.log.get(&parent.id).into_iter().flatten() {
                queue.push(*epoch, packet.clone());
            }
            parent.tell(&queue, after)
        });
        let following = Following::Steps(self.follower.clone());
        let relation = self.relation.clone();
        source(self.scope, &self.blueprint.name, Reading { from, queue, backfill, following, relation })
    }
}

/// A queue and what is read from it alone.
fn from_now_on(blueprint: &Blueprint, relation: &Rc<Relation>) -> (Rc<Queue>, Reading) {
    let queue = Rc::new(Queue::input(relation.tap.group()));
    let (from, following) = (blueprint.start(), Following::Every);
    let relation = relation.clone();
    (queue.clone(), Reading { from, queue, backfill: Rc::new(Backfill::none()), following, relation })
}

/// A stateless change of every packet.
fn each<'s>(
    stream: Stream<'s, u64, Packet>,
    name: &str,
    relation: Rc<Relation>,
    f: impl Fn(Packet) -> Packet + 'static,
) -> Stream<'s, u64, Packet> {
    stream.unary::<CapacityContainerBuilder<Packet>, _, _, _>(Pipeline, name, move |_, _| {
        move |input, output| {
            input.for_each(|capability, packet| {
                let packet = std::mem::take(packet);
                if let Some(mut packet) = relation.contain(|| Ok(f(packet))) {
                    output.session(&capability).give_container(&mut packet);
                }
            });
        }
    })
}
