//! Text channels and logs: lines to read, bytes to download.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use neptune_engine::Grant;
use neptune_wire::query::{Lines, TextQuery};

use crate::access::Granted;
use crate::download::{asked_range, attachment};
use crate::extract::{ChannelPath, Path, Query};
use crate::face::Shared;
use crate::failure::Failure;
use crate::limits;
use crate::openapi::ProblemAnswer;

/// Answers lines of a text channel or log: from a line on, the last ones, or those that contain a text.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/channels/{name}/text", tag = "text", params(ChannelPath, TextQuery),
    responses(
    (status = 200, body = Lines),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_text(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ChannelPath>,
    Query(query): Query<TextQuery>,
) -> Result<Answer<Lines>, Failure> {
    Ok(Answer(face.engine.read_text(&grant, &path.id, &path.name, &query).await?))
}

/// Downloads a log exactly as it came, byte for byte; `Range` asks for a part.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/channels/{name}/log", tag = "text",
    params(ChannelPath, ("Range" = Option<String>, Header, description = "`bytes=FIRST-LAST`")),
    responses(
    (status = 200, description = "the log so far", content_type = "application/octet-stream"),
    (status = 206, description = "the asked part", content_type = "application/octet-stream"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn download_log(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ChannelPath>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    // An empty read names what is wrong with the channel, if anything is.
    face.engine.read_log(&grant, &path.id, &path.name, 0, 0).await?;
    let channel = face.engine.read_channel(&grant, &path.id, &path.name).await?;
    let size_bytes = channel.summary.log_bytes.unwrap_or(0);

    let range = asked_range(&headers, size_bytes)?;
    let (start, end) = range.as_ref().map_or((0, size_bytes), |range| (range.start, range.end));
    let name = format!("{}-{}.log", path.id, path.name.as_str().replace('/', "-"));
    let mut response =
        attachment(&name, "application/octet-stream", log_bytes(face, grant, path, start, end));
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if range.is_some() {
        let text = format!("bytes {start}-{}/{size_bytes}", end - 1);
        headers.insert(
            header::CONTENT_RANGE,
            HeaderValue::from_str(&text).expect("digits are a header's value"),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn log_bytes(
    face: Arc<Shared>,
    grant: Grant,
    path: ChannelPath,
    start: u64,
    end: u64,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold(start, move |offset| {
        let (face, grant) = (face.clone(), grant.clone());
        let (id, name) = (path.id.clone(), path.name.clone());
        async move {
            if offset >= end {
                return Ok(None);
            }
            let limit = usize::try_from(end - offset).unwrap_or(usize::MAX).min(limits::LOG_PIECE_BYTES);
            let piece = face
                .engine
                .read_log(&grant, &id, &name, offset, limit)
                .await
                .map_err(std::io::Error::other)?;
            if piece.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            let next = offset + piece.len() as u64;
            Ok(Some((piece, next)))
        }
    })
}
