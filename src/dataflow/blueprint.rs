//! What workers need to build a relation, and what it is built among.

use super::packet::Packet;
use super::placement::Placement;
use super::relations::{Failure, Follower, Readable};
use super::{errors, operator, placement};
use std::collections::BTreeMap;
use std::time::Duration;
use weir_sql::catalog::RelationId;
use weir_sql::plan::Plan;
use weir_sql::types::Column;
use weir_storage::arrangement::{Arrangement, Kind, Roles, Spec};
use weir_storage::key::Portion;
use weir_storage::{Epoch, Limits};

/// Everything workers need to run a relation.
pub struct Blueprint {
    pub id: RelationId,
    pub name: String,
    pub body: Body,
    /// Each per worker.
    pub arrangements: Roles<Vec<Arrangement>>,
    /// A fresh relation reads its parents as of this epoch; a restored one holds its state at it and follows from there.
    pub from: Epoch,
    pub fresh: bool,
    /// The rows of its parents that a fresh relation begins with, or a restored one has.
    pub portion: Portion,
    /// The first step of a restored relation that is behind its parents: where the one furthest behind stands.
    pub first: Option<Epoch>,
    /// It has failed already: it stays as it is restored.
    pub failed: Option<Failure>,
}

/// What parents changed by after a restored view's epoch, up to where they stand, per parent. For one worker.
pub type Log = BTreeMap<RelationId, Vec<(Epoch, Packet)>>;

/// A blueprint with what it is built among.
pub struct BuildContext {
    pub blueprint: Blueprint,
    pub follower: Follower,
    pub log: Log,
    pub ordeal: Ordeal,
}

/// What a relation goes through, for tests of what it does to others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordeal {
    /// How long those of a view rest before every step.
    pub rest: Duration,
    /// The piece of work, counted on each worker from 0, at which one panics.
    pub panics_at: Option<u64>,
    /// From when until when sealing it panics, monotonic microseconds.
    pub unsealable: Option<(u64, u64)>,
}

impl Ordeal {
    /// Whether sealing it panics at `now`, monotonic microseconds.
    pub fn is_unsealable(&self, now: u64) -> bool {
        self.unsealable.is_some_and(|(from, until)| (from..until).contains(&now))
    }
}

#[derive(Clone)]
pub enum Body {
    Table { columns: Vec<Column>, key: Option<Vec<usize>> },
    View(Plan),
}

impl Blueprint {
    pub fn is_table(&self) -> bool {
        matches!(self.body, Body::Table { .. })
    }

    /// Whether it has no parents and follows the epochs themselves: a base table, or a view of constants.
    pub fn is_root(&self) -> bool {
        self.body.parents().is_empty()
    }

    /// The first epoch in which its dataflow may say something.
    pub fn start(&self) -> Epoch {
        match self.fresh && !self.is_table() {
            true => self.from,
            false => self.from.next(),
        }
    }
}

impl Body {
    pub fn columns(&self) -> &[Column] {
        match self {
            Body::Table { columns, .. } => columns,
            Body::View(plan) => &plan.root.columns,
        }
    }

    /// The relations it reads.
    pub fn parents(&self) -> Vec<RelationId> {
        match self {
            Body::Table { .. } => vec![],
            Body::View(plan) => plan.root.relations(),
        }
    }

    pub fn key(&self) -> Option<&Vec<usize>> {
        match self {
            Body::Table { key, .. } => key.as_ref(),
            Body::View(plan) => plan.key.as_ref(),
        }
    }

    /// What the arrangements of a relation are.
    pub fn specs(&self) -> Roles<Spec> {
        let mut operators = vec![];
        if let Body::View(plan) = self {
            plan.root.visit(&mut |node| operators.extend(operator::specs(node)));
        }
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(
            self.columns().iter().map(Column::field).collect::<Vec<_>>(),
        ));
        let rows = match self.key() {
            Some(key) => Spec { kind: Kind::Keyed, schema, key: key.clone() },
            None => Spec { kind: Kind::Bag, schema, key: vec![] },
        };
        let errors = Spec { kind: Kind::Bag, schema: errors::SCHEMA.clone(), key: vec![placement::ERROR_KEY] };
        Roles { operators, rows, errors }
    }

    /// Empty arrangements of a relation, each per worker.
    pub fn arrangements(&self, workers: usize, limits: Limits) -> Roles<Vec<Arrangement>> {
        self.specs().map(|spec| (0..workers).map(|_| Arrangement::new(spec.clone(), limits)).collect())
    }

    /// What readers see of a relation with these arrangements, each per worker.
    pub fn readable(&self, id: RelationId, arrangements: &Roles<Vec<Arrangement>>) -> Readable {
        let key = self.key().cloned().unwrap_or_default();
        let Roles { rows, errors, .. } = arrangements;
        Readable::new(id, self.columns().to_vec(), key, rows.clone(), errors.clone())
    }

    /// Where the rows of each arrangement live.
    pub fn placements(&self) -> Roles<Placement> {
        let mut operators = vec![];
        if let Body::View(plan) = self {
            plan.root.visit(&mut |node| operators.extend(operator::placed(node).into_iter().map(Placement::Key)));
        }
        let rows = Placement::of_relation(self.key().map_or(&[][..], Vec::as_slice), self.columns().len());
        Roles { operators, rows, errors: Placement::ErrorKey }
    }
}
