//! Wiring: options, runtimes, store, coordinator, servers, signals.

use crate::budget::{self, Share};
use crate::catalog::secret::Keeper;
use crate::connector::Connectors;
use crate::coordinator::pace::Limits;
use crate::coordinator::{self, Config, PORTION_ROWS, Workers};
use crate::dataflow::engine::Ordeal;
use crate::dataflow::steps::JUMP_AFTER;
use crate::serving;
use crate::serving::auth::{Auth, Passwords};
use crate::serving::doors::Room;
use crate::serving::metrics;
use crate::serving::ordeal;
use crate::serving::pool::Pool;
use crate::spill::Spill;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use weir_sql::{Error, Result};
use weir_storage::{Env, store};

/// How long the last checkpoint may take at shutdown before the process ends without it; the one before it holds.
const LAST_CHECKPOINT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Options {
    /// Where psql and drivers connect.
    #[arg(long, env = "WEIR_LISTEN", default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// Where /health and /metrics are.
    #[arg(long, env = "WEIR_HTTP", default_value = "127.0.0.1:4567")]
    http: SocketAddr,
    /// PATH | file:///… | s3://bucket/prefix | memory://
    #[arg(long, env = "WEIR_STORE", default_value = "./weir-data")]
    store: String,
    /// Dataflow threads [default: cores - 1, at least 1].
    #[arg(long, env = "WEIR_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// How often changes become durable.
    #[arg(long, env = "WEIR_CHECKPOINT_INTERVAL", default_value = "1s", value_parser = duration)]
    checkpoint_interval: Duration,
    /// Epochs that may be on their way through the base tables.
    #[arg(long, env = "WEIR_MAX_IN_FLIGHT_EPOCHS", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_in_flight_epochs: u16,
    /// Memory the server aims to stay below, like 8GB [default: 70 % of the machine, half of a container].
    #[arg(long, env = "WEIR_MEMORY_LIMIT", value_parser = memory)]
    memory_limit: Option<usize>,
    /// Changes that the store keeps for one view that is behind, like 16GB. Beyond that the view is suspended and built anew.
    #[arg(long, env = "WEIR_LAG_LIMIT", default_value = "16GB", value_parser = bytes)]
    lag_limit: usize,
    /// Where large transactions and copies are spilled [default: the system's temp dir].
    #[arg(long, env = "WEIR_SPILL_DIR")]
    spill_dir: Option<PathBuf>,
    /// File whose contents encrypt stored passwords.
    #[arg(long, env = "WEIR_SECRET_KEY_FILE")]
    secret_key_file: Option<PathBuf>,
    /// Lines `user:password` of those who may connect, by SCRAM-SHA-256.
    #[arg(long, env = "WEIR_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// Let everybody connect without a password, also from other machines.
    #[arg(long, env = "WEIR_TRUST")]
    trust: bool,
    /// What to log, like `info` or `weir=debug`.
    #[arg(long, env = "WEIR_LOG", default_value = "info")]
    log: String,
    /// Start from the newest readable manifest although a newer one is damaged. Upstream may have been acknowledged past it.
    #[arg(long)]
    accept_data_loss: bool,
    /// NAME=DURATION: operators of that view rest so long before every step. For tests.
    #[arg(long, hide = true, value_parser = slow_view)]
    slow_view: Option<(String, Duration)>,
    /// NAME=N: of that relation the piece of work of this number, from 0 on, panics. For tests.
    #[arg(long, hide = true, value_parser = panics)]
    panics: Vec<(String, u64)>,
    /// Queries may call `broken(int)`, which panics. For tests.
    #[arg(long, hide = true)]
    broken_function: bool,
    /// A relation of this name cannot be sealed. For tests.
    #[arg(long, hide = true)]
    unsealable: Vec<String>,
    /// Rows that a view is given at a time while it is made. For tests.
    #[arg(long, hide = true, default_value_t = PORTION_ROWS)]
    portion_rows: usize,
}

/// Runs the server until SIGTERM or Ctrl-C.
pub fn serve(options: Options) -> Result<()> {
    init_log(&options.log)?;
    options.check()?;
    let main = runtime("weir", 2, || ())?;
    let background = runtime("weir-background", cores().max(2), || lower_priority(NICE))?;
    let result = main.block_on(run(&options, &background));
    background.shutdown_background();
    main.shutdown_background();
    result
}

impl Options {
    fn check(&self) -> Result<()> {
        if !self.listen.ip().is_loopback() && self.password_file.is_none() && !self.trust {
            return Err(Error::new("28000", format!("refusing to listen on {} without passwords", self.listen))
                .hint("Give --password-file FILE with lines user:password, or --trust to let everybody in."));
        }
        Ok(())
    }

    fn auth(&self, env: &Env) -> Result<Auth> {
        match &self.password_file {
            None => Ok(Auth::Trust),
            Some(path) => {
                Ok(Auth::Passwords(Passwords::read(path, env.random.clone()).map_err(|e| Error::new("58P01", e))?))
            }
        }
    }

    fn ordeals(&self) -> Vec<(String, Ordeal)> {
        let slow = self.slow_view.iter().map(|(name, rest)| (name, Ordeal { rest: *rest, ..Ordeal::default() }));
        let panics = self.panics.iter().map(|(name, at)| (name, Ordeal { panics_at: Some(*at), ..Ordeal::default() }));
        let never_sealed = Ordeal { unsealable: Some((0, u64::MAX)), ..Ordeal::default() };
        let unsealable = self.unsealable.iter().map(|name| (name, never_sealed));
        slow.chain(panics).chain(unsealable).map(|(name, ordeal)| (name.clone(), ordeal)).collect()
    }

    fn memory(&self) -> usize {
        self.memory_limit.unwrap_or_else(budget::usual)
    }
}

async fn run(options: &Options, background: &Runtime) -> Result<()> {
    let env = env(&options.store).await?;
    let memory = options.memory();
    let share = |share: Share| share.of(memory);
    let spill = Spill::new(&options.spill_dir.clone().unwrap_or_else(std::env::temp_dir));
    let spill = spill.map_err(|e| Error::new("58030", format!("the spill directory cannot be made: {e}")))?;
    [&options.password_file, &options.secret_key_file].into_iter().flatten().for_each(|path| warn_if_readable(path));
    let keeper = Keeper::open(options.secret_key_file.as_deref())?;
    if !keeper.is_sealing() {
        tracing::warn!("stored passwords are not encrypted: give --secret-key-file");
    }
    let config = Config {
        workers: Workers::Threads(options.workers.map_or((cores() - 1).max(1), usize::from)),
        limits: Limits {
            checkpoint_interval: options.checkpoint_interval,
            in_flight: options.max_in_flight_epochs.into(),
            ..Limits::default()
        },
        keeper,
        spill: spill.path().to_path_buf(),
        source_limit: share(Share::Sources),
        history_limit: share(Share::History),
        jump_after: JUMP_AFTER,
        lag_limit: options.lag_limit as u64,
        portion_rows: options.portion_rows.max(1),
        state_limit: share(Share::State) as u64,
        pool: background.handle().clone(),
        ordeals: options.ordeals(),
        connectors: Connectors::default(),
        accept_data_loss: options.accept_data_loss,
    };
    // Listen before the store is taken over: a port in use must not fence the server that uses it.
    let (listener, http) = (listen(options.listen).await?, listen(options.http).await?);
    budget::watch(memory)?;
    let serving = serving::Config {
        auth: options.auth(&env)?,
        env: env.clone(),
        pool: pool(share(Share::Queries))?,
        query_memory: share(Share::Queries),
        commit_memory: share(Share::Commits),
        spill_dir: Some(spill.path().to_path_buf()),
        room: room(descriptors()),
        kept_memory: (memory / 64).clamp(4 << 20, 256 << 20),
        functions: options.broken_function.then(ordeal::broken).into_iter().collect(),
    };
    let recorder = PrometheusBuilder::new().install_recorder();
    let recorder = recorder.map_err(|e| Error::internal(format!("metrics cannot be recorded: {e}")))?;
    Share::ALL.into_iter().for_each(|share| metrics::memory_share(share.name(), share.of(memory)));
    let (coordinator, handle) = coordinator::start(env.clone(), config).await?;
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = watch::channel(false);
    let mut running = tokio::spawn(coordinator.run(stopped));
    let mut sessions = tokio::spawn(serving::serve(listener, handle.clone(), serving, until(ended.clone())));
    let mut pages = tokio::spawn(serving::http::serve(http, handle, recorder, env, until(ended)));
    tracing::info!(listen = %options.listen, http = %options.http, "ready");
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    tokio::select! {
        ended = &mut running => return flatten(ended)?,
        ended = &mut sessions => return flatten(ended)?.map_err(Error::internal),
        ended = &mut pages => return flatten(ended)?.map_err(|e| Error::internal(format!("HTTP ended: {e}"))),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    end.send_replace(true);
    let _ = stop.send(());
    let (ended, _) = tokio::join!(tokio::time::timeout(LAST_CHECKPOINT, running), sessions);
    match ended {
        Ok(ended) => flatten(ended)?,
        Err(_) => {
            Err(Error::new("57P01", "the last checkpoint could not be published in time; the one before it holds"))
        }
    }
}

/// File descriptors for what is not a client: the store, spilled rows, sources, HTTP, threads, the log.
const RESERVED: usize = 512;

/// How many file descriptors the process may have, once it has asked for as many as it can get.
fn descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a pointer to a value that outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return RESERVED * 4;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
            limit = raised;
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Clients that so many file descriptors are enough for: none takes one from the store.
fn room(descriptors: usize) -> Room {
    let rest = descriptors.saturating_sub(RESERVED);
    Room { sessions: (rest / 4 * 3).clamp(1, 1000), waiting: (rest / 4).clamp(1, 256) }
}

/// A secret in a file that everybody may read is none.
fn warn_if_readable(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "other users of this machine may read this file: run chmod 600 on it");
    }
}

async fn until(mut ended: watch::Receiver<bool>) {
    // A sender that is gone means the end, too.
    let _ = ended.wait_for(|ended| *ended).await;
}

async fn env(url: &str) -> Result<Env> {
    let failed = |error: weir_storage::Error| {
        Error::new("58030", format!("store \"{}\" cannot be used: {error}", without_secrets(url)))
    };
    let objects = store::open(url).map_err(failed)?;
    let env = Env::real(objects);
    store::probe(&*env.objects).await.map_err(failed)?;
    Ok(env)
}

/// A URL may carry user:password.
fn without_secrets(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_string(),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| Error::new("58030", format!("cannot listen on {address}: {e}")))
}

fn flatten<T>(ended: std::result::Result<T, tokio::task::JoinError>) -> Result<T> {
    ended.map_err(|e| Error::internal(format!("a part of the server ended unexpectedly: {e}")))
}

fn on(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|e| Error::internal(format!("signals cannot be watched: {e}")))
}

/// Planning recurses with the depth of a statement, in large frames when not optimised. Only what is used is taken.
const STACK: usize = 16 << 20;

/// Priority of queries and of housekeeping: below the workers'.
const NICE: i32 = 10;

/// Threads of all lanes together, at most.
const QUERY_THREADS: usize = 512;

/// What a function may make of a batch, at least: however little memory queries have, rows of some kilobytes are nothing special.
const LEAST_ROOM: usize = 64 << 20;

/// Queries that have threads of their own: as many as processors, so that one alone uses all of them. `memory`: of all, bytes.
fn pool(memory: usize) -> Result<Pool> {
    let lanes = (QUERY_THREADS / cores()).clamp(8, 64);
    let begin = move || {
        lower_priority(NICE);
        weir_sql::room::keep_within(memory.max(LEAST_ROOM));
    };
    let open = move || runtime("weir-query", cores(), begin).map_err(|e| std::io::Error::other(e.message));
    Pool::new(lanes, open).map_err(|e| Error::internal(format!("queries have no threads: {e}")))
}

/// A pool of threads, each of which begins with `begin`.
fn runtime(name: &str, threads: usize, begin: impl Fn() + Send + Sync + 'static) -> Result<Runtime> {
    let built = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .thread_stack_size(STACK)
        .on_thread_start(begin)
        .enable_all()
        .build();
    built.map_err(|e| Error::internal(format!("the runtime cannot start: {e}")))
}

/// Of this thread, below the dataflow workers'.
fn lower_priority(nice: i32) {
    // SAFETY: takes and returns an integer. On Linux a nice value belongs to the calling thread, and raising it is always allowed,
    // so there is nothing to do on failure.
    unsafe { libc::nice(nice) };
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn init_log(filter: &str) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|e| Error::new("22023", format!("--log is not a filter: {e}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// `1s`, `250ms`, `2m`
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| format!("\"{text}\" does not begin with a number"))?;
    let found = match &text[split..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        unit => return Err(format!("\"{unit}\" is not a unit: write ms, s, m or h")),
    };
    if found < Duration::from_millis(10) { Err("at least 10ms".into()) } else { Ok(found) }
}

fn slow_view(text: &str) -> std::result::Result<(String, Duration), String> {
    let (name, rest) = text.split_once('=').ok_or("NAME=DURATION is expected")?;
    Ok((name.to_string(), duration(rest)?))
}

fn panics(text: &str) -> std::result::Result<(String, u64), String> {
    let (name, at) = text.split_once('=').ok_or("NAME=N is expected")?;
    Ok((name.to_string(), at.parse().map_err(|_| format!("\"{at}\" is not a number"))?))
}

/// `8GB`, `512MB`, `1073741824`
fn bytes(text: &str) -> std::result::Result<usize, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..split].parse().map_err(|_| format!("\"{text}\" does not begin with a number"))?;
    let shift = match text[split..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "KB" | "KIB" => 10,
        "MB" | "MIB" => 20,
        "GB" | "GIB" => 30,
        unit => return Err(format!("\"{unit}\" is not a unit: write MB or GB")),
    };
    number.checked_mul(1 << shift).ok_or("too large".into())
}

/// What a server can work in.
fn memory(text: &str) -> std::result::Result<usize, String> {
    bytes(text).and_then(|found| if found < 64 << 20 { Err("at least 64MB".into()) } else { Ok(found) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_store_and_there_is_always_one_seat() {
        for descriptors in [RESERVED + 4, 600, 1024, 65_536, usize::MAX] {
            let Room { sessions, waiting } = room(descriptors);
            assert!(sessions + waiting + RESERVED <= descriptors, "{descriptors}: {sessions} and {waiting}");
        }
        assert!(room(1024).sessions >= 300);
        let Room { sessions, waiting } = room(0);
        assert_eq!((sessions, waiting), (1, 1));
    }
}
