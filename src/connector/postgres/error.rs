//! What can go wrong upstream, sorted by what to do about it.
//!
//! SQLSTATE first, then fragments of the server's text, which varies by version.

use super::decode::Malformed;
use std::fmt;
use std::io;
use weir_sql::Error;

pub type Result<T, E = UpstreamError> = std::result::Result<T, E>;

#[derive(Debug)]
pub enum UpstreamError {
    /// The network, or a server that went away or is silent.
    Io(io::Error),
    /// An ErrorResponse.
    Server(Response),
    /// The server said something that this client does not understand.
    Protocol(String),
    /// A stop decided by us: name, reason, remedy.
    Stop(StopReason),
}

/// An error as the server sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

/// What helps when the log upstream no longer leads on from the position.
pub const AGAIN: &str = "Drop the source and create it again; its tables are then copied anew.";

/// Why a source needs an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReason {
    pub name: &'static str,
    pub reason: String,
    pub remedy: String,
}

/// What to do about a failure of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Retry,
    /// As `Retry`, but the slot is held by this process of the server, which may be our own stale one.
    Busy,
    Stop(StopReason),
}

impl UpstreamError {
    pub fn verdict(&self, slot: &str) -> Verdict {
        let stop = |name, remedy: String| Verdict::Stop(StopReason { name, reason: self.to_string(), remedy });
        let response = match self {
            UpstreamError::Io(_) => return Verdict::Retry,
            UpstreamError::Stop(reason) => return Verdict::Stop(reason.clone()),
            UpstreamError::Protocol(_) => return stop("protocol_error", "Report this; the position is kept.".into()),
            UpstreamError::Server(response) => response,
        };
        let has = |fragment: &str| response.message.contains(fragment);
        match response.sqlstate.as_str() {
            "55006" => Verdict::Busy,
            "42704" if has("replication slot") => stop("slot_missing", format!("Slot \"{slot}\" is gone. {AGAIN}")),
            "42704" if has("publication") => stop(
                "publication_missing",
                "Create the publication again, then restart Weir; what committed without it is lost to this source."
                    .into(),
            ),
            "58P01" => stop("slot_invalidated", format!("The log that slot \"{slot}\" needs was removed. {AGAIN}")),
            "55000" if has("was not created in this database") => {
                stop("slot_wrong_database", format!("Slot \"{slot}\" belongs to another database. {AGAIN}"))
            }
            "55000" if has("replication slot") => {
                stop("slot_invalidated", format!("Raise max_slot_wal_keep_size upstream. {AGAIN}"))
            }
            "55000" if has("wal_level") => {
                stop("wal_level", "Set wal_level = logical upstream and restart Postgres, then Weir.".into())
            }
            "28P01" | "28000" => {
                stop("authentication", "Correct the user's password or pg_hba.conf upstream, then restart Weir.".into())
            }
            "42501" => stop("permission", "Give the user REPLICATION and SELECT again, then restart Weir.".into()),
            "3D000" => stop("database_missing", format!("The database is gone. {AGAIN}")),
            "XX000" if has("invalid memory alloc request size") => {
                stop("upstream_bug", "Update Postgres to its newest minor version, then restart Weir.".into())
            }
            // Shutdown, crash, start-up, too many connections, disk or memory full, and what nobody foresaw: the position
            // is kept, trying again harms nothing.
            _ => Verdict::Retry,
        }
    }

    /// The same, where the slot itself says why the server gave it up.
    pub fn invalidated(self, slot: &str, why: &str) -> Self {
        let cure = match why {
            "wal_removed" => "Raise max_slot_wal_keep_size upstream. ",
            "idle_timeout" => "Raise idle_replication_slot_timeout upstream. ",
            "wal_level_insufficient" => "Set wal_level = logical upstream. ",
            _ => "",
        };
        UpstreamError::Stop(StopReason {
            name: "slot_invalidated",
            reason: format!("the server gave slot \"{slot}\" up, invalidation_reason is {why}: {self}"),
            remedy: format!("{cure}{AGAIN}"),
        })
    }

    pub fn timed_out(&self) -> bool {
        matches!(self, UpstreamError::Io(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            UpstreamError::Server(response) => Some(&response.sqlstate),
            _ => None,
        }
    }

    /// For a client of ours, under a SQLSTATE of ours.
    pub fn error(&self) -> Error {
        let sqlstate = match self {
            UpstreamError::Io(_) => "08006",
            UpstreamError::Protocol(_) => "08P01",
            UpstreamError::Stop(_) => "55000",
            UpstreamError::Server(response) => known(&response.sqlstate),
        };
        let error = Error::new(sqlstate, self.to_string());
        match self {
            UpstreamError::Server(Response { hint: Some(hint), .. }) => error.hint(hint),
            UpstreamError::Stop(stop) => error.hint(&stop.remedy),
            _ => error,
        }
    }
}

/// Codes that clients may want to tell apart; the rest is 38000, an error outside.
pub fn known(sqlstate: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "28P01", "28000", "3D000", "42501", "42704", "42P01", "42703", "42710", "53300", "53400", "55000", "55006",
        "57P03", "0A000",
    ];
    KNOWN.iter().find(|code| **code == sqlstate).copied().unwrap_or("38000")
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamError::Io(_) if self.timed_out() => f.write_str("Postgres does not answer"),
            UpstreamError::Io(error) => write!(f, "{error}"),
            UpstreamError::Protocol(what) => write!(f, "unexpected answer of Postgres: {what}"),
            UpstreamError::Stop(stop) => f.write_str(&stop.reason),
            UpstreamError::Server(Response { sqlstate, message, detail, .. }) => {
                write!(f, "{message}")?;
                if let Some(detail) = detail {
                    write!(f, " ({detail})")?;
                }
                write!(f, " [{sqlstate}]")
            }
        }
    }
}

impl From<io::Error> for UpstreamError {
    fn from(error: io::Error) -> Self {
        UpstreamError::Io(error)
    }
}

impl From<Malformed> for UpstreamError {
    fn from(error: Malformed) -> Self {
        UpstreamError::Protocol(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(sqlstate: &str, message: &str) -> String {
        let response = Response { sqlstate: sqlstate.into(), message: message.into(), ..Response::default() };
        match UpstreamError::Server(response).verdict("s") {
            Verdict::Stop(stop) => stop.name.into(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_server_s_words_decide_whether_to_try_again() {
        for (sqlstate, message, expected) in [
            ("42704", "replication slot \"s\" does not exist", "slot_missing"),
            ("42704", "publication \"p\" does not exist", "publication_missing"),
            ("55000", "cannot read from logical replication slot \"s\"", "slot_invalidated"),
            ("55000", "can no longer get changes from replication slot \"s\"", "slot_invalidated"),
            ("55000", "can no longer access replication slot \"s\"", "slot_invalidated"),
            ("55000", "replication slot \"s\" was not created in this database", "slot_wrong_database"),
            ("58P01", "requested WAL segment 0001 has already been removed", "slot_invalidated"),
            ("55006", "replication slot \"s\" is active for PID 7", "Busy"),
            ("57P01", "terminating connection due to administrator command", "Retry"),
            ("57P03", "the database system is starting up", "Retry"),
            ("53300", "sorry, too many clients already", "Retry"),
            ("28P01", "password authentication failed for user \"u\"", "authentication"),
        ] {
            assert_eq!(verdict(sqlstate, message), expected, "{message}");
        }
    }
}
