//! Runs: what goes in comes out, whatever is wrong with the bytes is said, and old bytes stay readable.

use super::format::{self, Footer};
use super::*;
use crate::arrangement::{Arrangement, Kind, Spec};
use crate::delta::Delta;
use crate::epoch::{Epoch, Generation};
use crate::error::{Error, Result};
use crate::identity::{Maker, StoreId};
use crate::key::{Keys, VNODES};
use crate::limits::Limits;
use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, IntervalMonthDayNano, IntervalUnit, Schema, TimeUnit};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use ulid::Ulid;

fn epoch(n: u64) -> Epoch {
    Epoch::from_u64(n)
}

/// (id, name) with key id.
fn spec() -> Spec {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
    Spec { kind: Kind::Bag, schema: Arc::new(Schema::new(fields)), key: vec![0] }
}

type Row = (i64, Option<String>);

fn delta(rows: &[(Row, i64)]) -> Delta {
    let ids = Int64Array::from_iter_values(rows.iter().map(|((id, _), _)| *id));
    let names = StringArray::from_iter(rows.iter().map(|((_, name), _)| name.clone()));
    let batch = RecordBatch::try_new(spec().schema, vec![Arc::new(ids), Arc::new(names)]).unwrap();
    Delta::new(batch, rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())
}

fn rows(entries: &[Entry]) -> BTreeMap<(Epoch, Row), i64> {
    let mut sum = BTreeMap::new();
    for Entry { epoch, delta } in entries {
        let (ids, names) =
            (delta.rows().column(0).as_primitive::<arrow::datatypes::Int64Type>(), delta.rows().column(1));
        for (i, name) in names.as_string::<i32>().iter().enumerate() {
            let row = (ids.value(i), name.map(str::to_string));
            assert_eq!(sum.insert((*epoch, row), delta.weights()[i]), None, "a row stands twice");
        }
    }
    sum
}

/// A run of `deltas` in an object of its own.
fn write(deltas: &[Delta]) -> Option<(Run, Bytes)> {
    write_within(Limits::default(), deltas)
}

fn write_within(limits: Limits, deltas: &[Delta]) -> Option<(Run, Bytes)> {
    let mut writer = Writer::new("data/1-x.runs".into(), limits);
    let run = writer.add(&spec(), epoch(3), epoch(7), deltas).unwrap()?;
    Some((run, writer.finish().1))
}

fn load(run: &Run, bytes: Bytes) -> Result<Vec<Entry>> {
    read(run, &spec().schema, bytes)
}

fn some(n: i64) -> Vec<Delta> {
    (0..n).map(|i| delta(&[((i, Some(format!("name {i}"))), 1)])).collect()
}

#[test]
fn runs_of_one_object_are_read_by_their_ranges() {
    let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
    assert!(writer.is_empty());
    let none = delta(&[((1, None), 2), ((1, None), -2)]);
    assert_eq!(writer.add(&spec(), epoch(3), epoch(7), &[none]).unwrap(), None);
    assert!(writer.is_empty(), "rows that add up to nothing take no bytes");
    let first = writer.add(&spec(), epoch(3), epoch(7), &some(3)).unwrap().unwrap();
    let second = writer.add(&spec(), epoch(7), epoch(9), &some(1)).unwrap().unwrap();
    let (object, bytes) = writer.finish();
    assert_eq!((object.as_str(), first.offset, second.offset), ("data/1-x.runs", 0, first.length));
    assert_eq!(bytes.len() as u64, first.length + second.length);
    let range = |run: &Run| bytes.slice(run.offset as usize..(run.offset + run.length) as usize);
    assert_eq!(rows(&load(&first, range(&first)).unwrap()).len(), 3);
    let second = rows(&load(&second, range(&second)).unwrap());
    assert_eq!(second.into_iter().collect::<Vec<_>>(), [((epoch(9), (0, Some("name 0".into()))), 1)]);
}

#[test]
fn a_run_of_one_row_is_small() {
    let types = [DataType::Int64, DataType::Utf8, DataType::Decimal128(38, 2), DataType::Boolean, DataType::Date32];
    let fields = types.iter().cycle().take(10).enumerate();
    let fields: Vec<Field> = fields.map(|(i, t)| Field::new(format!("a_column_{i}"), t.clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
    let wide = Spec { kind: Kind::Bag, schema, key: vec![0] };
    let run = writer.add(&wide, epoch(0), epoch(1), &[Delta::uniform(batch, 1)]).unwrap().unwrap();
    assert!(run.length < 1500, "10 columns: {} bytes", run.length);
    let (run, _) = write(&some(1)).unwrap();
    assert!(run.length < 700, "2 columns: {} bytes", run.length);
}

#[test]
fn only_the_vnodes_asked_for_are_read() {
    let (run, bytes) = write(&some(5000)).unwrap();
    assert_eq!(run.vnodes, (0, VNODES - 1));
    let all = rows(&load(&run, bytes.clone()).unwrap());
    let mut together = BTreeMap::new();
    for part in 0..3 {
        let keep = move |vnode| crate::key::owner(vnode, 3) == part;
        let kept = Reader::open(&run, &spec().schema, bytes.clone()).unwrap().rows(&keep).unwrap();
        for Rows { batch, weights, epochs } in kept {
            let keys = Keys::of(&batch, &[0]).unwrap();
            assert!((0..keys.len()).all(|row| keep(keys.vnode(row))));
            together.extend(rows(&[Entry { epoch: epoch(epochs[0]), delta: Delta::new(batch, weights) }]));
        }
    }
    assert_eq!(all.len(), 5000);
    assert_eq!(together, all);
    let reader = Reader::open(&run, &spec().schema, bytes).unwrap();
    assert_eq!(reader.vnodes().iter().sum::<u64>(), 5000);
}

#[test]
fn no_key_has_rows_in_two_parts_of_a_run() {
    // Of few keys each has more rows than a block.
    let few: Vec<Delta> = (0..40_000).map(|i| delta(&[((i % 3, Some(format!("{i}"))), 1)])).collect();
    for (deltas, keys) in [(some(40_000), 40_000), (few, 3)] {
        let (run, bytes) = write(&deltas).unwrap();
        let reader = Reader::open(&run, &spec().schema, bytes).unwrap();
        for limit in [1, 10_000, 100_000] {
            let parts = reader.parts(Kind::Keyed, limit, u64::MAX);
            assert_eq!(parts.len() > 1, keys > 3 && limit < 40_000, "{keys} keys, at {limit}: {parts:?}");
            let mut seen = BTreeSet::new();
            let mut found = 0;
            for part in parts {
                let entries = reader.entries(part).unwrap();
                found += entries.iter().map(|entry| entry.delta.len()).sum::<usize>();
                let ids: BTreeSet<i64> = rows(&entries).into_keys().map(|(_, (id, _))| id).collect();
                assert!(ids.is_disjoint(&seen), "{keys} keys, parts of {limit} rows");
                seen.extend(ids);
            }
            assert_eq!((found, seen.len()), (40_000, keys));
        }
    }
}

#[test]
fn rows_without_a_key_are_in_many_parts() {
    let spec = Spec { kind: Kind::Bag, key: vec![], ..spec() };
    let row = |id: i64| (id, Some(format!("name {id}")));
    let limits = Limits { block_rows: 100, ..Limits::default() };
    // Each comes, comes once more, and two of three go.
    let change = |of: i64, weight: i64| {
        delta(&(0..1000).map(|id| (row(id), if id % 3 < of { weight } else { 0 })).collect::<Vec<_>>())
    };
    let mut writer = Writer::new("data/1-x.runs".into(), limits);
    let runs: Vec<Run> = [(3, 1), (3, 1), (2, -2)]
        .iter()
        .zip(0..)
        .map(|(&(of, weight), at)| writer.add(&spec, epoch(at), epoch(at + 1), &[change(of, weight)]).unwrap().unwrap())
        .collect();
    let bytes = writer.finish().1;
    let range = |run: &Run| bytes.slice(run.offset as usize..(run.offset + run.length) as usize);
    let runs: Vec<_> = runs.iter().map(|run| (run.clone(), range(run))).collect();
    let mut writer = Writer::new("data/1-y.runs".into(), limits);
    let merged = crate::merge::merge(&mut writer, &spec, epoch(1), &runs).unwrap().unwrap();
    let bytes = writer.finish().1;
    let reader = Reader::open(&merged, &spec.schema, bytes.clone()).unwrap();
    for (rows, bytes) in [(100, u64::MAX), (u64::MAX, 1)] {
        let parts = reader.parts(spec.kind, rows, bytes);
        assert!(parts.len() > 10, "{parts:?}");
    }
    let restored = restored(&spec, &merged, bytes).unwrap();
    assert_eq!(restored.rows(), 2 * 333);
}

#[test]
fn rows_are_in_order_of_vnode_and_key() {
    let (run, bytes) = write(&some(20_000)).unwrap();
    let entries = load(&run, bytes.clone()).unwrap();
    let mut before = None;
    for Entry { delta, .. } in &entries {
        assert!(delta.len() <= 8192);
        let keys = Keys::of(delta.rows(), &[0]).unwrap();
        for row in 0..keys.len() {
            let now = Some((keys.vnode(row), keys.get(row).to_vec()));
            assert!(before < now);
            before = now;
        }
    }
    let footer = Footer::decode(&bytes).unwrap();
    assert_eq!(footer.blocks.len(), 3);
    assert!(footer.blocks.windows(2).all(|w| w[0].vnodes.last().map(|v| v.0) <= w[1].vnodes.first().map(|v| v.0)));
}

#[test]
fn blocks_of_wide_rows_stay_near_a_megabyte() {
    let wide = |i: i64| ((i, Some(format!("{i}").repeat(100_000))), 1);
    let (run, bytes) = write(&[delta(&(0..50).map(wide).collect::<Vec<_>>())]).unwrap();
    let entries = load(&run, bytes).unwrap();
    assert!(entries.len() > 5, "{} blocks", entries.len());
    assert_eq!(rows(&entries).len(), 50);
}

/// An arrangement of everything that the run says, applied as a start does: part by part, each in the order of epochs.
fn restored(spec: &Spec, run: &Run, bytes: Bytes) -> Result<Arrangement> {
    let arrangement = Arrangement::new(spec.clone(), Limits::TINY);
    let reader = Reader::open(run, &spec.schema, bytes)?;
    let mut reached = Epoch::ZERO;
    for part in reader.parts(spec.kind, 1, 1) {
        let mut entries = reader.entries(part)?;
        entries.sort_by_key(|entry| entry.epoch);
        for entry in &entries {
            reached = reached.max(entry.epoch);
            arrangement.apply(reached, &entry.delta)?;
        }
    }
    arrangement.advance(run.to);
    Ok(arrangement)
}

#[test]
fn rows_that_change_in_place_are_read_back_wherever_blocks_are_cut() {
    let spec = Spec { kind: Kind::Keyed, ..spec() };
    let row = |id: i64, name: &str| (id, Some(name.to_string()));
    let old: Vec<(Row, i64)> = (0..40).map(|id| (row(id, "old"), 1)).collect();
    let new: Vec<(Row, i64)> = (0..40).flat_map(|id| [(row(id, "new"), 1), (row(id, "old"), -1)]).collect();
    for block_rows in 1..8 {
        let limits = Limits { block_bytes: 1 << 20, ..Limits::each(block_rows) };
        let mut writer = Writer::new("data/1-x.runs".into(), limits);
        let first = writer.add(&spec, epoch(0), epoch(3), &[delta(&old)]).unwrap().unwrap();
        let second = writer.add(&spec, epoch(3), epoch(7), &[delta(&new)]).unwrap().unwrap();
        let bytes = writer.finish().1;
        let range = |run: &Run| bytes.slice(run.offset as usize..(run.offset + run.length) as usize);
        let runs = [(first.clone(), range(&first)), (second.clone(), range(&second))];
        // All of it merged, with the history of each epoch.
        let mut writer = Writer::new("data/1-y.runs".into(), limits);
        let merged = crate::merge::merge(&mut writer, &spec, epoch(1), &runs).unwrap().unwrap();
        let arrangement = restored(&spec, &merged, writer.finish().1).unwrap();
        assert_eq!(arrangement.rows(), 40, "blocks of {block_rows}");
    }
}

#[test]
fn runs_that_hold_the_new_row_of_a_key_before_the_old_one_are_read_in_order() {
    let rows = |rows: &[(i64, i64)]| Rows {
        batch: delta(&rows.iter().map(|(id, weight)| ((*id, Some(format!("{weight}"))), *weight)).collect::<Vec<_>>())
            .rows()
            .clone(),
        weights: rows.iter().map(|(_, weight)| *weight).collect(),
        epochs: vec![7; rows.len()].into(),
    };
    let blocks = vec![rows(&[(1, 1)]), rows(&[(1, -1)]), rows(&[(2, -1), (2, 1), (3, 1)]), rows(&[(3, -1), (4, 1)])];
    let ordered = super::read::retractions_first(blocks);
    let weights: Vec<Vec<i64>> = ordered.iter().map(|rows| rows.weights.to_vec()).collect();
    assert_eq!(weights, [vec![-1], vec![-1], vec![1], vec![1], vec![-1], vec![1], vec![1]]);
}

#[test]
fn a_block_of_nothing_but_a_huge_key_has_a_small_index() {
    let spec = Spec { key: vec![1], ..spec() };
    let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
    let rows = delta(&[((1, Some("k".repeat(1_000_000))), 1)]);
    writer.add(&spec, epoch(0), epoch(1), &[rows]).unwrap().unwrap();
    let footer = Footer::decode(&writer.finish().1).unwrap();
    assert_eq!(footer.blocks[0].keys.0.len(), 64);
    assert!(footer.encode().len() < 300);
}

/// Three rows with a column of each type.
fn every_type() -> (Spec, RecordBatch) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("int2", Arc::new(Int16Array::from(vec![Some(-1), None, Some(i16::MAX)]))),
        ("float8", Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), None]))),
        (
            "numeric",
            Arc::new(Decimal256Array::from(vec![None, Some(7.into()), None]).with_precision_and_scale(76, 3).unwrap()),
        ),
        ("free", Arc::new(FixedSizeBinaryArray::try_from_iter([[1u8; 21], [2; 21], [3; 21]].iter()).unwrap())),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\0"[..]), Some(b""), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(2)]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, 0, i64::MAX]).with_timezone("UTC"))),
        ("for", Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, -2, 3); 3]))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
        ),
        ("key", Arc::new(Int64Array::from(vec![3, 1, 2]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    (Spec { kind: Kind::Keyed, schema: batch.schema(), key: vec![10] }, batch)
}

#[test]
fn every_type_comes_back_as_it_was() {
    let (spec, batch) = every_type();
    let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
    // Often enough that compression is used, too.
    let deltas: Vec<Delta> = vec![Delta::uniform(batch.clone(), 1); 100];
    let run = writer.add(&spec, epoch(0), epoch(1), &deltas).unwrap().unwrap();
    let entries = read(&run, &spec.schema, writer.finish().1).unwrap();
    let [Entry { delta, .. }] = &entries[..] else { panic!("{} entries", entries.len()) };
    assert!(delta.weights().iter().all(|&w| w == 100));
    let order = arrow::compute::sort_to_indices(delta.rows().column(10), None, None).unwrap();
    let order = order.values().iter().copied().collect::<Vec<_>>();
    let found = delta.take(&order).unwrap();
    let expected = Delta::uniform(batch, 100).take(&[1, 2, 0]).unwrap();
    assert_eq!(format!("{:?}", found.rows()), format!("{:?}", expected.rows()));
}

#[test]
fn rows_without_a_key_are_all_in_one_vnode() {
    let spec = Spec { key: vec![], ..spec() };
    let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
    let run = writer.add(&spec, epoch(0), epoch(1), &some(100)).unwrap().unwrap();
    assert_eq!(run.vnodes.0, run.vnodes.1);
    assert_eq!(rows(&load(&run, writer.finish().1).unwrap()).len(), 100);
}

#[test]
fn equal_input_gives_equal_bytes() {
    assert_eq!(write(&some(1000)), write(&some(1000)));
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused_by_name() {
    let (run, bytes) = write(&some(40)).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        let cut = bytes.slice(..at);
        for (run, wrong) in [
            (run.clone(), Bytes::from(flipped)),
            (run.clone(), cut.clone()),
            (Run { length: at as u64, ..run.clone() }, cut),
        ] {
            let error = load(&run, wrong).err().unwrap_or_else(|| panic!("byte {at} does not matter"));
            assert!(matches!(&error, Error::Corrupt(m) if m.contains("data/1-x.runs")), "{at}: {error}");
        }
    }
}

#[test]
fn a_block_that_was_forged_checksum_and_all_is_read_or_refused() {
    let (spec, batch) = every_type();
    // Not compressed, and compressed.
    for copies in [1, 50] {
        let rows: Vec<u32> = (0..3).cycle().take(3 * copies).collect();
        let key = Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)) as ArrayRef;
        let mut columns = Delta::uniform(batch.clone(), 1).take(&rows).unwrap().rows().columns().to_vec();
        columns[10] = key;
        let batch = RecordBatch::try_new(spec.schema.clone(), columns).unwrap();
        let mut writer = Writer::new("data/1-x.runs".into(), Limits::default());
        let run = writer.add(&spec, epoch(0), epoch(1), &[Delta::uniform(batch, 1)]).unwrap().unwrap();
        let bytes = writer.finish().1;
        let mut footer = Footer::decode(&bytes).unwrap();
        let length = footer.blocks[0].length as usize;
        for at in 0..length {
            for value in [0, 1, 0x7f, 0xff, bytes[format::HEADER + at] ^ 1] {
                let mut forged = bytes[..format::HEADER + length].to_vec();
                forged[format::HEADER + at] = value;
                footer.blocks[0].checksum = xxhash_rust::xxh3::xxh3_64(&forged[format::HEADER..]);
                forged.extend(footer.encode());
                if let Err(error) = read(&run, &spec.schema, forged.into()) {
                    assert!(matches!(&error, Error::Corrupt(m) if m.contains("data/1-x.runs")), "{at}: {error}");
                }
            }
        }
    }
}

#[test]
fn blocks_that_share_their_bytes_are_refused() {
    let (run, bytes) = write(&some(3)).unwrap();
    let mut footer = Footer::decode(&bytes).unwrap();
    let end = footer.blocks[0].length as usize + format::HEADER;
    footer.blocks.push(footer.blocks[0].clone());
    let twice = [&bytes[..end], &footer.encode()].concat();
    let run = Run { length: twice.len() as u64, rows: 6, ..run };
    assert!(load(&run, twice.into()).unwrap_err().to_string().contains("one after the other"));
}

#[test]
fn a_newer_format_and_another_schema_are_refused_as_that() {
    let (run, bytes) = write(&some(1)).unwrap();
    let mut newer = bytes.to_vec();
    newer[7] = 2;
    let error = load(&run, newer.into()).unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
    let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let error = read(&run, &other, bytes).unwrap_err();
    assert!(error.to_string().contains("(Int64;Utf8) where (Int64)"), "{error}");
}

#[test]
fn the_names_of_types_are_part_of_the_format() {
    let list = DataType::List(Arc::new(Field::new("any", DataType::Utf8, true)));
    let all = [
        DataType::Boolean,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(38, 2),
        DataType::Decimal256(76, 0),
        DataType::FixedSizeBinary(21),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Interval(IntervalUnit::MonthDayNano),
        list,
    ];
    let schema = Schema::new(all.into_iter().map(|t| Field::new("c", t, true)).collect::<Vec<_>>());
    assert_eq!(
        format::types(&schema),
        "Boolean;Int16;Int32;Int64;Float32;Float64;Decimal128(38, 2);Decimal256(76, 0);FixedSizeBinary(21);Utf8;Binary;\
         Date32;Time64(µs);Timestamp(µs);Timestamp(µs, \"UTC\");Interval(MonthDayNano);List(Utf8)"
    );
}

/// The rows of `golden.runs`, which is never written again: runs written by an older Weir must stay readable.
fn golden() -> Vec<(Row, i64)> {
    (0..200).map(|i| ((i * i, (i % 7 != 0).then(|| format!("row {i}"))), 1 - 2 * (i % 2))).collect()
}

#[test]
fn bytes_written_long_ago_are_read() {
    let bytes = Bytes::from_static(include_bytes!("golden.runs"));
    let length = bytes.len() as u64;
    assert_eq!(&bytes[..8], b"WEIRRUN\x01");
    let (run, _) = write(&[delta(&golden())]).unwrap();
    let found = rows(&load(&Run { length, ..run }, bytes).unwrap());
    let expected = golden().into_iter().map(|(row, weight)| ((epoch(7), row), weight)).collect();
    assert_eq!(found, expected);
}

#[test]
fn names_of_objects_say_whose_they_are() {
    for store in [0, 1, u64::MAX] {
        let named = Maker { store: StoreId(store), generation: Generation(7) };
        let path = path(named, Ulid::from_parts(1, 2));
        assert_eq!((maker(&path), named_at(&path)), (Some(named), Some(1)), "{path}");
    }
    let long_ago = maker("data/7-01ARZ3NDEKTSV4RRFFQ69G5FAV.runs");
    assert_eq!(long_ago, Some(Maker { store: StoreId(0), generation: Generation(7) }));
    for other in ["data/7-x.runs", "manifest/7", "data/7", "data/x-01ARZ3NDEKTSV4RRFFQ69G5FAV.runs"] {
        assert_eq!(maker(other), None, "{other}");
    }
}

/// All of them small, or as in the product.
fn any_limits() -> impl Strategy<Value = Limits> {
    prop_oneof![Just(Limits::default()), (1..4usize).prop_map(Limits::each)]
}

fn any_row() -> impl Strategy<Value = (Row, i64)> {
    let name = prop_oneof![Just(None), "[a-c]{0,2}".prop_map(Some)];
    ((-4i64..4, name), -2i64..3)
}

proptest! {
    #[test]
    fn a_run_is_the_sum_of_its_deltas(
        deltas in prop::collection::vec(prop::collection::vec(any_row(), 0..30), 0..8),
        limits in any_limits(),
    ) {
        let mut expected: BTreeMap<(Epoch, Row), i64> = BTreeMap::new();
        for (row, weight) in deltas.iter().flatten() {
            *expected.entry((epoch(7), row.clone())).or_default() += weight;
        }
        expected.retain(|_, weight| *weight != 0);
        let deltas: Vec<Delta> = deltas.iter().map(|d| delta(d)).collect();
        match write_within(limits, &deltas) {
            None => prop_assert!(expected.is_empty()),
            Some((run, bytes)) => {
                prop_assert_eq!((run.after, run.to, run.rows), (epoch(3), epoch(7), expected.len() as u64));
                prop_assert_eq!(rows(&load(&run, bytes).unwrap()), expected);
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_never_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..2000) {
        let (run, bytes) = write(&some(40)).unwrap();
        let mut wrong = bytes.to_vec();
        let at = at.min(wrong.len());
        let end = (at + noise.len()).min(wrong.len());
        wrong.splice(at..end, noise);
        let run = Run { length: wrong.len() as u64, ..run };
        if let Ok(entries) = load(&run, wrong.into()) {
            prop_assert_eq!(rows(&entries), rows(&load(&Run { length: bytes.len() as u64, ..run }, bytes).unwrap()));
        }
    }
}
