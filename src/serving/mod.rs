//! Serving: clients over the Postgres wire protocol, and HTTP for health and metrics.
//!
//! In reading order: this file (accepting), [`wire`] and [`decode`] (messages), [`startup`], [`auth`] and [`cancel`] (who connects), [`connection`]
//! (the simple and the extended protocol), [`session`] (one client's state; planning and pinning), [`variable`], [`block`]
//! (transactions), [`prepared`], [`statement`] (what each statement does), [`query`] (SELECT), [`value`] (types on the wire),
//! [`http`] and [`metrics`].

pub mod auth;
pub mod block;
pub mod cancel;
pub mod connection;
pub mod decode;
pub mod http;
pub mod metrics;
pub mod prepared;
pub mod query;
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
use datafusion::execution::context::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, warn};
use weir_sql::session::Settings;
use weir_storage::Env;

/// Clients at once; each costs a task and some buffers.
const MOST_SESSIONS: usize = 1000;

pub struct Config {
    pub env: Env,
    pub auth: Auth,
    /// Where queries run: threads of their own, below the workers in priority.
    pub pool: tokio::runtime::Handle,
    /// Bytes that all queries together may use before they spill.
    pub query_memory: usize,
    /// Where they spill to; `None`: the system's temporary directory.
    pub spill_dir: Option<PathBuf>,
}

/// What all sessions share.
pub struct Server {
    pub handle: Handle,
    pub config: Config,
    pub registry: Arc<Registry>,
    pub runtime: Arc<RuntimeEnv>,
    /// A DataFusion session for each of the settings in use.
    bases: Mutex<HashMap<Settings, Arc<SessionState>>>,
}

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
        Ok(Self { handle, config, registry, runtime, bases: Mutex::default() })
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
        let base = Arc::new(state.with_runtime_env(self.runtime.clone()).build());
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
                    let full = sessions.len() >= MOST_SESSIONS;
                    sessions.spawn(connection::run(server.clone(), socket, full));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: trying again at once would only spin.
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
        }
    }
    sessions.shutdown().await;
    Ok(())
}
