//! Making a manifest real, and knowing who owns the store (I6, I7, I9).
//!
//! The decisions are pure ([`decide`] and the table of cases of recovery); [`Publisher`] is the driver.
//! Put-if-absent manifest n+1 -> on any answer but success read the key back (our nonce: published; a higher generation:
//! fenced; absent: retry the same bytes) -> list above n+1: anything there means fenced -> only then a [`Durable`] exists.

use crate::env::Env;
use crate::epoch::{Epoch, Generation};
use crate::error::Result;
use crate::manifest::Manifest;

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
    // private: env, last manifest's sequence, generation
}

impl Publisher {
    /// Reads the newest manifest; `None` is an empty store. Newest is the highest-numbered: damaged or newer than this binary
    /// is refused by name. `accept_data_loss` allows the newest readable one below it, loudly.
    pub async fn newest(env: &Env, accept_data_loss: bool) -> Result<Option<Manifest>> {
        let _ = (env, accept_data_loss);
        todo!()
    }

    /// Takes the store over: publishes generation + 1 with the state of `newest` (or an empty first manifest), before any
    /// upstream is touched. Returns the publisher and the manifest as published.
    pub async fn take_over(env: &Env, newest: Option<Manifest>) -> Result<(Self, Manifest)> {
        let _ = (env, newest);
        todo!()
    }

    pub fn generation(&self) -> Generation {
        todo!()
    }

    /// Publishes `manifest` (its sequence, generation, nonce are set here). Retries for ever on `Retry` with back-off, telling
    /// `on_retry` each time; the bytes never change between tries. `Error::Fenced`: stop at once.
    pub async fn publish(
        &mut self,
        manifest: Manifest,
        on_retry: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(Manifest, Durable)> {
        let _ = (manifest, on_retry);
        todo!()
    }

    /// An owner with nothing to publish looks for n+1 before each acknowledgement and every few seconds.
    pub async fn confirm(&self) -> Result<Durable> {
        todo!()
    }
}
