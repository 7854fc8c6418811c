//! Every kind against its definition: a list of (epoch, row, weight), added up from scratch for each read.

use super::*;
use crate::key::Keys;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

/// Each one small or as in the product.
fn any_limits(rng: &mut SmallRng) -> Limits {
    let usual = usual();
    let mut any = |usual| *[1, 2, 3, usual].choose(rng).unwrap();
    Limits {
        chunk_rows: any(usual.chunk_rows),
        chunk_bytes: any(usual.chunk_bytes),
        merged_chunk_rows: any(usual.merged_chunk_rows),
        sorted_rows: any(usual.sorted_rows),
        probed_keys: any(usual.probed_keys),
        index_entries: any(usual.index_entries),
        closed_entries: any(usual.closed_entries),
        reclaimed_rows: any(usual.reclaimed_rows),
        unlinked_rows: any(usual.unlinked_rows),
        ..usual
    }
}

/// An arrangement, its definition, and snapshots held open meanwhile.
struct Case {
    rng: SmallRng,
    kind: Kind,
    arrangement: Arrangement,
    /// Contents after each applied epoch; the first is empty.
    history: Vec<(Epoch, Rows)>,
    held: Vec<Snapshot>,
    keys: i64,
    /// Rows of a part of an epoch, at most.
    most: usize,
}

impl Case {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let keys = *[1, 5, 300, 20_000].choose(&mut rng).unwrap();
        let (limits, most) = match rng.random_range(0..4) {
            0 => (Limits::each(rng.random_range(1..4)), 100),
            1 => (any_limits(&mut rng), 300),
            _ => (usual(), usize::MAX),
        };
        let (arrangement, history) = (within(limits, kind), vec![(Epoch::ZERO, Rows::new())]);
        Self { rng, kind, arrangement, history, held: vec![], keys, most }
    }

    fn at(&self, epoch: Epoch) -> &Rows {
        let after = self.history.partition_point(|(e, _)| *e <= epoch);
        &self.history[after - 1].1
    }

    fn any_row(&mut self) -> Row {
        let k = self.rng.random_range(0..self.keys);
        let text = ["", "a", "a\0", "ab", "\u{ff}"].choose(&mut self.rng).unwrap();
        ((k % 7 != 3).then_some(k), text.to_string(), self.rng.random_range(0..4))
    }

    fn any_epoch(&mut self) -> Epoch {
        let (since, upper) = (self.arrangement.since().as_u64(), self.arrangement.upper().as_u64());
        e(self.rng.random_range(since..=upper))
    }

    /// One epoch in one to three parts.
    fn write(&mut self) {
        let last = self.history.last().unwrap().0.max(self.arrangement.upper());
        let epoch = e(last.as_u64() + self.rng.random_range(1..3));
        let mut now = self.history.last().unwrap().1.clone();
        for _ in 0..self.rng.random_range(1..4) {
            let size = *[1, 1, 1, 1, 1, 1, 2, 2, 5, 5, 5, 100, 100, 100, 2000, 9000].choose(&mut self.rng).unwrap();
            let size = size.min(self.most);
            if self.rng.random_bool(0.2) {
                self.grow(&mut now, epoch, size);
                continue;
            }
            let changes = self.part(&mut now, size);
            self.arrangement.apply(epoch, &delta(&changes)).unwrap();
        }
        self.arrangement.advance(e(epoch.as_u64() + self.rng.random_range(0..2)));
        self.history.push((epoch, now));
    }

    /// Nothing but rows that come, most of them new, in several deltas.
    fn grow(&mut self, now: &mut Rows, epoch: Epoch, size: usize) {
        let mut changes = vec![];
        let each = if self.kind == Kind::Keyed { 1 } else { 6 };
        for n in 0..size as i64 {
            let row = match self.rng.random_bool(0.001) {
                true => self.any_row(),
                // Keys with three rows, where they may have them.
                false => (Some(epoch.as_u64() as i64 * 100_000 + (now.len() as i64 + n) / each), "new".into(), n),
            };
            let (from, to) = ((row.0, row.1.clone(), i64::MIN), (row.0, row.1.clone(), i64::MAX));
            if self.kind == Kind::Keyed && now.range(from..=to).next().is_some() {
                continue;
            }
            add(now, row.clone(), 1);
            changes.push((row, 1));
        }
        let deltas: Vec<Delta> = changes.chunks(1 + size / 3).map(delta).collect();
        let prepared = self.arrangement.prepare(&deltas).unwrap();
        self.arrangement.apply_prepared(epoch, &prepared).unwrap();
    }

    fn part(&mut self, now: &mut Rows, size: usize) -> Vec<(Row, i64)> {
        let mut changes = vec![];
        let stored: Vec<(Row, i64)> = now.iter().map(|(row, weight)| (row.clone(), *weight)).collect();
        let mut taken = BTreeSet::new();
        for _ in 0..size {
            let retract = self.kind != Kind::Log && self.rng.random_bool(0.45);
            let (row, weight) = match stored.choose(&mut self.rng) {
                Some((row, weight)) if retract => (row.clone(), -self.rng.random_range(1..=*weight)),
                _ => (self.any_row(), if self.kind == Kind::Keyed { 1 } else { self.rng.random_range(1..3) }),
            };
            let key = (row.0, row.1.clone());
            if self.kind != Kind::Keyed {
                // Unconsolidated on purpose; only the sum must not go below zero.
                if now.get(&row).copied().unwrap_or(0) + weight < 0 {
                    continue;
                }
            } else if !taken.insert(key.clone()) {
                continue;
            } else if weight > 0
                && let Some(old) = now.range((key.0, key.1.clone(), i64::MIN)..=(key.0, key.1, i64::MAX)).next()
            {
                let old = old.0.clone();
                add(now, old.clone(), -1);
                changes.push((old, -1));
            }
            add(now, row.clone(), weight);
            changes.push((row, weight));
        }
        changes
    }

    fn check(&mut self) {
        let as_of = self.any_epoch();
        let snapshot = self.arrangement.snapshot(as_of).unwrap();
        self.check_reads(&snapshot);
        if self.held.len() < 4 {
            self.held.push(snapshot);
        }
        let (after, to) = (self.any_epoch(), self.any_epoch());
        let (after, to) = (after.min(to), after.max(to));
        let mut found = sum(&self.arrangement.changes(after, to).unwrap());
        self.at(after).iter().for_each(|(row, weight)| add(&mut found, row.clone(), *weight));
        assert!(found == *self.at(to), "changes after {after} up to {to}");
        let latest = self.arrangement.latest();
        self.check_reads(&latest);
        let stats = self.arrangement.stats();
        assert_eq!(stats.rows, self.at(self.arrangement.upper()).values().sum::<i64>());
    }

    fn check_reads(&mut self, snapshot: &Snapshot) {
        let expected = self.at(snapshot.as_of()).clone();
        let scanned: Vec<Delta> = snapshot.scan(None).collect::<Result<_>>().unwrap();
        assert!(sum(&scanned) == expected, "scan as of {}", snapshot.as_of());
        let values: usize = snapshot.scan(Some(&[2])).map(|d| d.unwrap().rows().column(0).len()).sum();
        assert_eq!(values, scanned.iter().map(Delta::len).sum::<usize>());
        if self.kind == Kind::Log {
            return;
        }
        let wanted: Vec<Row> = (0..self.rng.random_range(0..300)).map(|_| self.any_row()).collect();
        let keys = Keys::of(&batch(&wanted), &[0, 1]).unwrap();
        let limit = self.rng.random_range(1..200);
        let (mut from, mut found) = (Some(0), vec![Rows::new(); wanted.len()]);
        while let Some(start) = from {
            let (matches, next) = snapshot.probe(&keys, start, limit);
            let gathered = rows(&snapshot.gather(&matches, None).unwrap());
            for ((row, &probe), &weight) in gathered.into_iter().zip(&matches.probes).zip(&matches.weights) {
                assert!(probe as usize >= start && next.is_none_or(|next| (probe as usize) < next));
                add(&mut found[probe as usize], row, weight);
            }
            from = next;
        }
        let contains = snapshot.contains(&keys);
        for ((key, found), contains) in wanted.iter().zip(found).zip(contains) {
            let (low, high) = ((key.0, key.1.clone(), i64::MIN), (key.0, key.1.clone(), i64::MAX));
            let of_key: Rows = expected.range(low..=high).map(|(row, weight)| (row.clone(), *weight)).collect();
            assert_eq!(found, of_key, "probe of {key:?} as of {}", snapshot.as_of());
            assert_eq!(contains, !of_key.is_empty());
        }
        if self.kind == Kind::Ordered {
            self.check_ranges(snapshot, &wanted, &expected);
        }
    }

    fn check_ranges(&mut self, snapshot: &Snapshot, wanted: &[Row], expected: &Rows) {
        let prefixes = Keys::of(&batch(wanted), &[0]).unwrap();
        let mut texts: BTreeMap<Option<i64>, BTreeSet<&String>> = BTreeMap::new();
        for row in expected.keys() {
            texts.entry(row.0).or_default().insert(&row.1);
        }
        for descending in [false, true] {
            let matches = snapshot.range(&prefixes, descending);
            let gathered = rows(&snapshot.gather(&matches, None).unwrap());
            let mut found = matches.probes.iter().zip(gathered).peekable();
            for (i, key) in wanted.iter().enumerate() {
                let texts = texts.get(&key.0);
                let wanted = texts.and_then(|texts| if descending { texts.last() } else { texts.first() });
                let got = found.next_if(|(probe, _)| **probe == i as u32).map(|(_, row)| row);
                assert_eq!(got.as_ref().map(|row| (row.0, &row.1)), wanted.map(|text| (key.0, *text)));
                assert!(got.is_none_or(|row| expected.contains_key(&row)));
            }
            assert!(found.next().is_none());
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..10) {
            0..6 => self.write(),
            6 => {
                let since = self.any_epoch();
                self.arrangement.compact(since);
                if self.rng.random() {
                    self.arrangement.reclaim();
                }
                let pinned = self.held.iter().map(Snapshot::as_of).min();
                assert!(pinned.is_none_or(|pinned| self.arrangement.since() <= pinned), "a pin holds history");
            }
            7 if !self.held.is_empty() => {
                let i = self.rng.random_range(0..self.held.len());
                let snapshot = self.held.swap_remove(i);
                self.check_reads(&snapshot);
            }
            _ => self.check(),
        }
    }
}

fn run(kind: Kind, seeds: u64) {
    for seed in 0..seeds {
        println!("{kind:?} seed {seed}");
        let mut case = Case::new(kind, seed);
        (0..40).for_each(|_| case.step());
        case.held.clear();
        settle(&case.arrangement);
        case.check();
        assert_eq!(case.arrangement.since(), case.arrangement.upper());
    }
}

#[test]
fn a_log_equals_its_definition() {
    run(Kind::Log, 10);
}

#[test]
fn a_keyed_arrangement_equals_its_definition() {
    run(Kind::Keyed, 25);
}

#[test]
fn a_bag_equals_its_definition() {
    run(Kind::Bag, 25);
}

#[test]
fn an_ordered_arrangement_equals_its_definition() {
    run(Kind::Ordered, 25);
}
