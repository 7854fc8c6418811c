//! One connection: messages to statements, results to messages. A running statement ends early when it is cancelled, takes too
//! long, or its client goes away; what it was doing is dropped where it stands. Once its commit has been handed over it is not
//! cancelled any more: it ends with what became of it.

use super::Server;
use super::arguments::Arguments;
use super::decode::Bad;
use super::doors::Waiting;
use super::metrics;
use super::prepared::{self, Life, Portal, offset};
use super::query::run::Rows;
use super::session::{Handed, Session};
use super::startup::{self, Client};
use super::statement::{Outcome, Tag};
use super::transaction::Block;
use super::value::copy::{self, Lines};
use super::value::row::{self, Column, Encoder, Formats};
use super::wire::{End, Incoming, Outgoing};
use crate::catalog::system::pg_type;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use pgwire::messages::{PgWireBackendMessage as Backend, PgWireFrontendMessage as Frontend};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use weir_sql::statement::copy::{Format, Kind};
use weir_sql::statement::{Parsed, Statement};
use weir_sql::{Error, Result};

/// For a client to say who it is.
const STARTUP: Duration = Duration::from_secs(10);
/// Cursors of one transaction.
const MAX_PORTALS: usize = 10_000;

/// How often somebody who waits looks whether there is a reason to tell, microseconds.
const POLL_US: u64 = 1_000_000;

/// Rows encoded before the socket gets a turn.
const AT_ONCE: usize = 128;

/// `peer`: from where the client comes.
pub async fn run(server: Arc<Server>, socket: TcpStream, peer: SocketAddr, waiting: Waiting) {
    let _ = socket.set_nodelay(true);
    let (reader, writer) = socket.into_split();
    talk(server, reader, writer, &peer.to_string(), waiting).await;
}

/// The whole of a connection, over whatever carries it. What a session takes is made once the client has logged in.
pub async fn talk(
    server: Arc<Server>,
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    peer: &str,
    waiting: Waiting,
) {
    let (mut incoming, mut outgoing) = (Incoming::new(reader), Outgoing::new(writer));
    let shaken = tokio::select! {
        shaken = startup::shake(&server, &mut incoming, &mut outgoing, peer) => shaken,
        () = tokio::time::sleep(STARTUP) => return debug!(peer, "client did not log in in time"),
        () = waiting.turned_out() => return debug!(peer, "too many clients that have not logged in"),
        () = server.ending.cancelled() => Err(Error::new("57P03", "the database system is shutting down")),
    };
    drop(waiting);
    match shaken {
        Ok(Some(client)) => Box::pin(session(server, incoming, outgoing, client)).await,
        Ok(None) => {}
        Err(error) => refuse(outgoing, error).await,
    }
}

async fn session(server: Arc<Server>, mut incoming: Incoming, outgoing: Outgoing, client: Client) {
    incoming.logged_in();
    let _counted = metrics::Session::open();
    let Client { user, variables, ticket, seat: _seat } = client;
    let ending = server.ending.clone();
    let session = Session::new(server, user, ticket.pid, variables);
    let breaks = Breaks { wake: ticket.wake.clone(), handed: session.handed.clone(), ending };
    let mut connection = Connection { incoming, outgoing, session, breaks, skipping: false };
    if let Err(end) = connection.serve().await {
        debug!(reason = %end, "client connection ended");
        if let End::Lost(error) = end {
            refuse(connection.outgoing, error).await;
        }
    }
}

async fn refuse(mut outgoing: Outgoing, error: Error) {
    outgoing.fatal(&error);
    let _ = outgoing.flush().await;
}

struct Connection {
    incoming: Incoming,
    outgoing: Outgoing,
    session: Session,
    breaks: Breaks,
    /// An extended-protocol message failed: everything up to Sync is skipped.
    skipping: bool,
}

impl Connection {
    async fn serve(&mut self) -> Result<(), End> {
        loop {
            self.outgoing.flush().await?;
            let message = match self.next().await? {
                Some(Ok(Frontend::Terminate(_))) | None => return Ok(()),
                Some(Ok(message)) => message,
                Some(Err(bad)) => {
                    self.refused(&bad);
                    continue;
                }
            };
            match message {
                Frontend::Query(query) => self.simple(&query.query).await?,
                Frontend::Sync(_) => self.sync().await?,
                Frontend::Flush(_) => {}
                // What is left of a COPY that failed.
                Frontend::CopyData(_) | Frontend::CopyDone(_) | Frontend::CopyFail(_) => {}
                _ if self.skipping => {}
                message => {
                    if let Err(error) = self.extended(message).await? {
                        self.failed(&error);
                        self.skipping = true;
                    }
                }
            }
        }
    }

    /// Waits for a message; a block does not wait for ever, since it holds back what it reads and locks what it writes.
    async fn next(&mut self) -> Result<Option<Result<Frontend, Bad>>, End> {
        let limit = match self.session.block {
            Block::Explicit(_) => self.session.variables.duration("idle_in_transaction_session_timeout"),
            _ => None,
        };
        let late = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.breaks.ending.cancelled() => Err(End::Lost(terminated())),
            message = self.incoming.message() => message,
            () = late => {
                Err(End::Lost(Error::new("25P03", "terminating connection due to idle-in-transaction timeout")))
            }
        }
    }

    /// A message that cannot be read fails as if it could have been.
    fn refused(&mut self, bad: &Bad) {
        if bad.skips && self.skipping {
            return;
        }
        self.failed(&bad.error);
        self.skipping = bad.skips;
        if !bad.skips {
            self.end_portals();
            self.outgoing.ready(self.session.block.status());
        }
    }

    async fn simple(&mut self, sql: &str) -> Result<(), End> {
        // A simple query ends what an interrupted extended one left behind.
        self.skipping = false;
        let reading = prepared::parsed(&self.session.server.config.pool, sql);
        let parsed = match self.breaks.watched(&mut self.incoming, None, reading).await? {
            Ok(parsed) => parsed,
            Err(error) => {
                self.failed(&error);
                vec![]
            }
        };
        if parsed.is_empty() && sql.chars().all(|c| c == ';' || c.is_whitespace()) {
            self.outgoing.send(Backend::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        let count = parsed.len();
        for (index, parsed) in parsed.iter().enumerate() {
            let last = index + 1 == count;
            let done = match self.receive(&parsed.statement).await? {
                Ok(copied) => {
                    let work = simple(&mut self.session, &mut self.outgoing, parsed, copied, last);
                    self.breaks.watched(&mut self.incoming, None, work).await?
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => {}
                Err(error) => {
                    self.failed(&offset(error, parsed.offset));
                    break;
                }
            }
            self.outgoing.relieve().await?;
        }
        self.end_portals();
        self.tell();
        self.outgoing.ready(self.session.block.status());
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), End> {
        self.skipping = false;
        if matches!(self.session.block, Block::Implicit(_)) {
            let server = self.session.server.clone();
            let work = attended(&server, &mut self.outgoing, self.session.commit());
            if let Err(error) = self.breaks.watched(&mut self.incoming, None, work).await? {
                self.failed(&error);
            }
        }
        self.end_portals();
        self.tell();
        self.outgoing.ready(self.session.block.status());
        Ok(())
    }

    /// Portals live as long as their transaction, the one without a name as long as its message.
    fn end_portals(&mut self) {
        if self.session.block.is_explicit() {
            self.session.portals.remove("");
        } else {
            self.session.portals.clear();
        }
    }

    fn failed(&mut self, error: &Error) {
        self.session.block.fail();
        tell(&mut self.session, &mut self.outgoing);
        self.outgoing.error(error);
    }

    fn tell(&mut self) {
        tell(&mut self.session, &mut self.outgoing);
    }

    async fn extended(&mut self, message: Frontend) -> Result<Result<()>, End> {
        Ok(match message {
            Frontend::Parse(parse) => self.parse(parse).await?,
            Frontend::Bind(bind) => self.bind(bind),
            Frontend::Describe(describe) => self.describe(&describe),
            Frontend::Execute(message) => {
                let name = message.name.as_deref().unwrap_or_default();
                let parsed = self.session.portals.get(name).and_then(|portal| portal.statement.parsed.clone());
                let copied = match parsed {
                    Some(parsed) => self.receive(&parsed.statement).await?,
                    None => Ok(None),
                };
                let copied = match copied {
                    Ok(copied) => copied,
                    Err(error) => return Ok(Err(error)),
                };
                let work = execute(&mut self.session, &mut self.outgoing, message, copied);
                let done = self.breaks.watched(&mut self.incoming, None, work).await?;
                self.outgoing.relieve().await?;
                done
            }
            Frontend::Close(close) => {
                self.close(&close);
                Ok(())
            }
            _ => Err(Error::new("08P01", "unexpected message")),
        })
    }

    /// Takes in the stream of a COPY FROM STDIN, some rows at a time, until the client ends it; `None` for any other statement.
    async fn receive(&mut self, statement: &Statement) -> Result<Result<Option<Copied>>, End> {
        let Statement::CopyIn { table, columns, format } = statement else { return Ok(Ok(None)) };
        let begun = self.session.destination(table, columns).and_then(|destination| {
            let lines = Lines::new(format.clone(), destination.names())?;
            Ok((destination, lines))
        });
        let (destination, mut lines) = match begun {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(error)),
        };
        let width = destination.names().len();
        self.outgoing.send(Backend::CopyInResponse(CopyInResponse::new(0, width as i16, vec![0; width])));
        self.outgoing.flush().await?;
        let limit = self.session.variables.duration("statement_timeout");
        let deadline = limit.map(|limit| tokio::time::Instant::now() + limit);
        let mut count = 0;
        loop {
            let message = tokio::select! {
                message = self.incoming.message() => message?,
                error = self.breaks.interrupted(deadline) => return Ok(Err(error)),
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(bad)) => return Ok(Err(bad.error)),
                None => return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
            };
            let (rows, ended) = match message {
                Frontend::CopyData(data) => match lines.push(&data.data) {
                    Ok(()) if lines.is_full(&self.session.server.config.env.limits) => (lines.batch(), false),
                    Ok(()) => continue,
                    Err(error) => return Ok(Err(error)),
                },
                Frontend::CopyDone(_) => (lines.last(), true),
                Frontend::CopyFail(fail) => {
                    return Ok(Err(Error::new("57014", format!("COPY from stdin failed: {}", fail.message))));
                }
                Frontend::Flush(_) | Frontend::Sync(_) => continue,
                _ => return Ok(Err(Error::new("08P01", "unexpected message during COPY from stdin"))),
            };
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => return Ok(Err(error)),
            };
            let work = self.session.copy_in(&destination, rows);
            match self.breaks.watched(&mut self.incoming, deadline, work).await? {
                Ok(written) => count += written,
                Err(error) => return Ok(Err(error)),
            }
            if ended {
                return Ok(Ok(Some(Copied(count))));
            }
        }
    }

    async fn parse(&mut self, message: Parse) -> Result<Result<()>, End> {
        let declared = message.type_oids.iter().map(|oid| pg_type::kind(*oid)).collect();
        let name = message.name.unwrap_or_default();
        if let Err(error) = self.session.prepared.check(&name) {
            return Ok(Err(error));
        }
        let limit = self.session.variables.duration("statement_timeout");
        let deadline = limit.map(|limit| tokio::time::Instant::now() + limit);
        let work = self.session.prepare(&message.query, declared);
        let prepared = match self.breaks.watched(&mut self.incoming, deadline, work).await? {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = self.session.prepared.insert(name, prepared) {
            return Ok(Err(error));
        }
        self.outgoing.send(Backend::ParseComplete(ParseComplete::new()));
        Ok(Ok(()))
    }

    fn bind(&mut self, message: Bind) -> Result<()> {
        let name = message.statement_name.unwrap_or_default();
        let statement = statement(&self.session, &name)?;
        let (given, wanted) = (message.parameters.len(), statement.parameters.len());
        if given != wanted {
            let text = format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {wanted}"
            );
            return Err(Error::new("08P01", text));
        }
        let parameter_formats = Formats(message.parameter_format_codes);
        parameter_formats.check(given)?;
        let formats = Formats(message.result_column_format_codes);
        if let Some(columns) = &statement.columns {
            formats.check(columns.len())?;
        }
        let types = statement.parameters.iter().cloned().map(Some).collect();
        let arguments = Arguments { types, values: message.parameters, formats: parameter_formats };
        let portal = message.portal_name.unwrap_or_default();
        if !portal.is_empty() && self.session.portals.contains_key(&portal) {
            return Err(Error::new("42P03", format!("cursor \"{portal}\" already exists")));
        }
        if self.session.portals.len() >= MAX_PORTALS {
            return Err(Error::new("54000", format!("a transaction can have at most {MAX_PORTALS} cursors")));
        }
        self.session.portals.insert(portal, Portal { statement, arguments, formats, state: Life::Ready });
        self.outgoing.send(Backend::BindComplete(BindComplete::new()));
        Ok(())
    }

    fn describe(&mut self, message: &Describe) -> Result<()> {
        let name = message.name.as_deref().unwrap_or_default();
        let (statement, formats) = if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let statement = statement(&self.session, name)?;
            let oids = statement.parameters.iter().map(pg_type::oid).collect();
            self.outgoing.send(Backend::ParameterDescription(ParameterDescription::new(oids)));
            (statement, Formats::default())
        } else {
            let portal = self.session.portals.get(name).ok_or_else(|| no_portal(name))?;
            (portal.statement.clone(), portal.formats.clone())
        };
        self.outgoing.send(match &statement.columns {
            Some(columns) => Backend::RowDescription(row::description(columns, &formats)),
            None => Backend::NoData(NoData::new()),
        });
        Ok(())
    }

    fn close(&mut self, message: &Close) {
        let name = message.name.as_deref().unwrap_or_default();
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.session.prepared.remove(name);
        } else {
            self.session.portals.remove(name);
        }
        self.outgoing.send(Backend::CloseComplete(CloseComplete::new()));
    }
}

fn statement(session: &Session, name: &str) -> Result<Arc<super::prepared::Prepared>> {
    session
        .prepared
        .get(name)
        .ok_or_else(|| Error::new("26000", format!("prepared statement \"{name}\" does not exist")))
}

fn no_portal(name: &str) -> Error {
    Error::new("34000", format!("portal \"{name}\" does not exist"))
}

/// How many rows came by a COPY FROM STDIN. They are written.
struct Copied(usize);

impl Copied {
    fn tag(&self) -> Outcome {
        Outcome::Done(format!("COPY {}", self.0))
    }
}

/// Runs one statement of a simple query. The last one of several ends their common transaction.
async fn simple(
    session: &mut Session,
    outgoing: &mut Outgoing,
    parsed: &Parsed,
    copied: Option<Copied>,
    last: bool,
) -> Result<()> {
    let limit = session.variables.duration("statement_timeout");
    let (server, handed) = (session.server.clone(), session.handed.clone());
    let work = async {
        let outcome = match copied {
            Some(copied) => copied.tag(),
            None if matches!(parsed.statement, Statement::Commit) => {
                attended(&server, outgoing, session.execute(parsed, &Arguments::default())).await?
            }
            None => session.execute(parsed, &Arguments::default()).await?,
        };
        let tag = match outcome {
            Outcome::Done(tag) => tag,
            Outcome::Copy(rows, format) => copy_out(session, outgoing, rows, &format).await?,
            Outcome::Rows(mut rows, tag) => {
                let formats = Formats::default();
                outgoing.send(Backend::RowDescription(row::description(&rows.columns, &formats)));
                let sent = send(session, outgoing, &mut rows, &formats, 0).await?;
                tag.counted(sent.count)
            }
        };
        if last && matches!(session.block, Block::Implicit(_)) {
            attended(&server, outgoing, session.commit()).await?;
        }
        tell(session, outgoing);
        outgoing.send(Backend::CommandComplete(CommandComplete::new(tag)));
        Ok(())
    };
    measured(server.clone(), parsed, timed(&handed, limit, work)).await
}

/// Runs a portal, or continues with it.
async fn execute(
    session: &mut Session,
    outgoing: &mut Outgoing,
    message: Execute,
    copied: Option<Copied>,
) -> Result<()> {
    let name = message.name.unwrap_or_default();
    let limit = session.variables.duration("statement_timeout");
    let portal = session.portals.get_mut(&name).ok_or_else(|| no_portal(&name))?;
    let (statement, formats) = (portal.statement.clone(), portal.formats.clone());
    let Some(parsed) = &statement.parsed else {
        outgoing.send(Backend::EmptyQueryResponse(EmptyQueryResponse::new()));
        return Ok(());
    };
    let state = std::mem::replace(&mut portal.state, Life::Broken);
    let arguments = portal.arguments.clone();
    let most = usize::try_from(message.max_rows).unwrap_or(0);
    let (server, handed) = (session.server.clone(), session.handed.clone());
    let (has_rows, is_copy) = (statement.columns.is_some(), copied.is_some());
    let work = async {
        let outcome = match (state, copied) {
            (Life::Ready, Some(copied)) => copied.tag(),
            (Life::Ready, None) if matches!(parsed.statement, Statement::Commit) => {
                attended(&server, outgoing, session.execute(parsed, &arguments)).await?
            }
            (Life::Ready, None) => {
                let outcome = session.execute_prepared(&statement, parsed, &arguments).await?;
                as_described(outcome, statement.columns.as_deref())?
            }
            (state, _) => {
                session.usable(false)?;
                match state {
                    Life::Suspended(rows, tag) => Outcome::Rows(rows, tag),
                    Life::Done if has_rows => Outcome::Done(Tag::Select.counted(0)),
                    _ => return Err(Error::new("55000", format!("portal \"{name}\" cannot be run"))),
                }
            }
        };
        let tag = match outcome {
            Outcome::Done(tag) => tag,
            Outcome::Copy(rows, format) => copy_out(session, outgoing, rows, &format).await?,
            Outcome::Rows(mut rows, tag) => {
                let sent = send(session, outgoing, &mut rows, &formats, most).await?;
                if sent.more {
                    if let Some(portal) = session.portals.get_mut(&name) {
                        portal.state = Life::Suspended(rows, tag);
                    }
                    outgoing.send(Backend::PortalSuspended(PortalSuspended::new()));
                    return Ok(());
                }
                tag.counted(sent.count)
            }
        };
        if let Some(portal) = session.portals.get_mut(&name) {
            portal.state = Life::Done;
        }
        // Its clients take this answer for the last, and what it has copied may be more than there is room for.
        if is_copy && matches!(session.block, Block::Implicit(_)) {
            attended(&server, outgoing, session.commit()).await?;
        }
        tell(session, outgoing);
        outgoing.send(Backend::CommandComplete(CommandComplete::new(tag)));
        Ok(())
    };
    measured(server.clone(), parsed, timed(&handed, limit, work)).await
}

struct Sent {
    count: usize,
    /// `most` was reached and there are rows left.
    more: bool,
}

/// Sends rows, `most` of them unless that is 0, as fast as the client takes them.
async fn send(
    session: &Session,
    outgoing: &mut Outgoing,
    rows: &mut Rows,
    formats: &Formats,
    most: usize,
) -> Result<Sent> {
    let zone = session.variables.zone();
    let mut count = 0;
    let mut more = false;
    while let Some(batch) = rows.next().await? {
        let room = if most == 0 { usize::MAX } else { most - count };
        if room == 0 {
            more = batch.num_rows() > 0;
            rows.put_back(batch);
            break;
        }
        let encoder = Encoder::new(&batch, &rows.columns, formats, zone)?;
        let taken = batch.num_rows().min(room);
        for from in (0..taken).step_by(AT_ONCE) {
            encoder.write(outgoing.buffer(), from..taken.min(from + AT_ONCE))?;
            outgoing.relieve().await.map_err(|e| Error::new("08006", e.to_string()))?;
        }
        count += taken;
        rows.put_back(batch.slice(taken, batch.num_rows() - taken));
    }
    metrics::rows(count);
    Ok(Sent { count, more })
}

/// Sends rows as a COPY stream; the tag.
async fn copy_out(session: &Session, outgoing: &mut Outgoing, mut rows: Rows, format: &Format) -> Result<String> {
    let code = i16::from(format.kind == Kind::Binary);
    let width = rows.columns.len();
    outgoing.send(Backend::CopyOutResponse(CopyOutResponse::new(code as i8, width as i16, vec![code; width])));
    let mut stream = copy::Stream::new(format);
    stream.begin(outgoing.buffer(), &rows.columns);
    let (formats, zone) = (Formats(vec![code]), session.variables.zone());
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        let encoder = Encoder::new(&batch, &rows.columns, &formats, zone)?;
        for from in (0..batch.num_rows()).step_by(AT_ONCE) {
            stream.write(&encoder, outgoing.buffer(), from..batch.num_rows().min(from + AT_ONCE))?;
            outgoing.relieve().await.map_err(|e| Error::new("08006", e.to_string()))?;
        }
        count += batch.num_rows();
    }
    stream.end(outgoing.buffer());
    outgoing.send(Backend::CopyDone(CopyDone::new()));
    metrics::rows(count);
    Ok(format!("COPY {count}"))
}

/// The client reads rows as the statement was described to it, maybe before a table was made anew.
fn as_described(outcome: Outcome, described: Option<&[Column]>) -> Result<Outcome> {
    let Some(described) = described else { return Ok(outcome) };
    let Outcome::Rows(mut rows, tag) = outcome else { return Ok(outcome) };
    let held = |columns: &[Column]| columns.iter().map(|c| c.wire_type.kind.arrow()).collect::<Vec<_>>();
    if held(described) != held(&rows.columns) {
        return Err(Error::new("0A000", "cached plan must not change result type").hint("Prepare the statement again."));
    }
    rows.columns = described.to_vec();
    Ok(Outcome::Rows(rows, tag))
}

/// NOTICEs and changed parameters that came up meanwhile.
fn tell(session: &mut Session, outgoing: &mut Outgoing) {
    for (severity, sqlstate, text) in session.notices.drain(..) {
        if session.variables.shows(severity) {
            outgoing.notice(severity, sqlstate, &text);
        }
    }
    for (name, value) in session.reports.drain(..) {
        outgoing.parameter(name, &value);
    }
}

/// What ends a statement early.
struct Breaks {
    wake: Arc<Notify>,
    handed: Arc<Handed>,
    /// Of the server.
    ending: CancellationToken,
}

fn terminated() -> Error {
    Error::new("57P01", "terminating connection due to administrator command")
}

impl Breaks {
    /// Ends with the reason when the statement is cancelled or its time is over.
    async fn interrupted(&self, deadline: Option<tokio::time::Instant>) -> Error {
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.wake.notified() => Error::new("57014", "canceling statement due to user request"),
            () = late => late_error(),
            () = self.ending.cancelled() => terminated(),
        }
    }

    /// The outer error ends the connection.
    async fn watched<T>(
        &self,
        incoming: &mut Incoming,
        deadline: Option<tokio::time::Instant>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<Result<T>, End> {
        tokio::select! {
            biased;
            done = unless(&self.handed, self.interrupted(deadline), work) => match done {
                Err(error) if self.ending.is_cancelled() && error == terminated() => Err(End::Lost(error)),
                done => Ok(done),
            },
            () = incoming.closed() => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
        }
    }
}

fn late_error() -> Error {
    Error::new("57014", "canceling statement due to statement timeout")
}

/// Who waits for a write to become durable hears why it takes long, once; the write itself cannot be taken back any more.
async fn attended<T>(server: &Server, outgoing: &mut Outgoing, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    let trouble = async {
        loop {
            server.config.env.clock.sleep(POLL_US).await;
            let now = server.config.env.clock.monotonic();
            if let Some(trouble) = server.handle.progress.borrow().lasting_trouble(now) {
                break trouble;
            }
        }
    };
    let trouble = tokio::select! {
        biased;
        done = &mut work => return done,
        trouble = trouble => trouble,
    };
    outgoing.notice("WARNING", trouble.sqlstate, &format!("this statement waits: {}", trouble.message));
    outgoing.flush().await.map_err(|e| Error::new("08006", e.to_string()))?;
    work.await
}

async fn timed<T>(handed: &Handed, limit: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(limit) = limit else { return work.await };
    let late = async {
        tokio::time::sleep(limit).await;
        late_error()
    };
    unless(handed, late, work).await
}

/// Runs `work`, unless it is `interrupted` before its commit has been handed over.
async fn unless<T>(
    handed: &Handed,
    interrupted: impl Future<Output = Error>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(work);
    let error = tokio::select! {
        biased;
        done = &mut work => return done,
        error = interrupted => error,
    };
    if handed.is_set() { work.await } else { Err(error) }
}

/// Notes what a statement cost and whether it failed.
async fn measured(server: Arc<Server>, parsed: &Parsed, work: impl Future<Output = Result<()>>) -> Result<()> {
    let clock = &server.config.env.clock;
    let started = clock.monotonic();
    let done = work.await;
    let error = done.as_ref().err().map(|error| error.sqlstate);
    let kind = super::statement::kind(&parsed.statement);
    metrics::statement(kind, clock.monotonic().saturating_sub(started), error);
    done
}
