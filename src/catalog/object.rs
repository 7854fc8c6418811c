//! One object of the catalog and its life.

use crate::connector::{Identity, Subscription};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_sql::catalog::{Relation, RelationId};
use weir_sql::function::identifier;
use weir_sql::plan::Plan;
use weir_sql::session::Settings;
use weir_sql::statement::{Statement, written};
use weir_sql::types::Column;
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::arrangement::Roles;
use weir_storage::key::Portion;
use weir_storage::manifest::{ArrangementId, Record};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    pub id: u32,
    pub name: String,
    pub life: Life,
    /// The statement that made it, for SHOW CREATE; secrets replaced.
    pub definition: String,
    /// Microseconds since 1970-01-01 UTC.
    pub created_at: i64,
    pub body: Body,
}

/// Each step is in a manifest before its upstream effects begin; they are retried at start until confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// Announced; upstream effects or the first copy go on. After a crash it goes on in the background.
    Creating,
    /// Readable.
    Live,
    /// Invisible by name; upstream effects are being taken back. Left by disappearing.
    Dropping,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    Source(SourceBody),
    Table(TableBody),
    View(ViewBody),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceBody {
    pub connector: String,
    /// Options as given, without the secret ones.
    pub options: BTreeMap<String, String>,
    /// Secret options (password), sealed by `secret.rs`.
    pub secrets: BTreeMap<String, String>,
    /// What the connector made upstream and remembers of it (slot and publication made by us, system identifier); opaque.
    pub details: serde_json::Value,
    /// By ALTER SOURCE … PAUSE: it does not read, and its position stays.
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub identity: Identity,
    /// Where the store was when the source was made or taken over. At any other place the source rests and nothing upstream is touched.
    /// `None`: made before stores knew their place.
    #[serde(default)]
    pub place: Option<String>,
}

impl SourceBody {
    pub fn is_at(&self, place: &str) -> bool {
        self.place.as_ref().is_none_or(|own| own == place)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableBody {
    pub columns: Vec<Column>,
    /// `None`: a table without a key (a plain one gets no hidden key: it is a bag).
    pub key: Option<Vec<usize>>,
    /// As [`Roles`] are listed.
    pub arrangements: Vec<ArrangementId>,
    /// For a table of a source: the source's id and what it subscribes to.
    pub upstream: Option<(u32, Subscription)>,
    /// Why it has failed. What manifests hold of it stays as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

/// Why a table goes no further. No row values in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stopped {
    pub sqlstate: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewBody {
    pub columns: Vec<Column>,
    pub plan: Plan,
    /// Settings that change the meaning of the query.
    pub settings: Settings,
    /// As [`Roles`] are listed.
    pub arrangements: Vec<ArrangementId>,
    /// Suspended because it was too far behind: what is stored of it may be read, and nothing is kept that would lead on from there.
    #[serde(default)]
    pub suspended: bool,
    /// While it is made: from which epoch on it has how much of its parents' rows, ascending. Empty: all from the first.
    #[serde(default)]
    pub filled: Vec<Filled>,
}

/// So many of [`weir_storage::key::Portion::PARTS`] of its parents' rows are in a view from `at` on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filled {
    pub at: Epoch,
    pub parts: u8,
}

impl ViewBody {
    /// Whether a start will read what is stored of the plan; to be asked before the view is.
    pub fn read_back(&self) -> Result<()> {
        let unread = |why| Error::internal("the plan of this view cannot be stored").detail(why);
        Record::checked(self).map(drop).map_err(unread)
    }

    /// What it has of its parents' rows at an epoch it stood at. `None`: that was before it was begun as it is now.
    pub fn portion(&self, at: Epoch) -> Option<Portion> {
        match self.filled.is_empty() {
            true => Some(Portion::ALL),
            false => self
                .filled
                .iter()
                .rev()
                .find(|filled| filled.at <= at)
                .map(|filled| Portion::new(0, filled.parts.min(Portion::PARTS))),
        }
    }
}

impl Object {
    pub fn columns(&self) -> Option<&[Column]> {
        match &self.body {
            Body::Source(_) => None,
            Body::Table(t) => Some(&t.columns),
            Body::View(v) => Some(&v.columns),
        }
    }

    /// What a view says, as a SELECT by itself.
    pub fn query(&self) -> Option<String> {
        let statement = weir_sql::statement::parse(&self.definition).ok()?.pop()?.statement;
        let Statement::CreateMaterializedView { columns, query, .. } = statement else { return None };
        let query = written(query.as_ref());
        let names = columns.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
        Some(if names.is_empty() { format!("{query};") } else { format!("SELECT * FROM ({query}) AS q ({names});") })
    }

    pub fn key(&self) -> Option<&[usize]> {
        match &self.body {
            Body::Source(_) => None,
            Body::Table(t) => t.key.as_deref(),
            Body::View(v) => v.plan.key.as_deref(),
        }
    }

    pub fn relation(&self) -> Option<Relation> {
        let columns = self.columns()?.to_vec();
        let key = self.key().map(<[usize]>::to_vec);
        Some(Relation { id: RelationId(self.id), name: self.name.clone(), columns, key })
    }

    /// What it keeps; `None`: it is no relation.
    pub fn roles(&self) -> Option<Roles<ArrangementId>> {
        match &self.body {
            Body::Source(_) => None,
            Body::Table(t) => Roles::of(t.arrangements.iter().copied()),
            Body::View(v) => Roles::of(v.arrangements.iter().copied()),
        }
    }

    /// What it is made of.
    pub fn reads(&self) -> Vec<u32> {
        match &self.body {
            Body::Source(_) => vec![],
            Body::Table(t) => t.upstream.iter().map(|(source, _)| *source).collect(),
            Body::View(v) => v.plan.root.relations().into_iter().map(|relation| relation.0).collect(),
        }
    }

    /// As messages and catalogs name it.
    pub fn kind(&self) -> &'static str {
        match self.body {
            Body::Source(_) => "source",
            Body::Table(_) => "table",
            Body::View(_) => "materialized view",
        }
    }
}
