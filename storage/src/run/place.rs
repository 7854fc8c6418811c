//! Where runs are: the names of objects, and which bytes of one a run is.

use crate::env::Env;
use crate::epoch::{Epoch, Generation};
use crate::error::{Error, Result};
use crate::identity::{Maker, StoreId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Where run objects are, below the store's root.
pub const FOLDER: &str = "data";

/// How the names of objects of runs end, and of those of a manifest's pages.
const RUNS: &str = "runs";
pub(crate) const PAGES: &str = "pages";

/// Where a run is and what it covers: all of `(after, to]` of its arrangement's change log on some vnodes, net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Path of the object below the store's root.
    pub object: String,
    /// Bytes `offset .. offset + length` of the object.
    pub offset: u64,
    pub length: u64,
    pub after: Epoch,
    pub to: Epoch,
    pub rows: u64,
    /// Lowest and highest vnode present.
    pub vnodes: (u16, u16),
}

impl Run {
    /// For messages.
    pub(super) fn called(&self) -> String {
        format!("run {} at {}", self.object, self.offset)
    }
}

/// The path of a new object of runs.
pub fn path(maker: Maker, ulid: Ulid) -> String {
    name(maker, ulid, RUNS)
}

/// The path of a new object. A store without an identity names its objects without one.
pub(crate) fn name(maker: Maker, ulid: Ulid, ending: &str) -> String {
    let Maker { store, generation } = maker;
    match store {
        StoreId(0) => format!("{FOLDER}/{generation}-{ulid}.{ending}"),
        store => format!("{FOLDER}/{generation}-{ulid}-{store}.{ending}"),
    }
}

/// Whose object `path` is; `None` for what no Weir named.
pub fn maker(path: &str) -> Option<Maker> {
    parse(path).map(|(maker, _)| maker)
}

/// When the name of the object was made, before its upload: milliseconds since 1970-01-01 UTC.
pub fn named_at(path: &str) -> Option<u64> {
    parse(path).map(|(_, ulid)| ulid.timestamp_ms())
}

fn parse(path: &str) -> Option<(Maker, Ulid)> {
    let (name, ending) = path.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('.')?;
    if ![RUNS, PAGES].contains(&ending) {
        return None;
    }
    let (generation, rest) = name.split_once('-')?;
    let (ulid, store) = rest.split_once('-').unwrap_or((rest, "0"));
    let store = StoreId(u64::from_str_radix(store, 16).ok()?);
    Some((Maker { store, generation: Generation(generation.parse().ok()?) }, Ulid::from_string(ulid).ok()?))
}

/// The bytes of `run`, which a manifest names.
pub async fn fetch(env: &Env, run: &Run) -> Result<Bytes> {
    let bytes = env.objects.get_range(&run.object, run.offset..run.offset + run.length).await?;
    bytes.ok_or_else(|| Error::Corrupt(format!("object {} is named by a manifest but is not in the store", run.object)))
}
