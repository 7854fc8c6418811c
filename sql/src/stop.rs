//! Ends planning that nobody waits for any more. Planning cannot be interrupted from outside, but it comes by here all the time: whoever
//! plans asks whether to go on for every expression whose type is settled, and for every call whose type is asked.

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// Whether the one who planned on this thread last is still waited for.
    static WAITED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Does `work` on this thread for as long as `waited` is true.
pub fn unless_left<T>(waited: Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    let _before = Before(WAITED.replace(Some(waited)));
    work()
}

/// Also after a panic.
struct Before(Option<Arc<AtomicBool>>);

impl Drop for Before {
    fn drop(&mut self) {
        WAITED.set(self.0.take());
    }
}

/// An error, which reaches nobody, if nobody waits. All that is not planned under [`unless_left`] continues.
pub fn check() -> Result<()> {
    match WAITED.with_borrow(|waited| waited.as_ref().is_none_or(|waited| waited.load(Ordering::Relaxed))) {
        true => Ok(()),
        false => Err(Error::new("57014", "canceling statement due to user request")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{self, Settings};
    use crate::statement::{Statement, parse};

    #[test]
    fn planning_ends_as_soon_as_nobody_waits_for_it() {
        struct Nothing;
        impl crate::catalog::Catalog for Nothing {
            fn relation(&self, _: &str) -> Option<crate::catalog::Relation> {
                None
            }

            fn by_id(&self, _: crate::catalog::RelationId) -> Option<crate::catalog::Relation> {
                None
            }

            fn names(&self) -> Vec<String> {
                vec![]
            }
        }
        let plan = || {
            let Statement::Query(query) = parse("SELECT abs(1) AS a").expect("SQL").remove(0).statement else {
                panic!()
            };
            crate::planner::plan(&query, &[], &Nothing, &session::state(&Settings::default(), None))
                .map(|planned| planned.columns.len())
        };
        let waited = Arc::new(AtomicBool::new(true));
        assert_eq!(unless_left(waited.clone(), plan).expect("it is waited for"), 1);
        waited.store(false, Ordering::Relaxed);
        assert_eq!(unless_left(waited, plan).expect_err("nobody waits").sqlstate, "57014");
        assert_eq!(plan().expect("nobody could leave"), 1);
    }
}
