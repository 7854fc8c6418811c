//! Objects that are damaged or missing.
//!
//! The store opens all the same, unless it is the newest manifest that cannot be read: then the start says so by name, and the object is
//! put back. A view is rebuilt, a table has failed; whoever reads it gets its error, and it can be dropped and made again.

use super::super::disk::Damage;
use super::super::upstream::{self, TABLES};
use super::{Meaning, Result, World};
use weir::catalog::{Body, Life};
use weir::dataflow::relations::Failure;
use weir_sql::catalog::RelationId;

/// What a failure says of state that cannot be read.
const DAMAGED: &str = "its state in the store is damaged";

impl World {
    /// Whether a relation may have failed like this: only tables fail for damage, and what reads them with them.
    pub(super) fn is_for_damage(&self, failure: &Failure) -> bool {
        let catalog = self.catalog();
        let of_table = catalog.get(failure.of.0).is_none_or(|object| matches!(object.body, Body::Table(_)));
        of_table && self.disk.is_damaged() && failure.cause.message.contains(DAMAGED)
    }

    /// All relations are in memory again.
    pub(super) fn is_restored(&self) -> bool {
        self.node().handle.restoring.borrow().is_none()
    }

    pub(super) async fn damage(&mut self, of: u64, damage: Damage) {
        let what = self.disk.damage(of, damage).await;
        self.trace.push(format!("{} damaged: {what:?}", self.time.now()));
    }

    /// Upstream keeps what came since a table failed (I7).
    pub(super) fn check_confirmed(&mut self) -> Result<()> {
        // One that hung may confirm what it knew to be durable.
        let may_fail = self.hung.is_empty() && !self.is_aside && self.disk.is_damaged();
        let Some(node) = self.nodes.last().filter(|_| may_fail) else { return Ok(()) };
        let (id, catalog, relations) = (node.id, node.handle.catalog.borrow().clone(), node.handle.relations.clone());
        let is_fed = |body: &Body| matches!(body, Body::Table(table) if table.upstream.is_some());
        let fed = catalog.objects.values().filter(|object| is_fed(&object.body)).map(|object| RelationId(object.id));
        let has_failed = fed.filter_map(|id| relations.get(id)).any(|table| table.has_failed());
        let confirmed = self.upstream.confirmed();
        match self.held.filter(|(node, _)| *node == id && has_failed) {
            Some((_, held)) if confirmed > held => {
                Err(format!("I7: {confirmed:?} was acknowledged, a table had failed at {held:?}"))
            }
            Some(_) => Ok(()),
            None => {
                self.held = has_failed.then_some((id, confirmed));
                Ok(())
            }
        }
    }

    /// Tables that have failed are dropped and made again, as their error says.
    pub(super) async fn mend(&mut self) -> Result<()> {
        self.until("everything is brought back", Self::is_restored).await?;
        let catalog = self.catalog();
        let relations = self.node().handle.relations.clone();
        let has_failed = |id: u32| relations.get(RelationId(id)).is_some_and(|r| r.has_failed());
        let tables = catalog.objects.values().filter(|object| matches!(object.body, Body::Table(_)));
        let failed = tables.filter(|object| object.life != Life::Dropping && has_failed(object.id));
        let failed: Vec<String> = failed.map(|object| object.name.clone()).collect();
        for name in failed {
            self.trace.push(format!("{} \"{name}\" has failed, and is made again", self.time.now()));
            self.drop_cascade("TABLE", &name).await?;
            let drop = format!("DROP TABLE {name} CASCADE");
            let is_answered = |world: &Self| world.asked.iter().all(|asked| asked.text != drop);
            self.until("a table that has failed is dropped", is_answered).await?;
            if let Some(table) = TABLES.into_iter().find(|table| upstream::name(*table) == name) {
                if !self.slot_lost {
                    self.follow(table).await?;
                }
            } else {
                (self.inserted, self.maybe_inserted) = Default::default();
                self.create_notes().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn create_notes(&mut self) -> Result<()> {
        self.ask("CREATE TABLE notes (id bigint PRIMARY KEY, n bigint)", Meaning::Creates("notes".into())).await
    }
}
