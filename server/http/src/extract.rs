//! What handlers take from a request; each refusal names the field and what would be right.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use neptune_engine::Refused;
use neptune_wire::{AttemptNumber, ChannelName, Digest, JobRef, ProjectKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::failure::Failure;
use crate::limits;

/// A JSON body of at most so many bytes.
pub(crate) struct Json<T, const LIMIT: usize = { limits::JSON_BYTES }>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static, const LIMIT: usize> FromRequest<S>
    for Json<T, LIMIT>
{
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = read_body(request, LIMIT).await?;
        if bytes.len() <= limits::INLINE_JSON_BYTES {
            return json_from_bytes(&bytes).map(Self);
        }
        let reading = tokio::task::spawn_blocking(move || json_from_bytes(&bytes).map(Self));
        reading.await.map_err(|broken| Failure::Engine(Refused::Storage(Box::new(broken))))?
    }
}

/// A JSON body that may be left out.
pub(crate) struct JsonOrNothing<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = read_body(request, limits::JSON_BYTES).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { json_from_bytes(&bytes).map(Self) }
    }
}

pub(crate) async fn read_body(request: Request, limit: usize) -> Result<Bytes, Failure> {
    let too_large = || Failure::Body { limit: limit as u64 };
    if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(limits::JSON_BODY_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Failure::BodyCut { why: error.to_string() }),
        Err(_) => Err(Failure::BodyCut { why: format!("not within {} s", limits::JSON_BODY_TIME.as_secs()) }),
    }
}

pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads JSON; an error tells bad JSON from JSON of another shape and names the field.
pub(crate) fn json_from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = field_of(error.path());
        let error = error.into_inner();
        let wanted = error.to_string();
        if error.is_data() { Failure::Shape { field, wanted } } else { Failure::Json { wanted } }
    })?;
    deserializer.end().map_err(|error| Failure::Json { wanted: error.to_string() })?;
    Ok(value)
}

fn field_of(path: &serde_path_to_error::Path) -> Option<String> {
    Some(path.to_string()).filter(|path| path != ".")
}

/// The query of the address.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        from_pairs(query).map(Self).map_err(|(field, wanted)| Failure::Query { field, wanted })
    }
}

/// Reads `name=value&…`; an error is the field and what would be right.
fn from_pairs<T: DeserializeOwned>(pairs: &str) -> Result<T, (Option<String>, String)> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(pairs.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let wanted = match error.inner().to_string().as_str() {
            // What the standard library says of a text that is no number is of little help.
            "invalid digit found in string" | "cannot parse integer from empty string" => {
                "must be a whole number, not negative".to_owned()
            }
            "invalid float literal" | "cannot parse float from empty string" => "must be a number".to_owned(),
            other => other.to_owned(),
        };
        (field_of(error.path()), wanted)
    })
}

/// The named parts of the address.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let wrong = |field: Option<String>, wanted| Failure::Path {
            field: field.unwrap_or_else(|| "path".into()),
            wanted,
        };
        // axum's own reader of paths does not say which part is wrong.
        let named = RawPathParams::from_request_parts(parts, state).await;
        let named = named.map_err(|error| wrong(None, error.body_text()))?;
        let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(&named).finish();
        from_pairs(&pairs).map(Self).map_err(|(field, wanted)| wrong(field, wanted))
    }
}

/// `/projects/{key}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ProjectPath {
    /// The project's key, such as TRIG.
    pub(crate) key: ProjectKey,
}

/// `/projects/{key}/blobs/{digest}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct BlobPath {
    /// The project's key, such as TRIG.
    pub(crate) key: ProjectKey,
    /// BLAKE3 of the bytes, 64 hexadecimal digits.
    pub(crate) digest: Digest,
}

/// `/jobs/{id}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JobPath {
    /// The job's id (`TRIG-12`) or uid.
    pub(crate) id: JobRef,
}

/// `/attempts/{job}/{attempt}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AttemptPath {
    /// The job's id (`TRIG-12`) or uid.
    pub(crate) job: JobRef,
    /// Which try, from 1.
    pub(crate) attempt: AttemptNumber,
}

/// `/jobs/{id}/channels/{name}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ChannelPath {
    /// The job's id (`TRIG-12`) or uid.
    pub(crate) id: JobRef,
    /// The channel's name, percent-encoded (`train%2Floss`).
    pub(crate) name: ChannelName,
}

/// `/jobs/{id}/channels/{name}/images/{index}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ImagePath {
    /// The job's id (`TRIG-12`) or uid.
    pub(crate) id: JobRef,
    /// The channel's name, percent-encoded.
    pub(crate) name: ChannelName,
    /// From 0, in order of arrival.
    pub(crate) index: u64,
}

/// `/jobs/{id}/channels/{name}/images/{index}?size=256`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageQuery {
    /// Made so small that neither side has more pixels, 16 to 1024, and with 8 bits a channel; as it is when absent.
    pub(crate) size: Option<u32>,
}

/// `/jobs/{id}/snapshot/file/{path}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FilePath {
    /// The job's id (`TRIG-12`) or uid.
    pub(crate) id: JobRef,
    /// The file's path in the snapshot; its slashes stay as they are.
    pub(crate) path: String,
}

/// `/jobs/{id}/snapshot/diff/{other}`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct DiffPath {
    /// The job's id (`TRIG-12`) or uid.
    pub(crate) id: JobRef,
    /// The job it is compared with.
    pub(crate) other: JobRef,
}

/// A body of any length up to a limit, in pieces as they arrive.
pub(crate) struct Stream {
    pub(crate) bytes: BoxStream<'static, std::io::Result<Bytes>>,
    /// Says afterwards whether the stream was cut at the limit.
    pub(crate) over_limit: Arc<AtomicBool>,
}

impl Stream {
    /// Streams a body: more bytes than the limit, a pause that is too long or a peer that goes away are its errors.
    pub(crate) fn new(body: Body, limit: u64) -> Self {
        let over_limit = Arc::new(AtomicBool::new(false));
        let flag = over_limit.clone();
        let state = (body.into_data_stream(), 0_u64);
        let bytes = futures::stream::try_unfold(state, move |(mut body, sent)| {
            let flag = flag.clone();
            async move {
                let Ok(piece) = tokio::time::timeout(limits::BODY_PAUSE, body.next()).await else {
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
                };
                let Some(piece) = piece.transpose().map_err(std::io::Error::other)? else { return Ok(None) };
                let sent = sent + piece.len() as u64;
                if sent > limit {
                    flag.store(true, Ordering::Relaxed);
                    return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
                }
                Ok(Some((piece, (body, sent))))
            }
        });
        Self { bytes: bytes.boxed(), over_limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use neptune_wire::CreateJob;

    fn check(json: &str, expected: Expect) {
        let problem = json_from_bytes::<CreateJob>(json.as_bytes()).unwrap_err().problem();
        let field = problem.field.unwrap_or_default();
        expected.assert_eq(&format!("{} [{field}] {}", problem.code.as_str(), problem.detail));
    }

    #[test]
    fn a_bad_body_names_the_field_and_what_would_be_right() {
        check("", expect!["invalid-json [] EOF while parsing a value at line 1 column 0"]);
        check("{\"project\": ", expect!["invalid-json [] EOF while parsing a value at line 1 column 12"]);
        check(
            r#"{"project": "TRIG", "name": "a"} x"#,
            expect!["invalid-json [] trailing characters at line 1 column 34"],
        );
        check(
            r#"{"project": "trig", "name": "a"}"#,
            expect![[
                r#"invalid-field [project] project key "trig": must be 1 to 16 upper-case letters or digits, starting with a letter, such as TRIG at line 1 column 18"#
            ]],
        );
        check(
            r#"{"project": "TRIG", "name": "a", "tags": ["x", 7]}"#,
            expect![
                "invalid-field [tags[1]] invalid type: integer `7`, expected a string at line 1 column 48"
            ],
        );
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_limit() {
        let stream = Stream::new(Body::from(vec![0; 10]), 9);
        let pieces: Vec<_> = stream.bytes.collect().await;
        assert!(pieces.last().unwrap().is_err());
        assert!(stream.over_limit.load(Ordering::Relaxed));

        let stream = Stream::new(Body::from(vec![0; 10]), 10);
        let pieces: Vec<_> = stream.bytes.collect().await;
        assert!(pieces.iter().all(Result::is_ok));
        assert!(!stream.over_limit.load(Ordering::Relaxed));
    }
}
