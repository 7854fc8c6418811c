//! `regex(pattern)`: a regular expression of Postgres' as the one of our engine that matches the same texts.
//!
//! Only for operators that ask whether there is a match: what exactly is matched differs where an expression has choices. What
//! cannot be said otherwise is refused by name, never matched differently. Classes are those of collation `C`.

use super::definition::{Call, Definition, Resolved, is_text, undefined};
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{ArrayRef, AsArray, StringArray};
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    definition("regex", |call| each(call, translated)),
    definition("regex_of_any_case", |call| each(call, of_any_case)),
];

const fn definition(name: &'static str, call: fn(&Call) -> Result<ArrayRef>) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: true, fallible: true }
}

fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [pattern] if is_text(pattern) => Ok(Resolved { arguments: vec![Type::Text], result: Type::Text }),
        _ => Err(undefined("regex", given)),
    }
}

fn each(call: &Call, translate: fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let patterns = call.column(0)?;
    let patterns = patterns.as_string::<i32>().iter().map(|pattern| pattern.map(translate).transpose());
    Ok(Arc::new(patterns.collect::<Result<StringArray>>()?))
}

/// For a match that does not tell upper from lower case. Letters beyond ASCII have no case, which our engine does not believe.
fn of_any_case(pattern: &str) -> Result<String> {
    match pattern.chars().any(|letter| !letter.is_ascii() && letter.is_alphabetic()) {
        true => Err(refused("a letter beyond ASCII, whatever its case,")),
        false => translated(pattern),
    }
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("{what} in a regular expression"))
}

fn invalid(what: &str) -> Error {
    Error::new("2201B", format!("invalid regular expression: {what}"))
}

/// `pattern` for the regex crate.
pub fn translated(pattern: &str) -> Result<String> {
    if pattern.starts_with("***") {
        return Err(refused("*** at the start"));
    }
    // A dot is any character, also the end of a line.
    let (mut out, rest) = match pattern.strip_prefix("(?i)") {
        Some(rest) => (String::from("(?si)"), rest),
        None => (String::from("(?s)"), pattern),
    };
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(&mut characters, &mut out)?,
            '[' => bracket(&mut characters, &mut out)?,
            '(' if characters.peek() == Some(&'?') => {
                characters.next();
                match characters.next() {
                    Some(':') => out.push_str("(?:"),
                    Some('=' | '!' | '<') => return Err(refused("a look-ahead or look-behind")),
                    _ => return Err(refused("options")),
                }
            }
            '{' if !characters.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '}' => out.push('}'),
            character => out.push(character),
        }
    }
    Ok(out)
}

/// What follows a backslash outside of brackets.
fn escape(characters: &mut Peekable<Chars>, out: &mut String) -> Result<()> {
    let Some(character) = characters.next() else { return Err(invalid("invalid escape \\ sequence")) };
    match character {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str("[[:space:]]"),
        'S' => out.push_str("[^[:space:]]"),
        'w' => out.push_str("[[:alnum:]_]"),
        'W' => out.push_str("[^[:alnum:]_]"),
        'm' => out.push_str("(?-u:\\b{start})"),
        'M' => out.push_str("(?-u:\\b{end})"),
        'y' => out.push_str("(?-u:\\b)"),
        'A' => out.push_str("\\A"),
        'Z' => out.push_str("\\z"),
        'B' => out.push_str("\\\\"),
        '1'..='9' => return Err(refused("a back reference")),
        character => out.push_str(&single(character)?),
    }
    Ok(())
}

/// An escape that stands for one character.
fn single(character: char) -> Result<String> {
    Ok(match character {
        'a' => "\\x07".into(),
        'b' => "\\x08".into(),
        'e' => "\\x1B".into(),
        'f' | 'n' | 'r' | 't' | 'v' => format!("\\{character}"),
        character if character.is_ascii_alphanumeric() => return Err(refused(&format!("the escape \\{character}"))),
        character if character.is_ascii_punctuation() => format!("\\{character}"),
        character => character.to_string(),
    })
}

/// What follows an opening bracket, up to the closing one.
fn bracket(characters: &mut Peekable<Chars>, out: &mut String) -> Result<()> {
    out.push('[');
    if characters.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(character) = characters.next() else { return Err(invalid("brackets [] not balanced")) };
        match character {
            ']' if !first => break,
            '[' => match characters.peek() {
                Some(':') => class(characters, out)?,
                Some('.' | '=') => return Err(refused("a collating element")),
                _ => out.push_str("\\["),
            },
            '\\' => match characters.next() {
                Some('d') => out.push_str("0-9"),
                Some('s') => out.push_str("[:space:]"),
                Some('w') => out.push_str("[:alnum:]_"),
                Some('D' | 'S' | 'W') => return Err(refused("a negated class in brackets")),
                Some(character) => out.push_str(&single(character)?),
                None => return Err(invalid("invalid escape \\ sequence")),
            },
            '-' if first || characters.peek() == Some(&']') => out.push_str("\\-"),
            '-' if characters.peek() == Some(&'-') => return Err(refused("a range that ends with -")),
            '-' => out.push('-'),
            // These begin operators of sets.
            '&' | '~' | '^' | ']' => out.extend(['\\', character]),
            character => out.push(character),
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

/// `[:alpha:]`, after its bracket.
fn class(characters: &mut Peekable<Chars>, out: &mut String) -> Result<()> {
    characters.next();
    let mut name = String::new();
    while let Some(letter) = characters.next_if(char::is_ascii_alphabetic) {
        name.push(letter);
    }
    let known =
        ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"];
    match (known.contains(&name.as_str()), characters.next(), characters.next()) {
        (true, Some(':'), Some(']')) => {
            out.push_str(&format!("[:{name}:]"));
            Ok(())
        }
        _ => Err(invalid("invalid character class")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_say_the_same_in_other_words() {
        for (theirs, ours) in [
            ("^(a|b).c$", "(?s)^(a|b).c$"),
            (r"\d+\s\w", "(?s)[0-9]+[[:space:]][[:alnum:]_]"),
            ("[]a]", r"(?s)[\]a]"),
            ("[a[b]", r"(?s)[a\[b]"),
            ("[[:alpha:]_-]", r"(?s)[[:alpha:]_\-]"),
            ("[a&&b]", r"(?s)[a\&\&b]"),
            (r"\ya\b\B", r"(?s)(?-u:\b)a\x08\\"),
            ("(?i)x{2}{", r"(?si)x{2}\{"),
        ] {
            assert_eq!(translated(theirs).unwrap(), ours, "{theirs}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for (pattern, state) in
            [(r"(a)\1", "0A000"), ("a(?=b)", "0A000"), ("***=a", "0A000"), ("[a", "2201B"), ("[[:x:]]", "2201B")]
        {
            assert_eq!(translated(pattern).unwrap_err().sqlstate, state, "{pattern}");
        }
    }
}
