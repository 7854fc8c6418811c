//! The slot's health: what it keeps the server from deleting, and how near the server is to giving it up.
//!
//! A slot whose reader is late keeps log on the server's disk. With `max_slot_wal_keep_size` the server gives such a slot up one day,
//! and what it kept is gone: that is to be known, and said, before it happens.

use super::client::{Client, Purpose};
use super::control;
use super::error::Result;
use super::shared::Shared;
use crate::connector::Retained;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

const EVERY: Duration = Duration::from_secs(10);

/// A slot is in danger when less than this share of what it may keep is left.
const SHARE: i64 = 4;

/// Looks until the source ends.
pub fn run(shared: &Arc<Shared>) {
    let mut warned = false;
    while !shared.ended() {
        match look(shared) {
            Ok(retained) => {
                let danger = retained.as_ref().is_some_and(in_danger);
                if let (true, false, Some(Retained { bytes, left, status })) = (danger, warned, &retained) {
                    let (source, slot) = (&shared.options.application, &shared.options.slot);
                    warn!(
                        source,
                        slot,
                        retained_bytes = bytes,
                        left_bytes = left,
                        status,
                        "the server will soon give the slot up: \
                        read faster, or raise max_slot_wal_keep_size"
                    );
                }
                warned = danger;
                shared.set_retained(retained);
            }
            // The reader of the stream says what is wrong with the server.
            Err(failure) => {
                debug!(source = shared.options.application, reason = %failure, "cannot look after the slot")
            }
        }
        shared.sleep(EVERY);
    }
}

fn look(shared: &Arc<Shared>) -> Result<Option<Retained>> {
    let mut client = Client::connect(&shared.options, Purpose::Sql)?;
    let _registered = shared.register(&client)?;
    control::retained(&mut client, &shared.options.slot)
}

fn in_danger(retained: &Retained) -> bool {
    let lost = matches!(retained.status.as_deref(), Some("unreserved" | "lost"));
    lost || retained.left.is_some_and(|left| left < (left + retained.bytes as i64) / SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_in_danger_when_little_is_left_or_the_server_says_so() {
        let retained = |bytes, status: &str, left| Retained { bytes, status: Some(status.into()), left };
        assert!(!in_danger(&retained(1 << 40, "extended", None)));
        assert!(!in_danger(&retained(50, "reserved", Some(50))));
        assert!(in_danger(&retained(80, "reserved", Some(20))));
        assert!(in_danger(&retained(10, "unreserved", Some(100))));
        assert!(in_danger(&retained(100, "unreserved", Some(-20))));
    }
}
