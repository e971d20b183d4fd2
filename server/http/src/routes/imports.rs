//! Taking in what was exported.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use neptune_engine::ImportFrames;
use neptune_wire::life::{ImportFramesQuery, ImportJob, ImportProject};
use neptune_wire::query::Appended;
use neptune_wire::{Job, Project};

use crate::access::Granted;
use crate::extract::{JobPath, Json, Path, Query, read_body};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::limits;
use crate::openapi::ProblemAnswer;
use crate::routes::points::idempotency_key;

/// Takes in a project as it was exported; one of the same key and name stays as it is.
#[utoipa::path(post, path = "/api/v1/imports/projects", tag = "imports", request_body = ImportProject, responses(
    (status = 201, body = Project),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn import_project(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Json(import): Json<ImportProject>,
) -> Result<(StatusCode, Answer<Project>), Failure> {
    Ok((StatusCode::CREATED, Answer(face.engine.import_project(&grant, import).await?)))
}

/// Takes in a job as it was exported, with its channels and charts; the same job again adds what is missing.
#[utoipa::path(post, path = "/api/v1/imports/jobs", tag = "imports", request_body = ImportJob, responses(
    (status = 201, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn import_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Json(import): Json<ImportJob>,
) -> Result<(StatusCode, Answer<Job>), Failure> {
    Ok((StatusCode::CREATED, Answer(face.engine.import_job(&grant, import, now()).await?)))
}

/// Stores frames of an imported job, once for each `Idempotency-Key`: u32 little-endian lengths, each with its frame behind
/// it; frames of a session of zeros, whose channel numbers are the job's. At most 900 KiB in 998 frames.
#[utoipa::path(post, path = "/api/v1/imports/jobs/{id}/frames", tag = "imports",
    params(
        JobPath,
        ImportFramesQuery,
        ("Idempotency-Key" = String, Header, description = "different for every request"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, body = Appended),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn import_frames(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    Query(ImportFramesQuery { behind }): Query<ImportFramesQuery>,
    headers: HeaderMap,
    request: Request,
) -> Result<Answer<Appended>, Failure> {
    let key = idempotency_key(&headers)?;
    let bytes = read_body(request, limits::JSON_BYTES).await?;
    let import = ImportFrames { key, behind, bytes };
    Ok(Answer(face.engine.import_frames(&grant, &path.id, import, now()).await?))
}
