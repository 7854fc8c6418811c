//! Postgres: its write-ahead log by logical replication, its rows by COPY.
//!
//! In reading order: [`options`] and [`validate`] (what is asked for, and whether it can be), [`upstream`] (what is made
//! there), [`discover`] and [`table_schema`] (tables), [`client`] and [`control`] (talking to the server), [`decode`], [`rows`] and
//! [`value`] (bytes to columns), [`log`], [`feed`] and [`aside`] (what waits to be taken), [`stream`] and [`snapshot`] (the
//! threads that read), [`watch`] (the slot's health). Promises: whole transactions (I1), acknowledgement by proof (I7), trouble
//! stays here (I12).

pub mod aside;
mod blocking;
pub mod client;
pub mod control;
pub mod decode;
pub mod discover;
pub mod error;
pub mod feed;
pub mod kind;
pub mod log;
pub mod lsn;
pub mod options;
pub mod rows;
pub mod shared;
pub mod snapshot;
pub mod source;
pub mod stream;
pub mod table_schema;
pub mod upstream;
pub mod validate;
pub mod validation_error;
pub mod value;
pub mod watch;

use super::{Connector, Created, Definition, Discovered, Source, Start, Wanted};
use async_trait::async_trait;
use blocking::blocking;
use lsn::Place;
use options::Options;
use std::sync::Arc;
use weir_sql::Result;

/// `connector = 'postgres-cdc'`
pub struct Postgres;

#[async_trait]
impl Connector for Postgres {
    fn name(&self) -> &'static str {
        "postgres-cdc"
    }

    fn secrets(&self) -> &'static [&'static str] {
        options::SECRETS
    }

    fn claim(&self, source: &Definition) -> Result<String> {
        let Options { host, port, database, slot, .. } = Options::parse(source)?;
        Ok(format!("slot \"{slot}\" of database \"{database}\" at {host}:{port}"))
    }

    async fn check(&self, source: &Definition) -> Result<serde_json::Value> {
        let options = Options::parse(source)?;
        blocking(move || validate::check(&options)).await?.map(|details| details.json())
    }

    async fn create(&self, source: &Definition) -> Result<Created> {
        let (options, details) = (Options::parse(source)?, validate::Details::of(&source.details)?);
        blocking(move || upstream::create(&options, &details)).await?
    }

    async fn discover(&self, source: &Definition, wanted: &Wanted) -> Result<Discovered> {
        let (options, wanted) = (Options::parse(source)?, wanted.clone());
        blocking(move || discover::discover(&options, &wanted)).await?
    }

    async fn start(&self, source: &Definition, start: Start) -> Result<Arc<dyn Source>> {
        let (options, place) = (Options::parse(source)?, Place::of(&start.position)?);
        let owns_publication = validate::Details::of(&source.details)?.owns_publication;
        Ok(Arc::new(source::Running::start(options, owns_publication, place, start)?))
    }

    async fn drop(&self, source: &Definition) -> Vec<String> {
        let parsed = Options::parse(source).and_then(|o| Ok((o, validate::Details::of(&source.details)?)));
        match parsed {
            Ok((options, details)) => {
                let dropped = blocking(move || upstream::drop(&options, &details)).await;
                dropped.unwrap_or_else(|error| vec![error.message])
            }
            Err(error) => vec![format!("nothing was dropped upstream: {}", error.message)],
        }
    }
}
