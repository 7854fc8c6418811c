//! A DataFusion session with Postgres' semantics: our analyzer rules, functions and settings. Used to plan views and to run SELECT.

use datafusion::execution::context::SessionState;

/// What of a client's session changes the meaning of SQL. Stored with every view.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    pub timezone: String,
    pub search_path: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timezone: "UTC".into(), search_path: vec!["public".into()] }
    }
}

/// `now`: microseconds since 1970-01-01 UTC, for `now()` and its kin in SELECT; `None` for views (they refuse it).
pub fn state(settings: &Settings, now: Option<i64>) -> SessionState {
    let _ = (settings, now);
    todo!()
}
