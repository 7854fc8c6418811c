//! Everything a store lists, and what its manifests name.

use crate::coordinator::past::Arranged;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use weir_sql::Result;
use weir_storage::manifest::{self, Cache, Manifest};
use weir_storage::publish::Publisher;
use weir_storage::run::{self, Sum};
use weir_storage::{Env, Epoch, Error};

/// Requests under way at once.
const AT_ONCE: usize = 8;

pub struct Store {
    /// The manifest a server would start from.
    pub newest: Option<Manifest>,
    pub manifests: BTreeMap<u64, Found>,
    /// Bytes of everything below the folder of runs, by path.
    pub objects: BTreeMap<String, u64>,
}

pub struct Found {
    pub bytes: u64,
    /// `None`: it cannot be read.
    pub content: Option<Content>,
}

pub struct Content {
    pub epoch: Epoch,
    pub now: i64,
    pub committed_at: i64,
    pub uploaded_bytes: u64,
    /// Bytes that it needs of each.
    pub objects: BTreeMap<String, u64>,
}

impl Store {
    /// Objects are listed before manifests, as collection does: what is published meanwhile is not taken for garbage.
    pub async fn read(env: &Env) -> Result<Self> {
        let objects = env.objects.list(run::FOLDER, None).await.map_err(failed)?.into_iter().collect();
        let listed = env.objects.list(manifest::FOLDER, None).await.map_err(failed)?;
        let ours = listed.into_iter().filter_map(|(path, bytes)| Some((Manifest::sequence_of(&path)?, bytes)));
        let (mut manifests, mut pages) = (BTreeMap::new(), Cache::default());
        for (sequence, bytes) in ours {
            manifests.extend(found(env, sequence, bytes, &mut pages).await?.map(|found| (sequence, found)));
        }
        let newest = Publisher::newest(env, false).await.map_err(failed)?;
        Ok(Self { newest, manifests, objects })
    }
}

/// `None` if it is gone by now.
async fn found(env: &Env, sequence: u64, bytes: u64, pages: &mut Cache) -> Result<Option<Found>> {
    let read = match Manifest::read(env, sequence, pages).await {
        Ok(None) => return Ok(None),
        Err(Error::Corrupt(_)) => None,
        read => read.map_err(failed)?,
    };
    let content = read.map(|manifest| Content {
        epoch: manifest.epoch,
        now: manifest.now,
        committed_at: manifest.committed_at,
        uploaded_bytes: manifest.uploaded_bytes,
        objects: manifest.needs().into_iter().map(|(object, bytes)| (object.to_string(), bytes)).collect(),
    });
    Ok(Some(Found { bytes, content }))
}

/// How many entries are left of an arrangement's when they are added up.
pub async fn net(env: &Env, arranged: &Arranged) -> Result<u64> {
    let fetched = stream::iter(arranged.runs.clone()).map(|run| async move {
        let bytes = run::fetch(env, &run).await?;
        Ok::<_, weir_storage::Error>((run, bytes))
    });
    let runs: Vec<_> = fetched.buffered(AT_ONCE).try_collect().await.map_err(failed)?;
    let sum = Sum::open(arranged.spec.clone(), runs, env.limits).map_err(failed)?;
    let mut rows = 0;
    for piece in sum.pieces() {
        let deltas = sum.rows(&|vnode| piece.contains(&vnode), Some(&[])).map_err(failed)?;
        rows += deltas.iter().map(|delta| delta.len() as u64).sum::<u64>();
    }
    Ok(rows)
}

/// A store that cannot be read.
pub fn failed(error: Error) -> weir_sql::Error {
    weir_sql::Error::new("58000", error.to_string())
}
