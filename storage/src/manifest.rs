//! The manifest: one small object per checkpoint that says everything (ARCHITECTURE.md, *Checkpoints and manifests*).
//!
//! `manifest/<sequence, 20 digits>`; header with magic, format version, checksum, then JSON (self-describing; readable in a
//! pinch with `tail -c +25`). It names only objects that were durably written before it (I6).

use crate::epoch::{Epoch, Generation};
use crate::error::{Error, Result};
use crate::identity::StoreId;
use crate::run::Run;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// Where manifests are, below the store's root.
pub const FOLDER: &str = "manifest";

/// Magic (8 bytes), format (u32), zero (u32), XXH3-64 of the JSON (u64), all little-endian. Magic and format keep their
/// places in every later format.
const HEADER: usize = 24;
const MAGIC: &[u8; 8] = b"WEIRMANI";
const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArrangementId(pub u64);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub sequence: u64,
    pub generation: Generation,
    /// Random per attempt to publish: tells our own manifest from another's after a lost answer.
    pub nonce: u64,
    /// The checkpoint epoch C.
    pub epoch: Epoch,
    /// Microseconds since 1970-01-01 UTC at which it was made.
    pub committed_at: i64,
    /// `now` of the checkpoint epoch, microseconds since 1970-01-01 UTC.
    pub now: i64,
    /// Where each source resumes, by object id; opaque JSON of its connector.
    pub positions: BTreeMap<u32, serde_json::Value>,
    /// The catalog, opaque JSON of `src/catalog`.
    pub catalog: serde_json::Value,
    pub arrangements: BTreeMap<ArrangementId, State>,
    /// Bytes uploaded for this checkpoint, and how long it took from the epoch's close, for `rw_checkpoints`.
    pub uploaded_bytes: u64,
    pub duration_us: u64,
    #[serde(default)]
    pub store: StoreId,
    /// Where the store was when this was published ([`Objects::place`](crate::env::Objects::place)).
    #[serde(default)]
    pub place: String,
}

/// The durable state of one arrangement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// It is held up to here: the manifest's epoch, or an earlier checkpoint's if its view is behind.
    pub upper: Epoch,
    /// Its change log can be read from here on: where the reader furthest behind stands.
    pub since: Epoch,
    /// In epoch order, no gaps, no overlap per vnode.
    pub runs: Vec<Run>,
}

impl Manifest {
    pub fn path(sequence: u64) -> String {
        format!("{FOLDER}/{sequence:020}")
    }

    /// The inverse of [`Manifest::path`]; `None` for what is not a manifest's name.
    pub fn sequence_of(path: &str) -> Option<u64> {
        let sequence = path.strip_prefix(FOLDER)?.strip_prefix('/')?.parse().ok()?;
        (Self::path(sequence) == path).then_some(sequence)
    }

    /// Every object it names.
    pub fn objects(&self) -> BTreeSet<&str> {
        self.arrangements.values().flat_map(|a| &a.runs).map(|run| run.object.as_str()).collect()
    }

    /// Every object it names, with how many of its bytes it needs.
    pub fn needs(&self) -> BTreeMap<&str, u64> {
        let mut needs: BTreeMap<&str, u64> = BTreeMap::new();
        for run in self.arrangements.values().flat_map(|state| &state.runs) {
            let bytes = needs.entry(&run.object).or_default();
            *bytes = bytes.saturating_add(run.length);
        }
        needs
    }

    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![0; HEADER];
        // Strings, numbers and maps with keys of the two: nothing here that JSON cannot hold.
        serde_json::to_writer(&mut bytes, self).expect("a manifest is JSON");
        let checksum = xxh3_64(&bytes[HEADER..]);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&checksum.to_le_bytes());
        bytes.into()
    }

    /// `name` is the object's path, for messages.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |why: &str| Error::Corrupt(format!("manifest {name} is damaged: {why}"));
        let (header, json) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged("it is cut short"))?;
        let (magic, rest) = header.split_at(8);
        let (format, checksum) = (le_u32(&rest[..4]), le_u64(&rest[8..]));
        if magic != MAGIC {
            return Err(damaged("it does not begin as a manifest does"));
        }
        if format != FORMAT {
            return Err(Error::Corrupt(format!(
                "manifest {name} has format {format}; this Weir reads format {FORMAT}: run the version that wrote it"
            )));
        }
        if rest[4..8] != [0; 4] || checksum != xxh3_64(json) {
            return Err(damaged("its checksum does not match"));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|e| damaged(&e.to_string()))?;
        match Self::path(manifest.sequence) == name {
            true => Ok(manifest),
            false => Err(damaged(&format!("it says that it is manifest {}", manifest.sequence))),
        }
    }
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b))
}

fn le_u64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Manifest {
        let run = Run {
            object: "data/2-01ARZ3NDEKTSV4RRFFQ69G5FAV.runs".into(),
            offset: 5,
            length: u64::MAX,
            after: Epoch::ZERO,
            to: Generation(2).start().next(),
            rows: 3,
            vnodes: (0, 255),
        };
        let state = State { upper: run.to, since: Epoch::ZERO, runs: vec![run] };
        Manifest {
            sequence: 42,
            generation: Generation(2),
            nonce: u64::MAX - 1,
            epoch: state.upper,
            committed_at: 1_700_000_000_000_000,
            now: -1,
            positions: BTreeMap::from([(7, json!({"lsn": "0/16B3748"}))]),
            catalog: json!({"objects": [1, 2.5, "é"]}),
            arrangements: BTreeMap::from([(ArrangementId(u64::MAX), state)]),
            uploaded_bytes: 9,
            duration_us: 10,
            store: StoreId(11),
            place: "file:///here".into(),
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let (manifest, name) = (sample(), Manifest::path(42));
        assert_eq!(Manifest::decode(&name, &manifest.encode()).unwrap(), manifest);
        assert_eq!(manifest.objects().len(), 1);
    }

    #[test]
    fn the_bytes_begin_as_they_always_did() {
        let bytes = Manifest::default().encode();
        assert_eq!(&bytes[..16], b"WEIRMANI\x01\0\0\0\0\0\0\0");
        let json = r#"{"sequence":0,"generation":0,"nonce":0,"epoch":0,"committed_at":0,"now":0,"positions":{},"#;
        assert!(bytes[24..].starts_with(json.as_bytes()), "{:?}", &bytes[24..]);
        assert_eq!(bytes[16..24], xxh3_64(&bytes[24..]).to_le_bytes());
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused_by_name() {
        let (bytes, name) = (sample().encode(), Manifest::path(42));
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x41;
            for wrong in [&flipped[..], &bytes[..at]] {
                let error = Manifest::decode(&name, wrong).unwrap_err();
                assert!(matches!(&error, Error::Corrupt(m) if m.contains(&name)), "{at}: {error}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_refused_as_that_and_another_number_as_damage() {
        let mut bytes = sample().encode().to_vec();
        assert!(Manifest::decode(&Manifest::path(41), &bytes).is_err());
        bytes[8] = 2;
        let error = Manifest::decode(&Manifest::path(42), &bytes).unwrap_err();
        assert!(error.to_string().contains("has format 2"), "{error}");
    }

    #[test]
    fn only_twenty_digits_are_a_manifests_name() {
        assert_eq!(Manifest::sequence_of(&Manifest::path(u64::MAX)), Some(u64::MAX));
        for other in ["manifest/1", "manifest/", "data/00000000000000000001", "manifest/+0000000000000000001"] {
            assert_eq!(Manifest::sequence_of(other), None, "{other}");
        }
    }
}
