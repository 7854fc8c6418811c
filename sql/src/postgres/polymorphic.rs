//! What `anyelement` and its like are in a call: of the first family all have one type exactly, of `anycompatible` the type that its
//! arguments have together.

use super::casts::Context;
use super::coerce::{common, fits};
use super::types::{Kind, Oid, TEXT, UNKNOWN, named};
use crate::error::{Error, Result};

pub const ANYARRAY: Oid = Oid(2277);
const ANYELEMENT: Oid = Oid(2283);
const ANYNONARRAY: Oid = Oid(2776);
const ANYENUM: Oid = Oid(3500);
const ANYRANGE: Oid = Oid(3831);
const ANYMULTIRANGE: Oid = Oid(4537);
const ANYCOMPATIBLE: Oid = Oid(5077);
const ANYCOMPATIBLEARRAY: Oid = Oid(5078);
const ANYCOMPATIBLENONARRAY: Oid = Oid(5079);
const ANYCOMPATIBLERANGE: Oid = Oid(5080);
const ANYCOMPATIBLEMULTIRANGE: Oid = Oid(4538);

/// The two families: what is said of an element, an array, a range and a multirange of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Exact,
    Compatible,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Element,
    Array,
    Range,
    Multirange,
}

fn part(kind: Oid) -> Option<(Family, Form)> {
    Some(match kind {
        ANYELEMENT | ANYNONARRAY | ANYENUM => (Family::Exact, Form::Element),
        ANYARRAY => (Family::Exact, Form::Array),
        ANYRANGE => (Family::Exact, Form::Range),
        ANYMULTIRANGE => (Family::Exact, Form::Multirange),
        ANYCOMPATIBLE | ANYCOMPATIBLENONARRAY => (Family::Compatible, Form::Element),
        ANYCOMPATIBLEARRAY => (Family::Compatible, Form::Array),
        ANYCOMPATIBLERANGE => (Family::Compatible, Form::Range),
        ANYCOMPATIBLEMULTIRANGE => (Family::Compatible, Form::Multirange),
        _ => return None,
    })
}

pub fn is_polymorphic(kind: Oid) -> bool {
    part(kind).is_some()
}

/// Bounds of a range, and the range of a multirange: what PostgreSQL calls them says which.
fn within(kind: Oid) -> Option<Oid> {
    let name = match (kind.entry()?.kind, kind.entry()?.name) {
        (Kind::Range, "int4range") => "int4",
        (Kind::Range, "int8range") => "int8",
        (Kind::Range, "numrange") => "numeric",
        (Kind::Range, "daterange") => "date",
        (Kind::Range, "tsrange") => "timestamp",
        (Kind::Range, "tstzrange") => "timestamptz",
        (Kind::Multirange, "int4multirange") => "int4range",
        (Kind::Multirange, "int8multirange") => "int8range",
        (Kind::Multirange, "nummultirange") => "numrange",
        (Kind::Multirange, "datemultirange") => "daterange",
        (Kind::Multirange, "tsmultirange") => "tsrange",
        (Kind::Multirange, "tstzmultirange") => "tstzrange",
        _ => return None,
    };
    named(name).map(|kind| kind.oid)
}

fn multirange_of(range: Oid) -> Option<Oid> {
    super::types::all()
        .iter()
        .filter(|kind| kind.kind == Kind::Multirange)
        .map(|kind| kind.oid)
        .find(|kind| within(*kind) == Some(range))
}

/// What a family stands for in a call.
#[derive(Clone, Copy, Default)]
struct Found {
    element: Option<Oid>,
    array: Option<Oid>,
    range: Option<Oid>,
    multirange: Option<Oid>,
}

/// One place, one type.
fn settle(place: &mut Option<Oid>, kind: Oid) -> Option<()> {
    match *place.get_or_insert(kind) == kind {
        true => Some(()),
        false => None,
    }
}

impl Found {
    /// `None`: they contradict each other.
    fn exact(inputs: &[Oid], declared: &[Oid]) -> Option<Self> {
        let mut found = Self::default();
        for (&input, form) in of_family(inputs, declared, Family::Exact) {
            let place = match form {
                Form::Element => &mut found.element,
                Form::Array => &mut found.array,
                Form::Range => &mut found.range,
                Form::Multirange => &mut found.multirange,
            };
            settle(place, input)?;
        }
        // A pseudo-array, as columns of statistics are, has no element.
        if let Some(array) = found.array.filter(|array| *array != ANYARRAY) {
            settle(&mut found.element, array.element()?)?;
        }
        if let Some(multirange) = found.multirange {
            settle(&mut found.range, within(multirange)?)?;
        }
        if let Some(range) = found.range {
            settle(&mut found.element, within(range).filter(|_| is(range, Kind::Range))?)?;
        }
        // There are no enums.
        let is_declared = |kind: Oid| declared.contains(&kind);
        let contradicts = (is_declared(ANYNONARRAY) && found.element.is_some_and(|kind| kind.element().is_some()))
            || is_declared(ANYENUM);
        (!contradicts).then_some(found)
    }

    fn compatible(inputs: &[Oid], declared: &[Oid]) -> Option<Self> {
        let mut found = Self::default();
        let mut kinds = vec![];
        for (&input, form) in of_family(inputs, declared, Family::Compatible) {
            match form {
                Form::Element => kinds.push(input),
                Form::Array => kinds.push(input.element()?),
                Form::Range => settle(&mut found.range, input)?,
                Form::Multirange => settle(&mut found.multirange, input)?,
            }
        }
        if let Some(multirange) = found.multirange {
            settle(&mut found.range, within(multirange)?)?;
        }
        if let Some(range) = found.range {
            kinds.push(within(range).filter(|_| is(range, Kind::Range))?);
        }
        if kinds.is_empty() {
            return Some(found);
        }
        let together = common(&kinds).ok()?;
        if !kinds.iter().all(|kind| fits(*kind, together, Context::Implicit)) {
            return None;
        }
        let is_bound = found.range.is_none_or(|range| within(range) == Some(together));
        let is_array = declared.contains(&ANYCOMPATIBLENONARRAY) && together.element().is_some();
        found.element = Some(together);
        (is_bound && !is_array).then_some(found)
    }

    /// What a declared type of the family is, if that follows.
    fn kind(&self, form: Form) -> Option<Oid> {
        match form {
            Form::Element => self.element,
            Form::Array => self.array.or_else(|| self.element?.array()),
            Form::Range => self.range,
            Form::Multirange => self.multirange.or_else(|| multirange_of(self.range?)),
        }
    }
}

fn is(kind: Oid, of: Kind) -> bool {
    kind.entry().is_some_and(|entry| entry.kind == of)
}

/// Arguments of a family whose types are known.
fn of_family<'a>(inputs: &'a [Oid], declared: &[Oid], family: Family) -> impl Iterator<Item = (&'a Oid, Form)> {
    let forms = declared.iter().map(move |kind| part(*kind).filter(|(of, _)| *of == family));
    inputs
        .iter()
        .zip(forms.collect::<Vec<_>>())
        .filter(|(input, _)| **input != UNKNOWN)
        .filter_map(|(input, part)| Some((input, part?.1)))
}

/// Whether values of `inputs` can stand where `targets` are wanted, one for one.
pub fn can_stand(inputs: &[Oid], targets: &[Oid], context: Context) -> bool {
    let each = |(&input, &target): (&Oid, &Oid)| is_polymorphic(target) || fits(input, target, context);
    let all = inputs.iter().zip(targets).all(each);
    all && (!targets.iter().copied().any(is_polymorphic) || are_consistent(inputs, targets))
}

/// Whether `inputs` can be what is `declared`, as far as that is polymorphic.
fn are_consistent(inputs: &[Oid], declared: &[Oid]) -> bool {
    Found::exact(inputs, declared).is_some() && Found::compatible(inputs, declared).is_some()
}

/// The types of `declared` in a call with `inputs`, which are consistent with it. Errors: 42804 if it does not follow from them.
pub fn settled(inputs: &[Oid], declared: &[Oid], result: Oid) -> Result<(Vec<Oid>, Oid)> {
    let clash = || Error::new("42804", "arguments declared with a polymorphic type are not all alike");
    let exact = Found::exact(inputs, declared).ok_or_else(clash)?;
    let mut compatible = Found::compatible(inputs, declared).ok_or_else(clash)?;
    // Nothing but unknown literals: they are text.
    if compatible.element.is_none() && compatible.range.is_none() {
        compatible.element = Some(TEXT);
    }
    let settle = |kind: &Oid| match part(*kind) {
        None => Ok(*kind),
        Some((family, form)) => {
            let found = if family == Family::Exact { &exact } else { &compatible };
            found.kind(form).ok_or_else(|| {
                let why = "could not determine polymorphic type because input has type unknown";
                Error::new("42804", why)
            })
        }
    };
    Ok((declared.iter().map(settle).collect::<Result<_>>()?, settle(&result)?))
}
