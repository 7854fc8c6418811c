//! What the threads of one source share.

use super::client::Client;
use super::error::{Result, UpstreamError};
use super::feed::Feed;
use super::lsn::{Lsn, Place};
use super::options::Options;
use crate::connector::backlog::spill;
use crate::connector::buffer::Buffer;
use crate::connector::{Retained, Start, State};
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use weir_storage::Env;

pub struct Shared {
    pub env: Env,
    pub options: Options,
    /// For what waits to be taken.
    pub buffer: Buffer,
    spill: PathBuf,
    spilling: Mutex<()>,
    /// Whether the publication was made by us, and so is ours to change.
    pub owns_publication: bool,
    wake: Arc<Notify>,
    feed: Mutex<Feed>,
    /// Notified when something was taken, and at the end.
    room: Condvar,
    health: Mutex<Health>,
    pub status_timer: StatusTimer,
    /// What the proofs given so far cover; 0: none was given.
    acknowledged: AtomicU64,
    handed: AtomicU64,
    stopped: AtomicBool,
    /// A thread panicked: what it was at may be half done, so nothing is handed over any more.
    broken: AtomicBool,
    sockets: Mutex<Sockets>,
}

struct Health {
    state: State,
    last_error: Option<String>,
    retained: Option<Retained>,
}

#[derive(Default)]
struct Sockets {
    next: u64,
    open: HashMap<u64, TcpStream>,
}

/// When to tell upstream how far we are.
#[derive(Default)]
pub struct StatusTimer {
    due: Mutex<Due>,
    bell: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    /// More can be acknowledged.
    pub acknowledge: bool,
    /// Upstream asked how far we have read.
    pub answer: bool,
    /// A table has begun to wait for the stream.
    pub awaited: bool,
    /// This session's stream is over.
    pub over: bool,
}

impl Due {
    fn any(&self) -> bool {
        self.acknowledge || self.answer || self.awaited || self.over
    }
}

impl StatusTimer {
    pub fn notify(&self, set: impl FnOnce(&mut Due)) {
        set(&mut self.due.lock().expect("no holder panics"));
        self.bell.notify_all();
    }

    pub fn begin(&self) {
        *self.due.lock().expect("no holder panics") = Due::default();
    }

    /// Waits until it is notified, or `limit` has passed; what is due is due once, the end stays.
    pub fn wait(&self, limit: Duration) -> Due {
        let due = self.due.lock().expect("no holder panics");
        let (mut due, _) = self.bell.wait_timeout_while(due, limit, |due| !due.any()).expect("no holder panics");
        let now = *due;
        *due = Due { over: now.over, ..Due::default() };
        now
    }
}

impl Shared {
    pub fn new(options: Options, owns_publication: bool, place: Place, start: Start) -> Self {
        Self {
            options,
            buffer: start.buffer,
            spill: start.spill,
            spilling: Mutex::default(),
            owns_publication,
            wake: start.wake,
            handed: AtomicU64::new(place.lsn.0),
            feed: Mutex::new(Feed::new(place, start.env.limits)),
            env: start.env,
            room: Condvar::new(),
            health: Mutex::new(Health { state: State::Connecting, last_error: None, retained: None }),
            status_timer: StatusTimer::default(),
            acknowledged: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            sockets: Mutex::default(),
        }
    }

    pub fn feed(&self) -> MutexGuard<'_, Feed> {
        // What a holder that panicked has left is never handed over: see `contain`.
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something whole is waiting.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Something was taken and is handed over, up to `place`.
    pub fn taken(&self, place: Lsn) {
        self.handed.store(place.0, Ordering::Relaxed);
        self.make_room();
    }

    /// Something was taken that is going to be handed over.
    pub fn make_room(&self) {
        self.room.notify_all();
    }

    pub fn handed(&self) -> Lsn {
        Lsn(self.handed.load(Ordering::Relaxed))
    }

    /// Blocks while `full`, until something is taken; fails when the source ends.
    pub fn hold(&self, full: impl Fn(&Feed) -> bool) -> Result<bool> {
        let mut feed = self.feed();
        let mut held = false;
        while !self.ended() && full(&feed) {
            held = true;
            feed = self.room.wait(feed).unwrap_or_else(PoisonError::into_inner);
        }
        if self.ended() { Err(ended()) } else { Ok(held) }
    }

    /// Moves what cannot be taken yet to the spill folder, if that is more than the source may have in memory. Nobody waits meanwhile but
    /// whoever reads from upstream.
    pub fn spill(&self) -> Result<()> {
        if self.feed().too_much(self.buffer.bytes()).is_empty() {
            return Ok(());
        }
        // Others who have read the same find it written.
        let _one_at_a_time = self.spilling.lock().expect("no holder panics");
        let much = self.feed().too_much(self.buffer.bytes());
        if much.is_empty() {
            return Ok(());
        }
        let full = |error: io::Error| {
            let folder = self.spill.display();
            io::Error::new(error.kind(), format!("what waits cannot be kept in the spill folder {folder}: {error}"))
        };
        Ok(spill(&self.spill, &much).map_err(full)?)
    }

    // --- acknowledgement

    /// Never lowers what was acknowledged before: older servers would follow down.
    pub fn acknowledge(&self, lsn: Lsn) {
        self.acknowledged.fetch_max(lsn.0, Ordering::Relaxed);
        self.status_timer.notify(|due| due.acknowledge = true);
    }

    pub fn acknowledged(&self) -> Lsn {
        Lsn(self.acknowledged.load(Ordering::Relaxed))
    }

    // --- health

    pub fn state(&self) -> (State, Option<String>) {
        let health = self.health.lock().expect("no holder panics");
        (health.state.clone(), health.last_error.clone())
    }

    pub fn set_state(&self, state: State) {
        let mut health = self.health.lock().expect("no holder panics");
        if self.is_broken() {
            return;
        }
        if let State::Retrying { reason } | State::Stopped { reason, .. } = &state {
            health.last_error = Some(reason.clone());
        }
        health.state = state;
    }

    pub fn retained(&self) -> Option<Retained> {
        self.health.lock().expect("no holder panics").retained.clone()
    }

    pub fn set_retained(&self, retained: Option<Retained>) {
        self.health.lock().expect("no holder panics").retained = retained;
    }

    // --- panics

    /// Does the work of a thread. A panic in it ends the source with a name, and nothing else.
    pub fn contain(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_ok() {
            return;
        }
        self.give_up("internal_error", "a thread of the source panicked; the server's log says where");
    }

    /// What was read and not handed over is void; it is upstream all the same.
    pub fn give_up(&self, name: &str, reason: &str) {
        self.set_state(State::Stopped {
            name: name.into(),
            reason: reason.into(),
            remedy: "ALTER SOURCE … PAUSE and then RESUME reads again from the last position.".into(),
        });
        self.broken.store(true, Ordering::Release);
        self.end();
        self.wake();
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    // --- ending

    pub fn ended(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends every wait and every connection.
    pub fn end(&self) {
        self.stopped.store(true, Ordering::Release);
        {
            // Whoever is about to wait holds this lock, and has not yet seen the flag.
            let _feed = self.feed();
            self.room.notify_all();
        }
        self.status_timer.notify(|due| due.over = true);
        for socket in self.sockets.lock().expect("no holder panics").open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Sleeps, unless the source ends.
    pub fn sleep(&self, time: Duration) {
        let feed = self.feed();
        let _ = self.room.wait_timeout_while(feed, time, |_| !self.ended());
    }

    /// Makes `end` reach this connection.
    pub fn register(self: &Arc<Self>, client: &Client) -> Result<Registered> {
        let socket = client.socket()?;
        let mut sockets = self.sockets.lock().expect("no holder panics");
        if self.ended() {
            return Err(ended());
        }
        let id = sockets.next;
        sockets.next += 1;
        sockets.open.insert(id, socket);
        Ok(Registered { shared: self.clone(), id })
    }
}

/// A connection that ends with the source.
pub struct Registered {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.sockets.lock().expect("no holder panics").open.remove(&self.id);
    }
}

pub fn ended() -> UpstreamError {
    UpstreamError::Io(io::Error::new(io::ErrorKind::ConnectionAborted, "the source was stopped"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::buffer::Buffers;
    use crate::connector::{Definition, Identity, Position};
    use serde_json::json;

    #[test]
    fn a_source_whose_thread_panics_has_stopped_by_name_whatever_comes_later() {
        let option = |(name, value): (&str, &str)| (name.to_string(), value.to_string());
        let options = [("hostname", "h"), ("username", "u"), ("database.name", "d")].map(option).into();
        let source =
            Definition { id: 1, name: "s".into(), options, details: json!(null), identity: Identity::default() };
        let place = Place { system_id: "1".into(), timeline: 1, lsn: Lsn(7) };
        let objects = weir_storage::store::open("memory://").expect("a store in memory");
        let start = Start {
            env: Env::real(objects),
            position: Position(json!(null)),
            tables: vec![],
            wake: Arc::default(),
            buffer: Buffers::new(1).part(),
            spill: PathBuf::new(),
        };
        let shared = Shared::new(Options::parse(&source).expect("options"), false, place, start);
        shared.contain(|| {
            let _feed = shared.feed();
            panic!("asked for");
        });
        shared.set_state(State::Connecting);
        assert!(matches!(shared.state().0, State::Stopped { name, .. } if name == "internal_error"));
        assert!(shared.is_broken() && shared.ended());
        let _ = shared.feed().waiting();
    }
}
