//! The durable store in a directory.
//!
//! A write that returned `Ok` survives loss of power: the bytes go to a temporary file beside their place, are fsynced,
//! get their name in one step (hard link for create, rename for put), and the directories that changed are fsynced. No
//! reader ever sees half an object. Temporary files of a crashed process are never listed and are removed at open.

use super::{checked, short};
use crate::env::{Created, Objects};
use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ulid::Ulid;

/// Starts the name of every temporary file. No object's name starts with a dot.
const TEMPORARY: &str = ".tmp-";
/// A write lasts seconds, so what is older has lost its writer. Younger ones may belong to a living process.
const STALE: Duration = Duration::from_secs(3600);

pub struct Local {
    root: PathBuf,
    dirs: Dirs,
}

impl Local {
    /// Makes the directory if it is missing, checks that it can be written, and tidies up after crashes.
    pub fn open(path: &Path) -> Result<Self> {
        let unusable = |e: io::Error| Error::Invalid(format!("store {}: {e}", path.display()));
        let root = std::path::absolute(path).map_err(unusable)?;
        make_dir(&root).map_err(unusable)?;
        let root = root.canonicalize().map_err(unusable)?;
        let trial = root.join(temporary_name());
        File::create(&trial).and_then(|_| fs::remove_file(&trial)).map_err(unusable)?;
        tidy(&root).map_err(unusable)?;
        Ok(Self { root, dirs: Dirs::default() })
    }

    fn locate(&self, path: &str) -> Result<PathBuf> {
        Ok(self.root.join(checked(path)?))
    }
}

#[async_trait]
impl Objects for Local {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let target = self.locate(path)?;
        let dirs = self.dirs.clone();
        blocking(path, move || {
            write(&dirs, &target, &bytes, |temporary| fs::rename(temporary, &target))?;
            sync_dir(parent(&target))
        })
        .await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let target = self.locate(path)?;
        let dirs = self.dirs.clone();
        blocking(path, move || create(&dirs, &target, &bytes)).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let target = self.locate(path)?;
        blocking(path, move || present(fs::read(target).map(Bytes::from))).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let target = self.locate(path)?;
        let wanted = range.clone();
        let found = blocking(path, move || present(read_range(&target, wanted))).await?;
        match found {
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(got)) => Err(short(path, &range, got)),
            None => Ok(None),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        let below = prefix.trim_end_matches('/').to_string();
        let dir = if below.is_empty() { self.root.clone() } else { self.locate(&below)? };
        let mut found = blocking(prefix, move || {
            let mut found = vec![];
            let name = if below.is_empty() { String::new() } else { format!("{below}/") };
            present(walk(&dir, &name, &mut found))?;
            Ok(found)
        })
        .await?;
        found.retain(|(path, _)| after.is_none_or(|after| path.as_str() > after));
        found.sort_unstable();
        Ok(found)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let target = self.locate(path)?;
        blocking(path, move || present(fs::remove_file(target)).map(|_| ())).await
    }

    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

/// Runs `work` where it may block. Any error is one to try again after: a full disk gets room, a mount comes back.
async fn blocking<T: Send + 'static>(path: &str, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) if e.kind() == ErrorKind::Unsupported => Err(Error::Invalid(format!("{path}: {e}"))),
        Ok(Err(e)) => Err(Error::Retry(format!("{path}: {e}"))),
        Err(e) => Err(Error::Retry(format!("{path}: {e}"))),
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

fn create(dirs: &Dirs, target: &Path, bytes: &[u8]) -> io::Result<Created> {
    let named = write(dirs, target, bytes, |temporary| match fs::hard_link(temporary, target) {
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => Err(io::Error::new(
            ErrorKind::Unsupported,
            "this file system has no hard links, without which an object cannot be created exactly once",
        )),
        linked => linked,
    });
    match named {
        Ok(()) => sync_dir(parent(target)).map(|()| Created::Yes).inspect_err(|_| {
            // The kernel reports a failed fsync once. The next try must write the name anew, not find it and trust it.
            let _ = fs::remove_file(target);
        }),
        // Whoever made it may have crashed before the directory was stored; our caller will rely on it.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => sync_dir(parent(target)).map(|()| Created::Exists),
        Err(e) => Err(e),
    }
}

/// Writes `bytes` durably to a temporary file beside `target` and lets `name` give it its name.
fn write(dirs: &Dirs, target: &Path, bytes: &[u8], name: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let dir = parent(target);
    dirs.ensure(dir)?;
    let temporary = dir.join(temporary_name());
    let mut file = File::create_new(&temporary).inspect_err(|_| dirs.forget(dir))?;
    // The file is synced before it has its name: else a crash could leave a name without bytes.
    let named = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| name(&temporary));
    let _ = fs::remove_file(&temporary);
    named
}

/// The directories known to exist durably. A directory that merely exists may be one another thread has just made.
#[derive(Clone, Default)]
struct Dirs(Arc<Mutex<HashSet<PathBuf>>>);

impl Dirs {
    fn ensure(&self, dir: &Path) -> io::Result<()> {
        if !self.known().contains(dir) {
            make_dir(dir)?;
            self.known().insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn forget(&self, dir: &Path) {
        self.known().remove(dir);
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Err` is how many bytes there were, if fewer than asked for.
fn read_range(path: &Path, range: Range<u64>) -> io::Result<Result<Bytes, u64>> {
    let file = File::open(path)?;
    let there = file.metadata()?.len().min(range.end).saturating_sub(range.start);
    if there < range.end.saturating_sub(range.start) {
        return Ok(Err(there));
    }
    let mut bytes = vec![0; there as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(Ok(bytes.into()))
}

/// Adds every object below `dir`, whose path starts with `name`.
fn walk(dir: &Path, name: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(file) = entry.file_name().to_str().map(str::to_string) else { continue };
        if file.starts_with('.') {
            continue;
        }
        // A file may be deleted between the two calls; then it is not there.
        let Some(meta) = present(entry.metadata())? else { continue };
        if meta.is_dir() {
            walk(&entry.path(), &format!("{name}{file}/"), found)?;
        } else {
            found.push((format!("{name}{file}"), meta.len()));
        }
    }
    Ok(())
}

/// Removes stale temporary files and fsyncs every directory: its maker may have crashed before it did.
fn tidy(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(meta) = present(entry.metadata())? else { continue };
        if meta.is_dir() {
            tidy(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let age = meta.modified()?.elapsed().unwrap_or_default();
            if age > STALE {
                present(fs::remove_file(entry.path()))?;
            }
        }
    }
    sync_dir(dir)
}

/// Makes `dir` and what is missing above it, each made durable in the directory that holds it.
fn make_dir(dir: &Path) -> io::Result<()> {
    if !parent(dir).is_dir() {
        make_dir(parent(dir))?;
    }
    match fs::create_dir(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists || !dir.is_dir() => Err(e),
        _ if dir == parent(dir) => Ok(()),
        _ => sync_dir(parent(dir)),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
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
}
