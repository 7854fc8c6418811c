//! What all sessions share.

use super::auth::Auth;
use super::cancel::Registry;
use super::doors::{Doors, Room};
use super::pool::Pool;
use crate::coordinator::request::Handle;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::ScalarUDF;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use weir_storage::Env;

pub struct Config {
    pub env: Env,
    pub auth: Auth,
    /// Where queries run.
    pub pool: Pool,
    /// Bytes that all queries together may use before they spill.
    pub query_memory: usize,
    /// Bytes of large transactions that are committed at a time.
    pub commit_memory: usize,
    /// Where they spill to; `None`: the system's temporary directory.
    pub spill_dir: Option<PathBuf>,
    /// Bytes of rows that one transaction keeps in memory before it spills them.
    pub kept_memory: usize,
    /// Clients that are let in.
    pub room: Room,
    /// Functions beside the server's own: tests have one that panics.
    pub functions: Vec<Arc<ScalarUDF>>,
}

impl Config {
    /// How many times [`COMMIT_UNIT`] may be committed at a time.
    fn commits(&self) -> usize {
        (self.commit_memory / COMMIT_UNIT).clamp(1, Semaphore::MAX_PERMITS)
    }
}

pub struct Server {
    pub handle: Handle,
    pub config: Config,
    pub registry: Arc<Registry>,
    pub runtime: Arc<RuntimeEnv>,
    pub doors: Arc<Doors>,
    /// The right to put a large transaction together and hand it over: a permit for each [`COMMIT_UNIT`] of it.
    commits: Semaphore,
    /// Sessions end when it is cancelled.
    pub ending: CancellationToken,
}

/// Transactions of less than so many bytes are committed at once.
const COMMIT_UNIT: usize = 256 << 10;

impl Server {
    pub fn new(handle: Handle, config: Config) -> Result<Self, String> {
        let disk = match &config.spill_dir {
            Some(path) => DiskManagerMode::Directories(vec![path.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(config.query_memory)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .map_err(|e| format!("queries cannot be run: {e}"))?;
        let registry = Arc::new(Registry::new(config.env.random.clone()));
        let doors = Arc::new(Doors::new(config.room));
        let commits = Semaphore::new(config.commits());
        Ok(Self { handle, config, registry, runtime, doors, commits, ending: CancellationToken::new() })
    }

    /// Waits for the turn to commit a transaction of so many bytes, which are in memory until it is answered. One that is larger than all
    /// that may be committed at a time has its turn alone; `None`: a small one has no need of it.
    pub async fn turn(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let all = self.config.commits();
        let units = u32::try_from((bytes / COMMIT_UNIT).min(all)).unwrap_or(u32::MAX);
        // It is never closed.
        if units == 0 { None } else { self.commits.acquire_many(units).await.ok() }
    }

    /// Who may log in, as far as that is known: everybody is trusted or has a password.
    pub fn users(&self, current: &str) -> Vec<String> {
        let mut users = match &self.config.auth {
            Auth::Trust => vec!["root".to_string(), "postgres".to_string()],
            Auth::Passwords(passwords) => passwords.names(),
        };
        if !users.iter().any(|user| user == current) {
            users.push(current.to_string());
        }
        users
    }
}
