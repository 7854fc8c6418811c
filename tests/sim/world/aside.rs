//! Copies of the store: one that is opened beside the store it was copied from, and one that takes its place.
//!
//! A copy is what the store was when it was copied. It answers as of then, touches nothing upstream, and the other server does not
//! notice it. Once its source is taken over by ALTER SOURCE … RESUME, it continues where it stood.

use super::super::disk::Disk;
use super::super::model;
use super::super::time::{Dice, Time, WorldClock};
use super::{Meaning, Result, World};
use std::sync::Arc;
use weir::catalog::{Body, Catalog, Life};
use weir_storage::fault::{Faults, Faulty};

/// As nodes reach a disk.
pub fn faulty(disk: &Arc<Disk>, faults: Faults, time: &Arc<Time>, dice: &Dice) -> Arc<Faulty> {
    let faulty = Faulty::new(disk.clone(), dice.below(u64::MAX), faults);
    Arc::new(faulty.with_clock(Arc::new(WorldClock(time.clone()))))
}

impl World {
    /// The same objects at another place, and what is known of them; no server runs there.
    fn copy(&self) -> Self {
        let disk = Arc::new(self.disk.copy(self.dice.below(u64::MAX)));
        Self {
            faults: self.faults,
            faulty: faulty(&disk, self.faults, &self.time, &self.dice),
            is_aside: true,
            known: self.known.clone(),
            doubtful: self.doubtful.clone(),
            views: self.views.clone(),
            ordeals: self.ordeals.clone(),
            state_limit: self.state_limit,
            next: self.next,
            inserted: self.inserted.clone(),
            maybe_inserted: self.maybe_inserted.clone(),
            at: self.at.clone(),
            slot_lost: self.slot_lost,
            ..Self::on(disk, &self.time, &self.dice, &self.upstream)
        }
    }

    /// Opens a copy beside the store, and uses it for a while.
    pub(super) async fn open_copy(&mut self) -> Result<()> {
        let mut copy = self.copy();
        let used = copy.is_used_aside().await.map_err(|error| format!("in a copy: {error}"));
        while let Some(node) = copy.nodes.pop() {
            copy.bury(node);
        }
        self.trace.append(&mut copy.trace);
        self.reads += copy.reads;
        used
    }

    async fn is_used_aside(&mut self) -> Result<()> {
        self.start().await?;
        self.is_what_it_was().await?;
        self.insert();
        let kind = self.dice.below(model::STACKED as u64) as usize;
        self.create_view(kind, &model::query(kind, &[])).await?;
        self.upstream.work(10);
        self.answered().await?;
        self.is_what_it_was().await?;
        if self.dice.once_in(3) && self.catalog().by_name("s").is_some_and(|source| source.life == Life::Live) {
            self.drop_cascade("SOURCE", "s").await?;
            self.answered().await?;
        }
        self.check_catalog()
    }

    /// Everything that was readable is, and is as of when the store was copied.
    async fn is_what_it_was(&mut self) -> Result<()> {
        let commits = self.durable();
        let complete = |copy: &Self| {
            let closed = copy.node().handle.progress.borrow().closed;
            let relations = &copy.node().handle.relations;
            let there = |id| relations.get(id).is_some_and(|r| r.has_failed() || r.is_live() && r.upper() == closed);
            copy.is_restored() && copy.live().into_iter().all(|(_, id)| there(id))
        };
        self.until("a copy is what it was", complete).await?;
        self.check_catalog()?;
        let names: Vec<String> = self.live().into_iter().map(|(name, _)| name).collect();
        self.read(Some(&names))?;
        match self.ticks().filter(|ticks| *ticks != commits) {
            Some(ticks) => Err(format!("{ticks} commits seen, it was copied with {commits}")),
            None => Ok(()),
        }
    }

    /// The server dies, and its store continues somewhere else.
    pub(super) async fn move_store(&mut self) -> Result<()> {
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        let hung = std::mem::take(&mut self.hung).into_iter().map(|(node, _)| node);
        nodes.chain(hung).for_each(|node| self.bury(node));
        let copy = self.copy();
        let newest = copy.disk.newest().ok_or("there is no manifest")?;
        let catalog = Catalog::of(&newest).map_err(|e| e.to_string())?;
        let sources = catalog.objects.values().filter_map(|object| match &object.body {
            Body::Source(source) => Some(source.identity.token),
            _ => None,
        });
        sources.for_each(|token| self.upstream.moves(&copy.disk, token));
        (self.disk, self.faulty) = (copy.disk, copy.faulty);
        self.start().await?;
        self.ask("ALTER SOURCE s RESUME", Meaning::Nothing).await
    }
}
