//! COPY's text format: a line to the texts of its fields, which are those of the stream.

use super::decode::Value;
use std::ops::Range;

/// The fields of one line. Kept from line to line, so that nothing is allocated per row.
#[derive(Default)]
pub struct Line {
    /// Where each field stands, in the line or, if that has escapes, in `plain`; `None` is NULL.
    fields: Vec<Option<Range<usize>>>,
    plain: Vec<u8>,
    escaped: bool,
}

impl Line {
    /// Takes `line` apart; false if it is not one of COPY's.
    pub fn read(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.fields.clear();
        self.plain.clear();
        self.escaped = line.contains(&b'\\');
        if self.escaped { self.unescape(line) } else { self.split(line) }
    }

    /// The values of the line that was read last, which is `line`.
    pub fn values<'a>(&'a self, line: &'a [u8]) -> impl ExactSizeIterator<Item = Value<'a>> {
        let bytes = if self.escaped { &self.plain[..] } else { line };
        self.fields.iter().map(|field| match field {
            Some(range) => Value::Text(&bytes[range.clone()]),
            None => Value::Null,
        })
    }

    fn split(&mut self, line: &[u8]) -> bool {
        let mut start = 0;
        for (at, byte) in line.iter().enumerate() {
            if *byte == b'\t' {
                self.fields.push(Some(start..at));
                start = at + 1;
            }
        }
        self.fields.push(Some(start..line.len()));
        true
    }

    fn unescape(&mut self, line: &[u8]) -> bool {
        for field in line.split(|&c| c == b'\t') {
            if field == b"\\N" {
                self.fields.push(None);
                continue;
            }
            let start = self.plain.len();
            let mut rest = field;
            while let Some(at) = rest.iter().position(|&c| c == b'\\') {
                self.plain.extend_from_slice(&rest[..at]);
                let Some(&escape) = rest.get(at + 1) else { return false };
                self.plain.push(match escape {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    itself => itself,
                });
                rest = &rest[at + 2..];
            }
            self.plain.extend_from_slice(rest);
            self.fields.push(Some(start..self.plain.len()));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[Option<&str>]) {
        let mut reader = Line::default();
        assert!(reader.read(line.as_bytes()));
        let values: Vec<_> = reader.values(line.as_bytes()).collect();
        let expected: Vec<_> =
            expected.iter().map(|v| v.map_or(Value::Null, |text| Value::Text(text.as_bytes()))).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn fields_come_with_their_escapes_undone() {
        check("1\tabc\t\n", &[Some("1"), Some("abc"), Some("")]);
        check("1\t\\N\tx\\ty\\\\z\\n\n", &[Some("1"), None, Some("x\ty\\z\n")]);
        check("\\\\N\t\\\\x00ff\n", &[Some("\\N"), Some("\\x00ff")]);
        check("\n", &[Some("")]);
    }

    #[test]
    fn a_line_that_ends_in_an_escape_is_none() {
        assert!(!Line::default().read(b"a\\"));
    }
}
