//! The object store of a simulation: a directory of a machine that may lose power, faulty, and watched.
//!
//! Whatever a node asks goes through its gate, then through injected faults, then to the [`Disk`], which checks what must hold of
//! every write: I6, I8, I9, I10, and that positions never go back. Objects on it may be damaged, and all of it copied.

use super::time::{Gate, Inline};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use weir::catalog::{Body, Catalog, Life};
use weir::connector::Position;
use weir::connector::postgres::lsn::Place;
use weir_storage::arrangement::Roles;
use weir_storage::env::{Created, Objects};
use weir_storage::fault::files::Volatile;
use weir_storage::manifest::{Manifest, Root};
use weir_storage::store::local::Local;
use weir_storage::{Epoch, Result, manifest};

pub struct Disk {
    files: Volatile,
    objects: Mutex<Arc<dyn Objects>>,
    state: Mutex<State>,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    pub how: How,
    /// Where in it, around and around.
    pub at: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum How {
    Flipped,
    Cut,
    Missing,
}

#[derive(Default)]
struct State {
    manifests: BTreeMap<u64, Manifest>,
    sizes: BTreeMap<String, u64>,
    pages: BTreeMap<String, Bytes>,
    /// Objects that were damaged, as they were.
    damaged: BTreeMap<String, Bytes>,
    /// What the next read but so many asks for is damaged before it is read.
    spoils: Option<(u64, Damage)>,
    broken: Option<String>,
    /// Every write, in order.
    writes: Vec<String>,
}

impl Disk {
    pub fn new(seed: u64) -> Self {
        let files = Volatile::new(seed);
        Self { objects: Mutex::new(open(&files)), files, state: Mutex::default() }
    }

    /// What was not synced may be gone.
    pub fn lose_power(&self) {
        self.files.lose_power();
        *self.objects.lock().unwrap() = open(&self.files);
    }

    /// The same objects at another place.
    pub fn copy(&self, seed: u64) -> Self {
        let files = self.files.copy(seed);
        let state = self.state.lock().unwrap();
        let copied = State {
            manifests: state.manifests.clone(),
            sizes: state.sizes.clone(),
            pages: state.pages.clone(),
            damaged: state.damaged.clone(),
            ..State::default()
        };
        Self { objects: Mutex::new(open(&files)), files, state: Mutex::new(copied) }
    }

    fn objects(&self) -> Arc<dyn Objects> {
        self.objects.lock().unwrap().clone()
    }

    // --- damage

    /// Damages one of the objects, more likely one that the newest manifest names; which.
    pub async fn damage(&self, of: u64, damage: Damage) -> Option<String> {
        let path = self.state.lock().unwrap().victim(of)?;
        self.spoil(&path, damage).await;
        Some(path)
    }

    /// Damages what the next read but so many asks for, or nothing any more.
    pub fn spoil_read(&self, spoils: Option<(u64, Damage)>) {
        self.state.lock().unwrap().spoils = spoils;
    }

    pub fn is_damaged(&self) -> bool {
        !self.state.lock().unwrap().damaged.is_empty()
    }

    /// Puts back what a start cannot do without, if `told` names it.
    pub async fn put_back(&self, told: &str) -> bool {
        let damaged = self.state.lock().unwrap().damaged.clone();
        let needed = |path: &str| path.starts_with(manifest::FOLDER) || path.ends_with(".pages");
        let Some((path, bytes)) = damaged.into_iter().find(|(path, _)| needed(path) && told.contains(path)) else {
            return false;
        };
        self.objects().put(&path, bytes).await.expect("the directory can be written");
        self.state.lock().unwrap().damaged.remove(&path).is_some()
    }

    async fn spoil(&self, path: &str, damage: Damage) {
        let objects = self.objects();
        let Ok(Some(bytes)) = objects.get(path).await else { return };
        let mut spoilt = bytes.to_vec();
        let at = damage.at as usize % bytes.len().max(1);
        {
            let mut state = self.state.lock().unwrap();
            state.damaged.entry(path.into()).or_insert(bytes);
            state.writes.push(format!("{path} is {:?} at {at}", damage.how));
            if let (How::Missing, Some(sequence)) = (damage.how, Manifest::sequence_of(path)) {
                // What it names nobody needs any more.
                state.manifests.remove(&sequence);
            }
        }
        let done = match damage.how {
            How::Flipped => {
                spoilt.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (damage.at % 8));
                objects.put(path, spoilt.into()).await
            }
            How::Cut => objects.put(path, spoilt[..at].to_vec().into()).await,
            How::Missing => objects.delete(path).await,
        };
        done.expect("the directory can be written");
    }

    async fn read(&self, path: &str) {
        let spoils = self.state.lock().unwrap().spoils_now(path);
        if let Some(damage) = spoils {
            self.spoil(path, damage).await;
        }
    }

    /// The first promise that was broken.
    pub fn broken(&self) -> Option<String> {
        self.state.lock().unwrap().broken.clone()
    }

    /// Every write so far.
    pub fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    pub fn newest(&self) -> Option<Manifest> {
        self.state.lock().unwrap().manifests.values().next_back().cloned()
    }
}

fn open(files: &Volatile) -> Arc<dyn Objects> {
    Arc::new(Local::on(files.clone(), Arc::new(Inline), "/store".into()).expect("a directory in memory"))
}

impl State {
    /// An object to be damaged.
    fn victim(&self, of: u64) -> Option<String> {
        let newest = self.manifests.values().next_back()?;
        let all: Vec<String> = match of % 8 {
            0 => self.manifests.keys().filter(|n| !self.is_looked_for(**n)).map(|n| Manifest::path(*n)).collect(),
            1 => self.sizes.keys().cloned().collect(),
            _ => newest.objects().into_iter().map(String::from).collect(),
        };
        all.get((of / 8) as usize % all.len().max(1)).cloned()
    }

    /// The newest manifests: without them the store is not the one that its owner has, who ends.
    fn is_looked_for(&self, sequence: u64) -> bool {
        self.manifests.keys().rev().take(2).any(|newest| *newest <= sequence)
    }

    fn spoils_now(&mut self, path: &str) -> Option<Damage> {
        let (left, damage) = self.spoils?;
        if Manifest::sequence_of(path).is_some_and(|sequence| self.is_looked_for(sequence)) {
            return None;
        }
        self.spoils = (left > 0).then(|| (left - 1, damage));
        (left == 0).then_some(damage)
    }

    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    fn made(&mut self, sequence: u64, bytes: &Bytes) {
        let newest = self.manifests.values().next_back();
        if newest.is_some_and(|newest| newest.sequence > sequence) {
            // Of one who slept while others went on: it counts for nothing.
            return;
        }
        let path = Manifest::path(sequence);
        let root = Root::decode(&path, bytes);
        let manifest = match root.and_then(|root| root.whole(&path, |object| self.pages.get(object).cloned())) {
            Ok(manifest) => manifest,
            Err(error) => return self.breaks(format!("manifest {sequence} cannot be read: {error}")),
        };
        if let Err(what) = check(&manifest, newest, &self.sizes) {
            self.breaks(format!("manifest {sequence} of generation {}: {what}", manifest.generation));
        }
        self.manifests.insert(sequence, manifest);
    }

    fn gone(&mut self, path: &str) {
        self.writes.push(format!("delete {path}"));
        if let Some(sequence) = Manifest::sequence_of(path) {
            if self.manifests.keys().next_back() == Some(&sequence) {
                self.breaks(format!("I10: {path} is the newest manifest and was deleted"));
            }
            self.manifests.remove(&sequence);
            return;
        }
        self.sizes.remove(path);
        self.pages.remove(path);
        if let Some(manifest) = self.manifests.values().find(|manifest| manifest.objects().contains(path)) {
            let sequence = manifest.sequence;
            self.breaks(format!("I10: {path} was deleted, manifest {sequence} names it"));
        }
    }
}

fn check(manifest: &Manifest, last: Option<&Manifest>, sizes: &BTreeMap<String, u64>) -> Result<(), String> {
    for run in manifest.arrangements.values().flat_map(|state| &state.runs) {
        if sizes.get(&run.object).is_none_or(|size| *size < run.offset + run.length) {
            return Err(format!("I6: {} is named and not there in full", run.object));
        }
    }
    if let Some(last) = last {
        if manifest.generation < last.generation {
            return Err(format!("I9: generation {} had the store", last.generation));
        }
        if manifest.epoch < last.epoch || manifest.now < last.now {
            return Err(format!("epoch {} after {}", manifest.epoch, last.epoch));
        }
        for (source, position) in &last.positions {
            let (Some(next), Some(last)) = (manifest.positions.get(source).and_then(place), place(position)) else {
                continue;
            };
            if next.lsn < last.lsn {
                return Err(format!("the position of source {source} went back from {} to {}", last.lsn, next.lsn));
            }
        }
    }
    change_logs_reach(manifest)
}

/// I8: whatever a view has yet to read of its parents is there.
fn change_logs_reach(manifest: &Manifest) -> Result<(), String> {
    let catalog = Catalog::of(manifest).map_err(|e| e.to_string())?;
    for object in catalog.objects.values() {
        let Body::View(view) = &object.body else { continue };
        // What has been announced to go is read by nobody, and goes piece by piece: a start takes the rest away.
        if object.life == Life::Dropping {
            continue;
        }
        let states: Vec<_> = view.arrangements.iter().filter_map(|id| manifest.arrangements.get(id)).collect();
        let Some(upper) = states.first().map(|state| state.upper) else { continue };
        if states.len() != view.arrangements.len() || states.iter().any(|state| state.upper != upper) {
            return Err(format!("\"{}\" is held in parts", object.name));
        }
        for parent in view.plan.root.relations() {
            let Some(parent) = catalog.get(parent.0) else {
                return Err(format!("\"{}\" reads what is not there", object.name));
            };
            let roles = parent.roles();
            for state in roles.iter().flat_map(Roles::log) {
                let state = manifest.arrangements.get(state);
                let (stands, since) = state.map_or((Epoch::ZERO, Epoch::ZERO), |state| (state.upper, state.since));
                if stands < upper {
                    return Err(format!(
                        "I5: \"{}\" is at {upper}, its parent \"{}\" at {stands}",
                        object.name, parent.name
                    ));
                }
                // What is being dropped reads nothing any more.
                if stands > upper && since > upper && !view.suspended && object.life != Life::Dropping {
                    return Err(format!(
                        "I8: \"{}\" is at {upper}, the log of \"{}\" begins at {since}",
                        object.name, parent.name
                    ));
                }
            }
        }
    }
    Ok(())
}

fn place(position: &serde_json::Value) -> Option<Place> {
    Place::of(&Position(position.clone())).ok()
}

#[async_trait]
impl Objects for Disk {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        {
            let mut state = self.state.lock().unwrap();
            state.sizes.insert(path.into(), bytes.len() as u64);
            if path.ends_with(".pages") {
                state.pages.insert(path.into(), bytes.clone());
            }
            state.writes.push(format!("put {path}, {} bytes", bytes.len()));
        }
        self.objects().put(path, bytes).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let created = self.objects().create(path, bytes.clone()).await?;
        if created == Created::Yes
            && let Some(sequence) = Manifest::sequence_of(path)
        {
            let mut state = self.state.lock().unwrap();
            state.writes.push(format!("create {path}, {} bytes", bytes.len()));
            state.made(sequence, &bytes);
        }
        Ok(created)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.read(path).await;
        self.objects().get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.read(path).await;
        self.objects().get_range(path, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        self.objects().list(prefix, after).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let there = path.starts_with(manifest::FOLDER) || self.objects().get(path).await?.is_some();
        if there {
            self.state.lock().unwrap().gone(path);
        }
        self.objects().delete(path).await
    }

    fn describe(&self) -> String {
        "the simulated store".into()
    }

    async fn place(&self) -> Result<String> {
        self.objects().place().await
    }
}

/// The store as one node reaches it: it may die before a request is made, and before it hears the answer.
pub struct Gated {
    pub objects: Arc<dyn Objects>,
    pub gate: Arc<Gate>,
}

impl Gated {
    async fn pass<T>(&self, request: impl Future<Output = T>) -> T {
        self.gate.pass().await;
        let answer = request.await;
        self.gate.pass().await;
        answer
    }
}

#[async_trait]
impl Objects for Gated {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.pass(self.objects.put(path, bytes)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        self.pass(self.objects.create(path, bytes)).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.pass(self.objects.get(path)).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.pass(self.objects.get_range(path, range)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        self.pass(self.objects.list(prefix, after)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.pass(self.objects.delete(path)).await
    }

    fn describe(&self) -> String {
        self.objects.describe()
    }

    async fn place(&self) -> Result<String> {
        self.pass(self.objects.place()).await
    }
}
