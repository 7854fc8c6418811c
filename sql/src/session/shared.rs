//! DataFusion sessions that all statements with the same settings share, views, queries and writes alike: making one registers some
//! hundred functions, which takes longer than to plan a short query. What differs from statement to statement is no part of them.

use super::{Settings, state};
use datafusion::execution::context::SessionState;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Settings in use at once; a client that sets another time zone with every statement keeps no more.
const MOST: usize = 64;

/// Cheap to clone; clones share what they have.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<Settings, Arc<SessionState>>>>);

impl Sessions {
    /// The session of `settings`, made if there is none. It has no time: see [`super::timed`].
    pub fn of(&self, settings: &Settings) -> Arc<SessionState> {
        // One that could not be made is not among them.
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = made.get(settings) {
            return session.clone();
        }
        let session = Arc::new(state(settings, None));
        if made.len() >= MOST {
            made.clear();
        }
        made.insert(settings.clone(), session.clone());
        session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_share_a_session_and_there_are_never_more_than_so_many() {
        let zone = |timezone: &str| Settings { timezone: timezone.into(), ..Settings::default() };
        let sessions = Sessions::default();
        let first = sessions.of(&zone("UTC"));
        assert!(Arc::ptr_eq(&first, &sessions.clone().of(&zone("UTC"))));
        let other = sessions.of(&zone("Asia/Tokyo"));
        assert!(!Arc::ptr_eq(&first, &other));
        assert_eq!(other.config_options().execution.time_zone.as_deref(), Some("Asia/Tokyo"));
        for hour in 0..MOST {
            sessions.of(&zone(&format!("+{hour:02}")));
        }
        assert!(sessions.0.lock().unwrap().len() <= MOST);
    }
}
