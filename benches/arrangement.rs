//! (g) Arrangements alone, on one core: apply, probe, scan, retract.

use crate::Scale;
use crate::report::{Report, amount};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use weir_storage::arrangement::{Arrangement, Kind, Spec};
use weir_storage::delta::Delta;
use weir_storage::epoch::Epoch;
use weir_storage::key::Keys;
use weir_storage::limits::Limits;

/// Rows of one delta, as the host makes them.
const BATCH: usize = 8192;
const PROBES: usize = 1_000_000;

pub fn run(scale: Scale, report: &mut Report) {
    for rows in [100_000, 1_000_000, 10_000_000] {
        let rows = scale.of(rows);
        for (name, kind) in [("keyed", Kind::Keyed), ("bag", Kind::Bag)] {
            measure(&format!("{name} of {} rows", amount(rows as f64)), kind, rows, |i| i, report);
        }
        // Even rows share one key.
        measure(
            &format!("bag of {} rows, half under one key", amount(rows as f64)),
            Kind::Bag,
            rows,
            |i| if i % 2 == 0 { 0 } else { i },
            report,
        );
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Int64, false)]))
}

fn batch(rows: &[i64], key: impl Fn(i64) -> i64) -> RecordBatch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| key(*row)).collect::<Int64Array>());
    let values: ArrayRef = Arc::new(rows.iter().copied().collect::<Int64Array>());
    RecordBatch::try_new(schema(), vec![keys, values]).expect("two columns")
}

fn measure(name: &str, kind: Kind, rows: usize, key: impl Fn(i64) -> i64 + Copy, report: &mut Report) {
    let mut random = StdRng::seed_from_u64(7);
    let mut order: Vec<i64> = (0..rows as i64).collect();
    order.shuffle(&mut random);
    let arrangement = Arrangement::new(Spec { kind, schema: schema(), key: vec![0] }, Limits::default());
    let mut epoch = Epoch::ZERO;
    let mut apply = |rows: &[i64], weight: i64| {
        let deltas: Vec<_> = rows.chunks(BATCH).map(|rows| Delta::uniform(batch(rows, key), weight)).collect();
        let start = Instant::now();
        for delta in &deltas {
            epoch = epoch.next();
            arrangement.apply(epoch, delta).expect("apply");
            arrangement.advance(epoch);
            arrangement.compact(epoch);
            arrangement.reclaim();
        }
        rows.len() as f64 / start.elapsed().as_secs_f64()
    };
    let applied = apply(&order, 1);
    report.add(format!("(g) apply, {name}"), format!("{} rows/s", amount(applied)), "", ">= 3 M at 10^6");

    let snapshot = arrangement.snapshot(arrangement.upper()).expect("the newest epoch");
    // The hot key would return half of all rows for one probe: probes look for the cold ones.
    let cold = |random: &mut StdRng| random.random_range(0..rows as i64 / 2) * 2 + 1;
    for (what, miss) in [("hit", 0), ("miss", rows as i64)] {
        let wanted: Vec<_> = (0..PROBES).map(|_| cold(&mut random) + miss).collect();
        let batches: Vec<_> = wanted.chunks(BATCH).map(|rows| batch(rows, key)).collect();
        let start = Instant::now();
        let mut found = 0;
        for probe in &batches {
            let keys = Keys::of(probe, &[0]).expect("keys");
            let mut from = Some(0);
            while let Some(at) = from {
                let (matches, next) = snapshot.probe(&keys, at, BATCH);
                found += matches.len();
                from = next;
            }
        }
        let rate = PROBES as f64 / start.elapsed().as_secs_f64();
        assert_eq!(found, if miss == 0 { PROBES } else { 0 });
        report.add(
            format!("(g) probe, {what}, {name}"),
            format!("{} keys/s", amount(rate)),
            "hash table 45 M/s at 10^6",
            ">= 5 M at 10^6",
        );
    }

    let start = Instant::now();
    let mut sum = 0;
    for delta in snapshot.scan(None) {
        let delta = delta.expect("scan");
        let (values, weights) = (delta.rows().column(1).as_primitive::<Int64Type>().values(), delta.weights());
        sum += values.iter().zip(weights.iter()).map(|(value, weight)| value * weight).sum::<i64>();
    }
    assert_eq!(black_box(sum), order.iter().sum::<i64>());
    let rate = rows as f64 / start.elapsed().as_secs_f64();
    report.add(format!("(g) scan and add up, {name}"), format!("{} rows/s", amount(rate)), "", ">= 100 M at 10^6");
    drop(snapshot);

    let some = rows / 10;
    let (odd, even): (Vec<i64>, Vec<i64>) = order.iter().partition(|row| *row % 2 == 1);
    let cold = apply(&odd[..some], -1);
    let hot = apply(&even[..some], -1);
    let beside =
        if key(2) == 0 { format!("from the hot key {}/s", amount(hot)) } else { format!("again {}/s", amount(hot)) };
    report.add(format!("(g) retract, {name}"), format!("{} rows/s", amount(cold)), beside, "hot as cheap as cold");
}
