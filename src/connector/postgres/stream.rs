//! The reader of one slot: connects, proves that the slot can serve the position, reads, and connects again.
//!
//! Two threads: one reads and decodes, one tells upstream how far we are. So keepalives are answered also while reading is
//! held back, and nothing but what a proof of durability covers is ever acknowledged (I7; R1 and R9 of
//! ARCHITECTURE.md, *Sources*).

use super::client::{Client, Frame, Purpose};
use super::control::{self, Slot};
use super::error::{AGAIN, Result, StopReason, UpstreamError, Verdict};
use super::feed::{Attempt, Feed};
use super::lsn::{Lsn, Place};
use super::options::Options;
use super::shared::Shared;
use crate::connector::State;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// How often upstream hears of us at least; less when its `wal_sender_timeout` is short.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// While a table waits for the stream to reach its consistent point, upstream is asked this often where it is.
const POSITION_INTERVAL: Duration = Duration::from_millis(50);
/// How long a server may be silent that would wait for ever itself.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// A read waits this long at most, so that silence is noticed.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// A read that finds little has the next one wait until a millisecond has passed: Postgres sends row by row.
const PACE_MICROS: u64 = 1000;
const SMALL_READ: usize = 64 * 1024;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH: i64 = 946_684_800_000_000;

/// Reads until the source ends or must stop. `copy` starts a copy that must begin again.
pub fn run(shared: Arc<Shared>, copy: impl Fn(Attempt)) {
    let mut pause = FIRST_RETRY;
    while !shared.ended() {
        let mut streamed = false;
        let failure = match session(&shared, &mut streamed) {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        if shared.ended() {
            return;
        }
        let again = shared.feed().abandon();
        again.into_iter().for_each(&copy);
        match failure.verdict(&shared.options.slot) {
            Verdict::Stop(StopReason { name, reason, remedy }) => {
                warn!(source = shared.options.application, state = name, reason, "source stopped");
                shared.set_state(State::Stopped { name: name.into(), reason, remedy });
                shared.wake();
                return;
            }
            verdict => {
                warn!(source = shared.options.application, reason = %failure, "source lost upstream, trying again");
                shared.set_state(State::Retrying { reason: failure.to_string() });
                if verdict == Verdict::Busy {
                    release(&shared);
                }
            }
        }
        let is_full = matches!(&failure, UpstreamError::Io(error) if error.kind() == io::ErrorKind::StorageFull);
        pause = if streamed && !is_full { FIRST_RETRY } else { (pause * 2).min(LAST_RETRY) };
        shared.sleep(pause);
    }
}

enum Never {}

/// One connection's life.
fn session(shared: &Arc<Shared>, streamed: &mut bool) -> Result<Never> {
    let options = &shared.options;
    let mut client = Client::connect(options, Purpose::Replication)?;
    let _registered = shared.register(&client)?;
    let place = shared.feed().place().clone();
    let server = control::identify(&mut client)?;
    same_log(&server, &place)?;
    let started = client.start_replication(&options.slot, &options.publication, place.lsn);
    started.map_err(|failure| explained(options, failure))?;
    // Only now: an active slot cannot move, and a position behind it is silently moved forward by Postgres.
    let timeout = {
        let mut control = Client::connect(options, Purpose::Sql)?;
        can_serve(control::slot(&mut control, &options.slot)?, &options.slot, &place)?;
        control::sender_timeout(&mut control)?
    };
    shared.feed().timeline(server.timeline);
    let copying = shared.feed().copies().len();
    shared.set_state(State::Running { copying });
    info!(source = options.application, position = %place.lsn, "source is streaming");
    *streamed = true;
    client.set_timeout(READ_TIMEOUT)?;
    let socket = client.socket()?;
    let every = timeout.map_or(STATUS_INTERVAL, |t| STATUS_INTERVAL.min(t / 2));
    shared.status_timer.begin();
    thread::scope(|scope| {
        scope.spawn(|| send_status(shared, socket, every));
        let failure = read(shared, &mut client, timeout.unwrap_or(DEFAULT_TIMEOUT));
        shared.status_timer.notify(|due| due.over = true);
        failure
    })
}

/// The same server, and one that still has what we have seen.
pub fn same_log(server: &Place, place: &Place) -> Result<()> {
    if server.system_id != place.system_id {
        return Err(stop(
            "wrong_system",
            format!("system identifier is {}, was {}: this is another server", server.system_id, place.system_id),
            "Connect to the server this source was created on, or drop the source and create it again.",
        ));
    }
    if server.lsn < place.lsn {
        return Err(stop(
            "position_ahead",
            format!("the server's log ends at {}, before the position {}: it lost transactions", server.lsn, place.lsn),
            AGAIN,
        ));
    }
    Ok(())
}

/// A slot that cannot be read may say why.
fn explained(options: &Options, failure: UpstreamError) -> UpstreamError {
    if failure.sqlstate() != Some("55000") {
        return failure;
    }
    let slot =
        Client::connect(options, Purpose::Sql).and_then(|mut control| control::slot(&mut control, &options.slot));
    match slot.ok().flatten().and_then(|slot| slot.invalidation) {
        Some(why) => failure.invalidated(&options.slot, &why),
        None => failure,
    }
}

/// The slot is ours and has kept everything after the position.
pub fn can_serve(slot: Option<Slot>, name: &str, place: &Place) -> Result<()> {
    let Some(slot) = slot else {
        return Err(stop("slot_missing", format!("replication slot \"{name}\" does not exist"), AGAIN));
    };
    if slot.plugin != "pgoutput" || !slot.here {
        let database = slot.database.unwrap_or_default();
        let reason = format!("slot \"{name}\" is of plugin {} in database \"{database}\"", slot.plugin);
        return Err(stop("slot_foreign", reason, AGAIN));
    }
    match slot.confirmed {
        Some(confirmed) if confirmed <= place.lsn => Ok(()),
        Some(confirmed) => Err(stop(
            "slot_past_checkpoint",
            format!("slot \"{name}\" is at {confirmed}, past the position {}: changes in between are lost", place.lsn),
            AGAIN,
        )),
        None => Err(stop("slot_foreign", format!("slot \"{name}\" is no logical slot"), AGAIN)),
    }
}

fn stop(name: &'static str, reason: String, remedy: &str) -> UpstreamError {
    UpstreamError::Stop(StopReason { name, reason, remedy: remedy.into() })
}

/// The slot is read by another process of the server: by our own stale one, perhaps, which a crash of ours left behind.
fn release(shared: &Shared) {
    let options = &shared.options;
    let attempt = || -> Result<()> {
        let mut control = Client::connect(options, Purpose::Sql)?;
        let Some(slot) = control::slot(&mut control, &options.slot)? else { return Ok(()) };
        if let (Some(process), Some(reader)) = (slot.active, slot.reader)
            && options.is_own(&reader)
        {
            info!(source = options.application, process, "ending our stale reader upstream");
            control::terminate(&mut control, process)?;
        }
        Ok(())
    };
    if let Err(failure) = attempt() {
        warn!(source = options.application, reason = %failure, "cannot look who reads the slot");
    }
}

/// Reads until something fails.
fn read(shared: &Shared, client: &mut Client, silence: Duration) -> Result<Never> {
    let clock = &shared.env.clock;
    let (mut heard, mut looked) = (clock.monotonic(), 0);
    // What a connection before has read may wait.
    let mut is_over = true;
    loop {
        if is_over && shared.hold(|feed| feed.streamed_bytes() > shared.buffer.bytes())? {
            // Whatever came meanwhile waits in the socket.
            heard = clock.monotonic();
        }
        let bytes = match client.fill() {
            Ok(bytes) => bytes,
            Err(failure) if failure.timed_out() => {
                let silent = clock.monotonic() - heard;
                if shared.ended() || u128::from(silent) > silence.as_micros() {
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                }
                continue;
            }
            Err(failure) => return Err(failure),
        };
        heard = clock.monotonic();
        let answer = {
            let mut feed = shared.feed();
            let answer = drain(client, &mut feed)?;
            is_over = feed.is_over(shared.buffer.bytes());
            answer
        };
        if is_over {
            shared.spill()?;
        }
        shared.wake();
        if answer {
            shared.status_timer.notify(|due| due.answer = true);
        }
        if bytes < SMALL_READ && heard - looked < PACE_MICROS {
            thread::sleep(Duration::from_micros(PACE_MICROS));
        }
        looked = clock.monotonic();
    }
}

/// Applies every whole frame that has been read; whether upstream wants an answer at once.
pub fn drain(client: &mut Client, feed: &mut Feed) -> Result<bool> {
    let mut answer = false;
    while let Some(frame) = client.frame()? {
        let Frame::Data(data) = frame else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Postgres ended the stream").into());
        };
        answer |= feed.frame(data)?;
    }
    Ok(answer)
}

/// Tells upstream how far we are, until the session is over.
fn send_status(shared: &Shared, mut socket: TcpStream, every: Duration) {
    let clock = &shared.env.clock;
    let mut told = clock.monotonic();
    loop {
        let awaited = shared.feed().awaited();
        let due = shared.status_timer.wait(if awaited { POSITION_INTERVAL } else { every });
        if due.over || shared.ended() {
            return;
        }
        let mut frames = vec![];
        if due.answer {
            let read = shared.feed().place().lsn;
            frames.extend(status(read, Lsn(0), clock.now(), false));
        }
        // Unasked, it asks back: an answer shows that upstream lives, and moves the position of a quiet one.
        let ask = awaited || Duration::from_micros(clock.monotonic() - told) >= every;
        if due.acknowledge || ask {
            let acknowledged = shared.acknowledged();
            frames.extend(status(acknowledged, acknowledged, clock.now(), ask));
        }
        if frames.is_empty() {
            continue;
        }
        told = clock.monotonic();
        if socket.write_all(&frames).is_err() {
            // The reader of the same socket notices, too, and says why.
            return;
        }
    }
}

/// A standby status update in its frame. `durable` is what upstream may forget; zero says nothing of it, and then `read`
/// alone lets a server that shuts down see that its reader has everything, though it has not acknowledged it.
fn status(read: Lsn, durable: Lsn, now: i64, ask: bool) -> Vec<u8> {
    let mut frame = vec![b'd'];
    frame.extend((4 + 34u32).to_be_bytes());
    frame.push(b'r');
    for written_flushed_applied in [read, durable, durable] {
        frame.extend(written_flushed_applied.0.to_be_bytes());
    }
    frame.extend((now - EPOCH).to_be_bytes());
    frame.push(u8::from(ask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_what_was_read_and_what_is_durable() {
        let frame = status(Lsn(9), Lsn(5), EPOCH + 7, true);
        assert_eq!(frame.len(), 1 + 38);
        assert_eq!((&frame[1..5], frame[5]), (&38u32.to_be_bytes()[..], b'r'));
        assert_eq!(frame[6..30], [9u64, 5, 5].map(u64::to_be_bytes).concat());
        assert_eq!((&frame[30..38], frame[38]), (&7i64.to_be_bytes()[..], 1));
    }

    #[test]
    fn another_server_and_one_that_lost_transactions_are_told_apart() {
        let place = |system: &str, lsn| Place { system_id: system.into(), timeline: 1, lsn: Lsn(lsn) };
        let name = |server: Place| match same_log(&server, &place("1", 10)) {
            Err(UpstreamError::Stop(stop)) => stop.name,
            _ => "",
        };
        assert_eq!(name(place("2", 10)), "wrong_system");
        assert_eq!(name(place("1", 9)), "position_ahead");
        assert_eq!(name(place("1", 10)), "");
    }
}
