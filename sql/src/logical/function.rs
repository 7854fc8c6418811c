//! Which code runs a function of pg_proc on values as they are held: ours, or one of DataFusion's that was compared with PostgreSQL's.

use super::value::{Value, alike, held};
use crate::bound::{Bound, Kind, not_yet};
use crate::function;
use crate::postgres::casts::{self, Method};
use crate::postgres::functions::{Function, Kind as Sort};
use crate::session;
use crate::types::Type;

/// Functions whose arguments of any type are printed.
const PRINTING: [&str; 3] = ["concat", "concat_ws", "format"];

/// Functions of DataFusion's: PostgreSQL's name, the types of arguments, DataFusion's name. Those that
/// [`session::overloaded`] knows take bytes as well.
const THEIRS: &[(&str, &[&str], &str)] = &[
    ("array_remove", &["anycompatiblearray anycompatible"], "array_remove"),
    ("array_to_string", &["anyarray text", "anyarray text text"], "array_to_string"),
    ("ascii", &["text"], "ascii"),
    ("bit_length", &["text", "bytea"], "bit_length"),
    ("btrim", &["text", "text text", "bytea bytea"], "btrim"),
    ("char_length", &["text", "bpchar"], "character_length"),
    ("character_length", &["text", "bpchar"], "character_length"),
    ("chr", &["int4"], "chr"),
    ("gen_random_uuid", &[""], "uuid"),
    ("left", &["text int4"], "left"),
    ("length", &["text", "bpchar", "bytea"], "character_length"),
    ("ltrim", &["text", "text text", "bytea bytea"], "ltrim"),
    ("md5", &["text"], "md5"),
    ("octet_length", &["text", "bpchar", "bytea"], "octet_length"),
    ("pi", &[""], "pi"),
    ("position", &["text text", "bytea bytea"], "strpos"),
    ("random", &[""], "random"),
    ("regexp_like", &["text text"], "regexp_like"),
    ("regexp_replace", &["text text text", "text text text text"], "regexp_replace"),
    ("reverse", &["text"], "reverse"),
    ("right", &["text int4"], "right"),
    ("rtrim", &["text", "text text", "bytea bytea"], "rtrim"),
    ("split_part", &["text text int4"], "split_part"),
    ("starts_with", &["text text"], "starts_with"),
    ("strpos", &["text text"], "strpos"),
    ("substr", &["text int4", "text int4 int4", "bytea int4", "bytea int4 int4"], "substr"),
    ("substring", &["text int4", "text int4 int4", "bytea int4", "bytea int4 int4"], "substr"),
    ("translate", &["text text text"], "translate"),
];

/// `arguments` have the types that `function` declares; `kind` is what it gives.
pub fn call(function: &Function, arguments: Vec<Value>, kind: Kind, zone: &str) -> Bound<Value> {
    let unknown = || not_yet(format!("function {}", function.name));
    if function.kind != Sort::Function || function.is_set {
        return unknown();
    }
    let result = held(kind)?;
    if arguments.is_empty()
        && let Some(clock) = session::untimed(function.name)
    {
        return Ok(Value::new(clock.call(vec![]), result));
    }
    if let [argument] = &arguments[..]
        && is_cast(function)
    {
        return argument.clone().converted(&result, zone);
    }
    // Its elements may be the arguments that are meant.
    if function.variadic.is_some() && arguments.last().is_some_and(|last| matches!(last.kind, Type::Array(_))) {
        return unknown();
    }
    if let Some((_, _, theirs)) =
        THEIRS.iter().find(|(name, taken, _)| *name == function.name && takes(function, taken))
    {
        return overloaded(theirs, arguments, &result)?.map_or_else(unknown, Ok);
    }
    match ours(function.name, arguments)? {
        Some(value) if alike(&value.kind, &result) => Ok(value),
        _ => unknown(),
    }
}

/// Whether `function` is what a cast from the type of its argument calls.
fn is_cast(function: &Function) -> bool {
    match &function.arguments[..] {
        [source] => casts::between(*source, function.result)
            .is_some_and(|cast| matches!(cast.method, Method::Function(oid) if oid == function.oid)),
        _ => false,
    }
}

fn takes(function: &Function, taken: &[&str]) -> bool {
    let names = function.arguments.iter().map(|oid| oid.entry().map_or("", |kind| kind.name));
    taken.contains(&names.collect::<Vec<_>>().join(" ").as_str())
}

/// A call of the function of ours that is called `name`; `None` if there is none, or none for such values.
pub fn ours(name: &str, arguments: Vec<Value>) -> Bound<Option<Value>> {
    let Some(function) = function::lookup(name) else { return Ok(None) };
    let Some(definition) = function::definition(&function) else { return Ok(None) };
    let mut given: Vec<Option<Type>> = arguments.iter().map(|argument| Some(argument.kind.clone())).collect();
    // The analyzer adds the zone.
    if function::reads_clock(name, &given) {
        given.push(None);
    }
    let Ok(resolved) = (definition.resolve)(&given) else { return Ok(None) };
    let as_given = |(argument, wanted): (&Value, &Type)| match (&argument.kind, wanted) {
        // What is added to a date is added to its first moment.
        (Type::Date, Type::Timestamp) => true,
        (given, wanted) => alike(given, wanted),
    };
    if !PRINTING.contains(&name) && !arguments.iter().zip(&resolved.arguments).all(as_given) {
        return Ok(None);
    }
    let arguments = arguments.into_iter().map(|argument| argument.expr).collect();
    Ok(Some(Value::new(function.call(arguments), resolved.result)))
}

/// A call of a function of DataFusion's, or of ours that is called for it where there are bytes.
pub fn overloaded(name: &str, arguments: Vec<Value>, result: &Type) -> Bound<Option<Value>> {
    let bytes = arguments.iter().any(|argument| argument.kind == Type::Bytea);
    let Some(function) = session::overloaded(name).or_else(|| function::by_name(name).filter(|_| !bytes)) else {
        return Ok(None);
    };
    let kind = match (name, arguments.first()) {
        ("array_remove", Some(array)) => array.kind.clone(),
        _ => result.clone(),
    };
    let call = function.call(arguments.into_iter().map(|argument| argument.expr).collect());
    Ok(Some(match name {
        // For them it is a text.
        "uuid" => Value::new(call, Type::Text).marked(&Type::Uuid),
        // Theirs is text in another shape.
        "left" | "right" | "md5" => Value::new(call, kind).marked(&Type::Text),
        _ => Value::new(call, kind),
    }))
}
