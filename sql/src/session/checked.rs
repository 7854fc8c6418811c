//! What a client may call of DataFusion's: functions, aggregates and window functions that were compared with Postgres', by the
//! name they have there. All others do not exist for it; to admit one, compare it and write it here.

use crate::error::{Error, Result};
use crate::{aggregate, function};
use datafusion::execution::SessionStateDefaults;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Functions, aggregates, window functions.
const NAMES: &[&[&str]] = &[
    &[
        "array_remove",
        "array_to_string",
        "ascii",
        "bit_length",
        "btrim",
        "character_length",
        "char_length",
        "chr",
        "coalesce",
        "concat",
        "concat_ws",
        "current_date",
        "current_time",
        "current_timestamp",
        "gen_random_uuid",
        "generate_series",
        "greatest",
        "least",
        "left",
        "length",
        "lpad",
        "ltrim",
        "md5",
        "now",
        "nullif",
        "octet_length",
        "pi",
        "position",
        "random",
        "regexp_like",
        "regexp_replace",
        "repeat",
        "replace",
        "reverse",
        "right",
        "rpad",
        "rtrim",
        "split_part",
        "starts_with",
        "strpos",
        "substr",
        "substring",
        "translate",
        "trim",
        "unnest",
    ],
    &["array_agg", "first_value", "grouping", "last_value", "string_agg"],
    &["cume_dist", "dense_rank", "lag", "lead", "nth_value", "ntile", "percent_rank", "rank", "row_number"],
];

/// Refuses a function of DataFusion's that was not compared.
pub fn callable(name: &str) -> Result<()> {
    match is_compared(name) || is_ours(name) || !THEIRS.contains(name) {
        true => Ok(()),
        false => Err(Error::new("42883", format!("function {name} does not exist"))),
    }
}

/// Whether it is one of DataFusion's that was.
pub fn is_compared(name: &str) -> bool {
    NAMES.iter().any(|names| names.contains(&name))
}

/// Functions and aggregates that are not DataFusion's at all.
fn is_ours(name: &str) -> bool {
    function::lookup(name).is_some() || aggregate::Function::named(name).is_some()
}

/// Everything that DataFusion would find by a name.
static THEIRS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut names = HashSet::new();
    let mut add = |name: &str, aliases: &[String]| {
        names.insert(name.to_string());
        names.extend(aliases.iter().cloned());
    };
    SessionStateDefaults::default_scalar_functions().iter().for_each(|f| add(f.name(), f.aliases()));
    SessionStateDefaults::default_aggregate_functions().iter().for_each(|f| add(f.name(), f.aliases()));
    SessionStateDefaults::default_window_functions().iter().for_each(|f| add(f.name(), f.aliases()));
    SessionStateDefaults::default_higher_order_functions().iter().for_each(|f| add(f.name(), f.aliases()));
    names.extend(["make_map", "map", "unnest_outer"].map(String::from));
    names
});
