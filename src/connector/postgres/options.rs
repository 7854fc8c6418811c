//! The options of `WITH (connector = 'postgres-cdc', …)`, by RisingWave's names.

use super::validation_error::{ValidationError, ValidationErrors};
use crate::connector::{Definition, Identity};
use std::collections::BTreeMap;
use weir_sql::Result;

/// Options whose values are never shown.
pub const SECRETS: &[&str] = &["password"];

const KNOWN: &[&str] = &[
    "connector",
    "hostname",
    "port",
    "username",
    "password",
    "database.name",
    "schema.name",
    "slot.name",
    "publication.name",
    "publication.create.enable",
    "ssl.mode",
];

#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    /// Where tables without a schema in their name are looked for.
    pub schema: String,
    pub slot: String,
    pub publication: String,
    /// Whether a publication that is not there may be made.
    pub create_publication: bool,
    /// How this source's sessions are named upstream.
    pub application: String,
    /// How those of the one were named whose place it took.
    pub predecessor: Option<String>,
}

impl Options {
    /// Everything wrong with them is told at once.
    pub fn parse(source: &Definition) -> Result<Self> {
        let mut reader = Reader { options: &source.options, findings: ValidationErrors::default() };
        reader.refuse_unknown();
        // Two stores may count alike.
        let Identity { store, token, before } = source.identity;
        let default = match store {
            0 => format!("weir_{}", source.id),
            store => format!("weir_{store:016x}_{}", source.id),
        };
        let options = Self {
            host: reader.required("hostname"),
            port: reader.port(),
            user: reader.required("username"),
            password: reader.or("password", ""),
            database: reader.required("database.name"),
            schema: reader.or("schema.name", "public"),
            slot: reader.slot(&default),
            publication: reader.name("publication.name", &default),
            create_publication: reader.boolean("publication.create.enable", true),
            application: application(token, &source.name),
            predecessor: before.map(|token| application(token, &source.name)),
        };
        reader.refuse_tls();
        reader.findings.result(&format!("the options of source \"{}\"", source.name))?;
        Ok(options)
    }

    /// Whether a session upstream is ours to end.
    pub fn is_own(&self, application: &str) -> bool {
        self.application == application || self.predecessor.as_deref() == Some(application)
    }
}

/// Postgres cuts application names at 63 bytes and replaces what is not ASCII; done here, so that we know our own sessions.
fn application(token: u64, source: &str) -> String {
    let owner = if token == 0 { String::from("weir/") } else { format!("weir/{token:016x}/") };
    let printable = source.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' });
    owner.chars().chain(printable).take(63).collect()
}

struct Reader<'a> {
    options: &'a BTreeMap<String, String>,
    findings: ValidationErrors,
}

impl Reader<'_> {
    fn refuse(&mut self, message: String) -> &mut ValidationError {
        self.findings.add("22023", message)
    }

    fn refuse_unknown(&mut self) {
        let unknown: Vec<_> = self.options.keys().filter(|o| !KNOWN.contains(&o.as_str())).cloned().collect();
        for option in unknown {
            let known = KNOWN.join(", ");
            self.refuse(format!("unknown option \"{option}\"")).hint = Some(format!("Known options: {known}."));
        }
    }

    fn required(&mut self, option: &str) -> String {
        match self.options.get(option) {
            Some(value) if !value.is_empty() && !value.contains('\0') => value.clone(),
            Some(_) => {
                self.refuse(format!("option \"{option}\" must not be empty"));
                String::new()
            }
            None => {
                self.refuse(format!("option \"{option}\" is missing"));
                String::new()
            }
        }
    }

    fn or(&mut self, option: &str, default: &str) -> String {
        let value = self.options.get(option).map_or(default, String::as_str).to_string();
        if value.contains('\0') {
            self.refuse(format!("option \"{option}\" must not contain a zero byte"));
        }
        value
    }

    fn port(&mut self) -> u16 {
        let text = self.or("port", "5432");
        match text.parse() {
            Ok(port) if port > 0 => port,
            _ => {
                self.refuse(format!("option \"port\" must be a number from 1 to 65535, is \"{text}\""));
                0
            }
        }
    }

    fn boolean(&mut self, option: &str, default: bool) -> bool {
        match self.or(option, if default { "true" } else { "false" }).as_str() {
            "true" => true,
            "false" => false,
            other => {
                let message = format!("option \"{option}\" must be true or false, is \"{other}\"");
                self.refuse(message);
                default
            }
        }
    }

    /// Longer names are cut by Postgres, and then are not found again.
    fn name(&mut self, option: &str, default: &str) -> String {
        let name = self.or(option, default);
        if name.is_empty() || name.len() > 63 {
            self.refuse(format!("option \"{option}\" must have 1 to 63 bytes, is \"{name}\""));
        }
        name
    }

    fn slot(&mut self, default: &str) -> String {
        let name = self.name("slot.name", default);
        if !name.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            self.refuse(format!("\"{name}\" is not a valid name of a replication slot")).hint =
                Some("Lower case letters, digits and underscores are allowed.".into());
        }
        name
    }

    /// `preferred` allows a plain connection, and that is the only one there is yet.
    fn refuse_tls(&mut self) {
        match self.or("ssl.mode", "disabled").as_str() {
            "disabled" | "disable" | "preferred" | "prefer" => {}
            mode @ ("required" | "require" | "verify-ca" | "verify-full") => {
                self.findings.add("0A000", format!("ssl.mode \"{mode}\" is not supported")).hint =
                    Some("Use disabled or preferred.".into());
            }
            mode => {
                self.refuse(format!("unknown ssl.mode \"{mode}\"")).hint = Some("Use disabled or preferred.".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(options: &[(&str, &str)]) -> Definition {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let identity = Identity { store: 255, token: 16, before: Some(0) };
        Definition { id: 7, name: "shop".into(), identity, options, details: serde_json::Value::Null }
    }

    const LEAST: [(&str, &str); 3] = [("hostname", "db"), ("username", "u"), ("database.name", "shop")];

    #[test]
    fn what_is_not_given_has_a_default() {
        let options = Options::parse(&source(&LEAST)).unwrap();
        let name = "weir_00000000000000ff_7";
        assert_eq!((options.port, options.schema.as_str(), options.slot.as_str()), (5432, "public", name));
        assert_eq!((options.publication.as_str(), options.create_publication), (name, true));
        assert_eq!(options.application, "weir/0000000000000010/shop");
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let wrong =
            [("port", "0"), ("slot.name", "No Good"), ("colour", "red"), ("tables", "x"), ("ssl.mode", "require")];
        let error = Options::parse(&source(&wrong)).err().unwrap();
        assert_eq!(error.sqlstate, "22023");
        let detail = error.detail.unwrap();
        for named in ["hostname", "username", "database.name", "port", "No Good", "colour", "tables", "require"] {
            assert!(detail.contains(named), "{named} in {detail}");
        }
    }

    #[test]
    fn a_long_source_name_is_cut_as_postgres_cuts_it() {
        assert_eq!(application(7, &"ä".repeat(100)).len(), 63);
    }

    #[test]
    fn a_session_of_a_source_of_the_same_name_is_not_ours() {
        let options = Options::parse(&source(&LEAST)).unwrap();
        assert!(options.is_own("weir/0000000000000010/shop"));
        assert!(options.is_own("weir/shop"), "that of the one it took over from");
        assert!(!options.is_own("weir/0000000000000011/shop"));
        let old = Definition { identity: Identity::default(), ..source(&LEAST) };
        let old = Options::parse(&old).unwrap();
        assert_eq!((old.slot.as_str(), old.application.as_str()), ("weir_7", "weir/shop"), "as they were made");
    }
}
