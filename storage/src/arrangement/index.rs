//! A hash index that grows in small steps: a large one is many tables, each of which grows by itself, so that no row that comes has to
//! wait until all others have moved.

use hashbrown::HashTable;
use std::sync::LazyLock;

/// Tables of a large index.
const TABLES: usize = 256;

/// Shares of the hashes, and the bit of a hash from which on they are told apart.
const SHARES: usize = 4096;
const SHARED_BY: u32 = 40;

/// The table of each share. Ever more go to the later ones, so that the last has twice as many entries as the first: tables of one size
/// would all grow at the same time.
static TABLE_OF: LazyLock<[u8; SHARES]> =
    LazyLock::new(|| std::array::from_fn(|share| ((1.0 + share as f64 / SHARES as f64).log2() * TABLES as f64) as u8));

/// Entries that move at once when memory is given back.
const MOVED: usize = 8192;

pub(super) trait Hashed {
    fn hash(&self) -> u64;
}

pub(super) struct Index<T> {
    /// One, or [`TABLES`].
    tables: Vec<HashTable<T>>,
    /// Entries of one that is all, at most.
    small: usize,
}

impl<T: Hashed> Index<T> {
    /// `small`: entries up to which it is one table.
    pub fn new(small: usize) -> Self {
        Self { tables: vec![HashTable::new()], small }
    }

    /// Where entries with this hash are.
    #[inline]
    pub fn of(&self, hash: u64) -> &HashTable<T> {
        &self.tables[place(hash, self.tables.len())]
    }

    /// Where entries with this hash are, or go.
    #[inline]
    pub fn of_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        if self.tables.len() == 1 && self.tables[0].len() >= self.small {
            self.split();
        }
        let place = place(hash, self.tables.len());
        &mut self.tables[place]
    }

    fn split(&mut self) {
        let room = 2 * self.small / TABLES;
        let small = std::mem::replace(&mut self.tables, (0..TABLES).map(|_| HashTable::with_capacity(room)).collect());
        for entry in small.into_iter().flatten() {
            let hash = entry.hash();
            self.tables[place(hash, TABLES)].insert_unique(hash, entry, T::hash);
        }
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(HashTable::allocation_size).sum()
    }

    /// Gives back some memory if there is far too much. Whether there is more of it.
    pub fn shrink(&mut self) -> bool {
        if self.tables.len() > 1 {
            let len: usize = self.tables.iter().map(HashTable::len).sum();
            if len < (self.small / 2).max(1) {
                let mut small = HashTable::with_capacity(2 * len);
                for entry in std::mem::take(&mut self.tables).into_iter().flatten() {
                    small.insert_unique(entry.hash(), entry, T::hash);
                }
                self.tables = vec![small];
            }
        }
        let mut moved = 0;
        for table in self.tables.iter_mut().filter(|table| vast(table.capacity(), table.len())) {
            if moved > MOVED {
                return true;
            }
            moved += table.len();
            table.shrink_to(2 * table.len(), T::hash);
        }
        false
    }
}

/// By bits that neither a table nor the choice of a worker goes by.
#[inline]
fn place(hash: u64, tables: usize) -> usize {
    if tables == 1 { 0 } else { TABLE_OF[(hash >> SHARED_BY) as usize % SHARES] as usize }
}

/// `hashes`, each with its number, from table to table: who comes so finds in the caches what the one before has left there.
pub(super) fn sorted(hashes: impl Iterator<Item = u64>) -> Vec<(u64, u32)> {
    let mut sorted: Vec<(u64, u32)> = hashes.zip(0..).collect();
    sorted.sort_unstable_by_key(|(hash, _)| hash.rotate_right(SHARED_BY + SHARES.trailing_zeros()));
    sorted
}

/// Whether room for `capacity` entries is not worth its memory for `len`.
fn vast(capacity: usize, len: usize) -> bool {
    capacity > 8 * len + 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Number(u64);

    impl Hashed for Number {
        fn hash(&self) -> u64 {
            self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        }
    }

    fn insert(index: &mut Index<Number>, number: u64) {
        let hash = Number(number).hash();
        index.of_mut(hash).insert_unique(hash, Number(number), Number::hash);
    }

    fn find(index: &Index<Number>, number: u64) -> bool {
        index.of(Number(number).hash()).find(Number(number).hash(), |other| other.0 == number).is_some()
    }

    const SMALL: usize = 1 << 16;

    #[test]
    fn entries_are_found_while_it_is_small_and_when_it_is_large() {
        let mut index = Index::new(SMALL);
        for number in 0..3 * SMALL as u64 {
            insert(&mut index, number);
            assert!(find(&index, number) && find(&index, number / 2) && !find(&index, number + 1));
        }
        assert_eq!(index.tables.len(), TABLES);
        let sizes: Vec<usize> = index.tables.iter().map(HashTable::len).collect();
        let (smallest, largest) = (sizes[0], sizes[TABLES - 1]);
        assert!(
            (18..=22).contains(&(10 * largest / smallest)),
            "the last has twice the first's: {smallest}, {largest}"
        );
        assert!(*sizes.iter().max().unwrap() < 2 * 3 * SMALL / TABLES, "{sizes:?}");
    }

    #[test]
    fn it_is_large_and_small_again_at_any_number_of_entries() {
        for small in 1..4 {
            let mut index = Index::new(small);
            for number in 0..100 {
                insert(&mut index, number);
            }
            assert!((0..100).all(|number| find(&index, number)) && index.tables.len() == TABLES);
            for number in 0..100 {
                let hash = Number(number).hash();
                index.of_mut(hash).find_entry(hash, |other| other.0 == number).expect("it is there").remove();
                assert!(!index.shrink() && (number + 1..100).all(|number| find(&index, number)));
            }
            assert_eq!(index.tables.len(), 1);
        }
    }

    #[test]
    fn memory_is_given_back() {
        let mut index = Index::new(SMALL);
        for number in 0..2 * SMALL as u64 {
            insert(&mut index, number);
        }
        let before = index.bytes();
        for number in 0..2 * SMALL as u64 {
            let hash = Number(number).hash();
            index.of_mut(hash).find_entry(hash, |other| other.0 == number).expect("it is there").remove();
        }
        while index.shrink() {}
        assert!(index.bytes() < before / 100, "{} of {before} bytes are left", index.bytes());
        assert_eq!(index.tables.len(), 1);
    }
}
