//! Batches to DataRow messages.

use super::{WireType, binary};
use crate::catalog::system::{Tag, pg_proc};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, Schema};
use bytes::{BufMut, BytesMut};
use pgwire::messages::data::{FieldDescription, RowDescription};
use std::ops::Range;
use weir_sql::function::print::printer;
use weir_sql::function::zone::Zone;
use weir_sql::session::names::shown;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

/// Postgres refuses larger messages too.
const LARGEST: usize = 0x3fff_ffff;

/// One column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub wire_type: WireType,
}

pub fn columns(schema: &Schema) -> Result<Vec<Column>> {
    schema
        .fields()
        .iter()
        .map(|f| Ok(Column { name: shown(f.name()).to_string(), wire_type: WireType::of(f)? }))
        .collect()
}

/// The formats a client asked for: none (all text), one for all, or one for each column.
#[derive(Clone, Debug, Default)]
pub struct Formats(pub Vec<i16>);

impl Formats {
    pub fn code(&self, column: usize) -> i16 {
        match self.0.as_slice() {
            [] => 0,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(0),
        }
    }

    pub fn check(&self, columns: usize) -> Result<()> {
        let error = |message: String| Err(Error::new("08P01", message));
        match self.0.as_slice() {
            codes if codes.iter().any(|c| !(0..=1).contains(c)) => error("unsupported format code".into()),
            codes if codes.len() > 1 && codes.len() != columns => {
                error(format!("bind message has {} result formats but query has {columns} columns", codes.len()))
            }
            _ => Ok(()),
        }
    }
}

pub fn description(columns: &[Column], formats: &Formats) -> RowDescription {
    let field = |(i, c): (usize, &Column)| {
        let (oid, length, modifier) = (c.wire_type.oid(), c.wire_type.length(), c.wire_type.modifier());
        FieldDescription::new(c.name.clone(), 0, 0, oid, length, modifier, formats.code(i))
    };
    RowDescription::new(columns.iter().enumerate().map(field).collect())
}

/// One batch, every column brought to the one Arrow type of its wire type.
pub struct Encoder {
    columns: Vec<Prepared>,
    zone: Zone,
}

pub(super) struct Prepared {
    wire_type: WireType,
    array: ArrayRef,
    binary: bool,
}

/// Appends the text of a row's value.
pub(super) type Print<'a> = Box<dyn Fn(usize, &mut String) -> Result<()> + 'a>;

/// How one column of a batch is written, for as long as some rows of it are.
pub(super) enum Writer<'a> {
    /// Postgres sends `t` and `f`, which are no casts to text.
    Bool(&'a BooleanArray),
    Text(&'a ArrayRef, Print<'a>),
    Binary(&'a Prepared),
}

impl Encoder {
    pub fn new(batch: &RecordBatch, columns: &[Column], formats: &Formats, zone: Zone) -> Result<Self> {
        let prepare = |(i, (column, array)): (usize, (&Column, &ArrayRef))| {
            let wanted = printed(&column.wire_type.kind, array.data_type());
            let array = if *array.data_type() == wanted {
                array.clone()
            } else {
                arrow::compute::cast(array, &wanted)
                    .map_err(|e| Error::internal(format!("column \"{}\" cannot be sent: {e}", column.name)))?
            };
            let array = weir_sql::function::cast::shown(&array, &column.wire_type.kind)?;
            Ok(Prepared { wire_type: column.wire_type.clone(), array, binary: formats.code(i) == 1 })
        };
        let columns = columns.iter().zip(batch.columns()).enumerate().map(prepare).collect::<Result<_>>()?;
        Ok(Self { columns, zone })
    }

    /// Appends one DataRow message for each of `rows`; none of the row that fails.
    pub fn write(&self, out: &mut BytesMut, rows: Range<usize>) -> Result<()> {
        let writers = self.writers()?;
        let mut text = String::new();
        for row in rows {
            let start = out.len();
            if let Err(error) = message(out, &writers, row, &mut text) {
                out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Encoder {
    pub(super) fn writers(&self) -> Result<Vec<Writer<'_>>> {
        self.columns.iter().map(|column| column.writer(self.zone)).collect()
    }
}

impl Writer<'_> {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Writer::Bool(array) => array.is_null(row),
            Writer::Text(array, _) => array.is_null(row),
            Writer::Binary(column) => column.array.is_null(row),
        }
    }

    /// Puts the text of a value into `text`; false: it is NULL.
    pub(super) fn print(&self, row: usize, text: &mut String) -> Result<bool> {
        text.clear();
        match self {
            _ if self.is_null(row) => return Ok(false),
            Writer::Bool(array) => text.push(if array.value(row) { 't' } else { 'f' }),
            Writer::Text(_, print) => print(row, text)?,
            Writer::Binary(_) => return Err(Error::internal("text of a binary column")),
        }
        Ok(true)
    }
}

impl Prepared {
    fn writer(&self, zone: Zone) -> Result<Writer<'_>> {
        Ok(match &self.wire_type.kind {
            _ if self.binary => Writer::Binary(self),
            Type::Bool => Writer::Bool(self.array.as_boolean()),
            Type::Int8 if self.wire_type.is(Tag::Regproc) => Writer::Text(&self.array, self.functions()),
            _ => Writer::Text(&self.array, printer(self.array.as_ref(), zone)?),
        })
    }

    /// Their names for numbers of functions.
    fn functions(&self) -> Print<'_> {
        let numbers = self.array.as_primitive::<Int64Type>();
        Box::new(move |row, out: &mut String| {
            out.push_str(&pg_proc::name(numbers.value(row)));
            Ok(())
        })
    }
}

/// The Arrow type in which values of `kind` that are held as `held` are printed: the one of `kind`, but any precision and scale prints
/// itself.
fn printed(kind: &Type, held: &DataType) -> DataType {
    match (kind, held) {
        (Type::Numeric(_), DataType::Decimal32(p, s) | DataType::Decimal64(p, s)) => DataType::Decimal128(*p, *s),
        (Type::Numeric(_), DataType::Decimal128(..) | DataType::Decimal256(..)) => held.clone(),
        (Type::Array(element), DataType::List(items))
            if matches!(element.as_ref(), Type::Numeric(_)) && items.data_type().is_decimal() =>
        {
            held.clone()
        }
        _ => kind.arrow(),
    }
}

fn message(out: &mut BytesMut, writers: &[Writer], row: usize, text: &mut String) -> Result<()> {
    let start = out.len();
    out.put_u8(b'D');
    out.put_u32(0);
    out.put_u16(writers.len() as u16);
    for writer in writers {
        value(out, writer, row, text)?;
    }
    let length = out.len() - start - 1;
    if length > LARGEST {
        return Err(Error::new("54000", "row is too large to be sent"));
    }
    out[start + 1..start + 5].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Length and bytes of a value.
pub(super) fn value(out: &mut BytesMut, writer: &Writer, row: usize, text: &mut String) -> Result<()> {
    if writer.is_null(row) {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_u32(0);
    match writer {
        Writer::Binary(column) => binary::write(out, &column.wire_type, &column.array, row)?,
        _ => {
            writer.print(row, text)?;
            out.put_slice(text.as_bytes());
        }
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Decimal128Type;
    use std::sync::Arc;
    use weir_sql::types::TYPE_KEY;

    #[test]
    fn a_row_is_one_message_whatever_array_holds_its_values() {
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef),
            ("b", Arc::new(StringViewArray::from(vec!["x", "y"]))),
        ])
        .expect("a batch");
        let columns = columns(&batch.schema()).expect("types");
        let encoder = Encoder::new(&batch, &columns, &Formats::default(), Zone::UTC).expect("encoder");
        let mut out = BytesMut::new();
        encoder.write(&mut out, 0..1).expect("a row");
        assert_eq!(&out[..], b"D\0\0\0\x10\0\x02\0\0\0\x017\0\0\0\x01x");
        out.clear();
        encoder.write(&mut out, 1..2).expect("a row");
        assert_eq!(&out[..], b"D\0\0\0\x0f\0\x02\xff\xff\xff\xff\0\0\0\x01y");
    }

    #[test]
    fn numbers_of_functions_are_shown_by_their_names() {
        let field = Type::Int8.field("a", true).with_metadata([(TYPE_KEY.into(), "regproc".into())].into());
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(177), Some(1397), Some(0), None]));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![numbers]).expect("a batch");
        let columns = columns(&batch.schema()).expect("types");
        let encoder = Encoder::new(&batch, &columns, &Formats::default(), Zone::UTC).expect("encoder");
        let (writers, mut text) = (encoder.writers().expect("writers"), String::new());
        let shown: Vec<Option<String>> =
            (0..4).map(|row| writers[0].print(row, &mut text).expect("text").then(|| text.clone())).collect();
        let shown: Vec<Option<&str>> = shown.iter().map(Option::as_deref).collect();
        assert_eq!(shown, [Some("int4pl"), Some("pg_catalog.abs"), Some("-"), None]);
    }

    #[test]
    fn decimals_are_shown_as_they_are_held_whatever_is_told_of_them() {
        let scalars = Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).expect("decimals");
        let lists = ListArray::from_iter_primitive::<Decimal128Type, _, _>([Some([Some(15_000_000_000)])]);
        let batch =
            RecordBatch::try_from_iter([("a", Arc::new(scalars) as ArrayRef), ("b", Arc::new(lists) as ArrayRef)]);
        let kinds = [Type::Numeric(None), Type::Array(Box::new(Type::Numeric(None)))];
        let columns = kinds.map(|kind| Column { name: "n".into(), wire_type: WireType::from(kind) });
        let encoder =
            Encoder::new(&batch.expect("a batch"), &columns, &Formats::default(), Zone::UTC).expect("encoder");
        let mut text = String::new();
        for (writer, expected) in encoder.writers().expect("writers").iter().zip(["1.50", "{1.5000000000}"]) {
            assert!(writer.print(0, &mut text).expect("text"));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn as_many_formats_as_columns_or_one_or_none() {
        assert!(Formats(vec![0, 1]).check(2).is_ok());
        assert!(Formats(vec![1]).check(5).is_ok());
        assert_eq!(Formats(vec![0, 1]).check(3).expect_err("mismatch").sqlstate, "08P01");
        assert_eq!(Formats(vec![2]).check(3).expect_err("code").sqlstate, "08P01");
    }
}
