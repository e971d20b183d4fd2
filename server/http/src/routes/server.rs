//! The server itself: what it is, whether it lives, whether it takes work, what it counts.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use neptune_engine::Refused;
use neptune_wire::server::Server;

use crate::access::Granted;
use crate::face::Shared;
use crate::failure::Failure;
use crate::metrics::OPEN_METRICS;
use crate::openapi::ProblemAnswer;

/// Says what this server is and how it is entered; needs no token.
#[utoipa::path(get, path = "/api/v1/server", tag = "server", security(()), responses((status = 200, body = Server)))]
pub(crate) async fn server_info(State(face): State<Arc<Shared>>) -> Answer<Server> {
    Answer(Server {
        version: face.settings.version.to_owned(),
        access: face.settings.access_kind(),
        read_only: face.engine.is_read_only(),
        failed: face.engine.has_failed(),
    })
}

/// Answers as long as the process lives.
#[utoipa::path(get, path = "/health", tag = "operation", security(()), responses(
    (status = 200, description = "alive", content_type = "text/plain"),
))]
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// Answers 200 while the server takes work; 503 with the reason while the disk is full, once it has failed, or while the
/// server stops.
#[utoipa::path(get, path = "/ready", tag = "operation", security(()), responses(
    (status = 200, description = "ready", content_type = "text/plain"),
    (status = 503, response = inline(ProblemAnswer)),
))]
pub(crate) async fn ready(State(face): State<Arc<Shared>>) -> Result<&'static str, Failure> {
    if face.stopping.is_cancelled() {
        return Err(Failure::Stopping);
    }
    if face.engine.has_failed() {
        return Err(Failure::Engine(Refused::Failed));
    }
    if face.engine.is_read_only() {
        return Err(Failure::Engine(Refused::ReadOnly));
    }
    Ok("ready\n")
}

/// Counters and durations in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "OpenMetrics text", content_type = "application/openmetrics-text"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn metrics(State(face): State<Arc<Shared>>, _: Granted) -> Result<Response, Failure> {
    let text = face.metrics.exposition().expect("writing into a string does not fail");
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
