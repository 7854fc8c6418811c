//! Rows as a COPY stream: text, CSV or binary out, text or CSV in.
//!
//! Out, every row is one CopyData message. In, messages may be cut anywhere; rows are handed on as text, some at a time.

use super::row::{Column, Encoder, Writer, value};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::{BufMut, BytesMut};
use std::ops::Range;
use std::sync::Arc;
use weir_sql::statement::copy::{Format, Kind};
use weir_sql::{Error, Result};
use weir_storage::Limits;

/// Signature, flags and length of the header's extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Writes a stream.
pub struct Stream<'a> {
    format: &'a Format,
    /// The header of a binary stream has yet to be written: it goes with the first message, as clients expect.
    fresh: bool,
}

impl<'a> Stream<'a> {
    pub fn new(format: &'a Format) -> Self {
        Self { format, fresh: format.kind == Kind::Binary }
    }

    /// The line of names, if there is to be one.
    pub fn begin(&self, out: &mut BytesMut, columns: &[Column]) {
        if !self.format.header {
            return;
        }
        message(out, |out| {
            for (index, column) in columns.iter().enumerate() {
                separate(out, index, self.format);
                field(out, &column.name, columns.len() == 1, self.format);
            }
            out.put_u8(b'\n');
        });
    }

    /// Appends one message for each of `rows`; none of the row that fails.
    pub fn write(&mut self, encoder: &Encoder, out: &mut BytesMut, rows: Range<usize>) -> Result<()> {
        let writers = encoder.writers()?;
        let mut text = String::new();
        for row in rows {
            let start = out.len();
            let mut written = Ok(());
            message(out, |out| {
                self.header(out);
                written = line(out, &writers, row, &mut text, self.format);
            });
            if written.is_err() {
                out.truncate(start);
                return written;
            }
        }
        Ok(())
    }

    /// What comes after the rows.
    pub fn end(&mut self, out: &mut BytesMut) {
        if self.format.kind == Kind::Binary {
            message(out, |out| {
                self.header(out);
                out.put_i16(-1);
            });
        }
    }

    fn header(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.fresh) {
            out.put_slice(BINARY_HEADER);
        }
    }
}

fn line(out: &mut BytesMut, writers: &[Writer], row: usize, text: &mut String, format: &Format) -> Result<()> {
    if format.kind == Kind::Binary {
        out.put_u16(writers.len() as u16);
        return writers.iter().try_for_each(|writer| value(out, writer, row, text));
    }
    for (index, writer) in writers.iter().enumerate() {
        separate(out, index, format);
        match writer.print(row, text)? {
            true => field(out, text, writers.len() == 1, format),
            false => out.put_slice(format.null.as_bytes()),
        }
    }
    out.put_u8(b'\n');
    Ok(())
}

fn message(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(b'd');
    out.put_u32(0);
    body(out);
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

fn separate(out: &mut BytesMut, index: usize, format: &Format) {
    if index > 0 {
        out.put_u8(format.delimiter as u8);
    }
}

fn field(out: &mut BytesMut, text: &str, alone: bool, format: &Format) {
    if format.kind == Kind::Text {
        for byte in text.bytes() {
            let escape = match byte {
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                byte if byte == b'\\' || byte == format.delimiter as u8 => byte,
                byte => {
                    out.put_u8(byte);
                    continue;
                }
            };
            out.put_slice(&[b'\\', escape]);
        }
        return;
    }
    let special = [format.delimiter, format.quote, '\n', '\r'];
    // A line of nothing but these two ends the stream.
    if text != format.null && !text.contains(special) && !(alone && text == "\\.") {
        out.put_slice(text.as_bytes());
        return;
    }
    out.put_u8(format.quote as u8);
    for byte in text.bytes() {
        if byte == format.quote as u8 || byte == format.escape as u8 {
            out.put_u8(format.escape as u8);
        }
        out.put_u8(byte);
    }
    out.put_u8(format.quote as u8);
}

/// A line holds no more than a value may.
const LONGEST: usize = 1 << 30;

/// Takes a stream apart into values.
pub struct Lines {
    format: Format,
    names: Vec<String>,
    columns: Vec<StringBuilder>,
    /// The line that has not ended yet.
    open: Vec<u8>,
    /// How far `open` has been looked at, and whether that is within quotes.
    seen: usize,
    quoted: bool,
    /// Lines so far, for messages.
    line: usize,
    ended: bool,
    /// Of the rows that have not been handed on.
    rows: usize,
    bytes: usize,
}

impl Lines {
    /// `names`: of the columns that come, in order.
    pub fn new(format: Format, names: Vec<String>) -> Result<Self> {
        if format.kind == Kind::Binary {
            return Err(Error::unsupported("COPY FROM STDIN in binary format"));
        }
        let columns = names.iter().map(|_| StringBuilder::new()).collect();
        let (open, seen, quoted, line, ended, rows, bytes) = (vec![], 0, false, 0, false, 0, 0);
        Ok(Self { format, names, columns, open, seen, quoted, line, ended, rows, bytes })
    }

    pub fn push(&mut self, data: &[u8]) -> Result<()> {
        if self.open.len() + data.len() > LONGEST {
            return Err(Error::new("54000", format!("a line of COPY can have at most {LONGEST} bytes"))
                .detail(format!("COPY, line {}.", self.line + 1)));
        }
        self.open.extend_from_slice(data);
        let open = std::mem::take(&mut self.open);
        let mut start = 0;
        while let Some(end) = self.line_end(&open) {
            self.take(&open[start..end])?;
            start = end + 1;
        }
        self.open = open;
        self.open.drain(..start);
        self.seen -= start;
        Ok(())
    }

    /// Whether there are so many rows that they should be handed on.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.rows >= limits.copied_rows || self.bytes >= limits.copied_bytes
    }

    /// The last rows; the last line need not end.
    pub fn last(&mut self) -> Result<RecordBatch> {
        if self.quoted {
            self.line += 1;
            return Err(self.malformed("unterminated CSV quoted field"));
        }
        if !self.open.is_empty() {
            let line = std::mem::take(&mut self.open);
            self.take(&line)?;
        }
        self.batch()
    }

    /// The rows so far, all values as text, in columns `c0`, `c1`, …
    pub fn batch(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let fields = (0..self.columns.len()).map(|i| Field::new(format!("c{i}"), DataType::Utf8, true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let columns = self.columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
            .map_err(|e| Error::internal(e.to_string()))
    }

    /// Where the next line feed is that ends a line.
    fn line_end(&mut self, open: &[u8]) -> Option<usize> {
        let csv = self.format.kind == Kind::Csv;
        let (quote, escape) = (self.format.quote as u8, self.format.escape as u8);
        while let Some(&byte) = open.get(self.seen) {
            self.seen += 1;
            match byte {
                b'\n' if !self.quoted => return Some(self.seen - 1),
                // Whether it escapes anything depends on what follows, which may not have come yet.
                _ if csv && self.quoted && byte == escape && escape != quote => match open.get(self.seen) {
                    Some(&next) if next == quote || next == escape => self.seen += 1,
                    Some(_) => {}
                    None => {
                        self.seen -= 1;
                        return None;
                    }
                },
                // A doubled quote ends and begins again.
                _ if csv && byte == quote => self.quoted = !self.quoted,
                _ => {}
            }
        }
        None
    }

    fn malformed(&self, message: &str) -> Error {
        Error::new("22P04", message).detail(format!("COPY, line {}.", self.line))
    }

    fn not_utf8(&self) -> Error {
        Error::new("22021", "invalid byte sequence for encoding \"UTF8\"").detail(format!("COPY, line {}.", self.line))
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        self.line += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.ended || line == b"\\." {
            self.ended = true;
            return Ok(());
        }
        if self.format.header && self.line == 1 {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| self.not_utf8())?;
        let values = match self.format.kind {
            Kind::Csv => self.csv(line)?,
            _ => self.text(line)?,
        };
        if values.len() > self.columns.len() {
            return Err(self.malformed("extra data after last expected column"));
        }
        if let Some(name) = self.names.get(values.len()) {
            return Err(self.malformed(&format!("missing data for column \"{name}\"")));
        }
        self.rows += 1;
        self.bytes += line.len();
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.append_option(value);
        }
        Ok(())
    }

    fn text(&self, line: &str) -> Result<Vec<Option<String>>> {
        let (mut fields, mut start, mut escaped) = (vec![], 0, false);
        // The delimiter is one byte and never a backslash.
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                byte if byte == self.format.delimiter as u8 => {
                    fields.push(&line[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        fields.push(&line[start..]);
        let value = |field: &str| if field == self.format.null { Ok(None) } else { self.unescaped(field).map(Some) };
        fields.into_iter().map(value).collect()
    }

    fn unescaped(&self, field: &str) -> Result<String> {
        if !field.contains('\\') {
            return Ok(field.to_string());
        }
        let mut out = vec![];
        let mut bytes = field.bytes().peekable();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            out.push(match bytes.next() {
                None => b'\\',
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(first @ b'0'..=b'7') => {
                    let mut code = u32::from(first - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                        code = code * 8 + u32::from(digit - b'0');
                    }
                    code as u8
                }
                Some(b'x') if bytes.peek().is_some_and(u8::is_ascii_hexdigit) => {
                    let mut code = 0;
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(u8::is_ascii_hexdigit) else { break };
                        code = code * 16 + (digit as char).to_digit(16).unwrap_or_default();
                    }
                    code as u8
                }
                Some(other) => other,
            });
        }
        String::from_utf8(out).map_err(|_| self.not_utf8())
    }

    fn csv(&self, line: &str) -> Result<Vec<Option<String>>> {
        let (delimiter, quote, escape) = (self.format.delimiter, self.format.quote, self.format.escape);
        let mut values = vec![];
        let mut characters = line.chars().peekable();
        loop {
            let (mut value, mut was_quoted, mut within) = (String::new(), false, false);
            let more = loop {
                match characters.next() {
                    None if within => return Err(self.malformed("unterminated CSV quoted field")),
                    None => break false,
                    Some(c) if within => match characters.peek().copied() {
                        Some(next) if c == escape && (next == quote || next == escape) => {
                            value.push(next);
                            characters.next();
                        }
                        _ if c == quote => within = false,
                        _ => value.push(c),
                    },
                    Some(c) if c == delimiter => break true,
                    Some(c) if c == quote => (within, was_quoted) = (true, true),
                    Some(c) => value.push(c),
                }
            };
            values.push((was_quoted || value != self.format.null).then_some(value));
            if !more {
                return Ok(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray, StringArray};
    use proptest::prelude::*;
    use weir_sql::function::zone::Zone;
    use weir_sql::statement::{Statement, parse};

    fn format(options: &str) -> Format {
        match parse(&format!("COPY t FROM STDIN {options}")).expect("COPY").remove(0).statement {
            Statement::CopyIn { format, .. } => format,
            other => panic!("{other:?}"),
        }
    }

    type Table = Vec<Vec<Option<String>>>;

    fn read(format: &Format, width: usize, pieces: &[&[u8]]) -> Result<Table> {
        let names = (0..width).map(|i| format!("n{i}")).collect();
        let mut lines = Lines::new(format.clone(), names)?;
        pieces.iter().try_for_each(|piece| lines.push(piece))?;
        let batch = lines.last()?;
        let text = |column: &ArrayRef, row| {
            let strings = column.as_string::<i32>();
            strings.is_valid(row).then(|| strings.value(row).to_string())
        };
        Ok((0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| text(c, row)).collect()).collect())
    }

    fn shown(result: Result<Table>) -> String {
        let row = |row: &Vec<Option<String>>| {
            row.iter().map(|value| value.as_deref().unwrap_or("∅")).collect::<Vec<_>>().join("|")
        };
        match result {
            Ok(rows) => rows.iter().map(row).collect::<Vec<_>>().join(";"),
            Err(error) => format!("{} {}", error.sqlstate, error.message),
        }
    }

    #[test]
    fn text_has_escapes_and_null() {
        let text = format("");
        for (input, expected) in [
            ("1\ta\n2\t\\N\n", "1|a;2|∅"),
            ("1\ta\r\n2\tb", "1|a;2|b"),
            ("1\t\\\\N\n", "1|\\N"),
            ("1\ta\\tb\\\\\\x41\\101\\q\n", "1|a\tb\\AAq"),
            ("1\ta\n\\.\n9\tz\n", "1|a"),
            ("1\n", "22P04 missing data for column \"n1\""),
            ("1\t2\t3\n", "22P04 extra data after last expected column"),
            ("1\t\\xff\n", "22021 invalid byte sequence for encoding \"UTF8\""),
        ] {
            assert_eq!(shown(read(&text, 2, &[input.as_bytes()])), expected, "{input:?}");
        }
    }

    #[test]
    fn csv_has_quotes_that_hold_anything() {
        for (options, input, expected) in [
            ("CSV", "1,a\n2,\n3,\"\"\n", "1|a;2|∅;3|"),
            ("CSV HEADER", "x,y\n1,\"a,\"\"b\"\"\nc\"\n", "1|a,\"b\"\nc"),
            ("(FORMAT csv, DELIMITER ';', NULL 'null')", "1;null\n\"null\";x\n", "1|∅;null|x"),
            ("(FORMAT csv, ESCAPE '\\')", "1,\"a\\\"b\\\\\"\n", "1|a\"b\\"),
            ("CSV", "1,\"open\n", "22P04 unterminated CSV quoted field"),
        ] {
            assert_eq!(shown(read(&format(options), 2, &[input.as_bytes()])), expected, "{options}: {input:?}");
        }
    }

    const FORMATS: &[&str] =
        &["", "CSV", "(FORMAT csv, ESCAPE '\\')", "(DELIMITER ';')", "(FORMAT csv, QUOTE '''', NULL 'a')"];

    /// What the messages carry.
    fn payload(mut messages: &[u8]) -> Vec<u8> {
        let mut stream = vec![];
        while let [b'd', length @ ..] = messages {
            let length = u32::from_be_bytes(length[..4].try_into().expect("four bytes")) as usize;
            stream.extend_from_slice(&messages[5..1 + length]);
            messages = &messages[1 + length..];
        }
        assert!(messages.is_empty(), "only CopyData");
        stream
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_wherever_it_is_cut(
            rows in prop::collection::vec(
                (prop::option::of("[a,\"'\\\\\n\t\r.N;é]{0,6}"), prop::option::of("[ab]{0,2}")), 1..8),
            which in 0..FORMATS.len(),
            cuts in prop::collection::vec(0usize..200, 0..4),
        ) {
            let format = format(FORMATS[which]);
            let first: ArrayRef = Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringArray>());
            let second: ArrayRef = Arc::new(rows.iter().map(|row| row.1.as_deref()).collect::<StringArray>());
            let columns = [("a", first, true), ("b", second, true)];
            let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
            let columns = super::super::row::columns(&batch.schema()).expect("types");
            let encoder = Encoder::new(&batch, &columns, &Default::default(), Zone::UTC).expect("encoder");
            let mut out = BytesMut::new();
            Stream::new(&format).write(&encoder, &mut out, 0..batch.num_rows()).expect("text");
            let stream = payload(&out);
            let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let expected: Table = rows.iter().map(|(a, b)| vec![a.clone(), b.clone()]).collect();
            prop_assert_eq!(read(&format, 2, &pieces).expect("what was written"), expected);
        }
    }
}
