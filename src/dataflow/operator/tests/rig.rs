//! Runs one operator on some workers as the host would, epoch by epoch, and stops and restores it.

use super::value::{Rows, add};
use crate::dataflow::operator::{Operator, Piece, Place, Route, build, check, placed, specs};
use weir_sql::plan::Node;
use weir_storage::arrangement::Arrangement;
use weir_storage::key::{Keys, owner};
use weir_storage::{Delta, Epoch, Limits};

/// On several workers everything is cut where it can be.
fn limits(workers: usize) -> Limits {
    if workers == 1 { Limits::default() } else { Limits::TINY }
}

pub struct Rig {
    node: Node,
    epoch: Epoch,
    workers: Vec<Worker>,
}

struct Worker {
    operator: Box<dyn Operator>,
    arrangements: Vec<Arrangement>,
}

/// What came out in an epoch, added up.
#[derive(Debug, Default)]
pub struct Answer {
    pub rows: Rows,
    pub errors: Rows,
}

impl Rig {
    pub fn new(node: Node, workers: usize) -> Self {
        check(&node).expect("a plan that can be built");
        let mut rig = Self { node, epoch: Epoch::ZERO, workers: vec![] };
        let empty = || specs(&rig.node).into_iter().map(|spec| Arrangement::new(spec, limits(workers))).collect();
        let arrangements = (0..workers).map(|_| empty()).collect();
        rig.workers = rig.built(arrangements);
        rig
    }

    fn built(&self, arrangements: Vec<Vec<Arrangement>>) -> Vec<Worker> {
        let workers = arrangements.len();
        let bytes = limits(workers).batch_bytes;
        let worker = |(worker, arrangements): (usize, Vec<Arrangement>)| Worker {
            operator: build(&self.node, Place { worker, workers }, bytes, arrangements.clone()),
            arrangements,
        };
        arrangements.into_iter().enumerate().map(worker).collect()
    }

    /// `inputs` are consolidated. The first epoch begins everywhere, later ones where rows are.
    pub fn epoch(&mut self, inputs: &[Delta], budget: usize) -> Answer {
        let first = self.epoch == Epoch::ZERO;
        self.epoch = self.epoch.next();
        let count = self.workers.len();
        let mut parts: Vec<Vec<Vec<Delta>>> = vec![vec![]; count];
        let routes = self.workers[0].operator.routes();
        assert_eq!(routes.len(), inputs.len());
        for (input, route) in inputs.iter().zip(routes) {
            for (worker, rows) in split(input, &route, count).into_iter().enumerate() {
                parts[worker].push(if rows.is_empty() { vec![] } else { vec![rows] });
            }
        }
        let mut answer = Answer::default();
        for (worker, inputs) in self.workers.iter_mut().zip(parts) {
            if first || inputs.iter().any(|deltas| !deltas.is_empty()) {
                worker.run(self.epoch, inputs, budget, &mut answer);
            }
            for arrangement in &worker.arrangements {
                arrangement.advance(self.epoch);
                arrangement.compact(self.epoch);
                arrangement.reclaim();
            }
        }
        answer
    }

    /// As after a crash: everything but the contents of the arrangements is forgotten, and there may be other workers.
    pub fn restart(&mut self, workers: usize) {
        let mut fresh: Vec<Vec<Arrangement>> = vec![vec![]; workers];
        for (index, (spec, placed)) in specs(&self.node).into_iter().zip(placed(&self.node)).enumerate() {
            let empty = || Arrangement::new(spec.clone(), limits(workers));
            let arrangements: Vec<Arrangement> = (0..workers).map(|_| empty()).collect();
            for worker in &self.workers {
                let snapshot = worker.arrangements[index].snapshot(self.epoch).unwrap();
                for rows in snapshot.scan(None) {
                    let parts = split(&rows.unwrap(), &Route::Key(placed.clone()), workers);
                    for (arrangement, rows) in arrangements.iter().zip(parts) {
                        arrangement.apply(self.epoch, &rows).unwrap();
                    }
                }
            }
            for (worker, arrangement) in fresh.iter_mut().zip(arrangements) {
                arrangement.advance(self.epoch);
                worker.push(arrangement);
            }
        }
        self.workers = self.built(fresh);
    }
}

impl Worker {
    fn run(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>, budget: usize, answer: &mut Answer) {
        self.operator.begin(epoch, inputs).unwrap();
        loop {
            match self.operator.poll(budget).unwrap() {
                Piece::Rows(delta) => add(&mut answer.rows, &delta),
                Piece::Errors(delta) => add(&mut answer.errors, &delta),
                Piece::Done => break,
            }
        }
    }
}

fn split(rows: &Delta, route: &Route, workers: usize) -> Vec<Delta> {
    let worker = |keys: &Keys, row: u32| owner(keys.vnode(row as usize), workers);
    let keys = match route {
        Route::Stay => Keys::unit(rows.len()),
        Route::Key(columns) => Keys::of(rows.rows(), columns).unwrap(),
    };
    let of = |owner: usize| (0..rows.len() as u32).filter(|&row| worker(&keys, row) == owner).collect::<Vec<_>>();
    (0..workers).map(|owner| rows.take(&of(owner)).unwrap()).collect()
}
