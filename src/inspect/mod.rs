//! `weir inspect STORE`: what a store holds, for people. Reads only; works beside a running server.

use crate::catalog::{Body, Catalog};
use std::fmt::Write;
use weir_sql::{Error, Result};
use weir_storage::manifest::{Manifest, State};
use weir_storage::publish::Publisher;
use weir_storage::{Env, store};

#[derive(clap::Args)]
pub struct Options {
    /// PATH | file:///… | s3://bucket/prefix
    store: String,
    /// Also list every run.
    #[arg(long)]
    runs: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal(format!("the runtime cannot start: {e}")))?;
    let text = runtime.block_on(describe(options))?;
    print!("{text}");
    Ok(())
}

async fn describe(options: &Options) -> Result<String> {
    let objects = store::open(&options.store).map_err(failed)?;
    let env = Env::real(objects);
    let mut text = format!("store {}\n", env.objects.describe());
    let listed = env.objects.list("manifest/", None).await.map_err(failed)?;
    for (path, bytes) in &listed {
        let _ = writeln!(text, "manifest {path}  {bytes} bytes");
    }
    match Publisher::newest(&env, false).await.map_err(failed)? {
        None => text.push_str("the store is empty: no manifest\n"),
        Some(manifest) => newest(&mut text, &manifest, options.runs)?,
    }
    Ok(text)
}

fn newest(text: &mut String, manifest: &Manifest, runs: bool) -> Result<()> {
    let committed = chrono::DateTime::from_timestamp_micros(manifest.committed_at).unwrap_or_default();
    let _ = writeln!(
        text,
        "newest: sequence {}  generation {}  epoch {}  committed {}  uploaded {} bytes in {:.1} ms",
        manifest.sequence,
        manifest.generation,
        manifest.epoch,
        committed.format("%Y-%m-%d %H:%M:%S%.3f UTC"),
        manifest.uploaded_bytes,
        manifest.duration_us as f64 / 1e3,
    );
    for (source, position) in &manifest.positions {
        let _ = writeln!(text, "position of source {source}: {position}");
    }
    let catalog: Catalog = match manifest.catalog.is_null() {
        true => Catalog::default(),
        false => serde_json::from_value(manifest.catalog.clone())
            .map_err(|e| Error::new("58000", format!("the catalog was written by another version of Weir: {e}")))?,
    };
    for object in catalog.objects.values() {
        let _ = writeln!(text, "{} {} \"{}\" ({:?})", object.kind(), object.id, object.name, object.life);
        if let Body::View(view) = &object.body {
            let plan = weir_sql::planner::explain(&view.plan);
            for line in plan.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        for id in object.arrangements() {
            match manifest.arrangements.get(id) {
                None => drop(writeln!(text, "  arrangement {}: not in this manifest", id.0)),
                Some(state) => arrangement(text, id.0, state, runs),
            }
        }
    }
    Ok(())
}

fn arrangement(text: &mut String, id: u64, state: &State, runs: bool) {
    let (rows, bytes) = state.runs.iter().fold((0, 0), |(rows, bytes), run| (rows + run.rows, bytes + run.length));
    let (upper, since, count) = (state.upper, state.since, state.runs.len());
    let _ =
        writeln!(text, "  arrangement {id}: upper {upper}  since {since}  {count} runs  {rows} entries  {bytes} bytes");
    for run in state.runs.iter().filter(|_| runs) {
        let _ = writeln!(
            text,
            "    ({}, {}]  {} entries  {} bytes at {} of {}  vnodes {}-{}",
            run.after, run.to, run.rows, run.length, run.offset, run.object, run.vnodes.0, run.vnodes.1
        );
    }
}

fn failed(error: weir_storage::Error) -> Error {
    Error::new("58000", error.to_string())
}
