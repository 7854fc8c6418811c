//! A connection that keeps what the server said beside its answers, to Weir and to Postgres alike.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Config, NoTls, SimpleQueryMessage};

/// How long a statement may take in a test. One that is never answered fails by its text, and does not keep the whole run waiting.
const ANSWERED_WITHIN: Duration = Duration::from_secs(300);

/// Rows as text, NULL as `None`.
pub type Rows = Vec<Vec<Option<String>>>;

pub struct Client {
    inner: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<DbError>>>,
}

impl std::ops::Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl Client {
    pub async fn connect(config: &Config) -> Result<Self, tokio_postgres::Error> {
        let (inner, mut connection) = config.connect(NoTls).await?;
        let notices = Arc::new(Mutex::new(vec![]));
        let heard = notices.clone();
        tokio::spawn(std::future::poll_fn(move |cx| {
            loop {
                match connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => heard.lock().unwrap().push(notice),
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }));
        Ok(Self { inner, notices })
    }

    async fn ask(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        let answer = tokio::time::timeout(ANSWERED_WITHIN, self.inner.simple_query(sql)).await;
        answer.unwrap_or_else(|_| panic!("not answered within {ANSWERED_WITHIN:?}: {sql}"))
    }

    /// Runs statements that must succeed, by the simple protocol.
    pub async fn run(&self, sql: &str) {
        if let Err(error) = self.ask(sql).await {
            panic!("{}\nin: {sql}", describe(&error));
        }
    }

    /// What `sql` returns, in the server's order; the error as one line.
    pub async fn rows(&self, sql: &str) -> Result<Rows, String> {
        let messages = self.ask(sql).await.map_err(|error| describe(&error))?;
        Ok(rows_of(&messages))
    }

    pub async fn sorted(&self, sql: &str) -> Result<Rows, String> {
        let mut rows = self.rows(sql).await?;
        rows.sort();
        Ok(rows)
    }

    /// The one value that `sql` must return.
    pub async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        match &rows[..] {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| "NULL".into()),
            other => panic!("one value expected, not {other:?}\nin: {sql}"),
        }
    }

    /// The error with which `sql` must fail.
    pub async fn error(&self, sql: &str) -> DbError {
        match self.ask(sql).await {
            Ok(messages) => panic!("an error expected, not {:?}\nin: {sql}", rows_of(&messages)),
            Err(error) => match error.as_db_error() {
                Some(error) => error.clone(),
                None => panic!("an error of the server expected, not: {error}\nin: {sql}"),
            },
        }
    }

    /// What the server said beside its answers since the last call.
    pub fn notices(&self) -> Vec<DbError> {
        std::mem::take(&mut *self.notices.lock().unwrap())
    }
}

fn rows_of(messages: &[SimpleQueryMessage]) -> Rows {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect()),
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// An error with everything the server said, in one line.
pub fn describe(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let mut text = format!("{} {}", error.code().code(), error.message());
    for (name, part) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(part) = part {
            text += &format!("; {name}: {part}");
        }
    }
    text
}
