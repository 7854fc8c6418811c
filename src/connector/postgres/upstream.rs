//! What a source makes in the customer's database, and takes back: a publication and a slot, nothing else.

use super::client::{Client, Purpose, TIMEOUT};
use super::control;
use super::error::{Result, UpstreamError};
use super::lsn::Place;
use super::options::Options;
use super::validate::{self, Details};
use crate::connector::Created;
use std::thread;
use std::time::Duration;

/// How long a slot's creation may wait for running transactions before CREATE SOURCE gives up.
const SLOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes what `details` announce, as far as it is not there: publication first, because the log before a publication knows
/// nothing of it.
pub fn create(options: &Options, details: &Details) -> Result<Created, weir_sql::Error> {
    let mut client =
        Client::connect(options, Purpose::Sql).map_err(|failure| validate::unreachable(options, &failure))?;
    make(&mut client, options, details).map_err(|failure| failure.error())
}

fn make(client: &mut Client, options: &Options, details: &Details) -> Result<Created> {
    if details.owns_publication && control::publication(client, &options.publication)?.is_none() {
        control::create_publication(client, &options.publication)?;
    }
    let mut replication = Client::connect(options, Purpose::Replication)?;
    if details.owns_slot && control::slot(client, &options.slot)?.is_none() {
        replication.set_timeout(SLOT_TIMEOUT)?;
        let command = "LOGICAL pgoutput NOEXPORT_SNAPSHOT";
        let made = control::create_slot(&mut replication, &options.slot, command);
        made.map_err(|failure| waiting(client, options, failure))?;
        replication.set_timeout(TIMEOUT)?;
    }
    let server = control::identify(&mut replication)?;
    let slot = control::slot(client, &options.slot)?;
    let confirmed = slot.and_then(|slot| slot.confirmed);
    let lsn = confirmed.ok_or_else(|| UpstreamError::Protocol(format!("slot \"{}\" is not there", options.slot)))?;
    let details = Details { system_id: Some(server.system_id.clone()), ..details.clone() };
    let idle = |timeout| {
        format!(
            "idle_replication_slot_timeout is {timeout} upstream: a slot that nobody reads for so long, because its source is \
             paused or Weir is down, is given up, and the source must be created again"
        )
    };
    let notices = control::idle_timeout(client)?.map(idle).into_iter().collect();
    Ok(Created { position: Place { lsn, ..server }.position(), details: details.json(), notices })
}

/// A creation that did not come to an end says what it waits for.
fn waiting(client: &mut Client, options: &Options, failure: UpstreamError) -> UpstreamError {
    if !failure.timed_out() {
        return failure;
    }
    let running = control::running(client).unwrap_or_default();
    UpstreamError::Stop(super::error::StopReason {
        name: "slot_creation",
        reason: format!("slot \"{}\" waits for transactions upstream to end: {running}", options.slot),
        remedy: "End them, then create the source again.".into(),
    })
}

/// Takes back what was made; tells what could not be.
pub fn drop(options: &Options, details: &Details) -> Vec<String> {
    let mut notices = vec![];
    if !details.owns_slot && !details.owns_publication {
        return notices;
    }
    let place = format!("{}:{}", options.host, options.port);
    let by_hand = |what: &str, sql: String, failure: &UpstreamError| {
        format!("{what} at {place} could not be dropped ({failure}); drop it by hand: {sql}")
    };
    let slot_sql = format!("SELECT pg_drop_replication_slot('{}')", options.slot);
    let publication_sql = format!("DROP PUBLICATION \"{}\"", options.publication);
    let (slot, publication) =
        (format!("slot \"{}\"", options.slot), format!("publication \"{}\"", options.publication));
    let mut client = match Client::connect(options, Purpose::Sql) {
        Ok(client) => client,
        Err(failure) => {
            if details.owns_slot {
                notices.push(by_hand(&slot, slot_sql, &failure));
            }
            if details.owns_publication {
                notices.push(by_hand(&publication, publication_sql, &failure));
            }
            return notices;
        }
    };
    if details.owns_slot
        && let Err(failure) = drop_slot(&mut client, options)
    {
        notices.push(by_hand(&slot, slot_sql, &failure));
    }
    if details.owns_publication
        && let Err(failure) = control::drop_publication(&mut client, &options.publication)
    {
        notices.push(by_hand(&publication, publication_sql, &failure));
    }
    notices
}

/// Our reader may not have gone yet; it is ended, and given moments to go.
fn drop_slot(client: &mut Client, options: &Options) -> Result<()> {
    for _ in 0..50 {
        let Some(slot) = control::slot(client, &options.slot)? else { return Ok(()) };
        if let (Some(process), Some(reader)) = (slot.active, &slot.reader)
            && options.is_own(reader)
        {
            control::terminate(client, process)?;
        }
        match control::drop_slot(client, &options.slot) {
            Err(failure) if failure.sqlstate() == Some("55006") => thread::sleep(Duration::from_millis(100)),
            Err(failure) if failure.sqlstate() == Some("42704") => return Ok(()),
            other => return other,
        }
    }
    control::drop_slot(client, &options.slot)
}
