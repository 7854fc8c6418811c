//! Session variables: those that do something, and the names of Postgres and RisingWave that clients set and that change nothing here.

use crate::catalog::system::Setting;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_sql::function::zone::Zone;
use weir_sql::session::Settings;
use weir_sql::{Error, Result};

/// What clients are told in ParameterStatus and by `SHOW server_version`: the Postgres whose behaviour is followed.
pub const SERVER_VERSION: &str = concat!("15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");
/// `version()`
pub const VERSION: &str = concat!("PostgreSQL 15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");

struct Spec {
    name: &'static str,
    default: &'static str,
    rule: Rule,
    about: &'static str,
}

enum Rule {
    Bool,
    Integer(i64, i64),
    /// A duration; a plain number is milliseconds; 0 is none.
    Millis,
    OneOf(&'static [&'static str]),
    Zone,
    /// ISO; the month comes before the day.
    DateStyle,
    Encoding,
    Names,
    Text,
    /// Says what is; cannot be set.
    Fixed,
    /// Accepted because RisingWave has it: how it does what it does, not what. Changes nothing.
    Ignored,
}

const LEVELS: &[&str] = &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];
const ISOLATION: &[&str] = &["read uncommitted", "read committed", "repeatable read", "serializable"];

/// Sorted by name.
const SPECS: &[Spec] = &[
    spec("application_name", "", Rule::Text, "Name of the client's application."),
    spec("backfill_rate_limit", "default", Rule::OneOf(&["default"]), "There is no limit."),
    spec("background_ddl", "off", Rule::OneOf(&["off", "false"]), "CREATE returns when the relation is readable."),
    spec("batch_parallelism", "default", Rule::Ignored, "Not used."),
    spec("bytea_output", "hex", Rule::OneOf(&["hex"]), "Format of bytea as text."),
    spec("check_function_bodies", "on", Rule::Bool, "Not used."),
    spec("client_encoding", "UTF8", Rule::Encoding, "Encoding of text."),
    spec("client_min_messages", "notice", Rule::OneOf(LEVELS), "Lowest level of messages sent to the client."),
    spec("datestyle", "ISO, MDY", Rule::DateStyle, "Format of dates and times as text."),
    spec("default_table_access_method", "heap", Rule::OneOf(&["heap"]), "Not used."),
    spec("default_tablespace", "", Rule::Text, "Not used."),
    spec(
        "default_transaction_isolation",
        "repeatable read",
        Rule::OneOf(ISOLATION),
        "A block reads one epoch at any level.",
    ),
    spec("default_transaction_read_only", "off", Rule::Bool, "Whether new transactions are read-only."),
    spec("dml_rate_limit", "default", Rule::OneOf(&["default"]), "There is no limit."),
    spec("dml_wait_persistence", "on", Rule::Bool, "Whether DML returns only when it survives a crash."),
    spec("enable_index_selection", "on", Rule::Ignored, "Not used."),
    spec("extra_float_digits", "1", Rule::Integer(-15, 3), "Floats are always printed with the fewest exact digits."),
    spec(
        "idle_in_transaction_session_timeout",
        "60000",
        Rule::Millis,
        "A block that waits longer ends with its session.",
    ),
    spec("implicit_flush", "on", Rule::Bool, "DML is always seen by the session's later queries."),
    spec("in_hot_standby", "off", Rule::Fixed, "Whether the server is a standby."),
    spec("integer_datetimes", "on", Rule::Fixed, "Dates and times are integers."),
    spec("intervalstyle", "postgres", Rule::OneOf(&["postgres"]), "Format of intervals as text."),
    spec("is_superuser", "on", Rule::Fixed, "Everybody may do everything."),
    spec("lc_collate", "C.UTF-8", Rule::Fixed, "Order of text."),
    spec("lock_timeout", "0", Rule::Millis, "Longest wait for the right to write a table."),
    spec("max_identifier_length", "63", Rule::Fixed, "Longest name."),
    spec("max_index_keys", "32", Rule::Fixed, "Most columns of a key."),
    spec("query_epoch", "0", Rule::OneOf(&["0"]), "Reading the past is not supported."),
    spec("query_mode", "auto", Rule::Ignored, "Not used."),
    spec("role", "none", Rule::OneOf(&["none"]), "There are no roles but the user."),
    spec("row_security", "on", Rule::Bool, "There is no row security."),
    spec("rw_implicit_flush", "on", Rule::Bool, "See implicit_flush."),
    spec("search_path", "\"$user\", public", Rule::Names, "Schemas searched for names without one."),
    spec("server_encoding", "UTF8", Rule::Fixed, "Encoding of text."),
    spec("server_version", SERVER_VERSION, Rule::Fixed, "The Postgres whose behaviour is followed."),
    spec("server_version_num", "150000", Rule::Fixed, "The Postgres whose behaviour is followed."),
    spec("session_replication_role", "origin", Rule::OneOf(&["origin"]), "Not used."),
    spec("sink_decouple", "default", Rule::Ignored, "Not used."),
    spec("source_rate_limit", "default", Rule::OneOf(&["default"]), "There is no limit."),
    spec("standard_conforming_strings", "on", Rule::OneOf(&["on"]), "A backslash in '…' is a backslash."),
    spec("statement_timeout", "0", Rule::Millis, "Longest time a statement may take."),
    spec("streaming_max_parallelism", "default", Rule::Ignored, "Not used."),
    spec("streaming_parallelism", "default", Rule::Ignored, "Not used."),
    spec("streaming_use_snapshot_backfill", "on", Rule::Ignored, "Not used."),
    spec("synchronize_seqscans", "on", Rule::Bool, "Not used."),
    spec("timezone", "UTC", Rule::Zone, "Time zone of timestamptz as text and of date arithmetic."),
    spec("transaction_isolation", "repeatable read", Rule::OneOf(ISOLATION), "A block reads one epoch at any level."),
    spec("transaction_read_only", "off", Rule::Bool, "Whether this transaction is read-only."),
    spec(
        "visibility_mode",
        "default",
        Rule::OneOf(&["default", "all", "checkpoint"]),
        "checkpoint: read durable epochs only.",
    ),
    spec("weir.read_failed", "off", Rule::Bool, "Whether relations that have failed are read as of where they stand."),
    spec("xmloption", "content", Rule::Ignored, "Not used."),
];

const fn spec(name: &'static str, default: &'static str, rule: Rule, about: &'static str) -> Spec {
    Spec { name, default, rule, about }
}

/// Variables whose changes are told to the client, as it spells them.
const REPORTED: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// What differs from the default.
    values: BTreeMap<&'static str, String>,
    /// What RESET goes back to: the start-up message's values.
    initial: BTreeMap<&'static str, String>,
}

impl Variables {
    /// The client's start-up parameters become what RESET goes back to.
    pub fn settled(mut self) -> Self {
        self.initial = self.values.clone();
        self
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        let spec = find(name)?;
        Ok(self.value(spec))
    }

    fn value(&self, spec: &Spec) -> &str {
        self.values.get(spec.name).map_or(spec.default, String::as_str)
    }

    /// A value as it would be kept.
    pub fn checked(name: &str, value: &str) -> Result<String> {
        let spec = find(name)?;
        spec.rule.check(spec.name, value)
    }

    /// `None` resets. Returns what has to be reported to the client.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<(&'static str, String)>> {
        let spec = find(name)?;
        match value {
            Some(value) => {
                let value = spec.rule.check(spec.name, value)?;
                self.values.insert(spec.name, value);
            }
            None => match self.initial.get(spec.name) {
                Some(initial) => drop(self.values.insert(spec.name, initial.clone())),
                None => drop(self.values.remove(spec.name)),
            },
        }
        let reported = REPORTED.iter().find(|(name, _)| *name == spec.name);
        Ok(reported.map(|(_, shown)| (*shown, self.value(spec).to_string())))
    }

    pub fn reset_all(&mut self) -> Vec<(&'static str, String)> {
        self.values = self.initial.clone();
        self.reported()
    }

    pub fn reported(&self) -> Vec<(&'static str, String)> {
        REPORTED.iter().map(|(name, shown)| (*shown, self.value(known(name)).to_string())).collect()
    }

    pub fn all(&self) -> Vec<Setting> {
        let one = |spec: &'static Spec| Setting {
            name: spec.name,
            value: self.value(spec).to_string(),
            about: spec.about,
            default: spec.default,
            fixed: matches!(spec.rule, Rule::Fixed),
        };
        SPECS.iter().map(one).collect()
    }

    pub fn on(&self, name: &'static str) -> bool {
        self.value(known(name)) == "on"
    }

    pub fn is(&self, name: &'static str, value: &str) -> bool {
        self.value(known(name)) == value
    }

    /// `None` if there is no limit.
    pub fn duration(&self, name: &'static str) -> Option<Duration> {
        let millis = self.value(known(name)).parse().unwrap_or(0);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    pub fn zone(&self) -> Zone {
        Zone::parse(self.value(known("timezone"))).unwrap_or(Zone::UTC)
    }

    /// Schemas for names without one; `$user` names none.
    pub fn search_path(&self) -> Vec<String> {
        let names = self.value(known("search_path")).split(',').map(|name| name.trim().replace('"', ""));
        names.filter(|name| !name.is_empty() && name != "$user").collect()
    }

    /// What changes the meaning of SQL.
    pub fn settings(&self) -> Settings {
        Settings { timezone: self.value(known("timezone")).to_string(), search_path: self.search_path() }
    }

    /// Whether NOTICEs go to the client.
    pub fn shows(&self, severity: &str) -> bool {
        let rank = |level: &str| LEVELS.iter().position(|l| *l == level).unwrap_or(0);
        rank(&severity.to_lowercase()) >= rank(self.value(known("client_min_messages")))
    }
}

fn find(name: &str) -> Result<&'static Spec> {
    let name = name.to_lowercase();
    SPECS
        .binary_search_by(|spec| spec.name.cmp(name.as_str()))
        .map(|index| &SPECS[index])
        .map_err(|_| Error::new("42704", format!("unrecognized configuration parameter \"{name}\"")))
}

fn known(name: &str) -> &'static Spec {
    find(name).expect("a variable of ours")
}

impl Rule {
    /// The value as it is kept.
    fn check(&self, name: &str, value: &str) -> Result<String> {
        let invalid = || Error::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        match self {
            Rule::Bool => boolean(value).map(|b| if b { "on" } else { "off" }.into()).ok_or_else(invalid),
            Rule::Integer(low, high) => {
                let number: i64 = value.trim().parse().map_err(|_| invalid())?;
                if !(low..=high).contains(&&number) {
                    return Err(invalid().detail(format!("It has to be in {low} .. {high}.")));
                }
                Ok(number.to_string())
            }
            Rule::Millis => millis(value).map(|ms| ms.to_string()).ok_or_else(invalid),
            Rule::OneOf(values) => {
                let folded = value.trim().to_lowercase();
                let folded = match boolean(&folded) {
                    Some(b) if values.contains(&"on") || values.contains(&"off") => if b { "on" } else { "off" }.into(),
                    _ => folded,
                };
                if values.contains(&folded.as_str()) {
                    return Ok(folded);
                }
                Err(invalid().hint(format!("Available values: {}.", values.join(", "))))
            }
            Rule::Zone => zone(value).ok_or_else(invalid),
            Rule::DateStyle => {
                let parts: Vec<String> = value.split(',').map(|p| p.trim().to_uppercase()).collect();
                let known =
                    |p: &String| matches!(p.as_str(), "ISO" | "MDY" | "US" | "NONEURO" | "NONEUROPEAN" | "DEFAULT");
                let other = |p: &String| {
                    let orders = ["DMY", "YMD", "EURO", "EUROPEAN", "POSTGRES", "SQL", "GERMAN"];
                    orders.contains(&p.as_str())
                };
                match parts.iter().find(|p| !known(p)) {
                    None => Ok("ISO, MDY".into()),
                    Some(p) if other(p) => {
                        Err(Error::unsupported(format!("DateStyle {p}")).hint("The one style is \"ISO, MDY\"."))
                    }
                    Some(_) => Err(invalid().hint("The one style is \"ISO, MDY\".")),
                }
            }
            Rule::Encoding => match value.to_uppercase().replace(['-', '_', '\''], "").as_str() {
                "UTF8" | "UNICODE" => Ok("UTF8".into()),
                _ => Err(invalid().hint("Only UTF8 is supported.")),
            },
            Rule::Names | Rule::Text | Rule::Ignored => Ok(value.to_string()),
            Rule::Fixed => Err(Error::new("55P02", format!("parameter \"{name}\" cannot be changed"))),
        }
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "on" | "true" | "t" | "yes" | "y" | "1" => Some(true),
        "off" | "false" | "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// `100`, `500ms`, `10s`, `2min`, `1h`, `1d`.
fn millis(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let factor = match value[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    value[..digits].parse::<u64>().ok()?.checked_mul(factor).filter(|ms| *ms <= i32::MAX as u64)
}

/// A zone's name in its own spelling is kept as given; offsets as Postgres means them (`+02` is east).
fn zone(value: &str) -> Option<String> {
    let name = value.trim().trim_matches('\'');
    for candidate in [name.to_string(), name.to_uppercase(), capitalized(name)] {
        if Zone::parse(&candidate).is_ok() {
            return Some(candidate);
        }
    }
    let hours: i32 = name.parse().ok().filter(|h| (-15..=15).contains(h))?;
    Some(format!("{hours:+03}:00"))
}

/// `europe/berlin` to `Europe/Berlin`.
fn capitalized(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            start = matches!(c, '/' | '_' | '-');
            c
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_so_that_they_can_be_found() {
        assert!(SPECS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(REPORTED.iter().all(|(name, _)| find(name).is_ok()));
        assert_eq!(find("nope").err().map(|e| e.sqlstate), Some("42704"));
    }

    #[test]
    fn defaults_pass_their_own_rule() {
        for spec in SPECS.iter().filter(|s| !matches!(s.rule, Rule::Fixed)) {
            assert_eq!(spec.rule.check(spec.name, spec.default).expect(spec.name), spec.default, "{}", spec.name);
        }
    }

    #[test]
    fn a_change_of_zone_is_reported_and_reset_goes_back_to_the_start() {
        let mut variables = Variables::default();
        variables.set("TimeZone", Some("Europe/Berlin")).expect("a zone");
        let mut variables = variables.settled();
        assert_eq!(
            variables.set("timezone", Some("asia/tokyo")).expect("a zone"),
            Some(("TimeZone", "Asia/Tokyo".into()))
        );
        assert_eq!(variables.set("timezone", None).expect("reset"), Some(("TimeZone", "Europe/Berlin".into())));
        assert_eq!(variables.set("timezone", Some("Mars")).expect_err("no zone").sqlstate, "22023");
        assert_eq!(variables.set("server_version", Some("9")).expect_err("fixed").sqlstate, "55P02");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(millis("250"), Some(250));
        assert_eq!(millis("2 min"), Some(120_000));
        assert_eq!(millis("1x"), None);
    }

    #[test]
    fn values_of_every_kind_are_checked() {
        let mut v = Variables::default();
        assert_eq!(v.set("dml_wait_persistence", Some("false")).expect("a bool"), None);
        assert!(!v.on("dml_wait_persistence"));
        v.set("visibility_mode", Some("CHECKPOINT")).expect("a mode");
        assert!(v.is("visibility_mode", "checkpoint"));
        assert_eq!(v.set("visibility_mode", Some("x")).expect_err("no mode").sqlstate, "22023");
        v.set("statement_timeout", Some("3s")).expect("a duration");
        assert_eq!(v.duration("statement_timeout"), Some(Duration::from_secs(3)));
        assert!(v.set("background_ddl", Some("true")).is_err());
        assert_eq!(v.set("DateStyle", Some("iso, mdy")).expect("ours"), Some(("DateStyle", "ISO, MDY".into())));
        assert_eq!(v.set("DateStyle", Some("ISO, DMY")).expect_err("another order").sqlstate, "0A000");
        assert_eq!(v.set("DateStyle", Some("x")).expect_err("no style").sqlstate, "22023");
        assert!(v.set("source_rate_limit", Some("100")).is_err());
        assert_eq!(v.search_path(), ["public"]);
    }
}
