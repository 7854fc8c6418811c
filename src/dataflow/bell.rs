//! A bell: whoever waits until something can be read is told when it has changed. Nobody asks again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Bell(Arc<State>);

#[derive(Default)]
struct State {
    /// How many listen.
    listening: AtomicUsize,
    rung: Arc<Notify>,
}

/// Hears what is rung from when it was made.
pub struct Listening {
    rung: OwnedNotified,
    _counted: Counted,
}

struct Counted(Bell);

impl Bell {
    /// After something has changed. Workers ring at every step, and mostly nobody listens: that costs next to nothing.
    pub fn ring(&self) {
        // Either this sees who listens, or who listens sees the change: one of the two fences comes first.
        fence(Ordering::SeqCst);
        if self.0.listening.load(Ordering::Relaxed) > 0 {
            self.0.rung.notify_waiters();
        }
    }

    /// To be asked for before one looks whether there is something to wait for.
    pub fn listen(&self) -> Listening {
        self.0.listening.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(self.clone());
        let rung = self.0.rung.clone().notified_owned();
        fence(Ordering::SeqCst);
        Listening { rung, _counted }
    }
}

impl Listening {
    pub async fn heard(self) {
        let Self { rung, _counted } = self;
        rung.await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_was_rung_before_is_not_heard_again() {
        let bell = Bell::default();
        bell.ring();
        let late = bell.listen().heard();
        assert!(futures::FutureExt::now_or_never(late).is_none());
        let early = bell.listen();
        bell.ring();
        early.heard().await;
        assert_eq!(bell.0.listening.load(Ordering::Relaxed), 0, "nobody listens any more");
    }

    /// Each side goes on only when the other has: one ring that is not heard, and both stand still.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_ring_is_missed() {
        const ROUNDS: usize = 20_000;
        let (bell, upper, seen) = (Bell::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let worker = std::thread::spawn({
            let (bell, upper, seen) = (bell.clone(), upper.clone(), seen.clone());
            move || {
                for round in 1..=ROUNDS {
                    upper.store(round, Ordering::Release);
                    bell.ring();
                    while seen.load(Ordering::Acquire) < round {
                        std::hint::spin_loop();
                    }
                }
            }
        });
        let reading = async {
            for round in 1..=ROUNDS {
                loop {
                    let listening = bell.listen();
                    if upper.load(Ordering::Acquire) >= round {
                        break;
                    }
                    listening.heard().await;
                }
                seen.store(round, Ordering::Release);
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reading).await.expect("every ring is heard");
        worker.join().expect("the worker ends");
    }
}
