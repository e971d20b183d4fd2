//! Bounds on requests as a whole: how many at once, how long until an answer begins, and none that are new while stopping.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::face::Shared;
use crate::failure::Failure;
use crate::limits;

/// Paths that must answer however busy the server is: whoever asks them decides whether to end it.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// Middleware: a request beyond the bounds is told so at once; an upload waits for its turn.
///
/// A streamed answer counts only until it begins; each kind of stream has bounds of its own.
pub(crate) async fn bound(State(face): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if PROBES.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    if request.method() == Method::PUT && request.uri().path().contains("/blobs/") {
        return take_upload(&face, request, next).await;
    }
    let Ok(_permit) = face.requests.try_acquire() else {
        return Failure::Crowded { limit: limits::REQUESTS_AT_ONCE }.into_response();
    };
    match tokio::time::timeout(limits::ANSWER_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::TimedOut { seconds: limits::ANSWER_TIME.as_secs() }.into_response(),
    }
}

/// An upload is bounded by its size and by the pauses between its pieces, not by a time.
async fn take_upload(face: &Shared, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limits::ANSWER_TIME, face.uploads.acquire()).await {
        Ok(_permit) => next.run(request).await,
        Err(_) => Failure::Crowded { limit: limits::UPLOADS_AT_ONCE }.into_response(),
    }
}
