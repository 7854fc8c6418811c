//! A hash index that grows in small steps: a large one is many tables, each of which grows by itself, so that no row that comes has to
//! wait until all others have moved.

use hashbrown::HashTable;

/// Entries of an index that is still one table, at most.
const SMALL: usize = 1 << 16;

/// Tables of a large index.
const TABLES: usize = 256;

pub(super) trait Hashed {
    fn hash(&self) -> u64;
}

pub(super) struct Index<T> {
    /// One, or [`TABLES`].
    tables: Vec<HashTable<T>>,
}

impl<T: Hashed> Index<T> {
    pub fn new() -> Self {
        Self { tables: vec![HashTable::new()] }
    }

    /// Where entries with this hash are.
    #[inline]
    pub fn of(&self, hash: u64) -> &HashTable<T> {
        &self.tables[place(hash, self.tables.len())]
    }

    /// Where entries with this hash are, or go.
    #[inline]
    pub fn of_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        if self.tables.len() == 1 && self.tables[0].len() >= SMALL {
            self.split();
        }
        let place = place(hash, self.tables.len());
        &mut self.tables[place]
    }

    fn split(&mut self) {
        let room = 2 * SMALL / TABLES;
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

    /// Gives back memory if it is far too much.
    pub fn shrink(&mut self) {
        let capacity: usize = self.tables.iter().map(HashTable::capacity).sum();
        let len: usize = self.tables.iter().map(HashTable::len).sum();
        if !vast(capacity, len) {
            return;
        }
        if self.tables.len() > 1 && len < SMALL / 2 {
            let mut small = HashTable::with_capacity(2 * len);
            for entry in std::mem::take(&mut self.tables).into_iter().flatten() {
                small.insert_unique(entry.hash(), entry, T::hash);
            }
            self.tables = vec![small];
        }
        self.tables.iter_mut().for_each(|table| table.shrink_to(2 * table.len(), T::hash));
    }
}

/// By bits that neither a table nor the choice of a worker goes by.
#[inline]
fn place(hash: u64, tables: usize) -> usize {
    (hash >> 40) as usize % tables
}

/// Whether room for `capacity` entries is not worth its memory for `len`.
pub(super) fn vast(capacity: usize, len: usize) -> bool {
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

    #[test]
    fn entries_are_found_while_it_is_small_and_when_it_is_large() {
        let mut index = Index::new();
        for number in 0..3 * SMALL as u64 {
            insert(&mut index, number);
            assert!(find(&index, number) && find(&index, number / 2) && !find(&index, number + 1));
        }
        assert_eq!(index.tables.len(), TABLES);
        let largest = index.tables.iter().map(HashTable::len).max().unwrap();
        assert!(largest < 2 * 3 * SMALL / TABLES, "{largest} of {SMALL} entries in one table");
    }

    #[test]
    fn memory_is_given_back() {
        let mut index = Index::new();
        for number in 0..2 * SMALL as u64 {
            insert(&mut index, number);
        }
        let before = index.bytes();
        for number in 0..2 * SMALL as u64 {
            let hash = Number(number).hash();
            index.of_mut(hash).find_entry(hash, |other| other.0 == number).expect("it is there").remove();
        }
        index.shrink();
        assert!(index.bytes() < before / 100, "{} of {before} bytes are left", index.bytes());
        assert_eq!(index.tables.len(), 1);
    }
}
