//! Every HTTP status and problem code: what the engine or this face refused, as an RFC 9457 document.
//!
//! A new refusal: add the variant (here or in the engine), let the compiler point at the match, write the sentence so
//! that it names the field, what was wrong and what would be right.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use neptune_engine::Refused;
use neptune_wire::problem::PROBLEM_JSON;
use neptune_wire::{Code, Problem};

/// Why a request got no answer but a problem.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// By the rules.
    #[error(transparent)]
    Engine(#[from] Refused),
    /// Nothing lives at this address.
    #[error("no such address; the addresses are listed at /api/docs")]
    NoRoute,
    /// The address knows other methods.
    #[error("this address does not take {method}; /api/docs lists what it takes")]
    Method { method: String },
    /// DNS rebinding, or a name nobody configured.
    #[error(
        "this server does not answer for {host:?}; if the name is its own, start it with --public-host {host}"
    )]
    ForeignHost { host: String },
    /// A page of another site.
    #[error("a page of {origin:?} may not use this server; only pages it served itself may")]
    ForeignOrigin { origin: String },
    /// A plain form of another site could send it, too.
    #[error(
        "a change must carry content-type application/json or application/octet-stream, or the header Neptune-Client"
    )]
    MediaType,
    /// Neither through the trusted proxy nor from this machine.
    #[error("only the trusted proxy may connect to this address")]
    NotThroughProxy,
    /// A part of the address.
    #[error("{wanted}")]
    Path { field: String, wanted: String },
    /// A query parameter.
    #[error("{wanted}")]
    Query { field: Option<String>, wanted: String },
    /// A header.
    #[error("{wanted}")]
    Header { field: &'static str, wanted: String },
    /// The body is no JSON.
    #[error("{wanted}")]
    Json { wanted: String },
    /// The body is JSON of another shape.
    #[error("{wanted}")]
    Shape { field: Option<String>, wanted: String },
    /// The body is over the limit.
    #[error("the body is over the limit of {limit} bytes")]
    Body { limit: u64 },
    /// The body ended early or came too slowly.
    #[error("the body did not arrive whole: {why}")]
    BodyCut { why: String },
    /// The stored file cannot be shown.
    #[error("the stored file cannot be shown as an image: {why}; GET the blob to have it as it is")]
    NoImage { why: String },
    /// A range beyond the end.
    #[error("the range begins beyond the end, the length is {size_bytes} bytes")]
    Range { size_bytes: u64 },
    /// A plain request where a WebSocket is spoken.
    #[error("this address is a WebSocket; connect with upgrade: {why}")]
    NoUpgrade { why: String },
    /// A WebSocket message that is no JSON of the protocol.
    #[error("{wanted}")]
    Message { field: Option<String>, wanted: String },
    /// A subscription or session beyond what one connection may hold.
    #[error("one connection holds at most {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    /// Too many requests at once.
    #[error("{limit} requests are being answered already; send it again in a moment")]
    Crowded { limit: usize },
    /// No answer in time.
    #[error("no answer within {seconds} s; it may or may not have been done")]
    TimedOut { seconds: u64 },
    /// The server is about to stop.
    #[error("the server is stopping; send it again when it is back")]
    Stopping,
    /// A fault of this face; the log has the cause.
    #[error("the server's log says more about request {request}")]
    Internal { request: String },
}

impl Failure {
    /// The document, its status included.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code, field) = self.outline();
        let detail = match self {
            // The field stands beside the sentence already.
            Self::Engine(Refused::Field { wanted, .. } | Refused::Text { wanted, .. }) => wanted.clone(),
            other => other.to_string(),
        };
        let mut problem = Problem::new(code, detail);
        problem.status = status.as_u16();
        problem.field = field;
        if let Self::Engine(Refused::Text { column, .. }) = self {
            problem.column = Some(*column);
        }
        problem
    }

    fn outline(&self) -> (StatusCode, Code, Option<String>) {
        let named = |field: &str| Some(field.to_owned());
        match self {
            Self::Engine(refused) => outline_of_refused(refused),
            Self::NoRoute => (StatusCode::NOT_FOUND, Code::NoRoute, None),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, None),
            Self::ForeignHost { .. } => (StatusCode::MISDIRECTED_REQUEST, Code::ForeignHost, named("host")),
            Self::ForeignOrigin { .. } => (StatusCode::FORBIDDEN, Code::ForeignOrigin, named("origin")),
            Self::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UnsupportedMediaType, named("content-type"))
            }
            Self::NotThroughProxy => (StatusCode::FORBIDDEN, Code::Forbidden, None),
            Self::Path { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidField, named(field)),
            Self::Query { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidField, field.clone()),
            Self::Header { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidField, named(field)),
            Self::Json { .. } => (StatusCode::BAD_REQUEST, Code::InvalidJson, None),
            Self::Shape { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidField, field.clone()),
            Self::Body { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, None),
            Self::BodyCut { .. } => (StatusCode::REQUEST_TIMEOUT, Code::InvalidField, named("body")),
            Self::NoImage { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Code::NotAnImage, None),
            Self::Range { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, Code::InvalidField, named("range")),
            Self::NoUpgrade { .. } => {
                (StatusCode::UPGRADE_REQUIRED, Code::ProtocolViolation, named("upgrade"))
            }
            Self::Message { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidJson, field.clone()),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::TooLarge, None),
            Self::Crowded { .. } => (StatusCode::SERVICE_UNAVAILABLE, Code::Busy, None),
            Self::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, Code::TimedOut, None),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Code::Busy, None),
            Self::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, None),
        }
    }
}

fn outline_of_refused(refused: &Refused) -> (StatusCode, Code, Option<String>) {
    let missing = |code, field: &str| (StatusCode::NOT_FOUND, code, Some(field.to_owned()));
    let conflict = |code| (StatusCode::CONFLICT, code, None);
    match refused {
        Refused::Field { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidField, Some(field.clone())),
        Refused::Text { field, .. } => {
            (StatusCode::BAD_REQUEST, Code::InvalidField, Some((*field).to_owned()))
        }
        Refused::UnknownProject { .. } => missing(Code::UnknownProject, "project"),
        Refused::UnknownJob { .. } => missing(Code::UnknownJob, "job"),
        Refused::JobDeleted { .. } | Refused::JobGone { .. } => {
            (StatusCode::GONE, Code::JobDeleted, Some("job".to_owned()))
        }
        Refused::UnknownAttempt { .. } => missing(Code::UnknownAttempt, "attempt"),
        Refused::UnknownChannel { .. } => missing(Code::UnknownChannel, "channel"),
        Refused::UnboundChannel { .. } => missing(Code::UnknownChannel, "channel"),
        Refused::UnknownImage { .. } => missing(Code::UnknownImage, "index"),
        Refused::UnknownBlob { .. } => missing(Code::UnknownBlob, "digest"),
        Refused::UnknownSnapshot => missing(Code::UnknownSnapshot, "snapshot"),
        Refused::UnknownFile { .. } => missing(Code::UnknownFile, "path"),
        Refused::Taken { .. } => conflict(Code::Taken),
        Refused::MadeHere { .. } => (StatusCode::CONFLICT, Code::MadeHere, Some("job.uid".to_owned())),
        Refused::CountDiffers { .. } => (StatusCode::CONFLICT, Code::CountDiffers, Some("behind".to_owned())),
        Refused::ChannelKindDiffers { .. } => {
            (StatusCode::CONFLICT, Code::ChannelKindDiffers, Some("kind".to_owned()))
        }
        Refused::DigestDiffers { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, Code::DigestDiffers, Some("digest".to_owned()))
        }
        Refused::State { .. } => conflict(Code::StateRefused),
        Refused::Superseded { .. } => conflict(Code::Superseded),
        Refused::DamagedFrame(_) => (StatusCode::BAD_REQUEST, Code::DamagedFrame, None),
        Refused::Protocol { .. } => (StatusCode::BAD_REQUEST, Code::ProtocolViolation, None),
        Refused::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthorized, None),
        Refused::Forbidden { .. } => (StatusCode::FORBIDDEN, Code::Forbidden, None),
        Refused::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, None),
        Refused::ReadOnly => (StatusCode::SERVICE_UNAVAILABLE, Code::ReadOnly, None),
        Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, Code::Busy, None),
        Refused::Failed => (StatusCode::SERVICE_UNAVAILABLE, Code::Internal, None),
        Refused::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, None),
    }
}

/// Writes the cause of a storage fault to the log: its answer carries none.
fn log_cause(refused: &Refused) {
    if let Refused::Storage(_) = refused {
        tracing::error!(cause = refused.cause(), "storage fault");
    }
}

/// The problem of an engine's refusal, for WebSocket messages.
pub(crate) fn problem_of_refused(refused: Refused) -> Problem {
    log_cause(&refused);
    let mut problem = Failure::Engine(refused).problem();
    problem.status = 0;
    problem
}

/// The problem of a message, for WebSockets.
pub(crate) fn problem_of_message(failure: &Failure) -> Problem {
    let mut problem = failure.problem();
    problem.status = 0;
    problem
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if let Self::Engine(refused) = &self {
            log_cause(refused);
        }
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.companion() {
            headers.insert(name, value);
        }
        response
    }
}

impl Failure {
    /// The header that belongs to some statuses.
    fn companion(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Engine(Refused::Unauthorized) => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"neptune\"")))
            }
            Self::Engine(Refused::ReadOnly) => Some((header::RETRY_AFTER, HeaderValue::from_static("10"))),
            Self::Engine(Refused::Busy) | Self::Crowded { .. } | Self::Stopping => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("1")))
            }
            Self::NoUpgrade { .. } => Some((header::UPGRADE, HeaderValue::from_static("websocket"))),
            Self::Range { size_bytes } => {
                let value = HeaderValue::from_str(&format!("bytes */{size_bytes}"));
                value.ok().map(|value| (header::CONTENT_RANGE, value))
            }
            _ => None,
        }
    }
}
