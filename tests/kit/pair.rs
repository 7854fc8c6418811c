//! An upstream and a Weir that can read it.

use super::{Client, Postgres, Rows, Version, Weir, eventually, same};

pub struct Pair {
    pub postgres: Postgres,
    pub weir: Weir,
    /// To Postgres.
    pub up: Client,
    /// To Weir.
    pub sql: Client,
}

impl Pair {
    /// Both on new stores; no source yet.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With settings of Postgres.
    pub async fn with(settings: &[&str]) -> Self {
        Self::of(Version::Installed, settings).await
    }

    /// With flags of `weir serve`.
    pub async fn flagged(flags: &[&str]) -> Self {
        Self::made(Version::Installed, &[], flags).await
    }

    /// With a Weir run by another program.
    pub async fn run_by(runner: Vec<String>, store: &str, flags: &[&str]) -> Self {
        let (postgres, weir) = tokio::join!(Postgres::start(&[]), Weir::run_by(runner, store, flags));
        Self::joined(postgres, weir).await
    }

    pub async fn of(version: Version, settings: &[&str]) -> Self {
        Self::made(version, settings, &[]).await
    }

    async fn made(version: Version, settings: &[&str], flags: &[&str]) -> Self {
        let (postgres, weir) = tokio::join!(Postgres::of(version, settings), Weir::with(flags));
        Self::joined(postgres, weir).await
    }

    async fn joined(postgres: Postgres, weir: Weir) -> Self {
        let (up, sql) = (postgres.client().await, weir.client().await);
        Self { postgres, weir, up, sql }
    }

    /// Runs `tables` upstream, then makes source `src` and one CDC table for each of `names`.
    pub async fn follow(&self, tables: &str, names: &[&str]) {
        self.up.run(tables).await;
        self.source("").await;
        for name in names {
            self.table(name).await;
        }
    }

    /// CREATE SOURCE src with further options, as written.
    pub async fn source(&self, extra: &str) {
        self.sql.run(&format!("CREATE SOURCE src WITH ({})", self.postgres.options("weir_src", extra))).await;
    }

    pub async fn table(&self, name: &str) {
        self.sql.run(&format!("CREATE TABLE {name} (*) FROM src TABLE 'public.{name}'")).await;
    }

    /// Waits until the query gives the same on both.
    pub async fn same(&self, sql: &str) -> Rows {
        same(&self.sql, &self.up, sql).await
    }

    /// Waits until upstream is told that it may forget all that it has committed so far: a checkpoint covers it.
    pub async fn acknowledged(&self) {
        let end = self.up.one("SELECT pg_current_wal_lsn()").await;
        let slot = |what: &str| format!("SELECT {what} FROM pg_replication_slots WHERE slot_name = 'weir_src'");
        eventually("everything is acknowledged", async || {
            match self.up.one(&slot(&format!("confirmed_flush_lsn >= '{end}'"))).await.as_str() {
                "t" => Ok(()),
                _ => Err(self.up.one(&slot("confirmed_flush_lsn")).await),
            }
        })
        .await;
    }

    /// State and last error of the source, once it has stopped.
    pub async fn stopped(&self) -> (String, String) {
        eventually("the source stops in a named state", async || {
            let rows = self.sql.rows("SELECT state, last_error FROM rw_catalog.rw_sources WHERE name = 'src'").await?;
            let text = |at: usize| rows[0][at].clone().unwrap_or_default();
            match text(0).as_str() {
                "running" | "copying" | "connecting" | "retrying" => Err(format!("{rows:?}")),
                _ => Ok((text(0), text(1))),
            }
        })
        .await
    }

    /// kill -9 and a new start.
    pub async fn crash(&mut self) {
        self.weir.kill();
        self.revive().await;
    }

    /// Starts a Weir that was killed or stopped.
    pub async fn revive(&mut self) {
        self.weir.restart().await;
        self.sql = self.weir.client().await;
    }
}
