//! The manifest: one small object per checkpoint that says everything (ARCHITECTURE.md, *Checkpoints and manifests*).
//!
//! `manifest/<sequence, 20 digits>`; a header with magic, format version and checksum, a line of JSON with what changes at every
//! checkpoint, a line that says where pages lie, then *records*: a line for each object of the catalog and each arrangement.
//! Records that no checkpoint has changed for a while lie in pages, objects of their own that many manifests name ([`page`]), so
//! that a manifest is as large as what changed and not as what there is. All of it is readable in a pinch with `tail -c +25`. It
//! names only objects that were durably written before it (I6).

pub mod page;
mod runs;
#[cfg(test)]
mod tests;

pub use page::{Cache, Pages, Record};
pub use runs::Runs;

use crate::env::Env;
use crate::epoch::{Epoch, Generation};
use crate::error::{Error, Result};
use crate::identity::StoreId;
use crate::limits::Limits;
use bytes::Bytes;
use page::{Key, Lines, Loose, Places};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// Where manifests are, below the store's root.
pub const FOLDER: &str = "manifest";

/// Magic (8 bytes), format (u32), zero (u32), XXH3-64 of the rest (u64), all little-endian. Magic and format keep their places in every
/// later format.
const HEADER: usize = 24;
const MAGIC: &[u8; 8] = b"WEIRMANI";
const FORMAT: u32 = 2;
/// All in one piece of JSON: read, and no longer written.
const WHOLE: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArrangementId(pub u64);

/// Its JSON is what stands in the first line.
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
    #[serde(serialize_with = "Records::rest", deserialize_with = "Records::whole")]
    pub catalog: Records,
    /// In the first line only in format 1.
    #[serde(default, skip_serializing)]
    pub arrangements: BTreeMap<ArrangementId, State>,
    /// Bytes uploaded for this checkpoint, and how long it took from the epoch's close, for `rw_checkpoints`.
    pub uploaded_bytes: u64,
    pub duration_us: u64,
    #[serde(default)]
    pub store: StoreId,
    /// Where the store was when this was published ([`Objects::place`](crate::env::Objects::place)).
    #[serde(default)]
    pub place: String,
    /// Where what it says is stored already.
    #[serde(skip)]
    pub pages: Pages,
}

/// The catalog: opaque JSON of `src/catalog`, each object by its id, and what is no object's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    pub rest: serde_json::Value,
    pub objects: BTreeMap<u32, Record>,
}

/// The durable state of one arrangement.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct State {
    /// It is held up to here: the manifest's epoch, or an earlier checkpoint's if its view is behind.
    pub upper: Epoch,
    /// Its change log can be read from here on: where the reader furthest behind stands.
    pub since: Epoch,
    /// In epoch order, no gaps, no overlap per vnode.
    pub runs: Runs,
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
        self.needs().into_keys().collect()
    }

    /// Every object it names, with how many of its bytes it needs.
    pub fn needs(&self) -> BTreeMap<&str, u64> {
        let mut needs: BTreeMap<&str, u64> = BTreeMap::new();
        let runs = self.arrangements.values().flat_map(|state| &state.runs);
        let runs = runs.map(|run| (run.object.as_str(), run.length));
        for (object, length) in runs.chain(self.pages.needs()) {
            let bytes = needs.entry(object).or_default();
            *bytes = bytes.saturating_add(length);
        }
        needs
    }

    /// Reads a manifest and its pages; `None` if it is gone. What `cache` holds of them is not fetched.
    pub async fn read(env: &Env, sequence: u64, cache: &mut Cache) -> Result<Option<Self>> {
        match Root::read(env, sequence).await? {
            Some(root) => root.complete(env, cache).await,
            None => Ok(None),
        }
    }

    pub fn encode(&self) -> Bytes {
        let (places, loose) = self.pages.cover(&self.lines());
        self.written(&places, &loose)
    }

    /// With what lies in pages, and what does not.
    fn written(&self, places: &Places, loose: &[u8]) -> Bytes {
        let mut bytes = vec![0; HEADER];
        // Strings, numbers and maps with keys of the two: nothing here that JSON cannot hold.
        serde_json::to_writer(&mut bytes, self).expect("a manifest is JSON");
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, places).expect("places are JSON");
        bytes.push(b'\n');
        bytes.extend_from_slice(loose);
        let checksum = xxh3_64(&bytes[HEADER..]);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&checksum.to_le_bytes());
        bytes.into()
    }

    /// Every record, in order.
    fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        self.catalog.objects.iter().for_each(|(&id, record)| lines.push(Key::Object(id), record.text()));
        let mut text = vec![];
        for (&ArrangementId(id), state) in &self.arrangements {
            let at = |epoch, usual| (epoch != usual).then_some(epoch);
            let times = Times { upper: at(state.upper, self.epoch), since: at(state.since, state.upper) };
            text.clear();
            serde_json::to_writer(&mut text, &times).expect("two numbers");
            // One object of both: what comes after the last brace goes before it.
            text.pop();
            text.extend_from_slice(if text.len() > 1 { b",\"runs\":" } else { b"\"runs\":" });
            text.extend_from_slice(state.runs.json());
            text.push(b'}');
            lines.push(Key::State(id), &text);
        }
        lines
    }

    fn add(&mut self, key: Key, record: Record) -> Result<(), String> {
        let is_new = match key {
            Key::Object(id) => self.catalog.objects.insert(id, record).is_none(),
            Key::State(id) => {
                let line: Arranged = serde_json::from_slice(record.text()).map_err(|e| e.to_string())?;
                let upper = line.upper.unwrap_or(self.epoch);
                let state = State { upper, since: line.since.unwrap_or(upper), runs: line.runs };
                self.arrangements.insert(ArrangementId(id), state).is_none()
            }
        };
        if is_new { Ok(()) } else { Err(format!("it says twice what {key} is")) }
    }
}

/// A manifest as it is going to be stored, but for what publishing gives it.
pub struct Laid {
    pub(crate) manifest: Manifest,
    places: Places,
    loose: Vec<u8>,
}

impl From<Manifest> for Laid {
    fn from(manifest: Manifest) -> Self {
        let (places, loose) = manifest.pages.cover(&manifest.lines());
        Self { manifest, places, loose }
    }
}

impl Laid {
    /// `manifest`, after one with the pages `last`. What is new goes into pages if it is much: the object to be stored at `path`
    /// before this is published. What a start would not read as the same is an error.
    pub fn new(mut manifest: Manifest, last: &Pages, path: &str, limits: Limits) -> Result<(Self, Option<Bytes>)> {
        let lines = manifest.lines();
        let object;
        (manifest.pages, object) = last.turn(&lines, path, limits);
        let (places, loose) = manifest.pages.cover(&lines);
        let laid = Self { manifest, places, loose };
        laid.read_back(&lines, path)?;
        Ok((laid, object))
    }

    pub fn encode(&self) -> Bytes {
        self.manifest.written(&self.places, &self.loose)
    }

    /// Reads what it says itself, and the pages in the object at `path`, which is not stored yet. Pages that are stored were read back
    /// before they were.
    fn read_back(&self, lines: &Lines, path: &str) -> Result<()> {
        let own = &self.manifest;
        let unlike = |why: &str| Error::Corrupt(format!("the next manifest could not be read by a start: {why}"));
        let root = Root::decode(&Manifest::path(own.sequence), &self.encode());
        let Root { manifest: mut read, places, loose } = root.map_err(|error| unlike(&error.to_string()))?;
        let (_, records) = places.within(path).read(own.pages.texts(path)).map_err(|why| unlike(&why))?;
        for (key, record) in loose.into_records().chain(records) {
            read.add(key, record).map_err(|why| unlike(&why))?;
        }
        let known = own.pages.count(lines, path);
        let counts = |m: &Manifest| m.catalog.objects.len() + m.arrangements.len();
        let mut objects = read.catalog.objects.iter();
        let mut states = read.arrangements.iter();
        let is_alike = counts(&read) + known == counts(own)
            && objects.all(|(id, record)| own.catalog.objects.get(id) == Some(record))
            && states.all(|(id, state)| own.arrangements.get(id) == Some(state));
        let plain = |m: &Manifest| Manifest {
            catalog: Records { objects: BTreeMap::new(), rest: m.catalog.rest.clone() },
            arrangements: BTreeMap::new(),
            positions: m.positions.clone(),
            place: m.place.clone(),
            pages: Pages::default(),
            ..*m
        };
        match is_alike && plain(&read) == plain(own) {
            true => Ok(()),
            false => Err(unlike("it would be read as another one")),
        }
    }
}

/// What a manifest says by itself: all but what lies in pages.
pub struct Root {
    manifest: Manifest,
    places: Places,
    loose: Loose,
}

impl Root {
    pub fn epoch(&self) -> Epoch {
        self.manifest.epoch
    }

    /// `now` of the epoch.
    pub fn now(&self) -> i64 {
        self.manifest.now
    }

    pub fn generation(&self) -> Generation {
        self.manifest.generation
    }

    /// Microseconds since 1970-01-01 UTC.
    pub fn committed_at(&self) -> i64 {
        self.manifest.committed_at
    }

    /// `None` if it is gone.
    pub async fn read(env: &Env, sequence: u64) -> Result<Option<Self>> {
        let path = Manifest::path(sequence);
        let bytes = env.objects.get(&path).await?;
        bytes.map(|bytes| Self::decode(&path, &bytes)).transpose()
    }

    /// The manifest with its pages; `None` if it is gone by now. What `cache` holds of them is not fetched.
    pub async fn complete(self, env: &Env, cache: &mut Cache) -> Result<Option<Manifest>> {
        let path = Manifest::path(self.manifest.sequence);
        match self.places.fetch(env, cache).await {
            // Pages go after the manifest that names them.
            Err(Error::Corrupt(_)) if env.objects.get(&path).await?.is_none() => Ok(None),
            pages => self.with(&path, pages?).map(Some),
        }
    }

    /// `name` is the object's path, for messages.
    pub fn decode(name: &str, bytes: &Bytes) -> Result<Self> {
        let damaged = |why: &str| damaged(name, why);
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged("it is cut short"))?;
        let (magic, numbers) = header.split_at(8);
        let (format, checksum) = (le_u32(&numbers[..4]), le_u64(&numbers[8..]));
        if magic != MAGIC {
            return Err(damaged("it does not begin as a manifest does"));
        }
        if format != FORMAT && format != WHOLE {
            return Err(Error::Corrupt(format!(
                "manifest {name} has format {format}; this Weir reads format {FORMAT}: run the version that wrote it"
            )));
        }
        if numbers[4..8] != [0; 4] || checksum != xxh3_64(rest) {
            return Err(damaged("its checksum does not match"));
        }
        let unread = |e: serde_json::Error| damaged(&e.to_string());
        let manifest: Manifest;
        let (mut places, mut loose) = (Places::default(), Loose::default());
        if format == WHOLE {
            manifest = serde_json::from_slice(rest).map_err(unread)?;
        } else {
            let mut lines = rest.splitn(3, |&byte| byte == b'\n');
            let (Some(first), Some(second), Some(records)) = (lines.next(), lines.next(), lines.next()) else {
                return Err(damaged("its first lines have no end"));
            };
            manifest = serde_json::from_slice(first).map_err(unread)?;
            places = serde_json::from_slice(second).map_err(unread)?;
            loose = Loose::parse(bytes.slice_ref(records)).map_err(|why| damaged(&why))?;
        }
        match Manifest::path(manifest.sequence) == name {
            true => Ok(Self { manifest, places, loose }),
            false => Err(damaged(&format!("it says that it is manifest {}", manifest.sequence))),
        }
    }

    /// The manifest, with what its pages in `objects` say.
    pub fn whole(self, name: &str, objects: impl Fn(&str) -> Option<Bytes>) -> Result<Manifest> {
        let pages = self.places.find(objects)?;
        self.with(name, pages)
    }

    fn with(self, name: &str, pages: Vec<Bytes>) -> Result<Manifest> {
        let Self { mut manifest, places, loose } = self;
        let (pages, records) = places.read(pages).map_err(|why| damaged(name, &why))?;
        for (key, record) in loose.into_records().chain(records) {
            manifest.add(key, record).map_err(|why| damaged(name, &why))?;
        }
        manifest.pages = pages;
        Ok(manifest)
    }
}

fn damaged(name: &str, why: &str) -> Error {
    Error::Corrupt(format!("manifest {name} is damaged: {why}"))
}

/// A state, as it is written: what is usual is left out, so that what does not change is written alike.
#[derive(Deserialize)]
struct Arranged {
    /// The manifest's.
    upper: Option<Epoch>,
    /// The upper.
    since: Option<Epoch>,
    runs: Runs,
}

/// The first two of it.
#[derive(Serialize)]
struct Times {
    #[serde(skip_serializing_if = "Option::is_none")]
    upper: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Epoch>,
}

impl Records {
    fn rest<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rest.serialize(serializer)
    }

    /// Format 1 has the objects beside the rest.
    fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut rest = serde_json::Value::deserialize(deserializer)?;
        let Some(objects) = rest.as_object_mut().and_then(|rest| rest.remove("objects")) else {
            return Ok(Self { rest, objects: BTreeMap::new() });
        };
        let objects: BTreeMap<u32, serde_json::Value> = serde_json::from_value(objects).map_err(D::Error::custom)?;
        let objects = objects.iter().map(|(&id, object)| (id, Record::of(object))).collect();
        Ok(Self { rest, objects })
    }
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b))
}

fn le_u64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}
