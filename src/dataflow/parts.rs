//! Parts: a large epoch is cut, by key as far as that helps, so that no piece of work on it is long, and an operator takes it part by
//! part.

use super::placement::Placement;
use super::world::Most;
use std::collections::VecDeque;
use std::rc::Rc;
use weir_sql::Result;
use weir_storage::Delta;
use weir_storage::delta::{consolidate, rows_within, widest_row};
use weir_storage::key::Keys;

/// Rows that are cut at once, at most as many as two parts may have.
const CUT: usize = 8192;

/// Pieces into which one cut makes a part, at most.
const PIECES: usize = 32;

/// Cuts by key, after which a part that is still too large has keys with very many rows.
const BY_KEY: u32 = 2;

/// Cuts in all: then no bits of a hash are left.
const CUTS: u32 = 8;

/// What an epoch has for each of some inputs, handed out in consolidated parts. All changes of a key are in one of them, if there are
/// not too many; all changes of a row always are.
pub struct Parts {
    /// By what each input is cut.
    placements: Rc<[Placement]>,
    /// No key is ever in two parts.
    whole: bool,
    /// A part with more is cut.
    most: Most,
    parts: VecDeque<Part>,
    cutting: Option<Cutting>,
}

struct Part {
    /// Deltas, by input.
    inputs: Vec<Vec<Delta>>,
    /// By how many cuts it was made.
    cuts: u32,
}

struct Cutting {
    /// With their input.
    uncut: VecDeque<(usize, Delta)>,
    pieces: Vec<Part>,
}

pub enum Next {
    /// By input, made of so many rows.
    Part(Vec<Vec<Delta>>, usize),
    /// Some work is done, and there is more.
    More,
    Done,
}

impl Parts {
    /// `placements`: by what rows of each input come to a worker.
    pub fn new(inputs: Vec<Vec<Delta>>, placements: Rc<[Placement]>, most: Most) -> Self {
        Self { placements, whole: false, most, parts: [Part { inputs, cuts: 0 }].into(), cutting: None }
    }

    /// The same for somebody who needs all changes of a key together, however many they are.
    pub fn of_keys(inputs: Vec<Vec<Delta>>, placements: Rc<[Placement]>, most: Most) -> Self {
        // Rows of the one empty key are never cut.
        let cuts = if placements.contains(&Placement::Key(vec![])) { CUTS } else { 0 };
        Self { placements, whole: true, most, parts: [Part { inputs, cuts }].into(), cutting: None }
    }

    /// The next part, or some work on the way to it.
    pub fn next(&mut self) -> Result<Next> {
        if let Some(cutting) = &mut self.cutting {
            match next_uncut(&mut cutting.uncut, self.most)? {
                Some((input, delta)) => {
                    let by_key = self.whole || cutting.pieces[0].cuts <= BY_KEY;
                    let by = if by_key { &self.placements[input] } else { &Placement::Stay };
                    cut(by, input, &delta, &mut cutting.pieces)?;
                }
                None => {
                    let pieces = std::mem::take(&mut cutting.pieces).into_iter().rev();
                    pieces.filter(|piece| count(&piece.inputs) > 0).for_each(|piece| self.parts.push_front(piece));
                    self.cutting = None;
                }
            }
            return Ok(Next::More);
        }
        let Some(Part { inputs, cuts }) = self.parts.pop_front() else { return Ok(Next::Done) };
        let (rows, bytes) = (count(&inputs), inputs.iter().flatten().map(Delta::bytes).sum::<usize>());
        let is_small = rows <= self.most.rows && bytes <= self.most.bytes;
        if is_small || rows <= 1 || cuts == CUTS {
            let whole = |deltas| consolidate(deltas, self.most.bytes).map_err(super::internal);
            return Ok(Next::Part(inputs.into_iter().map(whole).collect::<Result<_>>()?, rows));
        }
        let piece = || Part { inputs: vec![vec![]; inputs.len()], cuts: cuts + 1 };
        let halves = (2 * rows).div_ceil(self.most.rows).max(bytes.saturating_mul(2).div_ceil(self.most.bytes));
        let pieces = (0..halves.clamp(2, PIECES)).map(|_| piece()).collect();
        let uncut = inputs.into_iter().enumerate();
        let uncut = uncut.flat_map(|(input, deltas)| deltas.into_iter().map(move |delta| (input, delta))).collect();
        self.cutting = Some(Cutting { uncut, pieces });
        Ok(Next::More)
    }
}

/// Some rows that are not cut yet, of at most as many bytes as a part.
fn next_uncut(uncut: &mut VecDeque<(usize, Delta)>, most: Most) -> Result<Option<(usize, Delta)>> {
    let Some((input, first)) = uncut.pop_front() else { return Ok(None) };
    let (mut bytes, all) = (first.bytes(), CUT.min(most.rows.saturating_mul(2)));
    let cut = if bytes > most.bytes { all.min(rows_within(most.bytes, widest_row(first.rows()))) } else { all };
    if first.len() > cut {
        uncut.push_front((input, first.slice(cut, first.len() - cut)));
        return Ok(Some((input, first.slice(0, cut))));
    }
    let (mut rows, mut some) = (first.len(), vec![first]);
    let mut fits = |(other, next): &mut (usize, Delta)| {
        (rows, bytes) = (rows + next.len(), bytes + next.bytes());
        *other == input && rows <= all && bytes <= most.bytes
    };
    while let Some((_, next)) = uncut.pop_front_if(&mut fits) {
        some.push(next);
    }
    let delta = Delta::concat(&some[0].schema(), &some).map_err(super::internal)?;
    Ok(Some((input, delta)))
}

/// Gives each of `pieces` its rows of `delta`.
fn cut(by: &Placement, input: usize, delta: &Delta, pieces: &mut [Part]) -> Result<()> {
    let columns = match by {
        Placement::Key(columns) if !columns.is_empty() => columns.clone(),
        Placement::ErrorKey => vec![super::placement::ERROR_KEY],
        // Rows that are all on one worker need not be in one part.
        Placement::Key(_) | Placement::Stay => (0..delta.rows().num_columns()).collect(),
    };
    let keys = Keys::of(delta.rows(), &columns).map_err(super::internal)?;
    let mut split = vec![vec![]; pieces.len()];
    // Other bits than those that chose the worker, and than those of the cuts before.
    let shift = 8 + 5 * (pieces[0].cuts - 1);
    (0..keys.len()).for_each(|row| split[(keys.hash(row) >> shift) as usize % PIECES % pieces.len()].push(row as u32));
    for (piece, indices) in pieces.iter_mut().zip(split).filter(|(_, indices)| !indices.is_empty()) {
        piece.inputs[input].push(delta.take(&indices).map_err(super::internal)?);
    }
    Ok(())
}

fn count(inputs: &[Vec<Delta>]) -> usize {
    inputs.iter().flatten().map(Delta::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// Rows `key = i % keys`, `value = i / 2`, of which every two are equal.
    fn delta(rows: std::ops::Range<i64>, keys: i64, weight: i64) -> Delta {
        let column = |value: &dyn Fn(i64) -> i64| -> arrow::array::ArrayRef {
            Arc::new(rows.clone().map(value).collect::<Int64Array>())
        };
        let columns = [("key", column(&|i| i / 2 % keys)), ("value", column(&|i| i / 2))];
        Delta::uniform(RecordBatch::try_from_iter(columns).unwrap(), weight)
    }

    fn most(rows: usize) -> Most {
        Most { rows, bytes: usize::MAX }
    }

    /// Of each row, by input and value, its weight and the number of the part that has its key.
    type Found = BTreeMap<(usize, i64), (i64, usize)>;

    /// How many parts there are, and what is in them.
    fn take(mut parts: Parts) -> (usize, Found) {
        let (mut found, mut count, mut of_key) = (BTreeMap::new(), 0, BTreeMap::new());
        loop {
            match parts.next().unwrap() {
                Next::Done => return (count, found),
                Next::More => {}
                Next::Part(inputs, _) => {
                    for (input, deltas) in inputs.iter().enumerate() {
                        for delta in deltas {
                            let column = |index| delta.rows().column(index).as_primitive::<Int64Type>().values();
                            for ((key, value), weight) in column(0).iter().zip(column(1)).zip(delta.weights()) {
                                assert_eq!(*of_key.entry(*key).or_insert(count), count, "key {key} is in two parts");
                                assert_eq!(found.insert((input, *value), (*weight, count)), None, "not consolidated");
                            }
                        }
                    }
                    count += 1;
                }
            }
        }
    }

    #[test]
    fn a_small_epoch_is_one_part_even_if_it_is_empty() {
        let by_key: Rc<[_]> = [Placement::Key(vec![0])].into();
        assert_eq!(take(Parts::new(vec![vec![]], by_key.clone(), most(100))), (1, BTreeMap::new()));
        let (parts, rows) = take(Parts::new(vec![vec![delta(0..100, 7, 1)]], by_key, most(100)));
        assert_eq!((parts, rows.len()), (1, 50));
    }

    #[test]
    fn a_large_one_is_cut_by_key_through_all_inputs() {
        let rows = 400_000;
        let one = vec![delta(0..5, 5_000, 1), delta(5..rows, 5_000, 1), delta(0..10, 5_000, -1)];
        let other = vec![delta(0..1_000, 5_000, 1)];
        let by_key = vec![Placement::Key(vec![0]); 2].into();
        let (parts, found) = take(Parts::new(vec![one, other], by_key, most(4_096)));
        assert!((98..2 * 98 * 4).contains(&parts), "{parts}");
        let expected = (5..rows / 2).map(|value| (0, value)).chain((0..500).map(|value| (1, value)));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(found.values().all(|(weight, _)| *weight == 2));
    }

    #[test]
    fn what_has_too_many_bytes_is_cut_and_what_cannot_be_stays_in_several_batches() {
        let wide = |n: i64, weight| {
            let text: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x".repeat(1000)]));
            let columns = [("key", Arc::new(Int64Array::from(vec![n])) as arrow::array::ArrayRef), ("text", text)];
            Delta::uniform(RecordBatch::try_from_iter(columns).unwrap(), weight)
        };
        let by_key: Rc<[_]> = [Placement::Key(vec![0])].into();
        let all = |parts: &mut Parts| {
            let mut found = vec![];
            loop {
                match parts.next().unwrap() {
                    Next::Done => return found,
                    Next::More => {}
                    Next::Part(mut inputs, _) => found.push(inputs.remove(0)),
                }
            }
        };
        let bytes = Most { rows: 1000, bytes: 5_000 };
        let many = vec![(0..100).map(|n| wide(n, 1)).collect::<Vec<_>>()];
        let found = all(&mut Parts::new(many, by_key.clone(), bytes));
        let sizes = |part: &Vec<Delta>| (part.len(), part.iter().map(Delta::len).sum::<usize>());
        assert!(found.iter().all(|part| sizes(part).0 == 1 && sizes(part).1 < 5));
        assert_eq!(found.iter().map(|part| sizes(part).1).sum::<usize>(), 100);
        // One key, all of which is needed together.
        let one = vec![(0..10).map(|n| wide(7, 1 + n)).chain([wide(8, 1), wide(8, -1)]).collect::<Vec<_>>()];
        let found = all(&mut Parts::of_keys(one, by_key, bytes));
        let of_seven = found.iter().flatten().map(|delta| (delta.len(), delta.weights()[0])).collect::<Vec<_>>();
        assert_eq!(of_seven, [(1, 55)]);
    }

    #[test]
    fn rows_of_one_group_are_cut_by_all_columns() {
        for placement in [Placement::Key(vec![]), Placement::Stay] {
            let (parts, found) =
                take(Parts::new(vec![vec![delta(0..400_000, 400_000, 1)]], [placement].into(), most(10_000)));
            assert!(parts >= 40);
            assert_eq!(found.len(), 200_000);
        }
    }

    #[test]
    fn a_key_with_many_rows_is_cut_as_well_unless_it_must_not_be() {
        let input = || vec![vec![delta(0..100_000, 1, 1)]];
        let (parts, found) = take(Parts::of_keys(input(), [Placement::Key(vec![0])].into(), most(1_000)));
        assert_eq!((parts, found.len()), (1, 50_000));
        let (parts, found) = take(Parts::of_keys(input(), [Placement::Key(vec![])].into(), most(1_000)));
        assert_eq!((parts, found.len()), (1, 50_000));
        let mut parts = Parts::new(input(), [Placement::Key(vec![0])].into(), most(1_000));
        let mut rows = 0;
        while let Some(part) = match parts.next().unwrap() {
            Next::Part(inputs, _) => Some(count(&inputs)),
            Next::More => Some(0),
            Next::Done => None,
        } {
            assert!(part <= 500, "{part} different rows");
            rows += part;
        }
        assert_eq!(rows, 50_000);
    }
}
