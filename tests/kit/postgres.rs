//! A private PostgreSQL: a copy of one freshly made cluster, on its own port, run by an unprivileged user.

use super::client::Client;
use super::process::{Process, User, free_port, run_as};
use super::{TIMEOUT, cache, eventually};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use tokio_postgres::Config;

/// Password of user `postgres` over TCP; the socket in the server's folder trusts everybody.
pub const PASSWORD: &str = "upstream-secret";

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The newest that the system has, or the one in `PG_BIN`.
    Installed,
    /// What `make setup` puts beside it: server programs only.
    Eighteen,
}

#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Like a crash of every process.
    Immediate,
}

pub struct Postgres {
    version: Version,
    home: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Process>,
}

impl Postgres {
    /// The installed version, ready for logical replication; `settings` are `name=value` and win over ours.
    pub async fn start(settings: &[&str]) -> Self {
        Self::of(Version::Installed, settings).await
    }

    pub async fn of(version: Version, settings: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("weir-postgres-").tempdir().expect("a folder for postgres");
        let user = User::unprivileged();
        let copied = Command::new("cp").arg("-a").arg(template(version)).arg(home.path().join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy of the postgres template");
        if let Some(user) = user {
            user.own(home.path());
        }
        let settings = settings.iter().map(|s| s.to_string()).collect();
        let mut server = Self { version, home, port: free_port(), settings, process: None };
        server.launch().await;
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// One of Postgres' own client programs, told where this server is and who asks.
    #[allow(dead_code, reason = "benches run them")]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs(self.version).join(program));
        command.arg("-h").arg(self.home.path()).args([
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "-d",
            "postgres",
        ]);
        command
    }

    /// A superuser's connection to database `postgres`.
    pub async fn client(&self) -> Client {
        Client::connect(&self.config()).await.expect("connect to postgres")
    }

    /// `WITH (…)` of a CREATE SOURCE that reads this server; `extra` are further options, as written.
    pub fn options(&self, slot: &str, extra: &str) -> String {
        self.options_through(self.port, slot, extra)
    }

    /// As [`Self::options`], by way of a proxy's port.
    pub fn options_through(&self, port: u16, slot: &str, extra: &str) -> String {
        format!(
            "connector='postgres-cdc', hostname='127.0.0.1', port='{port}', username='postgres', password='{PASSWORD}', \
             database.name='postgres', schema.name='public', slot.name='{slot}', publication.name='{slot}'{}{extra}",
            if extra.is_empty() { "" } else { ", " }
        )
    }

    pub fn stop(&mut self, how: Stop) {
        let mut process = self.process.take().expect("postgres is running");
        process.signal(match how {
            Stop::Fast => libc::SIGINT,
            Stop::Immediate => libc::SIGQUIT,
        });
        assert!(process.wait(TIMEOUT).is_some(), "postgres stops: {}", self.log());
    }

    /// Starts a stopped server on the same port and data.
    pub async fn launch(&mut self) {
        assert!(self.process.is_none(), "postgres is stopped");
        let log = File::options().create(true).append(true).open(self.home.path().join("log")).expect("open the log");
        let mut command = Command::new(programs(self.version).join("postgres"));
        command.arg("-D").arg(self.home.path().join("data")).arg("-k").arg(self.home.path());
        command.args(["-p", &self.port.to_string()]);
        let ours = ["listen_addresses=127.0.0.1", "wal_level=logical", "fsync=off", "timezone=UTC"];
        for setting in ours.into_iter().map(str::to_string).chain(self.settings.iter().cloned()) {
            command.args(["-c", &setting]);
        }
        command
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log);
        self.process = Some(Process::spawn(run_as(&mut command, User::unprivileged())));
        let config = self.config();
        eventually("postgres answers", async || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                panic!("postgres ended with {status}: {}", self.log());
            }
            Client::connect(&config).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    }

    /// How a superuser connects to database `postgres`.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(self.home.path()).port(self.port).user("postgres").dbname("postgres");
        config
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Killing the postmaster would leave its children behind for a while; this ends them all.
            process.signal(libc::SIGQUIT);
            process.wait(TIMEOUT);
        }
        if std::thread::panicking() {
            eprintln!("--- postgres log\n{}", tail(&self.log()));
        }
    }
}

/// The last lines of a log, for a failed test's output.
pub fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(80)..].join("\n")
}

/// One value per version, made when it is first asked for.
type PerVersion = [OnceLock<PathBuf>; 2];

/// The folder of a version's server programs.
fn programs(version: Version) -> &'static Path {
    static FOLDERS: PerVersion = [const { OnceLock::new() }; 2];
    FOLDERS[version as usize].get_or_init(|| match version {
        Version::Installed => installed(),
        Version::Eighteen => eighteen(),
    })
}

fn installed() -> PathBuf {
    if let Ok(folder) = std::env::var("PG_BIN") {
        return folder.into();
    }
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = debian.filter(|folder| folder.join("bin/initdb").exists()).max_by_key(version);
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    newest.map(|folder| folder.join("bin")).or_else(on_path).expect("PostgreSQL's server programs: run `make setup`")
}

/// A home folder is often closed to others, so the user who runs servers gets a copy.
fn eighteen() -> PathBuf {
    let folder = cache().join("postgres-18/native");
    assert!(folder.join("bin/initdb").exists(), "{} is missing: run `make setup`", folder.display());
    if User::unprivileged().is_none() {
        return folder.join("bin");
    }
    let copy = home().join("programs-18");
    let copied = Command::new("cp").arg("-a").arg(folder.join(".")).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy of PostgreSQL's server programs");
    copy.join("bin")
}

/// A cluster made once per test run, to copy from.
fn template(version: Version) -> &'static Path {
    static CLUSTERS: PerVersion = [const { OnceLock::new() }; 2];
    CLUSTERS[version as usize].get_or_init(|| initialized(version))
}

fn initialized(version: Version) -> PathBuf {
    let home = home().join(format!("{version:?}"));
    fs::create_dir(&home).expect("a folder for the template");
    let secret = home.join("password");
    fs::write(&secret, PASSWORD).expect("write the password");
    let user = User::unprivileged();
    if let Some(user) = user {
        user.own(&home);
        user.own(&secret);
    }
    let mut command = Command::new(programs(version).join("initdb"));
    command.arg("-D").arg(home.join("data")).arg("--pwfile").arg(&secret).current_dir(&home);
    command.args(["-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C"]);
    command.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
    let output = run_as(&mut command, user).output().expect("run initdb");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    home.join("data")
}

/// A folder of this process for what its servers are made from.
///
/// Statics are never dropped, so it is removed by the C library's exit handlers.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    extern "C" fn remove() {
        if let Some(home) = HOME.get() {
            let _ = fs::remove_dir_all(home);
        }
    }
    HOME.get_or_init(|| {
        let home = std::env::temp_dir().join(format!("weir-postgres-template-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).expect("a folder for the template");
        // SAFETY: the handler only reads an initialised static and removes files.
        unsafe { libc::atexit(remove) };
        home
    })
}
