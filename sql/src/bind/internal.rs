//! Types of the catalogs, which are held as others are: `name` and `"char"` as text, `oid` as bigint. A conversion that is not that of what
//! holds them is not known here.

use crate::bound::{Bound, Expr, Kind, not_yet};
use crate::postgres::functions::Function;
use crate::postgres::types::{NAME, OID, Oid, TEXT};
use crate::types::Type;
use std::sync::Arc;

/// `"char"`, which is one byte.
const LETTER: Oid = Oid(18);
/// As long as a name can be.
const NAME_BYTES: usize = 63;

/// Whether values of `from` become those of `to` as values of what holds them do.
pub fn converts(from: Oid, to: Oid) -> bool {
    let is_text = |oid: Oid| oid == TEXT || Kind::from(oid).held().is_some_and(|kind| kind.is_text() && oid != NAME);
    match (own(from), own(to)) {
        (from, to) if from == to => true,
        (_, NAME | LETTER | OID) => false,
        (OID, to) => to == Kind::of(&Type::Int8).oid || is_text(to),
        (LETTER, to) => is_text(to),
        _ => true,
    }
}

/// The element's type of an array's, or the type itself.
fn own(oid: Oid) -> Oid {
    oid.element().unwrap_or(oid)
}

/// A number that is written out as an oid, if `to` is that.
pub fn number(expr: &Expr, to: Oid) -> Option<Expr> {
    match expr {
        Expr::Constant { value: None, .. } => Some(Expr::Constant { value: None, kind: to.into() }),
        Expr::Constant { value: Some(value), kind }
            if to == OID && kind.held().is_some_and(|kind| kind.is_number()) =>
        {
            let value = counted(value)?;
            Some(Expr::Constant { value: Some(value), kind: to.into() })
        }
        _ => None,
    }
}

fn counted(text: &str) -> Option<Arc<str>> {
    let number: u32 = text.parse().ok().filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(number.to_string().into())
}

/// A literal as a value of `to`; `None` of types that are read as what holds them.
pub fn read(text: &str, to: Oid) -> Bound<Option<Arc<str>>> {
    let unread = || not_yet(format!("this text as {to}"));
    let is_array = own(to) != to;
    match own(to) {
        // What is too long is cut off, between two characters.
        NAME if !is_array => Ok(Some(text[..text.floor_char_boundary(NAME_BYTES)].into())),
        NAME if text.len() > NAME_BYTES => unread(),
        LETTER if !is_array && text.len() <= 1 && text != "\\" => Ok(Some(text.into())),
        LETTER => unread(),
        OID if !is_array => counted(text).map_or_else(unread, |number| Ok(Some(number))),
        OID => {
            let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            match inside.is_some_and(|inside| inside.is_empty() || inside.split(',').all(|one| counted(one).is_some()))
            {
                true => Ok(None),
                false => unread(),
            }
        }
        _ => Ok(None),
    }
}

/// Whether a function gives a value of such a type, or takes one otherwise than as text.
pub fn is_told_by(function: &Function) -> bool {
    let is_internal = |oid: Oid| matches!(own(oid), NAME | LETTER | OID);
    is_internal(function.result) || function.arguments.iter().any(|oid| is_internal(*oid) && own(*oid) != NAME)
}

/// Whether a parameter's value may be of `to` as it comes: what is too long for a name is the name of nothing.
pub fn stands_for(to: Oid) -> bool {
    own(to) != LETTER
}
