//! One line and one measurement per request, when its answer has been sent whole or was given up.
//!
//! The line names the matched route, never the address: addresses and headers hold what people typed, and tokens.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use http_body::{Frame, SizeHint};
use tracing::Instrument as _;

use crate::face::Shared;
use crate::failure::Failure;
use crate::peer::{Connection, Peer};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the routes that match nothing are called.
const UNMATCHED: &str = "(none)";

/// Middleware, the outermost: numbers the request, measures and logs it, and turns a panic into an answer.
pub(crate) async fn log(State(face): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let id = request_id();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => UNMATCHED.to_owned(),
    };
    let connection =
        request.extensions().get::<Connection>().expect("the accept loop puts it into every request");
    let peer = Peer::new(connection, request.headers(), &face.settings).address;
    let mut entry = Entry {
        method: request.method().clone(),
        route,
        status: StatusCode::OK,
        peer: peer.to_string(),
        id: id.clone(),
        begun: Instant::now(),
        bytes: 0,
        whole: false,
        face,
    };

    let span = tracing::debug_span!("request", id = %id, method = %entry.method, route = %entry.route);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await;
    // The panic hook has logged the message and the place.
    let response = answer.unwrap_or_else(|_| Failure::Internal { request: id.clone() }.into_response());

    let (mut parts, body) = response.into_parts();
    if let Ok(value) = HeaderValue::from_str(&id) {
        parts.headers.insert(REQUEST_ID, value);
    }
    entry.status = parts.status;
    entry.whole = http_body::Body::is_end_stream(&body);
    Response::from_parts(parts, Body::new(Measured { body, entry }))
}

/// Unique in this process and most likely elsewhere: a random start, then counted.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| getrandom::u64().unwrap_or_default());
    format!("{:016x}", start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
}

struct Entry {
    method: Method,
    route: String,
    status: StatusCode,
    peer: String,
    id: String,
    begun: Instant,
    bytes: u64,
    whole: bool,
    face: Arc<Shared>,
}

/// A body that tells its entry how much of it was taken.
struct Measured {
    body: Body,
    entry: Entry,
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                self.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.entry.whole = self.body.is_end_stream();
            }
            Some(Err(_)) => {}
            None => self.entry.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let elapsed = self.begun.elapsed();
        self.face.metrics.record_request(&self.method, &self.route, self.status, elapsed);
        let cut = (!self.whole && self.method != Method::HEAD).then_some(true);
        tracing::info!(
            target: "neptune_http::access",
            method = %self.method,
            route = %self.route,
            status = self.status.as_u16(),
            bytes = self.bytes,
            micros = elapsed.as_micros() as u64,
            peer = %self.peer,
            id = %self.id,
            cut,
            "request"
        );
    }
}
