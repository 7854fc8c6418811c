//! The catalog: what exists. Part of every manifest (as JSON), changed only by the coordinator, read by everybody as an
//! immutable [`Catalog`] behind an `Arc`.

pub mod facts;
pub mod object;
pub mod secret;
mod shared;
pub mod system;
mod unread;

pub use object::{Body, Life, Object, SourceBody, TableBody, ViewBody};
pub use shared::Shared;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_sql::catalog::{Relation, RelationId};
use weir_sql::{Error, Result};
use weir_storage::manifest::{ArrangementId, Manifest, Record, Records};

/// Every object, by id. Ids of objects and arrangements are never reused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    pub objects: BTreeMap<u32, Shared>,
    pub last_object: u32,
    pub last_arrangement: u64,
}

/// What is no object's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    last_object: u32,
    last_arrangement: u64,
}

/// Ids below this are left to system relations.
pub const FIRST_OBJECT: u32 = 16384;

impl Catalog {
    /// As `manifest` has it. One this binary does not understand is refused, never guessed at. A single object of it that it does not
    /// understand is there and [`Catalog::unread`], if its name can be found.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let unknown = |error: serde_json::Error| {
            let manifest = Manifest::path(manifest.sequence);
            Error::new("58000", format!("the catalog in {manifest} was written by another version of Weir: {error}"))
        };
        let Records { rest, objects } = &manifest.catalog;
        if rest.is_null() {
            return Ok(Self::default());
        }
        let Last { last_object, last_arrangement } = Last::deserialize(rest).map_err(unknown)?;
        let object = |(&id, record): (&u32, &Record)| Ok((id, Shared::read(record).map_err(unknown)?));
        let objects = objects.iter().map(object).collect::<Result<_>>()?;
        Ok(Self { objects, last_object, last_arrangement })
    }

    /// As a manifest says it. An object that would be read as another one is an internal error.
    pub fn records(&self) -> Result<Records> {
        let Self { objects, last_object, last_arrangement } = self;
        let last = Last { last_object: *last_object, last_arrangement: *last_arrangement };
        let objects = objects.iter().map(|(&id, object)| Ok((id, object.record()?))).collect::<Result<_>>()?;
        Ok(Records { rest: serde_json::to_value(last).expect("two numbers"), objects })
    }

    pub fn by_name(&self, name: &str) -> Option<&Object> {
        self.objects.values().find(|o| o.name == name).map(|o| &**o)
    }

    pub fn get(&self, id: u32) -> Option<&Object> {
        self.objects.get(&id).map(|o| &**o)
    }

    /// Why the record of an object cannot be read, if so.
    pub fn unread(&self, id: u32) -> Option<Error> {
        self.objects.get(&id)?.unread()
    }

    pub fn next_object(&mut self) -> u32 {
        self.last_object = self.last_object.max(FIRST_OBJECT - 1) + 1;
        self.last_object
    }

    pub fn next_arrangement(&mut self) -> ArrangementId {
        self.last_arrangement += 1;
        ArrangementId(self.last_arrangement)
    }
}

impl weir_sql::catalog::Catalog for Catalog {
    fn relation(&self, name: &str) -> Option<Relation> {
        self.by_name(name).and_then(Object::relation)
    }

    fn by_id(&self, id: RelationId) -> Option<Relation> {
        self.get(id.0).and_then(Object::relation)
    }

    fn names(&self) -> Vec<String> {
        self.objects.values().filter(|o| o.columns().is_some()).map(|o| o.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn catalog(details: serde_json::Value) -> Catalog {
        let mut catalog = Catalog::default();
        let id = catalog.next_object();
        let body = SourceBody {
            connector: "postgres-cdc".into(),
            options: BTreeMap::new(),
            secrets: BTreeMap::new(),
            details,
            paused: false,
            identity: Default::default(),
            place: None,
        };
        let (name, definition, body) = ("s".into(), "CREATE SOURCE s".into(), Body::Source(body));
        catalog.objects.insert(id, Object { id, name, life: Life::Live, definition, created_at: 0, body }.into());
        catalog
    }

    #[test]
    fn a_catalog_that_no_start_could_read_is_not_published() {
        let good = catalog(json!({"slot": "s"}));
        let manifest = Manifest { catalog: good.records().expect("fine"), ..Manifest::default() };
        assert_eq!(Catalog::of(&manifest).expect("it is read"), good);
        // JSON is read to a depth.
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let error = catalog(deep).records().expect_err("not to be read");
        assert!(error.message.contains("could not be read by a start"), "{error}");
    }

    #[test]
    fn one_record_that_cannot_be_read_is_kept_as_it_was_written_and_known_by_its_name() {
        let good = catalog(json!({"slot": "s"}));
        let (source, table, view) = (FIRST_OBJECT, FIRST_OBJECT + 1, FIRST_OBJECT + 2);
        let mut records = good.records().expect("fine");
        let columns = json!([]);
        let plan = json!({"version": 99, "nodes": [{"operator": {"Scan": {"relation": table, "name": "t"}}}]});
        for (id, name, body) in [
            (table, "t", json!({"Table": {"columns": columns, "arrangements": [1, 2], "upstream": [source, "new"]}})),
            (view, "v", json!({"View": {"columns": columns, "plan": plan, "arrangements": [3, 4, 5], "new": 0.1}})),
        ] {
            let object =
                json!({"id": id, "name": name, "life": "Live", "definition": "", "created_at": 0, "body": body});
            records.objects.insert(id, Record::of(&object));
        }
        let read = |records: &Records| Catalog::of(&Manifest { catalog: records.clone(), ..Manifest::default() });
        let mut found = read(&records).expect("the others are read");
        assert_eq!(found.get(source), good.get(source));
        assert!(found.unread(source).is_none());
        for (name, id, kind, reads, kept) in
            [("t", table, "table", source, 2), ("v", view, "materialized view", table, 3)]
        {
            let object = found.by_name(name).expect("it is known by its name");
            assert_eq!((object.id, object.kind(), object.reads()), (id, kind, vec![reads]));
            assert_eq!(object.roles().map(|roles| roles.iter().count()), Some(kept));
            let error = found.unread(id).expect("it cannot be read");
            assert!(error.message.starts_with(&format!("the record of {kind} \"{name}\" cannot be read")), "{error}");
        }
        assert_eq!(found.records().expect("as they were"), records);
        // Announced to go, of which a crash must not make nothing.
        found.objects.get_mut(&view).expect("it is there").life = Life::Dropping;
        let again = read(&found.records().expect("as they were")).expect("the others are read");
        assert_eq!(again.get(view).map(|object| object.life), Some(Life::Dropping));
        assert!(again.unread(view).is_some());
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        let good = Manifest { catalog: catalog(json!(null)).records().expect("fine"), ..Manifest::default() };
        let (mut beside, mut within) = (good.clone(), good);
        beside.catalog.rest["frobnicated"] = json!(1);
        within.catalog.objects.insert(1, Record::of(&json!({"frobnicated": 1})));
        for manifest in [beside, within] {
            let error = Catalog::of(&manifest).expect_err("not to be guessed at");
            assert!(error.sqlstate == "58000" && error.message.contains("another version"), "{error}");
        }
    }
}
