//! An S3 server (moto behind a lock, see `s3.py`) with one bucket.

use super::process::{Process, free_port};
use super::{cache, eventually};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct S3 {
    home: TempDir,
    port: u16,
    _process: Process,
}

impl S3 {
    pub async fn start() -> Self {
        let home = tempfile::Builder::new().prefix("weir-s3-").tempdir().expect("a folder for the S3 server");
        let port = free_port();
        let log = File::create(home.path().join("log")).expect("open the log");
        let mut command = Command::new(python());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kit/s3.py")).arg(port.to_string());
        command.arg(home.path().join("unavailable")).current_dir(home.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("share the log")).stderr(log);
        let server = Self { home, port, _process: Process::spawn(&mut command) };
        eventually("the S3 server makes a bucket", async || match server.put("/weir").await {
            Ok(200) => Ok(()),
            other => {
                Err(format!("{other:?}: {}", fs::read_to_string(server.home.path().join("log")).unwrap_or_default()))
            }
        })
        .await;
        server
    }

    /// A store of its own for each `prefix`.
    pub fn store(&self, prefix: &str) -> String {
        format!("s3://weir/{prefix}")
    }

    /// The environment in which a client finds this server.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ];
        variables.map(|(name, value)| (name.to_string(), value)).to_vec()
    }

    /// From now on every request gets 503.
    pub fn fail(&self) {
        File::create(self.home.path().join("unavailable")).expect("make the S3 server unavailable");
    }

    pub fn heal(&self) {
        fs::remove_file(self.home.path().join("unavailable")).expect("make the S3 server available");
    }

    async fn put(&self, path: &str) -> std::io::Result<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let head = format!(
            "PUT {path} HTTP/1.0\r\nHost: s3.us-east-1.amazonaws.com\r\nContent-Length: 0\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0))
    }
}

/// The Python that `make setup` prepared.
pub fn python() -> PathBuf {
    let python = cache().join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    python
}
