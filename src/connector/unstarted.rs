//! A source that could not be started: it is there, stands where it is, and says why it does not read.
//!
//! It hands over nothing and acknowledges nothing, so upstream keeps what comes after its position (I7), and its tables are read as they
//! are. Another attempt takes its place.

use super::source::{Batch, Position, Source, State, Status, Subscription, Waiting};
use async_trait::async_trait;
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::publish::Durable;

/// How it is left, whatever the cause was.
const REMEDY: &str =
    "The next start tries again, and so does ALTER SOURCE … PAUSE and then RESUME; DROP SOURCE works as well.";

/// Stopped for good, by the name `not_started`.
pub struct Unstarted {
    reason: String,
    remedy: String,
}

impl Unstarted {
    pub fn new(cause: &Error) -> Self {
        let reason = match &cause.detail {
            Some(detail) => format!("{}: {detail}", cause.message),
            None => cause.message.clone(),
        };
        let remedy = cause.hint.as_ref().map_or_else(|| REMEDY.to_string(), |hint| format!("{hint} {REMEDY}"));
        Self { reason, remedy }
    }

    fn refusal(&self) -> Error {
        Error::new("55000", format!("the source could not be started: {}", self.reason)).hint(&self.remedy)
    }
}

#[async_trait]
impl Source for Unstarted {
    fn waiting(&self) -> Waiting {
        Waiting::default()
    }

    fn take(&self) -> Option<Batch> {
        None
    }

    fn acknowledge(&self, _proof: &Durable, _position: &Position) {}

    fn status(&self) -> Status {
        let (reason, remedy) = (self.reason.clone(), self.remedy.clone());
        Status::of(State::Stopped { name: "not_started".into(), reason, remedy })
    }

    async fn subscribe(&self, _table: Subscription) -> Result<()> {
        Err(self.refusal())
    }

    async fn resnapshot(&self, _table: RelationId) -> Result<()> {
        Err(self.refusal())
    }

    async fn unsubscribe(&self, _table: RelationId) {}

    async fn stop(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_hands_over_nothing_and_says_why() {
        let cause = Error::new("58000", "it does not open").detail("with this key").hint("Use the other.");
        let source = Unstarted::new(&cause);
        assert!(source.take().is_none());
        assert_eq!(source.waiting(), Waiting::default());
        let State::Stopped { name, reason, remedy } = source.status().state else { panic!("it has stopped") };
        assert_eq!((name.as_str(), reason.as_str()), ("not_started", "it does not open: with this key"));
        assert!(remedy.starts_with("Use the other. The next start tries again"), "{remedy}");
        let refused = source.resnapshot(RelationId(1)).await.expect_err("it does not read");
        assert!(refused.message.contains("it does not open"), "{refused}");
    }
}
