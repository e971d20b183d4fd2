//! Charts of a job.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use neptune_wire::{Chart, CreateChart};

use crate::access::Granted;
use crate::extract::{JobPath, Json, Path};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::openapi::ProblemAnswer;

/// Lists a job's charts in order of creation.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/charts", tag = "charts", params(JobPath), responses(
    (status = 200, body = Vec<Chart>),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn list_charts(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
) -> Result<Answer<Vec<Chart>>, Failure> {
    Ok(Answer(face.engine.list_charts(&grant, &path.id).await?))
}

/// Creates a chart; the same chart again answers the existing one.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/charts", tag = "charts", params(JobPath),
    request_body = CreateChart, responses(
    (status = 201, body = Chart),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn create_chart(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    Json(create): Json<CreateChart>,
) -> Result<(StatusCode, Answer<Chart>), Failure> {
    Ok((StatusCode::CREATED, Answer(face.engine.create_chart(&grant, &path.id, create, now()).await?)))
}
