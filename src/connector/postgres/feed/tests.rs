//! Where a table's copy and the stream meet, message by message.

use super::*;
use crate::connector::Changes;
use crate::connector::backlog::spill;
use crate::connector::postgres::table_schema::Attribute;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use weir_sql::types::{Column, Type};

const TABLE: RelationId = RelationId(7);

/// A bag with one bigint column, about to be copied.
fn feed() -> (Feed, Attempt) {
    let mut feed = Feed::new(Place { system_id: "s".into(), timeline: 1, lsn: Lsn(0) }, Limits::TINY);
    let details = Details { columns: vec![Attribute { number: 1, kind: 20, modifier: -1 }], others: vec![] };
    let subscription = Subscription {
        table: TABLE,
        schema: "public".into(),
        name: "t".into(),
        identity: 1,
        columns: vec![Column { name: "n".into(), kind: Type::Int8, nullable: true }],
        key: None,
        copied: false,
        details: serde_json::to_value(details).unwrap(),
    };
    let attempt = feed.subscribe(subscription).unwrap().expect("it needs a copy");
    let column = decode::Column { key: true, name: "n".into(), kind: 20, modifier: -1 };
    let relation = decode::Relation {
        id: 1,
        schema: "public".into(),
        name: "t".into(),
        identity: decode::Identity::Full,
        columns: vec![column],
    };
    feed.apply(Message::Relation(relation)).unwrap();
    (feed, attempt)
}

fn begin(feed: &mut Feed, commit: u64) {
    feed.apply(Message::Begin { commit: Lsn(commit) }).unwrap();
}

fn insert(feed: &mut Feed, n: u8) {
    let mut message = b"I\0\0\0\x01N\0\x01t\0\0\0\x01".to_vec();
    message.push(b'0' + n);
    feed.apply(decode::decode(&message).unwrap()).unwrap();
}

fn commit(feed: &mut Feed, at: u64) {
    feed.apply(Message::Commit { commit: Lsn(at), end: Lsn(at + 5), at: 0 }).unwrap();
}

fn row(table_schema: &Arc<TableSchema>, n: &str) -> Stored {
    let mut log = Log::new(table_schema.clone(), Limits::TINY);
    log.push(Op::Insert, empty(), [(0, Value::Text(n.as_bytes()))].into_iter()).unwrap();
    log.commit();
    log.take().remove(0)
}

/// Everything that is handed over, in order, until nothing more is.
fn taken(feed: &mut Feed) -> Vec<i64> {
    let mut rows = vec![];
    while let Some(taken) = feed.take() {
        let batch = taken.fold(usize::MAX, |table| panic!("{table} stops")).unwrap();
        for (_, changes) in batch.tables {
            let Changes::Bag(bag) = changes else { panic!("a bag") };
            for delta in bag.rows {
                let values = delta.rows().column(0).as_primitive::<Int64Type>().values().to_vec();
                rows.extend(values.iter().zip(delta.weights().iter()).flat_map(|(v, w)| vec![*v; *w as usize]));
            }
        }
    }
    rows
}

#[test]
fn what_the_copy_shows_does_not_come_again_when_the_stream_is_late() {
    let (mut feed, attempt) = feed();
    let table_schema = feed.subscription(attempt).unwrap().1.clone();
    assert!(feed.copy_begins(attempt, Lsn(100), 1));
    assert!(feed.copy_rows(attempt, row(&table_schema, "1"), 1));
    assert!(feed.copy_ends(attempt));
    assert_eq!(taken(&mut feed), [1]);
    // The stream comes to what the copy has shown already, and then to what it has not.
    for (at, n) in [(50, 1), (100, 2)] {
        begin(&mut feed, at);
        insert(&mut feed, n);
        commit(&mut feed, at);
    }
    assert_eq!(taken(&mut feed), [2]);
}

#[test]
fn a_transaction_half_read_when_the_copy_begins_is_all_in_it_or_not_at_all() {
    for (at, expected) in [(50, vec![1]), (100, vec![1, 2, 3])] {
        let (mut feed, attempt) = feed();
        let table_schema = feed.subscription(attempt).unwrap().1.clone();
        begin(&mut feed, at);
        insert(&mut feed, 2);
        assert!(feed.copy_begins(attempt, Lsn(100), 1));
        insert(&mut feed, 3);
        commit(&mut feed, at);
        assert!(feed.copy_rows(attempt, row(&table_schema, "1"), 1));
        assert!(feed.copy_ends(attempt));
        feed.keepalive(Lsn(200));
        assert_eq!(taken(&mut feed), expected, "committed at {at}");
    }
}

/// A copy of one row, and a transaction that inserts two: what of it was read before the copy began waits in `folder`.
fn spilled(folder: &std::path::Path) -> Feed {
    let (mut feed, attempt) = feed();
    let table_schema = feed.subscription(attempt).unwrap().1.clone();
    begin(&mut feed, 50);
    insert(&mut feed, 2);
    assert!(feed.too_much(1000).is_empty());
    let much = feed.too_much(0);
    assert_eq!(much.len(), 1);
    spill(folder, &much).unwrap();
    assert!(feed.too_much(0).is_empty(), "it is there");
    insert(&mut feed, 3);
    commit(&mut feed, 50);
    assert!(feed.copy_begins(attempt, Lsn(10), 1));
    assert!(feed.copy_rows(attempt, row(&table_schema, "1"), 1));
    assert!(feed.copy_ends(attempt));
    feed
}

#[test]
fn what_waits_is_never_more_than_what_is_known_of_it() {
    let check = |feed: &mut Feed| {
        let (streamed, early) = (feed.streamed_bytes(), feed.early_bytes());
        assert!(feed.waits >= streamed + early, "{} are known of {streamed} and {early}", feed.waits);
        let most = streamed.max(early);
        assert_eq!((feed.is_over(most), feed.is_over(0)), (false, most > 0));
        assert!(most == 0 || feed.waits == streamed + early, "they have been counted");
    };
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut feed = spilled(folder.path());
    check(&mut feed);
    for (at, takes) in [(60, true), (70, false), (80, false)] {
        begin(&mut feed, at);
        insert(&mut feed, 4);
        check(&mut feed);
        insert(&mut feed, 5);
        commit(&mut feed, at);
        check(&mut feed);
        if takes {
            spill(other.path(), &feed.too_much(0)).unwrap();
            assert!(feed.take().is_some(), "the copy");
            check(&mut feed);
            assert_eq!(taken(&mut feed), [2, 3, 4, 5]);
            check(&mut feed);
        }
    }
    // Of a transaction that is spilled before it commits.
    begin(&mut feed, 85);
    insert(&mut feed, 8);
    spill(other.path(), &feed.too_much(0)).unwrap();
    check(&mut feed);
    commit(&mut feed, 85);
    check(&mut feed);
    let attempt = feed.resnapshot(TABLE).unwrap();
    let table_schema = feed.subscription(attempt).unwrap().1.clone();
    check(&mut feed);
    assert!(feed.copy_rows(attempt, row(&table_schema, "6"), 100));
    check(&mut feed);
    begin(&mut feed, 90);
    insert(&mut feed, 7);
    check(&mut feed);
}

#[test]
fn what_waits_on_disk_is_taken_as_if_it_were_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(taken(&mut spilled(folder.path())), [1, 2, 3]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_read_again_is_not_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut feed = spilled(folder.path());
    std::fs::read_dir(folder.path()).unwrap().flatten().for_each(|file| std::fs::remove_file(file.path()).unwrap());
    let never = |table| panic!("{table} stops");
    let copied = feed.take().expect("the copy").fold(usize::MAX, never);
    assert!(copied.is_ok());
    let error = feed.take().expect("the transaction").fold(usize::MAX, never).unwrap_err();
    assert!(matches!(&error, weir_storage::Error::Retry(why) if why.contains("spill folder")), "{error}");
}

#[test]
fn a_table_that_is_stopped_inside_a_transaction_stays_so_when_the_connection_breaks() {
    let (mut feed, attempt) = feed();
    begin(&mut feed, 50);
    insert(&mut feed, 2);
    let cause = RowError { sqlstate: "55000".into(), message: "it is gone".into(), expression: "table".into() };
    feed.stop(attempt.table, cause.clone());
    feed.stop(attempt.table, cause.clone());
    assert!(feed.abandon().is_empty());
    let events = feed.take().expect("an event").events;
    assert!(matches!(&events[..], [Event::Stopped { table: TABLE, cause: told }] if *told == cause), "{events:?}");
    begin(&mut feed, 50);
    insert(&mut feed, 2);
    commit(&mut feed, 50);
    assert_eq!(taken(&mut feed), [0; 0]);
}
