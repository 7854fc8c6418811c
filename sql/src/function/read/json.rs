//! JSON as Postgres reads it: json keeps its text if that is valid, jsonb becomes its canonical form.

use super::word::malformed;
use crate::error::{Error, Result};
use crate::numeric::Numeric;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Nesting beyond this would take more stack than a thread is sure to have.
const DEEPEST: usize = 1000;

/// The text itself, if it is JSON.
pub fn json(text: &str) -> Result<String> {
    Reader::whole(text, "json")?;
    Ok(text.to_string())
}

/// As Postgres prints jsonb: of equal keys the last, keys by length and then by bytes, `": "` and `", "` between the parts.
pub fn jsonb(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 8);
    Reader::whole(text, "jsonb")?.print(&mut out)?;
    Ok(out)
}

/// Strings and numbers as they are written.
enum Value<'a> {
    Word(&'static str),
    Number(&'a str),
    String(&'a str),
    Array(Vec<Value<'a>>),
    Object(Vec<(&'a str, Value<'a>)>),
}

impl Value<'_> {
    fn print(&self, out: &mut String) -> Result<()> {
        match self {
            Value::Word(word) => out.push_str(word),
            Value::Number(digits) => {
                let _ = write!(out, "{}", digits.parse::<Numeric>()?);
            }
            Value::String(written) => quoted(&unescaped(written)?, out),
            Value::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    element.print(out)?;
                }
                out.push(']');
            }
            Value::Object(members) => {
                let mut sorted = BTreeMap::new();
                for (key, value) in members {
                    let key = unescaped(key)?;
                    sorted.insert((key.len(), key), value);
                }
                out.push('{');
                for (index, ((_, key), value)) in sorted.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    quoted(key, out);
                    out.push_str(": ");
                    value.print(out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// What a string that was read says.
fn unescaped(written: &str) -> Result<String> {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => code_point(&mut rest)?,
            plain => plain as char,
        });
    }
    out.push_str(rest);
    Ok(out)
}

/// One `\u` escape, or two that are halves of one character.
fn code_point(rest: &mut &str) -> Result<char> {
    let lone =
        || Error::new("22P02", "invalid input syntax for type json").detail("Unicode surrogates must be in pairs.");
    let first = hex(rest);
    let point = match first {
        0 => {
            return Err(Error::new("22P05", "unsupported Unicode escape sequence")
                .detail("\\u0000 cannot be converted to text."));
        }
        0xd800..=0xdbff => {
            *rest = rest.strip_prefix("\\u").ok_or_else(lone)?;
            match hex(rest) {
                second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                _ => return Err(lone()),
            }
        }
        point => point,
    };
    char::from_u32(point).ok_or_else(lone)
}

/// Four digits, which were looked at when the string was read.
fn hex(rest: &mut &str) -> u32 {
    let (digits, after) = rest.split_at(4);
    *rest = after;
    u32::from_str_radix(digits, 16).unwrap_or_default()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    kind: &'static str,
}

impl<'a> Reader<'a> {
    fn whole(text: &'a str, kind: &'static str) -> Result<Value<'a>> {
        let mut reader = Reader { text, at: 0, depth: 0, kind };
        let value = reader.value()?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.wrong()),
        }
    }

    /// json and jsonb share their messages, as in Postgres.
    fn wrong(&self) -> Error {
        malformed("json").detail(format!("The {} is wrong at byte {}.", self.kind, self.at + 1))
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += here as usize;
        here
    }

    fn value(&mut self) -> Result<Value<'a>> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value<'a>>) -> Result<Value<'a>> {
        if self.depth == DEEPEST {
            return Err(Error::new("54001", "stack depth limit exceeded"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value<'a>> {
        let mut members = vec![];
        if self.accept(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong());
            }
            let key = self.string()?;
            if !self.accept(b':') {
                return Err(self.wrong());
            }
            members.push((key, self.value()?));
            match () {
                () if self.accept(b',') => {}
                () if self.accept(b'}') => return Ok(Value::Object(members)),
                () => return Err(self.wrong()),
            }
        }
    }

    fn array(&mut self) -> Result<Value<'a>> {
        let mut elements = vec![];
        if self.accept(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            match () {
                () if self.accept(b',') => {}
                () if self.accept(b']') => return Ok(Value::Array(elements)),
                () => return Err(self.wrong()),
            }
        }
    }

    /// Between its quotes, with its escapes.
    fn string(&mut self) -> Result<&'a str> {
        let text = self.text;
        let bytes = text.as_bytes();
        self.at += 1;
        let start = self.at;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 1 + self.escape(&bytes[self.at + 1..])?,
                Some(b' '..) => self.at += 1,
                _ => return Err(self.wrong()),
            }
        }
        self.at += 1;
        Ok(&text[start..self.at - 1])
    }

    /// How many bytes follow a backslash.
    fn escape(&self, after: &[u8]) -> Result<usize> {
        match after {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Ok(1),
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => Ok(5),
            _ => Err(self.wrong()),
        }
    }

    fn number(&mut self) -> Result<Value<'a>> {
        let text = self.text;
        let rest = &text[self.at..];
        let len = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let number = &rest[..len];
        if !is_number(number) {
            return Err(self.wrong());
        }
        self.at += len;
        Ok(Value::Number(number))
    }

    fn word(&mut self) -> Result<Value<'a>> {
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word =
            ["true", "false", "null"].into_iter().find(|word| *word == &rest[..len]).ok_or_else(|| self.wrong())?;
        self.at += len;
        Ok(Value::Word(word))
    }
}

/// A number as JSON has it: no leading zeros, digits around the point, an exponent.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_is_shown_in_its_canonical_form() {
        for (text, expected) in [
            (
                r#" {"b" :1.00 , "a":null,"aa":[1e2,-0.5E-1,{}], "a":true} "#,
                r#"{"a": true, "b": 1.00, "aa": [100, -0.05, {}]}"#,
            ),
            ("[]", "[]"),
            ("  -12 ", "-12"),
            ("\"a\"", "\"a\""),
            (r#""\u00e9\n\/\ud83d\ude00\u0001\t\"\\""#, r#""é\n/😀\u0001\t\"\\""#),
            (r#"[1,[2,[3]]]"#, "[1, [2, [3]]]"),
        ] {
            assert_eq!(jsonb(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn json_is_kept_as_it_is() {
        let text = r#"{"b" :1.00, "a":null, "a":"\u0000"}"#;
        assert_eq!(json(text).as_deref(), Ok(text));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "nullx",
            "'a'",
            "\"a",
            "\"\n\"",
            r#""\x""#,
            r#""\u12g4""#,
            "1 2",
            "NaN",
            "[1 2]",
        ] {
            assert_eq!(json(text).unwrap_err().sqlstate, "22P02", "{text}");
        }
        assert_eq!(jsonb(r#""\ud800""#).unwrap_err().sqlstate, "22P02");
        assert_eq!(jsonb(r#""\udc00""#).unwrap_err().sqlstate, "22P02");
        assert_eq!(jsonb(r#""\u0000""#).unwrap_err().sqlstate, "22P05");
        assert_eq!(json(&"[".repeat(100_000)).unwrap_err().sqlstate, "54001");
    }
}
