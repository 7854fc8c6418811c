//! Manifests, and what of them others read: the catalog and the positions.
//!
//! The input is what comes after the header, which is made here, so that the checksum does not hide the rest. Pages are not there.

use crate::Target;
use crate::memory::Bound;
use std::collections::BTreeMap;
use weir::catalog::object::Stopped;
use weir::catalog::{Body, Catalog, Life, Object, SourceBody, TableBody, ViewBody};
use weir::connector::postgres::lsn::Place;
use weir::connector::{Identity, Position};
use weir_sql::session::Settings;
use weir_sql::statement::Statement;
use weir_sql::types::{Column, Type};
use weir_storage::manifest::{ArrangementId, Manifest, Records, Root, State};
use weir_storage::run::Run;
use weir_storage::{Epoch, Generation};
use xxhash_rust::xxh3::xxh3_64;

/// A value of JSON takes some dozen bytes, a run in a map some hundred.
pub const TARGET: Target = Target { name: "manifest", bound: Bound { constant: 1 << 20, factor: 512 }, seeds, run };

const HEADER: usize = 24;

fn run(rest: &[u8]) {
    decode(rest.to_vec());
    for format in [1, 2] {
        let header = [&b"WEIRMANI"[..], &[format, 0, 0, 0, 0, 0, 0, 0], &xxh3_64(rest).to_le_bytes()].concat();
        if let Some(manifest) = decode([&header, rest].concat()) {
            read(manifest);
        }
    }
}

fn decode(bytes: Vec<u8>) -> Option<Manifest> {
    Root::decode(&Manifest::path(0), &bytes.into()).ok()?.whole(&Manifest::path(0), |_| None).ok()
}

fn read(manifest: Manifest) {
    // Other than what is opaque to it: fractions are read to about their last digit, and nothing of ours has any.
    let plain = |m: &Manifest| {
        let catalog = Records { rest: serde_json::Value::Null, ..m.catalog.clone() };
        Manifest { catalog, positions: BTreeMap::new(), ..m.clone() }
    };
    let again = decode(manifest.encode().into()).expect("what was encoded");
    assert_eq!(plain(&again), plain(&manifest));
    manifest.objects();
    let _ = Catalog::of(&manifest);
    for position in manifest.positions.into_values() {
        let _ = Place::of(&Position(position));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let run = |after, to| Run {
        object: "data/2-01ARZ3NDEKTSV4RRFFQ69G5FAV.runs".into(),
        offset: 5,
        length: 700,
        after: Epoch::from_u64(after),
        to: Epoch::from_u64(to),
        rows: 3,
        vnodes: (0, 255),
    };
    let state = |runs: Vec<Run>| State { upper: Epoch::from_u64(9), since: Epoch::from_u64(3), runs: runs.into() };
    let place = serde_json::json!({"system_id": "7312345678901234567", "timeline": 1, "lsn": "1/16B3748"});
    let full = Manifest {
        generation: Generation(2),
        nonce: u64::MAX,
        epoch: Epoch::from_u64(9),
        committed_at: 1_700_000_000_000_000,
        now: -1,
        positions: BTreeMap::from([(16384, place)]),
        catalog: catalog().records().expect("plain JSON"),
        arrangements: BTreeMap::from([
            (ArrangementId(1), state(vec![run(0, 3), run(3, 9)])),
            (ArrangementId(2), state(vec![])),
        ]),
        uploaded_bytes: 9,
        duration_us: 10,
        ..Manifest::default()
    };
    [full, Manifest::default()].iter().map(|manifest| manifest.encode()[HEADER..].to_vec()).collect()
}

/// A source, a table, and a view over it with most of what a plan can have.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let mut add = |name: &str, body| {
        let id = catalog.next_object();
        let (name, definition) = (name.to_string(), format!("CREATE {name}"));
        let object = Object { id, name, life: Life::Live, definition, created_at: 0, body };
        catalog.objects.insert(id, object.into());
    };
    add(
        "s",
        Body::Source(SourceBody {
            connector: "postgres-cdc".into(),
            options: BTreeMap::from([("hostname".into(), "h".into())]),
            secrets: BTreeMap::new(),
            details: serde_json::json!({"slot": "s"}),
            paused: false,
            identity: Identity { store: 1, token: 2, before: Some(3) },
            place: Some("file:///s".into()),
        }),
    );
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: name != "id" };
    let columns = vec![column("id", Type::Int4), column("n", Type::Numeric(Some((8, 2)))), column("t", Type::Text)];
    let body = TableBody {
        columns,
        key: Some(vec![0]),
        arrangements: vec![ArrangementId(1), ArrangementId(2)],
        upstream: None,
        stopped: Some(Stopped { sqlstate: "XX000".into(), message: "m".into() }),
    };
    add("t", Body::Table(body));
    let sql = "SELECT a.t, count(*) AS c, sum(a.n + 1) AS s FROM t AS a LEFT JOIN t AS b ON a.id = b.id \
               WHERE a.t LIKE 'x%' GROUP BY a.t HAVING count(*) > 1";
    let Statement::Query(query) = weir_sql::statement::parse(sql).expect("SQL").remove(0).statement else {
        unreachable!()
    };
    let settings = Settings::default();
    let state = weir_sql::session::state(&settings, None);
    let planned = weir_sql::planner::plan(&query, &[], &catalog, &state).expect("a plan");
    let view = ViewBody {
        columns: planned.columns,
        plan: planned.plan,
        settings,
        arrangements: vec![ArrangementId(3)],
        suspended: false,
        filled: vec![],
    };
    let id = catalog.next_object();
    let body = Body::View(view);
    let object = Object { id, name: "v".into(), life: Life::Creating, definition: sql.into(), created_at: 0, body };
    catalog.objects.insert(id, object.into());
    catalog
}
