//! Which value can stand for which type, and the type that several values have together.

use super::casts::{self, Context, Method};
use super::types::{ANY, INT2VECTOR, OIDVECTOR, Oid, STRING, TEXT, UNKNOWN};

/// How a value of one type becomes one of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    By(Method),
    /// Each element of an array.
    Elements,
}

/// How `source` becomes `target`, if it may there. UNKNOWN has no way: a literal is read as what it becomes.
pub fn way(source: Oid, target: Oid, context: Context) -> Option<Way> {
    if source == target {
        return Some(Way::By(Method::Relabel));
    }
    if let Some(cast) = casts::between(source, target) {
        return (context >= cast.context).then_some(Way::By(cast.method));
    }
    let are_arrays = target != OIDVECTOR && target != INT2VECTOR;
    if let (true, Some(from), Some(to)) = (are_arrays, source.element(), target.element())
        && way(from, to, context).is_some()
    {
        return Some(Way::Elements);
    }
    let is_string = |kind: Oid| kind.category() == Some(STRING);
    let by_text =
        (context >= Context::Assignment && is_string(target)) || (context >= Context::Explicit && is_string(source));
    by_text.then_some(Way::By(Method::Text))
}

/// Whether a value of `input` can stand where `target` is wanted, which is not polymorphic.
pub fn fits(input: Oid, target: Oid, context: Context) -> bool {
    input == target || target == ANY || input == UNKNOWN || way(input, target, context).is_some()
}

/// The type that values of `kinds` have together: in CASE, UNION, VALUES, ARRAY, IN. On error the two that do not match.
pub fn common(kinds: &[Oid]) -> Result<Oid, (Oid, Oid)> {
    let Some((&first, others)) = kinds.split_first() else { return Ok(TEXT) };
    let mut chosen = first;
    for &next in others.iter().filter(|&&kind| kind != UNKNOWN) {
        if next == chosen {
            continue;
        }
        if chosen == UNKNOWN {
            chosen = next;
        } else if chosen.category() != next.category() {
            return Err((chosen, next));
        } else if !chosen.is_preferred()
            && fits(chosen, next, Context::Implicit)
            && !fits(next, chosen, Context::Implicit)
        {
            chosen = next;
        }
    }
    Ok(if chosen == UNKNOWN { TEXT } else { chosen })
}

#[cfg(test)]
mod tests {
    use super::super::types::of;
    use super::*;

    #[test]
    fn values_have_a_type_together() {
        let together = |kinds: &[&'static str]| {
            let kinds: Vec<Oid> = kinds.iter().map(|kind| of(kind)).collect();
            common(&kinds).map(|kind| kind.to_string()).map_err(|(a, b)| format!("{a} and {b}"))
        };
        for (kinds, expected) in [
            (&["int4", "numeric", "int8"][..], Ok("numeric")),
            (&["unknown", "date"], Ok("date")),
            (&["unknown", "unknown"], Ok("text")),
            (&["bpchar", "varchar"], Ok("character")),
            (&["varchar", "text"], Ok("character varying")),
            (&["float4", "numeric"], Ok("real")),
            (&["date", "timestamptz", "timestamp"], Ok("timestamp with time zone")),
            (&["int4", "text"], Err("integer and text")),
        ] {
            assert_eq!(together(kinds), expected.map(str::to_string).map_err(str::to_string), "{kinds:?}");
        }
    }

    #[test]
    fn a_way_depends_on_where_it_is_asked_for() {
        use Context::*;
        for (source, target, first) in [
            ("int4", "int8", Some(Implicit)),
            ("int8", "int4", Some(Assignment)),
            ("int4", "bool", Some(Explicit)),
            ("int4", "text", Some(Assignment)),
            ("text", "int4", Some(Explicit)),
            ("_int4", "_int8", Some(Implicit)),
            ("_int4", "text", Some(Assignment)),
            ("date", "int4", None),
        ] {
            let found =
                [Implicit, Assignment, Explicit].into_iter().find(|c| way(of(source), of(target), *c).is_some());
            assert_eq!(found, first, "{source} to {target}");
        }
    }
}
