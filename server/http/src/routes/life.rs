//! The end of jobs: deleting, restoring, rules of retention, the collector.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use neptune_wire::Job;
use neptune_wire::life::{Collected, DeleteQuery, DeleteReceipt};
use neptune_wire::project::{Retention, RetentionPreview};

use crate::access::Granted;
use crate::extract::{JobPath, Json, JsonOrNothing, Path, ProjectPath, Query};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::openapi::ProblemAnswer;

/// Deletes a job: hidden and restorable for a time, or, with `now=true`, removed for good. A job that runs is refused.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", tag = "jobs", params(JobPath, DeleteQuery), responses(
    (status = 200, body = DeleteReceipt),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn delete_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    Query(delete): Query<DeleteQuery>,
) -> Result<Answer<DeleteReceipt>, Failure> {
    Ok(Answer(face.engine.delete_job(&grant, &path.id, delete, now()).await?))
}

/// Brings a deleted job back; one that is not deleted stays as it is.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/restore", tag = "jobs", params(JobPath), responses(
    (status = 200, body = Job),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn restore_job(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Answer<Job>, Failure> {
    Ok(Answer(face.engine.restore_job(&grant, &path.id, now()).await?))
}

/// Reads the project's rules of retention.
#[utoipa::path(get, path = "/api/v1/projects/{key}/retention", tag = "projects", params(ProjectPath), responses(
    (status = 200, body = Retention),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_retention(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ProjectPath>,
) -> Result<Answer<Retention>, Failure> {
    Ok(Answer(face.engine.read_retention(&grant, &path.key).await?))
}

/// Replaces the project's rules of retention. What they delete can be restored, and says the rule.
#[utoipa::path(put, path = "/api/v1/projects/{key}/retention", tag = "projects", params(ProjectPath),
    request_body = Retention, responses(
    (status = 200, body = Retention),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn replace_retention(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ProjectPath>,
    Json(retention): Json<Retention>,
) -> Result<Answer<Retention>, Failure> {
    Ok(Answer(face.engine.replace_retention(&grant, &path.key, retention).await?))
}

/// Tells what the project's rules, or those in the body, would delete now; deletes nothing.
#[utoipa::path(post, path = "/api/v1/projects/{key}/retention/preview", tag = "projects", params(ProjectPath),
    request_body(content = Option<Retention>, description = "may be left out"), responses(
    (status = 200, body = RetentionPreview),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn preview_retention(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ProjectPath>,
    JsonOrNothing(instead): JsonOrNothing<Option<Retention>>,
) -> Result<Answer<RetentionPreview>, Failure> {
    Ok(Answer(face.engine.preview_retention(&grant, &path.key, instead, now()).await?))
}

/// Lets the collector make a pass now: it marks blobs that no job names, and removes those that were marked long enough ago.
#[utoipa::path(post, path = "/api/v1/collector", tag = "server", responses(
    (status = 200, body = Collected),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn collect(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
) -> Result<Answer<Collected>, Failure> {
    Ok(Answer(face.engine.collect(&grant, now()).await?))
}
