//! Epochs: the one clock (ARCHITECTURE.md, *One clock*).
//!
//! An epoch is 24 bits of generation and 40 bits of counter, so that a number never names two contents, also after a
//! crash: a new owner of the store starts a new generation and with it a higher range of epochs.

use serde::{Deserialize, Serialize};
use std::fmt;

const COUNTER_BITS: u32 = 40;

/// Which process owns the store. Raised by one at every takeover; at most 24 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

impl Generation {
    pub fn next(self) -> Self {
        assert!(self.0 < (1 << 24) - 1, "generation {self} is the last one that fits in an epoch");
        Self(self.0 + 1)
    }

    /// The epoch before the first one of this generation.
    pub fn start(self) -> Epoch {
        Epoch(u64::from(self.0) << COUNTER_BITS)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in the one global order. [`Epoch::ZERO`] is "before any data", [`Epoch::NEVER`] is after all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(u64);

impl Epoch {
    pub const ZERO: Epoch = Epoch(0);
    pub const NEVER: Epoch = Epoch(u64::MAX);

    /// For what crosses a boundary: timely timestamps, files, system tables.
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    pub fn generation(self) -> Generation {
        Generation((self.0 >> COUNTER_BITS) as u32)
    }

    pub fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    pub fn next(self) -> Self {
        assert!(self.counter() < (1 << COUNTER_BITS) - 1, "epoch {self} is the last of its generation");
        Self(self.0 + 1)
    }
}

/// `generation.counter`, as in logs and `weir inspect`.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Epoch::NEVER => f.write_str("never"),
            _ => write!(f, "{}.{}", self.generation(), self.counter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_generation_is_after_every_epoch_of_an_earlier_one() {
        let mut late = Generation(1).start();
        for _ in 0..1000 {
            late = late.next();
        }
        assert!(Generation(2).start() > late);
        assert_eq!(late.generation(), Generation(1));
        assert_eq!(late.to_string(), "1.1000");
    }
}
