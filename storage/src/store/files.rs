//! What the store in a directory asks of a file system, and the machine's.
//!
//! Names and contents are durable only when they are synced: that is what [`crate::fault::files`] takes at its word. What is made
//! is for its owner's eyes only: a store holds rows and, unless they are encrypted, passwords.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

pub trait Files: Send + Sync + 'static {
    /// A new file that is being written.
    type File;

    /// A file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// What was written is durable, once the file has a durable name.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// The names in a directory are durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    fn is_dir(&self, path: &Path) -> bool;
    /// A second name for a file, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Another name for a file, instead of whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Of a file that ends before `range` does, how many bytes of it there are.
    fn read_range(&self, path: &Path, range: &Range<u64>) -> io::Result<Result<Vec<u8>, u64>>;
    /// What is in a directory, in any order.
    fn entries(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// What tells this file from every copy of it, also one with its name: the same as long as the file is there.
    fn identity(&self, path: &Path) -> io::Result<String>;
    /// Whether others than its owner may look into a directory.
    fn is_open_to_others(&self, dir: &Path) -> io::Result<bool>;
}

/// Something in a directory.
pub struct Entry {
    pub name: OsString,
    pub is_dir: bool,
    /// In bytes.
    pub len: u64,
    /// Since it was last written.
    pub age: Duration,
}

/// The machine's own file system.
pub struct Machine;

impl Files for Machine {
    type File = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_range(&self, path: &Path, range: &Range<u64>) -> io::Result<Result<Vec<u8>, u64>> {
        let file = File::open(path)?;
        let there = file.metadata()?.len().min(range.end).saturating_sub(range.start);
        if there < range.end.saturating_sub(range.start) {
            return Ok(Err(there));
        }
        let mut bytes = vec![0; there as usize];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Ok(bytes))
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut found = vec![];
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file may be deleted between the two calls; then it is not there.
            let meta = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            let age = meta.modified()?.elapsed().unwrap_or_default();
            found.push(Entry { name: entry.file_name(), is_dir: meta.is_dir(), len: meta.len(), age });
        }
        Ok(found)
    }

    /// Inode and time of birth, by which a file that took a deleted one's inode is told from it, on a machine that has a name of its
    /// own. Not the device: its number may be another after each boot.
    fn identity(&self, path: &Path) -> io::Result<String> {
        let meta = fs::metadata(path)?;
        let born = meta.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.map_or(0, |born| born.as_nanos());
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Ok(format!("inode={}&born={born}&machine={}", meta.ino(), machine.trim()))
    }

    fn is_open_to_others(&self, dir: &Path) -> io::Result<bool> {
        Ok(fs::metadata(dir)?.mode() & 0o077 != 0)
    }
}
