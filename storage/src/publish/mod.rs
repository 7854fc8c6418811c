//! Making a manifest real, and knowing who owns the store (I6, I7, I9).
//!
//! The decisions are pure ([`decide()`] and the table of cases of [`recover`]); [`Publisher`] is the driver.
//! Put-if-absent manifest n+1 -> on any answer but success read the key back (our nonce: published; another's: fenced;
//! absent: retry the same bytes) -> list above n+1: anything there means fenced -> only then a [`Durable`] exists.
//! No answer at all is no evidence: the same request is made again until it is answered. A store whose newest manifest is taken
//! away while it is used is not the store that was opened: `Error::Lost`.

mod decide;
#[cfg(test)]
pub(crate) mod tests;

pub use decide::{Health, Next, Recovery, Seen, decide, recover};

use crate::env::{Created, Env};
use crate::epoch::{Epoch, Generation};
use crate::error::{Error, Result};
use crate::identity::{Maker, StoreId};
use crate::manifest::{Cache, FOLDER, Laid, Manifest, Root};
use crate::retry::ENDLESS;
use crate::run;
use bytes::Bytes;
use std::sync::OnceLock;

/// Microseconds that somebody's request, which was under way, gets to settle.
const WAIT: u64 = 50_000;
/// A living owner publishes about once a second, so losing a race again and again means that something else is wrong.
const TAKEOVERS: usize = 16;

/// Proof that `epoch` survives a crash. Made only by [`Publisher::publish`] and [`Publisher::confirm`].
#[derive(Clone, Debug)]
pub struct Durable {
    epoch: Epoch,
}

impl Durable {
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// The right to publish as one generation.
pub struct Publisher {
    env: Env,
    maker: Maker,
    place: String,
    /// Of the last manifest published.
    sequence: u64,
    epoch: Epoch,
    /// Once lost, the right does not come back.
    fenced: OnceLock<String>,
}

impl Publisher {
    /// Reads the newest manifest; `None` is an empty store, which data without a manifest is not.
    /// Newest is the highest-numbered: damaged or newer than this binary
    /// is refused by name. `accept_data_loss` allows the newest readable one below it, loudly; it then stands in for what it
    /// replaces, with the highest sequence there is and a generation no lost manifest can have used.
    pub async fn newest(env: &Env, accept_data_loss: bool) -> Result<Option<Manifest>> {
        for _ in 0..TAKEOVERS {
            let listed = sequences(env, None).await?;
            let mut read = vec![];
            let mut last = None;
            loop {
                match recover(&listed, &read, accept_data_loss) {
                    Recovery::Empty => match headless(env).await? {
                        None => return Ok(None),
                        // A manifest that came in between names it.
                        Some(_) if !sequences(env, None).await?.is_empty() => break,
                        Some(why) => return Err(Error::Corrupt(why)),
                    },
                    Recovery::Read(sequence) => {
                        let (health, manifest) = examine(env, sequence).await?;
                        read.push(health);
                        last = manifest;
                    }
                    Recovery::Use { skipped, .. } => return Ok(last.map(|m| stand_in(m, &listed, skipped))),
                    Recovery::Refuse(why) => return Err(Error::Corrupt(why)),
                    Recovery::Relist => break,
                }
            }
        }
        Err(Error::Retry(format!("manifests listed in {} vanish before they are read", env.objects.describe())))
    }

    /// Takes the store over: publishes generation + 1 with the state of `newest` (or an empty first manifest), before any
    /// upstream is touched. If the old owner publishes in between, its manifest is taken over instead: only the manifest
    /// returned, as published, counts. Epochs go on from [`Generation::start`]. Retries for ever on `Retry`.
    pub async fn take_over(env: &Env, newest: Option<Manifest>) -> Result<(Self, Manifest)> {
        let warn = |why: &str| tracing::warn!(why, "taking over the store: trying again");
        let place = ENDLESS.retry(env, &warn, || env.objects.place()).await?;
        let mut newest = newest;
        for _ in 0..TAKEOVERS {
            let manifest = successor(env, newest, &place);
            let sequence = manifest.sequence;
            match settle(env, sequence, manifest.encode(), &warn).await? {
                Settled::Published => {
                    let Manifest { store, generation, epoch, .. } = manifest;
                    let (env, maker, fenced) = (env.clone(), Maker { store, generation }, OnceLock::new());
                    return Ok((Self { env, maker, place, sequence, epoch, fenced }, manifest));
                }
                Settled::Taken(what) => {
                    tracing::info!(what, "the store moved on while it was taken over: starting from there");
                    newest = ENDLESS.retry(env, &warn, || Self::newest(env, false)).await?;
                }
                Settled::Overtaken(above) => return Err(Error::Fenced(overtaken(sequence, above))),
                Settled::Vanished(gone) => return Err(vanished(env, gone)),
            }
        }
        Err(Error::Fenced("others keep publishing faster than the store can be taken over".into()))
    }

    pub fn generation(&self) -> Generation {
        self.maker.generation
    }

    /// As whom it names its objects.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Where the store is.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Of the last manifest published.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Publishes `manifest` (its sequence, generation, nonce are set here). Retries for ever on `Retry` with back-off, telling
    /// `on_retry` each time; the bytes never change between tries. `Error::Fenced`: stop at once.
    pub async fn publish(
        &mut self,
        manifest: impl Into<Laid>,
        on_retry: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(Manifest, Durable)> {
        self.own()?;
        let mut laid = manifest.into();
        let manifest = &mut laid.manifest;
        assert!(manifest.epoch >= self.epoch, "I7: checkpoint {} after {} was published", manifest.epoch, self.epoch);
        manifest.sequence = self.sequence + 1;
        manifest.generation = self.maker.generation;
        manifest.store = self.maker.store;
        manifest.place = self.place.clone();
        manifest.nonce = self.env.random.next();
        let bytes = laid.encode();
        let manifest = laid.manifest;
        match settle(&self.env, manifest.sequence, bytes, on_retry).await? {
            Settled::Published => {
                self.sequence = manifest.sequence;
                self.epoch = manifest.epoch;
                Ok((manifest, Durable { epoch: self.epoch }))
            }
            Settled::Taken(what) => Err(self.fence(format!("another server owns the store: it published {what}"))),
            Settled::Overtaken(above) => Err(self.fence(overtaken(manifest.sequence, above))),
            Settled::Vanished(gone) => Err(vanished(&self.env, gone)),
        }
    }

    /// An owner with nothing to publish looks for n+1 before each acknowledgement and every few seconds. `Retry`: unknown, so
    /// acknowledge nothing.
    pub async fn confirm(&self) -> Result<Durable> {
        self.own()?;
        match look_above(&self.env, self.sequence, self.sequence).await? {
            Seen::Above(above) => Err(self.fence(overtaken(self.sequence, above))),
            Seen::Vanished(gone) => Err(vanished(&self.env, gone)),
            _ => Ok(Durable { epoch: self.epoch }),
        }
    }

    fn own(&self) -> Result<()> {
        self.fenced.get().map_or(Ok(()), |why| Err(Error::Fenced(why.clone())))
    }

    fn fence(&self, why: String) -> Error {
        Error::Fenced(self.fenced.get_or_init(|| why).clone())
    }
}

/// How an attempt to publish ended.
enum Settled {
    Published,
    Taken(String),
    Overtaken(u64),
    Vanished(u64),
}

async fn settle(env: &Env, sequence: u64, bytes: Bytes, on_retry: &(dyn Fn(&str) + Send + Sync)) -> Result<Settled> {
    let path = Manifest::path(sequence);
    let mut next = Next::Create;
    loop {
        let seen = match next {
            Next::Create => ENDLESS.retry(env, on_retry, || create(env, &path, &bytes)).await?,
            Next::ReadBack => ENDLESS.retry(env, on_retry, || read_back(env, &path, &bytes)).await?,
            Next::LookAbove => ENDLESS.retry(env, on_retry, || look_above(env, sequence, sequence - 1)).await?,
            Next::Published => return Ok(Settled::Published),
            Next::Taken(what) => return Ok(Settled::Taken(what)),
            Next::Overtaken(above) => return Ok(Settled::Overtaken(above)),
            Next::Vanished(gone) => return Ok(Settled::Vanished(gone)),
        };
        if seen == Seen::Absent {
            // Somebody's create came to nothing: give theirs or ours the time.
            env.clock.sleep(WAIT).await;
        }
        next = decide(seen);
    }
}

async fn create(env: &Env, path: &str, bytes: &Bytes) -> Result<Seen> {
    Ok(match env.objects.create(path, bytes.clone()).await? {
        Created::Yes => Seen::Created,
        Created::Exists => Seen::Exists,
    })
}

async fn read_back(env: &Env, path: &str, ours: &Bytes) -> Result<Seen> {
    Ok(match env.objects.get(path).await? {
        None => Seen::Absent,
        Some(found) if found == ours => Seen::Ours,
        Some(found) => Seen::Theirs(match Root::decode(path, &found) {
            Ok(root) => format!("{path} as generation {}", root.generation()),
            Err(e) => format!("{path}, which cannot be read here: {e}"),
        }),
    })
}

/// From manifest `first` on, which is there unless somebody went on above `sequence`; 0: none was there before.
async fn look_above(env: &Env, sequence: u64, first: u64) -> Result<Seen> {
    let listed = sequences(env, first.checked_sub(1)).await?;
    if let Some(above) = listed.iter().find(|listed| **listed > sequence) {
        return Ok(Seen::Above(*above));
    }
    match (first.max(1)..=sequence).find(|expected| !listed.contains(expected)) {
        // Asked once more by name: a listing alone is no proof.
        Some(missing) if env.objects.get(&Manifest::path(missing)).await?.is_none() => Ok(Seen::Vanished(missing)),
        _ => Ok(Seen::NothingAbove),
    }
}

/// Why a store without a manifest is none all the same.
async fn headless(env: &Env) -> Result<Option<String>> {
    let listed = env.objects.list(run::FOLDER, None).await?;
    let ours: Vec<&String> = listed.iter().map(|(path, _)| path).filter(|path| run::maker(path).is_some()).collect();
    let first = ours.first().map(|first| {
        format!(
            "the store {} holds data ({} objects, the first of them {first}) and no manifest that says what it is: the manifests \
             were removed, or a copy has yet to bring them. Nothing of it is touched. Put back its folder {FOLDER}, after all \
             of {}, or choose an empty place for a new store",
            env.objects.describe(),
            ours.len(),
            run::FOLDER
        )
    });
    Ok(first)
}

/// The manifests there are, ascending. What else lies in their folder is not ours.
async fn sequences(env: &Env, above: Option<u64>) -> Result<Vec<u64>> {
    let above = above.map(Manifest::path);
    let listed = env.objects.list(FOLDER, above.as_deref()).await?;
    Ok(listed.iter().filter_map(|(path, _)| Manifest::sequence_of(path)).collect())
}

async fn examine(env: &Env, sequence: u64) -> Result<(Health, Option<Manifest>)> {
    match Manifest::read(env, sequence, &mut Cache::default()).await {
        Ok(None) => Ok((Health::Gone, None)),
        Ok(Some(manifest)) => Ok((Health::Readable, Some(manifest))),
        Err(Error::Corrupt(why)) => {
            tracing::error!(why, "cannot read a manifest");
            Ok((Health::Unreadable(why), None))
        }
        Err(e) => Err(e),
    }
}

/// Each skipped manifest may have been a takeover, so its generation, and epochs of it, may have been used.
fn stand_in(manifest: Manifest, listed: &[u64], skipped: u32) -> Manifest {
    if skipped == 0 {
        return manifest;
    }
    let sequence = listed.last().copied().unwrap_or(manifest.sequence);
    tracing::error!(used = manifest.sequence, lost = skipped, "going on from an older manifest: data may be lost");
    Manifest { sequence, generation: Generation(manifest.generation.0 + skipped), ..manifest }
}

fn successor(env: &Env, newest: Option<Manifest>, place: &str) -> Manifest {
    // Zero is taken.
    let born = || Manifest { store: StoreId(env.random.next().max(1)), ..Manifest::default() };
    let newest = newest.unwrap_or_else(born);
    Manifest {
        place: place.into(),
        sequence: newest.sequence + 1,
        generation: newest.generation.next(),
        nonce: env.random.next(),
        committed_at: env.clock.now(),
        uploaded_bytes: 0,
        duration_us: 0,
        ..newest
    }
}

fn vanished(env: &Env, gone: u64) -> Error {
    Error::Lost(format!(
        "manifest {gone} of the store {} has disappeared while it was used, and with it maybe more: the store was removed or \
         replaced. Nothing more is acknowledged; put it back and start again",
        env.objects.describe()
    ))
}

fn overtaken(sequence: u64, above: u64) -> String {
    format!("another server owns the store: it published manifest {above}, this one had come to {sequence}")
}
