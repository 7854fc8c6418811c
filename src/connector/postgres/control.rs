//! Questions and commands beside the stream: what is upstream, and what we make and drop there.

use super::client::{Client, Row};
use super::error::{Result, UpstreamError};
use super::lsn::{Lsn, Place};
use crate::connector::Retained;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use std::time::Duration;

/// Reads the columns of a row of known width.
struct Reader(std::vec::IntoIter<Option<String>>);

impl Reader {
    fn new(row: Row) -> Self {
        Self(row.into_iter())
    }

    fn maybe(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    fn text(&mut self) -> String {
        self.maybe().unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        self.maybe().as_deref() == Some("t")
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        let text = self.text();
        text.parse().map_err(|_| UpstreamError::Protocol(format!("\"{text}\" where a number belongs")))
    }

    fn lsn(&mut self) -> Result<Lsn> {
        let text = self.text();
        text.parse().map_err(|_| UpstreamError::Protocol(format!("\"{text}\" where a log position belongs")))
    }
}

/// Which server this is and how far its log goes; `client` speaks replication.
pub fn identify(client: &mut Client) -> Result<Place> {
    let mut row = Reader::new(client.query_one("IDENTIFY_SYSTEM")?);
    Ok(Place { system_id: row.text(), timeline: row.number()?, lsn: row.lsn()? })
}

pub struct Server {
    pub version: u32,
    pub wal_level: String,
    pub recovering: bool,
    pub free_slots: i64,
    pub max_slots: i64,
    pub free_senders: i64,
    pub max_senders: i64,
    pub user: String,
    pub may_replicate: bool,
    pub superuser: bool,
    pub may_create: bool,
    pub synchronous: String,
}

pub fn server(client: &mut Client) -> Result<Server> {
    let sql = "SELECT current_setting('server_version_num'), current_setting('wal_level'), pg_catalog.pg_is_in_recovery(), \
               current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_catalog.pg_replication_slots), \
               current_setting('max_replication_slots')::int8, \
               current_setting('max_wal_senders')::int8 - (SELECT count(*) FROM pg_catalog.pg_stat_replication), \
               current_setting('max_wal_senders')::int8, \
               rolname, rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles m WHERE m.rolname IN \
               ('rds_replication', 'azure_replication', 'cloudsqlreplica') AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')), \
               rolsuper, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
               current_setting('synchronous_standby_names') \
               FROM pg_catalog.pg_roles r WHERE rolname = current_user";
    let mut row = Reader::new(client.query_one(sql)?);
    Ok(Server {
        version: row.number()?,
        wal_level: row.text(),
        recovering: row.flag(),
        free_slots: row.number()?,
        max_slots: row.number()?,
        free_senders: row.number()?,
        max_senders: row.number()?,
        user: row.text(),
        may_replicate: row.flag(),
        superuser: row.flag(),
        may_create: row.flag(),
        synchronous: row.text(),
    })
}

/// `None`: the server never gives up on a silent reader.
pub fn sender_timeout(client: &mut Client) -> Result<Option<Duration>> {
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
    let millis: u64 = Reader::new(client.query_one(sql)?).number()?;
    Ok(if millis == 0 { None } else { Some(Duration::from_millis(millis)) })
}

/// After how long without a reader the server gives a slot up, in its words; `None`: never, as before version 18.
pub fn idle_timeout(client: &mut Client) -> Result<Option<String>> {
    let sql = "SELECT current_setting('idle_replication_slot_timeout', true)";
    Ok(Reader::new(client.query_one(sql)?).maybe().filter(|timeout| timeout != "0"))
}

pub struct Slot {
    pub plugin: String,
    pub database: Option<String>,
    pub here: bool,
    pub temporary: bool,
    pub active: Option<i32>,
    /// The application of the process that reads it.
    pub reader: Option<String>,
    pub confirmed: Option<Lsn>,
    pub status: Option<String>,
    /// Prepared transactions are sent before they commit, which older servers never do.
    pub two_phase: bool,
    /// Why the server gave it up; servers before version 17 do not say.
    pub invalidation: Option<String>,
}

pub fn slot(client: &mut Client, name: &str) -> Result<Option<Slot>> {
    let sql = format!(
        "SELECT s.plugin, s.database, s.database = pg_catalog.current_database(), s.temporary, s.active_pid, \
         a.application_name, s.confirmed_flush_lsn, pg_catalog.to_json(s)->>'wal_status', \
         (pg_catalog.to_json(s)->>'two_phase')::bool, pg_catalog.to_json(s)->>'invalidation_reason' \
         FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
         WHERE slot_name = {}",
        escape_literal(name)
    );
    let Some(row) = client.query(&sql)?.into_iter().next() else { return Ok(None) };
    let mut row = Reader::new(row);
    Ok(Some(Slot {
        plugin: row.text(),
        database: row.maybe(),
        here: row.flag(),
        temporary: row.flag(),
        active: row.maybe().and_then(|pid| pid.parse().ok()),
        reader: row.maybe(),
        confirmed: row.maybe().and_then(|lsn| lsn.parse().ok()),
        status: row.maybe(),
        two_phase: row.flag(),
        invalidation: row.maybe(),
    }))
}

/// What a slot keeps from being deleted; `None`: there is no such slot. Older servers do not say how near they are to giving it up.
pub fn retained(client: &mut Client, name: &str) -> Result<Option<Retained>> {
    let sql = format!(
        "SELECT pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
         ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn)::int8, pg_catalog.to_json(s)->>'wal_status', \
         pg_catalog.to_json(s)->>'safe_wal_size' FROM pg_catalog.pg_replication_slots s WHERE slot_name = {}",
        escape_literal(name)
    );
    let Some(row) = client.query(&sql)?.into_iter().next() else { return Ok(None) };
    let mut row = Reader::new(row);
    Ok(Some(Retained {
        // A slot that is lost keeps nothing, and says so by NULL.
        bytes: row.maybe().and_then(|bytes| bytes.parse::<i64>().ok()).unwrap_or(0).max(0) as u64,
        status: row.maybe(),
        left: row.maybe().and_then(|bytes| bytes.parse().ok()),
    }))
}

/// Makes a slot; waits for the transactions that run. `options` as in the command.
pub fn create_slot(client: &mut Client, name: &str, options: &str) -> Result<NewSlot> {
    let command = format!("CREATE_REPLICATION_SLOT {} {options}", escape_identifier(name));
    let mut row = Reader::new(client.query_one(&command)?);
    row.text();
    Ok(NewSlot { consistent: row.lsn()?, snapshot: row.maybe() })
}

pub struct NewSlot {
    pub consistent: Lsn,
    /// Name of the exported snapshot: exactly what committed before `consistent`. Good until the next command.
    pub snapshot: Option<String>,
}

/// What a slot's creation waits for, in words.
pub fn running(client: &mut Client) -> Result<String> {
    let sql = "SELECT 'process ' || pid || ' (' || coalesce(nullif(application_name, ''), usename, '?') || ') since ' || \
               xact_start FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() \
               UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts LIMIT 10";
    let rows = client.query(sql)?;
    Ok(rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(", "))
}

pub fn terminate(client: &mut Client, process: i32) -> Result<()> {
    client.query(&format!("SELECT pg_catalog.pg_terminate_backend({process})")).map(drop)
}

pub fn drop_slot(client: &mut Client, name: &str) -> Result<()> {
    client.query(&format!("SELECT pg_catalog.pg_drop_replication_slot({})", escape_literal(name))).map(drop)
}

pub struct Publication {
    pub all_tables: bool,
    /// Of insert, update, delete and truncate those that are left out.
    pub missing: Vec<String>,
    pub owned: bool,
    /// Whether it sends stored generated columns; `None`: the server, before version 18, has no such choice.
    pub generated: Option<bool>,
}

pub fn publication(client: &mut Client, name: &str) -> Result<Option<Publication>> {
    let sql = format!(
        "SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pg_catalog.pg_has_role(pubowner, 'USAGE'), \
         pg_catalog.to_json(p)->>'pubgencols' FROM pg_catalog.pg_publication p WHERE pubname = {}",
        escape_literal(name)
    );
    let Some(row) = client.query(&sql)?.into_iter().next() else { return Ok(None) };
    let mut row = Reader::new(row);
    let all_tables = row.flag();
    let missing =
        ["insert", "update", "delete", "truncate"].into_iter().filter(|_| !row.flag()).map(Into::into).collect();
    Ok(Some(Publication { all_tables, missing, owned: row.flag(), generated: row.maybe().map(|which| which == "s") }))
}

pub fn create_publication(client: &mut Client, name: &str) -> Result<()> {
    let mut options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true".to_string();
    if server(client)?.version >= 180_000 {
        options += ", publish_generated_columns = stored";
    }
    client.query(&format!("CREATE PUBLICATION {} WITH ({options})", escape_identifier(name))).map(drop)
}

pub fn drop_publication(client: &mut Client, name: &str) -> Result<()> {
    client.query(&format!("DROP PUBLICATION IF EXISTS {}", escape_identifier(name))).map(drop)
}

/// A table's part in a publication.
#[derive(Debug, PartialEq, Eq)]
pub struct Membership {
    pub filtered: bool,
    /// `None`: all columns.
    pub columns: Option<Vec<String>>,
}

/// `None`: the table is not in the publication.
pub fn membership(client: &mut Client, publication: &str, oid: u32) -> Result<Option<Membership>> {
    let sql = format!(
        "SELECT pg_catalog.to_json(p)->>'rowfilter', pg_catalog.to_json(p)->>'attnames' \
         FROM pg_catalog.pg_publication_tables p JOIN pg_catalog.pg_class c ON c.relname = p.tablename \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = p.schemaname \
         WHERE p.pubname = {} AND c.oid = {oid}",
        escape_literal(publication)
    );
    let Some(row) = client.query(&sql)?.into_iter().next() else { return Ok(None) };
    let mut row = Reader::new(row);
    let filtered = row.maybe().is_some();
    let columns = row.maybe().and_then(|names| serde_json::from_str(&names).ok());
    Ok(Some(Membership { filtered, columns }))
}

pub fn publish(client: &mut Client, publication: &str, schema: &str, table: &str) -> Result<()> {
    alter(client, publication, "ADD", schema, table)
}

pub fn unpublish(client: &mut Client, publication: &str, schema: &str, table: &str) -> Result<()> {
    alter(client, publication, "DROP", schema, table)
}

fn alter(client: &mut Client, publication: &str, verb: &str, schema: &str, table: &str) -> Result<()> {
    let (publication, table) = (escape_identifier(publication), qualified(schema, table));
    client.query(&format!("ALTER PUBLICATION {publication} {verb} TABLE ONLY {table}")).map(drop)
}

pub fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", escape_identifier(schema), escape_identifier(table))
}

/// A relation as the catalog shows it now.
pub struct Relation {
    pub oid: u32,
    /// `r` is an ordinary table.
    pub kind: String,
    /// `p` is permanent.
    pub persistence: String,
    pub identity: String,
    pub readable: bool,
    pub row_security: bool,
    pub owned: bool,
    /// Other tables inherit from it: a query over it shows their rows, too.
    pub inherited: bool,
}

pub fn relation(client: &mut Client, schema: &str, name: &str) -> Result<Option<Relation>> {
    let sql = format!(
        "SELECT c.oid, relkind, relpersistence, relreplident, pg_catalog.has_table_privilege(c.oid, 'SELECT') AND \
         pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.row_security_active(c.oid), \
         pg_catalog.pg_has_role(c.relowner, 'USAGE'), \
         EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}",
        escape_literal(schema),
        escape_literal(name)
    );
    let Some(row) = client.query(&sql)?.into_iter().next() else { return Ok(None) };
    let mut row = Reader::new(row);
    Ok(Some(Relation {
        oid: row.number()?,
        kind: row.text(),
        persistence: row.text(),
        identity: row.text(),
        readable: row.flag(),
        row_security: row.flag(),
        owned: row.flag(),
        inherited: row.flag(),
    }))
}

pub struct Attribute {
    pub number: i16,
    pub name: String,
    pub kind: u32,
    pub modifier: i32,
    pub not_null: bool,
    pub generated: Generated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    No,
    Stored,
    /// Since version 18, whose log never has it.
    Virtual,
}

/// The columns of a table in their order.
pub fn attributes(client: &mut Client, oid: u32) -> Result<Vec<Attribute>> {
    let sql = format!(
        "SELECT attnum, attname, atttypid, atttypmod, attnotnull, attgenerated FROM pg_catalog.pg_attribute \
         WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    );
    let read = |row| {
        let mut row = Reader::new(row);
        Ok(Attribute {
            number: row.number()?,
            name: row.text(),
            kind: row.number()?,
            modifier: row.number()?,
            not_null: row.flag(),
            generated: match row.text().as_str() {
                "" => Generated::No,
                "s" => Generated::Stored,
                _ => Generated::Virtual,
            },
        })
    };
    client.query(&sql)?.into_iter().map(read).collect()
}

/// The columns (numbers) of the primary key, or of the index that is the replica identity, in the index's order.
pub fn key(client: &mut Client, oid: u32, by_identity: bool) -> Result<Option<Vec<i16>>> {
    let which = if by_identity { "indisreplident" } else { "indisprimary" };
    let sql = format!(
        "SELECT k FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY u(k, o) \
         WHERE indrelid = {oid} AND {which} AND indisvalid AND o <= indnkeyatts ORDER BY o"
    );
    let rows = client.query(&sql)?;
    let numbers: Vec<i16> = rows.into_iter().map(|row| Reader::new(row).number()).collect::<Result<_>>()?;
    Ok(if numbers.is_empty() { None } else { Some(numbers) })
}

/// A type, as far as it says which base type holds its values.
#[derive(Clone, Debug)]
pub struct Kind {
    pub oid: u32,
    pub name: String,
    pub builtin: bool,
    /// `b` base, `d` domain, `e` enum, …
    pub class: String,
    /// Of a domain: what it is over, and with which modifier.
    pub base: u32,
    pub base_modifier: i32,
    /// Of an array: its elements' type.
    pub element: u32,
}

/// The types `oids` and all they are made of.
pub fn kinds(client: &mut Client, oids: &[u32]) -> Result<Vec<Kind>> {
    let list = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let sql = format!(
        "WITH RECURSIVE t(oid) AS (SELECT unnest('{{{list}}}'::oid[]) UNION SELECT x.o FROM t JOIN pg_catalog.pg_type p \
         ON p.oid = t.oid, LATERAL (VALUES (p.typbasetype), (p.typelem)) x(o) WHERE x.o <> 0) \
         SELECT p.oid, pg_catalog.format_type(p.oid, NULL), p.typnamespace = 'pg_catalog'::regnamespace, p.typtype, \
         p.typbasetype, p.typtypmod, CASE WHEN p.typcategory = 'A' THEN p.typelem ELSE 0 END \
         FROM t JOIN pg_catalog.pg_type p ON p.oid = t.oid"
    );
    let read = |row| {
        let mut row = Reader::new(row);
        Ok(Kind {
            oid: row.number()?,
            name: row.text(),
            builtin: row.flag(),
            class: row.text(),
            base: row.number()?,
            base_modifier: row.number()?,
            element: row.number()?,
        })
    };
    client.query(&sql)?.into_iter().map(read).collect()
}

/// Pages and estimated rows of a table.
pub fn size(client: &mut Client, oid: u32) -> Result<(u64, u64)> {
    let sql = format!(
        "SELECT pg_catalog.pg_relation_size({oid}::oid::regclass) / current_setting('block_size')::int8, \
         CASE WHEN relpages > 0 THEN (reltuples / relpages * pg_catalog.pg_relation_size(oid::regclass) / \
         current_setting('block_size')::int8)::int8 ELSE 0 END FROM pg_catalog.pg_class WHERE oid = {oid}"
    );
    let mut row = Reader::new(client.query_one(&sql)?);
    Ok((row.number()?, row.number::<i64>()?.max(0) as u64))
}
