//! The durable store in a directory.
//!
//! A write that returned `Ok` survives loss of power: the bytes go to a temporary file beside their place, are fsynced,
//! get their name in one step (hard link for create, rename for put), and the directories that changed are fsynced. No
//! reader ever sees half an object. Temporary files of a crashed process are never listed and are removed at open.
//!
//! A file beside the objects marks the place: copies of it are other files, so a copied store is at another place, and when it is
//! gone, so is the store that was opened: from then on every request is `Error::Lost`, and nothing is made where it was.

use super::files::{Files, Machine};
use super::refuse::{checked, short};
use crate::env::{Created, Objects, SystemThreads, Threads, run};
use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ulid::Ulid;

/// Starts the name of every temporary file. No object's name starts with a dot.
const TEMPORARY: &str = ".tmp-";
/// What marks the place.
const MARK: &str = ".weir-place";
const MARK_TEXT: &[u8] = b"This file marks where a store of Weir is. A copy of the store is told from it by this file: do not move it alone.\n";
/// A write lasts seconds, so what is older has lost its writer. Younger ones may belong to a living process.
const STALE: Duration = Duration::from_secs(3600);

pub struct Local<F = Machine> {
    root: PathBuf,
    folder: Folder<F>,
    threads: Arc<dyn Threads>,
    /// Of the mark. `None`: nobody has used the store, and it is only read.
    identity: Option<String>,
}

impl Local {
    /// Makes the directory if it is missing, checks that it can be written, and tidies up after crashes.
    pub fn open(path: &Path) -> Result<Self> {
        let unusable = |e: io::Error| Error::Invalid(format!("store {}: {e}", path.display()));
        let root = std::path::absolute(path).map_err(unusable)?;
        Folder::new(Machine, root.clone()).make_dir(&root).map_err(unusable)?;
        let root = root.canonicalize().map_err(unusable)?;
        Self::on(Machine, Arc::new(SystemThreads), root).map_err(unusable)
    }

    /// Changes nothing, and makes nothing that is missing.
    pub fn open_to_read(path: &Path) -> Result<Self> {
        let unusable = |e: io::Error| Error::Invalid(format!("store {}: {e}", path.display()));
        let root = path.canonicalize().map_err(unusable)?;
        std::fs::read_dir(&root).map_err(unusable)?;
        let identity = present(Machine.identity(&root.join(MARK))).map_err(unusable)?;
        Ok(Self { folder: Folder::new(Machine, root.clone()), root, threads: Arc::new(SystemThreads), identity })
    }
}

impl<F: Files> Local<F> {
    /// The same on any file system. `root` is absolute.
    pub fn on(files: F, threads: Arc<dyn Threads>, root: PathBuf) -> io::Result<Self> {
        let folder = Folder::new(files, root.clone());
        folder.make_dir(&root)?;
        let trial = root.join(temporary_name());
        folder.files.create(&trial).and_then(|_| folder.files.remove(&trial))?;
        folder.tidy(&root)?;
        let mark = root.join(MARK);
        folder.create(&mark, MARK_TEXT)?;
        let identity = Some(folder.files.identity(&mark)?);
        Ok(Self { root, folder, threads, identity })
    }

    fn locate(&self, path: &str) -> Result<PathBuf> {
        Ok(self.root.join(checked(path)?))
    }

    /// Does `work` where it may block. Any error is one to try again after: a full disk gets room, a mount comes back.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(Folder<F>) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (folder, mark, identity) = (self.folder.clone(), self.root.join(MARK), self.identity.clone());
        let work = move || {
            let done = work(folder.clone());
            // Afterwards: what was written into a store that is being removed counts for nothing.
            match identity {
                Some(identity) if !folder.is_marked(&mark, &identity)? => Ok(None),
                _ => done.map(Some),
            }
        };
        match run(&*self.threads, work).await {
            Some(Ok(Some(value))) => Ok(value),
            Some(Ok(None)) => Err(Error::Lost(format!(
                "the store {} has disappeared while it was used: its folder was removed or replaced. Nothing more is \
                 acknowledged; put it back and start again",
                self.describe()
            ))),
            Some(Err(e)) if e.kind() == ErrorKind::Unsupported => Err(Error::Invalid(format!("{path}: {e}"))),
            Some(Err(e)) => Err(Error::Retry(format!("{path}: {e}"))),
            None => Err(Error::Retry(format!("{path}: the request panicked"))),
        }
    }
}

#[async_trait]
impl<F: Files> Objects for Local<F> {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let target = self.locate(path)?;
        self.blocking(path, move |folder| folder.put(&target, &bytes)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let target = self.locate(path)?;
        self.blocking(path, move |folder| folder.create(&target, &bytes)).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let target = self.locate(path)?;
        self.blocking(path, move |folder| present(folder.files.read(&target).map(Bytes::from))).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let target = self.locate(path)?;
        let wanted = range.clone();
        match self.blocking(path, move |folder| present(folder.files.read_range(&target, &wanted))).await? {
            Some(Ok(bytes)) => Ok(Some(bytes.into())),
            Some(Err(got)) => Err(short(path, &range, got)),
            None => Ok(None),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        let below = prefix.trim_end_matches('/').to_string();
        let dir = if below.is_empty() { self.root.clone() } else { self.locate(&below)? };
        let walk = move |folder: Folder<F>| {
            let mut found = vec![];
            let name = if below.is_empty() { String::new() } else { format!("{below}/") };
            present(folder.walk(&dir, &name, &mut found))?;
            Ok(found)
        };
        let mut found = self.blocking(prefix, walk).await?;
        found.retain(|(path, _)| after.is_none_or(|after| path.as_str() > after));
        found.sort_unstable();
        Ok(found)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let target = self.locate(path)?;
        self.blocking(path, move |folder| present(folder.files.remove(&target)).map(|_| ())).await
    }

    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }

    async fn place(&self) -> Result<String> {
        let identity = self.identity.as_deref().unwrap_or_default();
        Ok(format!("{}?{identity}", self.describe()))
    }

    fn exposure(&self) -> Option<String> {
        let is_open = self.folder.files.is_open_to_others(&self.root).unwrap_or(false);
        is_open
            .then(|| format!("other users of this machine may look into {0}: run chmod 700 {0}", self.root.display()))
    }
}

/// `None` for what is not there.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Files in directories, written durably.
struct Folder<F> {
    files: Arc<F>,
    /// The directories known to exist durably. One that merely exists may be one that another thread has just made.
    known: Arc<Mutex<HashSet<PathBuf>>>,
    root: Arc<PathBuf>,
}

impl<F> Clone for Folder<F> {
    fn clone(&self) -> Self {
        Self { files: self.files.clone(), known: self.known.clone(), root: self.root.clone() }
    }
}

impl<F: Files> Folder<F> {
    fn new(files: F, root: PathBuf) -> Self {
        Self { files: Arc::new(files), known: Arc::default(), root: Arc::new(root) }
    }

    /// Whether the store is still the one that was opened. An error says nothing of that, unless it is that something is missing.
    fn is_marked(&self, mark: &Path, identity: &str) -> io::Result<bool> {
        Ok(present(self.files.identity(mark))?.is_some_and(|found| found == identity))
    }

    fn put(&self, target: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(target, bytes, |temporary| self.files.rename(temporary, target))?;
        self.files.sync_dir(parent(target))
    }

    fn create(&self, target: &Path, bytes: &[u8]) -> io::Result<Created> {
        let named = self.write(target, bytes, |temporary| match self.files.link(temporary, target) {
            Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => Err(io::Error::new(
                ErrorKind::Unsupported,
                "this file system has no hard links, without which an object cannot be created exactly once",
            )),
            linked => linked,
        });
        match named {
            Ok(()) => self.files.sync_dir(parent(target)).map(|()| Created::Yes).inspect_err(|_| {
                // The kernel reports a failed fsync once. The next try must write the name anew, not find it and trust it.
                let _ = self.files.remove(target);
            }),
            // Whoever made it may have crashed before the directory was stored; our caller will rely on it.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                self.files.sync_dir(parent(target)).map(|()| Created::Exists)
            }
            Err(e) => Err(e),
        }
    }

    /// Writes `bytes` durably to a temporary file beside `target` and lets `name` give it its name.
    fn write(&self, target: &Path, bytes: &[u8], name: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let dir = parent(target);
        self.ensure(dir)?;
        let temporary = dir.join(temporary_name());
        let mut file = self.files.create(&temporary).inspect_err(|_| {
            self.known().remove(dir);
        })?;
        let written = self.files.write(&mut file, bytes);
        // The file is synced before it has its name: else a crash could leave a name without bytes.
        let synced = written.and_then(|()| self.files.sync(&file));
        let named = synced.and_then(|()| name(&temporary));
        let _ = self.files.remove(&temporary);
        named
    }

    fn ensure(&self, dir: &Path) -> io::Result<()> {
        if !self.known().contains(dir) {
            // What took the store away took its root: that is not made again.
            if !self.files.is_dir(&self.root) {
                return Err(ErrorKind::NotFound.into());
            }
            self.make_dir(dir)?;
            self.known().insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `dir` and what is missing above it, each made durable in the directory that holds it.
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if !self.files.is_dir(parent(dir)) {
            self.make_dir(parent(dir))?;
        }
        match self.files.make_dir(dir) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists || !self.files.is_dir(dir) => Err(e),
            _ if dir == parent(dir) => Ok(()),
            _ => self.files.sync_dir(parent(dir)),
        }
    }

    /// Adds every object below `dir`, whose path starts with `name`.
    fn walk(&self, dir: &Path, name: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
        for entry in self.files.entries(dir)? {
            let Some(file) = entry.name.to_str().filter(|file| !file.starts_with('.')) else { continue };
            match entry.is_dir {
                true => self.walk(&dir.join(file), &format!("{name}{file}/"), found)?,
                false => found.push((format!("{name}{file}"), entry.len)),
            }
        }
        Ok(())
    }

    /// Removes stale temporary files and syncs every directory: its maker may have crashed before it did.
    fn tidy(&self, dir: &Path) -> io::Result<()> {
        for entry in self.files.entries(dir)? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                self.tidy(&path)?;
            } else if entry.name.to_string_lossy().starts_with(TEMPORARY) && entry.age > STALE {
                present(self.files.remove(&path))?;
            }
        }
        self.files.sync_dir(dir)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn temporary_name() -> String {
    format!("{TEMPORARY}{}", Ulid::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn an_unusable_place_is_named_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = Local::open(&path).err().unwrap();
            assert!(matches!(&error, Error::Invalid(m) if m.contains(path.to_str().unwrap())), "{error}");
        }
        let error = Local::open(Path::new("/proc/weir")).err().unwrap();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_not_listed_and_go_when_stale() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let store = Local::open(&root).unwrap();
        store.put("data/a", Bytes::from_static(b"a")).await.unwrap();
        let (young, old) = (root.join("data/.tmp-young"), root.join("data/.tmp-old"));
        for path in [&young, &old] {
            fs::write(path, "half").unwrap();
        }
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
        let store = Local::open(&root).unwrap();
        assert_eq!(store.list("data", None).await.unwrap(), [("data/a".to_string(), 1)]);
        assert!(young.exists() && !old.exists());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_racing_creates_one_wins_and_its_bytes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = std::sync::Arc::new(Local::open(dir.path()).unwrap());
        for round in 0..20 {
            let path = format!("manifest/{round}");
            let tries = (0..16).map(|i| {
                let (store, path) = (store.clone(), path.clone());
                tokio::spawn(async move { (i, store.create(&path, Bytes::from(vec![i; 10_000])).await.unwrap()) })
            });
            let answers = futures::future::join_all(tries).await.into_iter().map(|r| r.unwrap());
            let winners: Vec<u8> = answers.filter(|(_, c)| *c == Created::Yes).map(|(i, _)| i).collect();
            assert_eq!(winners.len(), 1);
            assert_eq!(store.get(&path).await.unwrap().unwrap(), vec![winners[0]; 10_000]);
        }
        assert!(fs::read_dir(dir.path().join("manifest")).unwrap().count() == 20, "temporary files stay behind");
    }

    #[tokio::test]
    async fn a_write_that_cannot_be_made_is_one_to_retry_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Local::open(dir.path()).unwrap();
        fs::write(dir.path().join("data"), "a file where a directory is needed").unwrap();
        assert!(matches!(store.put("data/a", Bytes::new()).await, Err(Error::Retry(_))));
        fs::remove_file(dir.path().join("data")).unwrap();
        store.put("data/a", Bytes::new()).await.unwrap();
    }

    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn what_is_stored_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("above/store");
        let store = Local::open(&root).unwrap();
        store.put("data/a", Bytes::from_static(b"a")).await.unwrap();
        store.create("manifest/b", Bytes::from_static(b"b")).await.unwrap();
        for (path, expected) in
            [("", 0o700), ("data", 0o700), ("manifest", 0o700), ("data/a", 0o600), ("manifest/b", 0o600), (MARK, 0o600)]
        {
            assert_eq!(mode(&root.join(path)), expected, "{path}");
        }
        assert_eq!(store.exposure(), None);
        fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(store.exposure().unwrap().contains("chmod 700"));
    }

    #[tokio::test]
    async fn a_store_that_is_removed_or_replaced_is_lost_and_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let store = Local::open(&root).unwrap();
        store.put("data/a", Bytes::from_static(b"a")).await.unwrap();
        fs::rename(&root, dir.path().join("away")).unwrap();
        assert!(matches!(store.put("data/b", Bytes::new()).await, Err(Error::Lost(_))));
        assert!(matches!(store.create("manifest/1", Bytes::new()).await, Err(Error::Lost(_))));
        assert!(matches!(store.get("data/a").await, Err(Error::Lost(_))));
        assert!(matches!(store.list("manifest", None).await, Err(Error::Lost(_))));
        assert!(!root.exists());
        let copied = std::process::Command::new("cp").arg("-a").arg(dir.path().join("away")).arg(&root).status();
        assert!(copied.unwrap().success());
        assert!(matches!(store.get("data/a").await, Err(Error::Lost(_))), "a copy is not the store that was opened");
        fs::remove_dir_all(&root).unwrap();
        fs::rename(dir.path().join("away"), &root).unwrap();
        assert_eq!(store.get("data/a").await.unwrap().unwrap(), "a");
    }

    #[tokio::test]
    async fn a_place_stays_the_same_at_every_start_and_a_copy_is_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let (root, aside) = (dir.path().join("store"), dir.path().join("aside"));
        let place = async |path: &Path| Local::open(path).unwrap().place().await.unwrap();
        let first = place(&root).await;
        assert_eq!(place(&root).await, first);
        let copy = |from: &Path, to: &Path| std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copy(&root, &aside).unwrap().success());
        assert_ne!(place(&aside).await, first);
        // Also where the original was.
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&aside, &root).unwrap();
        assert_ne!(place(&root).await, first);
    }

    /// What a test has asked of a path.
    #[derive(Default)]
    struct Asked {
        /// The last that was answered, and what may have taken its place since then; `None`: nothing is there.
        known: Option<u8>,
        maybe: Vec<Option<u8>>,
    }

    /// Writes and deletes under three paths until power fails; then what was answered is there, and nothing is there in part.
    async fn write_until_power_fails(seed: u64) {
        use rand::rngs::SmallRng;
        use rand::{Rng, SeedableRng};
        let mut rng = SmallRng::seed_from_u64(seed);
        let volatile = crate::fault::files::Volatile::new(seed);
        let open = || Local::on(volatile.clone(), Arc::new(SystemThreads), "/weir".into());
        let mut asked: std::collections::BTreeMap<String, Asked> = Default::default();
        let whole = |value: u8| Bytes::from(vec![value; 100]);
        for value in 0..200 {
            volatile.fail_after(rng.random_range(0..60));
            let store = open();
            while let Ok(store) = &store {
                let path = format!("data/{}", rng.random_range(0..3));
                let mine = asked.entry(path.clone()).or_default();
                let (meant, answer) = match rng.random_range(0..3) {
                    0 => (Some(value), store.put(&path, whole(value)).await.map(|()| true)),
                    1 => (Some(value), store.create(&path, whole(value)).await.map(|c| c == Created::Yes)),
                    _ => (None, store.delete(&path).await.map(|()| true)),
                };
                match answer {
                    // A name that is taken away may come back: nobody relies on that.
                    Ok(true) if meant.is_none() => mine.maybe.push(None),
                    Ok(true) => *mine = Asked { known: meant, maybe: vec![] },
                    Ok(false) => {}
                    Err(_) => {
                        mine.maybe.push(meant);
                        break;
                    }
                }
            }
            assert!(volatile.restore_power());
            let store = open().unwrap();
            for (path, mine) in &mut asked {
                let found = store.get(path).await.unwrap();
                let value = found.as_ref().map(|bytes| bytes[0]);
                assert!(found.is_none_or(|bytes| bytes == whole(bytes[0])), "seed {seed}: half of {path}");
                assert!(value == mine.known || mine.maybe.contains(&value), "seed {seed}: {path} is {value:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_was_answered_survives_a_loss_of_power() {
        for seed in 0..8 {
            write_until_power_fails(seed).await;
        }
    }
}
