//! Jobs and their attempts.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use neptune_wire::job::{AbortJob, Attempt, ClaimJob, ClaimedAttempt, Exit, JobsQuery, Page, PatchJob};
use neptune_wire::table::{ColumnInfo, ColumnsQuery, JobsAnswer};
use neptune_wire::{CreateJob, Job, JobUid};

use crate::access::Granted;
use crate::extract::{AttemptPath, JobPath, Json, JsonOrNothing, Path, Query};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::openapi::ProblemAnswer;

/// Lists jobs, newest first unless `sort` says otherwise, a page at a time: whole jobs, rows of asked `columns`, or groups.
///
/// The language of `filter` and how columns are written is described in docs/filter.md.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobsQuery), responses(
    (status = 200, body = JobsAnswer),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn list_jobs(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Query(query): Query<JobsQuery>,
) -> Result<Answer<JobsAnswer>, Failure> {
    Ok(Answer(face.engine.list_jobs(&grant, &query, now()).await?))
}

/// Lists the columns that metrics, params and properties of jobs make, with how many jobs have each.
#[utoipa::path(get, path = "/api/v1/jobs/columns", tag = "jobs", params(ColumnsQuery), responses(
    (status = 200, body = Page<ColumnInfo>),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn list_columns(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Query(query): Query<ColumnsQuery>,
) -> Result<Answer<Page<ColumnInfo>>, Failure> {
    Ok(Answer(face.engine.list_columns(&grant, &query).await?))
}

/// Registers a job. The same `uid` again answers the first result.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = CreateJob, responses(
    (status = 201, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn create_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Json(create): Json<CreateJob>,
) -> Result<(StatusCode, Answer<Job>), Failure> {
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh).expect("the system's randomness does not fail once it has begun");
    let job = face.engine.create_job(&grant, create, JobUid::from_bytes(fresh), now()).await?;
    Ok((StatusCode::CREATED, Answer(job)))
}

/// Reads one job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(JobPath), responses(
    (status = 200, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Answer<Job>, Failure> {
    Ok(Answer(face.engine.read_job(&grant, &path.id).await?))
}

/// Changes name, description, tags or properties; what is absent stays.
#[utoipa::path(patch, path = "/api/v1/jobs/{id}", tag = "jobs", params(JobPath), request_body = PatchJob, responses(
    (status = 200, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn patch_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    Json(patch): Json<PatchJob>,
) -> Result<Answer<Job>, Failure> {
    Ok(Answer(face.engine.patch_job(&grant, &path.id, patch, now()).await?))
}

/// Asks for a job's end. An ended or aborting job stays as it is.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/abort", tag = "jobs", params(JobPath),
    request_body(content = Option<AbortJob>, description = "may be left out"), responses(
    (status = 200, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn abort_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    JsonOrNothing(abort): JsonOrNothing<AbortJob>,
) -> Result<Answer<Job>, Failure> {
    Ok(Answer(face.engine.abort_job(&grant, &path.id, abort, now()).await?))
}

/// Takes a job to run it by hand; answers the attempt's number and token. The same `claim` again answers the same.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/attempts", tag = "attempts", params(JobPath), request_body = ClaimJob,
    responses(
    (status = 201, body = ClaimedAttempt),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn claim_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    Json(claim): Json<ClaimJob>,
) -> Result<(StatusCode, Answer<ClaimedAttempt>), Failure> {
    Ok((StatusCode::CREATED, Answer(face.engine.claim_job(&grant, &path.id, claim, now()).await?)))
}

/// Reads one attempt.
#[utoipa::path(get, path = "/api/v1/attempts/{job}/{attempt}", tag = "attempts", params(AttemptPath), responses(
    (status = 200, body = Attempt),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_attempt(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<AttemptPath>,
) -> Result<Answer<Attempt>, Failure> {
    Ok(Answer(face.engine.read_attempt(&grant, &path.job, path.attempt).await?))
}

/// Records how an attempt ended; the first end wins, repeating it changes nothing.
#[utoipa::path(put, path = "/api/v1/attempts/{job}/{attempt}/exit", tag = "attempts", params(AttemptPath),
    request_body = Exit, responses(
    (status = 200, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn end_attempt(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<AttemptPath>,
    Json(exit): Json<Exit>,
) -> Result<Answer<Job>, Failure> {
    Ok(Answer(face.engine.end_attempt(&grant, &path.job, path.attempt, exit, now()).await?))
}
