//! What integration tests stand on: real servers in temporary folders, each stopped by its own process id.
//!
//! [`Postgres`] and [`Weir`] are programs under test, [`S3`] an object store, [`Proxy`] a network that misbehaves on request, [`Disk`] one
//! that is full.
//! Nothing here knows Weir's insides: tests speak SQL, HTTP and signals.

mod client;
mod disk;
mod pair;
mod postgres;
mod process;
mod proxy;
pub mod s3;
mod weir;

pub use client::{Client, Rows, describe};
pub use disk::Disk;
pub use pair::Pair;
pub use postgres::{PASSWORD, Postgres, Stop, Version};
pub use process::{fed, output};
pub use proxy::Proxy;
pub use s3::S3;
pub use weir::Weir;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a test waits for something that should take moments. Generous: continuous integration runs on two busy cores.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it holds; panics with `what` and the last answer after [`TIMEOUT`].
///
/// `condition` gives `Ok` when it holds, else what it saw instead.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(saw) if Instant::now() > deadline => panic!("{what}: not within {TIMEOUT:?}; last saw {saw}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Asks `condition` for as long as `span`; panics when it does not hold once.
pub async fn always(what: &str, span: Duration, mut condition: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if let Err(saw) = condition().await {
            panic!("{what}: saw {saw}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until `sql` gives the same rows, in any order, on both servers; returns them.
pub async fn same(weir: &Client, postgres: &Client, sql: &str) -> Rows {
    eventually(&format!("Weir equals Postgres in: {sql}"), async || {
        let ours = weir.sorted(sql).await?;
        let theirs = postgres.sorted(sql).await?;
        if ours == theirs { Ok(ours) } else { Err(difference(&ours, &theirs)) }
    })
    .await
}

/// The first few rows in which two sorted results differ, for messages.
pub fn difference(ours: &Rows, theirs: &Rows) -> String {
    let only = |a: &Rows, b: &Rows| {
        let known: HashSet<_> = b.iter().collect();
        a.iter().filter(|row| !known.contains(row)).take(5).cloned().collect::<Vec<_>>()
    };
    format!(
        "{} rows against {}; only in weir {:?}, only in postgres {:?}",
        ours.len(),
        theirs.len(),
        only(ours, theirs),
        only(theirs, ours)
    )
}

/// A number that the environment gives a test: a seed, or how much to do.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Where `make setup` puts what it installs.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache");
    cache.filter(|cache| cache.is_absolute()).unwrap_or_else(home).join("weir")
}

/// The most memory a process has ever had, in megabytes.
pub fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}
