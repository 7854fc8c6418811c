//! Serving: clients over the Postgres wire protocol, and HTTP for health and metrics.
//!
//! In reading order: this file (accepting), [`wire`] and [`decode`] (messages), [`doors`], [`startup`], [`auth`], [`scram`] and [`cancel`] (who connects), [`connection`]
//! (the simple and the extended protocol), [`session`] (one client's state; planning and pinning), [`variable`], [`block`]
//! and [`kept`] (transactions), [`holding`] (what they take of the queries' memory), [`prepared`], [`statement`] (what each statement does), [`query`] (SELECT), [`pool`] (its threads), [`value`] (types on the wire),
//! [`http`] and [`metrics`].

pub mod auth;
pub mod block;
pub mod cancel;
pub mod connection;
pub mod decode;
pub mod doors;
pub mod holding;
pub mod http;
pub mod kept;
pub mod metrics;
pub mod pool;
pub mod prepared;
pub mod query;
pub mod scram;
pub mod session;
pub mod startup;
pub mod statement;
#[cfg(test)]
mod tests;
pub mod value;
pub mod variable;
pub mod wire;

use crate::coordinator::request::Handle;
use auth::Auth;
use cancel::Registry;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use doors::{Doors, Room};
use pool::Pool;
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use weir_sql::session::Settings;
use weir_storage::Env;

/// For sessions to say that the server ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

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

/// What all sessions share.
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
    /// A DataFusion session for each of the settings in use.
    bases: Mutex<HashMap<Settings, Arc<SessionState>>>,
}

/// Transactions of less than so many bytes are committed at once.
const COMMIT_UNIT: usize = 256 << 10;

/// Settings in use at once; a client that sets another time zone with every statement keeps no more.
const MOST_BASES: usize = 64;

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
        let (ending, bases) = (CancellationToken::new(), Mutex::default());
        let commits = Semaphore::new(config.commits());
        Ok(Self { handle, config, registry, runtime, doors, commits, ending, bases })
    }

    /// Waits for the turn to commit a transaction of so many bytes, which are in memory until it is answered. One that is larger than all
    /// that may be committed at a time has its turn alone; `None`: a small one has no need of it.
    pub async fn turn(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let all = self.config.commits();
        let units = u32::try_from((bytes / COMMIT_UNIT).min(all)).unwrap_or(u32::MAX);
        // It is never closed.
        if units == 0 { None } else { self.commits.acquire_many(units).await.ok() }
    }

    /// What sessions with `settings` have in common; made once.
    pub fn base(&self, settings: &Settings) -> Arc<SessionState> {
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = bases.get(settings) {
            return base.clone();
        }
        if bases.len() >= MOST_BASES {
            bases.clear();
        }
        let state = SessionStateBuilder::new_from_existing(weir_sql::session::state(settings, None));
        let mut state = state.with_runtime_env(self.runtime.clone()).build();
        for function in &self.config.functions {
            state.register_udf(function.clone()).expect("a session takes any function");
        }
        let base = Arc::new(state);
        bases.insert(settings.clone(), base.clone());
        base
    }

    /// Who may log in, as far as that is known: everybody is trusted or has a password.
    fn users(&self, current: &str) -> Vec<String> {
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

/// Accepts clients until `shutdown` is done; then ends their sessions.
pub async fn serve(
    listener: TcpListener,
    handle: Handle,
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), String> {
    let server = Arc::new(Server::new(handle, config)?);
    let mut sessions = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a session ended unexpectedly");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    debug!(%peer, "client connected");
                    sessions.spawn(connection::run(server.clone(), socket, peer, server.doors.enter()));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: trying again at once would only spin.
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    server.ending.cancel();
    let all = async { while sessions.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, all).await;
    sessions.shutdown().await;
    Ok(())
}
