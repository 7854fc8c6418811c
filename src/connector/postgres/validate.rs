//! Checks of the server before a source is announced: every finding at once, each naming the offending thing.

use super::client::{Client, Purpose, TIMEOUT};
use super::control::{self, Server};
use super::error::{Result, UpstreamError};
use super::options::Options;
use super::validation_error::ValidationErrors;
use serde::{Deserialize, Serialize};

/// What a source remembers: what is (to be) made by us and so is to be dropped by us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    pub owns_slot: bool,
    pub owns_publication: bool,
    /// Once known.
    pub system_id: Option<String>,
}

impl Details {
    pub fn of(details: &serde_json::Value) -> Result<Self, weir_sql::Error> {
        match details {
            serde_json::Value::Null => Ok(Self::default()),
            details => Self::deserialize(details)
                .map_err(|e| weir_sql::Error::internal(format!("details of a source are damaged: {e}"))),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("details are plain JSON")
    }
}

/// Checks everything a source needs; what has to be made is in the details.
pub fn check(options: &Options) -> Result<Details, weir_sql::Error> {
    let mut client = Client::connect(options, Purpose::Sql).map_err(|failure| unreachable(options, &failure))?;
    let (mut findings, mut details) = (ValidationErrors::default(), Details::default());
    let looked = look(&mut client, options, &mut findings, &mut details);
    looked.map_err(|failure| failure.error())?;
    findings.result(&format!("Postgres at {}:{}", options.host, options.port))?;
    Ok(details)
}

/// A connection that failed, with what to look at.
pub fn unreachable(options: &Options, failure: &UpstreamError) -> weir_sql::Error {
    let place = format!("{}:{}", options.host, options.port);
    let mut error = failure.error();
    error.message = match error.sqlstate {
        "28P01" | "28000" => format!("Postgres at {place} refused user \"{}\": {failure}", options.user),
        "3D000" => format!("Postgres at {place} has no database \"{}\": {failure}", options.database),
        "08006" => {
            error.sqlstate = "08001";
            format!("cannot connect to Postgres at {place}: {failure}")
        }
        _ => format!("Postgres at {place}: {failure}"),
    };
    let hint = match error.sqlstate {
        "28P01" => "Check username and password.",
        "28000" => "Check pg_hba.conf: logical replication is matched by database name.",
        "3D000" => "Check database.name.",
        "08001" => "Check hostname and port, and that Postgres listens there.",
        _ => return error,
    };
    error.hint(hint)
}

fn look(client: &mut Client, options: &Options, findings: &mut ValidationErrors, details: &mut Details) -> Result<()> {
    let server = control::server(client)?;
    check_server(&server, options, findings);
    check_publication(client, &server, options, findings, details)?;
    check_slot(client, &server, options, findings, details)?;
    if server.may_replicate && server.wal_level == "logical" {
        check_replication(options, findings);
    }
    Ok(())
}

fn check_server(server: &Server, options: &Options, findings: &mut ValidationErrors) {
    if server.version < 120_000 {
        let message = format!("PostgreSQL 12 or newer is required; the server is {}", server.version / 10_000);
        findings.add("0A000", message);
    }
    if server.recovering {
        findings.add("0A000", "the server is a standby; reading a standby is not supported").hint =
            Some("Connect to the primary.".into());
    }
    if server.wal_level != "logical" {
        let message = format!("wal_level is \"{}\", must be \"logical\"", server.wal_level);
        findings.add("55000", message).hint = Some(
            "Set wal_level = logical and restart Postgres (RDS: rds.logical_replication = 1; Cloud SQL: \
             cloudsql.logical_decoding = on; Azure: azure.replication_support = logical)."
                .into(),
        );
    }
    if !server.may_replicate {
        let message = format!("role \"{}\" may not start replication", server.user);
        findings.add("42501", message).hint =
            Some(format!("Run ALTER ROLE {0} REPLICATION (RDS: GRANT rds_replication TO {0}).", server.user));
    }
    if server.free_senders < 2 {
        let message = format!(
            "max_wal_senders is {}, and {} are free; 2 are needed",
            server.max_senders,
            server.free_senders.max(0)
        );
        findings.add("53400", message).hint = Some("Raise max_wal_senders.".into());
    }
    let synchronous = server.synchronous.split(|c: char| !c.is_ascii_graphic() || matches!(c, ',' | '(' | ')'));
    if synchronous.map(|name| name.trim_matches('"')).any(|name| name == options.application || name == "*") {
        let message =
            format!("\"{}\" is named by synchronous_standby_names: commits would wait for Weir", options.application);
        findings.add("55000", message).hint = Some("Name the standbys one by one, without this source.".into());
    }
}

fn check_publication(
    client: &mut Client,
    server: &Server,
    options: &Options,
    findings: &mut ValidationErrors,
    details: &mut Details,
) -> Result<()> {
    let name = &options.publication;
    match control::publication(client, name)? {
        Some(publication) => {
            if !publication.missing.is_empty() {
                let message = format!("publication \"{name}\" does not publish {}", publication.missing.join(", "));
                findings.add("55000", message).hint =
                    Some("Run ALTER PUBLICATION … SET (publish = 'insert, update, delete, truncate').".into());
            }
        }
        None if !options.create_publication => {
            findings.add("42704", format!("publication \"{name}\" does not exist")).hint =
                Some("Create it, or set publication.create.enable = 'true'.".into());
        }
        None if !server.may_create => {
            let message = format!(
                "role \"{}\" may not create publication \"{name}\" in database \"{}\"",
                server.user, options.database
            );
            findings.add("42501", message).hint =
                Some(format!("Run GRANT CREATE ON DATABASE {} TO {}.", options.database, server.user));
        }
        None => details.owns_publication = true,
    }
    Ok(())
}

fn check_slot(
    client: &mut Client,
    server: &Server,
    options: &Options,
    findings: &mut ValidationErrors,
    details: &mut Details,
) -> Result<()> {
    let name = &options.slot;
    let Some(slot) = control::slot(client, name)? else {
        details.owns_slot = true;
        // One for the stream, one more while a table is copied.
        if server.free_slots < 2 {
            let message = format!(
                "max_replication_slots is {}, and {} are free; 2 are needed",
                server.max_slots, server.free_slots
            );
            findings.add("53400", message).hint = Some("Raise max_replication_slots, or drop slots.".into());
        }
        return Ok(());
    };
    if slot.plugin != "pgoutput" {
        let plugin = if slot.plugin.is_empty() { "none (it is physical)" } else { &slot.plugin };
        findings.add("55000", format!("slot \"{name}\" exists with plugin {plugin}, must be pgoutput")).hint =
            Some("Choose another slot.name.".into());
    } else if !slot.here {
        let database = slot.database.unwrap_or_default();
        findings.add("55000", format!("slot \"{name}\" exists in database \"{database}\"")).hint =
            Some("Choose another slot.name.".into());
    }
    if slot.two_phase {
        let message =
            format!("slot \"{name}\" exists with two_phase: it sends transactions that are not yet committed");
        findings.add("55000", message).hint = Some("Choose another slot.name.".into());
    }
    if slot.status.as_deref() == Some("lost") {
        let why = slot.invalidation.map_or(String::new(), |why| format!(" ({why})"));
        findings.add("55000", format!("slot \"{name}\" exists and has lost the log it needs{why}")).hint =
            Some(format!("Run SELECT pg_drop_replication_slot('{name}')."));
    }
    if let Some(process) = slot.active {
        let reader = slot.reader.filter(|r| !r.is_empty()).map_or(String::new(), |r| format!(" ({r})"));
        findings.add("55006", format!("slot \"{name}\" is in use by process {process}{reader}")).hint =
            Some("Stop its reader, or choose another slot.name.".into());
    }
    Ok(())
}

/// Rights are one thing, pg_hba.conf and poolers another: a replication connection is really made.
fn check_replication(options: &Options, findings: &mut ValidationErrors) {
    let identified = Client::connect(options, Purpose::Replication).and_then(|mut client| {
        client.set_timeout(TIMEOUT)?;
        control::identify(&mut client)
    });
    if let Err(failure) = identified {
        let error = failure.error();
        findings.add(error.sqlstate, format!("replication connection failed: {failure}")).hint = Some(
            "Connect to Postgres itself, not to a pooler; pg_hba.conf matches logical replication by database name."
                .into(),
        );
    }
}
