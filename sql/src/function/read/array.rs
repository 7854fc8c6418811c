//! Arrays of one dimension as Postgres reads them: `{1, NULL, "a \"quoted\" one"}`.

use crate::error::{Error, Result};

fn malformed() -> Error {
    Error::new("22P02", "malformed array literal")
}

/// The text of each element; `None` for NULL.
pub fn elements(text: &str) -> Result<Vec<Option<String>>> {
    let text = blank(text);
    if text.starts_with('[') {
        return Err(Error::unsupported("an array with bounds"));
    }
    let mut rest = blank(text.strip_prefix('{').ok_or_else(malformed)?);
    let mut elements = vec![];
    if let Some(after) = rest.strip_prefix('}') {
        return if blank(after).is_empty() { Ok(elements) } else { Err(malformed()) };
    }
    loop {
        let (element, after) = element(rest)?;
        elements.push(element);
        rest = match after.chars().next() {
            Some(',') => blank(&after[1..]),
            Some('}') if blank(&after[1..]).is_empty() => return Ok(elements),
            _ => return Err(malformed()),
        };
    }
}

fn blank(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// One element, and what follows it.
fn element(text: &str) -> Result<(Option<String>, &str)> {
    match text.chars().next() {
        Some('"') => quoted(&text[1..]),
        Some('{') => Err(Error::unsupported("an array of several dimensions")),
        _ => bare(text),
    }
}

/// Up to the closing quote.
fn quoted(text: &str) -> Result<(Option<String>, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Some(out), blank(&text[at + 1..]))),
            '\\' => out.push(chars.next().ok_or_else(malformed)?.1),
            c => out.push(c),
        }
    }
    Err(malformed())
}

/// Up to a comma or brace. White space around it does not count; a backslash makes the next character an ordinary one.
fn bare(text: &str) -> Result<(Option<String>, &str)> {
    let mut out = String::new();
    let (mut kept, mut escaped) = (0, false);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | '}' => {
                out.truncate(kept);
                return match () {
                    () if out.is_empty() => Err(malformed()),
                    () if !escaped && out.eq_ignore_ascii_case("null") => Ok((None, &text[at..])),
                    () => Ok((Some(out), &text[at..])),
                };
            }
            '"' | '{' => return Err(malformed()),
            '\\' => {
                out.push(chars.next().ok_or_else(malformed)?.1);
                (kept, escaped) = (out.len(), true);
            }
            c => {
                out.push(c);
                if !c.is_ascii_whitespace() && c != '\x0b' {
                    kept = out.len();
                }
            }
        }
    }
    Err(malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements between bars, NULL as `∅`.
    fn read(text: &str) -> String {
        match elements(text) {
            Ok(elements) => elements.iter().map(|e| e.as_deref().unwrap_or("∅")).collect::<Vec<_>>().join("|"),
            Err(error) => error.sqlstate.into(),
        }
    }

    #[test]
    fn elements_are_read_with_their_quotes_and_escapes() {
        for (text, expected) in [
            ("{}", ""),
            (" { } ", ""),
            ("{1,2,NULL}", "1|2|∅"),
            ("{ 1 , null , \"NULL\" }", "1|∅|NULL"),
            (r#"{a b, "c,d" ,"q\"\\{}"}"#, r#"a b|c,d|q"\{}"#),
            (r"{\N\U\L\L, a\ }", r"NULL|a "),
            ("{\"\"}", ""),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for text in
            ["", "1,2", "{1,2", "{1,}", "{,1}", "{1}x", "{\"a}", "{a\"b\"}", "{\"a\"b}", "{1,,2}", "{}}", "{1\\"]
        {
            assert_eq!(read(text), "22P02", "{text}");
        }
        assert_eq!(read("{{1},{2}}"), "0A000");
        assert_eq!(read("[0:1]={1,2}"), "0A000");
    }
}
