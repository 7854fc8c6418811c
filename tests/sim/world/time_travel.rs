//! Somebody reads the past, and takes his time (`FOR SYSTEM_TIME AS OF`).
//!
//! Whatever is read is right as of the epoch at which the manifest has it. A server that has had the store for itself keeps all that is
//! being read (I10); others may have deleted it: then the reader gets an error.

use super::super::model::{self, Rows};
use super::super::upstream::{self, TABLES};
use super::{Result, World, add, less};
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use weir::catalog::{Catalog, Life};
use weir::coordinator::past::{Arranged, Stored, stored};
use weir_storage::history::{At, Found, History};
use weir_storage::run::{self, Sum};
use weir_storage::{Env, Epoch, Error};

/// One that reads it.
pub struct Reader {
    /// On which node.
    pub node: u64,
    answer: oneshot::Receiver<weir_storage::Result<Read>>,
}

/// Where each relation stood, its rows, and how many errors it had.
type Read = BTreeMap<String, (Epoch, Rows, i64)>;

impl World {
    /// Begins to read as of so many microseconds ago.
    pub(super) fn read_past(&mut self, ago: u64) {
        let node = self.node();
        let (history, env, id) = (node.handle.history.clone(), node.env.clone(), node.id);
        let at = At::Time(env.clock.now() - ago as i64);
        let patience = self.dice.below([1_000, 1_000_000, 60_000_000][self.dice.below(3) as usize]);
        let (tell, answer) = oneshot::channel();
        spawn_local(async move {
            let _ = tell.send(read(&history, &env, at, patience).await);
        });
        self.readers.push(Reader { node: id, answer });
    }

    /// Much happens until the last one has read.
    pub(super) async fn wait_for_readers(&mut self) -> Result<()> {
        if self.readers.is_empty() {
            return Ok(());
        }
        while !self.readers.is_empty() {
            self.upstream.work(6);
            self.pass(1_000_000).await?;
        }
        self.upstream.rest();
        self.arrive().await
    }

    pub(super) fn check_past(&mut self) -> Result<()> {
        for mut reader in std::mem::take(&mut self.readers) {
            match reader.answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => self.readers.push(reader),
                Err(oneshot::error::TryRecvError::Closed) | Ok(Err(Error::Retry(_))) => {}
                Ok(Ok(read)) => self.compare_past(&read)?,
                Ok(Err(_)) if self.disk.is_damaged() || self.owners > 1 => {}
                Ok(Err(error)) => return Err(format!("what is being read was taken away: {error}")),
            }
        }
        Ok(())
    }

    fn compare_past(&mut self, read: &Read) -> Result<()> {
        let ticks = read.get("ticks").map(|(at, rows, _)| (at, rows));
        let seen = ticks.and_then(|(at, rows)| Some((*at, rows.keys().next()?[1].as_ref()?.parse().ok()?)));
        for (name, (at, rows, errors)) in read {
            let own = seen.filter(|(epoch, _)| epoch == at).map(|(_, commits)| commits);
            let Some(commits) = own.or_else(|| self.at.get(at).copied()) else { continue };
            let Some(contents) = self.upstream.contents(commits) else {
                return Err(format!("{commits} commits seen in the past, there were {}", self.upstream.commits()));
            };
            let (right, failed) = match TABLES.into_iter().find(|table| upstream::name(*table) == name) {
                Some(table) => (model::count(contents[&table].values().map(upstream::Row::values)), 0),
                None => match self.views.get(name) {
                    Some(kind) => model::evaluate(*kind, &contents),
                    None => continue,
                },
            };
            if *rows != right || *errors != failed {
                let (more, missing) = (less(rows, &right), less(&right, rows));
                return Err(format!(
                    "\"{name}\" as of {at}, {commits} commits: {errors} errors, not {failed}; too much {more:?}, missing {missing:?}"
                ));
            }
            self.reads += 1;
        }
        Ok(())
    }
}

/// Everything that a manifest holds whole, after a while.
async fn read(history: &History, env: &Env, at: At, patience: u64) -> weir_storage::Result<Read> {
    let Found::Snapshot(snapshot) = history.open(env, at).await? else { return Ok(Read::new()) };
    env.clock.sleep(patience).await;
    let catalog = Catalog::of(&snapshot.manifest).map_err(|e| Error::Invalid(e.to_string()))?;
    let mut read = Read::new();
    for object in catalog.objects.values().filter(|object| object.life == Life::Live) {
        let Some(Stored { upper, kept }) = stored(&snapshot.manifest, object) else { continue };
        let (rows, errors) = (sum(env, kept.rows).await?, sum(env, kept.errors).await?);
        read.insert(object.name.clone(), (upper, rows, errors.values().sum()));
    }
    Ok(read)
}

async fn sum(env: &Env, arranged: Arranged) -> weir_storage::Result<Rows> {
    let mut runs = vec![];
    for run in arranged.runs {
        let bytes = run::fetch(env, &run).await?;
        runs.push((run, bytes));
    }
    let mut rows = Rows::new();
    for delta in Sum::open(arranged.spec, runs, env.limits)?.rows(&|_| true, None)? {
        add(&mut rows, &delta).map_err(Error::Invalid)?;
    }
    rows.retain(|_, n| *n != 0);
    Ok(rows)
}
