//! An upstream and a Weir that can read it.

use super::{Client, Postgres, Rows, Weir, same};

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
        let (postgres, weir) = tokio::join!(Postgres::start(settings), Weir::start());
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
