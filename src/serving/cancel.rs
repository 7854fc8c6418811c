//! CancelRequest: a second connection names a session by number and secret, and its running statement ends.

use bytes::Bytes;
use pgwire::messages::ProtocolVersion;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use weir_storage::env::Random;

/// All sessions that can be cancelled.
pub struct Registry {
    random: Arc<dyn Random>,
    next: AtomicI32,
    sessions: Mutex<HashMap<i32, (Bytes, Arc<Notify>)>>,
}

impl Registry {
    pub fn new(random: Arc<dyn Random>) -> Self {
        Self { random, next: AtomicI32::new(0), sessions: Mutex::default() }
    }

    /// A new session's number, secret and wake-up call; forgotten when the ticket is dropped.
    pub fn register(self: &Arc<Self>, version: ProtocolVersion) -> Ticket {
        let secret = match version {
            ProtocolVersion::PROTOCOL3_0 => SecretKey::I32(self.random.next() as i32),
            _ => SecretKey::Bytes((0..4).flat_map(|_| self.random.next().to_be_bytes()).collect()),
        };
        let pid = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let wake = Arc::new(Notify::new());
        self.sessions.lock().expect("sessions lock").insert(pid, (secret.to_bytes(), wake.clone()));
        Ticket { pid, secret, wake, registry: self.clone() }
    }

    /// Wakes the session if the secret is right. Nothing is told to the one who asks.
    pub fn cancel(&self, request: &CancelRequest) {
        let sessions = self.sessions.lock().expect("sessions lock");
        if let Some((secret, wake)) = sessions.get(&request.pid)
            && *secret == request.secret_key.to_bytes()
        {
            wake.notify_waiters();
        }
    }
}

pub struct Ticket {
    pub pid: i32,
    pub secret: SecretKey,
    /// Only a statement that is running when the call comes hears it.
    pub wake: Arc<Notify>,
    registry: Arc<Registry>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.sessions.lock().expect("sessions lock").remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(Arc::new(weir_storage::env::SystemRandom)))
    }

    #[tokio::test]
    async fn only_the_right_secret_wakes_a_session() {
        let registry = registry();
        let ticket = registry.register(ProtocolVersion::PROTOCOL3_0);
        let waiting = ticket.wake.notified();
        tokio::pin!(waiting);
        waiting.as_mut().enable();
        let wrong = SecretKey::I32(ticket.secret.as_i32().expect("four bytes").wrapping_add(1));
        registry.cancel(&CancelRequest::new(ticket.pid, wrong));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        registry.cancel(&CancelRequest::new(ticket.pid, ticket.secret.clone()));
        assert!(futures::poll!(waiting).is_ready());
    }

    #[test]
    fn a_session_that_ended_cannot_be_cancelled() {
        let registry = registry();
        drop(registry.register(ProtocolVersion::PROTOCOL3_2));
        assert!(registry.sessions.lock().expect("lock").is_empty());
    }
}
