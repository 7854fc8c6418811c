//! Reading the past: `FROM t FOR SYSTEM_TIME AS OF time`.
//!
//! All that such a query reads comes from one manifest that is kept, the newest that is not later than the time, at the one epoch at
//! which that manifest has all of it (I11). Names and columns are those of its catalog: the planner finds them in a schema of their
//! own, [`SCHEMA`]. Rows are read from runs, piece by piece; only runs as they are stored are held in memory, and count against the
//! queries' pool. The manifest and its objects stay for as long as something here is alive (I10).

use super::failure::{failure, first_error};
use crate::catalog::{Catalog, Life, Object, system};
use crate::coordinator::past::{Arranged, Stored, stored};
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::sql::sqlparser::ast::{self, Expr, ObjectName, ObjectNamePart, TableFactor, TableVersion, VisitorMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::OnceCell;
use weir_sql::catalog::RelationId;
use weir_sql::session::names::folded;
use weir_sql::types::Type;
use weir_sql::{Error, Result};
use weir_storage::arrangement::Roles;
use weir_storage::history::{At, Moment, Snapshot};
use weir_storage::key::VNODES;
use weir_storage::run::{self, Sum};
use weir_storage::{Delta, Env, Epoch, Generation};

/// Where the planner finds relations as they were. No schema of the user's has a blank in its name.
pub const SCHEMA: &str = "as of";

/// Runs fetched at once.
const AT_ONCE: usize = 8;

/// Takes the times out of `query`, each once as it is written, and moves the tables they belong to into [`SCHEMA`].
pub fn take(query: &mut ast::Query) -> Result<Vec<Expr>> {
    let mut tables = Tables { times: vec![] };
    match ast::VisitMut::visit(query, &mut tables) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(tables.times),
    }
}

struct Tables {
    times: Vec<Expr>,
}

impl VisitorMut for Tables {
    type Break = Box<Error>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let TableFactor::Table { name, version, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(TableVersion::ForSystemTimeAsOf(time)) = version.take() else { return ControlFlow::Continue(()) };
        if let Err(error) = constant(&time).and_then(|()| rename(name)) {
            return ControlFlow::Break(Box::new(error));
        }
        if !self.times.iter().any(|known| known.to_string() == time.to_string()) {
            self.times.push(time);
        }
        ControlFlow::Continue(())
    }
}

/// Where nobody reads the past.
pub fn refuse(query: &ast::Query) -> Result<()> {
    struct Finder;
    impl ast::Visitor for Finder {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::Table { version: Some(_), .. } => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match ast::Visit::visit(query, &mut Finder) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::unsupported("FOR SYSTEM_TIME AS OF in this statement")
            .hint("SELECT, COPY (SELECT …) TO and INSERT … SELECT read the past.")),
    }
}

fn constant(time: &Expr) -> Result<()> {
    let walked = ast::visit_expressions(time, |expr| match expr {
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("proctime") => {
            ControlFlow::Break(Error::unsupported("a process-time join (FOR SYSTEM_TIME AS OF PROCTIME())"))
        }
        Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)) => ControlFlow::Break(not_constant()),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) | Expr::Exists { .. } => {
            ControlFlow::Break(not_constant())
        }
        Expr::InSubquery { .. } => ControlFlow::Break(not_constant()),
        _ => ControlFlow::Continue(()),
    });
    match walked {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

pub fn not_constant() -> Error {
    Error::unsupported("FOR SYSTEM_TIME AS OF anything but a constant")
        .hint("Write an epoch, seconds since 1970, a timestamp, or NOW() - INTERVAL '…'.")
}

fn rename(name: &mut ObjectName) -> Result<()> {
    let schema = match name.0.as_slice() {
        [_] => None,
        [.., schema, _] => schema.as_ident().map(folded),
        [] => None,
    };
    let ours = ObjectNamePart::Identifier(ast::Ident::with_quote('"', SCHEMA));
    match schema.as_deref() {
        None => name.0.insert(0, ours),
        Some("public") => {
            let at = name.0.len() - 2;
            name.0[at] = ours;
        }
        Some(schema) if system::SCHEMAS.contains(&schema) => return Err(system_table(&name.to_string())),
        // The planner says that there is none.
        Some(_) => {}
    }
    Ok(())
}

pub fn system_table(name: &str) -> Error {
    Error::unsupported(format!("the past of \"{name}\", which is made anew for each query,"))
}

/// What a time of this type has to be cast to before [`at`] reads it.
pub fn cast_to(kind: &Type) -> Result<&'static str> {
    match kind {
        Type::Int2 | Type::Int4 | Type::Int8 => Ok("BIGINT"),
        Type::Text | Type::Date | Type::Timestamp | Type::Timestamptz => Ok("TIMESTAMPTZ"),
        other => Err(Error::new("42804", format!("FOR SYSTEM_TIME AS OF cannot be of type {other}"))
            .hint("Write an epoch, seconds since 1970, a timestamp, or NOW() - INTERVAL '…'.")),
    }
}

/// Epochs are above every number of seconds that is a time: the first of all is 2^40, which as seconds is in the year 36812.
pub fn at(time: &ScalarValue) -> Result<At> {
    match *time {
        ScalarValue::Int64(Some(number)) => match u64::try_from(number).map(Epoch::from_u64) {
            Ok(epoch) if epoch >= Generation(1).start() => Ok(At::Epoch(epoch)),
            _ => Ok(At::Time(number.saturating_mul(1_000_000))),
        },
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Ok(At::Time(micros)),
        ref other if other.is_null() => Err(Error::new("22004", "FOR SYSTEM_TIME AS OF must not be NULL")),
        ref other => Err(Error::internal(format!("a time is {other:?}"))),
    }
}

/// For people: `2026-01-31 12:00:00.123456+00 (epoch 1099511627781)`.
fn show(moment: Moment) -> String {
    let time = chrono::DateTime::from_timestamp_micros(moment.now).unwrap_or_default();
    format!("{} (epoch {})", time.format("%Y-%m-%d %H:%M:%S%.6f+00"), moment.epoch.as_u64())
}

pub fn too_old(oldest: Option<Moment>) -> Error {
    let error = Error::new("55000", "the past that FOR SYSTEM_TIME AS OF asks for is not kept");
    match oldest {
        Some(oldest) => error.detail(format!("The oldest checkpoint that can be read is of {}.", show(oldest))),
        None => error.detail("There is no checkpoint yet."),
    }
    .hint("The last ten checkpoints are kept, and the last one of each hour for a day.")
}

pub fn not_yet() -> Error {
    Error::new("22023", "FOR SYSTEM_TIME AS OF is in the future")
}

/// The past that a query asks for.
pub struct Past {
    snapshot: Arc<Snapshot>,
    catalog: Catalog,
}

impl Past {
    pub fn new(snapshot: Arc<Snapshot>) -> Result<Self> {
        let catalog = Catalog::of(&snapshot.manifest)?;
        Ok(Self { snapshot, catalog })
    }

    /// The object that was readable by this name.
    pub fn object(&self, name: &str) -> Option<&Object> {
        self.catalog.by_name(name).filter(|object| object.life == Life::Live && object.columns().is_some())
    }

    /// The relations `ids` at one epoch.
    pub async fn open(
        self: &Arc<Self>,
        env: &Env,
        pool: &Arc<dyn MemoryPool>,
        ids: &[RelationId],
    ) -> Result<(Epoch, BTreeMap<RelationId, Arc<Relation>>)> {
        let (mut opened, mut epoch) = (BTreeMap::new(), None);
        for id in ids {
            let object = self.catalog.get(id.0).ok_or_else(|| Error::internal(format!("relation {id} has no past")))?;
            if let Some(error) = self.catalog.unread(id.0) {
                return Err(error);
            }
            let manifest = &self.snapshot.manifest;
            let Stored { upper, kept } = stored(manifest, object).ok_or_else(|| self.unfinished(object))?;
            if *epoch.get_or_insert(upper) != upper {
                return Err(self.apart(object, upper));
            }
            let Roles { rows, errors, .. } = kept;
            let errors = Runs::new(errors);
            if let Some(error) = errors.first_error(env, pool, &object.name).await? {
                return Err(error);
            }
            let relation = Relation { rows: Runs::new(rows), env: env.clone(), _past: self.clone() };
            opened.insert(*id, Arc::new(relation));
        }
        Ok((epoch.unwrap_or(self.snapshot.moment().epoch), opened))
    }

    /// The notice of what is read: checkpoints that are kept may be far apart, and a view may have been behind.
    pub fn told(&self, epoch: Epoch) -> String {
        let moment = self.snapshot.moment();
        match epoch == moment.epoch {
            true => format!("reading the checkpoint of {}", show(moment)),
            false => format!("reading the checkpoint of {}, where it is at epoch {}", show(moment), epoch.as_u64()),
        }
    }

    fn unfinished(&self, object: &Object) -> Error {
        let checkpoint = show(self.snapshot.moment());
        Error::new("55000", format!("{} \"{}\" cannot be read as of then", object.kind(), object.name))
            .detail(format!("The checkpoint of {checkpoint} does not hold all of it: it was being built."))
            .hint("Read it as of a later time.")
    }

    /// Relations of one query are read at one epoch.
    fn apart(&self, object: &Object, upper: Epoch) -> Error {
        let checkpoint = show(self.snapshot.moment());
        Error::new("55000", "the relations of the query cannot be read at one epoch as of then")
            .detail(format!(
                "In the checkpoint of {checkpoint}, {} \"{}\" is at epoch {}, another relation is not.",
                object.kind(),
                object.name,
                upper.as_u64()
            ))
            .hint("Read them as of another time, or one by one.")
    }
}

/// A relation of the past. Its runs are fetched by the first scan.
pub struct Relation {
    rows: Runs,
    env: Env,
    _past: Arc<Past>,
}

/// Which vnodes a scan reads.
#[derive(Clone)]
pub struct Vnodes(Vec<bool>);

impl Vnodes {
    /// One of `parts` shares of all vnodes.
    pub fn share(part: usize, parts: usize) -> Self {
        Self((0..usize::from(VNODES)).map(|vnode| vnode * parts / usize::from(VNODES) == part).collect())
    }

    pub fn of(vnodes: impl Iterator<Item = u16>) -> Self {
        let mut wanted = vec![false; usize::from(VNODES)];
        vnodes.for_each(|vnode| wanted[usize::from(vnode)] = true);
        Self(wanted)
    }

    fn contains(&self, vnode: u16) -> bool {
        self.0[usize::from(vnode)]
    }
}

impl Relation {
    /// How many rows there are, at most.
    pub fn entries(&self) -> usize {
        self.rows.arranged.entries() as usize
    }

    /// `columns` of the rows of `vnodes`.
    pub fn scan(
        self: &Arc<Self>,
        vnodes: Vnodes,
        columns: Vec<usize>,
        pool: Arc<dyn MemoryPool>,
    ) -> impl Stream<Item = datafusion::common::Result<Delta>> + Send + use<> {
        let relation = self.clone();
        let opening = async move {
            let pieces = relation.rows.open(&relation.env, &pool).await?.pieces();
            let wanted = pieces.into_iter().filter({
                let vnodes = vnodes.clone();
                move |piece| piece.clone().any(|vnode| vnodes.contains(vnode))
            });
            Ok::<_, Error>(stream::iter(wanted).then(move |piece| {
                let (relation, vnodes, columns, pool) =
                    (relation.clone(), vnodes.clone(), columns.clone(), pool.clone());
                async move {
                    let sum = relation.rows.open(&relation.env, &pool).await?;
                    sum.rows(&|vnode| piece.contains(&vnode) && vnodes.contains(vnode), Some(&columns)).map_err(failed)
                }
            }))
        };
        let deltas = stream::once(opening)
            .try_flatten()
            .map_ok(|deltas| stream::iter(deltas.into_iter().map(Ok::<_, Error>)))
            .try_flatten();
        deltas.map_err(datafusion::common::DataFusionError::from)
    }
}

/// The runs of an arrangement, fetched when they are first read.
struct Runs {
    arranged: Arranged,
    fetched: OnceCell<Fetched>,
}

struct Fetched {
    sum: Sum,
    _reserved: MemoryReservation,
}

impl Runs {
    fn new(arranged: Arranged) -> Self {
        Self { arranged, fetched: OnceCell::new() }
    }

    async fn open(&self, env: &Env, pool: &Arc<dyn MemoryPool>) -> Result<&Sum> {
        let fetched = self.fetched.get_or_try_init(async || {
            let reserved = MemoryConsumer::new("runs of the past").register(pool);
            reserved.try_grow(self.arranged.bytes() as usize).map_err(failure)?;
            let fetch = |run: run::Run| async move {
                let bytes = run::fetch(env, &run).await?;
                Ok::<_, weir_storage::Error>((run, bytes))
            };
            let runs = stream::iter(self.arranged.runs.clone()).map(fetch).buffered(AT_ONCE);
            let runs: weir_storage::Result<Vec<_>> = runs.try_collect().await;
            let sum = runs.and_then(|runs| Sum::open(self.arranged.spec.clone(), runs, env.limits)).map_err(failed)?;
            Ok(Fetched { sum, _reserved: reserved })
        });
        fetched.await.map(|fetched| &fetched.sum)
    }

    /// Of an error Z-set.
    async fn first_error(&self, env: &Env, pool: &Arc<dyn MemoryPool>, relation: &str) -> Result<Option<Error>> {
        if self.arranged.runs.is_empty() {
            return Ok(None);
        }
        let sum = self.open(env, pool).await?;
        for piece in sum.pieces() {
            let deltas = sum.rows(&|vnode| piece.contains(&vnode), None).map_err(failed)?;
            if let Some(error) = first_error(deltas.into_iter().map(Ok), relation)? {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }
}

fn failed(error: weir_storage::Error) -> Error {
    Error::new("58030", format!("the past cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_seconds_until_epochs_begin() {
        let number = |n| at(&ScalarValue::Int64(Some(n))).expect("a time");
        assert_eq!(number(1_732_000_000), At::Time(1_732_000_000_000_000));
        assert_eq!(number(-5), At::Time(-5_000_000));
        assert_eq!(number((1 << 40) - 1), At::Time(((1 << 40) - 1) * 1_000_000));
        assert_eq!(number(1 << 40), At::Epoch(Generation(1).start()));
        assert_eq!(at(&ScalarValue::Int64(None)).expect_err("NULL").sqlstate, "22004");
    }

    #[test]
    fn shares_are_all_vnodes_once() {
        for parts in [1, 3, 4, 256] {
            let shares: Vec<_> = (0..parts).map(|part| Vnodes::share(part, parts)).collect();
            assert!((0..VNODES).all(|vnode| shares.iter().filter(|share| share.contains(vnode)).count() == 1));
        }
    }
}
