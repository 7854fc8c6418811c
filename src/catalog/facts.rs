//! What the system tables show beside the catalog: where the database is, and how its parts are. Gathered by the coordinator.

use crate::connector::Status;
use weir_storage::Epoch;
use weir_storage::arrangement::Arrangement;

/// Where the whole database is; changes with every epoch.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The last closed epoch and its `now` (microseconds since 1970-01-01 UTC).
    pub closed: Epoch,
    pub now: i64,
    /// The last durable checkpoint.
    pub durable: Epoch,
    /// Set when this process lost the store to another, or may not go on: every statement gets this error.
    pub stopped: Option<weir_sql::Error>,
    /// Why nothing becomes durable at the moment.
    pub trouble: Option<Trouble>,
}

/// The store refuses what is written, or does not answer.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub reason: String,
    /// Monotonic microseconds.
    pub since: u64,
}

/// Trouble shorter than this is a hiccup, microseconds: nobody is told of it.
const HICCUP_US: u64 = 5_000_000;

impl Progress {
    /// The trouble that has lasted long enough to be told.
    pub fn lasting_trouble(&self, now: u64) -> Option<weir_sql::Error> {
        let Trouble { reason, since } = self.trouble.as_ref()?;
        let is_full = ["No space left", "quota exceeded"].iter().any(|text| reason.contains(text));
        let sqlstate = if is_full { "53100" } else { "58030" };
        let text = format!("nothing becomes durable: the store does not take what is written to it: {reason}");
        (now >= since + HICCUP_US).then(|| weir_sql::Error::new(sqlstate, text))
    }
}

/// Facts for the system tables.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// By source object id.
    pub sources: Vec<(u32, Status)>,
    /// (statement, object id, progress text, started at in microseconds since 1970-01-01 UTC) of DDL that goes on.
    pub ddl: Vec<(String, u32, String, i64)>,
    /// Newest first, bounded.
    pub checkpoints: Vec<Checkpoint>,
    /// By id, ascending.
    pub relations: Vec<RelationFacts>,
}

#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    pub epoch: Epoch,
    pub generation: u32,
    /// Microseconds since 1970-01-01 UTC.
    pub committed_at: i64,
    pub duration_ms: f64,
    pub bytes: u64,
    pub positions: serde_json::Value,
}

#[derive(Clone, Debug, Default)]
pub struct RelationFacts {
    pub id: u32,
    /// `creating`, `live`, `far behind`, `suspended`, `failed`, `dropping`
    pub status: String,
    /// Why it has failed.
    pub error: Option<String>,
    pub epoch: Epoch,
    /// Age of the data that a SELECT sees now: 0 when it has reached the last closed epoch.
    pub freshness_ms: f64,
    pub rows: i64,
    pub errors: i64,
    /// Its arrangements on every worker.
    pub state: Vec<Arrangement>,
}

impl RelationFacts {
    /// Memory of its state. Walks all of it: whoever asks has a thread for that; the coordinator and HTTP have not.
    pub fn state_bytes(&self) -> u64 {
        self.state.iter().map(|arrangement| arrangement.stats().bytes as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_lasts_and_a_full_disk_by_its_own_code() {
        let trouble = |reason: &str| Progress {
            trouble: Some(Trouble { reason: reason.into(), since: 1_000_000 }),
            ..Progress::default()
        };
        assert!(Progress::default().lasting_trouble(u64::MAX).is_none());
        let full = trouble("data/x: No space left on device (os error 28)");
        assert!(full.lasting_trouble(2_000_000).is_none());
        let told = full.lasting_trouble(6_000_000).unwrap();
        assert!(told.sqlstate == "53100" && told.message.contains("No space left"), "{told}");
        assert_eq!(trouble("connection refused").lasting_trouble(6_000_000).unwrap().sqlstate, "58030");
    }
}
