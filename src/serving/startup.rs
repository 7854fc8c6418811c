//! The start of a connection: encryption declined, protocol agreed, client authenticated, parameters told.

use super::Server;
use super::cancel::Ticket;
use super::decode::Opening;
use super::query::names::DATABASE;
use super::variable::Variables;
use super::wire::{End, Incoming, Outgoing};
use pgwire::messages::response::{GssEncResponse, SslResponse, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, Startup};
use pgwire::messages::{PgWireBackendMessage, ProtocolVersion};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;
use weir_sql::{Error, Result};

/// Who connected.
pub struct Client {
    pub user: String,
    pub variables: Variables,
    pub ticket: Ticket,
    pub seat: OwnedSemaphorePermit,
}

/// `None`: nothing more to do (a cancel request, or the client went away). `peer`: from where it comes, for the log.
pub async fn shake(
    server: &Arc<Server>,
    incoming: &mut Incoming,
    outgoing: &mut Outgoing,
    peer: &str,
) -> Result<Option<Client>> {
    let Some(startup) = hello(server, incoming, outgoing).await? else { return Ok(None) };
    let version = agree(&startup, outgoing)?;
    let parameter = |name: &str| startup.parameters.get(name).map(String::as_str);
    let user = parameter("user")
        .filter(|user| !user.is_empty())
        .ok_or_else(|| Error::new("28000", "no PostgreSQL user name specified in startup packet"))?;
    if let Err(error) = server.config.auth.check(user, incoming, outgoing).await {
        warn!(user, peer, sqlstate = error.sqlstate, "login failed");
        return Err(error);
    }
    match parameter("database") {
        None | Some("" | DATABASE) => {}
        Some(other) => {
            return Err(Error::new("3D000", format!("database \"{other}\" does not exist"))
                .hint(format!("The one database is \"{DATABASE}\".")));
        }
    }
    let variables = variables(&startup)?;
    let full = || Error::new("53300", "sorry, too many clients already");
    let seat = server.doors.seat().ok_or_else(full)?;
    let ticket = server.registry.register(version);
    outgoing.send(PgWireBackendMessage::Authentication(Authentication::Ok));
    for (name, value) in variables.reported() {
        outgoing.parameter(name, &value);
    }
    outgoing.parameter("session_authorization", user);
    outgoing.send(PgWireBackendMessage::BackendKeyData(BackendKeyData::new(ticket.pid, ticket.secret.clone())));
    outgoing.ready(TransactionStatus::Idle);
    Ok(Some(Client { user: user.to_string(), variables, ticket, seat }))
}

/// Up to the start-up message.
async fn hello(server: &Server, incoming: &mut Incoming, outgoing: &mut Outgoing) -> Result<Option<Startup>> {
    loop {
        let opening = match incoming.opening().await {
            Ok(Some(opening)) => opening,
            Ok(None) | Err(End::Gone(_)) => return Ok(None),
            Err(End::Lost(error)) => return Err(error),
        };
        match opening {
            Opening::Ssl => outgoing.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)),
            Opening::Gss => outgoing.send(PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse)),
            Opening::Cancel(request) => {
                server.registry.cancel(&request);
                return Ok(None);
            }
            Opening::Startup(startup) => return Ok(Some(startup)),
        }
        if outgoing.flush().await.is_err() {
            return Ok(None);
        }
    }
}

/// The version both speak.
fn agree(startup: &Startup, outgoing: &mut Outgoing) -> Result<ProtocolVersion> {
    let (major, minor) = (startup.protocol_number_major, startup.protocol_number_minor);
    let unknown: Vec<String> = startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    let version = match ProtocolVersion::from_version_number(major, minor) {
        Some(version) => version,
        None if major == 3 => ProtocolVersion::PROTOCOL3_2,
        None => {
            return Err(Error::new(
                "0A000",
                format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"),
            ));
        }
    };
    if version.version_number() != (major, minor) || !unknown.is_empty() {
        let newest = i32::from(version.version_number().1);
        let message = NegotiateProtocolVersion::new(newest, unknown);
        outgoing.send(PgWireBackendMessage::NegotiateProtocolVersion(message));
    }
    Ok(version)
}

/// Variables that the client sets by starting; names nobody knows are drivers' own and are let be.
fn variables(startup: &Startup) -> Result<Variables> {
    let mut variables = Variables::default();
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value) {
                    variables.set(&name, Some(&value))?;
                }
            }
            name => match variables.set(name, Some(value)) {
                Err(error) if error.sqlstate == "42704" => {}
                set => drop(set?),
            },
        }
    }
    Ok(variables.settled())
}

/// `-c name=value --name=value`, blanks in values escaped by a backslash.
fn options(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut().expect("never empty").extend(chars.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    let assignment = |word: &String| {
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        word.split_once('=').map(|(name, value)| (name.replace('-', "_"), value.to_string()))
    };
    words.iter().filter_map(assignment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_spellings() {
        let expected = [("a", "1"), ("b_c", "x y"), ("d", "2")].map(|(n, v)| (n.to_string(), v.to_string()));
        assert_eq!(options("-c a=1 --b-c=x\\ y -cd=2"), expected);
    }

    #[test]
    fn parameters_nobody_knows_are_let_be_and_bad_values_are_not() {
        let mut startup = Startup::default();
        startup.parameters.insert("user".into(), "root".into());
        startup.parameters.insert("some_driver_thing".into(), "1".into());
        startup.parameters.insert("TimeZone".into(), "Europe/Paris".into());
        assert_eq!(variables(&startup).expect("fine").get("timezone").expect("known"), "Europe/Paris");
        startup.parameters.insert("client_encoding".into(), "LATIN1".into());
        assert_eq!(variables(&startup).err().map(|e| e.sqlstate), Some("22023"));
    }
}
