//! The folder for what does not fit into memory. It goes with the process that made it; what a process left that was killed goes at
//! the next start beside it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "weir-spill-";

/// Held by the process that uses the folder.
const LOCK: &str = "lock";

pub struct Spill {
    path: PathBuf,
    _lock: File,
}

impl Spill {
    /// A new folder in `parent`.
    pub fn new(parent: &Path) -> io::Result<Self> {
        remove_left_over(parent);
        // It gets its name once the lock is held, so that nobody takes it for left over.
        let made = tempfile::Builder::new().prefix("weir-new-").tempdir_in(parent)?;
        let lock = File::create(made.path().join(LOCK))?;
        lock.lock()?;
        let path =
            parent.join(made.path().file_name().expect("it has a name").to_string_lossy().replace("weir-new-", PREFIX));
        fs::rename(made.path(), &path)?;
        let _ = made.keep();
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a spill directory could not be removed");
        }
    }
}

/// Folders whose process is gone. One that cannot be looked at is somebody else's.
fn remove_left_over(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = entry.path();
        let left = File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if left && fs::remove_dir_all(&path).is_ok() {
            tracing::info!(path = %path.display(), "removed what a killed process had spilled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_process_and_what_is_left_over_at_the_next_start() {
        let parent = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let (one, other) = (Spill::new(parent.path()).unwrap(), Spill::new(parent.path()).unwrap());
        assert_eq!(names().len(), 2);
        drop(one);
        assert_eq!(names(), [other.path()]);

        // As a killed process leaves it: there, and not locked.
        let left = parent.path().join("weir-spill-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("spilled"), "much").unwrap();
        let strange = parent.path().join("weir-spill-of-somebody-else");
        fs::create_dir(&strange).unwrap();
        let third = Spill::new(parent.path()).unwrap();
        let mut expected = [other.path(), &strange, third.path()].map(Path::to_path_buf);
        expected.sort();
        let mut found = names();
        found.sort();
        assert_eq!(found, expected);
    }
}
