//! The server under test, as its own process: the built binary, spoken to by SQL, HTTP and signals.

use super::client::Client;
use super::postgres::tail;
use super::process::{Process, fed, free_port, output};
use super::{TIMEOUT, eventually};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Config;

pub struct Weir {
    home: TempDir,
    store: String,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    /// A program that runs the server, with its arguments.
    runner: Vec<String>,
    /// Of user root, if the server asks for one.
    password: Option<String>,
    port: u16,
    http: u16,
    process: Option<Process>,
}

impl Weir {
    /// On a new local store.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// On a new local store, with further flags of `weir serve`.
    pub async fn with(flags: &[&str]) -> Self {
        let home = folder();
        let store = home.path().join("store").to_string_lossy().into_owned();
        Self::launch_in(home, store, flags, &[]).await
    }

    /// On a store that others use too. `variables` are environment variables.
    pub async fn on(store: &str, flags: &[&str], variables: &[(String, String)]) -> Self {
        Self::launch_in(folder(), store.to_string(), flags, variables).await
    }

    /// Run by a program that becomes the server, like `prlimit`.
    pub async fn run_by(runner: Vec<String>, store: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| flag.to_string()).collect();
        let mut server = Self::new(folder(), store.to_string(), flags, vec![]);
        server.runner = runner;
        server.restart().await;
        server
    }

    async fn launch_in(home: TempDir, store: String, flags: &[&str], variables: &[(String, String)]) -> Self {
        let flags = flags.iter().map(|flag| flag.to_string()).collect();
        let mut server = Self::new(home, store, flags, variables.to_vec());
        server.restart().await;
        server
    }

    /// On a store that may be damaged: what the server says if it ends instead of answering.
    pub async fn attempt(store: &str) -> Result<Self, String> {
        let mut server = Self::new(folder(), store.to_string(), vec![], vec![]);
        server.spawn();
        loop {
            if server.process.as_mut().and_then(Process::ended).is_some() {
                return Err(server.log());
            }
            if server.get("/health").await.is_ok_and(|(status, _)| status == 200) {
                return Ok(server);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// A server that asks user root for this password.
    pub async fn with_password(password: &str) -> Self {
        let home = folder();
        let file = home.path().join("passwords");
        fs::write(&file, format!("root:{password}\n")).expect("write the password file");
        let store = home.path().join("store").to_string_lossy().into_owned();
        let flags = vec!["--password-file".to_string(), file.to_string_lossy().into_owned()];
        let mut server = Self::new(home, store, flags, vec![]);
        server.password = Some(password.to_string());
        server.restart().await;
        server
    }

    fn new(home: TempDir, store: String, flags: Vec<String>, variables: Vec<(String, String)>) -> Self {
        let (port, http) = (free_port(), free_port());
        Self { home, store, flags, variables, runner: vec![], password: None, port, http, process: None }
    }

    /// Waits for health and for the SQL port.
    pub async fn ready(&mut self) {
        eventually("weir is healthy", async || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                panic!("weir ended with {status}: {}", tail(&self.log()));
            }
            let (status, body) = self.get("/health").await.map_err(|e| e.to_string())?;
            if status != 200 {
                return Err(format!("{status} {body}"));
            }
            self.connect().await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    }

    /// Starts a server that was killed or stopped, without waiting until it answers.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "weir is stopped");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("open the log");
        let line: Vec<&str> = self.runner.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_weir")]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("serve").args(["--store", &self.store]);
        if !self.flags.iter().any(|flag| flag == "--workers") {
            command.args(["--workers", "2"]);
        }
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--http", &format!("127.0.0.1:{}", self.http)]);
        command.args(&self.flags).envs(self.variables.iter().cloned()).env("RUST_BACKTRACE", "1");
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("share the log")).stderr(log);
        self.process = Some(Process::spawn(&mut command));
    }

    /// Starts a server that was killed or stopped and waits until it answers.
    pub async fn restart(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Flags of `weir serve` for the next start, beside the usual ones.
    pub fn set_flags(&mut self, flags: Vec<String>) {
        self.flags = flags;
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("weir is running").kill();
    }

    /// SIGTERM; how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.as_ref().expect("weir is running").signal(libc::SIGTERM);
        self.wait()
    }

    /// Waits for a server that ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("weir is running");
        process.wait(TIMEOUT).unwrap_or_else(|| panic!("weir does not end: {}", tail(&self.log())))
    }

    #[allow(dead_code, reason = "benches ask the kernel about it")]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("weir is running").id()
    }

    pub fn store(&self) -> &str {
        &self.store
    }

    /// What `weir inspect` tells of its store, whether it runs or not.
    pub fn inspect(&self, flags: &[&str]) -> Value {
        serde_json::from_str(&self.inspect_text(&[&["--json"], flags].concat())).expect("JSON")
    }

    pub fn inspect_text(&self, flags: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["inspect", &self.store]).args(flags).envs(self.variables.iter().cloned());
        let output = output(&mut command, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server wrote to its output, of all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A connection of user root to database dev.
    pub async fn client(&self) -> Client {
        self.connect().await.unwrap_or_else(|e| panic!("connect to weir: {e}"))
    }

    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        Client::connect(&self.config()).await
    }

    /// How user root connects to database dev.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user("root").dbname("dev");
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }

    /// What psql prints for `input`, errors at the end.
    pub fn psql(&self, input: &str) -> String {
        let port = self.port.to_string();
        fed(Command::new("psql").args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "root", "-d", "dev"]), input)
    }

    /// Status and body of `GET path`.
    pub async fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: weir\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default();
        Ok((status, body))
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        drop(self.process.take());
        if std::thread::panicking() {
            eprintln!("--- weir log\n{}", tail(&self.log()));
        }
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a folder for weir")
}
