//! HTTP: `/health` (200 while this process may serve and what is written becomes durable, then a line for each relation that has
//! failed; 503 with the reason when not) and `/metrics` (Prometheus text).

use super::metrics;
use crate::coordinator::request::{Handle, Request};
use crate::coordinator::told::told;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use weir_storage::Env;

/// A scrape without the coordinator's newest facts is better than none.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Shared {
    handle: Handle,
    recorder: PrometheusHandle,
    env: Env,
}

/// Serves until `shutdown` is done.
pub async fn serve(
    listener: TcpListener,
    handle: Handle,
    recorder: PrometheusHandle,
    env: Env,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    metrics::describe();
    let router = Router::new().route("/health", get(health)).route("/metrics", get(scrape)).with_state(Shared {
        handle,
        recorder,
        env,
    });
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn health(State(shared): State<Shared>) -> (StatusCode, String) {
    let stopped = {
        let progress = shared.handle.progress.borrow();
        progress.stopped.clone().or_else(|| progress.lasting_trouble(shared.env.clock.monotonic()))
    };
    if let Some(error) = stopped {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"));
    }
    let catalog = shared.handle.catalog.borrow().clone();
    let all = shared.handle.relations.all();
    let failed = all.iter().filter_map(|relation| Some(told(&catalog, relation.id, relation.failure()?)));
    (StatusCode::OK, failed.fold("ok\n".into(), |page, error| page + &format!("{error}\n")))
}

async fn scrape(State(shared): State<Shared>) -> impl IntoResponse {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        shared.handle.requests.send(Request::Inspect { reply }).await.ok()?;
        answer.await.ok()
    };
    if let Ok(Some(inspection)) = tokio::time::timeout(TIMEOUT, asked).await {
        let progress = shared.handle.progress.borrow().clone();
        let catalog = shared.handle.catalog.borrow().clone();
        // Counting the memory of state walks all of it: the thread that serves has clients to look after. What cannot be counted is
        // as it was.
        let _ = shared.env.compute(move || metrics::export(&inspection, &progress, &catalog)).await;
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], shared.recorder.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::coordinator::request::{Inspection, Progress};
    use futures::future::BoxFuture;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{mpsc, watch};
    use weir_storage::env::{SystemThreads, Threads};
    use weir_storage::store;

    /// Counts what is computed where nobody else waits for it.
    #[derive(Default)]
    struct Beside(AtomicUsize);

    impl Threads for Beside {
        fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            SystemThreads.run(work)
        }
    }

    async fn get(port: u16, path: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("reads");
        answer
    }

    #[tokio::test]
    async fn health_and_metrics_are_served() {
        let (requests, mut received) = mpsc::channel(1);
        let (_, catalog) = watch::channel(Arc::new(Catalog::default()));
        let (told, progress) = watch::channel(Progress::default());
        let (relations, history, sessions) = (Default::default(), Default::default(), Default::default());
        let restoring = watch::channel(None).1;
        let handle = Handle { requests, catalog, progress, relations, history, sessions, restoring };
        tokio::spawn(async move {
            while let Some(Request::Inspect { reply }) = received.recv().await {
                let _ = reply.send(Inspection::default());
            }
        });
        let recorder = PrometheusBuilder::new().build_recorder();
        let rendered = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::export(&Inspection::default(), &Progress::default(), &Catalog::default())
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let beside = Arc::new(Beside::default());
        let env = Env { threads: beside.clone(), ..Env::real(store::open("memory://").expect("a store")) };
        tokio::spawn(serve(listener, handle, rendered, env, std::future::pending()));
        assert!(get(port, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(get(port, "/metrics").await.contains("weir_durable_epoch 0"));
        assert_eq!(beside.0.load(Ordering::Relaxed), 1, "what takes long is not done on the thread that serves");
        told.send_modify(|p| p.stopped = Some(weir_sql::Error::new("57P01", "fenced")));
        let answer = get(port, "/health").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("fenced"), "{answer}");
    }
}
