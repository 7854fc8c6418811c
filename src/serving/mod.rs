//! Serving: clients over the Postgres wire protocol, and HTTP for health and metrics.
//!
//! In reading order: this file (accepting), [`server`] (what all sessions share), [`wire`] and [`decode`] (messages), [`doors`],
//! [`startup`], [`auth`], [`scram`] and [`cancel`] (who connects), [`connection`] (the simple and the extended protocol), [`session`] (one
//! client's state, and pinning), [`planning`], [`variable`], [`transaction`] and [`kept`] (transactions), [`holding`] (what they take of
//! the queries' memory), [`prepared`], [`statement`] (what each statement does), [`query`] (SELECT), [`pool`] (its threads), [`value`]
//! (types on the wire), [`http`] and [`metrics`], [`ordeal`] (for tests).

mod arguments;
pub mod auth;
pub mod cancel;
pub mod connection;
pub mod decode;
pub mod doors;
pub mod holding;
pub mod http;
pub mod kept;
pub mod metrics;
pub mod ordeal;
mod planning;
pub mod pool;
pub mod prepared;
pub mod query;
pub mod scram;
mod server;
pub mod session;
pub mod startup;
pub mod statement;
#[cfg(test)]
mod tests;
pub mod transaction;
pub mod value;
pub mod variable;
pub mod wire;

pub use server::{Config, Server};

use crate::coordinator::request::Handle;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// For sessions to say that the server ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

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
