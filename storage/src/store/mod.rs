//! Stores: [`open`] makes an [`Objects`] of a URL, [`probe`] asks it to prove that it can be trusted.
//!
//! A path or `file://` is our own durable store ([`local`]); `s3://` and `memory://` go through the `object_store` crate
//! ([`remote`]). Errors while opening name what to change (`Error::Invalid`); later ones are `Error::Retry`.

pub mod files;
pub mod local;
mod probe;
mod refuse;
mod remote;

pub use probe::probe;

use crate::env::Objects;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// Opens `PATH | file:///… | s3://bucket/prefix | memory://`. A path that does not exist is created. S3 endpoint and keys
/// come from `AWS_*`. Every `memory://` is a store of its own. Unknown schemes and unusable paths are `Error::Invalid`.
pub fn open(url: &str) -> Result<Arc<dyn Objects>> {
    match place(url)? {
        Place::Local(path) => Ok(Arc::new(local::Local::open(&path)?)),
        Place::S3 { bucket, prefix } => Ok(Arc::new(remote::s3(&bucket, &prefix)?)),
        Place::Memory => Ok(Arc::new(remote::memory())),
    }
}

/// The same for who only reads: what does not exist is `Error::Invalid` and stays so, and nothing is written.
pub fn open_to_read(url: &str) -> Result<Arc<dyn Objects>> {
    match place(url)? {
        Place::Local(path) => Ok(Arc::new(local::Local::open_to_read(&path)?)),
        Place::S3 { .. } | Place::Memory => open(url),
    }
}

#[derive(Debug, PartialEq)]
enum Place {
    Local(PathBuf),
    S3 { bucket: String, prefix: String },
    Memory,
}

fn place(url: &str) -> Result<Place> {
    let invalid = |why: &str| Err(Error::Invalid(format!("store {url:?}: {why}")));
    let Some((scheme, rest)) = url.split_once("://") else {
        return match url {
            "" => invalid("the path is empty"),
            _ => Ok(Place::Local(Path::new(url).to_path_buf())),
        };
    };
    match scheme {
        "memory" if rest.trim_matches('/').is_empty() => Ok(Place::Memory),
        "memory" => invalid("memory:// takes no path"),
        "file" => match Url::parse(url).ok().and_then(|u| u.to_file_path().ok()) {
            Some(path) => Ok(Place::Local(path)),
            None => invalid("a file URL has three slashes and an absolute path: file:///var/lib/weir"),
        },
        "s3" => match rest.split_once('/').unwrap_or((rest, "")) {
            ("", _) => invalid("an S3 URL names a bucket: s3://bucket/prefix"),
            (bucket, prefix) => {
                Ok(Place::S3 { bucket: bucket.to_string(), prefix: prefix.trim_matches('/').to_string() })
            }
        },
        _ => invalid("unknown kind of store; supported are a path, file:///path, s3://bucket/prefix and memory://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Created;
    use bytes::Bytes;

    #[test]
    fn urls_name_places_and_unusable_ones_say_what_to_write() {
        assert_eq!(place("./weir-data").unwrap(), Place::Local("./weir-data".into()));
        assert_eq!(place("file:///var/lib/we%20ir").unwrap(), Place::Local("/var/lib/we ir".into()));
        assert_eq!(place("s3://b/p/q/").unwrap(), Place::S3 { bucket: "b".into(), prefix: "p/q".into() });
        assert_eq!(place("s3://b").unwrap(), Place::S3 { bucket: "b".into(), prefix: "".into() });
        assert_eq!(place("memory://").unwrap(), Place::Memory);
        for (url, hint) in [
            ("", "empty"),
            ("gs://b/p", "supported are"),
            ("file://relative/path", "three slashes"),
            ("s3:///p", "bucket"),
            ("memory://x", "no path"),
        ] {
            let error = place(url).unwrap_err();
            assert!(matches!(&error, Error::Invalid(m) if m.contains(hint)), "{url}: {error}");
        }
    }

    #[test]
    fn who_only_reads_makes_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/such");
        let error = open_to_read(path.to_str().unwrap()).err().unwrap();
        assert!(matches!(&error, Error::Invalid(m) if m.contains("no/such")), "{error}");
        assert!(!dir.path().join("no").exists());
        assert!(open_to_read(dir.path().to_str().unwrap()).is_ok());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// What every store must do, whatever is behind it.
    async fn check(objects: &dyn Objects) {
        assert_eq!(objects.list("data/", None).await.unwrap(), vec![]);
        assert_eq!(objects.get("data/a").await.unwrap(), None);
        assert_eq!(objects.get_range("data/a", 0..1).await.unwrap(), None);
        assert_eq!(objects.create("data/b", Bytes::from_static(b"one")).await.unwrap(), Created::Yes);
        assert_eq!(objects.create("data/b", Bytes::from_static(b"two")).await.unwrap(), Created::Exists);
        assert_eq!(objects.get("data/b").await.unwrap().unwrap(), "one");
        objects.put("data/a", Bytes::from_static(b"0123456789")).await.unwrap();
        objects.put("data/a", Bytes::from_static(b"9876543210")).await.unwrap();
        assert_eq!(objects.get_range("data/a", 2..5).await.unwrap().unwrap(), "765");
        assert!(matches!(objects.get_range("data/a", 8..11).await, Err(Error::Corrupt(_))));
        assert!(matches!(objects.get_range("data/a", 20..21).await, Err(Error::Corrupt(_))));
        objects.put("manifest/1", Bytes::new()).await.unwrap();
        let all = vec![("data/a".to_string(), 10), ("data/b".to_string(), 3)];
        assert_eq!(objects.list("data/", None).await.unwrap(), all);
        assert_eq!(objects.list("data", None).await.unwrap(), all);
        assert_eq!(objects.list("data/", Some("data/a")).await.unwrap(), all[1..]);
        objects.delete("data/a").await.unwrap();
        objects.delete("data/a").await.unwrap();
        assert_eq!(objects.get("data/a").await.unwrap(), None);
        assert!(matches!(objects.get("../a").await, Err(Error::Invalid(_))));
    }

    #[tokio::test]
    async fn the_memory_store_does_what_a_store_must() {
        let store = open("memory://").unwrap();
        check(&*store).await;
        probe(&*store).await.unwrap();
    }

    #[tokio::test]
    async fn the_local_store_does_what_a_store_must() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path().join("new/deep").to_str().unwrap()).unwrap();
        check(&*store).await;
        probe(&*store).await.unwrap();
    }
}
