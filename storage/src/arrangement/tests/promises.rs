//! What the module documentation promises, one sentence at a time.

use super::*;
use crate::key::Keys;
use arrow::array::StringViewArray;
use std::sync::atomic::{AtomicBool, Ordering};

fn row(k: i64, t: &str, v: i64) -> Row {
    (Some(k), t.into(), v)
}

/// Applies `changes` at epoch `epoch` and seals it.
fn write(arrangement: &Arrangement, epoch: u64, changes: &[(Row, i64)]) {
    arrangement.apply(e(epoch), &delta(changes)).unwrap();
    arrangement.advance(e(epoch));
}

fn scan(arrangement: &Arrangement, as_of: u64) -> Rows {
    let deltas: Vec<Delta> = arrangement.snapshot(e(as_of)).unwrap().scan(None).collect::<Result<_>>().unwrap();
    sum(&deltas)
}

/// `changes` are refused in words that hold `message`, and nothing has changed.
#[track_caller]
fn refused(arrangement: &Arrangement, changes: &[(Row, i64)], message: &str) {
    let (before, stats) = (scan(arrangement, arrangement.upper().as_u64()), arrangement.stats());
    let epoch = arrangement.upper().next();
    let error = arrangement.apply(epoch, &delta(changes)).unwrap_err();
    assert!(matches!(&error, Error::Invalid(text) if text.contains(message)), "{error}");
    assert!(error.to_string().contains("(k Int64, t Utf8, v Int64)"), "{error}");
    arrangement.advance(epoch);
    assert_eq!((scan(arrangement, epoch.as_u64()), arrangement.stats()), (before, stats));
}

#[test]
fn a_row_that_is_not_there_cannot_be_retracted() {
    for kind in [Kind::Keyed, Kind::Bag, Kind::Ordered] {
        let a = new(kind);
        write(&a, 1, &[(row(1, "a", 1), 1), (row(2, "b", 1), 1)]);
        refused(&a, &[(row(3, "c", 1), 1), (row(3, "d", 1), -1)], "I4");
        refused(&a, &[(row(1, "a", 2), -1)], "I4");
        refused(&a, &[(row(1, "a", 1), -1), (row(1, "a", 1), -1)], "I4");
        write(&a, 10, &[(row(1, "a", 1), -1)]);
        refused(&a, &[(row(1, "a", 1), -1)], "I4");
    }
}

#[test]
fn a_unique_key_has_one_row() {
    let a = new(Kind::Keyed);
    write(&a, 1, &[(row(1, "a", 1), 1)]);
    refused(&a, &[(row(1, "a", 2), 1)], "two rows of one key");
    refused(&a, &[(row(2, "a", 1), 1), (row(2, "a", 2), 1)], "two rows of one key");
    refused(&a, &[(row(2, "a", 1), 2)], "weight 2");
    // Retractions are taken first; what is not net is added up.
    write(&a, 10, &[(row(1, "a", 2), 1), (row(1, "a", 1), -1)]);
    write(&a, 11, &[(row(5, "x", 1), 1), (row(5, "x", 1), -1), (row(6, "x", 1), 1)]);
    assert_eq!(scan(&a, 11), Rows::from([(row(1, "a", 2), 1), (row(6, "x", 1), 1)]));
}

#[test]
#[should_panic(expected = "a log is append-only")]
fn a_log_asserts_that_nothing_is_retracted() {
    write(&new(Kind::Log), 1, &[(row(1, "a", 1), -1)]);
}

#[test]
#[should_panic(expected = "I5")]
fn a_sealed_epoch_takes_no_more_changes() {
    let a = new(Kind::Bag);
    write(&a, 5, &[(row(1, "a", 1), 1)]);
    write(&a, 5, &[(row(1, "a", 1), 1)]);
}

#[test]
#[should_panic(expected = "I5")]
fn epochs_are_applied_in_order() {
    let a = new(Kind::Bag);
    a.apply(e(5), &delta(&[])).unwrap();
    a.apply(e(4), &delta(&[])).unwrap();
}

#[test]
fn rows_of_another_shape_are_refused() {
    let a = new(Kind::Bag);
    let error = a.apply(e(1), &Delta::uniform(batch(&[row(1, "a", 1)]).project(&[0]).unwrap(), 1)).unwrap_err();
    assert!(error.to_string().contains("1 columns given"), "{error}");
    let nulls = arrow::array::new_null_array(&DataType::Int64, 1);
    let texts = Arc::new(StringArray::from(vec!["a"]));
    let rows = RecordBatch::try_from_iter([("k", nulls.clone()), ("t", texts as _), ("v", nulls)]).unwrap();
    let error = a.apply(e(1), &Delta::uniform(rows, 1)).unwrap_err();
    assert!(matches!(&error, Error::Invalid(text) if text.contains("do not fit")), "{error}");
}

#[test]
fn epochs_that_are_not_kept_or_not_reached_are_not_readable() {
    let a = new(Kind::Bag);
    write(&a, 3, &[(row(1, "a", 1), 1)]);
    a.compact(e(2));
    let message = |as_of| a.snapshot(e(as_of)).err().map(|error| error.to_string());
    assert_eq!(message(1).unwrap(), "epoch 0.1 is not readable: history is kept from 0.2 to 0.3");
    assert_eq!(message(2), None);
    assert_eq!(message(3), None);
    assert!(message(4).is_some());
    assert!(a.changes(e(1), e(3)).is_err() && a.changes(e(2), e(4)).is_err() && a.changes(e(2), e(3)).is_ok());
}

#[test]
fn an_unsealed_epoch_is_seen_by_the_latest_reader_only() {
    let a = new(Kind::Keyed);
    write(&a, 1, &[(row(1, "a", 1), 1)]);
    a.apply(e(2), &delta(&[(row(1, "a", 1), -1), (row(2, "b", 1), 1)])).unwrap();
    let keys = Keys::of(&batch(&[row(1, "a", 0), row(2, "b", 0)]), &[0, 1]).unwrap();
    assert_eq!(a.latest().contains(&keys), [false, true]);
    assert_eq!(a.snapshot(e(1)).unwrap().contains(&keys), [true, false]);
    assert_eq!((a.upper(), a.stats().rows), (e(1), 1));
}

#[test]
fn what_comes_and_goes_within_an_epoch_never_was() {
    for kind in [Kind::Keyed, Kind::Bag, Kind::Ordered] {
        let a = new(kind);
        a.apply(e(1), &delta(&[(row(1, "a", 1), 1), (row(2, "b", 1), 1)])).unwrap();
        a.apply(e(1), &delta(&[(row(1, "a", 1), -1)])).unwrap();
        a.apply(e(1), &delta(&[(row(1, "a", 2), 1)])).unwrap();
        a.apply(e(1), &delta(&[(row(1, "a", 2), -1)])).unwrap();
        a.advance(e(1));
        let expected = Rows::from([(row(2, "b", 1), 1)]);
        assert_eq!(scan(&a, 1), expected);
        let changes = a.changes(e(0), e(1)).unwrap();
        assert_eq!(changes.iter().map(Delta::len).sum::<usize>(), 1);
        assert_eq!(sum(&changes), expected);
        settle(&a);
        assert_eq!((scan(&a, 1), a.stats().closed), (expected, 0));
    }
}

#[test]
fn changes_come_retractions_first_and_fit_an_arrangement_with_a_unique_key() {
    let (a, copy) = (new(Kind::Keyed), new(Kind::Keyed));
    let keys = 0..20_000;
    write(&a, 1, &keys.clone().map(|k| (row(k, "a", 1), 1)).collect::<Vec<_>>());
    write(&a, 2, &keys.flat_map(|k| [(row(k, "a", 1), -1), (row(k, "a", 2), 1)]).collect::<Vec<_>>());
    for (after, to) in [(0, 1), (1, 2)] {
        for delta in a.changes(e(after), e(to)).unwrap() {
            copy.apply(e(to), &delta).unwrap();
        }
        copy.advance(e(to));
        assert_eq!(scan(&copy, to), scan(&a, to));
    }
}

#[test]
fn thousands_of_one_row_epochs_leave_few_chunks() {
    for kind in [Kind::Log, Kind::Keyed, Kind::Bag, Kind::Ordered] {
        let a = new(kind);
        for epoch in 1..=12_000 {
            write(&a, epoch, &[(row(epoch as i64, "a", 1), 1)]);
            a.compact(e(epoch));
        }
        assert!(a.stats().chunks < 16, "{} chunks", a.stats().chunks);
        assert_eq!(a.latest().scan(None).map(|d| d.unwrap().len()).sum::<usize>(), 12_000);
    }
}

#[test]
fn small_deltas_of_changing_sizes_leave_few_chunks() {
    for sizes in [&[1, 3][..], &[3, 8, 1, 30], &[1, 2, 4, 8, 16, 32], &[7]] {
        let a = new(Kind::Bag);
        let mut next = 0;
        for (epoch, size) in sizes.iter().cycle().take(3_000).enumerate() {
            write(&a, epoch as u64 + 1, &(next..next + size).map(|k| (row(k, "a", 1), 1)).collect::<Vec<_>>());
            next += size;
        }
        let (chunks, most) = (a.stats().chunks, next as usize / 1024 + 12);
        assert!(chunks <= most, "{sizes:?}: {chunks} chunks of {next} rows");
        assert_eq!(a.latest().scan(None).map(|d| d.unwrap().len()).sum::<usize>(), next as usize);
    }
}

#[test]
fn updates_in_place_hold_no_memory_once_history_is_let_go() {
    for kind in [Kind::Keyed, Kind::Bag, Kind::Ordered] {
        let a = new(kind);
        let all = |v| (0..3000).map(move |k| row(k, "some text", v));
        write(&a, 1, &all(0).map(|row| (row, 1)).collect::<Vec<_>>());
        let before = a.stats().bytes;
        for v in 1..100i64 {
            let changes: Vec<(Row, i64)> = all(v - 1).map(|row| (row, -1)).chain(all(v).map(|row| (row, 1))).collect();
            write(&a, v as u64 + 1, &changes);
            a.compact(e(v as u64 + 1));
        }
        let after = a.stats();
        assert!(after.bytes < 3 * before && after.chunks <= 2, "{before} bytes before, {after:?} after");
    }
}

#[test]
fn a_few_survivors_in_every_chunk_do_not_keep_the_chunks() {
    let a = new(Kind::Keyed);
    let all: Vec<(Row, i64)> = (0..100_000).map(|k| (row(k, "a", 1), 1)).collect();
    write(&a, 1, &all);
    let most: Vec<(Row, i64)> = (0..100_000).filter(|k| k % 100 != 0).map(|k| (row(k, "a", 1), -1)).collect();
    write(&a, 2, &most);
    settle(&a);
    assert!(a.stats().chunks <= 4 && a.stats().bytes < 500_000, "{:?}", a.stats());
    assert_eq!(scan(&a, 2).len(), 1000);
}

#[test]
fn the_end_of_a_long_pin_is_worked_off_in_steps() {
    let a = new(Kind::Keyed);
    let all: Vec<(Row, i64)> = (0..60_000).map(|k| (row(k, "a", 1), 1)).collect();
    write(&a, 1, &all);
    let pin = a.snapshot(e(1)).unwrap();
    write(&a, 2, &all.iter().map(|(row, _)| (row.clone(), -1)).collect::<Vec<_>>());
    a.compact(e(2));
    assert_eq!((a.since(), a.stats().closed), (e(1), 60_000));
    drop(pin);
    a.compact(e(2));
    assert!(a.reclaim());
    let left = a.stats().closed;
    assert!(a.since() == e(2) && left > 0 && left < 60_000, "{left} left");
    // Half-reclaimed keys take new rows, and keep them.
    write(&a, 3, &all[..100]);
    settle(&a);
    assert_eq!(scan(&a, 3), all[..100].iter().cloned().collect());
}

#[test]
fn a_whole_chunk_is_handed_out_without_a_copy() {
    let a = new(Kind::Bag);
    write(&a, 1, &(0..100).map(|k| (row(k, "a", 1), 1)).collect::<Vec<_>>());
    let data = || {
        let delta = a.latest().scan(Some(&[2])).next().unwrap().unwrap();
        delta.rows().column(0).as_primitive::<Int64Type>().values().as_ptr()
    };
    assert_eq!(data(), data());
}

#[test]
fn a_small_slice_does_not_keep_its_large_batch() {
    let large = batch(&(0..100_000).map(|k| row(k, "some text", 1)).collect::<Vec<_>>());
    let a = new(Kind::Log);
    a.apply(e(1), &Delta::uniform(large.slice(500, 2), 1)).unwrap();
    assert!(a.stats().bytes < 10_000, "{:?}", a.stats());
}

#[test]
fn views_are_kept_as_plain_strings() {
    let a = new(Kind::Keyed);
    let k = Arc::new(Int64Array::from(vec![1]));
    let t = Arc::new(StringViewArray::from(vec!["a text too long to be kept in a view itself"]));
    let rows = RecordBatch::try_from_iter([("k", k.clone() as _), ("t", t as _), ("v", k as _)]).unwrap();
    a.apply(e(1), &Delta::uniform(rows, 1)).unwrap();
    a.apply(e(1), &delta(&[(row(1, "a text too long to be kept in a view itself", 1), -1)])).unwrap();
    a.advance(e(1));
    assert_eq!(scan(&a, 1), Rows::new());
}

#[test]
fn wide_rows_make_short_chunks() {
    let a = new(Kind::Bag);
    let wide = "x".repeat(3 << 20);
    write(&a, 1, &(0..50).map(|k| (row(k, &wide, 1), 1)).collect::<Vec<_>>());
    let deltas: Vec<Delta> = a.latest().scan(None).collect::<Result<_>>().unwrap();
    assert!(deltas.len() >= 3 && deltas.iter().all(|delta| delta.len() <= 21), "{} chunks", deltas.len());
    assert_eq!(sum(&deltas).len(), 50);
}

#[test]
fn a_relation_without_columns_has_rows() {
    for kind in [Kind::Log, Kind::Bag] {
        let schema: SchemaRef = Arc::new(Schema::empty());
        let a = Arrangement::new(Spec { kind, schema: schema.clone(), key: vec![] }, Limits::default());
        let rows = |n| {
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(n));
            RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap()
        };
        a.apply(e(1), &Delta::uniform(rows(3), 1)).unwrap();
        a.apply(e(2), &Delta::uniform(rows(2), 1)).unwrap();
        a.advance(e(2));
        let total = |deltas: Vec<Delta>| deltas.iter().flat_map(|d| d.weights().to_vec()).sum::<i64>();
        assert_eq!(total(a.latest().scan(None).collect::<Result<_>>().unwrap()), 5);
        assert_eq!(total(a.changes(e(1), e(2)).unwrap()), 2);
        if kind == Kind::Bag {
            let (matches, _) = a.latest().probe(&Keys::unit(2), 0, 10);
            assert_eq!(
                (matches.weights.clone(), a.latest().gather(&matches, None).unwrap().num_rows()),
                (vec![5, 5], 2)
            );
        }
    }
}

#[test]
fn some_columns_are_read_in_the_order_asked_for() {
    let a = new(Kind::Keyed);
    write(&a, 1, &[(row(1, "a", 7), 1), (row(2, "b", 8), 1)]);
    let keys = Keys::of(&batch(&[row(2, "b", 0), row(9, "b", 0), row(1, "a", 0), row(2, "b", 0)]), &[0, 1]).unwrap();
    let (matches, rest) = a.latest().probe(&keys, 0, 100);
    assert_eq!((matches.probes.as_slice(), rest), ([0, 2, 3].as_slice(), None));
    let rows = a.latest().gather(&matches, Some(&[2, 0])).unwrap();
    assert_eq!(rows.schema().field(0).name(), "v");
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values().to_vec(), [8, 7, 8]);
    let none = a.latest().gather(&matches, Some(&[])).unwrap();
    assert_eq!((none.num_rows(), none.num_columns()), (3, 0));
}

#[test]
fn readers_on_other_threads_see_their_epoch_while_it_is_written_on() {
    let a = new(Kind::Bag);
    write(&a, 1, &[(row(0, "a", 0), 1)]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let Ok(snapshot) = a.snapshot(a.upper()) else { continue };
                    let n = snapshot.as_of().as_u64() as i64;
                    let deltas: Vec<Delta> = snapshot.scan(None).collect::<Result<_>>().unwrap();
                    let keys = Keys::of(&batch(&(0..n).map(|k| row(k, "a", 0)).collect::<Vec<_>>()), &[0, 1]).unwrap();
                    let (matches, _) = snapshot.probe(&keys, 0, usize::MAX);
                    let probed = rows(&snapshot.gather(&matches, None).unwrap());
                    // Epoch n holds keys 0 .. n, each with value n - 1.
                    let expected: Rows = (0..n).map(|k| (row(k, "a", n - 1), 1)).collect();
                    assert_eq!(sum(&deltas), expected);
                    assert_eq!(probed.into_iter().map(|row| (row, 1)).collect::<Rows>(), expected);
                    reads += 1;
                }
            });
        }
        for epoch in 2..400 {
            let n = epoch as i64;
            let old = (0..n - 1).map(|k| (row(k, "a", n - 2), -1));
            let new = (0..n).map(|k| (row(k, "a", n - 1), 1));
            write(&a, epoch, &old.chain(new).collect::<Vec<_>>());
            a.compact(e(epoch));
        }
        done.store(true, Ordering::Relaxed);
    });
    settle(&a);
}

#[test]
fn there_is_something_to_give_back_from_a_retraction_until_it_is_reclaimed() {
    let rows = |weight| delta(&[((Some(1), "a".into(), 1), weight), ((Some(2), "b".into(), 2), weight)]);
    let own = new(Kind::Keyed);
    assert!(!own.compact(e(0)), "it is empty");
    own.apply(e(1), &rows(1)).unwrap();
    own.advance(e(1));
    assert!(own.compact(e(1)) && !own.reclaim(), "nobody has looked");
    assert!(!own.compact(e(1)), "rows came, and none went");
    own.apply(e(2), &rows(-1)).unwrap();
    own.advance(e(2));
    let held = own.snapshot(e(1)).unwrap();
    assert!(own.compact(e(2)) && !own.reclaim(), "somebody reads what has gone");
    drop(held);
    assert!(own.compact(e(2)) && own.stats().closed == 2);
    while own.reclaim() {}
    assert!(!own.compact(e(2)) && own.stats().closed == 0);
    assert!(own.changes(e(2), e(2)).unwrap().is_empty());
}
