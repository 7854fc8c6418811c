//! A table upstream, checked and described: every finding at once.

use super::client::{Client, Purpose};
use super::control::{self, Attribute, Generated};
use super::error::Result;
use super::kind::Kinds;
use super::options::Options;
use super::table_schema;
use super::validate;
use super::validation_error::ValidationErrors;
use crate::connector::{Discovered, Subscription, Wanted};
use weir_sql::types::{Column, Type};

pub fn discover(options: &Options, wanted: &Wanted) -> Result<Discovered, weir_sql::Error> {
    let mut client =
        Client::connect(options, Purpose::Sql).map_err(|failure| validate::unreachable(options, &failure))?;
    let (schema, name) = wanted.upstream.split_once('.').unwrap_or((&options.schema, &wanted.upstream));
    let (schema, name) = (unquoted(schema), unquoted(name));
    let mut look = Look { options, wanted, schema, name, findings: ValidationErrors::default(), notices: vec![] };
    let subscription = look.run(&mut client).map_err(|failure| failure.error())?;
    look.findings.result(&format!("table \"{}.{}\"", look.schema, look.name))?;
    let subscription = subscription.ok_or_else(|| weir_sql::Error::internal("a table without findings or columns"))?;
    Ok(Discovered { subscription, notices: look.notices })
}

/// Names may be written with the quotes that SQL wants.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => name.to_string(),
    }
}

struct Look<'a> {
    options: &'a Options,
    wanted: &'a Wanted,
    schema: String,
    name: String,
    findings: ValidationErrors,
    notices: Vec<String>,
}

impl Look<'_> {
    fn run(&mut self, client: &mut Client) -> Result<Option<Subscription>> {
        let table = format!("\"{}.{}\"", self.schema, self.name);
        let Some(relation) = control::relation(client, &self.schema, &self.name)? else {
            let message = format!("table {table} does not exist in database \"{}\"", self.options.database);
            self.findings.add("42P01", message);
            return Ok(None);
        };
        if let Some(what) = not_a_table(&relation.kind, &relation.persistence) {
            self.findings.add("42809", format!("{table} is {what}, and cannot be followed"));
            return Ok(None);
        }
        if !relation.readable {
            self.findings.add("42501", format!("permission denied for table {table}")).hint = Some(format!(
                "Run GRANT USAGE ON SCHEMA {} TO {1}; GRANT SELECT ON {table} TO {1}.",
                self.schema, self.options.user
            ));
        }
        if relation.row_security {
            let message = format!("row level security is active on table {table}: the copy would see a part of it");
            self.findings.add("42501", message).hint = Some("Grant the role BYPASSRLS.".into());
        }
        if relation.inherited {
            let message = format!("other tables inherit from table {table}: their rows are not its own in the log");
            self.findings.add("0A000", message).hint =
                Some("Follow each of them, and make a view of UNION ALL.".into());
        }
        let attributes = control::attributes(client, relation.oid)?;
        let key = self.key(client, relation.oid, &relation.identity)?;
        let sent = self.published(client, &relation, &attributes)?;
        let kinds = control::kinds(client, &attributes.iter().map(|a| a.kind).collect::<Vec<_>>())?;
        Ok(self.describe(relation.oid, &attributes, &sent, key.as_deref(), &Kinds::new(kinds)))
    }

    /// The columns that old images name a row by. Publishing a table without them would make the customer's updates fail.
    fn key(&mut self, client: &mut Client, oid: u32, identity: &str) -> Result<Option<Vec<i16>>> {
        let table = format!("\"{}.{}\"", self.schema, self.name);
        let key = control::key(client, oid, identity == "i")?;
        let missing = match identity {
            "n" => format!("table {table} has REPLICA IDENTITY NOTHING"),
            "d" if key.is_none() => format!("table {table} has no primary key and REPLICA IDENTITY DEFAULT"),
            "i" if key.is_none() => format!("the index that is the REPLICA IDENTITY of table {table} is gone"),
            _ => return Ok(key),
        };
        let message = format!("{missing}: once published, UPDATE and DELETE on it would fail in your database");
        self.findings.add("55000", message).hint =
            Some(format!("Add a primary key, or run ALTER TABLE {table} REPLICA IDENTITY FULL.").replace('.', "\".\""));
        Ok(None)
    }

    /// Checks the table's part in the publication; the generated columns that it sends.
    fn published(
        &mut self,
        client: &mut Client,
        relation: &control::Relation,
        attributes: &[Attribute],
    ) -> Result<Vec<String>> {
        let name = &self.options.publication;
        let table = format!("\"{}.{}\"", self.schema, self.name);
        let Some(publication) = control::publication(client, name)? else {
            self.findings.add("42704", format!("publication \"{name}\" does not exist"));
            return Ok(vec![]);
        };
        let membership = control::membership(client, name, relation.oid)?;
        let sent = |a: &&Attribute| match &membership {
            // Servers that never send them may list them all the same.
            _ if publication.generated.is_none() => false,
            Some(membership) => membership.columns.as_ref().is_some_and(|list| list.contains(&a.name)),
            None => publication.generated == Some(true),
        };
        let stored = attributes.iter().filter(|a| a.generated == Generated::Stored);
        let sent = stored.filter(sent).map(|a| a.name.clone()).collect();
        match membership {
            Some(membership) => {
                if membership.filtered {
                    let message =
                        format!("publication \"{name}\" has a row filter on table {table}; this is not supported");
                    self.findings.add("0A000", message);
                }
                let listed = |a: &Attribute| membership.columns.as_ref().is_none_or(|list| list.contains(&a.name));
                let plain = attributes.iter().filter(|a| a.generated == Generated::No && self.wants(&a.name));
                for column in plain.filter(|a| !listed(a)).map(|a| a.name.clone()).collect::<Vec<_>>() {
                    let message = format!("publication \"{name}\" leaves out column \"{column}\" of table {table}");
                    self.findings.add("55000", message);
                }
            }
            None if publication.all_tables => {}
            None if !publication.owned || !relation.owned => {
                let what = if relation.owned { format!("publication \"{name}\"") } else { format!("table {table}") };
                let message =
                    format!("table {table} is not in publication \"{name}\", and {what} belongs to another role");
                self.findings.add("42501", message).hint =
                    Some(format!("Run ALTER PUBLICATION {name} ADD TABLE {}.{} as its owner.", self.schema, self.name));
            }
            None => {}
        }
        if relation.identity == "f" {
            self.whole_identity(publication.generated, attributes);
        }
        Ok(sent)
    }

    /// Since version 18 Postgres refuses changes of rows whose identity has columns that are not sent; `stored` says whether those are.
    fn whole_identity(&mut self, stored: Option<bool>, attributes: &[Attribute]) {
        let Some(stored) = stored else { return };
        let unsent = |a: &&Attribute| match a.generated {
            Generated::No => false,
            Generated::Stored => !stored,
            Generated::Virtual => true,
        };
        let Some(column) = attributes.iter().find(unsent) else { return };
        let message = format!(
            "table \"{}.{}\" has REPLICA IDENTITY FULL and generated column \"{}\", which is not sent: once published, UPDATE and \
             DELETE on it would fail in your database",
            self.schema, self.name, column.name
        );
        let hint = match column.generated {
            Generated::Virtual => "Add a primary key, and take REPLICA IDENTITY DEFAULT.".into(),
            _ => {
                format!("Run ALTER PUBLICATION {} SET (publish_generated_columns = stored).", self.options.publication)
            }
        };
        self.findings.add("55000", message).hint = Some(hint);
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.columns.as_ref().is_none_or(|(columns, _)| columns.iter().any(|c| c.name == name))
    }

    fn describe(
        &mut self,
        oid: u32,
        attributes: &[Attribute],
        sent: &[String],
        key: Option<&[i16]>,
        kinds: &Kinds,
    ) -> Option<Subscription> {
        self.missing(attributes);
        let (mut columns, mut details) = (vec![], table_schema::Details::default());
        for attribute in self.in_order(attributes) {
            if attribute.generated != Generated::No && !sent.contains(&attribute.name) {
                self.generated(&attribute.name);
                continue;
            }
            let Some(kind) = self.kind(attribute, kinds) else { continue };
            // Upstream may drop NOT NULL any time and says nothing; a key stays one.
            let nullable = !key.is_some_and(|key| key.contains(&attribute.number));
            columns.push(Column { name: attribute.name.clone(), kind, nullable });
            let Attribute { number, kind, modifier, .. } = *attribute;
            details.columns.push(table_schema::Attribute { number, kind, modifier });
        }
        let others = attributes.iter().filter(|a| columns.iter().all(|c| c.name != a.name));
        details.others = others.map(|a| a.name.clone()).collect();
        let key = match key {
            Some(numbers) => Some(self.key_places(numbers, attributes, &columns)?),
            None => None,
        };
        self.declared_key(&columns, key.as_deref());
        if columns.is_empty() {
            self.findings.add("42P16", format!("table \"{}.{}\" has no columns", self.schema, self.name));
        }
        Some(Subscription {
            table: self.wanted.table,
            schema: self.schema.clone(),
            name: self.name.clone(),
            identity: oid.into(),
            columns,
            key,
            copied: false,
            details: serde_json::to_value(&details).expect("details are plain JSON"),
        })
    }

    /// As upstream has them, or as they were asked for.
    fn in_order<'a>(&self, attributes: &'a [Attribute]) -> Vec<&'a Attribute> {
        match &self.wanted.columns {
            None => attributes.iter().collect(),
            Some((columns, _)) => columns.iter().filter_map(|c| attributes.iter().find(|a| a.name == c.name)).collect(),
        }
    }

    fn missing(&mut self, attributes: &[Attribute]) {
        for column in self.wanted.columns.iter().flat_map(|(columns, _)| columns) {
            if !attributes.iter().any(|a| a.name == column.name) {
                let message =
                    format!("column \"{}\" does not exist in table \"{}.{}\"", column.name, self.schema, self.name);
                self.findings.add("42703", message);
            }
        }
    }

    fn generated(&mut self, name: &str) {
        if self.wanted.columns.is_some() {
            let message = format!("column \"{name}\" is generated, and Postgres does not send its values");
            self.findings.add("0A000", message);
        } else {
            self.notices.push(format!("column \"{name}\" is generated: Postgres does not send it, it is left out"));
        }
    }

    /// Our type of a column that is followed; findings and notices say why one is not.
    fn kind(&mut self, attribute: &Attribute, kinds: &Kinds) -> Option<Type> {
        let name = &attribute.name;
        let declared = self.wanted.columns.iter().flat_map(|(columns, _)| columns).find(|c| c.name == *name);
        let kind = match kinds.resolve(attribute.kind, attribute.modifier) {
            Ok(kind) => kind,
            Err(unknown) => {
                let hint = "List the columns you need, without this one.";
                self.findings
                    .add("0A000", format!("column \"{name}\" has type {unknown}, which is not supported"))
                    .hint = Some(hint.into());
                return None;
            }
        };
        match declared {
            Some(column) if !agrees(&column.kind, &kind) => {
                let message = format!("column \"{name}\" is declared {}, and is {kind} upstream", column.kind);
                self.findings.add("42804", message);
                None
            }
            _ => Some(kind),
        }
    }

    fn key_places(&mut self, numbers: &[i16], attributes: &[Attribute], columns: &[Column]) -> Option<Vec<usize>> {
        let mut places = vec![];
        for number in numbers {
            let attribute = attributes.iter().find(|a| a.number == *number)?;
            match columns.iter().position(|c| c.name == attribute.name) {
                Some(place) => places.push(place),
                // Its type is a finding already.
                None if self.wants(&attribute.name) => {}
                None => {
                    let message = format!("column \"{}\" of the key is not in the column list", attribute.name);
                    self.findings.add("42P16", message);
                }
            }
        }
        if places.len() == numbers.len() { Some(places) } else { None }
    }

    /// PRIMARY KEY of an explicit column list must be upstream's.
    fn declared_key(&mut self, columns: &[Column], key: Option<&[usize]>) {
        let Some((declared, places)) = &self.wanted.columns else { return };
        let names = |columns: &[Column], places: &[usize]| {
            let mut names: Vec<_> = places.iter().filter_map(|&p| columns.get(p)).map(|c| c.name.clone()).collect();
            names.sort();
            names.join(", ")
        };
        let (ours, theirs) = (names(declared, places), names(columns, key.unwrap_or_default()));
        if !ours.is_empty() && ours != theirs {
            let theirs = if theirs.is_empty() { "no key".into() } else { format!("key ({theirs})") };
            self.findings
                .add("42P16", format!("PRIMARY KEY ({ours}) is declared, and the table upstream has {theirs}"));
        }
    }
}

/// Whether a declared type is what upstream has: lengths and the like may be left out.
fn agrees(declared: &Type, upstream: &Type) -> bool {
    match (declared, upstream) {
        (Type::Numeric(None), Type::Numeric(_)) => true,
        (Type::Text | Type::Varchar(None), Type::Text | Type::Varchar(_) | Type::Char(_)) => true,
        (Type::Array(declared), Type::Array(upstream)) => agrees(declared, upstream),
        _ => declared == upstream,
    }
}

fn not_a_table(kind: &str, persistence: &str) -> Option<&'static str> {
    Some(match (kind, persistence) {
        ("r", "p") => return None,
        ("r", "u") => "an unlogged table",
        ("r", _) => "a temporary table",
        ("p", _) => "a partitioned table",
        ("v", _) => "a view",
        ("m", _) => "a materialized view",
        ("f", _) => "a foreign table",
        ("S", _) => "a sequence",
        ("i" | "I", _) => "an index",
        _ => "not a table",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_type_may_leave_out_lengths_and_nothing_else() {
        assert!(agrees(&Type::Varchar(None), &Type::Varchar(Some(9))));
        assert!(agrees(&Type::Array(Box::new(Type::Text)), &Type::Array(Box::new(Type::Varchar(Some(9))))));
        assert!(!agrees(&Type::Int4, &Type::Int8));
        assert!(!agrees(&Type::Varchar(Some(8)), &Type::Varchar(Some(9))));
    }

    #[test]
    fn names_may_be_quoted() {
        assert_eq!(unquoted("\"Order \"\"s\"\"\""), "Order \"s\"");
        assert_eq!(unquoted("orders"), "orders");
    }
}
