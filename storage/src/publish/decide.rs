//! The decisions of publishing and of recovery, as functions of what was seen.

/// What was learnt about the attempt to publish manifest n+1.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The create was answered: made.
    Created,
    /// The create was answered: there is one, or somebody is making it. It may be ours, from a try whose answer got lost.
    Exists,
    /// Read back: exactly our bytes, nonce and all.
    Ours,
    /// Read back: another's. The text describes it.
    Theirs(String),
    /// Read back: nothing there.
    Absent,
    /// Listed: the lowest manifest above n+1.
    Above(u64),
    NothingAbove,
    /// Listed: nothing above, and one that only a higher one lets anybody delete is not there.
    Vanished(u64),
}

/// What to do next. A request that is not answered is made again: only an *answered* write is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Put-if-absent of the same bytes.
    Create,
    ReadBack,
    LookAbove,
    Published,
    /// Another made manifest n+1: it was never ours.
    Taken(String),
    /// Others went on above n+1, so whatever is at n+1 counts for nothing.
    Overtaken(u64),
    /// Somebody took manifests away: what is at n+1 names what may be gone as well.
    Vanished(u64),
}

pub fn decide(seen: Seen) -> Next {
    match seen {
        Seen::Exists => Next::ReadBack,
        Seen::Absent => Next::Create,
        Seen::Theirs(what) => Next::Taken(what),
        // An owner that slept for long may create a number that others passed and then deleted: hence the look above.
        Seen::Created | Seen::Ours => Next::LookAbove,
        Seen::Above(sequence) => Next::Overtaken(sequence),
        Seen::NothingAbove => Next::Published,
        Seen::Vanished(sequence) => Next::Vanished(sequence),
    }
}

/// What reading one manifest showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Health {
    Readable,
    /// Damaged, or of a format this binary does not know.
    Unreadable(String),
    /// Deleted after it was listed.
    Gone,
}

/// The cases of recovery.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovery {
    /// No manifest at all: a new store.
    Empty,
    /// Not known yet: read this one.
    Read(u64),
    /// Go on from this manifest; `skipped` unreadable ones above it are lost, as the operator allowed.
    Use { sequence: u64, skipped: u32 },
    /// Stop, and say so.
    Refuse(String),
    /// What was listed is not there any more: look again.
    Relist,
}

/// `listed` are the manifests there are, ascending; `read` is what the newest of them turned out to be, newest first.
///
/// | newest | below it | `accept_data_loss` | |
/// |---|---|---|---|
/// | none | | any | empty store |
/// | readable | any | any | use it |
/// | unreadable | any | no | refuse, naming it: upstream may have been acknowledged past an older one |
/// | unreadable | one readable | yes | use the newest readable one |
/// | unreadable | none readable | yes | refuse: starting empty is not a recovery |
/// | gone | any | any | list again: only a newer one lets the newest be deleted |
pub fn recover(listed: &[u64], read: &[Health], accept_data_loss: bool) -> Recovery {
    let mut newest_first = listed.iter().rev().copied();
    let Some(newest) = listed.last() else { return Recovery::Empty };
    let mut skipped = 0;
    for (sequence, health) in newest_first.clone().zip(read) {
        match health {
            Health::Readable => return Recovery::Use { sequence, skipped },
            Health::Gone => return Recovery::Relist,
            Health::Unreadable(why) if !accept_data_loss => {
                return Recovery::Refuse(format!(
                    "{why}. It is the newest manifest, so nothing older is used by itself: upstream may already have \
                     discarded what it covered. Restore the object, or start with --accept-data-loss"
                ));
            }
            Health::Unreadable(_) => skipped += 1,
        }
    }
    match newest_first.nth(read.len()) {
        Some(sequence) => Recovery::Read(sequence),
        None => Recovery::Refuse(format!("none of the {} manifests up to number {newest} can be read", listed.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_published_only_when_nothing_is_above() {
        for (seen, next) in [
            (Seen::Created, Next::LookAbove),
            (Seen::Exists, Next::ReadBack),
            (Seen::Ours, Next::LookAbove),
            (Seen::Theirs("g".into()), Next::Taken("g".into())),
            (Seen::Absent, Next::Create),
            (Seen::Above(9), Next::Overtaken(9)),
            (Seen::NothingAbove, Next::Published),
            (Seen::Vanished(8), Next::Vanished(8)),
        ] {
            assert_eq!(decide(seen.clone()), next, "{seen:?}");
        }
    }

    #[test]
    fn every_case_of_recovery_is_decided() {
        use Recovery::{Empty, Read, Relist, Use};
        let bad = || Health::Unreadable("manifest 9 is damaged".into());
        let cases: Vec<(&[u64], Vec<Health>, bool, Recovery)> = vec![
            (&[], vec![], false, Empty),
            (&[], vec![], true, Empty),
            (&[7, 9], vec![], false, Read(9)),
            (&[7, 9], vec![Health::Readable], false, Use { sequence: 9, skipped: 0 }),
            (&[7, 9], vec![Health::Readable], true, Use { sequence: 9, skipped: 0 }),
            (&[7, 9], vec![bad()], true, Read(7)),
            (&[7, 9], vec![bad(), Health::Readable], true, Use { sequence: 7, skipped: 1 }),
            (&[6, 7, 9], vec![bad(), bad(), Health::Readable], true, Use { sequence: 6, skipped: 2 }),
            (&[7, 9], vec![Health::Gone], false, Relist),
            (&[7, 9], vec![bad(), Health::Gone], true, Relist),
        ];
        for (listed, read, accept, expected) in cases {
            assert_eq!(recover(listed, &read, accept), expected, "{listed:?} {read:?} {accept}");
        }
        let refused = |listed: &[u64], read: &[Health], accept, name: &str| match recover(listed, read, accept) {
            Recovery::Refuse(why) => assert!(why.contains(name), "{why}"),
            other => panic!("{other:?}"),
        };
        refused(&[7, 9], &[bad()], false, "manifest 9");
        refused(&[9], &[bad()], false, "--accept-data-loss");
        refused(&[9], &[bad()], true, "none of the 1 manifests up to number 9");
    }
}
