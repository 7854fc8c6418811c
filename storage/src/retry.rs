//! Asking a store again that does not answer: `Error::Retry` says that nothing is lost, every other answer is one.

use crate::env::Env;
use crate::error::{Error, Result};

/// How often a store is asked, and microseconds between: each wait is twice the one before, and none longer than the longest.
pub struct Backoff {
    pub tries: usize,
    pub first: u64,
    pub longest: u64,
}

/// Until there is an answer: a hiccup costs little, an outage is not hammered.
pub const ENDLESS: Backoff = Backoff { tries: usize::MAX, first: 50_000, longest: 5_000_000 };

impl Backoff {
    /// What `call` is answered, at the last try whatever it is; `on_retry` is told why there is another one.
    pub async fn retry<T, F: Future<Output = Result<T>>>(
        &self,
        env: &Env,
        on_retry: &(dyn Fn(&str) + Send + Sync),
        call: impl Fn() -> F,
    ) -> Result<T> {
        let mut wait = self.first;
        for _ in 1..self.tries {
            match call().await {
                Err(Error::Retry(why)) => on_retry(&why),
                answer => return answer,
            }
            // Between half and all of it, so that two servers do not keep step.
            env.clock.sleep(wait / 2 + env.random.next() % (wait / 2).max(1)).await;
            wait = (wait * 2).min(self.longest);
        }
        call().await
    }
}

/// Where nobody else has to know.
pub fn warn(why: &str) {
    tracing::warn!(why, "the store does not answer; trying again");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::tests::env;
    use crate::store::open;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_store_is_asked_again_until_it_answers_or_often_enough() {
        let env = env(open("memory://").unwrap(), 1);
        let backoff = Backoff { tries: 3, first: 1000, longest: 1000 };
        for (silent, calls, answered) in [(0, 1, true), (2, 3, true), (3, 3, false)] {
            let (asked, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let on_retry = |_: &str| {
                told.fetch_add(1, Ordering::Relaxed);
            };
            let answer = backoff
                .retry(&env, &on_retry, || async {
                    if asked.fetch_add(1, Ordering::Relaxed) < silent { Err(Error::Retry("".into())) } else { Ok(()) }
                })
                .await;
            let seen = (asked.into_inner(), answer.is_ok());
            assert_eq!((seen, told.into_inner()), ((calls, answered), calls - 1));
        }
        let damaged = ENDLESS.retry(&env, &warn, || async { Err::<(), _>(Error::Corrupt("".into())) }).await;
        assert!(matches!(damaged, Err(Error::Corrupt(_))));
    }
}
