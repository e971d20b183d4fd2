//! Source snapshots: register one, read a job's as figures, tree, file, archive or difference.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use neptune_engine::Refused;
use neptune_wire::snapshot::{Manifest, Snapshot, SnapshotDiff, SnapshotReceipt};

use crate::access::Granted;
use crate::archive;
use crate::download::{attachment, etag_of, is_known, not_modified};
use crate::extract::{DiffPath, FilePath, JobPath, Json, Path, ProjectPath};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::limits;
use crate::openapi::ProblemAnswer;

/// Registers a manifest and answers which blobs the project still lacks: upload them, then post again until none is.
#[utoipa::path(post, path = "/api/v1/projects/{key}/snapshots", tag = "snapshots", params(ProjectPath),
    request_body = Manifest, responses(
    (status = 200, body = SnapshotReceipt),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn create_snapshot(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ProjectPath>,
    Json(manifest): Json<Manifest, { limits::MANIFEST_BYTES }>,
) -> Result<Answer<SnapshotReceipt>, Failure> {
    Ok(Answer(face.engine.create_snapshot(&grant, &path.key, manifest, now()).await?))
}

/// Answers the job's snapshot in figures.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/snapshot", tag = "snapshots", params(JobPath), responses(
    (status = 200, body = Snapshot),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_snapshot(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Answer<Snapshot>, Failure> {
    Ok(Answer(face.engine.read_snapshot(&grant, &path.id).await?))
}

/// Lists the files of the job's source tree.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/snapshot/tree", tag = "snapshots", params(JobPath), responses(
    (status = 200, body = Manifest),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_tree(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Answer<Manifest>, Failure> {
    Ok(Answer(face.engine.read_manifest(&grant, &path.id).await?))
}

/// Downloads one file of the job's source tree.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/snapshot/file/{*path}", tag = "snapshots", params(FilePath), responses(
    (status = 200, description = "the file as an attachment", content_type = "application/octet-stream"),
    (status = 304, description = "the client has it already"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn download_file(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<FilePath>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = face.engine.open_snapshot_file(&grant, &path.id, &path.path).await?;
    let etag = etag_of(&found.file.digest);
    if is_known(&headers, &etag) {
        return Ok(not_modified(etag));
    }
    let name = found.file.path.rsplit('/').next().unwrap_or_default();
    let mut response = attachment(name, "application/octet-stream", found.bytes.bytes);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(found.bytes.size_bytes));
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Downloads the job's source tree as `.tar.gz`, packed while it is sent.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/snapshot/archive", tag = "snapshots", params(JobPath), responses(
    (status = 200, description = "a tar archive whose files lie in a folder named as the job",
        content_type = "application/gzip"),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn download_archive(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Response, Failure> {
    let job = face.engine.read_job(&grant, &path.id).await?;
    let manifest = face.engine.read_manifest(&grant, &path.id).await?;
    // Checked when it came, but perhaps by a server that had fewer rules; an archive holds nothing below a link.
    manifest.check().map_err(|error| Refused::Field { field: "files".into(), wanted: error.to_string() })?;
    let permit = face.archives.clone().acquire_owned().await.map_err(|_| Failure::Stopping)?;
    let plan = archive::Plan {
        engine: face.engine.clone(),
        grant,
        folder: job.id.to_string(),
        modified_secs: job.created_micros.0.div_euclid(1_000_000).max(0).unsigned_abs(),
        job: job.uid.into(),
        manifest,
    };
    let name = format!("{}.tar.gz", job.id);
    Ok(attachment(&name, "application/gzip", archive::pack(plan, permit)))
}

/// Answers what changed from this job's tree to another's: every file by name, and up to 1,000 files line by line, as far as
/// 32 MiB and 10 s go.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/snapshot/diff/{other}", tag = "snapshots", params(DiffPath), responses(
    (status = 200, body = SnapshotDiff),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn diff_snapshots(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<DiffPath>,
) -> Result<Answer<SnapshotDiff>, Failure> {
    // Whoever goes away leaves at most one file's comparison behind, half a second.
    let _permit = face.diffs.acquire().await.map_err(|_| Failure::Stopping)?;
    Ok(Answer(face.engine.diff_snapshots(&grant, &path.id, &path.other).await?))
}
