//! Where the client may block.

use weir_sql::{Error, Result};

/// The client blocks, so it runs on threads made for that.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("talking to Postgres failed: {e}")))
}
