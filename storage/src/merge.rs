//! Compaction: several neighbouring runs of an arrangement become one.
//!
//! [`pick`] and [`worn`] say which, [`merge`] does it; when, and publishing the result, is the caller's. A merged run tells the same
//! story from `since` on (I8): entries of epochs <= since are added up, later ones keep their epoch.

use crate::arrangement::Spec;
use crate::epoch::Epoch;
use crate::error::Result;
use crate::run::{Reader, Rows, Run, Writer, pieces};
use bytes::Bytes;
use std::ops::Range;

/// Groups of runs that are let be before they are merged. Fewer means fewer runs to read at a restart, and more writing.
const FAN: usize = 4;

/// The runs to merge next, if any; `runs` are all of one arrangement, in order.
///
/// Runs of the same epochs (of several workers) count as one group. From the oldest group on: once [`FAN`] groups or more
/// begin with one that is no larger than a third of all that follow it, they are merged. So what is written again ends up in something
/// several times as large, and groups are few: at most `FAN * log4(all / smallest) + FAN` of them, and a byte is written at
/// most `log2(all / smallest) + 2` times, half of that where runs are of one size.
pub fn pick(runs: &[Run]) -> Option<Range<usize>> {
    let groups = groups(runs);
    let sizes: Vec<u64> = groups.iter().map(|g| runs[g.clone()].iter().map(|r| r.length).sum()).collect();
    let mut after: u64 = sizes.iter().sum();
    for (i, size) in sizes.iter().enumerate().take((groups.len() + 1).saturating_sub(FAN)) {
        after -= size;
        if size * (FAN as u64 - 1) <= after {
            return Some(groups[i].start..runs.len());
        }
    }
    None
}

/// How much of what is stored may be dead before it is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Dead rows for a hundred live ones.
    pub dead: u64,
    /// A merge is paid for by what came since the one before: once for so many of the rows it takes, also where the rows that are
    /// alive are known badly.
    pub pays_for: u64,
}

/// While much is written, and at rest.
pub const BUSY: Tolerance = Tolerance { dead: 100, pays_for: 4 };
pub const REST: Tolerance = Tolerance { dead: 20, pays_for: 16 };

/// All runs, once more of what they say is of rows that are gone than is tolerated, and enough of it can be added up: of `runs`, those up
/// to `since`. `live`: the rows that are left. Fewer bytes than `worthwhile` are let be.
pub fn worn(runs: &[Run], since: Epoch, live: u64, tolerance: Tolerance, worthwhile: u64) -> Option<Range<usize>> {
    let groups = groups(runs);
    let (first, rest) = groups.split_first()?;
    let rows = |range: &Range<usize>| runs[range.clone()].iter().map(|run| run.rows).sum::<u64>();
    let rest: Vec<_> =
        rest.iter().take_while(|group| runs[(*group).clone()].iter().all(|run| run.to <= since)).collect();
    let (base, later) = (rows(first), rest.iter().map(|group| rows(group)).sum::<u64>());
    let range = first.start..rest.last()?.end;
    let bytes = runs[range.clone()].iter().map(|run| run.length).sum::<u64>();
    let is_paid = later.saturating_mul(tolerance.pays_for) >= base;
    let is_dead = u128::from(base + later) * 100 >= u128::from(live) * u128::from(100 + tolerance.dead);
    (bytes >= worthwhile && is_paid && is_dead).then_some(range)
}

/// Neighbouring runs whose epochs overlap: what [`pick`] sees as one.
pub fn groups(runs: &[Run]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = vec![];
    let mut reached = Epoch::ZERO;
    for (i, run) in runs.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if run.after < reached => group.end = i + 1,
            _ => groups.push(i..i + 1),
        }
        reached = reached.max(run.to);
    }
    groups
}

/// Appends to `writer` one run that says what `runs` (neighbours in order, with their bytes) say to readers at `since` and
/// later. `None` if nothing is left. `runs` may not be empty.
pub fn merge(writer: &mut Writer, spec: &Spec, since: Epoch, runs: &[(Run, Bytes)]) -> Result<Option<Run>> {
    let after = runs.iter().map(|(run, _)| run.after).min();
    let to = runs.iter().map(|(run, _)| run.to).max();
    let (after, to) = after.zip(to).expect("there is something to merge");
    let open = |(run, bytes): &(Run, Bytes)| Reader::open(run, &spec.schema, bytes.clone());
    let readers = runs.iter().map(open).collect::<Result<Vec<_>>>()?;
    let fold = since.min(to).as_u64();
    let pieces = pieces(&readers, writer.limits().merged_rows).into_iter().map(|vnodes| {
        let mut rows = vec![];
        for reader in &readers {
            rows.extend(reader.rows(&|vnode| vnodes.contains(&vnode))?.into_iter().map(|r| folded(r, fold)));
        }
        Ok(rows)
    });
    writer.build(spec, after, to, pieces)
}

/// Entries up to epoch `fold` become ones of `fold`.
fn folded(rows: Rows, fold: u64) -> Rows {
    Rows { epochs: rows.epochs.iter().map(|&epoch| epoch.max(fold)).collect(), ..rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::Kind;
    use crate::delta::Delta;
    use crate::key::VNODES;
    use crate::limits::Limits;
    use crate::run::read;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn epoch(n: u64) -> Epoch {
        Epoch::from_u64(n)
    }

    fn spec() -> Spec {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("n", DataType::Int64, false)];
        Spec { kind: Kind::Bag, schema: Arc::new(Schema::new(fields)), key: vec![0] }
    }

    fn delta(rows: &[(i64, i64, i64)]) -> Delta {
        let column = |of: fn(&(i64, i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of)));
        let batch = RecordBatch::try_new(spec().schema, vec![column(|r| r.0), column(|r| r.1)]).unwrap();
        Delta::new(batch, rows.iter().map(|r| r.2).collect::<Vec<_>>())
    }

    /// Rows with their weights, by epoch.
    type Story = BTreeMap<(u64, i64, i64), i64>;

    fn story(runs: &[(Run, Bytes)]) -> Story {
        let mut story = Story::new();
        for (run, bytes) in runs {
            for entry in read(run, &spec().schema, bytes.clone()).unwrap() {
                assert!(run.after < entry.epoch && entry.epoch <= run.to);
                let column = |c: usize| entry.delta.rows().column(c).as_primitive::<Int64Type>().clone();
                let (ids, ns) = (column(0), column(1));
                for row in 0..entry.delta.len() {
                    let row_at = (entry.epoch.as_u64(), ids.value(row), ns.value(row));
                    *story.entry(row_at).or_default() += entry.delta.weights()[row];
                }
            }
        }
        story
    }

    /// What a reader that may not look below `since` can tell.
    fn from(since: u64, story: Story) -> Story {
        let mut seen = Story::new();
        for ((at, id, n), weight) in story {
            *seen.entry((at.max(since), id, n)).or_default() += weight;
        }
        seen.retain(|_, weight| *weight != 0);
        seen
    }

    fn write(rows: &[(i64, i64, i64)], after: u64, to: u64) -> Option<(Run, Bytes)> {
        let mut writer = Writer::new(format!("data/{to}"), Limits::default());
        let run = writer.add(&spec(), epoch(after), epoch(to), &[delta(rows)]).unwrap()?;
        Some((run, writer.finish().1))
    }

    fn merged(since: u64, runs: &[(Run, Bytes)]) -> Option<(Run, Bytes)> {
        let mut writer = Writer::new("data/merged".into(), Limits::TINY);
        let run = merge(&mut writer, &spec(), epoch(since), runs).unwrap()?;
        Some((run, writer.finish().1))
    }

    #[test]
    fn what_cancels_up_to_since_is_gone_and_what_is_later_stays() {
        let runs = [
            write(&[(1, 10, 1), (2, 20, 1)], 0, 5).unwrap(),
            write(&[(1, 10, -1), (1, 11, 1)], 5, 7).unwrap(),
            write(&[(2, 20, -1)], 7, 9).unwrap(),
        ];
        let (run, bytes) = merged(8, &runs).unwrap();
        assert_eq!((run.after, run.to, run.rows), (epoch(0), epoch(9), 3));
        let expected = [((8, 1, 11), 1), ((8, 2, 20), 1), ((9, 2, 20), -1)];
        assert_eq!(story(&[(run, bytes)]), BTreeMap::from(expected));
        let all_gone = [write(&[(1, 1, 1)], 0, 1).unwrap(), write(&[(1, 1, -1)], 1, 2).unwrap()];
        assert!(merged(2, &all_gone).is_none());
        assert_eq!(merged(1, &all_gone).unwrap().0.rows, 2);
    }

    #[test]
    fn a_merge_in_several_pieces_is_one_sorted_run() {
        let rows: Vec<_> = (0..600_000).map(|i| (i, i, 1)).collect();
        let runs = [write(&rows, 0, 1).unwrap(), write(&rows, 1, 2).unwrap()];
        let readers: Vec<_> = runs.iter().map(|(r, b)| Reader::open(r, &spec().schema, b.clone()).unwrap()).collect();
        let pieces = pieces(&readers, Limits::default().merged_rows);
        assert_eq!(pieces.len(), 2);
        assert_eq!((pieces[0].start, pieces[0].end, pieces[1].end), (0, pieces[1].start, VNODES));
        let (run, bytes) = merged(2, &runs).unwrap();
        assert_eq!(run.rows, 600_000);
        let entries = read(&run, &spec().schema, bytes).unwrap();
        let weights = entries.iter().flat_map(|e| e.delta.weights().iter());
        assert!(weights.clone().count() == 600_000 && weights.clone().all(|&w| w == 2));
    }

    fn sized(lengths: &[u64]) -> Vec<Run> {
        let run = |(i, &length): (usize, &u64)| Run {
            object: String::new(),
            offset: 0,
            length,
            after: epoch(i as u64),
            to: epoch(i as u64 + 1),
            rows: 1,
            vnodes: (0, 255),
        };
        lengths.iter().enumerate().map(run).collect()
    }

    #[test]
    fn the_policy_merges_from_the_oldest_that_is_small_beside_what_follows() {
        for (lengths, expected) in [
            (&[][..], None),
            (&[1, 1, 1], None),
            (&[1, 1, 1, 1], Some(0..4)),
            (&[100, 1, 1, 1], None),
            (&[100, 4, 1, 1, 1], None),
            (&[100, 4, 1, 1, 1, 1], Some(2..6)),
            (&[4, 4, 4, 1, 1, 1, 1], Some(0..7)),
            (&[100, 1, 1, 1, 200], Some(1..5)),
            (&[100, 1, 1, 1, 300], Some(0..5)),
        ] {
            assert_eq!(pick(&sized(lengths)), expected, "{lengths:?}");
        }
    }

    #[test]
    fn runs_are_worn_when_half_of_their_rows_are_gone_and_enough_came_since() {
        const WORTHWHILE: u64 = 1000;
        let worn = |runs: &[Run], since, live, tolerance| worn(runs, since, live, tolerance, WORTHWHILE);
        let runs = |rows: &[u64]| -> Vec<Run> {
            sized(&vec![WORTHWHILE; rows.len()]).into_iter().zip(rows).map(|(run, &rows)| Run { rows, ..run }).collect()
        };
        for (rows, live, expected) in [
            (&[][..], 0, None),
            (&[100], 0, None),
            (&[100, 100], 0, Some(0..2)),
            (&[100, 100], 100, Some(0..2)),
            (&[100, 100], 101, None),
            (&[100, 20], 0, None),
            (&[100, 10, 15], 60, Some(0..3)),
        ] {
            assert_eq!(worn(&runs(rows), epoch(9), live, BUSY), expected, "{rows:?} {live}");
        }
        let some = runs(&[100, 100, 100]);
        assert_eq!(worn(&some, epoch(2), 50, BUSY), Some(0..2), "what a reader has yet to see stays as it is");
        assert_eq!(worn(&some, epoch(1), 50, BUSY), None);
        assert_eq!(worn(&sized(&[1, 1]), epoch(9), 0, BUSY), None, "a few bytes are not worth it");
        assert_eq!(worn(&runs(&[100, 20]), epoch(9), 100, REST), Some(0..2));
        assert_eq!(worn(&runs(&[100, 20]), epoch(9), 101, REST), None);
        assert_eq!(worn(&runs(&[100, 6]), epoch(9), 10, REST), None);
    }

    #[test]
    fn runs_of_several_workers_for_the_same_epochs_stay_together() {
        let mut runs: Vec<Run> = sized(&[9, 1, 1, 1]).into_iter().flat_map(|r| [r.clone(), r.clone(), r]).collect();
        assert_eq!(pick(&runs), None);
        runs.extend(sized(&[0, 0, 0, 0, 1]).into_iter().skip(4).flat_map(|r| [r.clone(), r.clone(), r]));
        assert_eq!(pick(&runs), Some(3..15));
    }

    proptest! {
        #[test]
        fn a_merged_run_tells_the_same_story_from_since_on(
            parts in prop::collection::vec(prop::collection::vec((-3i64..3, -2i64..2, -2i64..3), 0..20), 1..6),
            first in 0u64..12,
            second in 0u64..12,
        ) {
            let numbered = parts.iter().zip(1u64..);
            let runs: Vec<_> = numbered.filter_map(|(rows, n)| write(rows, 2 * n - 2, 2 * n)).collect();
            prop_assume!(!runs.is_empty());
            let expected = from(first.max(second), story(&runs));
            // Twice, since a merged run holds many epochs.
            let half = runs.len() / 2;
            let (old, new) = runs.split_at(half);
            let old: Vec<_> = if old.is_empty() { vec![] } else { merged(first.min(second), old).into_iter().collect() };
            let all = [&old[..], new].concat();
            prop_assert_eq!(&from(first.max(second), story(&all)), &expected);
            let last = merged(first.max(second), &all);
            prop_assert_eq!(from(first.max(second), last.as_ref().map_or(Story::new(), |l| story(std::slice::from_ref(l)))), expected.clone());
            prop_assert_eq!(last.map_or(0, |(run, _)| run.rows), expected.len() as u64);
        }

        #[test]
        fn runs_stay_few_and_no_byte_is_written_often(lengths in prop::collection::vec(1u64..1000, 1..400), steady: bool) {
            let mut runs: Vec<u64> = vec![];
            let (mut written, mut all) = (0, 0);
            let smallest = if steady { lengths[0] } else { *lengths.iter().min().unwrap() };
            for length in lengths {
                let length = if steady { smallest } else { length };
                runs.push(length);
                all += length;
                while let Some(range) = pick(&sized(&runs)) {
                    let sum = runs[range.clone()].iter().sum();
                    runs.splice(range, [sum]);
                    written += sum;
                }
                let log = (all as f64 / smallest as f64).log2();
                prop_assert!(runs.len() as f64 <= FAN as f64 * (log / 2.0 + 1.0), "{runs:?}");
                prop_assert!(written as f64 <= all as f64 * (log + 2.0), "{written} of {all}: {runs:?}");
            }
        }
    }
}
