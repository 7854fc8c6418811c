//! A file system whose machine loses power, from a seed: for tests and the simulator.
//!
//! What was not synced may be gone afterwards, or there, or there in part: of a file any beginning, of a directory any of the changes
//! to its names, whatever the order in which they were made.

use crate::store::files::{Entry, Files};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A handle; clones share the files.
#[derive(Clone)]
pub struct Volatile(Arc<Mutex<State>>);

struct State {
    random: SmallRng,
    files: BTreeMap<u64, Contents>,
    /// The names in each directory, as they are and as they are durable.
    dirs: BTreeMap<PathBuf, Versions<Names>>,
    next: u64,
    /// Changes until power fails.
    left: Option<u64>,
    is_off: bool,
}

#[derive(Clone, Default)]
struct Versions<T> {
    now: T,
    durable: T,
}

type Contents = Versions<Vec<u8>>;
type Names = BTreeMap<OsString, Node>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    File(u64),
    Dir,
}

impl Volatile {
    /// With nothing but the root.
    pub fn new(seed: u64) -> Self {
        let dirs = BTreeMap::from([(PathBuf::from("/"), Versions::default())]);
        let random = SmallRng::seed_from_u64(seed);
        let (files, next, left) = (BTreeMap::new(), 0, None);
        Self(Arc::new(Mutex::new(State { random, files, dirs, next, left, is_off: false })))
    }

    /// Other files with the same names and contents, on a machine of their own.
    pub fn copy(&self, seed: u64) -> Self {
        let state = self.state();
        // No file of one is a file of the other: what marks a place is told by that.
        let renamed = |names: &Names| -> Names {
            let other = |node: &Node| match node {
                Node::File(file) => Node::File(state.next + file),
                Node::Dir => Node::Dir,
            };
            names.iter().map(|(name, node)| (name.clone(), other(node))).collect()
        };
        let dirs = state.dirs.iter().map(|(dir, names)| {
            let now = renamed(&names.now);
            (dir.clone(), Versions { durable: now.clone(), now })
        });
        let files = state.files.iter().map(|(file, contents)| {
            let now = contents.now.clone();
            (state.next + file, Versions { durable: now.clone(), now })
        });
        let (dirs, files, next) = (dirs.collect(), files.collect(), state.next * 2);
        let random = SmallRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(State { random, files, dirs, next, left: None, is_off: false })))
    }

    /// Power fails now, and comes back.
    pub fn lose_power(&self) {
        self.state().lose();
    }

    /// Power fails instead of the next change but so many. Until [`Volatile::restore_power`] everything is an error then.
    pub fn fail_after(&self, changes: u64) {
        self.state().left = Some(changes);
    }

    /// Whether power had failed.
    pub fn restore_power(&self) -> bool {
        let mut state = self.state();
        state.left = None;
        std::mem::take(&mut state.is_off)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        Some(self.state()).filter(|state| !state.is_off).ok_or_else(|| io::Error::other("there is no power"))
    }

    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.look()?;
        if state.left == Some(0) {
            state.lose();
            state.is_off = true;
            return Err(io::Error::other("power failed"));
        }
        state.left = state.left.map(|left| left - 1);
        Ok(state)
    }
}

impl State {
    fn lose(&mut self) {
        let random = &mut self.random;
        for file in self.files.values_mut().filter(|file| file.now != file.durable) {
            match random.random_range(0..3) {
                0 => file.now = file.durable.clone(),
                1 => file.now.truncate(random.random_range(0..=file.now.len())),
                _ => {}
            }
            file.durable = file.now.clone();
        }
        for Versions { now, durable } in self.dirs.values_mut() {
            let names: BTreeSet<OsString> = now.keys().chain(durable.keys()).cloned().collect();
            for name in names {
                let (is, was) = (now.get(&name), durable.get(&name));
                if is != was && random.random() {
                    match was.copied() {
                        Some(node) => now.insert(name, node),
                        None => now.remove(&name),
                    };
                }
            }
            *durable = now.clone();
        }
        // What no directory names any more is gone with all that is in it.
        let is_there = |dirs: &BTreeMap<PathBuf, Versions<Names>>, dir: &Path| {
            dir.ancestors().zip(dir.ancestors().skip(1)).all(|(dir, above)| {
                let names = dirs.get(above).map(|above| &above.now);
                names.is_some_and(|names| names.get(dir.file_name().unwrap_or_default()) == Some(&Node::Dir))
            })
        };
        let gone: Vec<PathBuf> = self.dirs.keys().filter(|dir| !is_there(&self.dirs, dir)).cloned().collect();
        gone.iter().for_each(|dir| drop(self.dirs.remove(dir)));
        // A directory may have its name and nothing else.
        let named = |(dir, names): (&PathBuf, &Versions<Names>)| -> Vec<PathBuf> {
            let dirs = names.now.iter().filter(|(_, node)| **node == Node::Dir);
            dirs.map(|(name, _)| dir.join(name)).collect()
        };
        let named: Vec<PathBuf> = self.dirs.iter().flat_map(named).collect();
        for dir in named {
            self.dirs.entry(dir).or_default();
        }
    }

    fn names(&mut self, path: &Path) -> io::Result<(&mut Names, OsString)> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::AlreadyExists.into());
        };
        let names = self.dirs.get_mut(dir).ok_or(ErrorKind::NotFound)?;
        Ok((&mut names.now, name.into()))
    }

    fn file(&mut self, path: &Path) -> io::Result<u64> {
        let (names, name) = self.names(path)?;
        match names.get(&name) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn name(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (names, name) = self.names(path)?;
        if names.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        names.insert(name, node);
        Ok(())
    }
}

impl Files for Volatile {
    type File = u64;

    fn create(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.change()?;
        let file = state.next;
        state.name(path, Node::File(file))?;
        state.next += 1;
        state.files.insert(file, Contents::default());
        Ok(file)
    }

    fn write(&self, file: &mut u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.change()?;
        state.files.get_mut(file).expect("an open file is there").now.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self, file: &u64) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.files.get_mut(file).expect("an open file is there");
        file.durable = file.now.clone();
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let names = state.dirs.get_mut(dir).ok_or(ErrorKind::NotFound)?;
        names.durable = names.now.clone();
        Ok(())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.name(dir, Node::Dir)?;
        state.dirs.insert(dir.into(), Versions::default());
        Ok(())
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.state().dirs.contains_key(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.file(from)?;
        state.name(to, Node::File(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.file(from)?;
        let (names, name) = state.names(to)?;
        names.insert(name, Node::File(file));
        let (names, name) = state.names(from)?;
        names.remove(&name);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.file(path)?;
        let (names, name) = state.names(path)?;
        names.remove(&name);
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.look()?;
        let file = state.file(path)?;
        Ok(state.files[&file].now.clone())
    }

    fn read_range(&self, path: &Path, range: &Range<u64>) -> io::Result<Result<Vec<u8>, u64>> {
        let bytes = self.read(path)?;
        let there = (bytes.len() as u64).min(range.end).saturating_sub(range.start);
        let whole = bytes.get(range.start as usize..range.end as usize);
        Ok(whole.map(<[u8]>::to_vec).ok_or(there))
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.look()?;
        let names = &state.dirs.get(dir).ok_or(ErrorKind::NotFound)?.now;
        let entry = |(name, node): (&OsString, &Node)| {
            let len = if let Node::File(file) = node { state.files[file].now.len() as u64 } else { 0 };
            Entry { name: name.clone(), is_dir: *node == Node::Dir, len, age: Duration::ZERO }
        };
        Ok(names.iter().map(entry).collect())
    }

    fn identity(&self, path: &Path) -> io::Result<String> {
        self.look()?.file(path).map(|file| format!("file={file}"))
    }

    fn is_open_to_others(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
}
