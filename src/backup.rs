//! `weir backup STORE TO DEST` and `weir restore DEST TO STORE`: a store, copied whole and checked, between any two kinds of place.

use weir_sql::{Error, Result};
use weir_storage::{Env, backup, store};

#[derive(clap::Args)]
pub struct Options {
    /// PATH | file:///… | s3://bucket/prefix
    from: String,
    /// The word TO.
    #[arg(value_parser = ["TO", "to"])]
    to: String,
    /// An empty place: PATH | file:///… | s3://bucket/prefix
    place: String,
}

pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal(format!("the runtime cannot start: {e}")))?;
    runtime.block_on(copy(options))
}

async fn copy(options: &Options) -> Result<()> {
    let failed = |error: weir_storage::Error| Error::new("58000", error.to_string());
    let from = Env::real(store::open_to_read(&options.from).map_err(failed)?);
    let to = Env::real(store::open(&options.place).map_err(failed)?);
    let copied = backup::copy(&from, &to).await.map_err(failed)?;
    println!(
        "copied {} {} {}: checkpoint {} of manifest {}, {} objects with {} bytes, each checked",
        from.objects.describe(),
        options.to.to_lowercase(),
        to.objects.describe(),
        copied.manifest.epoch,
        copied.manifest.sequence,
        copied.objects,
        copied.bytes
    );
    Ok(())
}
