//! Upstream databases: where changes come from. One folder per upstream.
//!
//! A source decodes whole transactions into typed columns and keeps them until the coordinator closes an epoch and takes
//! everything that is whole (I1: a transaction is never split over two takes). A Z-set has no order inside an epoch, upserts
//! do: so a source *folds* what it hands over, in commit order, to one final image or delete per key.
//!
//! What a source may forget upstream is told to it by [`Source::acknowledge`], which needs the proof that it is durable (I7).

pub mod backlog;
pub mod buffer;
mod changes;
pub mod fold;
pub mod postgres;
pub mod segment;
mod source;
pub mod spilled;
mod unstarted;

pub use changes::{Bag, Changes, FailedRows, Fold, Partial, RowError};
pub use source::{
    Batch, Connector, Created, Definition, Discovered, Event, Identity, Position, Retained, Source, Start, State,
    Status, Subscription, Waiting, Wanted,
};
pub use unstarted::Unstarted;
use weir_sql::{Error, Result};

/// The kinds of upstream there are.
#[derive(Clone, Copy)]
pub struct Connectors(pub &'static [&'static dyn Connector]);

impl Default for Connectors {
    /// All of them. A new one is a folder and a line here.
    fn default() -> Self {
        Self(&[&postgres::Postgres])
    }
}

impl Connectors {
    /// The connector of `WITH (connector = 'name')`.
    pub fn find(self, name: &str) -> Result<&'static dyn Connector> {
        self.0.iter().find(|c| c.name() == name).copied().ok_or_else(|| {
            let known: Vec<_> = self.0.iter().map(|c| c.name()).collect();
            Error::new("22023", format!("unknown connector \"{name}\"")).hint(format!("Known: {}.", known.join(", ")))
        })
    }
}
