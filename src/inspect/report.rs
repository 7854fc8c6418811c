//! What is told of a store. The JSON has these names.

use serde::Serialize;
use std::collections::BTreeMap;
use weir_storage::Epoch;

#[derive(Serialize)]
pub struct Report {
    pub store: String,
    /// `None`: the store is empty.
    pub newest: Option<Newest>,
    /// Ascending.
    pub manifests: Vec<Listed>,
    pub garbage: Garbage,
    pub space: Space,
    pub writes: Option<Writes>,
    pub relations: Vec<Relation>,
}

/// The manifest that counts.
#[derive(Serialize)]
pub struct Newest {
    pub sequence: u64,
    pub generation: u32,
    pub epoch: String,
    pub committed_at: String,
    pub uploaded_bytes: u64,
    pub duration_ms: f64,
    /// By object id.
    pub positions: BTreeMap<u32, serde_json::Value>,
}

#[derive(Serialize)]
pub struct Listed {
    pub sequence: u64,
    pub bytes: u64,
    /// What is in it, if it can be read.
    pub checkpoint: Option<Checkpoint>,
    /// Why collection keeps it; `None`: it does not.
    pub kept: Option<String>,
}

/// The time and the number are what FOR SYSTEM_TIME AS OF takes.
#[derive(Serialize)]
pub struct Checkpoint {
    pub epoch: String,
    pub number: u64,
    pub time: String,
}

#[derive(Serialize)]
pub struct Garbage {
    /// Deleted by the next collection.
    pub manifests: usize,
    pub objects: usize,
    pub bytes: u64,
    /// Nothing is deleted, because of this.
    pub blocked: Option<String>,
    /// What stays, by the reason.
    pub stays: Vec<Stays>,
}

#[derive(Serialize)]
pub struct Stays {
    pub why: String,
    pub objects: usize,
    pub bytes: u64,
}

#[derive(Serialize)]
pub struct Space {
    /// Everything in the store.
    pub stored_bytes: u64,
    pub objects: usize,
    pub object_bytes: u64,
    pub manifests: usize,
    pub manifest_bytes: u64,
    /// Runs that the newest checkpoint needs.
    pub newest_bytes: u64,
    /// What they would be without entries that cancel each other: only known if they were read.
    pub live_bytes: Option<u64>,
    /// Stored bytes for each byte of the newest checkpoint, and for each live one.
    pub stored_per_newest: Option<f64>,
    pub stored_per_live: Option<f64>,
}

/// Over checkpoints that follow each other and are kept. What was written before is not recorded anywhere.
#[derive(Serialize)]
pub struct Writes {
    pub checkpoints: usize,
    /// Changes, written for the first time.
    pub sealed_bytes: u64,
    /// Written again by compaction.
    pub merged_bytes: u64,
    pub manifest_bytes: u64,
    /// All of them for each byte sealed.
    pub written_per_sealed: Option<f64>,
}

#[derive(Serialize)]
pub struct Relation {
    pub id: u32,
    pub kind: &'static str,
    pub name: String,
    pub life: String,
    /// Lines.
    pub plan: Vec<String>,
    pub arrangements: Vec<Arrangement>,
}

#[derive(Serialize)]
pub struct Arrangement {
    pub id: u64,
    /// `rows`, `errors`, or `state` of an operator.
    pub role: &'static str,
    /// `None`: the newest manifest does not have it.
    pub held: Option<SealedState>,
}

#[derive(Serialize)]
pub struct SealedState {
    pub upper: String,
    pub since: String,
    pub entries: u64,
    pub bytes: u64,
    /// What the entries add up to, if they were read.
    pub rows: Option<u64>,
    /// Oldest first.
    pub levels: Vec<Level>,
    /// How many levels, the last ones, compaction merges next.
    pub merging: usize,
}

/// Runs of the same epochs, which compaction sees as one.
#[derive(Serialize)]
pub struct Level {
    pub after: String,
    pub to: String,
    pub entries: u64,
    pub bytes: u64,
    /// The power of four that its bytes have reached.
    pub class: u32,
    pub runs: Vec<RunSummary>,
}

#[derive(Serialize)]
pub struct RunSummary {
    pub object: String,
    pub offset: u64,
    pub bytes: u64,
    pub entries: u64,
    pub vnodes: (u16, u16),
}

pub fn time(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

pub fn epoch(epoch: Epoch) -> String {
    epoch.to_string()
}
