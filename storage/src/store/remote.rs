//! Stores behind the `object_store` crate: S3 and what speaks its protocol, and memory.
//!
//! An answer that leaves open whether a write happened is `Error::Retry`. A create answered 409 ("somebody else is creating
//! it") is `Exists`, as 412 is: the caller reads back in both cases.

use super::refuse::{checked, short};
use crate::env::{Created, Objects};
use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, PutMode, RetryConfig, WriteMultipart};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Objects above this go up, and come down, in pieces of this size: each well within one request's time limit.
const PIECE: u64 = 16 << 20;
/// Pieces under way at once: enough to fill a link, 128 MiB of buffers at most.
const PIECES: usize = 8;

pub struct Remote {
    store: Arc<dyn ObjectStore>,
    /// Ends with a slash unless empty.
    prefix: String,
    url: String,
    /// A bucket of this name may be at many of them.
    endpoint: String,
}

pub fn memory() -> Remote {
    Remote { store: Arc::new(InMemory::new()), prefix: String::new(), url: "memory://".into(), endpoint: String::new() }
}

pub fn s3(bucket: &str, prefix: &str) -> Result<Remote> {
    let url = format!("s3://{bucket}/{prefix}");
    let unusable = |e: object_store::Error| Error::Invalid(format!("store {url}: {e}"));
    let environment = AmazonS3Builder::from_env();
    let endpoint = [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint]
        .iter()
        .find_map(|key| environment.get_config_value(key))
        .unwrap_or_default();
    let environment = match endpoint.starts_with("http://") {
        true => environment.with_allow_http(true),
        false => environment,
    };
    let store = environment
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry())
        .build()
        .map_err(unusable)?;
    Path::parse(prefix).map_err(|e| Error::Invalid(format!("store {url}: {e}")))?;
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(Remote { store: Arc::new(store), prefix, url, endpoint })
}

/// Short: whoever writes retries by himself, and says so while he does. The default continues for three minutes in silence.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 8,
        retry_timeout: Duration::from_secs(10),
    }
}

impl Remote {
    fn locate(&self, path: &str) -> Result<Path> {
        let full = format!("{}{}", self.prefix, checked(path)?);
        Path::parse(full).map_err(|e| Error::Invalid(e.to_string()))
    }

    async fn put_pieces(&self, location: &Path, bytes: Bytes) -> object_store::Result<()> {
        let upload = self.store.put_multipart(location).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE as usize);
        for start in (0..bytes.len()).step_by(PIECE as usize) {
            if let Err(e) = upload.wait_for_capacity(PIECES).await {
                // Best effort: an upload left open is invisible, and buckets expire those.
                let _ = upload.abort().await;
                return Err(e);
            }
            upload.put(bytes.slice(start..bytes.len().min(start + PIECE as usize)));
        }
        upload.finish().await.map(|_| ())
    }
}

#[async_trait]
impl Objects for Remote {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let location = self.locate(path)?;
        let done = match bytes.len() as u64 > PIECE {
            true => self.put_pieces(&location, bytes).await,
            false => self.store.put(&location, bytes.into()).await.map(|_| ()),
        };
        done.map_err(|e| unwritten(path, e))
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let location = self.locate(path)?;
        match self.store.put_opts(&location, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Created::Yes),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(e) => Err(unwritten(path, e)),
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let location = self.locate(path)?;
        let read = async { self.store.get(&location).await?.bytes().await };
        present(path, read.await)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let location = self.locate(path)?;
        // S3 answers an empty range with an error; whether the object is there is the same question.
        let pieces: Vec<Range<u64>> =
            range.clone().step_by(PIECE as usize).map(|start| start..range.end.min(start + PIECE)).collect();
        let read = |piece: Range<u64>| {
            let location = location.clone();
            async move {
                match self.store.get_range(&location, piece.clone()).await {
                    Ok(bytes) if bytes.len() as u64 == piece.end - piece.start => Ok(Some(bytes)),
                    Ok(bytes) => Err(short(path, &piece, bytes.len() as u64)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => match self.store.head(&location).await {
                        Ok(meta) if meta.size < piece.end => {
                            Err(short(path, &piece, meta.size.saturating_sub(piece.start)))
                        }
                        _ => Err(Error::Retry(format!("{path}: {e}"))),
                    },
                }
            }
        };
        let read: Vec<Option<Bytes>> = futures::stream::iter(pieces).map(read).buffered(PIECES).try_collect().await?;
        let Some(mut pieces) = read.into_iter().collect::<Option<Vec<Bytes>>>() else { return Ok(None) };
        Ok(Some(if pieces.len() == 1 { pieces.remove(0) } else { pieces.concat().into() }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        let prefix = prefix.trim_end_matches('/');
        let below = if prefix.is_empty() {
            Path::parse(&self.prefix).map_err(|e| Error::Invalid(e.to_string()))?
        } else {
            self.locate(prefix)?
        };
        let stream = match after {
            Some(after) => self.store.list_with_offset(Some(&below), &self.locate(after)?),
            None => self.store.list(Some(&below)),
        };
        let found: Vec<_> = stream.try_collect().await.map_err(|e| Error::Retry(format!("{prefix}: {e}")))?;
        let own = |location: &Path| location.as_ref().strip_prefix(self.prefix.as_str()).map(str::to_string);
        let mut found: Vec<_> = found.iter().filter_map(|m| Some((own(&m.location)?, m.size))).collect();
        found.retain(|(path, _)| after.is_none_or(|after| path.as_str() > after));
        found.sort_unstable();
        Ok(found)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let location = self.locate(path)?;
        present(path, self.store.delete(&location).await).map(|_| ())
    }

    fn describe(&self) -> String {
        self.url.clone()
    }

    async fn place(&self) -> Result<String> {
        let end = self.endpoint.trim_end_matches('/');
        Ok(if end.is_empty() { self.url.clone() } else { format!("{}?endpoint={end}", self.url) })
    }
}

fn present<T>(path: &str, result: object_store::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(Error::Retry(format!("{path}: {e}"))),
    }
}

/// Why a write failed. "Not found" can only mean the bucket. A refusal of our keys is one to retry: keys are rotated.
fn unwritten(path: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { source, .. } => {
            Error::Invalid(format!("{path}: the bucket does not exist: {source}"))
        }
        e => Error::Retry(format!("{path}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_objects_go_up_and_come_down_in_pieces() {
        let store = memory();
        let bytes: Bytes = (0..(PIECE + 1000) as u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>().into();
        store.put("data/large", bytes.clone()).await.unwrap();
        assert!(store.get("data/large").await.unwrap().unwrap() == bytes);
        let middle = store.get_range("data/large", 5..PIECE + 900).await.unwrap().unwrap();
        assert!(middle == bytes.slice(5..(PIECE + 900) as usize));
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_reached_is_one_to_retry() {
        let store = AmazonS3Builder::new()
            .with_bucket_name("b")
            .with_endpoint("http://127.0.0.1:1")
            .with_allow_http(true)
            .with_access_key_id("a")
            .with_secret_access_key("s")
            .with_retry(RetryConfig { max_retries: 0, ..retry() })
            .build()
            .unwrap();
        let store =
            Remote { store: Arc::new(store), prefix: "p/".into(), url: "s3://b/p".into(), endpoint: String::new() };
        assert!(matches!(store.create("data/a", Bytes::new()).await, Err(Error::Retry(_))));
        assert!(matches!(store.get("data/a").await, Err(Error::Retry(_))));
        assert!(matches!(store.list("data", None).await, Err(Error::Retry(_))));
    }
}
