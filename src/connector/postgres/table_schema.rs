//! What a subscribed table looks like, and how what upstream sends maps to it.
//!
//! A schema is a function of the position (it comes with the stream's Relation messages): each message is compared with
//! what was subscribed. New columns are told once and ignored; what breaks a column in use stops the table there.

use super::decode::{self, Identity};
use crate::connector::{RowError, Subscription};
use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_sql::types::Type;

/// A table's columns as Arrow wants them, made once.
#[derive(Debug)]
pub struct TableSchema {
    pub schema: SchemaRef,
    pub kinds: Vec<Type>,
    pub names: Vec<String>,
    /// Columns of the key, in key order; empty for a table without one.
    pub key: Vec<usize>,
    pub keyed: bool,
    pub key_schema: SchemaRef,
}

impl TableSchema {
    pub fn new(table: &Subscription) -> Self {
        let fields: Vec<_> = table.columns.iter().map(|c| Arc::new(c.field())).collect();
        let key = table.key.clone().unwrap_or_default();
        let key_fields: Vec<_> = key.iter().map(|&c| fields[c].clone()).collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
            kinds: table.columns.iter().map(|c| c.kind.clone()).collect(),
            names: table.columns.iter().map(|c| c.name.clone()).collect(),
            keyed: table.key.is_some(),
            key_schema: Arc::new(Schema::new(key_fields)),
            key,
        }
    }

    pub fn cause(&self, column: usize, sqlstate: &str, message: &str) -> RowError {
        RowError {
            sqlstate: sqlstate.into(),
            message: message.into(),
            expression: format!("column \"{}\"", self.names[column]),
        }
    }
}

/// What a subscription remembers of its upstream table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    /// Of each subscribed column.
    pub columns: Vec<Attribute>,
    /// Names of the columns that were there and are not subscribed.
    pub others: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    pub number: i16,
    pub kind: u32,
    pub modifier: i32,
}

impl Details {
    pub fn of(table: &Subscription) -> Result<Self, weir_sql::Error> {
        Self::deserialize(&table.details).map_err(|e| {
            weir_sql::Error::internal(format!("details of table {}.{} are damaged: {e}", table.schema, table.name))
        })
    }
}

/// Where each value of an upstream row belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Upstream's order of columns -> ours; `None`: not subscribed.
    pub columns: Vec<Option<u16>>,
    /// Upstream's order of columns -> place in our key.
    pub keys: Vec<Option<u16>>,
    /// Columns upstream that came after the subscription.
    pub added: Vec<String>,
}

impl Mapping {
    /// Or why the table cannot go on.
    pub fn new(relation: &decode::Relation, table: &Subscription, details: &Details) -> Result<Self, RowError> {
        let name = format!("\"{}\".\"{}\"", table.schema, table.name);
        let mut columns = vec![None; relation.columns.len()];
        for (i, (column, attribute)) in table.columns.iter().zip(&details.columns).enumerate() {
            let place = relation.columns.iter().position(|c| c.name == column.name);
            let stop = |message: &str| {
                let message = format!("{message} upstream in table {name}");
                Err(RowError { sqlstate: "55000".into(), message, expression: format!("column \"{}\"", column.name) })
            };
            let Some(place) = place else { return stop("column was dropped or renamed") };
            let upstream = &relation.columns[place];
            if (upstream.kind, upstream.modifier) != (attribute.kind, attribute.modifier) {
                return stop("column changed its type");
            }
            columns[place] = Some(i as u16);
        }
        let key = table.key.as_deref();
        let of_key = |ours: &Option<u16>| ours.and_then(|c| key?.iter().position(|&k| k == usize::from(c)));
        let keys: Vec<Option<u16>> = columns.iter().map(|ours| of_key(ours).map(|k| k as u16)).collect();
        identity(relation, key.is_some(), &keys).map_err(|message| RowError {
            sqlstate: "55000".into(),
            message: format!("{message} upstream"),
            expression: format!("table {name}"),
        })?;
        let known = |name: &String| details.others.contains(name) || table.columns.iter().any(|c| c.name == *name);
        let names = relation.columns.iter().map(|c| c.name.clone());
        Ok(Self { added: names.filter(|name| !known(name)).collect(), columns, keys })
    }
}

/// Whether old images still name the rows as we know them.
fn identity(relation: &decode::Relation, keyed: bool, keys: &[Option<u16>]) -> Result<(), String> {
    let by_key = || relation.columns.iter().zip(keys).all(|(column, key)| column.key == key.is_some());
    match relation.identity {
        Identity::Full => Ok(()),
        Identity::Default | Identity::Index if keyed && by_key() => Ok(()),
        Identity::Default | Identity::Index if keyed => Err("the columns of the key changed".into()),
        Identity::Nothing => Err("the replica identity was set to NOTHING".into()),
        _ => Err("the replica identity is FULL no more, and the table has no key,".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sql::catalog::RelationId;
    use weir_sql::types::Column;

    fn table(key: Option<Vec<usize>>) -> (Subscription, Details) {
        let column = |name: &str, kind| Column { name: name.into(), kind, nullable: true };
        let details = Details {
            columns: [(1, 23), (2, 25)].map(|(number, kind)| Attribute { number, kind, modifier: -1 }).to_vec(),
            others: vec!["left_out".into()],
        };
        let table = Subscription {
            table: RelationId(1),
            schema: "public".into(),
            name: "t".into(),
            identity: 1,
            columns: vec![column("id", Type::Int4), column("body", Type::Text)],
            key,
            copied: true,
            details: serde_json::to_value(&details).unwrap(),
        };
        (table, details)
    }

    /// `id:23*` is column id of type 23 in the identity.
    fn check(identity: Identity, columns: &str, key: Option<Vec<usize>>) -> Result<Mapping, String> {
        let columns = columns.split_whitespace().map(|text| {
            let (name, kind) = text.trim_end_matches('*').split_once(':').unwrap();
            decode::Column { key: text.ends_with('*'), name: name.into(), kind: kind.parse().unwrap(), modifier: -1 }
        });
        let relation =
            decode::Relation { id: 1, schema: "public".into(), name: "t".into(), identity, columns: columns.collect() };
        let (table, details) = table(key);
        Mapping::new(&relation, &table, &details).map_err(|cause| cause.message)
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let mapping = check(Identity::Default, "left_out:16 body:25 id:23*", Some(vec![0])).unwrap();
        assert_eq!(mapping.columns, [None, Some(1), Some(0)]);
        assert_eq!(mapping.keys, [None, None, Some(0)]);
        assert!(mapping.added.is_empty());
    }

    #[test]
    fn a_new_column_is_told_and_nothing_more() {
        let mapping = check(Identity::Default, "id:23* body:25 left_out:16 fresh:25", Some(vec![0])).unwrap();
        assert_eq!(mapping.added, ["fresh"]);
    }

    #[test]
    fn what_breaks_a_column_in_use_stops_the_table() {
        let key = Some(vec![0]);
        for (identity, columns, key, expected) in [
            (Identity::Default, "id:23*", key.clone(), "dropped or renamed"),
            (Identity::Default, "id:23* body:1043", key.clone(), "changed its type"),
            (Identity::Nothing, "id:23 body:25", key.clone(), "NOTHING"),
            (Identity::Default, "id:23* body:25*", key.clone(), "columns of the key"),
            (Identity::Default, "id:23 body:25", key.clone(), "columns of the key"),
            (Identity::Default, "id:23* body:25", None, "FULL no more"),
        ] {
            let reason = check(identity, columns, key).unwrap_err();
            assert!(reason.contains(expected), "{columns}: {reason}");
        }
        assert!(check(Identity::Full, "id:23* body:25*", None).is_ok());
        assert!(check(Identity::Full, "id:23* body:25*", key).is_ok());
    }
}
