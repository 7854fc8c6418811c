//! Statements that change the catalog, as jobs beside the loop (ARCHITECTURE.md, *The life of an object*).
//!
//! Objects live creating -> live -> dropping -> gone, each step in a manifest; what changes upstream comes after the step that
//! announces it and is asked again at start until confirmed. One job at a time checks names and changes the catalog; waiting for
//! a copy or a backfill happens outside that lock, so a slow view does not hold up other statements.

use super::message::{Mailbox, Message, Once};
use super::request::Done;
use crate::catalog::secret::Keeper;
use crate::catalog::{Body, Catalog, Life, Object, Shared, SourceBody, TableBody, ViewBody};
use crate::connector::buffer::Buffers;
use crate::connector::{self, Connectors, Definition, Identity, Source, Start, Subscription, Unstarted, Wanted};
use futures::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, oneshot, watch};
use weir_sql::catalog::RelationId;
use weir_sql::planner::Planned;
use weir_sql::session::Settings;
use weir_sql::session::shared::Sessions;
use weir_sql::statement::{ObjectKind, Options, SourceChange, Statement};
use weir_sql::types::Column;
use weir_sql::{Error, Result};
use weir_storage::Env;
use weir_storage::identity::StoreId;

/// What jobs need. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    pub env: Env,
    pub store: StoreId,
    /// Where the store is: sources of other places are not ours to run.
    pub place: String,
    pub keeper: Keeper,
    pub connectors: Connectors,
    pub mailbox: Mailbox,
    pub catalog: watch::Receiver<Arc<Catalog>>,
    pub sessions: Sessions,
    pub wake: Arc<Notify>,
    pub spill: PathBuf,
    /// What sources may hold before they stop reading.
    pub buffers: Arc<Buffers>,
    /// Held while names are checked and the catalog is changed.
    pub turn: Arc<Mutex<()>>,
}

impl Jobs {
    pub fn spawn(
        &self,
        statement: Statement,
        text: String,
        settings: Settings,
        mut reply: oneshot::Sender<Result<Done>>,
    ) {
        let jobs = self.clone();
        tokio::spawn(async move {
            let work = AssertUnwindSafe(jobs.run(statement, text, settings, &mut reply)).catch_unwind();
            // What it has announced continues at the next start.
            let panicked = |_| Err(Error::internal("the statement failed unexpectedly; the server's log says more"));
            let result = work.await.unwrap_or_else(panicked);
            let _ = reply.send(result);
        });
    }

    async fn run(
        &self,
        statement: Statement,
        text: String,
        settings: Settings,
        reply: &mut oneshot::Sender<Result<Done>>,
    ) -> Result<Done> {
        let notices = match statement {
            Statement::CreateSource { name, if_not_exists, options } => match self.exists(&name, if_not_exists)? {
                Some(notice) => vec![notice],
                None => self.create_source(name, options).await?,
            },
            Statement::CreateTable { name, if_not_exists, columns, key } => match self.exists(&name, if_not_exists)? {
                Some(notice) => vec![notice],
                None => self.create_table(name, columns, key, text).await?,
            },
            Statement::CreateTableFrom { name, if_not_exists, columns, options, source, upstream } => {
                match self.exists(&name, if_not_exists)? {
                    Some(notice) => vec![notice],
                    None => {
                        refuse_options(&options)?;
                        self.create_table_from(name, columns, source, upstream, text, reply).await?
                    }
                }
            }
            Statement::CreateMaterializedView { name, if_not_exists, columns, query } => {
                match self.exists(&name, if_not_exists)? {
                    Some(notice) => vec![notice],
                    None => self.create_view(name, columns, *query, text, settings, reply).await?,
                }
            }
            Statement::AlterSource { name, if_exists, change } => match self.source(&name, if_exists)? {
                Ok(id) if change == SourceChange::Resnapshot => self.resnapshot(id).await?,
                Ok(id) => self.alter_source(id, change).await?,
                Err(notice) => vec![notice],
            },
            Statement::RefreshMaterializedView { name } => self.refresh(&name, reply).await?,
            Statement::Drop { kind, names, if_exists, cascade } => {
                self.drop_objects(kind, names, if_exists, cascade).await?
            }
            other => return Err(Error::internal(format!("not a statement that changes the catalog: {other:?}"))),
        };
        Ok(Done { notices, ..Done::default() })
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    /// A notice if the name is taken and that is fine.
    fn exists(&self, name: &str, fine: bool) -> Result<Option<String>> {
        match self.catalog().by_name(name) {
            None => Ok(None),
            Some(_) if fine => Ok(Some(format!("relation \"{name}\" already exists, skipping"))),
            Some(_) => Err(Error::new("42P07", format!("relation \"{name}\" already exists"))),
        }
    }

    /// Adds an object if its name is free and it is `allowed`. Nothing else is announced, be it to come or to go, between the check and
    /// this one. What is going to be made outside of the store has to be durable first; of the rest a crash may leave nothing, and one
    /// checkpoint says that it has come and that it is there.
    async fn announce(
        &self,
        once: Once,
        allowed: impl FnOnce() -> Result<()>,
        make: impl FnOnce(&mut Catalog) -> Object + Send + 'static,
        name: &str,
    ) -> Result<u32> {
        let _turn = self.turn.lock().await;
        self.exists(name, false)?;
        allowed()?;
        let (tell, id) = oneshot::channel();
        self.mailbox
            .change(once, move |catalog| {
                let object = make(catalog);
                let _ = tell.send(object.id);
                catalog.objects.insert(object.id, object.into());
            })
            .await?;
        id.await.map_err(|_| Error::internal("an object without an id"))
    }

    async fn create_source(&self, name: String, mut options: Options) -> Result<Vec<String>> {
        let kind = options.remove("connector").ok_or_else(|| {
            Error::new("22023", "option \"connector\" is missing")
                .hint("For example: WITH (connector = 'postgres-cdc', …).")
        })?;
        let connector = self.connectors.find(&kind)?;
        let identity = self.identity(None);
        let details = serde_json::Value::Null;
        let unnamed = Definition { id: 0, name: name.clone(), identity, options: options.clone(), details };
        // The id is part of default names upstream, so the source is announced before it is checked in full; a check that fails
        // takes the announcement back before anything was made upstream.
        let (shown, secrets) = self.split_secrets(connector, options);
        let definition = source_definition(&name, &kind, &shown, connector.secrets());
        let (now, body) = (
            self.env.clock.now(),
            SourceBody {
                connector: kind,
                options: shown,
                secrets,
                details: serde_json::Value::Null,
                paused: false,
                identity,
                place: Some(self.place.clone()),
            },
        );
        let object_name = name.clone();
        let make = move |catalog: &mut Catalog| {
            let id = catalog.next_object();
            Object {
                id,
                name: object_name,
                life: Life::Creating,
                definition,
                created_at: now,
                body: Body::Source(body),
            }
        };
        let id = self.announce(Once::Durable, || self.unclaimed(connector, &unnamed), make, &name).await?;
        let mut source = Definition { id, ..unnamed };
        match self.make_upstream(connector, &mut source).await {
            Ok(notices) => Ok(notices),
            Err(error) => {
                if !source.details.is_null() {
                    connector.drop(&source).await;
                }
                self.remove(id).await?;
                Err(error)
            }
        }
    }

    /// For a source that is made here, or that takes the place of one that spoke as `before`.
    fn identity(&self, before: Option<Identity>) -> Identity {
        let before = before.map(|before| before.token);
        // Zero is taken.
        Identity { store: self.store.0, token: self.env.random.next().max(1), before }
    }

    /// The server itself cannot tell while the other source is not connected.
    fn unclaimed(&self, connector: &'static dyn connector::Connector, source: &Definition) -> Result<()> {
        let claim = connector.claim(source)?;
        for object in self.catalog().objects.values().filter(|o| matches!(o.body, Body::Source(_))) {
            // What cannot be read of another source is no reason against this one.
            let Ok((other, definition)) = self.described(object) else { continue };
            if other.name() == connector.name() && other.claim(&definition).is_ok_and(|other| other == claim) {
                return Err(Error::new("55006", format!("{claim} is in use by source \"{}\"", object.name)).hint(
                    "Tables of one source can be as many as you like; for a second source choose another slot.name.",
                ));
            }
        }
        Ok(())
    }

    /// Checks, announces what is going to be made upstream, makes it, starts the source.
    async fn make_upstream(
        &self,
        connector: &'static dyn connector::Connector,
        source: &mut Definition,
    ) -> Result<Vec<String>> {
        let id = source.id;
        let details = connector.check(source).await?;
        source.details = details.clone();
        self.edit_source(id, move |body| body.details = details).await?;
        let created = connector.create(source).await?;
        source.details = created.details.clone();
        self.mailbox.tell(Message::Position { id, position: created.position.clone() });
        self.mailbox
            .edit(move |catalog| {
                if let Some(object) = catalog.objects.get_mut(&id) {
                    object.life = Life::Live;
                    if let Body::Source(body) = &mut object.body {
                        body.details = created.details;
                    }
                }
            })
            .await?;
        self.attach(connector, source, created.position, vec![]).await?;
        Ok(created.notices)
    }

    /// The id of a source that is there in full; a notice if it is missing and that is fine.
    fn source(&self, name: &str, fine: bool) -> Result<std::result::Result<u32, String>> {
        let catalog = self.catalog();
        let Some(object) = catalog.by_name(name) else {
            return match fine {
                true => Ok(Err(format!("source \"{name}\" does not exist, skipping"))),
                false => Err(Error::new("42704", format!("source \"{name}\" does not exist"))),
            };
        };
        match (&object.body, object.life) {
            (Body::Source(_), Life::Live) => Ok(Ok(object.id)),
            (Body::Source(_), _) => Err(Error::new("55000", format!("source \"{name}\" is not ready"))),
            _ => Err(Error::new("42809", format!("\"{name}\" is not a source"))),
        }
    }

    /// Pausing and resuming take turns with each other and with whatever else names objects.
    async fn alter_source(&self, id: u32, change: SourceChange) -> Result<Vec<String>> {
        let _turn = self.turn.lock().await;
        let catalog = self.catalog();
        let object = catalog.get(id).ok_or_else(|| Error::new("42704", "the source was dropped meanwhile"))?;
        let Body::Source(body) = &object.body else { return Err(Error::internal("a source of another kind")) };
        if let Some(error) = catalog.unread(id) {
            return Err(error);
        }
        if change == SourceChange::Resume && !body.is_at(&self.place) {
            return self.take_over(object).await;
        }
        match (change, body.paused) {
            (SourceChange::Resnapshot, _) => Err(Error::internal("a copy is no change of state")),
            (SourceChange::Pause, true) => Ok(vec![format!("source \"{}\" is paused already", object.name)]),
            (SourceChange::Resume, false) => Ok(vec![format!("source \"{}\" is not paused", object.name)]),
            (SourceChange::Pause, false) => {
                if let Some(running) = self.mailbox.ask(|reply| Message::Pause { id, reply }).await? {
                    running.stop().await;
                }
                self.edit_source(id, |body| body.paused = true).await?;
                Ok(vec![])
            }
            (SourceChange::Resume, true) => {
                self.edit_source(id, |body| body.paused = false).await?;
                self.go_on(id).await?;
                Ok(vec![])
            }
        }
    }

    /// From where it stands.
    async fn go_on(&self, id: u32) -> Result<()> {
        let catalog = self.catalog();
        let object = catalog.get(id).ok_or_else(|| Error::new("42704", "the source was dropped meanwhile"))?;
        let position = self.mailbox.ask(|reply| Message::PositionOf { id, reply }).await?;
        let position = position.ok_or_else(|| Error::internal("a source without a position"))?;
        self.read_on(&catalog, object, position).await
    }

    /// Makes a source with its tables read on from `position`. One that cannot be started is there all the same: it stands where it is,
    /// says why, and is nobody else's trouble (I12).
    async fn read_on(&self, catalog: &Catalog, object: &Object, position: connector::Position) -> Result<()> {
        let start = async {
            let (connector, definition) = self.definition(object)?;
            self.attach(connector, &definition, position.clone(), subscriptions(catalog, object.id)).await
        };
        let panicked = |_| Err(Error::internal("it failed unexpectedly; the server's log says more"));
        let Err(error) = AssertUnwindSafe(start).catch_unwind().await.unwrap_or_else(panicked) else { return Ok(()) };
        tracing::error!(source = object.name, %error, hint = error.hint, "a source could not be started: its tables stay as they are");
        let source = Arc::new(Unstarted::new(&error));
        self.mailbox.tell(Message::Attach { id: object.id, source, position });
        Err(error)
    }

    /// A source of a store that was opened at another place becomes this one's, by order of whoever names it.
    async fn take_over(&self, object: &Object) -> Result<Vec<String>> {
        let Body::Source(body) = &object.body else { return Err(Error::internal("a source of another kind")) };
        let (identity, place) = (self.identity(Some(body.identity)), self.place.clone());
        self.edit_source(object.id, move |body| {
            (body.identity, body.place, body.paused) = (identity, Some(place), false);
        })
        .await?;
        self.go_on(object.id).await?;
        Ok(vec![format!(
            "source \"{}\" is taken over: the server that has the store at {} does not read it any more",
            object.name,
            body.place.as_deref().unwrap_or("another place")
        )])
    }

    /// Copies every table of a source again; returns when all are replaced. Nothing of it outlives a restart.
    async fn resnapshot(&self, id: u32) -> Result<Vec<String>> {
        let running = self.running(id).await?;
        let mut copied = vec![];
        for Subscription { table, .. } in subscriptions(&self.catalog(), id) {
            let (reply, consistent) = oneshot::channel();
            self.mailbox.tell(Message::Consistent { id: table, reply });
            running.resnapshot(table).await?;
            copied.push(consistent);
        }
        for consistent in copied {
            consistent.await.map_err(|_| Error::new("57P01", "the server is shutting down"))??;
        }
        self.settled().await?;
        Ok(vec![])
    }

    /// A source that reads.
    async fn running(&self, id: u32) -> Result<Arc<dyn Source>> {
        let running = self.mailbox.ask(|reply| Message::Source { id, reply }).await?;
        running.ok_or_else(|| match self.displaced(&self.catalog(), id) {
            Some(reason) => Error::new("55000", reason).hint(REMEDY),
            None => Error::new("55000", "the source is paused").hint("ALTER SOURCE … RESUME makes it read again."),
        })
    }

    /// Why a source rests that was made at another place, if that is so.
    pub fn displaced(&self, catalog: &Catalog, id: u32) -> Option<String> {
        let Body::Source(body) = &catalog.get(id)?.body else { return None };
        let own = body.place.as_ref().filter(|own| **own != self.place)?;
        Some(format!(
            "this store was opened at another place ({}) than the one where it reads this source ({own}): it may be a copy or a \
             restored backup, so nothing upstream is touched",
            self.place
        ))
    }

    async fn edit_source(&self, id: u32, edit: impl FnOnce(&mut SourceBody) + Send + 'static) -> Result<()> {
        let edit = move |catalog: &mut Catalog| {
            if let Some(Body::Source(body)) = catalog.objects.get_mut(&id).map(|o| &mut o.body) {
                edit(body);
            }
        };
        self.mailbox.edit(edit).await
    }

    async fn attach(
        &self,
        connector: &'static dyn connector::Connector,
        source: &Definition,
        position: connector::Position,
        tables: Vec<Subscription>,
    ) -> Result<Arc<dyn Source>> {
        let spill = self.spill.join(source.id.to_string());
        std::fs::create_dir_all(&spill)
            .map_err(|e| Error::new("58030", format!("spill directory \"{}\" cannot be made: {e}", spill.display())))?;
        let (env, wake, buffer) = (self.env.clone(), self.wake.clone(), self.buffers.part());
        let start = Start { env, position: position.clone(), tables, wake, buffer, spill };
        let running = connector.start(source, start).await?;
        self.mailbox.tell(Message::Attach { id: source.id, source: running.clone(), position });
        Ok(running)
    }

    fn split_secrets(
        &self,
        connector: &'static dyn connector::Connector,
        options: Options,
    ) -> (Options, BTreeMap<String, String>) {
        let (secret, shown): (Options, Options) =
            options.into_iter().partition(|(name, _)| connector.secrets().contains(&name.as_str()));
        let sealed = secret.into_iter().map(|(name, value)| (name, self.keeper.seal(&self.env, &value))).collect();
        (shown, sealed)
    }

    /// A source of the catalog with its secrets in clear.
    fn definition(&self, object: &Object) -> Result<(&'static dyn connector::Connector, Definition)> {
        let (connector, mut definition) = self.described(object)?;
        if let Body::Source(body) = &object.body {
            for (name, sealed) in &body.secrets {
                definition.options.insert(name.clone(), self.keeper.open_secret(sealed)?);
            }
        }
        Ok((connector, definition))
    }

    /// A source of the catalog without its secrets.
    fn described(&self, object: &Object) -> Result<(&'static dyn connector::Connector, Definition)> {
        let Body::Source(body) = &object.body else {
            return Err(Error::new("42809", format!("\"{}\" is not a source", object.name)));
        };
        if let Some(error) = self.catalog().unread(object.id) {
            return Err(error);
        }
        let definition = Definition {
            id: object.id,
            name: object.name.clone(),
            identity: body.identity,
            options: body.options.clone(),
            details: body.details.clone(),
        };
        Ok((self.connectors.find(&body.connector)?, definition))
    }

    async fn create_table(
        &self,
        name: String,
        columns: Vec<Column>,
        key: Vec<usize>,
        text: String,
    ) -> Result<Vec<String>> {
        let key = (!key.is_empty()).then_some(key);
        let (now, object_name) = (self.env.clock.now(), name.clone());
        let make = move |catalog: &mut Catalog| {
            let id = catalog.next_object();
            let arrangements = vec![catalog.next_arrangement(), catalog.next_arrangement()];
            let body = Body::Table(TableBody { columns, key, arrangements, upstream: None, stopped: None });
            Object { id, name: object_name, life: Life::Creating, definition: text, created_at: now, body }
        };
        let id = RelationId(self.announce(Once::Known, || Ok(()), make, &name).await?);
        let build = async {
            let epoch = self.mailbox.ask(|reply| Message::Build { id, reply }).await??;
            self.mailbox.ask(|reply| Message::Reached { id, epoch, reply }).await??;
            self.mailbox.tell(Message::Live { id });
            self.settled().await
        };
        if let Err(error) = build.await {
            self.drop_all(|catalog| Ok(with_dependants(catalog, &[id.0]))).await?;
            return Err(error);
        }
        Ok(vec![])
    }

    /// Everything told to the loop so far is in a manifest.
    async fn settled(&self) -> Result<()> {
        self.mailbox.edit(|_| {}).await
    }

    async fn create_table_from(
        &self,
        name: String,
        columns: Option<(Vec<Column>, Vec<usize>)>,
        source: String,
        upstream: String,
        text: String,
        reply: &mut oneshot::Sender<Result<Done>>,
    ) -> Result<Vec<String>> {
        let catalog = self.catalog();
        let object = catalog
            .by_name(&source)
            .ok_or_else(|| Error::new("42704", format!("source \"{source}\" does not exist")))?;
        self.are_live(&[object.id])?;
        let (connector, definition) = self.definition(object)?;
        let source = object.id;
        let wanted = Wanted { table: RelationId(0), upstream, columns };
        let found = connector.discover(&definition, &wanted).await?;
        let (now, object_name, mut subscription) = (self.env.clock.now(), name.clone(), found.subscription);
        let make = move |catalog: &mut Catalog| {
            let id = catalog.next_object();
            subscription.table = RelationId(id);
            let arrangements = vec![catalog.next_arrangement(), catalog.next_arrangement()];
            let (columns, key) = (subscription.columns.clone(), subscription.key.clone());
            let upstream = Some((source, subscription));
            let body = Body::Table(TableBody { columns, key, arrangements, upstream, stopped: None });
            Object { id, name: object_name, life: Life::Creating, definition: text, created_at: now, body }
        };
        let id = self.announce(Once::Durable, || self.are_live(&[source]), make, &name).await?;
        let follow = async {
            self.mailbox.ask(|reply| Message::Build { id: RelationId(id), reply }).await??;
            self.subscribe(source, id).await
        };
        self.finish_or_drop(id, &name, follow, reply).await?;
        Ok(found.notices)
    }

    /// The table's copy, until it is readable.
    async fn subscribe(&self, source: u32, id: u32) -> Result<()> {
        let running = self.running(source).await?;
        let catalog = self.catalog();
        let Some(Body::Table(TableBody { upstream: Some((_, subscription)), .. })) = catalog.get(id).map(|o| &o.body)
        else {
            return Err(Error::internal("the table is gone from the catalog"));
        };
        let (reply, consistent) = oneshot::channel();
        self.mailbox.tell(Message::Consistent { id: RelationId(id), reply });
        running.subscribe(subscription.clone()).await?;
        consistent.await.map_err(|_| Error::new("57P01", "the server is shutting down"))??;
        self.settled().await
    }

    async fn create_view(
        &self,
        name: String,
        names: Vec<String>,
        query: datafusion::sql::sqlparser::ast::Query,
        text: String,
        settings: Settings,
        reply: &mut oneshot::Sender<Result<Done>>,
    ) -> Result<Vec<String>> {
        let planned = self.planned(query, names, settings.clone()).await?;
        if reply.is_closed() {
            return Err(Error::new("57014", "canceling statement due to user request"));
        }
        let parents: Vec<u32> = planned.plan.root.relations().into_iter().map(|relation| relation.0).collect();
        self.are_live(&parents)?;
        let (now, object_name, notices) = (self.env.clock.now(), name.clone(), planned.notices);
        let (columns, plan) = (planned.columns, planned.plan);
        let count = crate::dataflow::blueprint::Body::View(plan.clone()).specs().iter().count();
        let make = move |catalog: &mut Catalog| {
            let id = catalog.next_object();
            let arrangements = (0..count).map(|_| catalog.next_arrangement()).collect();
            let body = Body::View(ViewBody { columns, plan, settings, arrangements, suspended: false, filled: vec![] });
            Object { id, name: object_name, life: Life::Creating, definition: text, created_at: now, body }
        };
        let id = self.announce(Once::Known, || self.are_live(&parents), make, &name).await?;
        self.finish_or_drop(id, &name, self.backfill(id), reply).await?;
        Ok(notices)
    }

    /// Planned where nobody else waits for it, and known to be read by a start as it is written.
    async fn planned(
        &self,
        query: datafusion::sql::sqlparser::ast::Query,
        names: Vec<String>,
        settings: Settings,
    ) -> Result<Planned> {
        let (catalog, sessions) = (self.catalog(), self.sessions.clone());
        let plan = move || {
            let planned = weir_sql::planner::plan(&query, &names, &*catalog, &sessions.of(&settings))?;
            let (columns, plan) = (planned.columns.clone(), planned.plan.clone());
            ViewBody { columns, plan, settings, arrangements: vec![], suspended: false, filled: vec![] }.read_back()?;
            Ok(planned)
        };
        self.env.compute(plan).await.map_err(|_| {
            Error::internal("the statement failed unexpectedly while it was planned; the server's log says more")
        })?
    }

    /// Builds a view, or continues with it, and waits until it is live.
    pub async fn backfill(&self, id: u32) -> Result<()> {
        let id = RelationId(id);
        self.mailbox.ask(|reply| Message::Build { id, reply }).await??;
        self.mailbox.ask(|reply| Message::Consistent { id, reply }).await??;
        self.settled().await
    }

    /// Builds a view anew from its parents, and with it those that read it; they are what they were until they are there again.
    async fn refresh(&self, name: &str, reply: &mut oneshot::Sender<Result<Done>>) -> Result<Vec<String>> {
        let id = {
            let _turn = self.turn.lock().await;
            let catalog = self.catalog();
            let object = catalog.by_name(name).ok_or_else(|| Error::undefined_relation(name))?;
            if !is_kind(object, ObjectKind::MaterializedView) {
                return Err(Error::new("42809", format!("\"{name}\" is not a materialized view")));
            }
            if let Some(error) = catalog.unread(object.id) {
                return Err(error);
            }
            self.are_live(&[object.id])?;
            RelationId(object.id)
        };
        let statement = format!("REFRESH MATERIALIZED VIEW {name}");
        self.mailbox.tell(Message::Began { id: id.0, statement });
        let work = async {
            self.mailbox.ask(|reply| Message::Refresh { id, reply }).await??;
            self.mailbox.ask(|reply| Message::Consistent { id, reply }).await??;
            self.settled().await
        };
        let refreshed = tokio::select! {
            biased;
            refreshed = work => refreshed,
            // What has begun continues.
            () = reply.closed() => Err(Error::new("57014", "canceling statement due to user request")),
        };
        self.mailbox.tell(Message::Ended { id: id.0 });
        refreshed.map(|()| vec![])
    }

    /// What something is to be made of is there in full, and is not going.
    fn are_live(&self, ids: &[u32]) -> Result<()> {
        let catalog = self.catalog();
        for id in ids {
            let object = catalog.get(*id).ok_or_else(|| Error::undefined_relation(&id.to_string()))?;
            let state = match object.life {
                Life::Live => continue,
                Life::Creating => "is not readable yet",
                Life::Dropping => "is being dropped",
            };
            return Err(Error::new("55000", format!("{} \"{}\" {state}", object.kind(), object.name)));
        }
        Ok(())
    }

    /// Waits for `work`; a client that goes away (Ctrl-C) or a failure drops the half-made relation.
    async fn finish_or_drop(
        &self,
        id: u32,
        name: &str,
        work: impl Future<Output = Result<()>>,
        reply: &mut oneshot::Sender<Result<Done>>,
    ) -> Result<()> {
        let statement = self.catalog().get(id).map(|o| o.definition.clone()).unwrap_or_default();
        self.mailbox.tell(Message::Began { id, statement });
        let result = tokio::select! {
            biased;
            result = work => result,
            () = reply.closed() => Err(Error::new("57014", format!("canceling statement due to user request; \"{name}\" was dropped"))),
        };
        self.mailbox.tell(Message::Ended { id });
        if result.is_err() {
            // Something may have been made of it meanwhile: what became of it does not depend on who asked.
            self.drop_all(|catalog| Ok(with_dependants(catalog, &[id]))).await?;
        }
        result
    }

    async fn drop_objects(
        &self,
        kind: ObjectKind,
        names: Vec<String>,
        if_exists: bool,
        cascade: bool,
    ) -> Result<Vec<String>> {
        let mut notices = vec![];
        let dropped = self.drop_all(|catalog| doomed(catalog, kind, names, if_exists, cascade, &mut notices)).await?;
        notices.extend(dropped);
        Ok(notices)
    }

    /// Drops what `choose` says, dependants first (descending ids): announced, then taken back upstream, then gone. Nothing else is
    /// announced between the choice and this.
    async fn drop_all(&self, choose: impl FnOnce(&Catalog) -> Result<Vec<u32>>) -> Result<Vec<String>> {
        let mut ids;
        {
            let _turn = self.turn.lock().await;
            ids = choose(&self.catalog())?;
            ids.sort_unstable_by(|a, b| b.cmp(a));
            let announced = ids.clone();
            self.mailbox
                .edit(move |catalog| {
                    for id in announced {
                        if let Some(object) = catalog.objects.get_mut(&id) {
                            object.life = Life::Dropping;
                        }
                    }
                })
                .await?;
        }
        self.take_apart(ids).await
    }

    /// What has been announced to go, dependants first.
    async fn take_apart(&self, ids: Vec<u32>) -> Result<Vec<String>> {
        let mut notices = vec![];
        for id in ids {
            let catalog = self.catalog();
            let Some(object) = catalog.get(id) else { continue };
            match &object.body {
                Body::Source(_) => notices.extend(self.drop_upstream(object).await),
                Body::Table(table) => {
                    if let Some((source, _)) = &table.upstream
                        && let Some(running) = self.mailbox.ask(|reply| Message::Source { id: *source, reply }).await?
                    {
                        running.unsubscribe(RelationId(id)).await;
                    }
                    self.mailbox.tell(Message::Discard { id: RelationId(id) });
                }
                Body::View(_) => self.mailbox.tell(Message::Discard { id: RelationId(id) }),
            }
            self.mailbox.change(Once::Known, move |catalog| drop(catalog.objects.remove(&id))).await?;
        }
        // What a crash brings back of it has been announced to go.
        self.settled().await?;
        Ok(notices)
    }

    async fn drop_upstream(&self, object: &Object) -> Vec<String> {
        let id = object.id;
        if let Ok(Some(running)) = self.mailbox.ask(|reply| Message::Detach { id, reply }).await {
            running.stop().await;
        }
        if self.displaced(&self.catalog(), id).is_some() {
            return vec![format!(
                "what source \"{}\" has upstream was left there: it belongs to this store at another place",
                object.name
            )];
        }
        match self.definition(object) {
            Ok((connector, definition)) if !definition.details.is_null() => connector.drop(&definition).await,
            Ok(_) => vec![],
            Err(error) => vec![format!("what the source made upstream was not dropped: {}", error.message)],
        }
    }

    async fn remove(&self, id: u32) -> Result<()> {
        self.mailbox.edit(move |catalog| drop(catalog.objects.remove(&id))).await
    }

    /// What a start finds half done continues in the background.
    pub fn resume(&self, catalog: &Catalog) {
        // What a source has made upstream would stay there for ever: it is announced until a start can read where.
        let is_known = |object: &&Shared| {
            let unknown = matches!(object.body, Body::Source(_)).then(|| self.definition(object).err()).flatten();
            if let Some(error) = &unknown {
                tracing::error!(source = object.name, %error, hint = error.hint, "a source cannot be dropped yet");
            }
            unknown.is_none()
        };
        let dropping = catalog.objects.values().rev().filter(|o| o.life == Life::Dropping).filter(is_known);
        let dropping: Vec<u32> = dropping.map(|o| o.id).collect();
        let creating: Vec<Shared> = catalog.objects.values().filter(|o| o.life == Life::Creating).cloned().collect();
        let jobs = self.clone();
        tokio::spawn(async move {
            for object in creating {
                let (id, statement) = (object.id, object.definition.clone());
                jobs.mailbox.tell(Message::Began { id, statement });
                let resumed = jobs.resume_creating(&object).await;
                jobs.mailbox.tell(Message::Ended { id });
                if let Err(error) = resumed {
                    tracing::warn!(object = object.name, %error, "a half-made object could not be finished and was dropped");
                    let _ = jobs.drop_all(|catalog| Ok(with_dependants(catalog, &[object.id]))).await;
                }
            }
            if !dropping.is_empty() {
                let notices = jobs.take_apart(dropping).await.unwrap_or_default();
                notices.iter().for_each(|notice| tracing::warn!(notice, "while dropping"));
            }
        });
    }

    async fn resume_creating(&self, object: &Object) -> Result<()> {
        let id = object.id;
        match &object.body {
            Body::Source(_) if self.displaced(&self.catalog(), id).is_some() => {
                Err(Error::new("55000", "it was being made by this store at another place"))
            }
            Body::Source(_) => match self.definition(object) {
                Ok((connector, mut source)) => self.make_upstream(connector, &mut source).await.map(drop),
                // What it may have made upstream could not be taken back either: it stays announced, until a start can read it or a DROP.
                Err(error) => {
                    tracing::error!(source = object.name, %error, hint = error.hint, "a half-made source cannot be finished");
                    Ok(())
                }
            },
            // It stays as it is announced, also if it is what it reads that cannot be read.
            _ if depends_on_unread(&self.catalog(), id) => Ok(()),
            Body::View(_) => self.backfill(id).await,
            Body::Table(TableBody { upstream: None, .. }) => {
                self.mailbox.tell(Message::Live { id: RelationId(id) });
                Ok(())
            }
            // All there but for this last step.
            Body::Table(TableBody { upstream: Some((_, subscription)), .. }) if subscription.copied => {
                self.mailbox.tell(Message::Live { id: RelationId(id) });
                Ok(())
            }
            // Its source was started with the table among its subscriptions: the copy continues from nothing by itself.
            Body::Table(_) => Ok(()),
        }
    }

    /// Starts the live sources with their tables.
    pub async fn start_sources(&self, catalog: &Catalog, positions: &BTreeMap<u32, serde_json::Value>) {
        let runs = |object: &&Shared| {
            object.life == Life::Live && matches!(&object.body, Body::Source(source) if !source.paused)
        };
        for object in catalog.objects.values().filter(runs) {
            if let Some(reason) = self.displaced(catalog, object.id) {
                tracing::warn!(source = object.name, reason, remedy = REMEDY, "source rests");
                continue;
            }
            let Some(position) = positions.get(&object.id) else { continue };
            // One that cannot be started says so itself, and keeps nobody else from it.
            let _ = self.read_on(catalog, object, connector::Position(position.clone())).await;
        }
    }
}

/// For sources of a store that was opened at another place.
pub const REMEDY: &str =
    "To read it from here, stop the server at the other place, and run ALTER SOURCE … RESUME: that takes it over.";

/// What the tables of a source subscribe to.
fn subscriptions(catalog: &Catalog, source: u32) -> Vec<Subscription> {
    let there = catalog.objects.values().filter(|object| object.life != Life::Dropping && object.unread().is_none());
    there.filter_map(|object| subscription(object, source)).collect()
}

fn subscription(object: &Object, source: u32) -> Option<Subscription> {
    let Body::Table(TableBody { upstream: Some((of, subscription)), .. }) = &object.body else { return None };
    (*of == source).then(|| subscription.clone())
}

fn refuse_options(options: &Options) -> Result<()> {
    if options.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = options.keys().map(|name| format!("\"{name}\"")).collect();
    Err(Error::new("22023", format!("unknown option of CREATE TABLE … FROM: {}", names.join(", "))))
}

fn is_kind(object: &Object, kind: ObjectKind) -> bool {
    kind_name(kind) == object.kind()
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "table",
        ObjectKind::Source => "source",
        ObjectKind::MaterializedView => "materialized view",
    }
}

fn dependency(object: &Object) -> String {
    format!("{} {} depends on it", object.kind(), object.name)
}

/// What a DROP takes away: the objects named and, with CASCADE, everything that depends on them.
fn doomed(
    catalog: &Catalog,
    kind: ObjectKind,
    names: Vec<String>,
    if_exists: bool,
    cascade: bool,
    notices: &mut Vec<String>,
) -> Result<Vec<u32>> {
    let mut ids = vec![];
    for name in names {
        match catalog.by_name(&name) {
            Some(object) if is_kind(object, kind) => ids.push(object.id),
            Some(object) => {
                let hint = format!("Use DROP {} to remove a {}.", object.kind().to_uppercase(), object.kind());
                return Err(Error::new("42809", format!("\"{name}\" is not a {}", kind_name(kind))).hint(hint));
            }
            None if if_exists => notices.push(format!("{} \"{name}\" does not exist, skipping", kind_name(kind))),
            None => {
                let state = if kind == ObjectKind::Source { "42704" } else { "42P01" };
                return Err(Error::new(state, format!("{} \"{name}\" does not exist", kind_name(kind))));
            }
        }
    }
    let all = with_dependants(catalog, &ids);
    if all.len() > ids.len() && !cascade {
        let detail: Vec<String> =
            all.iter().filter(|id| !ids.contains(id)).filter_map(|id| catalog.get(*id)).map(dependency).collect();
        let name = ids.first().and_then(|id| catalog.get(*id)).map_or("", |o| &o.name);
        return Err(Error::new(
            "2BP01",
            format!("cannot drop {} {name} because other objects depend on it", kind_name(kind)),
        )
        .detail(detail.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    Ok(all)
}

/// Whether the record of an object, or of something that it reads, cannot be read.
fn depends_on_unread(catalog: &Catalog, id: u32) -> bool {
    let unread: Vec<u32> = catalog.objects.values().filter(|o| o.unread().is_some()).map(|o| o.id).collect();
    with_dependants(catalog, &unread).contains(&id)
}

/// `ids` and everything that depends on them, directly or not.
fn with_dependants(catalog: &Catalog, ids: &[u32]) -> Vec<u32> {
    let mut all = ids.to_vec();
    let mut known: BTreeSet<u32> = ids.iter().copied().collect();
    // Ids ascend from parents to children.
    for object in catalog.objects.values() {
        if object.reads().iter().any(|id| known.contains(id)) && known.insert(object.id) {
            all.push(object.id);
        }
    }
    all
}

/// The statement for SHOW CREATE SOURCE: secrets are not in it.
fn source_definition(name: &str, connector: &str, shown: &Options, secrets: &[&str]) -> String {
    let quote = |value: &str| format!("'{}'", value.replace('\'', "''"));
    let mut options = vec![format!("connector = {}", quote(connector))];
    options.extend(shown.iter().map(|(name, value)| format!("{name} = {}", quote(value))));
    options.extend(secrets.iter().map(|name| format!("{name} = '[REDACTED]'")));
    format!("CREATE SOURCE {name} WITH ({})", options.join(", "))
}
