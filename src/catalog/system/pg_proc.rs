//! pg_catalog.pg_proc: functions that a statement can call, and those that operators, casts and types are made of. And what
//! PostgreSQL's functions are called.

use super::table::{Cell, Facts, Kind::*, OWNER, Table, row};
use super::{pg_cast, pg_language, pg_operator, pg_type};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use weir_sql::postgres::functions::{self, Kind, Volatility};
use weir_sql::postgres::types;
use weir_sql::types::Type;
use weir_sql::{Error, Result, session};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_proc",
    columns: &[
        ("oid", Oid),
        ("proname", Name),
        ("pronamespace", Oid),
        ("proowner", Oid),
        ("prolang", Oid),
        ("procost", Float4),
        ("prorows", Float4),
        ("provariadic", Oid),
        ("prosupport", Regproc),
        ("prokind", Letter),
        ("prosecdef", Bool),
        ("proleakproof", Bool),
        ("proisstrict", Bool),
        ("proretset", Bool),
        ("provolatile", Letter),
        ("proparallel", Letter),
        ("pronargs", Int2),
        ("pronargdefaults", Int2),
        ("prorettype", Oid),
        ("proargtypes", Oids),
        ("proallargtypes", Oids),
        ("proargmodes", Texts),
        ("proargnames", Texts),
        ("proargdefaults", Text),
        ("protrftypes", Oids),
        ("prosrc", Text),
        ("probin", Text),
        ("prosqlbody", Text),
        ("proconfig", Texts),
        ("proacl", Texts),
    ],
    rows: |facts: &Facts| shown(facts).map(one).collect(),
};

/// What is there whatever the server answers itself.
static KNOWN: LazyLock<BTreeSet<u32>> = LazyLock::new(|| {
    let operators = pg_operator::shown().map(|operator| operator.function);
    let casts = pg_cast::shown().filter_map(pg_cast::function);
    let called = functions::all().iter().filter(|function| may_call(function)).map(|function| function.oid);
    operators.chain(casts).chain(pg_type::shown().flat_map(|kind| kind.functions.all())).chain(called).collect()
});

pub(super) fn shown(facts: &Facts) -> impl Iterator<Item = &'static functions::Function> {
    let is_known = move |function: &functions::Function| {
        let mut kinds = function.arguments.iter().chain([&function.result]);
        kinds.all(|kind| pg_type::is_shown(*kind))
            && (KNOWN.contains(&function.oid) || facts.functions.contains(&function.name))
    };
    functions::all().iter().chain(functions::internals()).filter(move |function| is_known(function))
}

fn may_call(function: &functions::Function) -> bool {
    let arguments: Option<Vec<Type>> = function.arguments.iter().map(|kind| pg_type::stand_in(*kind)).collect();
    arguments.is_some_and(|arguments| session::may_call(function.name, &arguments))
}

fn one(function: &functions::Function) -> Vec<Cell> {
    let arguments = || function.arguments.iter().map(|kind| kind.0).collect::<Vec<_>>();
    let modes = function.variadic.map(|_| {
        let mut modes = vec!["i"; function.arguments.len()];
        modes.pop();
        modes.push("v");
        modes
    });
    let none = None::<i64>;
    row![
        function.oid,
        function.name,
        11,
        OWNER,
        pg_language::INTERNAL,
        1.0,
        if function.is_set { 1000.0 } else { 0.0 },
        function.variadic.map_or(0, |element| element.0),
        0,
        match function.kind {
            Kind::Function => "f",
            Kind::Aggregate | Kind::OrderedSet(_) | Kind::Hypothetical(_) => "a",
            Kind::Window => "w",
        },
        false,
        false,
        function.is_strict,
        function.is_set,
        match function.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        },
        "s",
        function.arguments.len() as i64,
        function.defaults as i64,
        function.result.0,
        arguments(),
        modes.as_ref().map(|_| arguments()),
        modes,
        none,
        none,
        none,
        function.name,
        none,
        none,
        none,
        none,
    ]
}

/// A regproc as it is shown: with the schema, where the name alone would not say which one it is.
pub fn name(oid: i64) -> String {
    match found(oid) {
        Some(function) if functions::named(function.name).len() > 1 => format!("pg_catalog.{}", function.name),
        Some(function) => function.name.into(),
        None if oid == 0 => "-".into(),
        None => oid.to_string(),
    }
}

/// `'name'::regproc`, also written as a number. Errors: 42883, 42725.
pub fn by_name(written: &str) -> Result<u32> {
    if written == "-" {
        return Ok(0);
    }
    if let Ok(oid) = written.parse() {
        return Ok(oid);
    }
    match &called(written)[..] {
        [function] => Ok(function.oid),
        [] => Err(Error::new("42883", format!("function \"{written}\" does not exist"))),
        _ => Err(Error::new("42725", format!("more than one function named \"{written}\""))),
    }
}

/// `'name(type, type)'::regprocedure`, also written as a number. Errors: 42883.
pub fn by_signature(written: &str) -> Result<u32> {
    if let Ok(oid) = written.parse() {
        return Ok(oid);
    }
    let found = || {
        let (name, rest) = written.split_once('(')?;
        let arguments = rest.trim_end().strip_suffix(')')?.split(',').filter(|kind| !kind.trim().is_empty());
        let arguments: Vec<types::Oid> =
            arguments.map(|kind| pg_type::by_name(kind).map(types::Oid)).collect::<Option<_>>()?;
        called(name).into_iter().find(|function| function.arguments == arguments)
    };
    let function = found().ok_or_else(|| Error::new("42883", format!("function \"{written}\" does not exist")))?;
    Ok(function.oid)
}

/// `pg_get_function_arguments(oid)`.
pub fn arguments(oid: i64) -> Option<String> {
    let function = found(oid)?;
    let mut written: Vec<String> = function.arguments.iter().map(types::Oid::to_string).collect();
    if let (Some(last), true) = (written.last_mut(), function.variadic.is_some()) {
        *last = format!("VARIADIC {last}");
    }
    Some(match function.kind {
        Kind::OrderedSet(direct) | Kind::Hypothetical(direct) => {
            let ordered = written.split_off(direct.min(written.len()));
            format!("{} ORDER BY {}", written.join(", "), ordered.join(", ")).trim_start().into()
        }
        _ => written.join(", "),
    })
}

/// `pg_get_function_result(oid)`.
pub fn result(oid: i64) -> Option<String> {
    let function = found(oid)?;
    Some(format!("{}{}", if function.is_set { "SETOF " } else { "" }, function.result))
}

fn found(oid: i64) -> Option<&'static functions::Function> {
    functions::by_oid(u32::try_from(oid).ok()?)
}

/// Of a name, folded, with or without its schema.
fn called(written: &str) -> Vec<&'static functions::Function> {
    let folded = written.trim().to_ascii_lowercase();
    let name = folded.trim_start_matches("pg_catalog.");
    let internals = functions::internals().iter().filter(|function| function.name == name);
    functions::named(name).iter().chain(internals).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_what_it_is_called() {
        let by_name = |written| by_name(written).map_err(|error| error.sqlstate);
        assert_eq!(by_name("pg_catalog.array_in"), Ok(750));
        assert_eq!(by_name("int4PL"), Ok(177));
        assert_eq!(by_name("177"), Ok(177));
        assert_eq!(by_name("-"), Ok(0));
        assert_eq!(by_name("abs"), Err("42725"));
        assert_eq!(by_name("no_such_function"), Err("42883"));
        let by_signature = |written| by_signature(written).map_err(|error| error.sqlstate);
        assert_eq!(by_signature("array_in(cstring,oid,integer)"), Ok(750));
        assert_eq!(by_signature("pg_catalog.abs( bigint )"), Ok(1396));
        assert_eq!(by_signature("now()"), Ok(1299));
        assert_eq!(by_signature("abs(text)"), Err("42883"));
    }

    #[test]
    fn a_function_is_shown_as_it_is_called() {
        assert_eq!((name(750).as_str(), name(1397).as_str(), name(0).as_str()), ("array_in", "pg_catalog.abs", "-"));
        let shown = |oid| (arguments(oid).unwrap_or_default(), result(oid).unwrap_or_default());
        for (oid, arguments, result) in [
            (1397, "integer", "integer"),
            (1299, "", "timestamp with time zone"),
            (3539, "text, VARIADIC \"any\"", "text"),
            (2331, "anyarray", "SETOF anyelement"),
            (3974, "double precision ORDER BY double precision", "double precision"),
        ] {
            assert_eq!(shown(oid), (arguments.into(), result.into()));
        }
        assert_eq!(shown(i64::MAX), (String::new(), String::new()));
    }
}
