//! `weir inspect STORE`: what a store holds, for people and as JSON. Reads only; works beside a running server.
//!
//! In reading order: [`report`] (what is told), [`store`] (what is read), [`levels`] (runs as compaction sees them), [`garbage`] (what
//! collection would delete, and why not the rest), [`volume`] (how much more is stored and written than has to be), [`text`].

mod garbage;
mod levels;
mod report;
mod store;
mod text;
mod volume;

use crate::catalog::{Body, Catalog, Shared};
use crate::coordinator::past::stored;
use report::{Arrangement, Newest, Relation, Report};
use store::{Store, failed};
use weir_sql::{Error, Result};
use weir_storage::Env;
use weir_storage::arrangement::{Role, Roles};
use weir_storage::manifest::Manifest;

#[derive(clap::Args)]
pub struct Options {
    /// PATH | file:///… | s3://bucket/prefix
    store: String,
    /// Also list every run.
    #[arg(long)]
    runs: bool,
    /// Also read every run of the newest checkpoint, to tell what its entries add up to.
    #[arg(long)]
    rows: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal(format!("the runtime cannot start: {e}")))?;
    let report = runtime.block_on(describe(options))?;
    match options.json {
        true => {
            let text = serde_json::to_string_pretty(&report);
            println!("{}", text.map_err(|e| Error::internal(format!("the report is no JSON: {e}")))?);
        }
        false => print!("{}", text::of(&report, options.runs)),
    }
    Ok(())
}

async fn describe(options: &Options) -> Result<Report> {
    let objects = weir_storage::store::open_to_read(&options.store).map_err(failed)?;
    let env = Env::real(objects);
    let store = Store::read(&env).await?;
    let mut relations = vec![];
    if let Some(manifest) = &store.newest {
        let catalog = Catalog::of(manifest)?;
        for object in catalog.objects.values() {
            relations.push(relation(&env, manifest, object, options.rows).await?);
        }
    }
    Ok(Report {
        store: env.objects.describe(),
        newest: store.newest.as_ref().map(newest),
        manifests: garbage::manifests(&store, env.clock.now()),
        garbage: garbage::objects(&store, env.clock.now()),
        space: volume::space(&store, &relations),
        writes: volume::writes(&store),
        relations,
    })
}

fn newest(manifest: &Manifest) -> Newest {
    Newest {
        sequence: manifest.sequence,
        generation: manifest.generation.0,
        epoch: report::epoch(manifest.epoch),
        committed_at: report::time(manifest.committed_at),
        uploaded_bytes: manifest.uploaded_bytes,
        duration_ms: manifest.duration_us as f64 / 1e3,
        positions: manifest.positions.clone(),
    }
}

/// A source is a relation without arrangements here.
async fn relation(env: &Env, manifest: &Manifest, object: &Shared, rows: bool) -> Result<Relation> {
    let unread = object.unread();
    let whole = stored(manifest, object).filter(|_| unread.is_none());
    let plan = match &object.body {
        _ if unread.is_some() => unread.map(|error| error.message).into_iter().collect(),
        Body::View(view) => weir_sql::planner::explain(&view.plan).lines().map(str::to_string).collect(),
        _ => vec![],
    };
    let roles = object.roles();
    let mut arrangements = vec![];
    for (index, (role, id)) in roles.iter().flat_map(Roles::by_role).enumerate() {
        let role = match role {
            Role::Operator => "state",
            Role::Rows => "rows",
            Role::Errors => "errors",
        };
        let net = match whole.as_ref().filter(|_| rows).and_then(|whole| whole.kept.iter().nth(index)) {
            Some(part) => Some(store::net(env, part).await?),
            None => None,
        };
        let state = manifest.arrangements.get(id);
        arrangements.push(Arrangement { id: id.0, role, held: state.map(|state| levels::held(state, net)) });
    }
    Ok(Relation {
        id: object.id,
        kind: object.kind(),
        name: object.name.clone(),
        life: format!("{:?}", object.life).to_lowercase(),
        plan,
        arrangements,
    })
}
