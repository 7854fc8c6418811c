//! Golden bytes of every type (they are on disk), and order and equality of keys against those of the values.

use super::*;
use crate::error::Error;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::Arc;

fn field(array: &dyn Array) -> FieldRef {
    Arc::new(Field::new("x", array.data_type().clone(), true))
}

fn tagged(array: &dyn Array, tag: &str) -> FieldRef {
    let metadata = HashMap::from([("weir.type".to_string(), tag.to_string())]);
    Arc::new(Field::new("x", array.data_type().clone(), true).with_metadata(metadata))
}

fn encode(array: impl Array + 'static) -> Keys {
    Keys::encode(&[field(&array)], &[Arc::new(array)]).unwrap()
}

fn hex(keys: &Keys) -> Vec<String> {
    let hex = |row| keys.get(row).iter().map(|b| format!("{b:02x}")).collect();
    (0..keys.len()).map(hex).collect()
}

/// The bytes of each value of `array`.
#[track_caller]
fn golden(array: impl Array + 'static, expected: &[&str]) {
    assert_eq!(hex(&encode(array)), expected);
}

#[test]
fn golden_bytes_of_integers() {
    golden(BooleanArray::from(vec![Some(false), Some(true), None]), &["0100", "0101", "0200"]);
    golden(Int8Array::from(vec![-1, 1]), &["017f", "0181"]);
    golden(Int16Array::from(vec![Some(-2), Some(0), None]), &["017ffe", "018000", "020000"]);
    golden(
        Int32Array::from(vec![i32::MIN, -1, 7, i32::MAX]),
        &["0100000000", "017fffffff", "0180000007", "01ffffffff"],
    );
    golden(
        Int64Array::from(vec![Some(-1), Some(258), None]),
        &["017fffffffffffffff", "018000000000000102", "020000000000000000"],
    );
    golden(UInt8Array::from(vec![255]), &["01ff"]);
    golden(UInt16Array::from(vec![258]), &["010102"]);
    golden(UInt32Array::from(vec![258]), &["0100000102"]);
    golden(UInt64Array::from(vec![258]), &["010000000000000102"]);
    golden(NullArray::new(2), &["02", "02"]);
}

#[test]
fn golden_bytes_of_floats() {
    golden(Float32Array::from(vec![-1.5, -0.0, 0.0, 1.5]), &["01403fffff", "0180000000", "0180000000", "01bfc00000"]);
    golden(
        Float64Array::from(vec![f64::NEG_INFINITY, -1.0, 0.0, f64::INFINITY, f64::NAN, -f64::NAN]),
        &[
            "01000fffffffffffff",
            "01400fffffffffffff",
            "018000000000000000",
            "01fff0000000000000",
            "01fff8000000000000",
            "01fff8000000000000",
        ],
    );
}

#[test]
fn golden_bytes_of_times() {
    golden(Date32Array::from(vec![i32::MIN, 0, i32::MAX]), &["0100000000", "0180000000", "01ffffffff"]);
    golden(Date64Array::from(vec![1]), &["018000000000000001"]);
    golden(Time32SecondArray::from(vec![1]), &["0180000001"]);
    golden(Time32MillisecondArray::from(vec![1]), &["0180000001"]);
    golden(Time64MicrosecondArray::from(vec![1]), &["018000000000000001"]);
    golden(Time64NanosecondArray::from(vec![1]), &["018000000000000001"]);
    golden(TimestampSecondArray::from(vec![1]), &["018000000000000001"]);
    golden(TimestampMillisecondArray::from(vec![1]), &["018000000000000001"]);
    golden(TimestampNanosecondArray::from(vec![1]), &["018000000000000001"]);
    let plain = TimestampMicrosecondArray::from(vec![Some(-1), Some(i64::MAX), None]);
    let bytes = ["017fffffffffffffff", "01ffffffffffffffff", "020000000000000000"];
    golden(plain.clone(), &bytes);
    golden(plain.with_timezone("UTC"), &bytes);
    golden(DurationSecondArray::from(vec![1]), &["018000000000000001"]);
    golden(DurationMillisecondArray::from(vec![1]), &["018000000000000001"]);
    golden(DurationMicrosecondArray::from(vec![1]), &["018000000000000001"]);
    golden(DurationNanosecondArray::from(vec![1]), &["018000000000000001"]);
    // A day is 24 hours, a month is 30 days.
    let interval = |months, days, nanoseconds| IntervalMonthDayNano { months, days, nanoseconds };
    let (day, month) = ("018000000000000000000000141dd76000", "0180000000000000000000025b7f3d4000");
    golden(
        IntervalMonthDayNanoArray::from(vec![
            interval(0, 1, 0),
            interval(0, 0, 86_400_000_000_000),
            interval(0, 30, 0),
            interval(1, 0, 0),
            interval(0, 0, -1000),
        ]),
        &[day, day, month, month, "017fffffffffffffffffffffffffffffff"],
    );
}

#[test]
fn golden_bytes_of_numerics() {
    let decimal = Decimal128Array::from(vec![Some(-1), Some(100), None]).with_precision_and_scale(10, 2).unwrap();
    golden(
        decimal,
        &[
            "017fffffffffffffffffffffffffffffff",
            "0180000000000000000000000000000064",
            "0200000000000000000000000000000000",
        ],
    );
    let decimal = Decimal256Array::from(vec![i256::from(-1), i256::from(100)]).with_precision_and_scale(50, 2).unwrap();
    let zeros = "0".repeat(60);
    golden(decimal, &[&format!("017f{}", "f".repeat(62)), &format!("0180{zeros}64")]);
    // Unconstrained numeric: the display scale in the last two bytes is no part of the value.
    let numeric = |scale: u8| {
        let mut bytes = [7u8; 21];
        bytes[20] = scale;
        bytes
    };
    let values = FixedSizeBinaryArray::try_from_iter([numeric(1), numeric(2)].into_iter()).unwrap();
    let bytes = format!("01{}", "07".repeat(19));
    golden(values, &[&bytes, &bytes]);
    let values = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1u8, 2]), None].into_iter(), 2).unwrap();
    golden(values, &["010102", "020000"]);
}

#[test]
fn golden_bytes_of_strings() {
    let texts = vec![Some(""), Some("a"), Some("a\0b"), Some("é "), None];
    let bytes = ["010000", "01610000", "016100ff620000", "01c3a9200000", "02"];
    golden(StringArray::from(texts.clone()), &bytes);
    golden(LargeStringArray::from(texts.clone()), &bytes);
    golden(StringViewArray::from(texts.clone()), &bytes);
    let binary: Vec<Option<&[u8]>> = texts.iter().map(|t| t.map(str::as_bytes)).collect();
    golden(BinaryArray::from(binary.clone()), &bytes);
    golden(LargeBinaryArray::from(binary.clone()), &bytes);
    golden(BinaryViewArray::from(binary), &bytes);
    golden(texts.into_iter().collect::<DictionaryArray<Int32Type>>(), &bytes);
}

#[test]
fn golden_bytes_of_lists() {
    let lists = [Some(vec![Some(1), None]), Some(vec![]), None, Some(vec![Some(-1)])];
    let expected = ["0101018000000101020000000000", "0100", "02", "0101017fffffff00"];
    golden(ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone()), &expected);
    golden(LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone()), &expected);
    let sliced = ListArray::from_iter_primitive::<Int32Type, _, _>(lists).slice(2, 2);
    golden(sliced, &expected[2..]);
    let element = Arc::new(Field::new("item", DataType::Utf8, true));
    let texts = StringArray::from(vec!["a", "bc"]);
    let list = ListArray::new(element, OffsetBuffer::from_lengths([2]), Arc::new(texts), None);
    golden(list, &["01010161000001016263000000"]);
}

#[test]
fn golden_bytes_and_hashes_of_several_columns() {
    let numbers: ArrayRef = Arc::new(Int16Array::from(vec![Some(1), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("x")]));
    let keys = Keys::encode(&[field(&numbers), field(&texts)], &[numbers.clone(), texts.clone()]).unwrap();
    assert_eq!(hex(&keys), ["01800102", "02000001780000"]);
    assert_eq!([keys.hash(0), keys.hash(1)], [0x69f0_9497_d609_50e9, 0x2237_02c0_54c8_c1b7]);
    assert_eq!([keys.vnode(0), keys.vnode(1)], [233, 183]);
    let keys = Keys::encode(&[field(&numbers), field(&numbers)], &[numbers.clone(), numbers]).unwrap();
    assert_eq!(hex(&keys), ["018001018001", "020000020000"]);
    let unit = Keys::unit(2);
    assert_eq!((unit.len(), unit.get(1), unit.hash(1)), (2, &[][..], 0x2d06_8005_38d3_94c2));
}

#[test]
fn char_ignores_trailing_blanks_and_text_does_not() {
    let values = StringArray::from(vec!["a", "a  ", " a", "   "]);
    let char = Keys::encode(&[tagged(&values, "char(3)")], &[Arc::new(values.clone())]).unwrap();
    assert_eq!(hex(&char), ["01610000", "01610000", "0120610000", "010000"]);
    let varchar = Keys::encode(&[tagged(&values, "varchar(3)")], &[Arc::new(values)]).unwrap();
    assert_ne!(varchar.get(0), varchar.get(1));
}

#[test]
fn a_key_knows_whether_a_column_of_it_is_null() {
    let left: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(1)]));
    let right: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), None]));
    let keys = Keys::encode(&[field(&left), field(&right)], &[left.clone(), right]).unwrap();
    assert_eq!([0, 1, 2].map(|row| keys.has_null(row)), [false, true, true]);
    assert_eq!([0, 1].map(|row| keys.take(&[2, 0]).unwrap().has_null(row)), [true, false]);
    assert_eq!(hex(&keys.take(&[2, 0]).unwrap()), [hex(&keys)[2].clone(), hex(&keys)[0].clone()]);
    assert!(!Keys::unit(1).has_null(0));
}

#[test]
fn a_type_that_cannot_be_a_key_is_refused_by_name() {
    let values = IntervalYearMonthArray::from(vec![1]);
    let error = Keys::encode(&[field(&values)], &[Arc::new(values)]).unwrap_err();
    assert!(matches!(&error, Error::Invalid(message) if message.contains("column \"x\"")), "{error}");
}

#[test]
fn keys_past_four_gigabytes_are_refused() {
    let mut offsets = packed::Offsets::new(2);
    offsets.push(u64::from(u32::MAX)).unwrap();
    assert!(matches!(offsets.push(1), Err(Error::Invalid(_))));
}

/// Byte order of the keys is the order of the values, and equal values have equal keys. `None` is NULL, and last.
fn check_order<T: Clone>(
    name: &str,
    random: impl Fn(&mut SmallRng) -> T,
    array: impl Fn(Vec<Option<T>>) -> ArrayRef,
    compare: impl Fn(&T, &T) -> std::cmp::Ordering,
) {
    for seed in 0..20 {
        println!("{name} seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let values: Vec<Option<T>> = (0..60).map(|_| rng.random_bool(0.9).then(|| random(&mut rng))).collect();
        let column = array(values.clone());
        // A second column, so that a longer first one must not spill over into it.
        let second: ArrayRef = Arc::new(UInt8Array::from_iter_values((0..60).map(|_| rng.random_range(0..3))));
        let keys = Keys::encode(&[field(&column), field(&second)], &[column, second.clone()]).unwrap();
        let second = second.as_primitive::<UInt8Type>();
        for (a, left) in values.iter().enumerate() {
            for (b, right) in values.iter().enumerate() {
                let expected = match (left, right) {
                    (Some(left), Some(right)) => compare(left, right),
                    (left, right) => right.is_some().cmp(&left.is_some()),
                };
                let expected = expected.then(second.value(a).cmp(&second.value(b)));
                assert_eq!(keys.get(a).cmp(keys.get(b)), expected, "{name}: rows {a} and {b}");
                assert_eq!(keys.hash(a) == keys.hash(b), expected.is_eq());
            }
        }
    }
}

fn bytes(rng: &mut SmallRng) -> Vec<u8> {
    let length = rng.random_range(0..4);
    (0..length).map(|_| [0, 1, 2, 254, 255][rng.random_range(0..5)]).collect()
}

#[test]
fn the_order_of_keys_is_the_order_of_values() {
    check_order(
        "int",
        |rng| rng.random_range(-300..300i64) << rng.random_range(0..50),
        |v| Arc::new(Int64Array::from(v)),
        i64::cmp,
    );
    let floats =
        [f64::NEG_INFINITY, -2.5, -1e-310, -0.0, 0.0, 1e-310, 3.0, f64::MAX, f64::INFINITY, f64::NAN, -f64::NAN];
    let compare =
        |a: &f64, b: &f64| a.is_nan().cmp(&b.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    check_order("float", |rng| floats[rng.random_range(0..floats.len())], |v| Arc::new(Float64Array::from(v)), compare);
    let numbers = |rng: &mut SmallRng| i128::from(rng.random_range(-300..300)) << rng.random_range(0..100);
    check_order("decimal", numbers, |v| Arc::new(Decimal128Array::from(v)), i128::cmp);
    let wide = |rng: &mut SmallRng| i256::from_i128(numbers(rng)).wrapping_mul(i256::from_i128(1 << 100));
    check_order("decimal256", wide, |v| Arc::new(Decimal256Array::from(v)), i256::cmp);
    check_order("bytes", bytes, |v| Arc::new(BinaryArray::from_iter(v)), Vec::cmp);
    check_order("views", bytes, |v| Arc::new(BinaryViewArray::from_iter(v)), Vec::cmp);
    let list = |rng: &mut SmallRng| (0..rng.random_range(0..4)).map(|_| bytes(rng)).collect::<Vec<_>>();
    let array = |values: Vec<Option<Vec<Vec<u8>>>>| {
        let mut builder = ListBuilder::new(BinaryBuilder::new());
        for value in values {
            value.iter().flatten().for_each(|element| builder.values().append_value(element));
            builder.append(value.is_some());
        }
        Arc::new(builder.finish()) as ArrayRef
    };
    check_order("list", list, array, Vec::cmp);
}

fn hash_of(array: impl Array + 'static) -> Vec<u128> {
    let schema = Arc::new(Schema::new(vec![field(&array)]));
    row_hashes(&RecordBatch::try_new(schema, vec![Arc::new(array)]).unwrap()).unwrap()
}

/// All rows are different.
#[track_caller]
fn distinct(array: impl Array + 'static) {
    let hashes = hash_of(array);
    let set: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(set.len(), hashes.len());
}

#[test]
fn rows_are_equal_only_if_every_bit_is() {
    distinct(BooleanArray::from(vec![Some(false), Some(true), None]));
    distinct(Int64Array::from(vec![Some(0), Some(1), Some(1 << 63), Some(1 << 32), None]));
    distinct(Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), None]));
    distinct(StringArray::from(vec![Some(""), Some("a"), Some("a "), Some("\0"), None]));
    distinct(Decimal128Array::from(vec![Some(0), Some(1), Some(1 << 64), None]));
    distinct(Decimal256Array::from(vec![i256::ZERO, i256::ONE, i256::from_i128(1 << 64), i256::from_parts(0, 1)]));
    let interval = |months, days, nanoseconds| IntervalMonthDayNano { months, days, nanoseconds };
    let values = vec![interval(0, 1, 0), interval(1, 0, 0), interval(0, 0, 1), interval(0, 0, 86_400_000_000_000)];
    distinct(IntervalMonthDayNanoArray::from(values));
    let values = [[0u8; 21], std::array::from_fn(|i| (i == 20) as u8)];
    distinct(FixedSizeBinaryArray::try_from_iter(values.into_iter()).unwrap());
    let lists = [Some(vec![]), Some(vec![None]), Some(vec![Some(0)]), Some(vec![Some(0), Some(0)]), None];
    distinct(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
}

#[test]
fn the_same_text_is_the_same_row_in_every_layout() {
    let texts = vec![Some("a"), None, Some("a text too long to be kept in a view itself")];
    let expected = hash_of(StringArray::from(texts.clone()));
    assert_eq!(hash_of(StringViewArray::from(texts.clone())), expected);
    assert_eq!(hash_of(LargeStringArray::from(texts.clone())), expected);
    assert_eq!(hash_of(texts.into_iter().collect::<DictionaryArray<Int32Type>>()), expected);
    let sliced = StringArray::from(vec!["x", "a"]).slice(1, 1);
    assert_eq!(hash_of(sliced), expected[..1]);
}

#[test]
fn values_of_neighbouring_columns_do_not_mix() {
    let hash = |left: &str, right: &str| {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec![left])), Arc::new(StringArray::from(vec![right]))];
        let schema = Schema::new(columns.iter().map(|c| field(c)).collect::<Vec<_>>());
        row_hashes(&RecordBatch::try_new(Arc::new(schema), columns).unwrap()).unwrap()
    };
    assert_ne!(hash("ab", "c"), hash("a", "bc"));
    assert_ne!(hash("a", "b"), hash("b", "a"));
}

#[test]
fn row_hashes_are_pinned() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec![Some("weir"), None])),
        Arc::new(Float64Array::from(vec![0.5, -0.0])),
    ];
    let schema = Schema::new(columns.iter().map(|c| field(c)).collect::<Vec<_>>());
    let rows = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let hashes: Vec<String> = row_hashes(&rows).unwrap().iter().map(|hash| format!("{hash:032x}")).collect();
    assert_eq!(hashes, ["deab6af18b86a912ecf5da2371ffdc85", "95c05092fb6912951dfb4a17e1d79fe4"]);
}
