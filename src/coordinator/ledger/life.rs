//! The life of a relation: one enum, changed by one function, [`next`], which is one table.
//!
//! The catalog says of an *object* whether it is being made, is there or goes. This says what becomes of a relation's rows. What readers
//! see of it (the flags of [`Readable`](crate::dataflow::relations::Readable)) and what the catalog says of it to a start follow from
//! the [`Effect`]s, which are carried out in one place (`coordinator/life.rs`).

use crate::catalog;
use crate::dataflow::relations::Failure;

#[derive(Clone, Debug, PartialEq)]
pub enum Life {
    /// It gets its first rows. Entered by CREATE. Durable: a start continues.
    Creating,
    /// It has all of its rows and is read by its name. Durable.
    Live,
    /// A view that is rebuilt from its parents, and read as it was meanwhile. Entered by too much lag, by REFRESH, with what it reads,
    /// and at a start that cannot go on from what the store has. Durable.
    Suspended,
    /// It goes no further. Entered by its own failure or by that of what it reads (`failure.of`). A table's is durable; a view is built
    /// anew by a start. `made`: it has been live.
    Failed { failure: Failure, made: bool },
}

/// What happens to a relation.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It has come to where it has all of its rows, and so have those it reads.
    Whole,
    /// What there is of it in memory is released, to be rebuilt.
    GivenUp,
    Failed(Failure),
    /// A manifest holds it as it is now.
    Sealed,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// It is read by its name from now on; the catalog says that it is made.
    Show,
    /// Whether what the store has of a view is void: then a start must not go on from it, and builds the view anew.
    Void(bool),
    /// A table stays as it is, across starts, for this.
    Stop(Failure),
}

/// What kind of relation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of this source, or one that sessions write.
    Table {
        source: Option<u32>,
    },
    View,
}

/// | | whole | given up | failed | sealed |
/// |---|---|---|---|---|
/// | creating | live, shown | creating, void | failed | creating, not void |
/// | live | live, shown | suspended, void | failed | live, not void |
/// | suspended | live, shown | suspended, void | failed | suspended, not void |
/// | failed | failed, shown: it was all there | as before it was made, void | failed: the first cause says most | failed |
///
/// Of one that fails, a table is stopped for good, and what the store has of a view is void.
pub fn next(life: Life, kind: Kind, event: Event) -> (Life, Option<Effect>) {
    match (life, event) {
        (Life::Failed { failure, .. }, Event::Whole) => (Life::Failed { failure, made: true }, Some(Effect::Show)),
        (_, Event::Whole) => (Life::Live, Some(Effect::Show)),
        (Life::Creating | Life::Failed { made: false, .. }, Event::GivenUp) => {
            (Life::Creating, Some(Effect::Void(true)))
        }
        (Life::Live | Life::Suspended | Life::Failed { made: true, .. }, Event::GivenUp) => {
            (Life::Suspended, Some(Effect::Void(true)))
        }
        (failed @ Life::Failed { .. }, Event::Failed(_) | Event::Sealed) => (failed, None),
        (life, Event::Failed(failure)) => {
            let effect = match kind {
                Kind::Table { .. } => Effect::Stop(failure.clone()),
                Kind::View => Effect::Void(true),
            };
            (Life::Failed { failure, made: life != Life::Creating }, Some(effect))
        }
        (life, Event::Sealed) => (life, Some(Effect::Void(false))),
    }
}

/// As `status` says it. `far`: its history is read from the store.
pub fn status(life: &Life, object: catalog::Life, far: bool) -> &'static str {
    match (object, life) {
        (catalog::Life::Dropping, _) => "dropping",
        (_, Life::Failed { .. }) => "failed",
        (catalog::Life::Creating, _) => "creating",
        (catalog::Life::Live, Life::Suspended) => "suspended",
        (catalog::Life::Live, _) if far => "far behind",
        (catalog::Life::Live, _) => "live",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sql::Error;
    use weir_sql::catalog::RelationId;

    fn failure(of: u32) -> Failure {
        Failure { of: RelationId(of), cause: Error::internal("an operator panicked") }
    }

    /// What happens in a life -> what it is then and what follows, for every combination.
    #[test]
    fn every_event_in_every_life_is_decided() {
        use Event::{GivenUp, Sealed, Whole};
        use Life::{Creating, Live, Suspended};
        let (table, view) = (Kind::Table { source: None }, Kind::View);
        let failed = |of, made| Life::Failed { failure: failure(of), made };
        let void = |void| Some(Effect::Void(void));
        let show = Some(Effect::Show);
        for kind in [table, view] {
            let stop = |of| match kind {
                Kind::Table { .. } => Some(Effect::Stop(failure(of))),
                Kind::View => Some(Effect::Void(true)),
            };
            let cases = [
                (Creating, Whole, Live, show.clone()),
                (Creating, GivenUp, Creating, void(true)),
                (Creating, Event::Failed(failure(2)), failed(2, false), stop(2)),
                (Creating, Sealed, Creating, void(false)),
                (Live, Whole, Live, show.clone()),
                (Live, GivenUp, Suspended, void(true)),
                (Live, Event::Failed(failure(2)), failed(2, true), stop(2)),
                (Live, Sealed, Live, void(false)),
                (Suspended, Whole, Live, show.clone()),
                (Suspended, GivenUp, Suspended, void(true)),
                (Suspended, Event::Failed(failure(2)), failed(2, true), stop(2)),
                (Suspended, Sealed, Suspended, void(false)),
                (failed(1, false), Whole, failed(1, true), show.clone()),
                (failed(1, false), GivenUp, Creating, void(true)),
                (failed(1, false), Event::Failed(failure(2)), failed(1, false), None),
                (failed(1, false), Sealed, failed(1, false), None),
                (failed(1, true), Whole, failed(1, true), show.clone()),
                (failed(1, true), GivenUp, Suspended, void(true)),
                (failed(1, true), Event::Failed(failure(2)), failed(1, true), None),
                (failed(1, true), Sealed, failed(1, true), None),
            ];
            for (life, event, then, effect) in cases {
                let case = format!("{kind:?} {life:?} {event:?}");
                assert_eq!(next(life, kind, event), (then, effect), "{case}");
            }
        }
    }

    #[test]
    fn every_life_has_its_status() {
        use catalog::Life::{Creating, Dropping, Live};
        let failed = Life::Failed { failure: failure(1), made: true };
        for (life, creating, live, far) in [
            (Life::Creating, "creating", "live", "far behind"),
            (Life::Live, "creating", "live", "far behind"),
            (Life::Suspended, "creating", "suspended", "suspended"),
            (failed, "failed", "failed", "failed"),
        ] {
            assert_eq!(status(&life, Creating, false), creating, "{life:?}");
            assert_eq!(status(&life, Creating, true), creating, "{life:?}");
            assert_eq!(status(&life, Live, false), live, "{life:?}");
            assert_eq!(status(&life, Live, true), far, "{life:?}");
            assert_eq!(status(&life, Dropping, false), "dropping", "{life:?}");
            assert_eq!(status(&life, Dropping, true), "dropping", "{life:?}");
        }
    }
}
