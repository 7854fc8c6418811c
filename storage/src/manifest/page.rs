//! Pages: where records of a manifest lie that have not changed for a while.
//!
//! A *record* is a line `o<id> <JSON>` (an object of the catalog) or `s<id> <JSON>` (the state of an arrangement); a *page* is some dozen
//! kilobytes of neighbouring records; an object `data/<generation>-<ulid>-<store>.pages` holds pages one after the other. Manifests name
//! pages by place and checksum. A page never changes: one of whose records another is said is no longer named, and its records stand in
//! the manifest itself until there are enough of them for new pages.
//!
//! Which pages a manifest names is worked out from what it says ([`Pages::cover`]): a page that does not say the same, byte by byte, is not
//! named, whatever was done to the manifest since it was read.

use crate::env::Env;
use crate::error::{Error, Result};
use crate::identity::Maker;
use crate::limits::Limits;
use crate::retry::{self, Backoff};
use crate::run;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use ulid::Ulid;
use xxhash_rust::xxh3::xxh3_64;

/// Requests under way at once.
const AT_ONCE: usize = 8;

/// For each object: a manifest may need hundreds, and one request that fails should not cost what the others gave.
const BACKOFF: Backoff = Backoff { tries: 5, first: 50_000, longest: 50_000 };

/// The path of a new object of pages.
pub fn path(maker: Maker, ulid: Ulid) -> String {
    run::name(maker, ulid, run::PAGES)
}

/// Opaque JSON, in one line.
#[derive(Clone, PartialEq)]
pub struct Record(Bytes);

impl Record {
    pub fn of(value: &impl Serialize) -> Self {
        // Line breaks within strings are escaped, others are not made.
        Self(serde_json::to_vec(value).expect("a record is plain data").into())
    }

    /// The same, and read back: what is not read as `value` is an error that says why.
    pub fn checked<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Result<Self, String> {
        let record = Self::of(value);
        match record.read::<T>() {
            Ok(read) if read == *value => Ok(record),
            Ok(_) => Err("it would be read as another one".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What a record is of. In this order they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Object(u32),
    State(u64),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(id) => write!(f, "object {id}"),
            Self::State(id) => write!(f, "arrangement {id}"),
        }
    }
}

/// Records as they are written, ascending.
#[derive(Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    /// Each with where its line ends.
    index: Vec<(Key, usize)>,
}

impl Lines {
    pub fn push(&mut self, key: Key, json: &[u8]) {
        let (kind, id) = match key {
            Key::Object(id) => (b'o', id.into()),
            Key::State(id) => (b's', id),
        };
        self.text.push(kind);
        write!(self.text, "{id} ").expect("a vector takes what is written");
        self.text.extend_from_slice(json);
        self.text.push(b'\n');
        self.index.push((key, self.text.len()));
    }

    fn count(&self) -> usize {
        self.index.len()
    }

    fn text(&self, lines: &Range<usize>) -> &[u8] {
        let end = |line: usize| if line == 0 { 0 } else { self.index[line - 1].1 };
        &self.text[end(lines.start)..end(lines.end)]
    }

    /// Cuts `lines` into as many as make a page each.
    fn cut(&self, lines: Range<usize>, page_bytes: usize) -> Vec<Range<usize>> {
        let (mut cut, mut start) = (vec![], lines.start);
        for line in lines.clone() {
            if self.text(&(start..line + 1)).len() >= page_bytes || line + 1 == lines.end {
                cut.push(start..line + 1);
                start = line + 1;
            }
        }
        cut
    }
}

/// The pages that hold some of what a manifest says. Where that lies is no part of what it says: all are equal.
#[derive(Clone, Debug, Default)]
pub struct Pages(Arc<Vec<Page>>);

impl PartialEq for Pages {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Clone, Debug)]
struct Page {
    first: Key,
    last: Key,
    /// Its lines.
    text: Bytes,
    object: Arc<Object>,
    offset: u64,
    checksum: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    path: String,
    bytes: u64,
}

/// Neighbouring lines, and the page that says the same.
struct Piece<'a> {
    lines: Range<usize>,
    page: Option<&'a Page>,
}

impl Pages {
    /// Each object with the bytes needed of it, page by page.
    pub fn needs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|page| (page.object.path.as_str(), page.text.len() as u64))
    }

    /// Whether the object at `path`, which holds `bytes`, says what it did.
    pub fn verify(&self, path: &str, bytes: &Bytes) -> Result<()> {
        let mut pages = self.0.iter().filter(|page| page.object.path == path);
        pages.try_for_each(|page| slice(path, bytes, page.offset, &page.text))
    }

    /// The pages that say what `lines` say, and all other lines.
    pub(super) fn cover(&self, lines: &Lines) -> (Places, Vec<u8>) {
        let (mut places, mut loose, mut known) = (Places::default(), vec![], BTreeMap::new());
        for piece in self.walk(lines) {
            let Some(page) = piece.page else {
                loose.extend_from_slice(lines.text(&piece.lines));
                continue;
            };
            let object = *known.entry(&page.object).or_insert_with(|| {
                places.objects.push((page.object.path.clone(), page.object.bytes));
                places.objects.len() - 1
            });
            places.pages.push((object, page.offset, page.text.len() as u64, page.checksum));
        }
        (places, loose)
    }

    /// The pages for `lines`, and the object to be stored at `path` if some of them are new. Few lines wait for more.
    pub(super) fn turn(&self, lines: &Lines, path: &str, limits: Limits) -> (Self, Option<Bytes>) {
        let pieces = self.walk(lines);
        let loose: usize =
            pieces.iter().filter(|piece| piece.page.is_none()).map(|piece| lines.text(&piece.lines).len()).sum();
        let worn = worn(pieces.iter().filter_map(|piece| piece.page));
        if loose <= limits.loose_bytes && worn.is_empty() {
            return (Self(Arc::new(pieces.into_iter().filter_map(|piece| piece.page.cloned()).collect())), None);
        }
        let (mut plan, mut open): (Vec<Planned>, Option<Range<usize>>) = (vec![], None);
        for Piece { lines: own, page } in pieces {
            let kept = page.filter(|page| {
                let is_small = page.text.len() < limits.page_bytes / 4;
                !(worn.contains(&page.object) || is_small && open.is_some())
            });
            match kept {
                Some(page) => {
                    plan.extend(open.take().map(Planned::New));
                    plan.push(Planned::Kept(page));
                }
                None => open = Some(open.map_or(own.start, |open| open.start)..own.end),
            }
        }
        plan.extend(open.map(Planned::New));
        build(plan, lines, path, limits)
    }

    /// Of those in the object at `path`.
    pub(super) fn texts(&self, path: &str) -> Vec<Bytes> {
        self.0.iter().filter(|page| page.object.path == path).map(|page| page.text.clone()).collect()
    }

    /// How many of `lines` pages say that are not in the object at `path`.
    pub(super) fn count(&self, lines: &Lines, path: &str) -> usize {
        let pieces = self.walk(lines).into_iter();
        let stored = pieces.filter(|piece| piece.page.is_some_and(|page| page.object.path != path));
        stored.map(|piece| piece.lines.len()).sum()
    }

    /// `lines`, cut where pages that say the same begin and end.
    fn walk(&self, lines: &Lines) -> Vec<Piece<'_>> {
        let (mut pieces, mut at) = (vec![], 0);
        for page in self.0.iter() {
            let begin = at + lines.index[at..].partition_point(|(key, _)| *key < page.first);
            let end = begin + lines.index[begin..].partition_point(|(key, _)| *key <= page.last);
            if lines.text(&(begin..end)) == page.text {
                pieces.extend((at < begin).then_some(Piece { lines: at..begin, page: None }));
                pieces.push(Piece { lines: begin..end, page: Some(page) });
                at = end;
            }
        }
        pieces.extend((at < lines.count()).then_some(Piece { lines: at..lines.count(), page: None }));
        pieces
    }
}

enum Planned<'a> {
    Kept(&'a Page),
    New(Range<usize>),
}

fn build(plan: Vec<Planned>, lines: &Lines, path: &str, limits: Limits) -> (Pages, Option<Bytes>) {
    let cut = |new: Range<usize>| lines.cut(new, limits.page_bytes);
    let new = plan.iter().filter_map(|planned| match planned {
        Planned::New(new) => Some(lines.text(new)),
        Planned::Kept(_) => None,
    });
    let object = Bytes::from(new.collect::<Vec<_>>().concat());
    let named = Arc::new(Object { path: path.into(), bytes: object.len() as u64 });
    let (mut pages, mut offset) = (vec![], 0);
    for planned in plan {
        match planned {
            Planned::Kept(page) => pages.push(page.clone()),
            Planned::New(new) => {
                for own in cut(new) {
                    let text = object.slice(offset..offset + lines.text(&own).len());
                    let (first, last) = (lines.index[own.start].0, lines.index[own.end - 1].0);
                    let (object, checksum) = (named.clone(), xxh3_64(&text));
                    let begin = offset as u64;
                    offset += text.len();
                    pages.push(Page { first, last, text, object, offset: begin, checksum });
                }
            }
        }
    }
    (Pages(Arc::new(pages)), (!object.is_empty()).then_some(object))
}

/// Objects of which less than half is needed.
fn worn<'a>(pages: impl Iterator<Item = &'a Page>) -> BTreeSet<Arc<Object>> {
    let mut needed: BTreeMap<&Arc<Object>, u64> = BTreeMap::new();
    pages.for_each(|page| *needed.entry(&page.object).or_default() += page.text.len() as u64);
    needed.into_iter().filter(|(object, needed)| needed * 2 < object.bytes).map(|(object, _)| object.clone()).collect()
}

/// Checks that `object`, which is at `path`, has `text` at `offset`.
fn slice(path: &str, object: &Bytes, offset: u64, text: &Bytes) -> Result<()> {
    let begin = offset as usize;
    match object.get(begin..begin.saturating_add(text.len())) == Some(text) {
        true => Ok(()),
        false => Err(Error::Corrupt(format!("object {path} is damaged: its checksum does not match"))),
    }
}

/// Where pages lie, as a manifest says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Places {
    /// With all their bytes.
    objects: Vec<(String, u64)>,
    /// Index of the object, offset, bytes, XXH3-64.
    pages: Vec<(usize, u64, u64, u64)>,
}

impl Places {
    /// Those in the object at `path`.
    pub fn within(&self, path: &str) -> Self {
        let is_there =
            |&&(object, ..): &&(usize, u64, u64, u64)| self.objects.get(object).is_some_and(|(own, _)| own == path);
        Self { objects: self.objects.clone(), pages: self.pages.iter().filter(is_there).copied().collect() }
    }

    /// The text of each page.
    pub async fn fetch(&self, env: &Env, cache: &mut Cache) -> Result<Vec<Bytes>> {
        let mut wanted: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for &(object, offset, bytes, _) in &self.pages {
            let (path, _) = self.objects.get(object).ok_or_else(|| Error::Corrupt("a page lies nowhere".into()))?;
            if !cache.0.contains_key(&(path.clone(), offset)) {
                wanted.entry(path.clone()).or_default().push((offset, bytes));
            }
        }
        let fetches = futures::stream::iter(wanted).map(|(path, pages)| of_object(env, path, pages));
        let fetched: Vec<_> = fetches.buffered(AT_ONCE).try_collect().await?;
        let mut fresh: HashMap<(String, u64), Bytes> = fetched.into_iter().flatten().collect();
        let mut found = vec![];
        let mut kept = HashMap::new();
        for &(object, offset, _, _) in &self.pages {
            let place = (self.objects[object].0.clone(), offset);
            let text = cache.0.remove(&place).or_else(|| fresh.remove(&place)).ok_or_else(|| missing(&place.0))?;
            found.push(text.clone());
            kept.insert(place, text);
        }
        cache.0 = kept;
        Ok(found)
    }

    /// The text of each page, out of `objects`.
    pub fn find(&self, objects: impl Fn(&str) -> Option<Bytes>) -> Result<Vec<Bytes>> {
        let text = |&(object, offset, bytes, _): &(usize, u64, u64, u64)| {
            let (path, _) = self.objects.get(object).ok_or_else(|| Error::Corrupt("a page lies nowhere".into()))?;
            let end = offset.saturating_add(bytes) as usize;
            let whole = objects(path).filter(|whole| end <= whole.len() && offset as usize <= end);
            Ok(whole.ok_or_else(|| missing(path))?.slice(offset as usize..end))
        };
        self.pages.iter().map(text).collect()
    }

    /// The pages whose `texts` were fetched, and their records.
    pub fn read(&self, texts: Vec<Bytes>) -> Result<(Pages, Vec<(Key, Record)>), String> {
        let objects: Vec<Arc<Object>> =
            self.objects.iter().map(|(path, bytes)| Arc::new(Object { path: path.clone(), bytes: *bytes })).collect();
        let (mut pages, mut all): (Vec<Page>, _) = (vec![], vec![]);
        for (&(object, offset, _, checksum), text) in self.pages.iter().zip(texts) {
            let object = objects.get(object).ok_or("a page lies nowhere")?.clone();
            if xxh3_64(&text) != checksum {
                return Err(format!("the checksum of its page at {offset} of {} does not match", object.path));
            }
            let Loose(records) = Loose::parse(text.clone())?;
            let (Some((first, _)), Some((last, _))) = (records.first(), records.last()) else {
                return Err("a page is empty".into());
            };
            if pages.last().is_some_and(|before| before.last >= *first) {
                return Err("its pages are out of order".into());
            }
            pages.push(Page { first: *first, last: *last, text, object, offset, checksum });
            all.extend(records);
        }
        Ok((Pages(Arc::new(pages)), all))
    }
}

/// Pages, each by its offset and length, of one object, which is asked once: from the first page to the last.
async fn of_object(env: &Env, path: String, pages: Vec<(u64, u64)>) -> Result<Vec<((String, u64), Bytes)>> {
    let begin = pages.iter().map(|(offset, _)| *offset).min().unwrap_or(0);
    let end = pages.iter().map(|(offset, bytes)| offset.saturating_add(*bytes)).max().unwrap_or(0);
    let bytes = BACKOFF.retry(env, &retry::warn, || env.objects.get_range(&path, begin..end)).await?;
    let bytes = bytes.ok_or_else(|| missing(&path))?;
    let text = |(offset, length): (u64, u64)| {
        let (from, to) = ((offset - begin) as usize, (offset.saturating_add(length) - begin) as usize);
        let text = (to <= bytes.len()).then(|| bytes.slice(from..to)).ok_or_else(|| missing(&path))?;
        Ok(((path.clone(), offset), text))
    };
    pages.into_iter().map(text).collect()
}

fn missing(path: &str) -> Error {
    Error::Corrupt(format!("object {path} is named by a manifest but is not in the store"))
}

/// Pages that were read for the last manifest: the next one names most of them.
#[derive(Default)]
pub struct Cache(HashMap<(String, u64), Bytes>);

/// Records that stand in a manifest itself.
#[derive(Default)]
pub(super) struct Loose(Vec<(Key, Record)>);

impl Loose {
    /// Lines, each with its end, their keys ascending.
    pub fn parse(text: Bytes) -> Result<Self, String> {
        let (mut records, mut at): (Vec<(Key, Record)>, usize) = (vec![], 0);
        while at < text.len() {
            let length = text[at..].iter().position(|&byte| byte == b'\n').ok_or("a record has no end")?;
            let line = text.slice(at..at + length);
            let (key, json) = key(&line).ok_or("a record does not say what it is of")?;
            if records.last().is_some_and(|(before, _)| *before >= key) {
                return Err(format!("{key} is out of order"));
            }
            records.push((key, Record(line.slice(json..))));
            at += length + 1;
        }
        Ok(Self(records))
    }

    pub fn into_records(self) -> impl Iterator<Item = (Key, Record)> {
        self.0.into_iter()
    }
}

/// What a line is of, and where its JSON begins.
fn key(line: &[u8]) -> Option<(Key, usize)> {
    let space = line.iter().take(24).position(|&byte| byte == b' ')?;
    let (kind, id) = std::str::from_utf8(&line[..space]).ok()?.split_at_checked(1)?;
    // Written as it is read: no sign, no leading zero.
    let id: u64 = id.parse().ok().filter(|number: &u64| number.to_string() == id)?;
    let key = match kind {
        "o" => Key::Object(id.try_into().ok()?),
        "s" => Key::State(id),
        _ => return None,
    };
    Some((key, space + 1))
}
