//! From a store to a running coordinator: take the store over, read its state back, start engine, sources and loop.

use super::ddl::Jobs;
use super::message::Mailbox;
use super::pace::{Limits, Pace};
use super::recover::restore;
use super::request::{Handle, Progress};
use super::run::{Coordinator, Held, Parts, body};
use crate::catalog::secret::Keeper;
use crate::catalog::{Catalog, Life, Object};
use crate::dataflow::build::Blueprint;
use crate::dataflow::engine::Engine;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use weir_sql::catalog::RelationId;
use weir_sql::{Error, Result};
use weir_storage::manifest::Manifest;
use weir_storage::publish::Publisher;
use weir_storage::{Env, Epoch};

/// Requests of sessions that may wait; a session waits for its own anyway.
const REQUESTS: usize = 1024;

pub struct Config {
    pub workers: usize,
    pub limits: Limits,
    pub keeper: Keeper,
    pub spill: PathBuf,
    /// Bytes a source may hold before it stops reading upstream.
    pub source_limit: usize,
    /// Start from an older manifest if the newest is damaged.
    pub accept_data_loss: bool,
}

/// Takes the store over and brings everything back. The coordinator still has to be run.
pub async fn start(env: Env, config: Config) -> Result<(Coordinator, Handle)> {
    let newest = Publisher::newest(&env, config.accept_data_loss).await.map_err(storage)?;
    let (publisher, manifest) = Publisher::take_over(&env, newest).await.map_err(storage)?;
    let catalog = decode(&manifest)?;
    tracing::info!(generation = %manifest.generation, epoch = %manifest.epoch, store = env.objects.describe(), "took the store over");

    let wake = Arc::new(Notify::new());
    let engine = Engine::start(config.workers, wake.clone());
    let mut held = HashMap::new();
    for object in catalog.objects.values() {
        if let Some(relation) = bring_back(&env, &engine, &manifest, object).await? {
            held.insert(RelationId(object.id), relation);
        }
    }

    let (request_sender, requests) = mpsc::channel(REQUESTS);
    #[expect(clippy::disallowed_methods, reason = "a job waits for the answer before its next message: few per job")]
    let (message_sender, messages) = mpsc::unbounded_channel();
    let catalog = Arc::new(catalog);
    let (catalog_sender, catalog_receiver) = watch::channel(catalog.clone());
    let progress = Progress { closed: manifest.epoch, now: manifest.now, durable: manifest.epoch, stopped: None };
    let (progress_sender, progress_receiver) = watch::channel(progress);
    let mailbox = Mailbox(message_sender);
    let jobs = Jobs {
        env: env.clone(),
        keeper: config.keeper,
        mailbox: mailbox.clone(),
        catalog: catalog_receiver.clone(),
        relations: engine.relations().clone(),
        wake: wake.clone(),
        spill: config.spill,
        source_limit: config.source_limit,
        turn: Arc::new(Mutex::new(())),
    };
    jobs.start_sources(&catalog, &manifest.positions).await?;
    jobs.resume(&catalog);
    let relations = engine.relations().clone();
    let handle = Handle { requests: request_sender, catalog: catalog_receiver, progress: progress_receiver, relations };
    let pace = Pace::new(config.limits, env.clock.monotonic());
    let progress = progress_sender;
    let parts = Parts {
        env,
        engine,
        catalog,
        catalog_sender,
        progress,
        publisher,
        manifest,
        held,
        pace,
        requests,
        messages,
        mailbox,
        jobs,
        wake,
    };
    Ok((Coordinator::new(parts), handle))
}

/// A catalog this binary does not understand is refused, never guessed at.
fn decode(manifest: &Manifest) -> Result<Catalog> {
    if manifest.catalog.is_null() {
        return Ok(Catalog::default());
    }
    serde_json::from_value(manifest.catalog.clone()).map_err(|e| {
        Error::new(
            "58000",
            format!("the catalog in {} was written by another version of Weir: {e}", Manifest::path(manifest.sequence)),
        )
    })
}

/// A relation with its state as of the manifest. Half-made views are left to the jobs that finish them.
async fn bring_back(env: &Env, engine: &Engine, manifest: &Manifest, object: &Object) -> Result<Option<Held>> {
    let Some(shape) = body(&object.body) else { return Ok(None) };
    if object.life == Life::Dropping
        || (object.life == Life::Creating && !matches!(object.body, crate::catalog::Body::Table(_)))
    {
        return Ok(None);
    }
    let restored = restore(env, engine, manifest, &shape, object.arrangements()).await.map_err(storage)?;
    let fresh = restored.is_none();
    let is_table = matches!(object.body, crate::catalog::Body::Table(_));
    if fresh && is_table && object.life == Life::Live {
        let message =
            format!("{} holds no state of table \"{}\" at its epoch", Manifest::path(manifest.sequence), object.name);
        return Err(Error::new("58000", message));
    }
    if fresh {
        tracing::warn!(
            relation = object.name,
            "state is not in the newest manifest; it is built anew from its parents"
        );
    }
    let arrangements = restored.unwrap_or_else(|| engine.arrangements(&shape));
    let blueprint = || Blueprint {
        id: RelationId(object.id),
        name: object.name.clone(),
        body: body(&object.body).expect("checked above"),
        arrangements: arrangements.clone(),
        from: manifest.epoch,
        fresh,
    };
    let readable = engine.build(blueprint);
    if object.life == Life::Live && !fresh {
        readable.set_live();
    }
    let sealed = if fresh { Epoch::ZERO } else { manifest.epoch };
    Ok(Some(Held { ids: object.arrangements().to_vec(), arrangements, sealed }))
}

fn storage(error: weir_storage::Error) -> Error {
    Error::new("58000", error.to_string())
}
