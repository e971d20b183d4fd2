//! Typed requests over HTTP(S), one answer each, no retries: the caller knows how long it is worth waiting.
//!
//! Methods lie by noun in `rest/`. Every path begins with `/api/v1`; names in paths are percent-encoded. Proxy variables
//! are not obeyed and redirects not followed: the WebSockets beside these requests could do neither, and half a client
//! that reaches its server is worse than none.
//!
//! To add a request: the shapes in the wire crate, the method in the file of its noun, a case in `tests/rest.rs`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use neptune_wire::Problem;
use neptune_wire::problem::{Code, PROBLEM_JSON};
use neptune_wire::server::{API, CLIENT_HEADER, Server};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::fork;

mod blobs;
mod blocking;
mod channels;
mod jobs;
mod life;
mod projects;
mod snapshots;

pub use blobs::{BlobSource, Download, digest_bytes, digest_file};
pub use blocking::Blocking;
pub use snapshots::Uploaded;

/// What this client says of itself in the header `Neptune-Client`.
pub(crate) const CLIENT: &str = concat!("neptune-client/", env!("CARGO_PKG_VERSION"));

/// Time to make a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to an answer, and between its pieces.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest JSON answer: 200 envelopes of 10,000 buckets fit. A peer that sends more is no Neptune server.
const ANSWER_BYTES: usize = 512 << 20;
/// Longest problem document.
const PROBLEM_BYTES: usize = 1 << 20;

/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A server and how one enters it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// Such as `http://127.0.0.1:8420`; a path before `/api` is kept.
    pub url: String,
    /// Bearer token; none on loopback.
    pub token: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Access").field("url", &self.url).field("token", &token).finish()
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// No connection, or it broke: it is not known whether the server acted. The request may be sent again.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        why: String,
    },
    /// The server understood and said no.
    #[error("{0}")]
    Refused(#[from] Problem),
    /// What answered does not speak this protocol.
    #[error("{url} does not answer like a Neptune server: {why}")]
    Protocol {
        /// The address.
        url: String,
        /// What was wrong with the answer.
        why: String,
    },
    /// The request cannot be made at all: not an address, no TLS roots, a name that no path can carry.
    #[error("{0}")]
    Request(String),
    /// A local file that was to be sent or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the disk said.
        source: std::io::Error,
    },
}

impl RestError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.code, Code::Busy | Code::ReadOnly | Code::Internal),
            Self::Protocol { .. } | Self::Request(_) | Self::File { .. } => false,
        }
    }

    /// The problem's code, when the server said no.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}

/// The client of one server. Cloning is cheap and shares connections.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    access: Access,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rest").field(&self.access).finish()
    }
}

impl Rest {
    /// Prepares requests to a server; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`RestError::Request`] when the address is none, the token has impossible characters, or TLS has no roots.
    pub fn new(access: Access) -> Result<Self, RestError> {
        let mut access = access;
        access.url.truncate(access.url.trim_end_matches('/').len());
        let url = reqwest::Url::parse(&access.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                RestError::Request(format!("{:?} is no address such as http://127.0.0.1:8420", access.url))
            })?;
        let mut headers = header::HeaderMap::new();
        headers.insert(CLIENT_HEADER, header::HeaderValue::from_static(CLIENT));
        if let Some(token) = &access.token {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                RestError::Request("the token has characters that no header can carry".into())
            })?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let builder = reqwest::Client::builder()
            .user_agent(CLIENT)
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        let http = fork::undivided(|| {
            let tls = if url.scheme() == "https" {
                crate::tls::client_config().map_err(RestError::Request)?
            } else {
                crate::tls::no_roots_config()
            };
            builder
                .tls_backend_preconfigured((*tls).clone())
                .build()
                .map_err(|error| RestError::Request(innermost(&error)))
        })?;
        Ok(Self { http, access })
    }

    /// The server and token it was made for.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What the server says of itself.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn read_server(&self) -> Result<Server, RestError> {
        self.answer(self.request(Method::GET, &["server"])?).await
    }

    /// A request to `/api/v1/` + the segments, each percent-encoded.
    fn request(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder, RestError> {
        let mut url = format!("{}{API}", self.access.url);
        for segment in segments {
            // URL parsers resolve these even when they are percent-encoded, so the request would go elsewhere.
            if matches!(*segment, "" | "." | "..") {
                return Err(RestError::Request(format!("the name {segment:?} cannot stand in an address")));
            }
            url.push('/');
            url.extend(utf8_percent_encode(segment, SEGMENT));
        }
        Ok(self.http.request(method, url))
    }

    fn request_json(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<RequestBuilder, RestError> {
        Ok(self.request(method, segments)?.json(body))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RestError> {
        self.send_within(request, ANSWER_TIMEOUT).await
    }

    /// Sends a request whose answer, because of what it carries, may come so late.
    async fn send_within(&self, request: RequestBuilder, within: Duration) -> Result<Response, RestError> {
        let answer = timeout(within, request.send()).await.map_err(|_| self.late(within))?;
        let response = answer.map_err(|error| self.error(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(self.refusal(status, response).await)
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, RestError> {
        let response = self.send(request).await?;
        let body = self.body(response, ANSWER_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| self.protocol(format!("the answer's JSON: {error}")))
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Bytes, RestError> {
        let mut body = bytes::BytesMut::new();
        while let Some(chunk) = self.next_piece(&mut response).await? {
            if body.len() + chunk.len() > limit {
                return Err(self.protocol(format!("an answer of more than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn next_piece(&self, response: &mut Response) -> Result<Option<Bytes>, RestError> {
        let piece = timeout(ANSWER_TIMEOUT, response.chunk()).await.map_err(|_| self.late(ANSWER_TIMEOUT))?;
        piece.map_err(|error| self.error(&error))
    }

    fn late(&self, within: Duration) -> RestError {
        let why = format!("no answer in {} s", within.as_secs());
        RestError::Unreachable { url: self.access.url.clone(), why }
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> RestError {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_problem = kind.is_some_and(|kind| kind.starts_with(PROBLEM_JSON));
        let body = match self.body(response, PROBLEM_BYTES).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_problem => RestError::Refused(Problem { status: status.as_u16(), ..problem }),
            // A gateway before the server says this while the server is away.
            _ if matches!(status.as_u16(), 502..=504) => {
                RestError::Unreachable { url: self.access.url.clone(), why: format!("HTTP status {status}") }
            }
            _ => self.protocol(format!("HTTP status {status} without a problem document")),
        }
    }

    fn error(&self, error: &reqwest::Error) -> RestError {
        let why = innermost(error);
        if error.is_builder() {
            return RestError::Request(why);
        }
        RestError::Unreachable { url: self.access.url.clone(), why }
    }

    fn protocol(&self, why: String) -> RestError {
        RestError::Protocol { url: self.access.url.clone(), why }
    }
}

/// The last cause of an error: `connection refused` rather than the layers around it.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
