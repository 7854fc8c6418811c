//! Functions whose results can be far larger than their arguments: repeat, lpad, rpad, replace, concat, concat_ws and `||`; and how all
//! others bound theirs. Lengths are
//! checked before anything is allocated: no value has more than 1 GB, as in Postgres, and no column of a batch has more than there is
//! [`room`] for.

use super::definition::{Call, Definition, Resolved, is_text, undefined};
use crate::error::{Error, Result};
use crate::room;
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, StringBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int32Type};
use std::fmt::Write;
use std::sync::Arc;

/// Bytes of a value, at most.
pub const LONGEST: usize = (1 << 30) - 1;

/// Bytes that are written at once where a text comes many times.
const BLOCK: usize = 4096;

pub const FUNCTIONS: &[Definition] = &[
    long("repeat", |given| texts("repeat", given, &[Type::Text, Type::Int4]), repeat, true),
    long("lpad", |given| padding("lpad", given), |call| pad(call, Side::Left), true),
    long("rpad", |given| padding("rpad", given), |call| pad(call, Side::Right), true),
    long("replace", |given| texts("replace", given, &[Type::Text, Type::Text, Type::Text]), replace, true),
    long("concat", |given| any("concat", given, 1), |call| joined(call, 0), false),
    long("concat_ws", |given| any("concat_ws", given, 2), |call| joined(call, 1), false),
    long("||", |given| texts("||", given, &[Type::Text, Type::Text]), chained, true),
];

const fn long(
    name: &'static str,
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
    strict: bool,
) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict, fallible: true }
}

fn texts(name: &str, given: &[Option<Type>], wanted: &[Type]) -> Result<Resolved> {
    // A number literal is a bigint while DataFusion plans.
    let is_number = |given: &Option<Type>| matches!(given, None | Some(Type::Int2 | Type::Int4 | Type::Int8));
    let fits = |(given, wanted): (&Option<Type>, &Type)| match wanted {
        Type::Int4 => is_number(given),
        _ => is_text(given),
    };
    match given.len() == wanted.len() && given.iter().zip(wanted).all(fits) {
        true => Ok(Resolved { arguments: wanted.to_vec(), result: Type::Text }),
        false => Err(undefined(name, given)),
    }
}

fn padding(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    let wanted = [Type::Text, Type::Int4, Type::Text];
    texts(name, given, &wanted[..given.len().clamp(2, 3)])
}

/// Values of any type, as text; truth values as `t` and `f`.
fn any(name: &str, given: &[Option<Type>], least: usize) -> Result<Resolved> {
    let argument = |kind: &Option<Type>| if *kind == Some(Type::Bool) { Type::Bool } else { Type::Text };
    match given.len() >= least {
        true => Ok(Resolved { arguments: given.iter().map(argument).collect(), result: Type::Text }),
        false => Err(undefined(name, given)),
    }
}

/// Results in the making.
#[derive(Default)]
pub(super) struct Texts {
    built: StringBuilder,
    bytes: usize,
}

impl Texts {
    pub fn null(&mut self) {
        self.built.append_null();
    }

    /// A value of `length` bytes, which is written piece by piece.
    pub fn push<'a>(&mut self, length: usize, pieces: impl Iterator<Item = &'a str>) -> Result<()> {
        self.bytes = self.bytes.saturating_add(length);
        fits(length, self.bytes)?;
        for piece in pieces {
            let _ = self.built.write_str(piece);
        }
        self.built.append_value("");
        Ok(())
    }

    /// A value that is there already.
    pub fn add(&mut self, text: Option<&str>) -> Result<()> {
        match text {
            Some(text) => self.push(text.len(), std::iter::once(text)),
            None => {
                self.null();
                Ok(())
            }
        }
    }

    pub fn finish(self) -> ArrayRef {
        Arc::new(self.strings())
    }

    pub fn strings(mut self) -> StringArray {
        self.built.finish()
    }
}

/// Whether a value may be of this length, and all of a batch together of that one.
pub(crate) fn fits(length: usize, all: usize) -> Result<()> {
    if length > LONGEST {
        return Err(too_long(LONGEST));
    }
    room::check(length.max(all))
}

fn too_long(most: usize) -> Error {
    Error::new("54000", "requested length too large").detail(format!("A value can have at most {most} bytes."))
}

/// 54000 if one of `values` is longer than a value may be: of what comes from where nobody has looked. Costs nothing where all of them
/// together are no longer.
pub fn bounded(values: &dyn Array) -> Result<()> {
    none_beyond(values, LONGEST)
}

fn none_beyond(values: &dyn Array, most: usize) -> Result<()> {
    let longest = match values.data_type() {
        DataType::Utf8 => longest(values.as_string::<i32>().value_offsets(), most),
        DataType::Binary => longest(values.as_binary::<i32>().value_offsets(), most),
        DataType::Utf8View => {
            let texts = values.as_string_view();
            let all: usize = texts.data_buffers().iter().map(Buffer::len).sum();
            if all <= most { 0 } else { texts.iter().flatten().map(str::len).max().unwrap_or(0) }
        }
        DataType::List(_) => {
            let lists = values.as_list::<i32>();
            let each = || lists.iter().flatten().map(|items| size(&items)).max().unwrap_or(0);
            if size(lists.values()) <= most { 0 } else { each() }
        }
        _ => 0,
    };
    if longest > most { Err(too_long(most)) } else { Ok(()) }
}

fn size(items: &ArrayRef) -> usize {
    items.to_data().get_slice_memory_size().unwrap_or(usize::MAX)
}

/// Of values that end at `offsets`; zero if even all of them have no more than `most` bytes.
fn longest(offsets: &[i32], most: usize) -> usize {
    let all = offsets.last().zip(offsets.first()).map_or(0, |(last, first)| (last - first) as usize);
    if all <= most { 0 } else { offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0) }
}

/// A product that is too large is larger than any length that is allowed.
fn times(length: usize, count: usize) -> usize {
    length.saturating_mul(count)
}

/// `text`, `count` times, in pieces that are not too small; `block` is room for one of them.
fn many<'a>(text: &str, count: usize, block: &'a mut String) -> impl Iterator<Item = &'a str> + use<'a> {
    let at_once = (BLOCK / text.len().max(1)).clamp(1, count.max(1));
    block.clear();
    (0..at_once.min(count)).for_each(|_| block.push_str(text));
    let block: &'a str = block;
    std::iter::repeat_n(block, count / at_once).chain([&block[..text.len() * (count % at_once)]])
}

fn repeat(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.column(0)?, call.column(1)?);
    let wanted = || texts.as_string::<i32>().iter().zip(numbers(&counts)).map(|(text, count)| text.zip(count));
    let length = |(text, count): (&str, i32)| times(text.len(), count.max(0) as usize);
    let most = wanted().flatten().map(length).max().unwrap_or(0);
    fits(most, wanted().flatten().map(length).fold(0, usize::saturating_add))?;
    let (mut out, mut block) = (Texts::default(), String::new());
    for wanted in wanted() {
        match wanted {
            None => out.null(),
            Some((text, count)) => {
                let count = if text.is_empty() { 0 } else { count.max(0) as usize };
                out.push(length((text, count as i32)), many(text, count, &mut block))?;
            }
        }
    }
    Ok(out.finish())
}

fn numbers(column: &ArrayRef) -> &Int32Array {
    column.as_primitive::<Int32Type>()
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

fn pad(call: &Call, side: Side) -> Result<ArrayRef> {
    let (texts, lengths) = (call.column(0)?, call.column(1)?);
    let (texts, lengths) = (texts.as_string::<i32>(), numbers(&lengths));
    let fills = (call.arguments.len() == 3).then(|| call.column(2)).transpose()?;
    let fills = fills.as_ref().map(|fills| fills.as_string::<i32>());
    let (mut out, mut block) = (Texts::default(), String::new());
    for row in 0..call.rows {
        let fill = match fills {
            None => Some(" "),
            Some(fills) => fills.is_valid(row).then(|| fills.value(row)),
        };
        let (Some(fill), true, true) = (fill, texts.is_valid(row), lengths.is_valid(row)) else {
            out.null();
            continue;
        };
        let (text, length) = (texts.value(row), lengths.value(row).max(0) as usize);
        let count = text.chars().count();
        let text = start(text, length);
        let missing = if fill.is_empty() { 0 } else { length.saturating_sub(count) };
        let width = fill.chars().count().max(1);
        let (whole, rest) = (missing / width, start(fill, missing % width));
        let length = times(fill.len(), whole).saturating_add(rest.len() + text.len());
        fits(length, 0)?;
        let padding = many(fill, whole, &mut block).chain([rest]);
        match side {
            Side::Left => out.push(length, padding.chain([text]))?,
            Side::Right => out.push(length, [text].into_iter().chain(padding))?,
        }
    }
    Ok(out.finish())
}

/// The first `count` characters.
fn start(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let columns = [call.column(0)?, call.column(1)?, call.column(2)?];
    let [texts, olds, news] = columns.each_ref().map(|column| column.as_string::<i32>());
    let mut out = Texts::default();
    for row in 0..call.rows {
        if [texts, olds, news].iter().any(|column| column.is_null(row)) {
            out.null();
            continue;
        }
        let (text, old, new) = (texts.value(row), olds.value(row), news.value(row));
        if old.is_empty() {
            out.push(text.len(), [text].into_iter())?;
            continue;
        }
        let found = text.matches(old).count();
        let length = (text.len() - found * old.len()).saturating_add(times(new.len(), found));
        let kept = text.split(old).enumerate();
        out.push(length, kept.flat_map(|(index, piece)| [if index > 0 { new } else { "" }, piece]))?;
    }
    Ok(out.finish())
}

fn chained(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.column(0)?, call.column(1)?);
    let mut out = Texts::default();
    for (left, right) in left.as_string::<i32>().iter().zip(right.as_string::<i32>()) {
        match left.zip(right) {
            None => out.null(),
            Some((left, right)) => out.push(left.len() + right.len(), [left, right].into_iter())?,
        }
    }
    Ok(out.finish())
}

/// What is not NULL of the arguments, after those that stand before the first: the separator, if there is one.
fn joined(call: &Call, first: usize) -> Result<ArrayRef> {
    let text = |index: usize| -> Result<StringArray> {
        let column = call.column(index)?;
        Ok(match column.as_boolean_opt() {
            Some(truths) => truths.iter().map(|truth| truth.map(|truth| if truth { "t" } else { "f" })).collect(),
            None => column.as_string::<i32>().clone(),
        })
    };
    let columns = (0..call.arguments.len()).map(text).collect::<Result<Vec<_>>>()?;
    let (separators, columns) = columns.split_at(first);
    let mut out = Texts::default();
    for row in 0..call.rows {
        let separator = match separators.first() {
            None => "",
            Some(separators) if separators.is_null(row) => {
                out.null();
                continue;
            }
            Some(separators) => separators.value(row),
        };
        let values = || columns.iter().filter(|column| column.is_valid(row)).map(|column| column.value(row));
        let length = values().map(|value| value.len() + separator.len()).sum::<usize>();
        let length = if values().next().is_some() { length - separator.len() } else { 0 };
        out.push(length, values().enumerate().flat_map(|(index, v)| [if index > 0 { separator } else { "" }, v]))?;
    }
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, ListArray, StringViewArray};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::ColumnarValue;

    fn run(name: &str, arguments: Vec<ScalarValue>) -> Result<Option<String>> {
        let definition = FUNCTIONS.iter().find(|function| function.name == name).expect("a function");
        let arguments: Vec<_> = arguments.into_iter().map(ColumnarValue::Scalar).collect();
        let result = (definition.call)(&Call { arguments: &arguments, rows: 1, result: &Type::Text })?;
        let result = result.as_string::<i32>();
        assert_eq!(result.len(), 1);
        Ok(result.is_valid(0).then(|| result.value(0).to_string()))
    }

    fn text(text: &str) -> ScalarValue {
        ScalarValue::from(text)
    }

    #[test]
    fn results_are_those_of_postgres() {
        let number = |n: i32| ScalarValue::from(n);
        for (name, arguments, expected) in [
            ("repeat", vec![text("ab"), number(3)], "ababab"),
            ("repeat", vec![text("ab"), number(-1)], ""),
            ("repeat", vec![text("ab"), number(i32::MIN)], ""),
            ("repeat", vec![text(""), number(i32::MAX)], ""),
            ("repeat", vec![text("é"), number(3000)], &"é".repeat(3000)),
            ("rpad", vec![text("a"), number(10_000), text("bé")], &["a", &"bé".repeat(4999), "b"].concat()),
            ("lpad", vec![text("hi"), number(5), text("xy")], "xyxhi"),
            ("lpad", vec![text("hi"), number(5)], "   hi"),
            ("lpad", vec![text("hello"), number(2)], "he"),
            ("lpad", vec![text("hi"), number(-1), text("x")], ""),
            ("lpad", vec![text("hi"), number(5), text("")], "hi"),
            ("lpad", vec![text("é"), number(4), text("äb")], "äbäé"),
            ("rpad", vec![text("hi"), number(5), text("xy")], "hixyx"),
            ("rpad", vec![text("hello"), number(i32::MIN)], ""),
            ("replace", vec![text("abcabc"), text("bc"), text("é")], "aéaé"),
            ("replace", vec![text("abc"), text(""), text("x")], "abc"),
            ("replace", vec![text("aaa"), text("aa"), text("b")], "ba"),
            ("concat", vec![text("a"), ScalarValue::Utf8(None), ScalarValue::from(true)], "at"),
            ("concat_ws", vec![text(", "), text("a"), ScalarValue::Utf8(None), text("b")], "a, b"),
            ("concat_ws", vec![text(", "), ScalarValue::Utf8(None)], ""),
            ("||", vec![text("a"), text("b")], "ab"),
        ] {
            assert_eq!(run(name, arguments.clone()).expect("fits").as_deref(), Some(expected), "{name} {arguments:?}");
        }
        assert_eq!(run("concat_ws", vec![ScalarValue::Utf8(None), text("a")]).expect("fits"), None);
        assert_eq!(run("lpad", vec![text("a"), ScalarValue::Int32(None)]).expect("fits"), None);
    }

    #[test]
    fn what_would_be_longer_than_a_value_may_be_is_refused_before_it_is_made() {
        let most = || ScalarValue::from(i32::MAX);
        let long = "x".repeat(40_000);
        for (name, arguments) in [
            ("repeat", vec![text("ab"), most()]),
            ("lpad", vec![text("a"), most()]),
            ("rpad", vec![text("a"), most(), text("é")]),
            ("replace", vec![text(&long), text("x"), text(&long)]),
        ] {
            assert_eq!(run(name, arguments).expect_err("too long").sqlstate, "54000", "{name}");
        }
        let many: ArrayRef = Arc::new(StringArray::from(vec!["a"; 300]));
        assert_eq!(super::super::cast::padded(&many, 10_485_760).expect_err("3 GB").sqlstate, "53200");
        let many = ColumnarValue::Array(Arc::new(StringArray::from(vec!["a"; 3])));
        let count = ColumnarValue::Scalar(ScalarValue::from(1_000_000_000));
        let call = Call { arguments: &[many, count], rows: 3, result: &Type::Text };
        assert!(matches!(repeat(&call).map_err(|e| e.sqlstate), Err("53200")));
    }

    #[test]
    fn a_value_is_bounded_whatever_it_is_and_however_many_there_are() {
        let texts = StringArray::from(vec![Some("abc"), None, Some("de"), Some("abcdefghijklmnopq")]);
        let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(texts.iter().map(|text| text.map(str::as_bytes))));
        let views: ArrayRef = Arc::new(StringViewArray::from_iter(texts.iter()));
        let numbers = [Some(vec![Some(1), Some(2)]), None, Some(vec![Some(3); 4])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(numbers));
        let texts: ArrayRef = Arc::new(texts);
        for (values, longest, short) in [(texts, 17, 3), (bytes, 17, 3), (views, 17, 3), (lists, 16, 1)] {
            let kind = values.data_type().clone();
            none_beyond(&values, longest).unwrap_or_else(|error| panic!("{kind}: {error}"));
            let error = none_beyond(&values, longest - 1).expect_err("one is longer");
            assert_eq!(error.sqlstate, "54000", "{kind}");
            // The long one is not among them.
            none_beyond(&values.slice(0, short), longest - 1).unwrap_or_else(|error| panic!("{kind}: {error}"));
            bounded(&values).expect("there is much room");
        }
        bounded(&Int32Array::from(vec![1])).expect("numbers are short");
        bounded(&StringArray::new_null(0)).expect("there are none");
    }

    #[test]
    fn a_thread_with_less_room_makes_less() {
        let run = || {
            room::keep_within(5 << 20);
            let made = |length: i32| {
                run("repeat", vec![text("x"), ScalarValue::from(length)]).map(|made| made.map(|m| m.len()))
            };
            assert_eq!(made(5 << 20).expect("there is room"), Some(5 << 20));
            made((5 << 20) + 1).expect_err("there is none")
        };
        let error = std::thread::spawn(run).join().expect("no panic");
        assert_eq!(error.sqlstate, "53200");
        assert!(error.detail.is_some_and(|detail| detail.ends_with("take more than 5 MB, a query's share of memory.")));
    }
}
