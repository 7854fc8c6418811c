//! Objects whose records this binary cannot read: another version wrote them, or a fault of this one did.
//!
//! Such an object is known by its name, by what it keeps and by what it reads, so that it can be dropped and nobody takes from it what it
//! needs. All else that is said of it is kept as it was written, for the version that can read it. What has not even that is refused, with
//! the whole catalog.

use super::object::{Body, Life, Object, SourceBody, TableBody, ViewBody};
use crate::connector::{Identity, Subscription};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use weir_sql::catalog::RelationId;
use weir_sql::plan::{Node, Operator, Plan};
use weir_sql::session::Settings;
use weir_sql::types::Column;
use weir_storage::arrangement::Roles;
use weir_storage::manifest::{ArrangementId, Record};

/// A record that cannot be read.
#[derive(Debug)]
pub struct Unread {
    record: Record,
    /// As it is written there.
    life: Life,
    pub why: String,
}

/// What every version says of an object, among other things.
#[derive(Deserialize)]
struct Envelope {
    id: u32,
    name: String,
    life: Life,
    definition: String,
    created_at: i64,
    body: BTreeMap<String, Value>,
}

impl Unread {
    /// With a stand-in for the object. `None`: not even its name is to be found.
    pub fn of(record: &Record, why: String) -> Option<(Object, Self)> {
        let Envelope { id, name, life, definition, created_at, body } = record.read().ok()?;
        let (kind, said) = body.into_iter().next()?;
        let body = match kind.as_str() {
            "Source" => Body::Source(source(&said)),
            "Table" => Body::Table(table(id, &said)?),
            "View" => Body::View(view(&said)?),
            _ => return None,
        };
        let object = Object { id, name, life, definition, created_at, body };
        Some((object, Self { record: record.clone(), life, why }))
    }

    /// As it was written, but for how far its object has come in its life.
    pub fn record(&self, life: Life) -> Record {
        if life == self.life {
            return self.record.clone();
        }
        let Ok(Value::Object(mut said)) = self.record.read() else { return self.record.clone() };
        said.insert("life".into(), serde_json::to_value(life).expect("a name"));
        Record::of(&said)
    }
}

fn part<T: DeserializeOwned>(said: &Value, name: &str) -> Option<T> {
    T::deserialize(said.get(name)?).ok()
}

fn source(said: &Value) -> SourceBody {
    SourceBody {
        connector: part(said, "connector").unwrap_or_default(),
        options: BTreeMap::new(),
        secrets: BTreeMap::new(),
        details: Value::Null,
        paused: false,
        identity: Identity::default(),
        place: part(said, "place"),
    }
}

fn table(id: u32, said: &Value) -> Option<TableBody> {
    let columns: Vec<Column> = part(said, "columns")?;
    let upstream = match said.get("upstream") {
        None | Some(Value::Null) => None,
        Some(of) => Some((u32::try_from(of.get(0)?.as_u64()?).ok()?, subscription(id, &columns))),
    };
    Some(TableBody { columns, key: None, arrangements: arrangements(said)?, upstream, stopped: None })
}

/// Nobody subscribes to it.
fn subscription(id: u32, columns: &[Column]) -> Subscription {
    Subscription {
        table: RelationId(id),
        schema: String::new(),
        name: String::new(),
        identity: 0,
        columns: columns.to_vec(),
        key: None,
        copied: true,
        details: Value::Null,
    }
}

/// Nobody builds it: of its plan there is what it reads.
fn view(said: &Value) -> Option<ViewBody> {
    let columns: Vec<Column> = part(said, "columns")?;
    let mut reads = vec![];
    relations(said.get("plan")?, &mut reads);
    let scan = |relation| Node {
        operator: Operator::Scan { relation, name: String::new(), projection: vec![] },
        columns: vec![],
    };
    let operator = Operator::Union { inputs: reads.into_iter().map(scan).collect() };
    let plan = Plan { root: Node { operator, columns: columns.clone() }, key: None };
    let arrangements = arrangements(said)?;
    Some(ViewBody { columns, plan, settings: Settings::default(), arrangements, suspended: true, filled: vec![] })
}

/// Whatever is named as a relation, wherever that is.
fn relations(said: &Value, found: &mut Vec<RelationId>) {
    match said {
        Value::Array(all) => all.iter().for_each(|one| relations(one, found)),
        Value::Object(all) => {
            let id = part::<u32>(said, "relation").map(RelationId);
            found.extend(id.filter(|id| !found.contains(id)));
            all.values().for_each(|one| relations(one, found));
        }
        _ => {}
    }
}

fn arrangements(said: &Value) -> Option<Vec<ArrangementId>> {
    let all: Vec<ArrangementId> = part(said, "arrangements")?;
    let is_whole = Roles::of(all.iter()).is_some();
    is_whole.then_some(all)
}
