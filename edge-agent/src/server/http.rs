//! `/metrics`, `/healthz`, `/readyz`: read-only, plain HTTP, on an address of the administrator's choice.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::agent::status::StatusSource;
use crate::telemetry::heartbeat::{Heartbeat, LATE};
use crate::telemetry::metrics::Exporter;

mod readiness;
use readiness::Readiness;

const INDEX: &str = "edge-agent\n\n/metrics  Prometheus metrics\n/healthz  200 while the agent's loop turns\n\
/readyz   200 while the configured policies are in force on every configured interface\n";

/// The configured address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address}: {source}; change `metrics.listen` in agent.yaml, or stop what uses the address")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// What the answers are made from.
pub struct Server {
    pub status: StatusSource,
    pub exporter: Exporter,
    pub heartbeat: Arc<Heartbeat>,
}

struct Shared {
    server: Server,
    /// Reading the kernel takes thousands of system calls: one request at a time does, however many are asked.
    reading: Mutex<()>,
}

/// # Errors
/// If the address is taken, or not of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Answers requests until `stop` is done.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, server: Server, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    axum::serve(listener, router(server)).with_graceful_shutdown(stop).await
}

fn router(server: Server) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(Shared { server, reading: Mutex::new(()) }))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.read(|server| server.exporter.scrape()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => failure(&error),
        Err(error) => failure(&error),
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let age = shared.server.heartbeat.age();
    if age < LATE {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("the agent's loop has not turned for {} s\n", age.as_secs())).into_response()
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let status = match shared.read(|server| (server.status)()).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return failure(&error),
        Err(error) => return failure(&error),
    };
    let readiness = Readiness::of(&status);
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&readiness) {
        Ok(body) => (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response(),
        Err(error) => failure(&error),
    }
}

fn failure(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "cannot answer a request");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

impl Shared {
    /// Runs `read` away from the runtime's own threads.
    async fn read<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&Server) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let shared = Arc::clone(&self);
        let _turn = self.reading.lock().await;
        tokio::task::spawn_blocking(move || read(&shared.server)).await
    }
}

#[cfg(test)]
mod tests;
