//! Which function or operator a name and its arguments mean: the manual's chapter on type conversion, rule by rule.

use super::casts::Context;
use super::coerce::{Way, way};
use super::functions::{self, Function};
use super::operators::{self, Operator};
use super::polymorphic::{can_stand, settled};
use super::types::{self, Oid, STRING, UNKNOWN};
use crate::error::{Error, Result};

/// A function that was found.
#[derive(Debug)]
pub enum Call {
    Function {
        function: &'static Function,
        /// What the arguments become, one each.
        arguments: Vec<Oid>,
        result: Oid,
        /// Arguments from here on are the elements of the function's last.
        variadic_from: Option<usize>,
    },
    /// A function's name that is a type's, of one argument: a cast.
    Cast(Oid),
}

/// An operator that was found.
#[derive(Debug)]
pub struct Applied {
    pub operator: &'static Operator,
    /// What its operands become: of one that stands before its operand, one.
    pub operands: Vec<Oid>,
    pub result: Oid,
}

/// Something that may be meant.
struct Candidate<T> {
    of: T,
    arguments: Vec<Oid>,
}

enum Choice<T> {
    One(Candidate<T>),
    None,
    Several,
}

/// The function `name` means with arguments of these types; UNKNOWN is that of a literal without one. Errors: 42883 if there is none,
/// 42725 if several are as good.
pub fn function(name: &str, inputs: &[Oid]) -> Result<Call> {
    let candidates = candidates(name, inputs.len());
    let exact = candidates.iter().position(|candidate| candidate.arguments == inputs);
    let chosen = match exact {
        Some(at) => Choice::One(candidates.into_iter().nth(at).expect("it was found there")),
        None => {
            if let Some(target) = as_type(name, inputs) {
                return Ok(Call::Cast(target));
            }
            choose(inputs, candidates)
        }
    };
    let signature = || {
        let inputs: Vec<String> = inputs.iter().map(Oid::to_string).collect();
        format!("{name}({})", inputs.join(", "))
    };
    match chosen {
        Choice::One(Candidate { of: (function, variadic_from), arguments }) => {
            let (arguments, result) = settled(inputs, &arguments, function.result)?;
            Ok(Call::Function { function, arguments, result, variadic_from })
        }
        Choice::None => Err(Error::new("42883", format!("function {} does not exist", signature()))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.")),
        Choice::Several => Err(Error::new("42725", format!("function {} is not unique", signature()))
            .hint("Could not choose a best candidate function. You might need to add explicit type casts.")),
    }
}

/// The operator `name` means between these types; without `left` it stands before its operand. Errors as of [`function`].
pub fn operator(name: &str, left: Option<Oid>, right: Oid) -> Result<Applied> {
    let inputs: Vec<Oid> = left.into_iter().chain([right]).collect();
    let all = operators::named(name).iter().filter(|operator| operator.left.is_some() == left.is_some());
    let candidates: Vec<Candidate<&'static Operator>> =
        all.map(|of| Candidate { of, arguments: of.left.into_iter().chain([of.right]).collect() }).collect();
    // A literal beside a value is first taken to be of its type.
    let known = inputs.iter().copied().find(|kind| *kind != UNKNOWN).unwrap_or(UNKNOWN);
    let alike: Vec<Oid> = inputs.iter().map(|kind| if *kind == UNKNOWN { known } else { *kind }).collect();
    let exact = candidates.iter().position(|candidate| candidate.arguments == alike);
    let chosen = match exact {
        Some(at) => Choice::One(candidates.into_iter().nth(at).expect("it was found there")),
        None => choose(&inputs, candidates),
    };
    let signature = || match left {
        Some(left) => format!("{left} {name} {right}"),
        None => format!("{name} {right}"),
    };
    match chosen {
        Choice::One(Candidate { of, arguments }) => {
            let (operands, result) = settled(&inputs, &arguments, of.result)?;
            Ok(Applied { operator: of, operands, result })
        }
        Choice::None => {
            let (types, casts) =
                if left.is_some() { ("types", "explicit type casts") } else { ("type", "an explicit type cast") };
            Err(Error::new("42883", format!("operator does not exist: {}", signature())).hint(format!(
                "No operator matches the given name and argument {types}. You might need to add {casts}."
            )))
        }
        Choice::Several => Err(Error::new("42725", format!("operator is not unique: {}", signature()))
            .hint("Could not choose a best candidate operator. You might need to add explicit type casts.")),
    }
}

/// `date(x)` and its like, where a cast would do no more than a function.
fn as_type(name: &str, inputs: &[Oid]) -> Option<Oid> {
    let (&[input], Some(target)) = (inputs, types::named(name)) else { return None };
    let is_cast = input == UNKNOWN
        || matches!(
            way(input, target.oid, Context::Explicit),
            Some(Way::By(super::casts::Method::Relabel | super::casts::Method::Text))
        );
    is_cast.then_some(target.oid)
}

type Named = (&'static Function, Option<usize>);

/// Functions that can be called with so many arguments.
fn candidates(name: &str, count: usize) -> Vec<Candidate<Named>> {
    let mut found: Vec<Candidate<Named>> = vec![];
    for function in functions::named(name) {
        let declared = function.arguments.len();
        let (arguments, variadic_from) = match function.variadic {
            Some(element) if declared <= count => {
                let fixed = function.arguments[..declared - 1].iter().copied();
                (fixed.chain(std::iter::repeat_n(element, count - declared + 1)).collect(), Some(declared - 1))
            }
            None if declared >= count && declared - count <= function.defaults => {
                (function.arguments[..count].to_vec(), None)
            }
            _ => continue,
        };
        // One that says how many it takes is meant before one that takes any number.
        match found.iter_mut().find(|other: &&mut Candidate<Named>| other.arguments == arguments) {
            Some(other) if variadic_from.is_none() => *other = Candidate { of: (function, None), arguments },
            Some(_) => {}
            None => found.push(Candidate { of: (function, variadic_from), arguments }),
        }
    }
    found
}

/// Of several candidates, those that are better than the others; all of them, if it has nothing to say.
type Rule<T> = fn(&[Oid], Vec<Candidate<T>>) -> Vec<Candidate<T>>;

fn choose<T>(inputs: &[Oid], candidates: Vec<Candidate<T>>) -> Choice<T> {
    let fits = |candidate: &Candidate<T>| can_stand(inputs, &candidate.arguments, Context::Implicit);
    let mut left: Vec<Candidate<T>> = candidates.into_iter().filter(fits).collect();
    let rules: [Rule<T>; 4] = [most_exact, most_preferred, by_category, all_alike];
    for rule in rules {
        if left.len() < 2 {
            break;
        }
        left = rule(inputs, left);
    }
    match left.len() {
        0 => Choice::None,
        1 => Choice::One(left.pop().expect("there is one")),
        _ => Choice::Several,
    }
}

/// Those with the highest of scores.
fn best<T>(candidates: Vec<Candidate<T>>, score: impl Fn(&Candidate<T>) -> usize) -> Vec<Candidate<T>> {
    let most = candidates.iter().map(&score).max().unwrap_or(0);
    candidates.into_iter().filter(|candidate| score(candidate) == most).collect()
}

/// Those that take most arguments as they are.
fn most_exact<T>(inputs: &[Oid], candidates: Vec<Candidate<T>>) -> Vec<Candidate<T>> {
    let is_exact = |(input, wanted): (&Oid, &Oid)| *input != UNKNOWN && input == wanted;
    best(candidates, |candidate| inputs.iter().zip(&candidate.arguments).filter(|pair| is_exact(*pair)).count())
}

/// Those that take most arguments as they are or as the preferred type of their category.
fn most_preferred<T>(inputs: &[Oid], candidates: Vec<Candidate<T>>) -> Vec<Candidate<T>> {
    let is_good = |(input, wanted): (&Oid, &Oid)| {
        let is_preferred = || wanted.is_preferred() && wanted.category() == input.category();
        *input != UNKNOWN && (input == wanted || is_preferred())
    };
    best(candidates, |candidate| inputs.iter().zip(&candidate.arguments).filter(|pair| is_good(*pair)).count())
}

/// A literal is text if some candidate takes text there, else of the category that all take there; within it of the preferred type, if
/// some candidate takes that.
fn by_category<T>(inputs: &[Oid], candidates: Vec<Candidate<T>>) -> Vec<Candidate<T>> {
    let unknown: Vec<usize> = (0..inputs.len()).filter(|&at| inputs[at] == UNKNOWN).collect();
    let mut wanted = vec![];
    for &at in &unknown {
        let categories: Vec<Option<char>> =
            candidates.iter().map(|candidate| candidate.arguments[at].category()).collect();
        let category = if categories.contains(&Some(STRING)) { Some(STRING) } else { categories[0] };
        if category != Some(STRING) && categories.iter().any(|other| *other != category) {
            return candidates;
        }
        let of_it =
            candidates.iter().map(|candidate| candidate.arguments[at]).filter(|kind| kind.category() == category);
        let some_preferred = { of_it }.any(Oid::is_preferred);
        wanted.push((at, category, some_preferred));
    }
    let keeps = |candidate: &Candidate<T>| {
        wanted.iter().all(|&(at, category, preferred)| {
            let kind = candidate.arguments[at];
            kind.category() == category && (!preferred || kind.is_preferred())
        })
    };
    if unknown.is_empty() || !candidates.iter().any(keeps) {
        return candidates;
    }
    candidates.into_iter().filter(keeps).collect()
}

/// If all arguments whose types are known have one type, literals are of that type as well.
fn all_alike<T>(inputs: &[Oid], candidates: Vec<Candidate<T>>) -> Vec<Candidate<T>> {
    let mut known = inputs.iter().filter(|kind| **kind != UNKNOWN);
    let Some(&kind) = known.next() else { return candidates };
    if !inputs.contains(&UNKNOWN) || known.any(|other| *other != kind) {
        return candidates;
    }
    let alike = vec![kind; inputs.len()];
    let fits = |candidate: &Candidate<T>| can_stand(&alike, &candidate.arguments, Context::Implicit);
    if candidates.iter().filter(|candidate| fits(candidate)).count() != 1 {
        return candidates;
    }
    candidates.into_iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::types::of;
    use super::*;

    fn written(kinds: &[Oid]) -> String {
        kinds.iter().map(Oid::to_string).collect::<Vec<_>>().join(", ")
    }

    fn called(name: &str, inputs: &[&'static str]) -> String {
        let inputs: Vec<Oid> = inputs.iter().map(|kind| of(kind)).collect();
        match function(name, &inputs) {
            Ok(Call::Function { arguments, result, .. }) => format!("{} -> {result}", written(&arguments)),
            Ok(Call::Cast(target)) => format!("cast to {target}"),
            Err(error) => error.sqlstate.to_string(),
        }
    }

    fn applied(left: Option<&'static str>, name: &str, right: &'static str) -> String {
        match operator(name, left.map(of), of(right)) {
            Ok(Applied { operands, result, .. }) => format!("{} -> {result}", written(&operands)),
            Err(error) => error.sqlstate.to_string(),
        }
    }

    #[test]
    fn functions_are_chosen_as_the_manual_says() {
        for (name, inputs, expected) in [
            ("abs", &["int2"][..], "smallint -> smallint"),
            ("abs", &["unknown"], "double precision -> double precision"),
            ("round", &["int4"], "double precision -> double precision"),
            ("round", &["int4", "int4"], "numeric, integer -> numeric"),
            ("substr", &["unknown", "int4"], "text, integer -> text"),
            ("length", &["varchar"], "text -> integer"),
            ("concat", &["int4", "unknown", "bool"], "\"any\", \"any\", \"any\" -> text"),
            ("array_append", &["_int4", "int8"], "bigint[], bigint -> bigint[]"),
            ("array_append", &["_int4", "unknown"], "integer[], integer -> integer[]"),
            ("unnest", &["_text"], "text[] -> text"),
            ("sum", &["int4"], "integer -> bigint"),
            ("sum", &["unknown"], "42725"),
            ("min", &["_int4"], "integer[] -> integer[]"),
            ("date", &["timestamp"], "timestamp without time zone -> date"),
            ("text", &["varchar"], "cast to text"),
            ("int4", &["unknown"], "cast to integer"),
            ("upper", &["int4"], "42883"),
            ("no_such_function", &[], "42883"),
            ("array_position", &["unknown", "unknown"], "text[], text -> integer"),
            ("isempty", &["int4range"], "int4range -> boolean"),
            ("lower", &["int4range"], "int4range -> integer"),
            ("range_merge", &["int4range", "int4range"], "int4range, int4range -> int4range"),
        ] {
            assert_eq!(called(name, inputs), expected, "{name}({inputs:?})");
        }
    }

    #[test]
    fn operators_are_chosen_as_the_manual_says() {
        for (left, name, right, expected) in [
            (Some("int4"), "+", "int8", "integer, bigint -> bigint"),
            (Some("int4"), "+", "numeric", "numeric, numeric -> numeric"),
            (Some("int4"), "+", "unknown", "integer, integer -> integer"),
            (Some("unknown"), "+", "unknown", "42725"),
            (Some("unknown"), "||", "unknown", "text, text -> text"),
            (Some("int4"), "||", "unknown", "integer, text -> text"),
            (Some("text"), "||", "int4", "text, integer -> text"),
            (Some("_int4"), "||", "int4", "integer[], integer -> integer[]"),
            (Some("int4"), "=", "text", "42883"),
            (Some("varchar"), "=", "unknown", "text, text -> boolean"),
            (Some("bpchar"), "=", "varchar", "character, character -> boolean"),
            (Some("bpchar"), "=", "text", "text, text -> boolean"),
            (Some("date"), "+", "int4", "date, integer -> date"),
            (Some("date"), "-", "date", "date, date -> integer"),
            (Some("date"), "-", "unknown", "date, date -> integer"),
            (Some("timestamp"), "-", "unknown", "timestamp without time zone, timestamp without time zone -> interval"),
            (None, "-", "int2", "smallint -> smallint"),
            (None, "-", "unknown", "42725"),
            (None, "~", "unknown", "42725"),
            (Some("jsonb"), "->", "unknown", "jsonb, text -> jsonb"),
            (Some("unknown"), "%", "int4", "integer, integer -> integer"),
        ] {
            assert_eq!(applied(left, name, right), expected, "{left:?} {name} {right}");
        }
    }
}
