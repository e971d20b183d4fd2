//! Blobs: bytes by digest, up and down.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::StreamExt as _;
use tokio::sync::Mutex;

use crate::access::Granted;
use crate::download::{attachment, etag_of, is_known, not_modified};
use crate::extract::{BlobPath, Path, Stream, declared_length};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::limits;
use crate::openapi::ProblemAnswer;

/// Downloads a blob of a project.
#[utoipa::path(get, path = "/api/v1/projects/{key}/blobs/{digest}", tag = "blobs", params(BlobPath), responses(
    (status = 200, description = "the bytes, as an attachment", content_type = "application/octet-stream"),
    (status = 304, description = "the client has them already"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn download_blob(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<BlobPath>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let blob = face.engine.open_blob(&grant, &path.key, &path.digest).await?;
    let etag = etag_of(&path.digest);
    if is_known(&headers, &etag) {
        return Ok(not_modified(etag));
    }
    let mut response = attachment(&path.digest.to_string(), "application/octet-stream", blob.bytes);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size_bytes));
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Stores a blob, durably, after checking its digest; one that is there is not written again.
#[utoipa::path(put, path = "/api/v1/projects/{key}/blobs/{digest}", tag = "blobs", params(BlobPath),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "at most 4 GiB"),
    responses(
    (status = 204, description = "the project has the blob"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn upload_blob(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<BlobPath>,
    request: Request,
) -> Result<StatusCode, Failure> {
    let too_large = || Failure::Body { limit: limits::BLOB_BYTES };
    if declared_length(request.headers()).is_some_and(|length| length > limits::BLOB_BYTES) {
        return Err(too_large());
    }
    let Stream { bytes, over_limit } = Stream::new(request.into_body(), limits::BLOB_BYTES);
    let body = Arc::new(Mutex::new(bytes));
    let taken = body.clone();
    let bytes = futures::stream::poll_fn(move |context| match taken.try_lock() {
        Ok(mut bytes) => bytes.poll_next_unpin(context),
        Err(_) => unreachable!("the rest is read once this stream is gone"),
    });
    let stored = face.engine.put_blob(&grant, &path.key, &path.digest, bytes.boxed(), now()).await;
    // Of a blob that is there nothing was read; an answer before the end of the request would close the connection, under
    // whatever its sender asks next.
    while stored.is_ok() && matches!(body.lock().await.next().await, Some(Ok(_))) {}
    if over_limit.load(Ordering::Relaxed) {
        return Err(too_large());
    }
    stored?;
    Ok(StatusCode::NO_CONTENT)
}
