//! Memory: how much of it there is, and who may take what share.
//!
//! `--memory-limit` is one budget. Whatever grows with what users do has a [`Share`] of it and keeps within that: it spills, makes
//! its source wait, or is refused with 53200. What nobody can count while it is taken (values that functions make, statements that
//! are read and planned) is looked after as a whole: a thread looks how much memory is in use, and statements that want more than
//! is left end ([`room`]).

use crate::allocator;
use crate::serving::metrics;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use weir_sql::room;
use weir_sql::{Error, Result};

/// How often it is looked how much memory is in use.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of a machine that does not say how many it has.
const UNKNOWN: usize = 4 << 30;
/// Our part of a machine, tenths, unless it is said.
const OF_MACHINE: usize = 7;
/// Of a container: the allocator keeps some of what is freed, and there is nobody else to take from.
const OF_GROUP: usize = 5;

/// What takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Rows of tables and views. Beyond it nothing is written by SQL, and the largest views fail by name.
    State,
    /// What operators of queries hold, what statements collect, and what transactions keep: they spill, or are refused.
    Queries,
    /// Large transactions on their way from COMMIT into their tables: they wait for each other.
    Commits,
    /// Changes that a view has yet to take, mostly in common with other views: beyond it they are read from the store.
    History,
    /// What sources have read and tables have yet to take: beyond it they spill, and upstream waits.
    Sources,
}

impl Share {
    pub const ALL: [Share; 5] = [Share::State, Share::Queries, Share::Commits, Share::History, Share::Sources];

    pub fn name(self) -> &'static str {
        match self {
            Share::State => "state",
            Share::Queries => "queries",
            Share::Commits => "commits",
            Share::History => "history",
            Share::Sources => "sources",
        }
    }

    /// Of a limit of so many bytes.
    pub fn of(self, limit: usize) -> usize {
        let part = limit / 32;
        match self {
            Share::State => part * 20,
            Share::Queries => part * 8,
            Share::Commits => part * 2,
            Share::History | Share::Sources => part.clamp(4 << 20, 1 << 30),
        }
    }
}

/// What is ours if nobody says how much.
pub fn usual() -> usize {
    let group = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_limits(Path::new("/sys/fs/cgroup"), &group).into_iter().min().unwrap_or(usize::MAX);
    (group / 10 * OF_GROUP).min(machine().unwrap_or(UNKNOWN) / 10 * OF_MACHINE)
}

fn machine() -> Option<usize> {
    let text = read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok()?.checked_mul(1024)
}

/// Limits of the control groups that `group`, as in /proc/self/cgroup, names below `root`, and of those around them. A container
/// often sees its own group as the root and has a name for it that leads nowhere.
fn group_limits(root: &Path, group: &str) -> Vec<usize> {
    let mut found = vec![];
    for line in group.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, file): (PathBuf, _) = match controllers {
            "" => (root.into(), "memory.max"),
            several if several.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
        found.extend(around.filter_map(|folder| number(&folder.join(file))));
    }
    found
}

/// No limit is a word, or a number beyond all memory.
fn number(path: &Path) -> Option<usize> {
    read_to_string(path).ok()?.trim().parse().ok()
}

/// Looks from now on how much memory is in use of `limit`.
pub fn watch(limit: usize) -> Result<()> {
    let look = move || loop {
        let used = allocator::used();
        room::tell(used, limit);
        metrics::memory(used);
        thread::sleep(POLL_INTERVAL);
    };
    let started = thread::Builder::new().name("weir-memory".into()).spawn(look);
    started.map(drop).map_err(|e| Error::internal(format!("memory cannot be watched: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn shares_are_no_more_than_there_is() {
        for limit in [256 << 20, 1 << 30, 16 << 30, 1 << 40] {
            assert!(Share::ALL.iter().map(|share| share.of(limit)).sum::<usize>() <= limit, "{limit}");
        }
    }

    #[test]
    fn the_smallest_limit_of_the_groups_around_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            create_dir_all(path.parent().expect("a folder")).expect("a folder");
            write(path, text).expect("a file");
        };
        file("memory.max", "max\n");
        file("a/memory.max", "3000\n");
        file("a/b/memory.max", "max\n");
        file("memory/memory.limit_in_bytes", "9223372036854771712\n");
        file("memory/c/memory.limit_in_bytes", "2000\n");
        let limits = |group: &str| group_limits(root.path(), group);
        assert_eq!(limits("0::/a/b\n"), [3000]);
        assert!(limits("0::/\n").is_empty());
        assert!(limits("0::/seen/from/outside\n").is_empty());
        assert_eq!(limits("9:cpu:/a\n4:memory:/c\n0::/\n"), [2000, 9_223_372_036_854_771_712]);
        assert_eq!(limits("4:hugetlb,memory:/d\n"), [9_223_372_036_854_771_712]);
        assert!(limits("nonsense\n").is_empty());
    }

    #[test]
    fn there_is_memory() {
        assert!(usual() > 0);
    }
}
