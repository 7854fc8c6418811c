//! Keys in order. New ones are put in order when somebody asks: what comes by the million, as when state is read back, is sorted once and
//! built as a whole, not key by key.

use std::collections::BTreeSet;
use std::ops::Bound;

/// Keys of so many bytes that are equal up to there are compared byte by byte: more words cost more than they save.
const WORDS: usize = 64;
/// Of so few keys a word is not worth being taken.
const FEW: usize = 16;
/// What a key takes beside its bytes, about.
const BESIDE: usize = 32;

#[derive(Default)]
pub(super) struct Sorted {
    keys: BTreeSet<Box<[u8]>>,
    /// Not in `keys`, and each once.
    fresh: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Sorted {
    /// A key that is not there.
    pub fn insert(&mut self, key: &[u8]) {
        self.bytes += key.len() + BESIDE;
        self.fresh.push(key.into());
    }

    /// A key that is there.
    pub fn remove(&mut self, key: &[u8]) {
        self.settle();
        self.bytes -= key.len() + BESIDE;
        assert!(self.keys.remove(key), "a key that goes is there");
    }

    /// Keys that are not in their place yet.
    pub fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Puts what is new in its place. O(new keys) of the usual kind of work, or O(all keys) of a far cheaper one where many are new.
    pub fn settle(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return;
        }
        if fresh.len() < self.keys.len() / 4 {
            self.keys.extend(fresh);
            return;
        }
        sort(&mut fresh);
        let mut fresh: BTreeSet<_> = fresh.into_iter().collect();
        self.keys.append(&mut fresh);
    }

    /// Those in a range, in order. Of what has been settled (asserted).
    pub fn range(&self, from: &[u8], end: Bound<&[u8]>) -> impl DoubleEndedIterator<Item = &[u8]> {
        assert!(self.fresh.is_empty(), "keys are put in order before they are read in order");
        self.keys.range::<[u8], _>((Bound::Included(from), end)).map(AsRef::as_ref)
    }

    /// Memory held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Compares eight bytes at a time, which stand beside each key: most comparisons look at no key.
fn sort(keys: &mut Vec<Box<[u8]>>) {
    let mut words: Vec<(u64, Box<[u8]>)> = std::mem::take(keys).into_iter().map(|key| (0, key)).collect();
    by_words(&mut words, 0);
    keys.extend(words.into_iter().map(|(_, key)| key));
}

/// Keys that are equal up to `from`.
fn by_words(keys: &mut [(u64, Box<[u8]>)], from: usize) {
    if keys.len() <= FEW || from >= WORDS {
        keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        return;
    }
    keys.iter_mut().for_each(|(word, key)| *word = word_at(key, from));
    keys.sort_unstable_by_key(|key| key.0);
    keys.chunk_by_mut(|a, b| a.0 == b.0).filter(|same| same.len() > 1).for_each(|same| by_words(same, from + 8));
}

/// Zeros stand for what is beyond the end: the whole keys tell those apart.
fn word_at(key: &[u8], from: usize) -> u64 {
    let rest = key.get(from..).unwrap_or_default();
    let mut word = [0; 8];
    let len = rest.len().min(8);
    word[..len].copy_from_slice(&rest[..len]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Few different bytes, zeros and long equal beginnings among them.
    fn key(random: &mut SmallRng) -> Box<[u8]> {
        let same = *[0, 3, 8, 15, 70].get(random.random_range(0..5)).expect("one of five");
        let len = random.random_range(0..12);
        std::iter::repeat_n(7, same).chain((0..len).map(|_| random.random_range(0..3))).collect()
    }

    #[test]
    fn keys_are_in_order_however_they_come() {
        for seed in 0..200 {
            let mut random = SmallRng::seed_from_u64(seed);
            let (mut sorted, mut model) = (Sorted::default(), BTreeSet::new());
            for _ in 0..random.random_range(1..8) {
                for _ in 0..random.random_range(0..300) {
                    let key = key(&mut random);
                    if model.insert(key.clone()) {
                        sorted.insert(&key);
                    }
                }
                if random.random_bool(0.5) {
                    sorted.settle();
                }
                let gone: Vec<_> = model.iter().filter(|_| random.random_bool(0.1)).cloned().collect();
                for key in gone {
                    model.remove(&key);
                    sorted.remove(&key);
                }
            }
            sorted.settle();
            let (from, end) = (key(&mut random), key(&mut random));
            let end = if from <= end { Bound::Excluded(end.as_ref()) } else { Bound::Unbounded };
            let expected: Vec<&[u8]> =
                model.range::<[u8], _>((Bound::Included(from.as_ref()), end)).map(AsRef::as_ref).collect();
            assert_eq!(sorted.range(&from, end).collect::<Vec<_>>(), expected, "seed {seed}");
            let bytes = model.iter().map(|key| key.len() + BESIDE).sum::<usize>();
            assert_eq!(sorted.bytes(), bytes, "seed {seed}");
        }
    }
}
